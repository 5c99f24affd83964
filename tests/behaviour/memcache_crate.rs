//! Programs that come from the crate `memcache` keep their values: its client and
//! this one read what the other stores.

use std::fmt::Debug;
use std::io::{self, Write};

use memcache::{FromMemcacheValue, MemcacheError, ToMemcacheValue};
use memocached::{ErrorKind, Memcache, Protocol};

use crate::support::client::{MINUTE, Setup};
use crate::support::memcached::Memcached;

/// A type of a program's own, with flags of its own and a form that not every
/// value has.
#[derive(Clone, Debug, PartialEq)]
struct Point(f64, f64);

const FLAGS: u32 = 0x5050;

impl<W: Write> ToMemcacheValue<W> for Point {
    fn get_flags(&self) -> u32 {
        FLAGS
    }

    fn get_length(&self) -> usize {
        format!("{} {}", self.0, self.1).len()
    }

    fn write_to(&self, stream: &mut W) -> io::Result<()> {
        match self.0.is_finite() {
            true => write!(stream, "{} {}", self.0, self.1),
            false => Err(io::Error::other("no form")),
        }
    }
}

impl FromMemcacheValue for Point {
    fn from_memcache_value(bytes: Vec<u8>, flags: u32) -> Result<Self, MemcacheError> {
        if flags != FLAGS {
            return Err(io::Error::other("not a point").into());
        }
        let text = String::from_utf8(bytes)?;
        let (x, y) = text.split_once(' ').unwrap_or_default();
        Ok(Point(x.parse()?, y.parse()?))
    }
}

/// Stores a value with each of the clients and reads it with the others.
fn travels<T>(servers: &[Memcached; 1], value: &T)
where
    T: ToMemcacheValue<Vec<u8>> + ToMemcacheValue<memcache::Stream> + FromMemcacheValue + Clone + PartialEq + Debug,
{
    let theirs = memcache::connect(format!("memcache://{}", servers[0].address())).unwrap();
    for protocol in [Protocol::Auto, Protocol::Ascii] {
        for ours in (Setup { protocol, ..Setup::on(servers) }).both() {
            ours.set("ours", &Memcache(value), MINUTE).unwrap();
            assert_eq!(theirs.get::<T>("ours").unwrap().as_ref(), Some(value), "stored by {ours:?}");
            theirs.set("theirs", value.clone(), 60).unwrap();
            assert_eq!(ours.get("theirs").unwrap(), Some(Memcache(value.clone())), "read by {ours:?}");
            let raw = |key| theirs.get::<(Vec<u8>, u32)>(key).unwrap();
            assert_eq!(raw("ours"), raw("theirs"), "bytes and flags");
        }
    }
}

#[test]
fn each_client_reads_what_the_other_stores() {
    let servers = [Memcached::start()];
    travels(&servers, &"häßlich".to_owned());
    travels(&servers, &true);
    travels(&servers, &u64::MAX);
    travels(&servers, &-1.5e300_f64);
    travels(&servers, &Point(0.1, -2.0));
}

#[test]
fn a_value_without_a_form_is_an_error_and_not_stored() {
    let servers = [Memcached::start()];
    for ours in Setup::on(&servers).both() {
        ours.set("point", &Memcache(&Point(1.0, 2.0)), MINUTE).unwrap();
        let formless = Point(f64::NAN, 0.0);
        assert_eq!(ours.set("point", &Memcache(&formless), MINUTE).unwrap_err().kind(), ErrorKind::Encode);
        let failed = ours.set_many(
            vec![("point".to_owned(), Memcache(&formless)), ("other".to_owned(), Memcache(&Point(3.0, 4.0)))],
            MINUTE,
        );
        assert_eq!(
            failed.iter().map(|(key, error)| (key, error.kind())).collect::<Vec<_>>(),
            [("point", ErrorKind::Encode)]
        );
        assert_eq!(ours.get("point").unwrap(), Some(Memcache(Point(1.0, 2.0))));
        assert_eq!(ours.get("other").unwrap(), Some(Memcache(Point(3.0, 4.0))));
        ours.set("text", "1 2", MINUTE).unwrap();
        assert_eq!(ours.get::<Memcache<Point>>("text").unwrap_err().kind(), ErrorKind::Decode);
    }
}

#[test]
fn compressed_values_come_back() {
    let servers = [Memcached::start()];
    let client = memocached::Client::builder().servers(servers[0].address()).compress(64).build().unwrap();
    let text = "x".repeat(1_000);
    client.set("text", &Memcache(&text), MINUTE).unwrap();
    assert!(client.get::<memocached::RawItem>("text").unwrap().unwrap().bytes.len() < 100);
    assert_eq!(client.get("text").unwrap(), Some(Memcache(text)));
}
