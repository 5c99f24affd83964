//! Implements [`KeyPart`] for the types of std; `crates` does for other crates'.
//!
//! The encoding itself, and why it is injective, is in `writer`.

mod crates;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, LinkedList, VecDeque};
use std::ffi::{OsStr, OsString};
use std::hash::BuildHasher;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::writer::{KeyPart, KeyWriter};

macro_rules! leaves {
    ($($type:ty),* $(,)?) => {$(
        impl KeyPart for $type {
            fn write(&self, key: &mut KeyWriter) {
                key.formatted(format_args!("{self}"));
            }
        }
    )*};
}

leaves!(bool, char, IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4,);

/// Writes the same text as `Display`, several times faster.
macro_rules! integers {
    ($($type:ty),*) => {$(
        impl KeyPart for $type {
            fn write(&self, key: &mut KeyWriter) {
                key.number(itoa::Buffer::new().format(*self));
            }
        }
    )*};
}

integers!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize);

/// Includes the flow info and scope id, which `Display` leaves out.
impl KeyPart for SocketAddrV6 {
    fn write(&self, key: &mut KeyWriter) {
        key.group([self.ip() as &dyn KeyPart, &self.port(), &self.flowinfo(), &self.scope_id()]);
    }
}

impl KeyPart for SocketAddr {
    fn write(&self, key: &mut KeyWriter) {
        match self {
            SocketAddr::V4(address) => address.write(key),
            SocketAddr::V6(address) => address.write(key),
        }
    }
}

macro_rules! nonzero {
    ($($type:ty),*) => {$(
        impl KeyPart for NonZero<$type> {
            fn write(&self, key: &mut KeyWriter) {
                self.get().write(key);
            }
        }
    )*};
}

nonzero!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize);

impl KeyPart for str {
    fn write(&self, key: &mut KeyWriter) {
        key.leaf(self);
    }
}

impl KeyPart for String {
    fn write(&self, key: &mut KeyWriter) {
        key.leaf(self);
    }
}

impl KeyPart for OsStr {
    fn write(&self, key: &mut KeyWriter) {
        key.leaf_bytes(self.as_encoded_bytes());
    }
}

impl KeyPart for OsString {
    fn write(&self, key: &mut KeyWriter) {
        self.as_os_str().write(key);
    }
}

impl KeyPart for Path {
    fn write(&self, key: &mut KeyWriter) {
        self.as_os_str().write(key);
    }
}

impl KeyPart for PathBuf {
    fn write(&self, key: &mut KeyWriter) {
        self.as_os_str().write(key);
    }
}

impl KeyPart for SystemTime {
    fn write(&self, key: &mut KeyWriter) {
        // The second is `Some` for times before 1970, with the distance.
        key.group([&self.duration_since(UNIX_EPOCH).ok() as &dyn KeyPart, &UNIX_EPOCH.duration_since(*self).ok()]);
    }
}

/// Writes nothing, since all values are equal.
impl<T: ?Sized> KeyPart for PhantomData<T> {
    fn write(&self, _: &mut KeyWriter) {}
}

/// Writes the nanoseconds.
impl KeyPart for Duration {
    fn write(&self, key: &mut KeyWriter) {
        self.as_nanos().write(key);
    }
}

impl<T: KeyPart> KeyPart for Option<T> {
    fn write(&self, key: &mut KeyWriter) {
        key.option(self.as_ref());
    }
}

macro_rules! pointers {
    ($($type:ty),*) => {$(
        impl<T: KeyPart + ?Sized> KeyPart for $type {
            fn write(&self, key: &mut KeyWriter) {
                (**self).write(key);
            }
        }
    )*};
}

pointers!(&T, &mut T, Box<T>, Rc<T>, Arc<T>);

impl<T: KeyPart + ToOwned + ?Sized> KeyPart for Cow<'_, T> {
    fn write(&self, key: &mut KeyWriter) {
        (**self).write(key);
    }
}

fn sequence<'a, T: KeyPart + 'a>(key: &mut KeyWriter, items: impl IntoIterator<Item = &'a T>) {
    key.sequence(items.into_iter().map(|item| item as &dyn KeyPart));
}

impl<T: KeyPart> KeyPart for [T] {
    fn write(&self, key: &mut KeyWriter) {
        sequence(key, self);
    }
}

impl<T: KeyPart, const N: usize> KeyPart for [T; N] {
    fn write(&self, key: &mut KeyWriter) {
        sequence(key, self);
    }
}

impl<T: KeyPart> KeyPart for Vec<T> {
    fn write(&self, key: &mut KeyWriter) {
        sequence(key, self);
    }
}

