//! Functions that compute several values at once.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use memocached::{Cache, memcached};

type Log = RefCell<Vec<Vec<u64>>>;

#[memcached(key = "batches:square:<n>", each(n in numbers), ttl = 60, cache = cache, skip(cache, log))]
fn squares(cache: &Cache, log: &Log, numbers: &[u64]) -> HashMap<u64, u64> {
    log.borrow_mut().push(numbers.to_vec());
    numbers.iter().map(|n| (*n, n * n)).collect()
}

#[memcached(key = "batches:square:<n>", ttl = 60, cache = cache, skip(cache))]
fn square(cache: &Cache, n: u64) -> u64 {
    n * n + 1_000
}

#[test]
fn only_what_is_missing_is_computed() {
    let (cache, log) = (Cache::embedded(), Log::default());
    let squared = |numbers: &[u64]| squares(&cache, &log, numbers);
    assert_eq!(squared(&[1, 2]), HashMap::from([(1, 1), (2, 4)]));
    assert_eq!(squared(&[2, 3, 1, 3, 4]), HashMap::from([(1, 1), (2, 4), (3, 9), (4, 16)]));
    assert_eq!(squared(&[]), HashMap::new());
    assert_eq!(log.take(), [vec![1, 2], vec![3, 4]]);
}

#[test]
fn entries_are_those_of_the_function_for_one_element() {
    let (cache, log) = (Cache::embedded(), Log::default());
    assert_eq!(square(&cache, 7), 1_049);
    assert_eq!(squares(&cache, &log, &[7, 8]), HashMap::from([(7, 1_049), (8, 64)]));
    assert_eq!(square(&cache, 8), 64);
}

#[memcached(key = "batches:small:<n>", each(n in numbers), when = *n < 100, cache = cache, skip(cache, log))]
fn small(cache: &Cache, log: &Log, numbers: &[u64]) -> HashMap<u64, u64> {
    log.borrow_mut().push(numbers.to_vec());
    numbers.iter().map(|n| (*n, n * n)).collect()
}

/// Odd ones have no text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Even(u64);

impl fmt::Display for Even {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(2) { write!(f, "{}", self.0) } else { Err(fmt::Error) }
    }
}

#[memcached(key = "batches:even:<n:display>", each(n in numbers), cache = cache, skip(cache, log))]
fn evens(cache: &Cache, log: &Log, numbers: &[Even]) -> BTreeMap<Even, u64> {
    log.borrow_mut().push(numbers.iter().map(|n| n.0).collect());
    numbers.iter().map(|n| (n.clone(), n.0)).collect()
}

#[test]
fn an_element_without_a_key_that_is_given_twice_leaves_the_others_cached() {
    let (cache, log) = (Cache::embedded(), Log::default());
    assert_eq!(small(&cache, &log, &[200, 200, 1, 1]), HashMap::from([(200, 40_000), (1, 1)]));
    assert_eq!(small(&cache, &log, &[1]), HashMap::from([(1, 1)]));
    assert_eq!(log.take(), [[200, 200, 1]]);
    let numbers = [3, 3, 2].map(Even);
    assert!(evens(&cache, &log, &numbers).into_iter().eq([(Even(2), 2), (Even(3), 3)]));
    assert!(evens(&cache, &log, &numbers[2..]).into_iter().eq([(Even(2), 2)]));
    assert_eq!(log.take(), [[3, 3, 2]]);
}

/// Each way to hold elements, and each kind of results.
mod forms {
    use std::collections::{BTreeMap, BTreeSet, HashSet};
    use std::pin::Pin;

    use async_trait::async_trait;
    use memocached::KeyPart;

    use super::*;
    use crate::behaviour::without_prelude::{several, some};

    type Fault = Result<BTreeMap<u64, String>, String>;

    #[memcached(key = "batches:forms:<id>", each(id in ids), cache = cache, skip(cache, log))]
    fn of_a_list(cache: &Cache, log: &Log, mut ids: Vec<u64>) -> Vec<Option<u64>> {
        log.borrow_mut().push(ids.clone());
        ids.iter_mut().for_each(|id| *id += 1);
        ids.into_iter().map(|id| (id != 4).then_some(id)).collect()
    }

