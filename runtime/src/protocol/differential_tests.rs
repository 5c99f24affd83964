//! Tests that this transport and that of the `memcache` crate get the same
//! replies to the same commands.

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::time::Duration;

    use memcache::exp::{
        ArithmeticMode, ArithmeticOptions, DeleteOptions, Error as Failure, GetOptions, MetaCommand, MetaCommandResult,
        MetaConnection, MetaOp, ReturnCode, SetMode, SetOptions, build_arithmetic, build_delete, build_get, build_set,
        parse_meta_result,
    };
    use proptest::prelude::*;

    use crate::error::ErrorKind;
    use crate::exchange::{Direction, Grant, Guard, Item, Note, Numbering, Outcome, Reply, Request, Token, Ttl, Write};
    use crate::server::Protocol;
    use crate::store::Store;
    use crate::time::budget::Budget;

    const LEASE: u32 = 60;
    const TTL: u32 = 1_000;

    /// A request for one of two keys. A guarded one is guarded by the CAS unique
    /// that was read last.
    #[derive(Clone, Debug)]
    enum Step {
        Lookup { refresh: bool },
        Peek,
        Invalidate { ends: bool, guarded: bool },
        GetAndTouch { ends: bool },
        Touch { ends: bool },
        Store { value: Vec<u8>, flags: u32, ends: bool, how: Write, guarded: bool },
        Delete { guarded: bool },
        Count { by: u64, direction: Direction },
    }

    fn step() -> impl Strategy<Value = (Step, bool)> {
        let value = prop_oneof![
            // Not beginning with a digit, after which memcached could read on
            // into the previous value.
            prop::collection::vec(any::<u8>(), 0..40).prop_map(|tail| [&b"x"[..], &tail].concat()),
            // memcached 1.6.18 reads some numbers above 2^63 as negative.
            any::<u32>().prop_map(|number| number.to_string().into_bytes()),
            (0..20_u8).prop_map(|number| number.to_string().into_bytes()),
            Just(Vec::new()),
            (0..9_000_usize).prop_map(|length| vec![b'v'; length]),
        ];
        let how = prop_oneof![
            4 => Just(Write::Set),
            1 => Just(Write::Add),
            1 => Just(Write::Replace),
            1 => Just(Write::Append),
            1 => Just(Write::Prepend),
        ];
        // An empty item with a note is a lease here, and a value to the oracle.
        let flags = (1..=u32::MAX).prop_filter("a note", |flags| Note::of(*flags).is_none());
        let direction = prop_oneof![Just(Direction::Up), Just(Direction::Down)];
        let step = prop_oneof![
            3 => any::<bool>().prop_map(|refresh| Step::Lookup { refresh }),
            1 => any::<(bool, bool)>().prop_map(|(ends, guarded)| Step::Invalidate { ends, guarded }),
            2 => Just(Step::Peek),
            1 => any::<bool>().prop_map(|ends| Step::GetAndTouch { ends }),
            1 => any::<bool>().prop_map(|ends| Step::Touch { ends }),
            4 => (value, flags, any::<bool>(), how, any::<bool>()).prop_map(|(mut value, flags, ends, how, guarded)| {
                if matches!(how, Write::Append | Write::Prepend) {
                    // These must not grow a number that large either.
                    value.insert(0, b'x');
                }
                Step::Store { value, flags, ends, how, guarded: guarded && how == Write::Set }
            }),
            1 => any::<bool>().prop_map(|guarded| Step::Delete { guarded }),
            2 => (0..30_u64, direction).prop_map(|(by, direction)| Step::Count { by, direction }),
        ];
        (step, any::<bool>())
    }

    /// The steps that the classic protocol can express.
    fn classic(steps: &[(Step, bool)]) -> Vec<(Step, bool)> {
        let has_form = |step: &Step| {
            !matches!(step, Step::Lookup { .. } | Step::Invalidate { .. } | Step::Delete { guarded: true })
        };
        steps.iter().filter(|(step, _)| has_form(step)).cloned().collect()
    }

    fn ttl(ends: bool) -> Ttl {
        if ends { Ttl::For(Duration::from_secs(TTL.into())) } else { Ttl::Forever }
    }

    /// The replies of `ask` to the steps, without CAS uniques and times, which
    /// differ between servers.
    fn answers(run: &str, steps: &[(Step, bool)], mut ask: impl FnMut(&Request<'_>) -> Answer) -> Vec<Answer> {
        let names = [true, false].map(|first| format!("{run}:{first}"));
        let mut seen = [Guard::Unchanged(0); 2];
        let mut answer = |(step, first): &(Step, bool)| {
            let (key, seen) = (names[usize::from(*first)].as_str(), &mut seen[usize::from(*first)]);
            let guard = |guarded, seen| if guarded { seen } else { Guard::None };
            let request = match *step {
                Step::Lookup { refresh } => {
                    let refresh = if refresh { Duration::from_secs(u64::from(TTL) + 1) } else { Duration::ZERO };
                    Request::Lookup { key, lease: Duration::from_secs(LEASE.into()), refresh }
                }
                Step::Invalidate { ends, guarded } => {
                    let ttl = ends.then_some(Duration::from_secs(TTL.into()));
                    Request::Invalidate { key, guard: guard(guarded, *seen), ttl }
                }
                Step::Peek => Request::Peek { key },
                Step::GetAndTouch { ends } => Request::GetAndTouch { key, ttl: ttl(ends) },
                Step::Touch { ends } => Request::Touch { key, ttl: ttl(ends) },
                Step::Store { ref value, flags, ends, how, guarded } => {
                    Request::Store { key, value, flags, ttl: ttl(ends), how, guard: guard(guarded, *seen) }
                }
                Step::Delete { guarded } => Request::Delete { key, guard: guard(guarded, *seen) },
                Step::Count { by, direction } => Request::Count { key, by, direction },
            };
            match ask(&request) {
                Ok(Reply::Found(item)) => {
                    *seen = match request.numbering() {
                        Numbering::None => Guard::Unchanged(item.cas),
                        Numbering::Received | Numbering::Sent => Guard::Held(item.cas),
                    };
                    Ok(Reply::Found(Item { cas: 0, seconds_left: item.seconds_left.map(|_| 0), ..item }))
                }
                Ok(Reply::Missing(Grant::Won(cas))) => {
                    *seen = Guard::Held(cas);
                    Ok(Reply::Missing(Grant::Won(0)))
                }
                Ok(Reply::Missing(Grant::Lost { note, .. })) => Ok(Reply::Missing(Grant::Lost { cas: 0, note })),
                answer => answer,
            }
        };
        steps.iter().map(&mut answer).collect()
    }

    type Answer = Result<Reply, ErrorKind>;

    fn kind(outcome: Outcome) -> Answer {
        outcome.map_err(|error| error.kind())
    }

    /// Asks through the transport of the `memcache` crate.
    fn ask_oracle(connection: &mut MetaConnection, request: &Request<'_>) -> Answer {
        match connection.execute(&command(request)).and_then(parse_meta_result) {
            Ok(result) => Ok(reply(request, result)),
            Err(Failure::Rejected(message)) if message.contains("non-numeric") => Err(ErrorKind::NotANumber),
            Err(error) => panic!("{request:?}: {error}"),
        }
    }

    fn command(request: &Request<'_>) -> MetaCommand {
        let seconds = |ttl: Ttl| Some(if ttl == Ttl::Forever { 0 } else { TTL });
        let compare = |guard| match guard {
            Guard::None => None,
            Guard::Unchanged(cas) | Guard::Held(cas) => Some(cas),
        };
        let mut get = GetOptions::default();
        (get.return_client_flags, get.return_cas, get.return_ttl) = (true, true, true);
        let command = match *request {
            Request::Lookup { key, refresh, .. } => {
                get.vivify_ttl = Some(LEASE);
                get.recache_ttl = Some(refresh).filter(|refresh| !refresh.is_zero()).map(|_| TTL + 1);
                build_get(key, &get)
            }
            Request::Peek { key } | Request::Get { key } => build_get(key, &get),
            Request::GetAndTouch { key, ttl } => {
                // Flags are executed in order, so that the new time is returned.
                let flags =
                    [format!("T{}", seconds(ttl).unwrap_or_default()), "v".into(), "f".into(), "c".into(), "t".into()];
                Ok(flags.into_iter().fold(MetaCommand::new(MetaOp::Get, key), MetaCommand::flag))
            }
            Request::Touch { key, ttl } => {
                (get.value, get.touch) = (false, seconds(ttl));
                build_get(key, &get)
            }
            Request::Store { key, value, flags, ttl, how, guard } => {
                let mut set = SetOptions::default();
                (set.client_flags, set.ttl, set.compare_cas) = (Some(flags), seconds(ttl), compare(guard));
                set.mode = match how {
                    Write::Set => SetMode::Set,
                    Write::Add => SetMode::Add,
                    Write::Replace => SetMode::Replace,
                    Write::Append => SetMode::Append,
                    Write::Prepend => SetMode::Prepend,
                };
                if matches!(how, Write::Append | Write::Prepend) {
                    // The existing item keeps its flags and ttl.
                    (set.client_flags, set.ttl) = (None, None);
                }
                build_set(key, value, &set)
            }
            Request::Delete { key, guard } => {
                let mut delete = DeleteOptions::default();
                delete.compare_cas = compare(guard);
                build_delete(key, &delete)
            }
            Request::Invalidate { key, guard, ttl } => {
                let mut delete = DeleteOptions::default();
                (delete.compare_cas, delete.invalidate, delete.ttl) = (compare(guard), true, ttl.map(|_| TTL));
                build_delete(key, &delete)
            }
            Request::Count { key, by, direction } => {
                let mut count = ArithmeticOptions::default();
                count.delta = Some(by);
                if direction == Direction::Down {
                    count.mode = ArithmeticMode::Decrement;
                }
                build_arithmetic(key, &count)
            }
            _ => unreachable!("no step asks for this"),
        };
        command.expect("a command")
    }

    fn reply(request: &Request<'_>, result: MetaCommandResult) -> Reply {
        let number = |value: &[u8]| std::str::from_utf8(value).expect("digits").parse().expect("a number");
        match (request, result.rc, result.value) {
            (Request::Count { .. }, _, Some(value)) => Reply::Number(number(&value)),
            (_, _, Some(value)) => match (result.client_flags, result.won, result.busy) {
                (Some(0), won, busy) if value.is_empty() && (won || busy) => {
                    let cas = result.cas.expect("a number");
                    Reply::Missing(match request {
                        Request::Lookup { .. } if won => Grant::Won(cas),
                        Request::Lookup { .. } | Request::Peek { .. } => Grant::Lost { cas: 0, note: None },
                        _ => Grant::Free,
                    })
                }
                (flags, ..) => Reply::Found(Item {
                    value,
                    flags: flags.expect("flags"),
                    cas: result.cas.expect("a number"),
                    seconds_left: u64::try_from(result.ttl.expect("a time")).ok(),
                    stale: result.stale,
                    token: match (result.won, result.busy) {
                        (true, _) => Token::Won,
                        (_, true) => Token::Lost,
                        _ => Token::None,
                    },
                }),
            },
            (Request::Touch { .. }, ReturnCode::En, _) => Reply::Absent,
            (_, ReturnCode::En, _) => Reply::Missing(Grant::Free),
            (_, ReturnCode::Hd, _) => Reply::Done,
            (_, ReturnCode::Ns, _) => Reply::NotStored,
            (_, ReturnCode::Ex, _) => Reply::Changed,
            (_, ReturnCode::Nf, _) => Reply::Absent,
            (_, code, _) => panic!("{request:?}: {code:?}"),
        }
    }

    fn budget() -> Budget {
        Budget::new(Duration::from_secs(20), Duration::from_secs(20))
    }

    #[test]
    fn both_transports_get_the_same_replies() {
        let server = crate::memcached::Memcached::start();
        let oracle = RefCell::new(MetaConnection::connect(server.address()).expect("a connection"));
        let ask_oracle = |request: &Request<'_>| ask_oracle(&mut oracle.borrow_mut(), request);
        let [meta, ascii] = [Protocol::Meta, Protocol::Ascii].map(|protocol| Store::on(&server, protocol));
        let runs = Cell::new(0);
        let ask = |store: &Store, request: &Request<'_>| kind(store.ask(request.verb(), request, &budget()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let ask_async = |store: &Store, request: &Request<'_>| {
            let budget = budget();
            kind(runtime.block_on(store.ask_async(request.verb(), request, &budget)))
        };
        let without_time = |answer: Answer| match answer {
            // The classic protocol does not return the time left.
            Ok(Reply::Found(item)) => Ok(Reply::Found(Item { seconds_left: None, ..item })),
            answer => answer,
        };
        proptest!(ProptestConfig::with_cases(200), |(steps in prop::collection::vec(step(), 1..40))| {
            runs.set(runs.get() + 1);
            let run = |name: &str| format!("{}:{name}", runs.get());
            let expected = answers(&run("oracle"), &steps, ask_oracle);
            prop_assert_eq!(&answers(&run("meta"), &steps, |request| ask(&meta, request)), &expected);
            prop_assert_eq!(&answers(&run("async"), &steps, |request| ask_async(&meta, request)), &expected);

            let steps = classic(&steps);
            let expected = answers(&run("classic"), &steps, ask_oracle);
            let expected: Vec<_> = expected.into_iter().map(without_time).collect();
            prop_assert_eq!(&answers(&run("ascii"), &steps, |request| ask(&ascii, request)), &expected);
            prop_assert_eq!(&answers(&run("async-ascii"), &steps, |request| ask_async(&ascii, request)), &expected);
        });
    }
}
