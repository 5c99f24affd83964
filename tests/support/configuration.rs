//! A configuration endpoint, as Amazon ElastiCache and Google Cloud's Memorystore
//! have it, that says what a test wants.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::certificates::Certified;
use super::memcached::until;

/// A configuration endpoint that answers with whatever list it holds.
pub(crate) struct ConfigurationEndpoint {
    pub(crate) port: u16,
    held: Arc<Mutex<Held>>,
}

#[derive(Default)]
struct Held {
    /// Given one after the other, again and again; without any, it says nothing.
    lists: Vec<String>,
    /// How many have been given since these are there.
    given: usize,
    /// What it was asked besides.
    commands: Vec<String>,
}

impl ConfigurationEndpoint {
    pub(crate) fn start() -> Self {
        Self::behind(None)
    }

    /// An endpoint that speaks TLS if it has been certified.
    pub(crate) fn behind(certified: Option<&Certified>) -> Self {
        let tls = certified.map(|certified| Arc::new(server_config(certified)));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let held = Arc::<Mutex<Held>>::default();
        let answers = Arc::clone(&held);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answers, tls) = (Arc::clone(&answers), tls.clone());
                std::thread::spawn(move || match tls {
                    None => answer(stream, &answers),
                    Some(tls) => answer(StreamOwned::new(ServerConnection::new(tls).unwrap(), stream), &answers),
                });
            }
        });
        ConfigurationEndpoint { port, held }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn hold(&self, list: impl Into<String>) {
        self.alternate([list.into()]);
    }

    pub(crate) fn alternate(&self, lists: impl Into<Vec<String>>) {
        let mut held = self.held.lock().unwrap();
        (held.lists, held.given) = (lists.into(), 0);
    }

    /// What it was asked besides, by those who take it for one of the servers.
    pub(crate) fn commands(&self) -> Vec<String> {
        self.held.lock().unwrap().commands.clone()
    }

    /// Waits until a client has had all lists `times` times, and has made what
    /// it makes of them.
    pub(crate) fn wait_until_heard(&self, times: usize) {
        until("the client to ask", || {
            let held = self.held.lock().unwrap();
            (held.given > times * held.lists.len()).then_some(())
        });
    }
}

fn server_config(certified: &Certified) -> ServerConfig {
    let chain = CertificateDer::pem_file_iter(&certified.certificate).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&certified.key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    builder.with_no_client_auth().with_single_cert(chain, key).unwrap()
}

fn answer(stream: impl Read + Write, held: &Mutex<Held>) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).is_ok_and(|read| read > 0) {
        let reply = match line.trim_end() {
            "mn" => "MN\r\n".to_owned(),
            // Of the credentials, the first line; and the second.
            set if set.starts_with("set auth ") => String::new(),
            "joe c0rrect" => "STORED\r\n".to_owned(),
            "config get cluster" => {
                let mut held = held.lock().unwrap();
                held.given += 1;
                if held.lists.is_empty() {
                    return;
                }
                let list = &held.lists[(held.given - 1) % held.lists.len()];
                format!("CONFIG cluster 0 {}\r\n{list}\r\nEND\r\n", list.len())
            }
            command => {
                held.lock().unwrap().commands.push(command.to_owned());
                "ERROR\r\n".to_owned()
            }
        };
        if stream.get_mut().write_all(reply.as_bytes()).and_then(|()| stream.get_mut().flush()).is_err() {
            return;
        }
        line.clear();
    }
}

/// A list as a configuration endpoint gives it.
pub(crate) fn listed(version: &str, ports: &[u16]) -> String {
    let items: Vec<_> = ports.iter().map(|port| format!("127.0.0.1|127.0.0.1|{port}")).collect();
    format!("{version}\n{}\n", items.join(" "))
}
