//! Functions that compute several values at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use memocached::memcached;
use proptest::prelude::*;

use crate::cache::Cache;
use crate::call::mode::{Mode, with_mode};
use crate::config::Settings;
use crate::config::jitter::Jitter;
use crate::exchange::{Reply, Request, Token, Verb};
use crate::time::clock::Clock;

const SECOND: Duration = Duration::from_secs(1);

fn cache() -> (Cache, Clock) {
    let clock = Clock::manual();
    let settings = Settings { jitter: Jitter(0), ..Settings::default() };
    (Cache::at(settings, &clock).expect("the default settings"), clock)
}

type Numbers = Result<HashMap<u32, u32>, String>;

/// What the function computes: nothing for every fifth number.
fn plain(numbers: &[u32]) -> Numbers {
    Ok(numbers.iter().filter(|n| **n % 5 != 0).map(|n| (*n, n * 7)).collect())
}

#[memcached(key = "tens:<n>", each(n in numbers), ttl = 100, cache_none = 20, cache = cache, skip(cache, body))]
fn tens(cache: &Cache, numbers: &[u32], body: &mut dyn FnMut(&[u32]) -> Numbers) -> Numbers {
    body(numbers)
}

#[memcached(key = "tens:<n>", ttl = 100, cache_none = 20, cache = cache, skip(cache), entry = ten_entry)]
fn ten(cache: &Cache, n: u32) -> Option<u32> {
    plain(&[n]).ok()?.remove(&n)
}

#[derive(Clone, Debug)]
enum Act {
    Batch { numbers: Vec<u32>, fails: bool },
    Single(u32),
    Delete(u32),
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let number = || 0..12_u32;
    prop_oneof![
        4 => (prop::collection::vec(number(), 0..8), prop::bool::weighted(0.2))
            .prop_map(|(numbers, fails)| Act::Batch { numbers, fails }),
        1 => number().prop_map(Act::Single),
        1 => number().prop_map(Act::Delete),
        1 => (1..60_u64).prop_map(Act::Pass),
    ]
}

proptest! {
    #[test]
    fn a_batch_returns_what_the_plain_function_does_and_computes_only_what_is_missing(
        acts in prop::collection::vec(act(), 1..40)
    ) {
        let (cache, clock) = cache();
        let mut now = 0;
        // Until when each number is known; a little more and a little less count as both.
        let mut known: BTreeMap<u32, u64> = BTreeMap::new();
        let time = |n: u32| if n.is_multiple_of(5) { 20 } else { 100 };
        for act in acts {
            match act {
                Act::Batch { numbers, fails } => {
                    let mut runs = Vec::new();
                    let body = &mut |numbers: &[u32]| {
                        runs.push(numbers.to_vec());
                        if fails { Err("on purpose".to_owned()) } else { plain(numbers) }
                    };
                    let returned = tens(&cache, &numbers, body);
                    prop_assert!(runs.len() <= 1);
                    let computed = runs.pop().unwrap_or_default();
                    let mut expected: Vec<u32> = Vec::new();
                    for n in &numbers {
                        let is_known = known.get(n).is_some_and(|until| now < *until);
                        let is_open = known.get(n) == Some(&now);
                        let is_computed = if is_open { computed.contains(n) } else { !is_known };
                        if is_computed && !expected.contains(n) {
                            expected.push(*n);
                        }
                    }
                    prop_assert_eq!(&computed, &expected);
                    if fails && !computed.is_empty() {
                        prop_assert_eq!(returned, Err("on purpose".to_owned()));
                    } else {
                        prop_assert_eq!(returned, plain(&numbers));
                        known.extend(computed.iter().map(|n| (*n, now + time(*n))));
                    }
                }
                Act::Single(n) => {
                    prop_assert_eq!(ten(&cache, n), plain(&[n]).unwrap().remove(&n));
                    if known.get(&n).is_none_or(|until| now > *until) {
                        known.insert(n, now + time(n));
                    } else if known.get(&n) == Some(&now) {
                        // Whether it was computed is not known.
                        ten_entry(&cache, n).delete().unwrap();
                        known.remove(&n);
                    }
                }
                Act::Delete(n) => {
                    ten_entry(&cache, n).delete().unwrap();
                    known.remove(&n);
                }
                Act::Pass(seconds) => {
                    now += seconds;
                    clock.advance(Duration::from_secs(seconds));
                }
            }
            prop_assert_eq!(cache.flights().len(), 0);
        }
    }
}

