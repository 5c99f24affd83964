//! A listener in front of a server, which notes what clients send.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Passes everything on, in both directions.
pub(crate) struct Tap {
    pub(crate) port: u16,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Tap {
    /// In front of a server on this port of the loopback interface.
    pub(crate) fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let sent = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let noted = Arc::clone(&sent);
        // Left behind when the test ends.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(("127.0.0.1", server)).expect("the server listens");
                let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
                let noted = Arc::clone(&noted);
                std::thread::spawn(move || pass(client, server, &noted));
            }
        });
        Tap { port, sent }
    }

    /// What all clients have sent so far.
    pub(crate) fn sent(&self) -> Vec<u8> {
        self.pieces().concat()
    }

    /// The same, in the pieces in which it came.
    pub(crate) fn pieces(&self) -> Vec<Vec<u8>> {
        self.sent.lock().unwrap().clone()
    }
}

fn pass(mut client: TcpStream, mut server: TcpStream, noted: &Mutex<Vec<Vec<u8>>>) {
    let mut bytes = [0; 4096];
    while let Ok(read @ 1..) = client.read(&mut bytes) {
        noted.lock().unwrap().push(bytes[..read].to_vec());
        if server.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}