    #[memcached(key = "batches:listed:<id>", each(id in ids), cache = cache, skip(cache))]
    fn of_a_borrowed_list(cache: &Cache, ids: &Vec<String>) -> Vec<usize> {
        ids.iter().map(String::len).collect()
    }

    #[memcached(key = "batches:set:<id>", each(id in ids), cache = cache, skip(cache))]
    fn of_a_set(cache: &Cache, ids: HashSet<u64>) -> Fault {
        ids.into_iter().map(|id| if id == 13 { Err(id.to_string()) } else { Ok((id, id.to_string())) }).collect()
    }

    #[memcached(key = "batches:sorted:<id>", each(id in ids), cache = cache, skip(cache))]
    fn of_a_borrowed_set(cache: &Cache, ids: &BTreeSet<u64>) -> Fault {
        Ok(ids.iter().map(|id| (*id, format!("{id}!"))).collect())
    }

    #[memcached(key = "batches:any:<id>", each(id in ids), cache = cache, skip(cache))]
    fn of_anything(cache: &Cache, ids: impl IntoIterator<Item = u64>) -> Vec<u64> {
        ids.into_iter().map(|id| id * 2).collect()
    }

    #[memcached(key = "batches:texts:<id>", each(id in ids), cache = cache, skip(cache))]
    fn of_texts<'a>(cache: &Cache, ids: &'a [&'a str]) -> Vec<Result<usize, String>> {
        ids.iter().map(|id| id.parse().map_err(|_| format!("{id} is no number"))).collect()
    }

    #[memcached(key = "batches:unnamed:<id>", each(id in ids), cache = cache, skip(cache))]
    fn unnamed(cache: &Cache, ids: &[u64]) -> impl Future<Output = Vec<u64>> + Send {
        let ids = ids.to_vec();
        async move {
            tokio::task::yield_now().await;
            ids
        }
    }

    #[memcached(key = "batches:boxed:<id>", each(id in ids), grace = 60, cache = &cache, skip(cache))]
    fn boxed(cache: Cache, ids: Vec<u64>) -> Pin<Box<dyn Future<Output = Vec<u64>> + Send>> {
        Box::pin(async move { ids })
    }

    #[async_trait]
    trait Shop {
        async fn prices(&self, ids: &[u64]) -> Vec<u64>;
    }

    #[async_trait]
    impl Shop for Cache {
        #[memcached(key = "batches:trait:<id>", each(id in ids), cache = self, skip(self))]
        async fn prices(&self, ids: &[u64]) -> Vec<u64> {
            tokio::task::yield_now().await;
            ids.to_vec()
        }
    }

    #[memcached(key = "batches:generic:<id>", each(id in ids), cache = cache, skip(cache))]
    fn generic<T: Clone + KeyPart + Into<u64>, const N: u64>(cache: &Cache, ids: &[T]) -> Vec<u64> {
        ids.iter().cloned().map(|id| id.into() * N).collect()
    }

    #[tokio::test]
    async fn any_function_computes_many_values() {
        let cache = Cache::embedded();
        for _ in 0..2 {
            assert_eq!(unnamed(&cache, &[1, 2]).await, [1, 2]);
            assert_eq!(boxed(cache.clone(), vec![3]).await, [3]);
            assert_eq!(Shop::prices(&cache, &[4, 4]).await, [4, 4]);
            assert_eq!(generic::<u8, 2>(&cache, &[1, 5]), [2, 10]);
            assert_eq!(generic::<u32, 3>(&cache, &[1, 5]), [3, 15]);
            assert_eq!((several(vec![1, 2]).await, some(&[2, 3])), (vec![1, 2], vec![2, 3]));
        }
    }