#[test]
fn a_panic_leaves_every_element_to_the_next_call() {
    let (cache, _) = cache();
    let panics = || tens(&cache, &[1, 2, 3], &mut |_| panic!("on purpose"));
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    let mut computed: Vec<u32> = Vec::new();
    assert_eq!(
        tens(&cache, &[1, 2, 3], &mut |numbers| (computed.extend(numbers), plain(numbers)).1),
        plain(&[1, 2, 3])
    );
    assert_eq!((computed, cache.flights().len()), (vec![1, 2, 3], 0));
    assert_eq!(tens(&cache, &[3, 2, 1], &mut |_| panic!("all are there")), plain(&[1, 2, 3]));
}

/// Whether another caller could win the lease on this key now.
fn is_free(cache: &Cache, key: &str) -> bool {
    let lookup = Request::Lookup { key, lease: SECOND, refresh: Duration::ZERO };
    let reply = cache.store().ask(Verb::Get, &lookup, &cache.budget()).unwrap();
    matches!(reply, Reply::Missing(crate::exchange::Grant::Won(_)))
}

#[test]
fn a_failed_body_has_given_all_leases_back_when_its_error_is_returned() {
    let (cache, _) = cache();
    assert_eq!(tens(&cache, &[1, 2, 3], &mut |_| Err("down".to_owned())), Err("down".to_owned()));
    assert!(["tens:1", "tens:2", "tens:3"].iter().all(|key| is_free(&cache, key)));
}

#[test]
fn results_that_belong_to_other_elements_are_returned_as_they_are_and_not_stored() {
    let (cache, _) = cache();
    assert_eq!(tens(&cache, &[1], &mut plain), plain(&[1]));
    let mut runs = Vec::new();
    let mut foreign = |numbers: &[u32]| {
        runs.push(numbers.to_vec());
        plain(&[numbers, &[99]].concat())
    };
    // The body computes all, as it would without a cache.
    assert_eq!(tens(&cache, &[1, 2, 2, 3], &mut foreign), plain(&[1, 2, 3, 99]));
    assert_eq!(tens(&cache, &[2, 3], &mut foreign), plain(&[2, 3, 99]));
    assert_eq!(runs, [vec![2, 3], vec![1, 2, 2, 3], vec![2, 3]]);
    assert!(["tens:2", "tens:3", "tens:99"].iter().all(|key| is_free(&cache, key)));
}

#[memcached(key = "lists:<n>", each(n in numbers), cache = cache, skip(cache, body))]
fn lists(cache: &Cache, numbers: &[u32], body: &mut dyn FnMut(&[u32]) -> Vec<u32>) -> Vec<u32> {
    body(numbers)
}

#[test]
fn fewer_or_more_results_than_elements_belong_to_none() {
    let (cache, _) = cache();
    let none: &mut dyn FnMut(&[u32]) -> Vec<u32> = &mut |_| Vec::new();
    assert_eq!(lists(&cache, &[1, 2], none), Vec::<u32>::new());
    assert_eq!(lists(&cache, &[1, 2], &mut |numbers| [numbers, &[7]].concat()), [1, 2, 7]);
    assert_eq!(lists(&cache, &[1, 2, 1], &mut |numbers| numbers.to_vec()), [1, 2, 1]);
    assert_eq!(lists(&cache, &[2, 1], none), [2, 1]);
}

