//! The key sees every parameter of a function, and the body gets it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use memocached::{Cache, KeyPart, memcached};

#[memcached(key = "arguments:none", entry = none_entry)]
fn none() -> u64 {
    7
}

#[memcached(entry = sixteen_entry)]
#[allow(clippy::too_many_arguments, clippy::many_single_char_names)]
fn sixteen(
    a: u8,
    b: u16,
    c: u32,
    d: u64,
    e: u128,
    f: usize,
    g: i8,
    h: i16,
    i: i32,
    j: i64,
    k: i128,
    l: isize,
    m: bool,
    n: char,
    o: String,
    p: Duration,
) -> String {
    format!("{a}{b}{c}{d}{e}{f}{g}{h}{i}{j}{k}{l}{m}{n}{o}{p:?}")
}

#[test]
fn a_key_has_none_of_no_arguments_and_all_of_sixteen() {
    assert_eq!((none(), none()), (7, 7));
    assert_eq!(none_entry().key(), "arguments:none");
    let call = || sixteen(1, 2, 3, 4, 5, 6, -7, -8, -9, -10, -11, -12, true, 'n', "o:o".into(), Duration::from_secs(1));
    assert_eq!(call(), call());
    let entry =
        sixteen_entry(1, 2, 3, 4, 5, 6, -7, -8, -9, -10, -11, -12, true, 'n', "o:o".into(), Duration::from_secs(1));
    assert_eq!(entry.get().unwrap(), Some(call()));
    assert!(entry.key().ends_with(":1:2:3:4:5:6:-7:-8:-9:-10:-11:-12:true:n:o%3Ao:1000000000"), "{}", entry.key());
}

#[memcached(key = "arguments:borrowed:<a>:<b>:<c>:<d>:<e>:<f>", entry = borrowed_entry)]
fn borrowed(a: &str, b: &[u8], c: &Path, d: Option<&u32>, e: Cow<'_, str>, f: &&str) -> usize {
    a.len() + b.len() + c.as_os_str().len() + d.map_or(0, |_| 1) + e.len() + f.len()
}

#[test]
fn a_key_has_borrowed_arguments_as_it_has_owned_ones() {
    let call = || borrowed("a", &[1, 2], Path::new("/x"), Some(&1), Cow::Borrowed("cow"), &"ff");
    assert_eq!((call(), call()), (11, 11));
    let entry = borrowed_entry("a", &[1, 2], Path::new("/x"), None, Cow::Owned("cow".into()), &"ff");
    assert_eq!(entry.key(), "arguments:borrowed:a:[1,2]:%2Fx:~:cow:ff");
}

#[memcached(key = "arguments:as_ref:<name.as_ref()>", entry = as_ref_entry)]
fn as_ref(name: impl AsRef<str>) -> usize {
    name.as_ref().len()
}

trait Area {
    fn area(&self) -> u32;
}

#[derive(Clone, KeyPart)]
struct Square(u32);

#[derive(Clone, KeyPart)]
struct Circle(u32);

impl Area for Square {
    fn area(&self) -> u32 {
        self.0 * self.0
    }
}

impl Area for Circle {
    fn area(&self) -> u32 {
        self.0 * self.0 * 3
    }
}

#[memcached(key = "arguments:area:<shape>")]
fn area(shape: &(impl Area + KeyPart)) -> u32 {
    shape.area()
}

#[test]
fn unnamed_types_have_entries_of_their_own() {
    let owned = String::from("abc");
    assert_eq!((as_ref("abc"), as_ref(owned)), (3, 3));
    assert!(as_ref_entry("abc").key().starts_with("arguments:as_ref:abc;"));
    assert_eq!((area(&Square(2)), area(&Circle(2)), area(&Square(2))), (4, 12, 4));
}

#[memcached(key = "arguments:areas:<shapes>", entry = areas_entry)]
fn areas(shapes: &[impl Area + KeyPart]) -> u32 {
    shapes.iter().map(Area::area).sum()
}