    #[test]
    fn any_collection_holds_elements_and_results() {
        let (cache, log) = (Cache::embedded(), Log::default());
        for _ in 0..2 {
            let expected = [Some(2), None, Some(2), Some(6)];
            assert_eq!(of_a_list(&cache, &log, vec![1, 3, 1, 5]), expected);
            let words = ["a", "bcd", "a"].map(str::to_owned).to_vec();
            assert_eq!(of_a_borrowed_list(&cache, &words), [1, 3, 1]);
            let set = |ids: &[u64]| ids.iter().copied().collect::<HashSet<u64>>();
            let named = |ids: &[u64]| ids.iter().map(|id| (*id, id.to_string())).collect::<BTreeMap<_, _>>();
            assert_eq!(of_a_set(&cache, set(&[1, 2])), Ok(named(&[1, 2])));
            assert_eq!(of_a_set(&cache, set(&[1, 13])), Err("13".to_owned()));
            assert_eq!(of_a_borrowed_set(&cache, &BTreeSet::from([7])), Ok(BTreeMap::from([(7, "7!".to_owned())])));
            assert_eq!(of_anything(&cache, 1..4), [2, 4, 6]);
            assert_eq!(of_texts(&cache, &["1", "x"]), [Ok(1), Err("x is no number".to_owned())]);
        }
        // `None` is not stored.
        assert_eq!(log.take(), [vec![1, 3, 5], vec![3]]);
    }
}

/// Async functions, on a real server.
mod tasks {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::support::memcached::Memcached;

    struct Shop {
        cache: Cache,
        computed: Mutex<Vec<Vec<u64>>>,
        runs: AtomicU32,
    }

    impl Shop {
        #[memcached(key = "batches:price:<id>", each(id in ids), ttl = 60, cache = &self.cache, skip(self))]
        async fn prices(&self, ids: &[u64]) -> Result<HashMap<u64, String>, String> {
            tokio::task::yield_now().await;
            self.computed.lock().unwrap().push(ids.to_vec());
            if self.runs.fetch_add(1, Ordering::Relaxed) == 0 {
                return Err("not yet".to_owned());
            }
            Ok(ids.iter().map(|id| (*id, format!("{id} €"))).collect())
        }

        #[memcached(key = "batches:price:<id>", ttl = 60, cache = &self.cache, skip(self))]
        async fn price(&self, id: u64) -> Option<String> {
            Some(format!("{id} $"))
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_async_method_computes_what_is_missing() {
        let servers = [Memcached::start(), Memcached::start(), Memcached::start()];
        let servers = servers.each_ref().map(Memcached::address).join(",");
        let cache = Cache::builder().servers(&servers).build().unwrap();
        let shop = std::sync::Arc::new(Shop { cache, computed: Mutex::default(), runs: AtomicU32::new(0) });
        let prices = |ids: Vec<u64>| {
            let shop = std::sync::Arc::clone(&shop);
            async move { tokio::spawn(async move { shop.prices(&ids).await }).await.unwrap() }
        };
        assert_eq!(prices(vec![1, 2]).await, Err("not yet".to_owned()));
        let expected = |ids: std::ops::Range<u64>| ids.map(|id| (id, format!("{id} €"))).collect::<HashMap<_, _>>();
        assert_eq!(prices((0..100).collect()).await, Ok(expected(0..100)));
        assert_eq!(prices((0..100).collect()).await, Ok(expected(0..100)));
        assert_eq!(shop.price(7).await, Some("7 €".to_owned()));
        assert_eq!(shop.price(101).await, Some("101 $".to_owned()));
        let mut both = expected(99..103);
        both.insert(101, "101 $".to_owned());
        assert_eq!(prices((99..103).collect()).await, Ok(both));
        let computed = shop.computed.lock().unwrap();
        let [first, middle @ .., last] = &computed[..] else { panic!("{computed:?}") };
        assert_eq!([first, last], [&[1, 2], &[100, 102]]);
        // A second body computes 1 and 2 if their leases had not been given back yet.
        let mut middle = middle.concat();
        middle.sort_unstable();
        assert_eq!(middle, (0..100).collect::<Vec<_>>());
    }
}

/// Companions of one element, and of several.
mod companions {
    use std::time::Duration;

