//! Runs a type's `Deserialize` on made-up data and records what it asks for.
//!
//! A run follows one variant of each enum, so runs are repeated until every
//! variant has been followed. A value that the type refuses, such as zero for a
//! `NonZero`, is replaced by the next sample, and the run starts over. Inside a
//! type that contains itself, options and sequences stay empty, and enums take
//! a variant that is known to terminate.
//!
//! Code of the type's own may expect more of a value than its structure: a
//! conversion unwraps what it parses. So no made-up value is handed to a conversion
//! or to a visitor that is written by hand. Such a spot is *sealed* as soon as its
//! structure is known, and ends the run; later runs leave it out. What stands behind
//! it in a tuple is cut off, since a tuple's parts are asked for one after the other.
//!
//! What a type is answered is in `answers`; hashing the record is the parent's task.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::ops::Range;

use serde::de::{DeserializeOwned, Visitor};

use super::shape::{Graph, GraphBuilder, Leaf, ROOT, Reader, Spot, SpotKind, is_serdes};

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
    let mut runs = Vec::new();
    for run in 0..MOST_RUNS {
        tracer.begin(run, (of.name)());
        let ended = (of.ends)(&mut tracer);
        let text = std::mem::take(&mut tracer.text);
        let is_sealed = tracer.sealed.contains_key(&[][..]);
        if ended || is_sealed || tracer.has_learned {
            runs.push(text);
            let is_over = ended || is_sealed;
            if is_over && tracer.enums.values().all(|seen| seen.next_unseen().is_none()) {
                let is_complete = !tracer.is_cut_off;
                return tracer.structure(lines(runs), is_complete);
            }
            if !ended && !tracer.has_learned {
                break;
            }
            tracer.retry_variants();
        } else if !tracer.try_next_sample() {
            // Every run ends here, so the record up to this point is stable.
            runs.push(text);
            break;
        }
    }
    tracer.structure(lines(runs), false)
}

/// One line for each path through the type. The order of the runs does not matter.
fn lines(mut runs: Vec<String>) -> String {
    runs.sort_unstable();
    runs.dedup();
    runs.join("\n")
}

#[derive(Default)]
pub(super) struct Tracer {
    text: String,
    graph: GraphBuilder,
    /// The spot that is read next.
    at: Spot,
    /// The named types around the value being traced.
    around: Vec<&'static str>,
    depth: usize,
    /// By the type names of their visitors, which no two enums share.
    enums: HashMap<&'static str, Variants>,
    /// Which sample to give for each value that the type asks for, in order.
    samples: Vec<usize>,
    /// How many samples this run has given.
    given: usize,
    run: usize,
    /// The way to the value being traced: the numbers of parts and variants.
    path: Vec<usize>,
    /// What is known of sealed spots, by the ways to them.
    sealed: HashMap<Vec<usize>, Sealed>,
    /// Whether some of the type cannot be reached.
    is_cut_off: bool,
    /// Whether all parts of the value have been read, but for sealed ones.
    is_exhausted: bool,
    /// Whether an enum has variants that later runs follow.
    has_more: bool,
    /// Whether the run has learned something though it did not reach the end.
    has_learned: bool,
    /// How often the type has asked for something that takes bytes.
    taken: u64,
    weightless: bool,
    asks: bool,
}

/// A spot of which no value can be made up.
struct Sealed {
    text: String,
    /// Whether it takes bytes.
    takes: bool,
}

/// The state before a value with parts.
struct OpenSpot {
    text: usize,
    taken: u64,
    has_more: bool,
    /// Whether the type's own code waits for the value.
    is_converted: bool,
}

/// The progress on an enum's variants.
#[derive(Default)]
struct Variants {
    state: Vec<VariantState>,
}

/// The progress on a variant.
#[derive(Clone, Copy, Default)]
struct VariantState {
    is_entered: bool,
    /// It has been left with a value.
    is_left: bool,
    is_sealed: bool,
}

impl Variants {
    fn next_unseen(&self) -> Option<usize> {
        self.state.iter().position(|variant| !variant.is_entered)
    }

