//! Every way to a server: by name, by address, through a socket, through TLS,
//! with a password. And peers that are refused, or not trusted.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use memocached::{AsyncClient, Cache, Client, Error, ErrorKind};

use crate::support::asking::{MINUTE, PATIENCE, is_served, of, refusals, wait_for};
use crate::support::certificates::{Authority, Until};
use crate::support::folder::Folder;
use crate::support::memcached::Memcached;
use crate::support::process::{again, output, role};
use crate::support::tap::Tap;
use crate::support::tools::Tool;

fn kinds(errors: &[Error]) -> Vec<ErrorKind> {
    errors.iter().map(Error::kind).collect()
}

/// All that an error says, down to its first cause, also to programmers.
fn said(error: &Error) -> String {
    let mut text = format!("{error:?}");
    let mut cause = Some(error as &dyn std::error::Error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

#[test]
fn a_server_is_found_by_name() {
    let server = Memcached::start();
    is_served(&of(&format!("localhost:{}", server.port)).build().unwrap());
    assert!(server.stored("asking:memoized:1").is_some());
}

#[test]
fn a_name_without_an_address_is_an_error_that_repeats_it() {
    let errors = refusals(&of("no-such-host.invalid"));
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Connect);
        assert!(error.to_string().contains("no-such-host.invalid:11211"), "{error}");
    }
}

#[test]
fn a_server_is_found_by_its_ipv6_address() {
    if !Tool::Ipv6.is_here() {
        return;
    }
    let server = Memcached::on("::1", &[]);
    is_served(&of(&format!("[::1]:{}", server.port)).build().unwrap());
}

#[test]
fn a_server_is_found_behind_its_socket() {
    let folder = Folder::new();
    let path = folder.path("memcached.sock");
    let mut server = Memcached::behind(&path, &[]);
    is_served(&of(&path).build().unwrap());
    is_served(&of(&format!("unix://{path}")).build().unwrap());
    server.kill();
    for error in refusals(&of(&path)) {
        assert_eq!(error.kind(), ErrorKind::Connect);
        assert!(error.to_string().contains(&path), "{error}");
    }
}

/// memcached with TLS, certified for these names.
fn behind_tls(authority: &Authority, names: &[&str], until: Until, arguments: &[&str]) -> Memcached {
    let certified = authority.certify(names, until);
    let files = format!("ssl_chain_cert={},ssl_key={}", certified.certificate, certified.key);
    Memcached::on("127.0.0.1", &[&["-Z", "-o", &files], arguments].concat())
}

#[test]
fn a_server_certified_by_a_trusted_authority_is_asked_through_tls() {
    let authority = Authority::new();
    let server = behind_tls(&authority, &["localhost", "127.0.0.1"], Until::Later, &[]);
    let tap = Tap::before(server.port);
    for host in ["localhost", "127.0.0.1"] {
        let servers = format!("tls://{host}:{}", tap.port);
        is_served(&of(&servers).tls_ca(authority.file()).build().unwrap());
    }
    only_tls(&tap.sent());
}

#[test]
fn a_large_value_comes_back_through_tls() {
    let authority = Authority::new();
    let server = behind_tls(&authority, &["localhost"], Until::Later, &[]);
    let cache = of(&format!("tls://localhost:{}", server.port)).tls_ca(authority.file()).build().unwrap();
    let value: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
    let client = Client::of(&cache);
    client.set("large", &value, MINUTE).unwrap();
    assert!(client.get::<Vec<u8>>("large").unwrap().unwrap() == value);
    wait_for(async {
        let client = AsyncClient::of(&cache);
        client.set("larger", &value, MINUTE).await.unwrap();
        let found = client.get_many::<Vec<u8>>(["large", "larger"]).await;
        assert!(found.failed.is_empty() && found.values.len() == 2);
        assert!(found.values.values().all(|found| *found == value));
    });
}

/// Panics unless the bytes are records of TLS and nothing else; what kinds
/// they are of.
fn only_tls(mut sent: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let [kind @ 20..=23, 3, _, high, low, rest @ ..] = sent {
        kinds.push(*kind);
        sent = rest.get(usize::from(u16::from_be_bytes([*high, *low]))..).expect("the whole of a record");
    }
    assert!(sent.is_empty(), "{:?} is not TLS", String::from_utf8_lossy(sent));
    kinds
}