    use memocached::{AsyncEntries, Entries};

    use super::*;
    use crate::support::memcached::Memcached;

    #[memcached(
        key = "batches:kept:<id>", each(id in ids), ttl = 60, grace = 60, cache = cache, skip(cache), entry = kept_entry
    )]
    fn kept(cache: &Cache, ids: &[u64]) -> Result<HashMap<u64, String>, String> {
        Ok(ids.iter().map(|id| (*id, format!("no. {id}"))).collect())
    }

    #[memcached(key = "batches:later:<id>", each(id in ids), ttl = 60, cache = cache, skip(cache), entry = later_entry)]
    async fn later(cache: &Cache, ids: impl IntoIterator<Item = u64>) -> Vec<u64> {
        ids.into_iter().map(|id| id * 3).collect()
    }

    fn all<T>(results: Vec<Result<T, memocached::Error>>) -> Vec<T> {
        results.into_iter().map(Result::unwrap).collect()
    }

    #[test]
    fn several_entries_are_read_replaced_and_removed_at_once() {
        let mut servers = [Memcached::start(), Memcached::start(), Memcached::start()];
        let list = servers.each_ref().map(Memcached::address).join(",");
        let distant = Cache::builder().servers(&list).timeout(Duration::from_secs(10)).build().unwrap();
        for cache in [Cache::embedded(), distant.clone()] {
            assert_eq!(kept_entry(&cache, &1).key(), "batches:kept:1");
            kept(&cache, &[1, 2]).unwrap();
            let entries: Entries<Option<String>> = [2, 3, 1].iter().map(|id| kept_entry(&cache, id)).collect();
            let texts = |texts: [Option<&str>; 3]| texts.map(|text| text.map(str::to_owned));
            assert_eq!(all(entries.get_many()), texts([Some("no. 2"), None, Some("no. 1")]));
            all(entries.put_many(&["b", "c", "a"].map(str::to_owned)));
            assert_eq!(kept(&cache, &[3]).unwrap()[&3], "c");
            assert_eq!(all(entries.get_many()), texts([Some("b"), Some("c"), Some("a")]));
            assert_eq!(all(entries.invalidate_many()), [true; 3]);
            // They are stale, and the next call computes them.
            assert_eq!(all(entries.get_many()), texts([None; 3]));
            assert_eq!(kept(&cache, &[1]).unwrap()[&1], "no. 1");
            assert_eq!(all(entries.get_many()), texts([None, None, Some("no. 1")]));
            assert_eq!(all(entries.delete_many()), [true; 3]);
            assert_eq!(all(entries.delete_many()), [false; 3]);
        }
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            assert_eq!(later(&distant, [1, 2]).await, [3, 6]);
            let entries: AsyncEntries<u64> = [2, 5].iter().map(|id| later_entry(&distant, id)).collect();
            assert_eq!(all(entries.get_many().await), [Some(6), None]);
            all(entries.put_many(&[7, 8]).await);
            assert_eq!(later(&distant, [5, 2]).await, [8, 7]);
            assert_eq!(all(entries.invalidate_many().await), [true; 2]);
            assert_eq!(all(entries.delete_many().await), [false; 2]);
        });
        // A lost node takes its own entries along.
        let ids: Vec<u64> = (0..100).collect();
        kept(&distant, &ids).unwrap();
        servers[1].kill();
        let entries: Entries<Option<String>> = ids.iter().map(|id| kept_entry(&distant, id)).collect();
        let found = entries.get_many();
        let lost = found.iter().filter(|value| value.is_err()).count();
        assert!(found.iter().flatten().all(Option::is_some) && (10..60).contains(&lost), "{lost} lost");
    }
}

/// Several batches at once.
mod together {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc::channel;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::support::lag::Lag;
    use crate::support::memcached::{Memcached, until};

    type Body<'a> = &'a (dyn Fn(&[u64]) + Sync);

