//! A server older than 1.6.10, as far as it can be told apart: a real one
//! behind a listener that does not know the meta protocol.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use super::memcached::Memcached;

/// The port of a listener in front of this server; on the port `at`, or on any
/// if that is 0. It is left behind when the test ends.
pub(crate) fn before(server: &Memcached, at: u16) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", at)).expect("a free port");
    let (port, server) = (listener.local_addr().expect("an address").port(), server.port);
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(("127.0.0.1", server)).expect("the server listens");
            let (mut from, mut to) = (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
            std::thread::spawn(move || io::copy(&mut from, &mut to));
            std::thread::spawn(move || serve(client, server));
        }
    });
    port
}

fn serve(client: TcpStream, mut server: TcpStream) -> io::Result<()> {
    let mut answers = client.try_clone()?;
    let mut client = BufReader::new(client);
    loop {
        let mut line = String::new();
        if client.read_line(&mut line)? == 0 {
            return server.shutdown(std::net::Shutdown::Both);
        }
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        if let Some("mn" | "mg" | "ms" | "md" | "ma") = words.first().copied() {
            answers.write_all(b"ERROR\r\n")?;
            continue;
        }
        server.write_all(line.as_bytes())?;
        if let ["set" | "add" | "replace" | "append" | "prepend" | "cas", _, _, _, size, ..] = words[..] {
            let mut value = vec![0; size.parse::<usize>().expect("a size") + 2];
            client.read_exact(&mut value)?;
            server.write_all(&value)?;
        }
    }
}