const HANDSHAKE: u8 = 22;

/// Asserts that clients refuse to ask this server: not a word in plain text is
/// sent, and no command.
fn distrusted(server: &Memcached, authority: &str) {
    let tap = Tap::before(server.port);
    let servers = format!("tls://localhost:{}", tap.port);
    let errors = refusals(&of(&servers).tls_ca(authority).credentials("user", "s3cret"));
    assert_eq!(kinds(&errors), [ErrorKind::Tls; 2]);
    for error in &errors {
        assert!(error.to_string().contains(&format!("localhost:{}", tap.port)), "{error}");
    }
    only_tls(&tap.sent());
}

#[test]
fn a_server_certified_by_another_authority_hears_no_command() {
    let (authority, other) = (Authority::new(), Authority::new());
    distrusted(&behind_tls(&authority, &["localhost"], Until::Later, &[]), &other.file());
}

#[test]
fn a_server_whose_certificate_has_expired_hears_no_command() {
    let authority = Authority::new();
    distrusted(&behind_tls(&authority, &["localhost"], Until::LongAgo, &[]), &authority.file());
}

#[test]
fn a_server_certified_under_another_name_hears_no_command() {
    let authority = Authority::new();
    distrusted(&behind_tls(&authority, &["elsewhere.example", "127.0.0.1"], Until::Later, &[]), &authority.file());
}

#[test]
fn a_server_that_does_not_speak_tls_hears_one_greeting_of_it_and_no_command() {
    let (authority, server) = (Authority::new(), Memcached::start());
    let tap = Tap::before(server.port);
    let servers = format!("tls://localhost:{}", tap.port);
    let builder = of(&servers).tls_ca(authority.file()).credentials("user", "s3cret");
    let cache = builder.build().unwrap();
    let error = Client::of(&cache).get::<String>("key").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    assert_eq!(only_tls(&tap.sent()).iter().filter(|kind| **kind == HANDSHAKE).count(), 1);
    distrusted(&server, &authority.file());
}

#[test]
fn a_server_that_never_ends_the_handshake_costs_the_limit_and_no_more() {
    let (authority, silent) = (Authority::new(), TcpListener::bind("127.0.0.1:0").unwrap());
    let servers = format!("tls://localhost:{}", silent.local_addr().unwrap().port());
    let builder = of(&servers).connect_timeout(Duration::from_millis(50)).tls_ca(authority.file());
    let started = Instant::now();
    assert_eq!(kinds(&refusals(&builder)), [ErrorKind::Timeout; 2]);
    assert!(started.elapsed() < PATIENCE / 4, "{:?}", started.elapsed());
}

#[test]
fn the_systems_authorities_do_not_vouch_for_a_servers_own() {
    let authority = Authority::new();
    let server = behind_tls(&authority, &["localhost"], Until::Later, &[]);
    match of(&format!("tls://localhost:{}", server.port)).build() {
        Ok(cache) => assert_eq!(Client::of(&cache).get::<String>("key").unwrap_err().kind(), ErrorKind::Tls),
        // Some systems have none.
        Err(error) => assert!(error.to_string().contains("MEMCACHED_TLS_CA"), "{error}"),
    }
}

#[test]
fn a_server_that_wants_tls_is_an_error_without_it() {
    let authority = Authority::new();
    let server = behind_tls(&authority, &["localhost"], Until::Later, &[]);
    // It waits for more of a greeting than clients without TLS have to say.
    let builder = of(&server.address()).timeout(Duration::from_millis(200));
    for error in refusals(&builder) {
        assert!(matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Io), "{error}");
        assert!(error.to_string().contains(&server.address()), "{error}");
    }
}

#[test]
fn a_server_that_wants_a_certificate_is_shown_one_or_is_not_asked() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let trusted = format!("ssl_verify_mode=2,ssl_ca_cert={}", authority.file());
    let server = behind_tls(&authority, &["localhost"], Until::Later, &["-o", &trusted]);
    let builder = of(&format!("tls://localhost:{}", server.port)).tls_ca(authority.file());
    let own = authority.certify(&["client"], Until::Later);
    is_served(&builder.clone().tls_certificate(&own.certificate, &own.key).build().unwrap());

    let others = stranger.certify(&["client"], Until::Later);
    for builder in [builder.clone(), builder.tls_certificate(&others.certificate, &others.key)] {
        let errors = refusals(&builder);
        assert_eq!(kinds(&errors), [ErrorKind::Tls; 2], "{}", said(&errors[0]));
        assert!(errors.iter().all(|error| error.to_string().contains("another certificate")), "{errors:?}");
    }
}