    macro_rules! sites {
        ($($site:ident),*) => {$(
            /// A site of its own: how long computing usually takes is known of each.
            #[memcached(key = "overlap:<n>", each(n in numbers), ttl = 60, cache = cache, skip(cache, body))]
            fn $site(cache: &Cache, numbers: &[u64], body: Body<'_>) -> Vec<u64> {
                body(numbers);
                numbers.iter().map(|n| n * 2).collect()
            }
        )*};
    }

    fn doubled(numbers: &[u64]) -> Vec<u64> {
        numbers.iter().map(|n| n * 2).collect()
    }

    /// As callers of one process, and of two.
    #[test]
    fn what_was_won_is_stored_before_anything_is_waited_for() {
        sites!(first, second);
        let server = Memcached::start();
        let cache = server.cache();
        for (one, other) in [(cache.clone(), cache.clone()), (server.cache(), server.cache())] {
            let ((begun, begins), (done, is_done)) = (channel(), channel());
            let (is_done, runs) = (Mutex::new(is_done), Mutex::new(Vec::new()));
            std::thread::scope(|scope| {
                let one = &one;
                let leader = scope.spawn(move || {
                    first(one, &[1, 2, 3], &|numbers| {
                        assert_eq!(numbers, [1, 2, 3]);
                        begun.send(()).unwrap();
                        is_done.lock().unwrap().recv().unwrap();
                    })
                });
                begins.recv().unwrap();
                // What takes long is waited for patiently.
                let (runs, other) = (&runs, &other);
                let body = move |numbers: &[u64]| {
                    std::thread::sleep(Duration::from_millis(300));
                    runs.lock().unwrap().push(numbers.to_vec());
                };
                let follower = scope.spawn(move || second(other, &[4, 3, 2], &body));
                // Stored, although the others are not there yet.
                until("the first body", || server.stored("overlap:4").filter(|value| !value.is_empty()));
                done.send(()).unwrap();
                assert_eq!(follower.join().unwrap(), [8, 6, 4]);
                assert_eq!(leader.join().unwrap(), [2, 4, 6]);
                assert_eq!(*runs.lock().unwrap(), [vec![4]]);
            });
            server.command("flush_all");
        }
    }