#[memcached(key = "arguments:perhaps:<shape>")]
fn perhaps(shape: Option<impl Area + KeyPart>) -> u32 {
    shape.map_or(0, |shape| shape.area())
}

#[memcached(key = "arguments:paired:<factor>:<shape>")]
fn paired((factor, shape): (u32, impl Area + KeyPart)) -> u32 {
    factor * shape.area()
}

#[memcached]
fn boxed(shape: Box<impl Area + KeyPart>) -> u32 {
    shape.area()
}

#[memcached(key = "arguments:each:<shape>", each(shape in shapes), entry = each_area_entry)]
fn each_area(shapes: impl IntoIterator<Item = impl Area + KeyPart + Clone>) -> Vec<u32> {
    shapes.into_iter().map(|shape| shape.area()).collect()
}

#[test]
fn types_that_are_unnamed_inside_of_others_have_entries_of_their_own() {
    assert_eq!((areas(&[Square(2)]), areas(&[Circle(2)])), (4, 12));
    assert_eq!(areas_entry(&[Circle(2)]).get().unwrap(), Some(12));
    assert_eq!((perhaps(Some(Square(2))), perhaps(Some(Circle(2)))), (4, 12));
    assert_eq!((paired((2, Square(2))), paired((2, Circle(2)))), (8, 24));
    assert_eq!((boxed(Box::new(Square(2))), boxed(Box::new(Circle(2)))), (4, 12));
    assert_eq!((each_area([Square(2)]), each_area([Circle(2)])), (vec![4], vec![12]));
    assert_eq!(each_area_entry(&Circle(2)).get().unwrap(), Some(12));
}

/// Only the other part of the pattern stands behind `dyn`.
#[memcached(key = "arguments:beside-dyn:<n>", skip(area))]
fn beside_dyn((n, area): (u32, &dyn Area)) -> u32 {
    n * area.area()
}

#[test]
fn a_part_of_a_pattern_may_be_in_the_key_beside_one_that_may_not() {
    assert_eq!((beside_dyn((1, &Square(2))), beside_dyn((2, &Square(2)))), (4, 8));
}

struct Point {
    x: i32,
    y: i32,
}

#[memcached(key = "arguments:patterns:<a>,<b>:<x>,<y>:<first>", entry = patterns_entry)]
fn patterns((a, b): (u8, u8), Point { x, y }: Point, [first, ..]: [u8; 3]) -> i32 {
    i32::from(a + b + first) + x + y
}

#[test]
fn patterns_bind_what_keys_name() {
    let call = |x| patterns((1, 2), Point { x, y: 4 }, [5, 6, 7]);
    assert_eq!((call(3), call(3), call(4)), (15, 15, 16));
    assert_eq!(patterns_entry((1, 2), Point { x: 3, y: 4 }, [5, 6, 7]).key(), "arguments:patterns:1,2:3,4:5");
}

#[memcached(key = "arguments:mutable:<n>", entry = mutable_entry)]
fn mutable(mut n: Vec<u8>) -> Vec<u8> {
    n.push(9);
    n
}

#[memcached(key = "arguments:unread:<n>", cache = cache, skip(cache, computed))]
fn unread(cache: &Cache, computed: &AtomicU32, n: u8, _: &str, _unused: String) -> u8 {
    computed.fetch_add(1, Ordering::Relaxed);
    n
}

#[test]
fn the_key_sees_the_argument_as_it_came_and_not_what_is_not_read() {
    assert_eq!((mutable(vec![1]), mutable(vec![1])), (vec![1, 9], vec![1, 9]));
    assert_eq!(mutable_entry(vec![1]).get().unwrap(), Some(vec![1, 9]));
    let (cache, computed) = (Cache::embedded(), AtomicU32::new(0));
    let call = |one: &str, other: &str| unread(&cache, &computed, 1, one, other.into());
    assert_eq!((call("a", "b"), call("c", "d")), (1, 1));
    assert_eq!(computed.load(Ordering::Relaxed), 1, "the second call was a hit");
}

