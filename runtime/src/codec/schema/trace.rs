//! Runs a type's `Deserialize` on made-up data and records what it asks for.
//!
//! A run follows one variant of each enum, so runs are repeated until every
//! variant has been followed. A value that the type refuses, such as zero for a
//! `NonZero`, is replaced by the next sample, and the run starts over. Inside a
//! type that contains itself, options and sequences stay empty, and enums take
//! a variant that is known to terminate. What a type is answered is in `answers`;
//! hashing the record is the parent's task.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde::de::{DeserializeOwned, Visitor};

use super::shape::{Graph, GraphBuilder, Leaf, Place, PlaceKind, ROOT, Reader};

/// The record of a type's structure.
#[derive(Debug, Default)]
pub(super) struct Structure {
    pub(super) text: String,
    /// Whether the text covers the whole type.
    pub(super) complete: bool,
    /// Whether the type has a sequence whose elements may take no bytes, so that
    /// its length is not bounded by the bytes that follow.
    pub(super) weightless: bool,
    /// Whether the type asks the format what comes next (`deserialize_any`).
    pub(super) asks: bool,
    /// The same structure, to compare values with.
    pub(super) graph: Graph,
}

/// Tracing gives up on types nested deeper than this, which bounds the stack.
const DEEPEST: usize = 48;
/// The most runs for one type, however many variants and refused samples it has.
const MOST_RUNS: usize = 2_000;

/// The part of tracing that is compiled for each type; as small as possible.
pub(super) struct Type {
    pub(super) name: fn() -> &'static str,
    /// Runs through the type once; whether the run reached its end.
    ends: fn(&mut Tracer) -> bool,
}

impl Type {
    pub(super) const fn of<T: DeserializeOwned>() -> &'static Type {
        const { &Type { name: std::any::type_name::<T>, ends: |tracer| T::deserialize(tracer).is_ok() } }
    }
}

/// Traces the structure of a type.
pub(super) fn structure(of: &Type) -> Structure {
    let mut tracer = Tracer::default();
    let mut runs = BTreeMap::new();
    for run in 0..MOST_RUNS {
        tracer.begin(run, (of.name)());
        let ended = (of.ends)(&mut tracer);
        let text = std::mem::take(&mut tracer.text);
        if ended {
            // One line per path; sorted, so the order of the runs is ignored.
            runs.insert(text, ());
            if tracer.enums.values().all(|seen| seen.next_unseen().is_none()) {
                return tracer.structure(lines(runs), true);
            }
        } else if !tracer.try_next_sample() {
            // Every run ends here, so the record up to this point is stable.
            runs.insert(text, ());
            break;
        }
    }
    tracer.structure(lines(runs), false)
}

fn lines(runs: BTreeMap<String, ()>) -> String {
    runs.into_keys().collect::<Vec<_>>().join("\n")
}

#[derive(Default)]
pub(super) struct Tracer {
    text: String,
    graph: GraphBuilder,
    /// The place that is read next.
    at: Place,
    /// The named types around the value being traced.
    around: Vec<&'static str>,
    depth: usize,
    /// By the type names of their visitors, which no two enums share.
    enums: BTreeMap<&'static str, Variants>,
    /// Which sample to give for each value that the type asks for, in order.
    samples: Vec<usize>,
    /// How many samples this run has given.
    given: usize,
    run: usize,
    /// How often the type has asked for something that takes bytes.
    taken: u64,
    weightless: bool,
    asks: bool,
}

/// The progress on an enum's variants.
#[derive(Default)]
struct Variants {
    /// For each variant: whether it has been entered, and left with a value.
    state: Vec<(bool, bool)>,
}

impl Variants {
    fn next_unseen(&self) -> Option<usize> {
        self.state.iter().position(|(entered, _)| !entered)
    }
}

/// The type refused a sample or cannot be traced further.
#[derive(Debug)]
pub(super) struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the type cannot be traced further")
    }
}

impl std::error::Error for Stopped {}

impl serde::de::Error for Stopped {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Stopped
    }
}

pub(super) type Traced<V> = Result<V, Stopped>;

impl Tracer {
    fn structure(self, text: String, complete: bool) -> Structure {
        let Tracer { weightless, asks, graph, .. } = self;
        Structure { text, complete, weightless, asks, graph: graph.finish(complete) }
    }

    fn begin(&mut self, run: usize, name: &'static str) {
        self.at = Place { index: ROOT, asked: name };
        self.text.clear();
        self.around.clear();
        self.depth = 0;
        self.given = 0;
        self.run = run;
    }

    /// Replaces the last sample, which was refused, by the next one for the next
    /// run; false if there is none.
    fn try_next_sample(&mut self) -> bool {
        // Another sample may lead to other values after this one.
        self.samples.truncate(self.given);
        match self.samples.last_mut() {
            Some(sample) if *sample + 1 < SAMPLES => {
                *sample += 1;
                // Variants entered but not left must be entered again.
                for variants in self.enums.values_mut() {
                    variants.state.iter_mut().for_each(|(entered, left)| *entered &= *left);
                }
                true
            }
            _ => false,
        }
    }