    fn all(&self, are: impl Fn(&VariantState) -> bool) -> Vec<usize> {
        (0..self.state.len()).filter(|variant| are(&self.state[*variant])).collect()
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
        self.at = Spot { index: ROOT, asked: name };
        self.text.clear();
        self.around.clear();
        self.depth = 0;
        self.given = 0;
        self.run = run;
        self.path.clear();
        (self.is_exhausted, self.has_more, self.has_learned) = (false, false, false);
    }

    /// Replaces the last sample, which was refused, by the next one for the next
    /// run; false if there is none.
    fn try_next_sample(&mut self) -> bool {
        // Another sample may lead to other values after this one.
        self.samples.truncate(self.given);
        match self.samples.last_mut() {
            Some(sample) if *sample + 1 < SAMPLES => {
                *sample += 1;
                self.retry_variants();
                true
            }
            _ => false,
        }
    }

    /// Forgets that variants were entered which have not been followed to their end.
    fn retry_variants(&mut self) {
        for variant in self.enums.values_mut().flat_map(|variants| &mut variants.state) {
            variant.is_entered &= variant.is_left || variant.is_sealed;
        }
    }

    /// Notes in the graph what is read at the current spot.
    pub(super) fn leaf<'de, V: Visitor<'de>>(&mut self, leaf: Leaf) {
        self.graph.leaf(self.at, leaf, Reader::of::<V>());
    }

    /// Notes in the graph that a variant has no content.
    pub(super) fn unit_variant(&mut self) {
        self.graph.settle(self.at.index, SpotKind::Leaf(Leaf::UnitVariant));
    }

    /// Notes in the graph that the bytes decide what the current spot holds.
    pub(super) fn unknown(&mut self) {
        self.graph.settle(self.at.index, SpotKind::Unknown);
    }

    /// Notes in the graph the parts of the current spot, or of its variant.
    pub(super) fn parts(
        &mut self,
        reader: Reader,
        variant: Option<usize>,
        count: usize,
        build: impl FnOnce(Range<usize>) -> SpotKind,
    ) -> Range<usize> {
        self.graph.parts(self.at, reader, variant, count, build)
    }

    /// Goes to a part, where a type of this name is read next.
    pub(super) fn go_to(&mut self, part: Option<usize>, asked: &'static str) {
        let index = part.unwrap_or_else(|| self.graph.elsewhere());
        self.at = Spot { index, asked };
    }

    /// Goes to a part, which has a number among its siblings. Returns the way back.
    pub(super) fn enter(&mut self, number: usize, part: Option<usize>, asked: &'static str) -> usize {
        self.path.push(number);
        self.go_to(part, asked);
        self.path.len() - 1
    }

    /// Comes back from a part.
    pub(super) fn come_back(&mut self, way: usize) {
        self.path.truncate(way);
    }

    /// Whether a part is sealed.
    pub(super) fn is_sealed(&mut self, number: usize) -> bool {
        self.path.push(number);
        let is_sealed = self.sealed.contains_key(&self.path);
        self.path.pop();
        is_sealed
    }

    /// Notes what is known of a sealed part.
    pub(super) fn pass(&mut self, number: usize) {
        self.path.push(number);
        if let Some(sealed) = self.sealed.get(&self.path) {
            self.text.push_str(&sealed.text);
            self.taken += u64::from(sealed.takes);
        }
        self.path.pop();
    }

    /// Ends the run, since the parts that are left are sealed.
    pub(super) fn exhausted(&mut self) -> Stopped {
        self.is_exhausted = true;
        Stopped
    }

    /// Ends the run, since parts of the type of this name stand behind a sealed one. Only
    /// the name tells what they are.
    pub(super) fn cut_off(&mut self, name: &'static str) -> Stopped {
        self.note(name);
        self.is_cut_off = true;
        self.exhausted()
    }

    /// Whether a value that is made up for this reader would meet the type's own code.
    pub(super) fn is_own(&self, reader: Reader) -> bool {
        !is_serdes(reader.visitor) || reader.is_converted(self.at.asked)
    }