#[memcached(key = "arguments:named:<key>:<ttl>:<result>:<cache>:<span>", entry = named_entry)]
fn named(key: u8, ttl: u8, result: u8, cache: u8, span: u8) -> u8 {
    key + ttl + result + cache + span
}

#[memcached(key = "arguments:raw:<r#in>:<r#match.0>", entry = raw_entry)]
fn r#raw(r#in: u8, r#match: (u8, u8)) -> u8 {
    let (a, b) = r#match;
    r#in + a + b
}

#[test]
fn names_of_arguments_are_free() {
    assert_eq!((named(1, 2, 3, 4, 5), named(1, 2, 3, 4, 5)), (15, 15));
    assert_eq!((raw(1, (2, 3)), raw(1, (2, 3))), (6, 6));
    assert_eq!(raw_entry(1, (2, 3)).key(), "arguments:raw:1:2");
}

/// As if by a feature that is off, and by one that is on.
#[memcached(key = "arguments:cfg:<n>:<off>:<on>")]
fn conditional(n: u8, #[cfg(any())] off: u8, #[cfg(not(any()))] on: u8) -> u8 {
    n + on
}

#[memcached]
fn conditional_without_a_key(n: u8, #[cfg(any())] off: u8, #[cfg(not(any()))] on: u8) -> u8 {
    n + on
}

#[cfg(any())]
#[memcached(key = "arguments:nowhere", entry = nowhere_entry)]
fn nowhere() -> ThisTypeDoesNotExist {}

#[memcached(key = "arguments:nowhere", entry = nowhere_entry)]
#[cfg(any())]
fn nowhere() -> ThisTypeDoesNotExist {}

#[test]
fn a_parameter_that_is_configured_away_is_in_no_key() {
    assert_eq!((conditional(1, 2), conditional(1, 3), conditional(1, 2)), (3, 4, 3));
    assert_eq!((conditional_without_a_key(1, 2), conditional_without_a_key(1, 3)), (3, 4));
}

#[derive(Clone)]
struct Counter {
    id: u8,
    calls: Arc<AtomicU32>,
}

impl Counter {
    #[memcached(key = "arguments:by_value:<self.id>")]
    fn by_value(self) -> u32 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    #[memcached(key = "arguments:by_arc:<self.id>")]
    fn by_arc(self: Arc<Self>) -> u32 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    #[memcached(key = "arguments:by_pin:<self.id>")]
    fn by_pin(self: Pin<&Self>) -> u32 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    #[memcached(key = "arguments:by_box:<self.id>")]
    async fn by_box(self: Box<Self>) -> u32 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    #[memcached(key = "arguments:associated:<n>")]
    fn associated(n: u8) -> u8 {
        Self::helper(n)
    }

    fn helper(n: u8) -> u8 {
        n + 1
    }
}

#[tokio::test]
async fn a_method_computes_once_with_every_kind_of_self() {
    let counter = Counter { id: 1, calls: Arc::default() };
    for _ in 0..2 {
        counter.clone().by_value();
        Arc::new(counter.clone()).by_arc();
        Pin::new(&counter).by_pin();
        Box::new(counter.clone()).by_box().await;
    }
    assert_eq!(counter.calls.load(Ordering::Relaxed), 4);
    assert_eq!((Counter::associated(1), Counter::associated(1)), (2, 2));
}

struct Repository<T> {
    factor: u32,
    marker: std::marker::PhantomData<T>,
}

trait Rate {
    const RATE: u32;
}

struct Low;
struct High;

impl Rate for Low {
    const RATE: u32 = 1;
}

impl Rate for High {
    const RATE: u32 = 10;
}

impl<T: Rate> Repository<T> {
    #[memcached(key = "arguments:price:<n>", entry = price_entry, cache = cache, skip(self, cache))]
    fn price(&self, cache: &Cache, n: u32) -> u32 {
        n * T::RATE * self.factor
    }