/// memcached that lets in clients with these passwords.
fn behind_password(folder: &Folder, arguments: &[&str]) -> Memcached {
    let file = folder.write("users", "joe:c0rrect\nann:other\n");
    Memcached::on("127.0.0.1", &[&["-Y", &file], arguments].concat())
}

#[test]
fn a_client_with_the_password_is_served() {
    let folder = Folder::new();
    let server = behind_password(&folder, &[]);
    for protocol in [memocached::Protocol::Auto, memocached::Protocol::Meta, memocached::Protocol::Ascii] {
        let builder = of(&server.address()).protocol(protocol);
        is_served(&builder.clone().credentials("joe", "c0rrect").build().unwrap());
        is_served(&builder.credentials("ann", "other").build().unwrap());
    }
}

#[test]
fn a_client_with_a_wrong_password_is_refused_and_it_is_not_repeated() {
    let folder = Folder::new();
    let server = behind_password(&folder, &[]);
    let builder = of(&server.address());
    for builder in [
        builder.clone(),
        builder.clone().protocol(memocached::Protocol::Ascii),
        builder.clone().protocol(memocached::Protocol::Meta),
        builder.clone().credentials("joe", "wr0ng"),
        builder.clone().credentials("joe", "wr0ng").protocol(memocached::Protocol::Ascii),
        builder.credentials("eve", "wr0ng"),
    ] {
        let errors = refusals(&builder);
        assert_eq!(kinds(&errors), [ErrorKind::Unauthenticated; 2], "{builder:?}");
        for error in &errors {
            let said = said(error);
            assert!(!said.contains("wr0ng") && said.contains(&server.address()), "{said}");
        }
        let (cache, client) = (builder.clone().build().unwrap(), Client::of(&builder.clone().build().unwrap()));
        let shown = format!("{builder:?} {cache:?} {client:?} {:?}", AsyncClient::of(&cache));
        assert!(!shown.contains("wr0ng"), "{shown}");
    }
}

