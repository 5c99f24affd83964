//! A server that is left alone is told of once, with the cause; and once more
//! when it is back.

use std::time::Duration;

use memocached::{Cache, Client, ErrorKind};

use crate::support::certificates::{Authority, Until};
use crate::support::folder::Folder;
use crate::support::memcached::{Memcached, until};
use crate::support::process::{again, output, role};

const PAUSE: Duration = Duration::from_millis(200);

fn builder(servers: &str) -> memocached::Builder<Cache> {
    Cache::builder().servers(servers).timeout(Duration::from_secs(5)).connect_timeout(Duration::from_secs(5))
}

/// Asks until the server is left alone, and then some more; all that the last
/// error says.
fn ask(builder: memocached::Builder<Cache>) -> String {
    let client = Client::of(&builder.build().unwrap());
    for _ in 0..20 {
        client.get::<String>("key").unwrap_err();
    }
    let error = client.get::<String>("key").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CircuitOpen);
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The lines of the log at this level, of what this test does in a process of
/// its own.
fn logged(test: &str, level: &str) -> Vec<String> {
    let said = output(&mut again(&format!("behaviour::left_alone::{test}"), "child"));
    said.lines().filter(|line| line.contains(level)).map(str::to_owned).collect()
}

fn log() {
    tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::INFO).init();
}

#[test]
fn a_wrong_password_a_wrong_authority_and_an_unknown_name_are_told_once_each() {
    if role().is_none() {
        let warnings = logged("a_wrong_password_a_wrong_authority_and_an_unknown_name_are_told_once_each", " WARN ");
        assert_eq!(warnings.len(), 3, "{warnings:#?}");
        for (line, cause) in warnings.iter().zip([
            "did not accept user and password",
            "could not prove who it is: invalid peer certificate: ",
            "the name could not be resolved: ",
        ]) {
            assert!(
                line.contains(cause) && line.contains("db.operation.name=\"get\"") && line.contains("next_look=\"in "),
                "{line}"
            );
        }
        assert!(warnings[2].contains("no-such-host.invalid:11211"), "{warnings:#?}");
        return;
    }
    log();
    let (folder, authority, other) = (Folder::new(), Authority::new(), Authority::new());
    let users = folder.write("users", "joe:c0rrect\n");
    let server = Memcached::on("127.0.0.1", &["-Y", &users]);
    let said = ask(builder(&server.address()).credentials("joe", "wr0ng"));
    assert!(said.contains("did not accept user and password") && !said.contains("wr0ng"), "{said}");
    let certified = authority.certify(&["localhost"], Until::Later);
    let files = format!("ssl_chain_cert={},ssl_key={}", certified.certificate, certified.key);
    let server = Memcached::on("127.0.0.1", &["-Z", "-o", &files]);
    let said = ask(builder(&format!("tls://localhost:{}", server.port)).tls_ca(other.file()));
    assert!(said.contains("invalid peer certificate"), "{said}");
    let said = ask(builder("no-such-host.invalid"));
    assert!(said.contains("the name could not be resolved"), "{said}");
}

#[test]
fn an_outage_is_told_when_it_begins_and_when_it_ends() {
    if role().is_none() {
        let test = "an_outage_is_told_when_it_begins_and_when_it_ends";
        for (level, what) in [(" WARN ", "Server left alone"), (" INFO ", "Server asked again")] {
            let lines = logged(test, level);
            assert!(matches!(&lines[..], [line] if line.contains(what) && line.contains("127.0.0.1")), "{lines:#?}");
        }
        return;
    }
    log();
    let mut server = Memcached::start();
    let client = Client::of(&builder(&server.address()).retry_after(PAUSE).build().unwrap());
    client.set("key", "value", Duration::from_secs(60)).unwrap();
    server.kill();
    for _ in 0..100 {
        assert!(client.get::<String>("key").is_err());
    }
    let _server = Memcached::restart(server.port);
    until("the server to be asked again", || client.get::<String>("key").ok());
    assert!(client.nodes().iter().all(|node| node.is_up));
}