    #[memcached(key = "arguments:constant:<n>", skip(cache), cache = cache)]
    fn constant(cache: &Cache, n: u32) -> u32 {
        n * T::RATE
    }
}

/// No argument is of the type that decides.
#[memcached(key = "arguments:marker:<n>", cache = cache, skip(cache))]
fn marker<T: Rate>(cache: &Cache, n: u32) -> u32 {
    n * T::RATE
}

trait Scaled {
    fn factor(&self) -> u32;

    #[memcached(key = "arguments:scaled:<n>", cache = cache, skip(self, cache))]
    fn scaled(&self, cache: &Cache, n: u32) -> u32 {
        n * self.factor()
    }
}

impl Scaled for Low {
    fn factor(&self) -> u32 {
        1
    }
}

impl Scaled for High {
    fn factor(&self) -> u32 {
        10
    }
}

#[test]
fn types_that_no_argument_shows_have_entries_of_their_own_also_under_a_written_key() {
    let cache = Cache::embedded();
    let low = Repository::<Low> { factor: 1, marker: std::marker::PhantomData };
    let high = Repository::<High> { factor: 1, marker: std::marker::PhantomData };
    for _ in 0..2 {
        assert_eq!((low.price(&cache, 5), high.price(&cache, 5)), (5, 50));
        assert_eq!((Repository::<Low>::constant(&cache, 5), Repository::<High>::constant(&cache, 5)), (5, 50));
        assert_eq!((marker::<Low>(&cache, 5), marker::<High>(&cache, 5)), (5, 50));
        assert_eq!((Low.scaled(&cache, 5), High.scaled(&cache, 5)), (5, 50));
    }
    assert_eq!(low.price_entry(&cache, 5).get().unwrap(), Some(5));
    assert_eq!(high.price_entry(&cache, 5).get().unwrap(), Some(50));
}

struct V1;
struct V1_2;

impl Rate for V1 {
    const RATE: u32 = 1;
}

impl Rate for V1_2 {
    const RATE: u32 = 2;
}

#[memcached(key = "arguments:versioned:<V>_<name>")]
fn versioned<V: Rate>(name: &str) -> u32 {
    V::RATE + u32::from(name == "c")
}

#[test]
fn the_name_of_a_type_ends_where_the_template_says() {
    assert_eq!((versioned::<V1>("2_c"), versioned::<V1_2>("c")), (1, 3));
}

mod shop {
    pub(super) struct Shop;

    pub(super) struct Names<'a>(pub(super) &'a str);
}

/// In another module than their types.
mod stock {
    use memocached::memcached;

    use super::shop::{Names, Shop};

    impl Shop {
        #[memcached(key = "arguments:elsewhere:<n>", entry = elsewhere_entry, skip(self))]
        pub(super) fn elsewhere(&self, n: u32) -> u32 {
            n
        }
    }

    impl Names<'_> {
        #[memcached(key = "arguments:initial:<self.0>", entry = initial_entry)]
        pub(super) fn initial(&self) -> Option<char> {
            self.0.chars().next()
        }
    }
}

#[test]
fn a_key_has_nothing_of_where_an_impl_stands_or_of_a_lifetime() {
    assert_eq!(shop::Shop.elsewhere(7), 7);
    assert_eq!(shop::Shop.elsewhere_entry(7).key(), "arguments:elsewhere:7");
    assert_eq!(shop::Names("Ann").initial(), Some('A'));
    assert_eq!(shop::Names("Ann").initial_entry().key(), "arguments:initial:Ann");
}

#[memcached(key = "arguments:fetched:<n>", cache = cache, skip(cache, fetch), entry = fetched_entry)]
fn fetched<F: Fn(T) -> R, T, R>(cache: &Cache, n: T, fetch: F) -> u32
where
    R: Into<u32>,
    T: KeyPart,
{
    fetch(n).into()
}

