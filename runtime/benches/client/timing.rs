//! Times contenders in short batches by turns, round after round, so that noise
//! on the machine affects all of them alike.

use std::time::{Duration, Instant};

const ROUNDS: usize = 41;
const BATCH: Duration = Duration::from_millis(24);

/// Repeats an operation the given number of times.
pub(crate) type Work = Box<dyn FnMut(usize)>;

/// Contenders doing the same work; the others are compared with the first.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// The number of concurrent callers.
    pub(crate) callers: usize,
    pub(crate) contenders: Vec<(&'static str, Work)>,
}

pub(crate) fn print_head() {
    println!("{:<24} {:<24} {:>9} {:>9} {:>8}", "", "", "µs each", "k/s", "× first");
}

impl Row {
    pub(crate) fn measure(mut self) {
        let sizes: Vec<usize> = self.contenders.iter_mut().map(|(_, work)| size(work, self.callers)).collect();
        let mut times = vec![Vec::with_capacity(ROUNDS); self.contenders.len()];
        for round in 0..ROUNDS {
            for turn in 0..self.contenders.len() {
                let turn = (turn + round) % self.contenders.len();
                times[turn].push(time(&mut self.contenders[turn].1, sizes[turn]));
            }
        }
        for (number, (name, _)) in self.contenders.iter().enumerate() {
            let micros = median(times[number].iter().copied());
            let ratio = median(times[number].iter().zip(&times[0]).map(|(time, first)| time / first));
            let row = if number == 0 { self.name } else { "" };
            println!("{row:<24} {name:<24} {micros:>9.3} {:>9.1} {ratio:>8.3}", 1e3 / micros);
        }
    }
}

/// Measures how many repetitions fit into a batch; at least one for each caller.
fn size(work: &mut Work, callers: usize) -> usize {
    let mut times = callers.max(64);
    loop {
        let started = Instant::now();
        work(times);
        let took = started.elapsed();
        if took > BATCH / 4 {
            let fit = usize::try_from(times as u128 * BATCH.as_nanos() / took.as_nanos()).unwrap();
            return fit.max(callers);
        }
        times *= 2;
    }
}

/// Returns the microseconds per repetition.
fn time(work: &mut Work, times: usize) -> f64 {
    let started = Instant::now();
    work(times);
    started.elapsed().as_secs_f64() * 1e6 / times as f64
}

fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