/// Elements that differ although they have the same key.
#[test]
fn elements_with_one_key_have_one_value() {
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct Name(&'static str);

    impl std::fmt::Display for Name {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(&self.0.to_lowercase())
        }
    }

    #[memcached(key = "names:<name:display>", each(name in names), cache = cache, skip(cache, runs))]
    fn lengths(cache: &Cache, names: &[Name], runs: &mut Vec<usize>) -> HashMap<Name, usize> {
        runs.push(names.len());
        names.iter().map(|name| (name.clone(), name.0.len())).collect()
    }

    let (cache, _) = cache();
    let mut runs = Vec::new();
    let names = [Name("Ada"), Name("ADA"), Name("Bob")];
    let expected: HashMap<_, _> = names.iter().map(|name| (name.clone(), 3)).collect();
    assert_eq!(lengths(&cache, &names, &mut runs), expected);
    assert_eq!(lengths(&cache, &names, &mut runs), expected);
    assert_eq!(runs, [2]);
}

#[memcached(
    key = "graced-batch:<n>", each(n in numbers), ttl = 100, grace = 50, cache = cache, skip(cache, body)
)]
fn graced(cache: &Cache, numbers: &[u32], body: &mut dyn FnMut(&[u32]) -> Numbers) -> Numbers {
    body(numbers)
}

#[test]
fn old_values_are_served_while_they_are_computed_anew_and_when_that_fails() {
    let (cache, clock) = cache();
    let of = |factor: u32| move |numbers: &[u32]| Ok(numbers.iter().map(|n| (*n, n * factor)).collect());
    let pairs = |pairs: &[(u32, u32)]| Ok(pairs.iter().copied().collect::<HashMap<_, _>>());
    assert_eq!(graced(&cache, &[1, 2], &mut of(1)), pairs(&[(1, 1), (2, 2)]));
    clock.advance(101 * SECOND);
    let renewed = graced(&cache, &[1, 2], &mut |numbers| {
        // The others are served what there is.
        assert_eq!(graced(&cache, &[2, 1], &mut |_| panic!("one computes")), pairs(&[(1, 1), (2, 2)]));
        of(10)(numbers)
    });
    assert_eq!(renewed, pairs(&[(1, 10), (2, 20)]));
    clock.advance(101 * SECOND);
    let fails: &mut dyn FnMut(&[u32]) -> Numbers = &mut |_| Err("down".to_owned());
    assert_eq!(graced(&cache, &[1, 2], fails), pairs(&[(1, 10), (2, 20)]));
    // The other has no old value.
    clock.advance(5 * SECOND);
    assert_eq!(graced(&cache, &[1, 3], fails), Err("down".to_owned()));
    clock.advance(5 * SECOND);
    let mut computed: Vec<u32> = Vec::new();
    let mut body = |numbers: &[u32]| (computed.extend(numbers), of(100)(numbers)).1;
    // That another call is at work on the second is seen now for the first time.
    assert_eq!(graced(&cache, &[3, 1, 2], &mut body), pairs(&[(1, 100), (2, 20), (3, 300)]));
    assert_eq!(computed, [3, 1]);
}

#[test]
fn an_element_that_asks_for_itself_is_computed_by_its_own_batch() {
    /// A site of its own, of which it is not known how long computing takes.
    #[memcached(key = "tens:<n>", each(n in numbers), cache = cache, skip(cache, depth))]
    fn nested(cache: &Cache, numbers: &[u32], depth: u32) -> Numbers {
        if depth < 3 {
            assert_eq!(nested(cache, &[3, 2, 1], depth + 1), plain(&[1, 2, 3]));
            assert_eq!(ten(cache, 2), Some(14));
        }
        plain(numbers)
    }

    let (cache, _) = cache();
    let begun = Instant::now();
    assert_eq!(nested(&cache, &[1, 2, 3], 0), plain(&[1, 2, 3]));
    // Patience would end after five seconds.
    assert!(begun.elapsed() < Duration::from_secs(4), "it has waited for itself");
    assert_eq!(cache.flights().len(), 0);
}