    /// It has won nothing, and waits for another process.
    #[test]
    fn a_lost_server_makes_a_batch_that_waits_compute_only_its_own() {
        sites!(leads, follows);
        let mut servers = [Memcached::start(), Memcached::start()];
        let list = servers.each_ref().map(Memcached::address).join(",");
        let cache = || Cache::builder().servers(&list).timeout(Duration::from_secs(10)).build().unwrap();
        let (one, other) = (cache(), cache());
        let numbers: Vec<u64> = (0..40).collect();
        let ((begun, begins), (done, is_done)) = (channel(), channel());
        let (is_done, runs) = (Mutex::new(is_done), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            let (numbers, runs) = (&numbers, &runs);
            let leader = scope.spawn(move || {
                leads(&one, numbers, &|_| {
                    begun.send(()).unwrap();
                    is_done.lock().unwrap().recv().unwrap();
                })
            });
            begins.recv().unwrap();
            let is_held = |n: &u64| servers[1].stored(&format!("overlap:{n}")).is_some();
            let lost: Vec<u64> = numbers.iter().copied().filter(is_held).collect();
            let before = servers[1].stat("cmd_get");
            let follower = scope.spawn(move || {
                follows(&other, numbers, &|numbers| {
                    runs.lock().unwrap().push(numbers.to_vec());
                    let _ = done.send(());
                })
            });
            let asked = lost.len() as u64;
            until("the other to ask again", || (servers[1].stat("cmd_get") >= before + 2 * asked).then_some(()));
            servers[1].kill();
            assert_eq!(follower.join().unwrap(), doubled(numbers));
            assert_eq!(leader.join().unwrap(), doubled(numbers));
            // The leader may be overtaken after that: a body takes no time here.
            assert_eq!(runs.lock().unwrap()[0], lost);
        });
    }

    /// The holder of these leases has died.
    #[test]
    fn what_nobody_computes_is_computed_by_a_second_body_and_stored() {
        sites!(orphans);
        let server = Memcached::start();
        let (cache, lag) = (server.cache(), Lag::watch());
        let runs = Mutex::new(Vec::new());
        let body: Body<'_> = &|numbers| {
            std::thread::sleep(Duration::from_millis(50));
            runs.lock().unwrap().push(numbers.to_vec());
        };
        orphans(&cache, &[0], body);
        let held: Vec<u64> = (1..40).collect();
        held.iter().for_each(|n| assert!(server.command(&format!("mg overlap:{n} N30 c t")).contains('W')));
        let all: Vec<u64> = (0..50).collect();
        let begun = Instant::now();
        assert_eq!(orphans(&cache, &all, body), doubled(&all));
        lag.check("both bodies and the wait", begun.elapsed(), Duration::from_millis(50 * 2 + 50 * 3));
        assert_eq!(*runs.lock().unwrap(), [vec![0], (40..50).collect(), held]);
        // All of it was taken over: at once, unless the machine was too slow for that.
        let computes_nothing = || {
            let before = runs.lock().unwrap().len();
            assert_eq!(orphans(&cache, &all, body), doubled(&all));
            runs.lock().unwrap().len() == before
        };
        assert!((0..4).any(|_| computes_nothing()), "{:?}", runs.lock().unwrap());
    }

    /// Each batch's body asks for what the other computes.
    #[test]
    fn batches_that_ask_for_each_other_compute_instead_of_waiting() {
        sites!(ping, pong);
        let (server, lag) = (Memcached::start(), Lag::watch());
        for cache in [Cache::embedded(), server.cache()] {
            let barrier = std::sync::Barrier::new(2);
            let begun = Instant::now();
            std::thread::scope(|scope| {
                let (cache, barrier) = (&cache, &barrier);
                let quiet: Body<'_> = &|_| {};
                scope.spawn(move || {
                    let body: Body<'_> = &|_| {
                        barrier.wait();
                        assert_eq!(pong(cache, &[4, 3], quiet), [8, 6]);
                    };
                    assert_eq!(ping(cache, &[1, 2], body), [2, 4]);
                });
                scope.spawn(move || {
                    let body: Body<'_> = &|_| {
                        barrier.wait();
                        assert_eq!(ping(cache, &[2, 1], quiet), [4, 2]);
                    };
                    assert_eq!(pong(cache, &[3, 4], body), [6, 8]);
                });
            });
            // Patience would end after five seconds.
            lag.check("the circle", begun.elapsed(), Duration::from_secs(3));
        }
    }

    #[memcached(key = "cancelled:<n>", each(n in numbers), ttl = 60, cache = cache, skip(cache, runs))]
    async fn slowly(cache: &Cache, numbers: &[u64], runs: &AtomicU32) -> Vec<u64> {
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        runs.fetch_add(1, Ordering::Relaxed);
        numbers.iter().map(|n| n * 2).collect()
    }

    fn holds_a_lease(server: &Memcached, numbers: &[u64]) -> bool {
        numbers.iter().any(|n| server.stored(&format!("cancelled:{n}")).is_some_and(|value| value.is_empty()))
    }

    #[test]
    fn a_batch_that_is_dropped_at_any_poll_leaves_its_elements_to_others() {
        let servers = [Memcached::start(), Memcached::start()];
        let list = servers.each_ref().map(Memcached::address).join(",");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let distant = Cache::builder().servers(&list).timeout(Duration::from_secs(10)).build().unwrap();
        let numbers: Vec<u64> = (0..20).collect();
        for cache in [Cache::embedded(), distant] {
            let runs = AtomicU32::new(0);
            // A first body, so that it is known how long computing takes.
            runtime.block_on(slowly(&cache, &[99], &runs));
            for polls in 1..200 {
                let is_over = runtime.block_on(async {
                    let mut call = std::pin::pin!(slowly(&cache, &numbers, &runs));
                    let mut left = polls;
                    std::future::poll_fn(|context| {
                        left -= 1;
                        match call.as_mut().poll(context) {
                            std::task::Poll::Ready(_) => std::task::Poll::Ready(true),
                            std::task::Poll::Pending if left == 0 => std::task::Poll::Ready(false),
                            std::task::Poll::Pending => std::task::Poll::Pending,
                        }
                    })
                    .await
                });
                let given_back = Instant::now();
                while servers.iter().any(|server| holds_a_lease(server, &numbers)) {
                    assert!(given_back.elapsed() < Duration::from_secs(2), "a lease is left after {polls} polls");
                    std::thread::sleep(Duration::from_millis(1));
                }
                let begun = Instant::now();
                let again = runtime.block_on(slowly(&cache, &numbers, &runs));
                assert_eq!(again, doubled(&numbers), "after {polls} polls");
                assert!(begun.elapsed() < Duration::from_secs(3), "after {polls} polls: {:?}", begun.elapsed());
                let before = runs.load(Ordering::Relaxed);
                assert_eq!(runtime.block_on(slowly(&cache, &numbers, &runs)), again);
                assert_eq!(runs.load(Ordering::Relaxed), before, "all is stored");
                memocached::Client::of(&cache)
                    .flush_all(Duration::ZERO)
                    .into_iter()
                    .for_each(|(_, done)| done.unwrap());
                if is_over {
                    assert!(polls > 4, "{polls} polls");
                    break;
                }
            }
        }
    }
}