impl<T: KeyPart> KeyPart for VecDeque<T> {
    fn write(&self, key: &mut KeyWriter) {
        sequence(key, self);
    }
}

impl<T: KeyPart> KeyPart for LinkedList<T> {
    fn write(&self, key: &mut KeyWriter) {
        sequence(key, self);
    }
}

impl<T: KeyPart> KeyPart for BTreeSet<T> {
    fn write(&self, key: &mut KeyWriter) {
        key.sorted(self.iter().map(|item| |key: &mut KeyWriter| item.write(key)));
    }
}

impl<T: KeyPart, S: BuildHasher> KeyPart for HashSet<T, S> {
    fn write(&self, key: &mut KeyWriter) {
        key.sorted(self.iter().map(|item| |key: &mut KeyWriter| item.write(key)));
    }
}

fn entry<'a>(name: &'a impl KeyPart, value: &'a impl KeyPart) -> impl FnOnce(&mut KeyWriter) + 'a {
    move |key| {
        name.write(key);
        key.equals();
        value.write(key);
    }
}

impl<K: KeyPart, V: KeyPart> KeyPart for BTreeMap<K, V> {
    fn write(&self, key: &mut KeyWriter) {
        key.sorted(self.iter().map(|(name, value)| entry(name, value)));
    }
}

impl<K: KeyPart, V: KeyPart, S: BuildHasher> KeyPart for HashMap<K, V, S> {
    fn write(&self, key: &mut KeyWriter) {
        key.sorted(self.iter().map(|(name, value)| entry(name, value)));
    }
}

macro_rules! tuples {
    ($($name:ident)*) => {
        impl<$($name: KeyPart),*> KeyPart for ($($name,)*) {
            #[allow(non_snake_case, reason = "the type parameters name the elements")]
            fn write(&self, key: &mut KeyWriter) {
                let ($($name,)*) = self;
                key.group([$($name as &dyn KeyPart),*]);
            }
        }
    };
}

tuples!();
tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);
tuples!(A B C D E F G H I);
tuples!(A B C D E F G H I J);
tuples!(A B C D E F G H I J K);
tuples!(A B C D E F G H I J K L);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyBuilder;

    #[test]
    fn the_text_of_a_value_is_stable_across_versions() {
        fn text(value: impl KeyPart) -> String {
            let mut key = KeyBuilder::new("");
            key.part(&value);
            key.finish().expect("every value can be written").wire().to_owned()
        }
        let far = |scope| SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, 7, scope);
        let after = UNIX_EPOCH + Duration::from_secs(5);
        let texts = [
            (text(true), "true"),
            (text('/'), "%2F"),
            (text(Ipv4Addr::LOCALHOST), "127.0.0.1"),
            (text(IpAddr::V6(Ipv6Addr::LOCALHOST)), "%3A%3A1"),
            (text(SocketAddr::from((Ipv4Addr::LOCALHOST, 80))), "127.0.0.1%3A80"),
            (text(far(9)), "(%3A%3A1,80,7,9)"),
            (text(SocketAddr::V6(far(3))), "(%3A%3A1,80,7,3)"),
            (text(NonZero::new(7_u8)), "7"),
            (text("a b".to_owned()), "a%20b"),
            (text(OsString::from("a b")), "a%20b"),
            (text(PathBuf::from("/a")), "%2Fa"),
            (text(Path::new("/a")), "%2Fa"),
            (text(after), "(5000000000,~)"),
            (text(UNIX_EPOCH), "(0,0)"),
            (text(UNIX_EPOCH - Duration::from_nanos(5)), "(~,5)"),
            (text(PhantomData::<String>), "%"),
            (text(Duration::from_micros(5)), "5000"),
            (text((Box::new(1), Rc::new(2), Arc::new(3), &mut 4)), "(1,2,3,4)"),
            (text(Cow::Borrowed("a b")), "a%20b"),
            (text([[1, 2], [3, 4]]), "[[1,2],[3,4]]"),
            (text(&[1, 2][..]), "[1,2]"),
            (text(VecDeque::from([1, 2])), "[1,2]"),
            (text(LinkedList::from([1, 2])), "[1,2]"),
            (text(HashSet::from([2, 1])), "{1,2}"),
            (text(BTreeSet::from([2, 1])), "{1,2}"),
            (text(HashMap::from([(2, 'b'), (1, 'a')])), "{1=a,2=b}"),
            (text(BTreeMap::from([(2, 'b'), (1, 'a')])), "{1=a,2=b}"),
            (text(()), "()"),
        ];
        for (text, expected) in &texts {
            assert_eq!(text, expected);
        }
    }
}