/// The body names the type of what is skipped.
#[memcached(key = "arguments:made:<n>", cache = cache, skip(cache, _unit))]
fn made<U: Rate>(cache: &Cache, n: u32, _unit: U) -> u32 {
    n * U::RATE
}

#[test]
fn what_is_skipped_leaves_the_key_with_its_type_unless_the_body_names_that() {
    let cache = Cache::embedded();
    assert_eq!(fetched(&cache, 5_u32, |n| n), 5);
    assert_eq!(fetched(&cache, 5_u32, |n| n + 1), 5);
    assert_eq!(fetched(&cache, 6_u8, |n| n), 6);
    assert_eq!(fetched_entry(&cache, 5_u32).get().unwrap(), Some(5));
    assert!(fetched_entry(&cache, 5_u32).delete().unwrap());
    assert_eq!((made(&cache, 5, Low), made(&cache, 5, High)), (5, 50));
}

#[test]
fn two_functions_of_one_path_do_not_share() {
    fn twins() -> [u32; 2] {
        let first = {
            #[memcached]
            fn twin(n: u32) -> u32 {
                n + OFFSET
            }
            const OFFSET: u32 = 1;
            twin(1)
        };
        let second = {
            #[memcached]
            fn twin(n: u32) -> u32 {
                n + OFFSET
            }
            const OFFSET: u32 = 2;
            twin(1)
        };
        [first, second]
    }
    assert_eq!((twins(), twins()), ([2, 3], [2, 3]));
}

#[derive(KeyPart)]
enum Request<'a, T> {
    All,
    ById(u32),
    Named {
        name: &'a str,
        page: Option<T>,
    },
    #[allow(dead_code)]
    Traced(#[key(skip)] f64, u8),
}

#[memcached(key = "arguments:derived:<request>-<tags>", entry = derived_entry)]
fn derived(request: Request<'_, u8>, tags: BTreeMap<String, u8>) -> usize {
    let page = match request {
        Request::All => 0,
        Request::ById(id) => id,
        Request::Named { name, page } => u32::from(page.unwrap_or(0)) + u32::try_from(name.len()).unwrap(),
        Request::Traced(_, n) => n.into(),
    };
    page as usize + tags.len()
}

#[test]
fn derived_parts_are_in_keys() {
    let key = |request| derived_entry(request, BTreeMap::from([("a-b".into(), 1)])).key().to_owned();
    assert_eq!(key(Request::All), "arguments:derived:All-{a-b=1}");
    assert_eq!(key(Request::ById(7)), "arguments:derived:ById(7)-{a-b=1}");
    let named = Request::Named { name: "a(b-", page: None };
    assert_eq!(key(named), "arguments:derived:Named(a%28b%2D,~)-{a-b=1}");
    assert_eq!(key(Request::Traced(0.5, 3)), key(Request::Traced(1.5, 3)));
    assert_eq!(derived(Request::ById(7), BTreeMap::new()), 7);
}

#[memcached(key = "arguments:maps:<a>:<b>", entry = maps_entry)]
fn maps(a: HashMap<u8, u8>, b: (u8, (u8, [u8; 2]))) -> usize {
    a.len() + usize::from(b.0)
}

#[test]
fn a_map_has_one_key_whatever_its_order() {
    let a: HashMap<u8, u8> = (0..50).map(|n| (n, n)).collect();
    let b: HashMap<u8, u8> = (0..50).rev().map(|n| (n, n)).collect();
    let keys = [&a, &b].map(|map| maps_entry(map.clone(), (1, (2, [3, 4]))).key().to_owned());
    assert_eq!(keys[0], keys[1]);
    assert!(keys[0].starts_with("arguments:maps:{0=0,10=10,11=11,"), "{}", keys[0]);
    assert_eq!((maps(a, (1, (2, [3, 4]))), maps(b, (1, (2, [3, 4])))), (51, 51));
}