/// Old values, refreshed in the background; and errors of the cache.
mod refreshed {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use memocached::{AsyncEntries, Error};

    use super::*;
    use crate::support::memcached::{Memcached, until};

    type Gate = Arc<(AtomicU64, tokio::sync::Semaphore)>;

    /// Owns all it takes, so that it may run after its caller has gone.
    #[memcached(
        key = "refreshed:<id>", each(id in ids), ttl = 60, grace = 60, cache = &cache, skip(cache, gate),
        entry = versions_entry
    )]
    async fn versions(cache: Cache, gate: Gate, ids: Vec<u64>) -> Result<HashMap<u64, u64>, String> {
        gate.1.acquire().await.unwrap().forget();
        let version = gate.0.fetch_add(1, Ordering::Relaxed) + 1;
        if version == 3 {
            return Err("down".to_owned());
        }
        Ok(ids.into_iter().map(|id| (id, version)).collect())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_due_is_served_and_computed_anew_by_one_body_in_the_background() {
        let server = Memcached::start();
        for cache in [Cache::embedded(), server.cache()] {
            let gate: Gate = Arc::new((AtomicU64::new(0), tokio::sync::Semaphore::new(1)));
            let call = |ids: &[u64]| versions(cache.clone(), Arc::clone(&gate), ids.to_vec());
            let all = |version| Ok(HashMap::from([(1, version), (2, version), (3, version)]));
            let invalidate = async |ids: &[u64]| {
                let entries: AsyncEntries<Option<u64>> =
                    ids.iter().map(|id| versions_entry(cache.clone(), id)).collect();
                entries.invalidate_many().await.into_iter().for_each(|there| assert!(there.unwrap()));
            };
            assert_eq!(call(&[1, 2, 3]).await, all(1));
            invalidate(&[1, 2, 3]).await;
            // The body stands at the gate, and no caller waits for it.
            assert_eq!(call(&[1, 2, 3]).await, all(1));
            assert_eq!(call(&[3, 2, 1]).await, all(1));
            gate.1.add_permits(1);
            until("the new values", || {
                let is_new = |id| {
                    let found = tokio::task::block_in_place(|| {
                        tokio::runtime::Handle::current().block_on(versions_entry(cache.clone(), id).get())
                    });
                    found.unwrap() == Some(2)
                };
                [1, 2, 3].iter().all(is_new).then_some(())
            });
            assert_eq!(call(&[1, 2, 3]).await, all(2));
            // One that fails leaves the old values, and what has none is the caller's.
            invalidate(&[1, 2, 3]).await;
            gate.1.add_permits(1);
            assert_eq!(call(&[1, 2, 3]).await, all(2));
            until("the body", || (gate.0.load(Ordering::Relaxed) == 3).then_some(()));
            assert_eq!(call(&[1, 2, 3]).await, all(2));
            gate.1.add_permits(1);
            let mixed = call(&[1, 4]).await.unwrap();
            assert_eq!(mixed, HashMap::from([(1, 2), (4, 4)]));
        }
    }

    #[memcached(key = "told:<id>", each(id in ids), on_error = propagate, cache = cache, skip(cache))]
    fn told(cache: &Cache, ids: &[u64]) -> Result<Vec<u64>, Error> {
        Ok(ids.to_vec())
    }

    #[memcached(key = "told:<id>", each(id in ids), cache = cache, skip(cache))]
    fn untold(cache: &Cache, ids: &[u64]) -> Result<Vec<u64>, Error> {
        Ok(ids.to_vec())
    }

    #[test]
    fn a_lost_node_fails_the_call_only_if_that_is_wanted() {
        let mut servers = [Memcached::start(), Memcached::start()];
        let list = servers.each_ref().map(Memcached::address).join(",");
        let cache = Cache::builder().servers(&list).timeout(Duration::from_secs(10)).build().unwrap();
        let ids: Vec<u64> = (0..50).collect();
        assert_eq!(told(&cache, &ids).unwrap(), ids);
        servers[0].kill();
        assert!(told(&cache, &ids).is_err());
        assert_eq!(untold(&cache, &ids).unwrap(), ids);
        // Nothing is left held on the other.
        servers[1].command("flush_all");
        assert!(told(&cache, &ids).is_err());
        let is_lease = |id: &u64| servers[1].stored(&format!("told:{id}")).is_some_and(|value| value.is_empty());
        assert!(!ids.iter().any(is_lease), "a lease was left behind");
    }
}

