//! Asks the servers on behalf of a client, and waits for their replies.
//!
//! What to ask is worked out in `act`, `batch` and `namespace`, and what the
//! replies mean in `outcome`.

use crate::cache::backend::Backend;
use crate::client::act::Act;
use crate::client::batch::{Changes, Lookups};
use crate::client::namespace::{Flush, Prefix, Settling};
use crate::client::outcome::{Failures, Many, PerNode, all_failed};
use crate::error::Error;
use crate::exchange::{Item, Outcome, Reply, Request, Ttl, Verb};
use crate::telemetry::exchange::Exchange;
use crate::value::item::ToItem;

macro_rules! caller {
    ($(#[$doc:meta])* $caller:ident, $ask:ident, $ask_several:ident, ($($async:tt)*), ($($await:tt)*)) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub(crate) struct $caller(Backend);

        impl $caller {
            pub(crate) fn new(backend: Backend) -> Self {
                $caller(backend)
            }

            pub(crate) fn backend(&self) -> &Backend {
                &self.0
            }

            /// Does something with one key.
            pub(crate) $($async)* fn one(&self, verb: Verb, name: &str, act: Act<'_>) -> Outcome {
                let key = self.prefix()$($await)*?.key(name);
                let act = act.compressed(self.0.settings().compress);
                let request = act.request(&key);
                let outcome = self.ask(verb, request)$($await)*;
                self.0.take_note(&request);
                outcome
            }

            /// Reads several keys.
            pub(crate) $($async)* fn look_up<T>(
                &self,
                verb: Verb,
                names: impl IntoIterator<Item = impl AsRef<str>>,
                read: impl Fn(Item) -> Result<T, Error>,
            ) -> Many<T> {
                let lookups = match self.prefix()$($await)* {
                    Ok(prefix) => Lookups::new(&prefix, self.0.store(), names),
                    Err(error) => return Many::all_failed(names, &error),
                };
                self.found(verb, lookups)$($await)*.read(read)
            }

            /// Reads several keys in their order.
            pub(crate) $($async)* fn look_up_all<T>(
                &self,
                verb: Verb,
                names: impl IntoIterator<Item = impl AsRef<str>>,
                read: impl Fn(Item) -> Result<T, Error>,
            ) -> Result<Vec<Option<T>>, Error> {
                let lookups = Lookups::new(&self.prefix()$($await)*?, self.0.store(), names);
                self.found(verb, lookups)$($await)*.in_order(read)
            }

            /// Writes several keys.
            pub(crate) $($async)* fn store_many<K: AsRef<str>, V: ToItem>(
                &self,
                items: impl IntoIterator<Item = (K, V)>,
                ttl: Ttl,
            ) -> Failures {
                let batch = match self.prefix()$($await)* {
                    Ok(prefix) => Changes::stores(&prefix, &self.0, items, ttl),
                    Err(error) => return all_failed(items.into_iter().map(|(name, _)| name), &error),
                };
                self.work_off(Verb::SetMany, batch)$($await)*
            }

            /// Removes several keys.
            pub(crate) $($async)* fn delete_many(
                &self,
                names: impl IntoIterator<Item = impl AsRef<str>>,
            ) -> Failures {
                let batch = match self.prefix()$($await)* {
                    Ok(prefix) => Changes::deletes(&prefix, self.0.store(), names),
                    Err(error) => return all_failed(names, &error),
                };
                self.work_off(Verb::DeleteMany, batch)$($await)*
            }

            /// Asks every node the same.
            pub(crate) $($async)* fn ask_everyone<T>(
                &self,
                verb: Verb,
                request: Request<'_>,
                read: impl Fn(Reply) -> T,
            ) -> PerNode<T> {
                let exchange = Exchange::with_several(verb, None);
                let (names, batches): (Vec<_>, Vec<_>) = self.0.store().everyone(&request).into_iter().unzip();
                let replies = self.0.store().$ask_several(verb, &exchange, &batches, &self.0.budget())$($await)*;
                self.0.take_note(&request);
                let error = replies.iter().flatten().find_map(|outcome| outcome.as_ref().err());
                exchange.end_all(error);
                let answers = replies.into_iter().flatten().map(|outcome| outcome.map(&read));
                PerNode::new(names.into_iter().zip(answers).collect())
            }

            /// Gives the namespace another generation.
            pub(crate) $($async)* fn flush_namespace(&self) -> Result<(), Error> {
                let flush = Flush::new(self.0.generation())?;
                self.ask(Verb::Set, flush.act()?.request(flush.key()))$($await)*?;
                flush.done();
                Ok(())
            }

            /// Returns what stands in front of keys now.
            $($async)* fn prefix(&self) -> Result<Prefix<'_>, Error> {
                let Some(generation) = self.0.generation() else { return Ok(Prefix::new(self.0.prefix())) };
                if let Some(fresh) = generation.fresh() {
                    return Ok(Prefix::new(fresh));
                }
                let mut settling = Settling::new(generation);
                loop {
                    let (verb, act) = settling.question()?;
                    let outcome = self.ask(verb, act.request(settling.key()))$($await)*;
                    if let Some(prefix) = settling.answered(outcome)? {
                        return Ok(prefix);
                    }
                }
            }

            $($async)* fn ask(&self, verb: Verb, request: Request<'_>) -> Outcome {
                self.0.store().$ask(verb, &request, &self.0.budget())$($await)*
            }

            $($async)* fn found(&self, verb: Verb, mut lookups: Lookups) -> Lookups {
                let exchange = Exchange::with_several(verb, Some(lookups.len()));
                let budget = self.0.budget();
                let keys = lookups.first();
                let replies = self.0.store().$ask_several(verb, &exchange, &keys.by_node(), &budget)$($await)*;
                let doubtful = lookups.take(&keys, replies);
                if !doubtful.is_empty() {
                    let replies = self.0.store().$ask_several(verb, &exchange, &doubtful.by_node(), &budget)$($await)*;
                    lookups.take(&doubtful, replies);
                }
                exchange.end_all(lookups.error());
                lookups
            }

            $($async)* fn work_off(&self, verb: Verb, batch: Changes) -> Failures {
                let exchange = Exchange::with_several(verb, Some(batch.len()));
                let batches = batch.by_node();
                let replies = self.0.store().$ask_several(verb, &exchange, &batches, &self.0.budget())$($await)*;
                batches.iter().flat_map(|batch| &batch.requests).for_each(|request| self.0.take_note(request));
                drop(batches);
                let failures = batch.failures(replies);
                exchange.end_all(failures.first().map(|(_, error)| error));
                failures
            }
        }
    };
}

caller!(
    /// Asks for the blocking client.
    Caller, ask, ask_several, (), ()
);
#[cfg(feature = "tokio")]
caller!(
    /// Asks for the async client.
    AsyncCaller, ask_async, ask_several_async, (async), (.await)
);

/// Closes idle connections, with a word to the servers.
pub(crate) fn quit(backend: &Backend) {
    let exchange = Exchange::with_several(Verb::Quit, None);
    backend.store().quit();
    exchange.end_all(None);
}

/// Closes idle connections.
pub(crate) fn close(backend: &Backend) {
    let exchange = Exchange::with_several(Verb::Close, None);
    backend.store().close();
    exchange.end_all(None);
}