macro_rules! memoized {
    ($name:ident, $entry:ident, $param:ident: $type:ty, $ttl:expr, $key:literal, $body:block) => {
        #[memcached(key = $key, ttl = $ttl, entry = $entry)]
        fn $name($param: $type) -> $type $body
    };
}

memoized!(generated, generated_entry, number: u64, DAY * 60, "arguments:generated:<number>", { number + 1 });
memoized!(generated_in_text, generated_in_text_entry, number: u64, "5m", "arguments:generated_in_text:<number>", {
    number + 2
});

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn a_function_made_by_a_macro_is_cached() {
    // `Duration` times a number, in the order that there is.
    assert_eq!((generated(1), generated(1)), (2, 2));
    assert_eq!(generated_entry(1).key(), "arguments:generated:1");
    assert_eq!(generated_in_text(1), 3);
    let left = generated_in_text_entry(1).info().unwrap().unwrap().time_left.unwrap();
    assert!(left <= Duration::from_mins(5) && left > Duration::from_mins(4));
}

#[test]
fn a_function_within_a_function_can_be_pointed_to() {
    fn outer(n: u64) -> u64 {
        #[memcached(key = "arguments:inner:<n>")]
        fn inner(n: u64) -> u64 {
            n * 2
        }
        let pointer: fn(u64) -> u64 = inner;
        pointer(n) + inner(n)
    }
    assert_eq!((outer(2), outer(2)), (8, 8));
}

/// Another crate's type, which cannot implement `KeyPart` itself.
mod another {
    use std::fmt;

    #[derive(Clone, Copy, Debug, PartialEq)]
    pub(super) struct Id(pub(super) u32);

    impl fmt::Display for Id {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "id/{}", self.0)
        }
    }
}

#[derive(KeyPart)]
struct Order<'a> {
    #[key(display)]
    id: another::Id,
    #[key(display)]
    others: &'a [another::Id],
    #[key(debug)]
    parent: Option<another::Id>,
    #[key(bits)]
    price: Option<f64>,
    #[key(hash)]
    text: &'a str,
}

#[derive(KeyPart)]
enum Shape {
    Point(#[key(display)] another::Id),
    Two {
        #[key(bits)]
        x: f32,
        y: u8,
    },
}

#[memcached(
    key = "arguments:formats:<id:display>;<several:display>;<pair:display>;<floats:bits>",
    entry = formats_entry
)]
fn formats(id: Option<another::Id>, several: &[another::Id], pair: &(another::Id, Vec<u8>), floats: [f32; 2]) -> u32 {
    id.map_or(0, |id| id.0) + several.len() as u32 + pair.0.0 + floats[0] as u32
}

#[memcached(key = "<request>/<either>", entry = requested_entry)]
fn requested(request: Order<'_>, either: Shape) -> u32 {
    request.id.0 + u32::from(matches!(either, Shape::Point(_)))
}

#[test]
fn a_format_reaches_into_what_holds_values_and_stands_on_a_field() {
    use another::Id;
    let call = || formats(Some(Id(1)), &[Id(2)], &(Id(3), vec![4]), [1.0, 0.0]);
    assert_eq!((call(), call()), (6, 6));
    assert_eq!(
        formats_entry(None, &[Id(2), Id(4)], &(Id(3), vec![4]), [1.0, 0.0]).key(),
        "arguments:formats:~;[id%2F2,id%2F4];(id%2F3,[4]);[000000003F800000,0000000000000000]"
    );
    let request = |price| Order { id: Id(1), others: &[Id(2)], parent: None, price, text: "" };
    assert_eq!(requested(request(None), Shape::Point(Id(1))), 2);
    let hash = "A8100AE6AA1940D0B663BB31CD466142";
    assert_eq!(
        requested_entry(request(Some(1.0)), Shape::Two { x: 1.0, y: 2 }).key(),
        format!("(id%2F1,[id%2F2],None,3FF0000000000000,{hash})/Two(000000003F800000,2)")
    );
}
