//! A cluster that has a server at each address of a name, as Kubernetes' headless services
//! have it. The tests run in processes on networks of their own, where they say
//! themselves which addresses that are.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use memocached::{Cache, Client, ErrorKind};

use super::discovery_under_load::{INTERVAL, Naming, run};
use crate::support::asking::{MINUTE, PATIENCE};
use crate::support::certificates::{Authority, Until};
use crate::support::folder::Folder;
use crate::support::memcached::{Memcached, until};
use crate::support::names::{NameServer, Said};
use crate::support::process::{again, apart, output, role};
use crate::support::tools::Tool;

const PORT: u16 = 11211;

/// Runs a test in a process on a network of its own, with these variables set.
fn on_a_network_of_its_own(test: &str, variables: &[(&str, &str)], run: impl FnOnce()) {
    if role().is_some() {
        return run();
    }
    if Tool::Namespaces.is_here() {
        let mut command = again(&format!("behaviour::discovery_by_name::{test}"), "apart");
        command.envs(variables.iter().copied());
        output(&mut apart(&command, &Folder::new()));
    }
}

fn host(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, number)
}

/// The name has the servers at these hosts.
fn at(numbers: impl IntoIterator<Item = u8>) -> Said {
    Said::Addresses(numbers.into_iter().map(host).collect())
}

fn client(discovery: &str) -> Client {
    Client::builder().discovery(discovery, Duration::from_millis(10)).timeout(PATIENCE).build().unwrap()
}

fn wait_until_known(client: &Client, numbers: &[u8]) {
    let named: BTreeSet<String> = numbers.iter().map(|number| format!("{}:{PORT}", host(*number))).collect();
    until("these servers to be known", || {
        let known: BTreeSet<String> = client.nodes().into_iter().map(|node| node.name).collect();
        (known == named).then_some(())
    });
}

impl Naming for NameServer {
    fn name(&self, servers: &[&Memcached]) {
        let address = |server: &&Memcached| server.address().parse::<std::net::SocketAddrV4>().unwrap();
        self.say(Said::Addresses(servers.iter().map(|server| *address(server).ip()).collect()));
    }

    fn be_in_trouble(&self) {
        for said in [Said::NoSuchName, at([]), Said::Trouble] {
            self.say(said);
            self.wait_until_heard(3);
        }
    }
}

#[test]
fn servers_of_a_name_come_and_go() {
    let interval = format!("{}ms", INTERVAL.as_millis());
    let variables = [
        ("MEMCACHED_DISCOVERY", "dns://cache.shop.svc.cluster.local:11211"),
        ("MEMCACHED_DISCOVERY_INTERVAL", &interval),
        ("MEMCACHED_TIMEOUT", "20s"),
        ("MEMCACHED_CONNECT_TIMEOUT", "20s"),
    ];
    on_a_network_of_its_own("servers_of_a_name_come_and_go", &variables, || {
        let names = NameServer::start();
        let servers = [2, 3, 4].map(|number| Memcached::at(&host(number).to_string(), PORT));
        run(&Cache::from_env().unwrap(), &servers, &names);
    });
}

#[test]
fn the_order_and_repetitions_of_addresses_do_not_count() {
    on_a_network_of_its_own("the_order_and_repetitions_of_addresses_do_not_count", &[], || {
        let names = NameServer::start();
        let _servers = [2, 3, 4].map(|number| Memcached::at(&host(number).to_string(), PORT));
        names.say(at([4, 2, 3, 2]));
        let [one, another] = [(); 2].map(|()| client("dns://cache.test:11211"));
        wait_until_known(&one, &[2, 3, 4]);
        let keys: Vec<String> = (0..60).map(|i| format!("key:{i}")).collect();
        assert!(one.set_many(keys.iter().map(|key| (key, "1")), MINUTE).is_empty());
        names.say(at([3, 4, 2]));
        names.wait_until_heard(3);
        wait_until_known(&another, &[2, 3, 4]);
        for client in [one, another] {
            assert_eq!(client.get_many::<String>(&keys).values.len(), keys.len());
        }
    });
}

#[test]
fn servers_of_a_name_prove_with_certificates_that_they_are_its() {
    on_a_network_of_its_own("servers_of_a_name_prove_with_certificates_that_they_are_its", &[], || {
        let (names, authority, folder) = (NameServer::start(), Authority::new(), Folder::new());
        names.say(at([2]));
        let certified = authority.certify(&["cache.test"], Until::Later);
        let files = format!("ssl_chain_cert={},ssl_key={}", certified.certificate, certified.key);
        let users = folder.write("users", "joe:c0rrect\n");
        let server = Memcached::on("127.0.0.2", &["-Z", "-o", &files, "-Y", &users]);
        let client = |name: &str| {
            let discovery = format!("dns+tls://{name}:{}", server.port);
            let builder = Client::builder().discovery(discovery, Duration::from_millis(10)).timeout(PATIENCE);
            let client = builder.tls_ca(authority.file()).credentials("joe", "c0rrect").build().unwrap();
            until("the server to be known", || (client.nodes().len() == 1).then_some(()));
            client
        };
        let own = client("cache.test");
        own.set("key", "value", MINUTE).unwrap();
        assert_eq!(own.get::<String>("key").unwrap().as_deref(), Some("value"));
        let error = client("another.test").get::<String>("key").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    });
}