    /// Traces a value with parts, which this reader makes.
    pub(super) fn whole<V>(&mut self, reader: Reader, trace: impl FnOnce(&mut Self) -> Traced<V>) -> Traced<V> {
        self.part(reader.is_converted(self.at.asked), trace)
    }

    /// Traces a value that its reader takes as it is, or that is `of_no_use`.
    pub(super) fn part<V>(&mut self, of_no_use: bool, trace: impl FnOnce(&mut Self) -> Traced<V>) -> Traced<V> {
        let (text, taken, has_more) = (self.text.len(), self.taken, std::mem::take(&mut self.has_more));
        let opened = OpenSpot { text, taken, has_more, is_converted: of_no_use };
        let made = trace(self);
        self.close(&opened, made.is_ok())?;
        made
    }

    /// Ends a value with parts.
    fn close(&mut self, opened: &OpenSpot, is_made: bool) -> Traced<()> {
        let has_more = self.has_more;
        self.has_more |= opened.has_more;
        let is_exhausted = std::mem::take(&mut self.is_exhausted);
        if is_made && !opened.is_converted || !is_made && !is_exhausted {
            return Ok(());
        }
        if has_more {
            // Later runs follow other variants inside.
            self.has_learned = true;
            return Err(Stopped);
        }
        Err(self.seal(opened.text, opened.taken))
    }

    /// Seals the current spot.
    fn seal(&mut self, text: usize, taken: u64) -> Stopped {
        let sealed = Sealed { text: format!("{}) ", &self.text[text..]), takes: self.taken > taken };
        self.has_learned |= self.sealed.insert(self.path.clone(), sealed).is_none();
        Stopped
    }

    /// Notes a value without parts: the number of the sample to give for it, unless the
    /// type's own code waits for it.
    pub(super) fn value(&mut self, kind: &str, reader: Reader) -> Traced<usize> {
        let (text, taken) = (self.text.len(), self.taken);
        if self.is_own(reader) {
            self.take(kind);
            return Err(self.seal(text, taken));
        }
        Ok(self.sample(kind))
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

    /// Leaves a variant: with a value, or without any that can be made.
    pub(super) fn leave(&mut self, visitor: &'static str, variant: usize, is_made: bool, way: usize) {
        self.come_back(way + 1);
        let is_sealed = !is_made && self.sealed.contains_key(&self.path);
        if let Some(state) = self.enums.get_mut(visitor).and_then(|seen| seen.state.get_mut(variant)) {
            state.is_left |= is_made;
            state.is_sealed |= is_sealed;
        }
        self.come_back(way);
    }

    /// Whether an enum of which no variant can be chosen has sealed ones: all, or all
    /// that end here.
    pub(super) fn has_sealed(&self, visitor: &'static str) -> bool {
        let is_sealed = |seen: &Variants| match self.is_recurring() {
            true => seen.state.iter().any(|variant| variant.is_sealed),
            false => seen.state.iter().all(|variant| variant.is_sealed),
        };
        self.enums.get(visitor).is_some_and(is_sealed)
    }

    /// Chooses the variant to follow.
    pub(super) fn choose(&mut self, visitor: &'static str, count: usize) -> Traced<usize> {
        let (recurring, run) = (self.is_recurring(), self.run);
        let variants = self.enums.entry(visitor).or_default();
        variants.state.resize(count, VariantState::default());
        let ending = variants.all(|variant| variant.is_left);
        let chosen = match (variants.next_unseen(), &ending[..]) {
            (Some(unseen), []) => unseen,
            (Some(unseen), _) if !recurring => unseen,
            (_, [_, ..]) if recurring => ending[0],
            // In turn, since unseen variants may be behind any of them.
            (_, [_, ..]) => ending[run % ending.len()],
            (None, []) => return Err(Stopped),
        };
        variants.state[chosen].is_entered = true;
        self.has_more |= !recurring && variants.next_unseen().is_some();
        Ok(chosen)
    }
}

/// The number of samples of the type that has the most.
pub(super) const SAMPLES: usize = 10;