#[memcached(
    key = "chosen:<n>", each(n in numbers), cache = cache, skip(cache, runs),
    ttl = if *n == 2 { 10 } else { 1_000 }, when = *n != 3, store_if = |value| *value != 4 && *n != 6
)]
fn chosen(cache: &Cache, numbers: &[u32], runs: &mut Vec<Vec<u32>>) -> Vec<u32> {
    runs.push(numbers.to_vec());
    numbers.to_vec()
}

#[test]
fn ttl_when_and_store_if_are_of_each_element() {
    let (cache, clock) = cache();
    let mut runs = Vec::new();
    let numbers = [1, 2, 3, 4, 5, 6];
    for _ in 0..2 {
        assert_eq!(chosen(&cache, &numbers, &mut runs), numbers);
    }
    clock.advance(11 * SECOND);
    assert_eq!(chosen(&cache, &numbers, &mut runs), numbers);
    assert_eq!(runs, [vec![1, 2, 3, 4, 5, 6], vec![3, 4, 6], vec![2, 3, 4, 6]]);
}

#[test]
fn modes_apply_to_batches() {
    let (cache, _) = cache();
    let mut runs = Vec::new();
    let mut call = |mode, numbers: &[u32]| {
        with_mode(mode, || tens(&cache, numbers, &mut |numbers| (runs.push(numbers.to_vec()), plain(numbers)).1))
    };
    assert_eq!(call(Mode::ReadOnly, &[1, 2, 1]), plain(&[1, 2]));
    assert_eq!(call(Mode::Normal, &[1, 2]), plain(&[1, 2]));
    assert_eq!(call(Mode::ReadOnly, &[1, 3]), plain(&[1, 3]));
    assert_eq!(call(Mode::Refresh, &[1]), plain(&[1]));
    // As without the attribute.
    assert_eq!(call(Mode::Bypass, &[1, 1, 2]), plain(&[1, 2]));
    assert_eq!(runs, [vec![1, 2], vec![1, 2], vec![3], vec![1], vec![1, 1, 2]]);
}

#[memcached(key = "near-batch:<n>", each(n in numbers), near = 10, cache = cache, skip(cache, runs))]
fn kept_near(cache: &Cache, numbers: BTreeSet<u32>, runs: &mut Vec<Vec<u32>>) -> BTreeMap<u32, u32> {
    runs.push(numbers.iter().copied().collect());
    numbers.into_iter().map(|n| (n, n)).collect()
}

#[test]
fn values_that_the_process_keeps_are_asked_for_no_more() {
    let (cache, clock) = cache();
    let mut runs = Vec::new();
    let mut call = |numbers: &[u32]| kept_near(&cache, numbers.iter().copied().collect(), &mut runs);
    call(&[1, 2]);
    // As another process would, so that only the near tier has them.
    for key in ["near-batch:1", "near-batch:2"] {
        let delete = Request::Delete { key, guard: crate::exchange::Guard::None };
        cache.store().ask(Verb::Delete, &delete, &cache.budget()).unwrap();
    }
    assert_eq!(call(&[1, 2, 3]), BTreeMap::from([(1, 1), (2, 2), (3, 3)]));
    clock.advance(11 * SECOND);
    call(&[1, 2, 3]);
    assert_eq!(runs, [vec![1, 2], vec![3], vec![1, 2]]);
}

