//! A server behind TLS whose bytes come one by one: a record takes many reads,
//! and none of them may begin the time limit anew.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use memocached::{Cache, Client, ErrorKind};

use crate::support::certificates::{Authority, Until};
use crate::support::memcached::{Memcached, until};

const LIMIT: Duration = Duration::from_millis(300);
/// Much longer, and much shorter than the bytes take.
const BOUND: Duration = Duration::from_secs(4);

/// A listener in front of a server that passes on what it says, while it is
/// slow one byte at a time.
fn slow(server: u16, is_slow: &Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, is_slow) = (listener.local_addr().unwrap().port(), Arc::clone(is_slow));
    // Left behind when the test ends.
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            let is_slow = Arc::clone(&is_slow);
            std::thread::spawn(move || drip(server, client, &is_slow));
        }
    });
    port
}

fn drip(mut from: TcpStream, mut to: TcpStream, is_slow: &AtomicBool) -> std::io::Result<()> {
    let mut bytes = [0; 4096];
    loop {
        let read = from.read(&mut bytes)?;
        if read == 0 {
            return to.shutdown(std::net::Shutdown::Both);
        }
        if !is_slow.load(Ordering::SeqCst) {
            to.write_all(&bytes[..read])?;
            continue;
        }
        for byte in &bytes[..read] {
            std::thread::sleep(Duration::from_millis(15));
            to.write_all(&[*byte])?;
        }
    }
}

fn gives_up_in_time(client: &Client) {
    let began = Instant::now();
    let error = client.get::<Vec<u8>>("key").expect_err("it does not come in time");
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
}

#[test]
fn bytes_that_come_one_by_one_through_tls_do_not_begin_the_limit_anew() {
    let authority = Authority::new();
    let own = authority.certify(&["localhost"], Until::Later);
    let (chain, key) = (format!("ssl_chain_cert={}", own.certificate), format!("ssl_key={}", own.key));
    let server = Memcached::on("127.0.0.1", &["-Z", "-o", &chain, "-o", &key]);
    let is_slow = Arc::new(AtomicBool::new(false));
    let servers = format!("tls://localhost:{}", slow(server.port, &is_slow));
    let cache = |limit| {
        let cache = Cache::builder().servers(&servers).tls_ca(authority.file()).timeout(limit).connect_timeout(limit);
        cache.build().unwrap()
    };
    let patient = Client::of(&cache(Duration::from_secs(20)));
    patient.set("key", &vec![7; 1_000], Duration::from_secs(60)).unwrap();

    let client = Client::of(&cache(LIMIT));
    // The machine may be busy with the handshake.
    until("a connection", || client.get::<Vec<u8>>("key").ok());
    is_slow.store(true, Ordering::SeqCst);
    gives_up_in_time(&client);
    // Now it is the handshake that takes so long.
    gives_up_in_time(&client);
}