/// What telemetry shows of a batch.
mod telemetry {
    use opentelemetry::trace::SpanKind;

    use super::*;
    use crate::support::memcached::Memcached;
    use crate::support::recording::{Recording, attribute};

    #[memcached(key = "batches:traced:<id>", each(id in ids), ttl = 60, name = "traced", cache = cache, skip(cache))]
    fn traced(cache: &Cache, ids: &[u64]) -> Vec<u64> {
        ids.to_vec()
    }

    #[test]
    fn a_batch_has_one_span_with_its_counts_and_one_exchange_with_each_node() {
        let servers = [Memcached::start(), Memcached::start()];
        let list = servers.each_ref().map(Memcached::address).join(",");
        let cache = Cache::builder().servers(&list).build().unwrap();
        let ids: Vec<u64> = (0..40).collect();
        traced(&cache, &ids[..30]);
        let recording = Recording::begin();
        traced(&cache, &ids);
        let spans = recording.spans();
        let [span] = spans.named("traced")[..] else { panic!("one span") };
        let counts = ["cache.keys", "cache.hits", "cache.misses"].map(|key| attribute(span, key));
        assert_eq!(counts, [40, 30, 10].map(|number: i64| Some(number.into())));
        let [body] = spans.named("compute")[..] else { panic!("one body") };
        assert_eq!(attribute(body, "cache.keys"), Some(10_i64.into()));
        for verb in ["get_many", "set_many"] {
            for server in &servers {
                let name = format!("{verb} {}", server.address());
                let [exchange] = spans.named(&name)[..] else { panic!("one {name}") };
                assert_eq!(exchange.span_kind, SpanKind::Client);
                assert_eq!(exchange.parent_span_id, span.span_context.span_id());
            }
        }
        let report = memocached::report();
        let function = report.functions.iter().find(|function| function.name == "traced").unwrap();
        assert_eq!((function.hits, function.misses, function.absent), (30, 40, 40), "{function:?}");
    }
}
