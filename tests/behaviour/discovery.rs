//! A cluster whose servers a configuration endpoint names, as Amazon
//! ElastiCache has it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use memocached::{Client, ErrorKind};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::asking::MINUTE;
use crate::support::certificates::{Authority, Certified, Until};
use crate::support::folder::Folder;
use crate::support::memcached::{Memcached, until};
use crate::support::tap::Tap;

/// A configuration endpoint that answers with whatever list it holds.
struct ConfigurationEndpoint {
    port: u16,
    held: Arc<Mutex<Held>>,
}

#[derive(Default)]
struct Held {
    /// Given one after the other, again and again; without any, it says nothing.
    lists: Vec<String>,
    /// How many have been given since these are there.
    given: usize,
    /// What was asked besides, by clients that take it for one of the servers.
    commands: Vec<String>,
}

impl ConfigurationEndpoint {
    fn start() -> Self {
        Self::behind(None)
    }

    /// An endpoint that speaks TLS if it has been certified.
    fn behind(certified: Option<&Certified>) -> Self {
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

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn hold(&self, list: impl Into<String>) {
        self.alternate([list.into()]);
    }

    fn alternate(&self, lists: impl Into<Vec<String>>) {
        *self.held.lock().unwrap() = Held { lists: lists.into(), given: 0, commands: Vec::new() };
    }

    /// Waits until a client has had all lists `times` times, and has made what
    /// it makes of them.
    fn wait_until_heard(&self, times: usize) {
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
fn listed(version: &str, ports: &[u16]) -> String {
    let items: Vec<_> = ports.iter().map(|port| format!("127.0.0.1|127.0.0.1|{port}")).collect();
    format!("{version}\n{}\n", items.join(" "))
}

fn client(endpoint: &ConfigurationEndpoint) -> Client {
    Client::builder().discovery(endpoint.address(), Duration::from_millis(10)).build().unwrap()
}

/// Exactly these servers.
fn are_known(client: &Client, ports: &[u16]) -> bool {
    let known: BTreeSet<String> = client.nodes().into_iter().map(|node| node.name).collect();
    known == ports.iter().map(|port| format!("127.0.0.1:{port}")).collect()
}

fn wait_until_known(client: &Client, ports: &[u16]) {
    until("these servers to be known", || are_known(client, ports).then_some(()));
}

#[test]
fn the_servers_of_a_cluster_are_discovered() {
    let servers = [Memcached::start(), Memcached::start()];
    let both = [servers[0].port, servers[1].port];
    let endpoint = ConfigurationEndpoint::start();
    endpoint.hold(listed("1", &both));
    let client = client(&endpoint);
    wait_until_known(&client, &both);
    let keys: Vec<String> = (0..60).map(|i| format!("key:{i}")).collect();
    assert!(client.set_many(keys.iter().map(|key| (key, "1")), MINUTE).is_empty());
    let plain = Client::builder().servers(format!("127.0.0.1:{},127.0.0.1:{}", both[0], both[1])).build().unwrap();
    let found = plain.get_many::<String>(&keys);
    assert_eq!((found.values.len(), found.failed.len()), (60, 0), "keys are where a list has them");
    endpoint.hold(listed("2", &both[1..]));
    wait_until_known(&client, &both[1..]);
}

#[test]
fn an_endpoint_is_no_server() {
    let endpoint = ConfigurationEndpoint::start();
    let client = client(&endpoint);
    assert_eq!(client.nodes().len(), 0);
    let error = client.get::<String>("key").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(error.to_string().contains(&endpoint.address()), "{error}");
    assert!(client.get_many::<String>(["a", "b"]).failed.len() == 2);
    endpoint.hold("");
    endpoint.wait_until_heard(1);
    assert_eq!(endpoint.held.lock().unwrap().commands, [""; 0]);
    let server = Memcached::start();
    endpoint.hold(listed("1", &[server.port]));
    wait_until_known(&client, &[server.port]);
    client.set("key", "value", MINUTE).unwrap();
    assert!(server.stored("key").is_some());
}

#[test]
fn the_first_version_may_be_0() {
    let endpoint = ConfigurationEndpoint::start();
    endpoint.hold(listed("0", &[1]));
    wait_until_known(&client(&endpoint), &[1]);
}

#[test]
fn a_list_that_changed_under_its_version_is_believed() {
    let endpoint = ConfigurationEndpoint::start();
    endpoint.hold(listed("2", &[1]));
    let client = client(&endpoint);
    wait_until_known(&client, &[1]);
    endpoint.hold(listed("2", &[1, 2]));
    wait_until_known(&client, &[1, 2]);
}

#[test]
fn an_endpoint_that_counts_from_the_start_again_is_believed() {
    let endpoint = ConfigurationEndpoint::start();
    endpoint.hold(listed("12", &[1]));
    let client = client(&endpoint);
    wait_until_known(&client, &[1]);
    endpoint.hold(listed("1", &[2]));
    wait_until_known(&client, &[2]);
    endpoint.hold(listed("2", &[3]));
    wait_until_known(&client, &[3]);
}

#[test]
fn of_endpoints_that_differ_the_newest_is_believed() {
    let endpoint = ConfigurationEndpoint::start();
    endpoint.hold(listed("4", &[4]));
    let client = client(&endpoint);
    wait_until_known(&client, &[4]);
    endpoint.alternate([listed("3", &[3]), listed("4", &[4])]);
    for times in 1..20 {
        endpoint.wait_until_heard(times);
        assert!(are_known(&client, &[4]), "{:?}", client.nodes());
    }
}

#[test]
fn what_is_no_list_changes_no_servers() {
    let endpoint = ConfigurationEndpoint::start();
    endpoint.hold(listed("2", &[1]));
    let client = client(&endpoint);
    wait_until_known(&client, &[1]);
    for list in [listed("three", &[2]), listed("3", &[2]).replace('|', "/"), "3\n\n".into(), String::new()] {
        endpoint.hold(&list);
        endpoint.wait_until_heard(2);
        assert!(are_known(&client, &[1]), "{list:?}: {:?}", client.nodes());
    }
    endpoint.hold(listed("3", &[2]));
    wait_until_known(&client, &[2]);
}

#[test]
fn servers_that_an_endpoint_names_through_tls_hear_nothing_in_the_clear() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let certified = authority.certify(&["localhost", "127.0.0.1"], Until::Later);
    let files = format!("ssl_chain_cert={},ssl_key={}", certified.certificate, certified.key);
    let users = folder.write("users", "joe:c0rrect\n");
    let server = Memcached::on("127.0.0.1", &["-Z", "-o", &files, "-Y", &users]);
    let tap = Tap::before(server.port);
    let endpoint = ConfigurationEndpoint::behind(Some(&certified));
    endpoint.hold(listed("1", &[tap.port]));
    let client = Client::builder()
        .discovery(format!("tls://127.0.0.1:{}", endpoint.port), Duration::from_millis(10))
        .tls_ca(authority.file())
        .credentials("joe", "c0rrect")
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    wait_until_known(&client, &[tap.port]);
    let stored = client.set("key", "value", MINUTE);
    let sent = tap.sent();
    let password = b"c0rrect".as_slice();
    assert!(!sent.windows(password.len()).any(|bytes| bytes == password), "the password is sent in the clear");
    stored.unwrap();
    assert_eq!(client.get::<String>("key").unwrap().as_deref(), Some("value"));
}