    /// Notes in the graph what is read at the current place.
    pub(super) fn leaf<'de, V: Visitor<'de>>(&mut self, leaf: Leaf) {
        self.graph.leaf(self.at, leaf, Reader::of::<V>());
    }

    /// Notes in the graph that a variant has no content.
    pub(super) fn unit_variant(&mut self) {
        self.graph.settle(self.at.index, PlaceKind::Leaf(Leaf::UnitVariant));
    }

    /// Notes in the graph that the bytes decide what the current place holds.
    pub(super) fn unknown(&mut self) {
        self.graph.settle(self.at.index, PlaceKind::Unknown);
    }

    /// Notes in the graph the parts of the current place, or of its variant.
    pub(super) fn parts(
        &mut self,
        reader: Reader,
        variant: Option<usize>,
        count: usize,
        build: impl FnOnce(Vec<usize>) -> PlaceKind,
    ) -> Vec<usize> {
        self.graph.parts(self.at, reader, variant, count, build)
    }

    /// Goes to a part, where a type of this name is read next.
    pub(super) fn go_to(&mut self, part: Option<&usize>, asked: &'static str) {
        let index = part.copied().unwrap_or_else(|| self.graph.elsewhere());
        self.at = Place { index, asked };
    }

    pub(super) fn note(&mut self, kind: &str) {
        let _ = write!(self.text, "{kind} ");
    }

    /// Notes something that takes bytes: a value, a variant's number or a length.
    pub(super) fn take(&mut self, kind: &str) {
        self.taken += 1;
        self.note(kind);
    }

    /// Notes a value and returns the number of the sample to give for it.
    pub(super) fn sample(&mut self, kind: &str) -> usize {
        self.take(kind);
        if self.samples.len() == self.given {
            self.samples.push(0);
        }
        self.given += 1;
        self.samples[self.given - 1]
    }

    /// Whether the value is inside a type that contains itself.
    pub(super) fn is_recurring(&self) -> bool {
        let (last, before) = match self.around.split_last() {
            Some(split) => split,
            None => return false,
        };
        before.contains(last) || before.iter().enumerate().any(|(i, name)| before[..i].contains(name))
    }

    pub(super) fn within<V>(&mut self, name: &'static str, trace: impl FnOnce(&mut Self) -> Traced<V>) -> Traced<V> {
        self.around.push(name);
        let traced = self.deeper(trace);
        self.around.pop();
        traced
    }

    pub(super) fn deeper<V>(&mut self, trace: impl FnOnce(&mut Self) -> Traced<V>) -> Traced<V> {
        self.descend()?;
        let traced = trace(self);
        self.ascend();
        traced
    }

    fn descend(&mut self) -> Traced<()> {
        if self.depth == DEEPEST {
            return Err(Stopped);
        }
        self.depth += 1;
        self.note("(");
        Ok(())
    }

    fn ascend(&mut self) {
        self.note(")");
        self.depth -= 1;
    }

    /// Notes that nothing more can be learned, since only the bytes could tell.
    pub(super) fn stop(&mut self) -> Stopped {
        self.note("any");
        self.unknown();
        self.asks = true;
        // No other sample would help.
        self.samples.truncate(self.given);
        self.samples.push(SAMPLES);
        self.given += 1;
        Stopped
    }

    /// Returns how often the type has asked for something that takes bytes.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Notes that an element of a sequence has taken no bytes.
    pub(super) fn weightless(&mut self) {
        self.weightless = true;
    }

    /// Notes that a variant has been left with a value.
    pub(super) fn leave(&mut self, visitor: &'static str, variant: usize) {
        if let Some(state) = self.enums.get_mut(visitor).and_then(|seen| seen.state.get_mut(variant)) {
            state.1 = true;
        }
    }

    /// Chooses the variant to follow.
    pub(super) fn choose(&mut self, visitor: &'static str, count: usize) -> Traced<usize> {
        let (recurring, run) = (self.is_recurring(), self.run);
        let variants = self.enums.entry(visitor).or_default();
        variants.state.resize(count, (false, false));
        let ending: Vec<usize> = (0..count).filter(|i| variants.state[*i].1).collect();
        let chosen = match (variants.next_unseen(), &ending[..]) {
            (Some(unseen), []) => unseen,
            (Some(unseen), _) if !recurring => unseen,
            (_, [_, ..]) if recurring => ending[0],
            // In turn, since unseen variants may be behind any of them.
            (_, [_, ..]) => ending[run % ending.len()],
            (None, []) => return Err(Stopped),
        };
        variants.state[chosen].0 = true;
        Ok(chosen)
    }
}

/// The number of samples of the type that has the most.
pub(super) const SAMPLES: usize = 10;