#[test]
fn the_cost_of_a_value_is_its_share() {
    let (cache, _) = cache();
    let slow = &mut |numbers: &[u32]| {
        std::thread::sleep(Duration::from_millis(40));
        plain(numbers)
    };
    assert_eq!(tens(&cache, &[1, 2, 3, 4], slow), plain(&[1, 2, 3, 4]));
    let costs = [1, 2, 3, 4].map(|n| ten_entry(&cache, n).info().unwrap().expect("it is stored").cost);
    assert!(costs.iter().all(|cost| *cost == costs[0]), "{costs:?}");
    assert!(costs[0] >= Duration::from_millis(10) && costs[0] < Duration::from_millis(40), "{costs:?}");
}

/// Of a stale value that another process is elected for, the lease is not taken.
#[test]
fn a_stale_value_that_another_process_computes_is_served() {
    let (cache, clock) = cache();
    let body: &mut dyn FnMut(&[u32]) -> Numbers = &mut |numbers| plain(numbers);
    assert_eq!(graced(&cache, &[1, 2], body), plain(&[1, 2]));
    clock.advance(101 * SECOND);
    let lookup = Request::Lookup { key: "graced-batch:1", lease: SECOND, refresh: 50 * SECOND };
    let elected = cache.store().ask(Verb::Get, &lookup, &cache.budget()).unwrap();
    assert!(matches!(elected, Reply::Found(item) if item.token == Token::Won));
    let mut computed: Vec<u32> = Vec::new();
    assert_eq!(graced(&cache, &[1, 2], &mut |numbers| (computed.extend(numbers), plain(numbers)).1), plain(&[1, 2]));
    assert_eq!(computed, [2]);
}

/// Each has a time of its own, so that what was stored together is not missing together.
#[test]
fn jitter_is_of_each_element() {
    let clock = Clock::manual();
    let settings = Settings { jitter: Jitter(50), ..Settings::default() };
    let cache = Cache::at(settings, &clock).expect("valid settings");
    let numbers: Vec<u32> = (1..=400).filter(|n| n % 5 != 0).collect();
    let computed = || {
        let mut runs = Vec::new();
        assert_eq!(
            tens(&cache, &numbers, &mut |numbers| (runs.push(numbers.len()), plain(numbers)).1),
            plain(&numbers)
        );
        runs.into_iter().sum::<usize>()
    };
    assert_eq!(computed(), numbers.len());
    clock.advance(49 * SECOND);
    assert_eq!(computed(), 0, "not more than half of the time is taken away");
    // Each step takes what is due, a tenth of them or so.
    let due: Vec<usize> = (0..5).map(|_| (clock.advance(10 * SECOND), computed()).1).collect();
    assert!(due.iter().all(|due| *due > 0 && *due < numbers.len() / 2), "{due:?}");
}

/// Otherwise it would wait for itself, until its patience is over.
#[cfg(feature = "tokio")]
#[tokio::test]
async fn a_batch_that_takes_over_from_a_call_is_that_computation() {
    use std::future::{pending, poll_fn};
    use std::task::Poll;

    #[memcached(key = "taken:<n>", cache = &cache, skip(cache, leads))]
    async fn one(cache: Cache, n: u32, leads: bool) -> u32 {
        if leads { pending().await } else { n }
    }
    #[memcached(key = "taken:<n>", each(n in numbers), cache = &cache, skip(cache))]
    async fn all(cache: Cache, numbers: Vec<u32>) -> HashMap<u32, u32> {
        let mut found = HashMap::new();
        for n in numbers {
            found.insert(n, one(cache.clone(), n, false).await + 1);
        }
        found
    }
    let (cache, _) = cache();
    let mut leader = Box::pin(one(cache.clone(), 1, true));
    assert!(poll_fn(|context| Poll::Ready(leader.as_mut().poll(context).is_pending())).await);
    let batch = tokio::spawn(all(cache.clone(), vec![1]));
    while cache.flights().waiting("taken:1") == 0 {
        tokio::task::yield_now().await;
    }
    drop(leader);
    let found = tokio::time::timeout(3 * SECOND, batch).await.expect("it does not wait for itself");
    assert_eq!(found.expect("it does not panic"), HashMap::from([(1, 2)]));
}