#[test]
fn storing_without_a_password_is_unauthenticated() {
    let folder = Folder::new();
    let server = behind_password(&folder, &[]);
    // The server takes a `set` for the password.
    for protocol in [memocached::Protocol::Meta, memocached::Protocol::Ascii] {
        let cache = of(&server.address()).protocol(protocol).build().unwrap();
        let error = Client::of(&cache).set("key", "value", MINUTE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    }
}

/// A ring of servers reached in three ways, all of which want a password.
struct Mixed {
    authority: Authority,
    folder: Folder,
    _servers: [Memcached; 3],
    list: String,
}

fn mixed() -> Mixed {
    let (authority, folder) = (Authority::new(), Folder::new());
    let users = folder.write("users", "joe:c0rrect\n");
    let socket = folder.path("memcached.sock");
    let trusted = format!("ssl_verify_mode=2,ssl_ca_cert={}", authority.file());
    let servers = [
        Memcached::on("127.0.0.1", &["-Y", &users]),
        Memcached::behind(&socket, &["-Y", &users]),
        behind_tls(&authority, &["localhost"], Until::Later, &["-Y", &users, "-o", &trusted]),
    ];
    let list = format!("{} unix:{socket} tls://localhost:{}", servers[0].address(), servers[2].port);
    Mixed { authority, folder, _servers: servers, list }
}

/// Keys on each server, and all of them found.
fn is_spread(client: &Client) {
    let keys: Vec<_> = (0..60).map(|n| format!("mixed:{n}")).collect();
    assert!(client.set_many(keys.iter().map(|key| (key, 1)), MINUTE).is_empty());
    let found = client.get_many::<u8>(&keys);
    assert!(found.failed.is_empty() && found.values.len() == 60, "{found:?}");
    let stats = client.stats();
    assert_eq!(stats.len(), 3);
    let held = stats.iter().map(|(name, counters)| {
        let held: u32 = counters.as_ref().unwrap()["curr_items"].parse().unwrap();
        assert!(held >= 5, "{name} holds {held} of 60 keys");
        held
    });
    assert!(held.sum::<u32>() >= 60);
}

#[test]
fn servers_reached_in_different_ways_share_a_ring() {
    let mixed = mixed();
    let own = mixed.authority.certify(&["client"], Until::Later);
    let cache = of(&mixed.list)
        .tls_ca(mixed.authority.file())
        .tls_certificate(own.certificate, own.key)
        .credentials("joe", "c0rrect")
        .build()
        .unwrap();
    is_spread(&Client::of(&cache));
    is_served(&cache);
}

#[test]
fn the_environment_says_all_that_a_builder_does() {
    if role().is_some() {
        is_spread(&Client::from_env().unwrap());
        is_served(&Cache::from_env().unwrap());
        println!("served");
        return;
    }
    let mixed = mixed();
    let own = mixed.authority.certify(&["client"], Until::Later);
    let said = output(
        again("behaviour::servers::the_environment_says_all_that_a_builder_does", "child")
            .env("MEMCACHED_SERVERS", &mixed.list)
            .env("MEMCACHED_TLS_CA", mixed.authority.file())
            .env("MEMCACHED_TLS_CERT", own.certificate)
            .env("MEMCACHED_TLS_KEY", own.key)
            .env("MEMCACHED_USERNAME", "joe")
            .env("MEMCACHED_PASSWORD", "c0rrect")
            .env("MEMCACHED_TIMEOUT", format!("{}s", PATIENCE.as_secs()))
            .env("MEMCACHED_CONNECT_TIMEOUT", format!("{}s", PATIENCE.as_secs())),
    );
    assert!(said.contains("served"), "{said}");
    drop(mixed.folder);
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_its_variable() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let (missing, empty) = (folder.path("missing.pem"), folder.write("empty.pem", "nothing\n"));
    let torn = folder.write("torn.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    let (one, other) = (authority.certify(&["one"], Until::Later), authority.certify(&["other"], Until::Later));
    let with = |ca: &str, certificate: &str, key: &str| {
        of("tls://localhost").tls_ca(ca).tls_certificate(certificate, key).build().unwrap_err()
    };
    let ca = authority.file();
    for file in [&missing, &empty, &torn] {
        for (error, variable) in [
            (with(file, &one.certificate, &one.key), "MEMCACHED_TLS_CA"),
            (with(&ca, file, &one.key), "MEMCACHED_TLS_CERT"),
            (with(&ca, &one.certificate, file), "MEMCACHED_TLS_KEY"),
        ] {
            assert_eq!(error.kind(), ErrorKind::Configuration);
            let text = error.to_string();
            assert!(text.starts_with(&format!("{variable}={file:?} cannot be used")), "{text}");
            assert_eq!(file == &missing, text.contains("No such file"), "{text}");
            assert!(text.contains("accepted: a file in PEM with "), "{text}");
        }
    }
    let error = with(&ca, &one.certificate, &other.key);
    assert_eq!(error.kind(), ErrorKind::Configuration);
    let text = error.to_string();
    assert!(text.contains("MEMCACHED_TLS_CERT") && text.contains("MEMCACHED_TLS_KEY"), "{text}");
}

#[test]
fn half_of_a_pair_is_refused_by_the_name_of_its_variables() {
    if role().is_some() {
        println!("{}", Client::from_env().unwrap_err());
        return;
    }
    let (authority, test) =
        (Authority::new(), "behaviour::servers::half_of_a_pair_is_refused_by_the_name_of_its_variables");
    let one = authority.certify(&["one"], Until::Later);
    let tls = "MEMCACHED_TLS_CERT, MEMCACHED_TLS_KEY";
    let password = "MEMCACHED_USERNAME, MEMCACHED_PASSWORD";
    for (name, value, pair) in [
        ("MEMCACHED_TLS_CERT", one.certificate.as_str(), tls),
        ("MEMCACHED_TLS_KEY", one.key.as_str(), tls),
        ("MEMCACHED_USERNAME", "joe", password),
        ("MEMCACHED_PASSWORD", "s3cret", password),
    ] {
        let said = output(
            again(test, "child")
                .env("MEMCACHED_SERVERS", "tls://localhost")
                .env("MEMCACHED_TLS_CA", authority.file())
                .env(name, value),
        );
        assert!(said.contains(&format!("({pair}) go together")) && !said.contains("s3cret"), "{said}");
    }
}
