//! How long a plan will take on a machine whose pace was probed.

use std::collections::BTreeMap;

use super::{Cell, OPEN_REQUESTS_MIN, Plan};
use crate::content::Kind;
use crate::job::Job;

/// Opening the first connections of a loop, counting what a request costs, and writing down what came
/// of it.
const CELL_SECONDS: f64 = 0.4;

/// What the machine takes, by a short probe of each job. Sizes beyond the probe's are taken for
/// proportional.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    jobs: BTreeMap<Job, PerByte>,
    contents: BTreeMap<Kind, PerByte>,
    cores: usize,
}

#[derive(Debug, Clone, Copy)]
struct PerByte {
    seconds: f64,
    bytes: usize,
}

impl PerByte {
    fn of(self, bytes: usize) -> f64 {
        if self.bytes == 0 {
            return self.seconds;
        }
        self.seconds * bytes as f64 / self.bytes as f64
    }
}

impl Pace {
    /// Nothing is known yet, of a server with so many cores.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        Self { cores: cores.max(1), ..Self::default() }
    }

    /// A request of a job takes so long by itself.
    pub fn note_job(&mut self, job: Job, bytes: usize, seconds: f64) {
        self.jobs.insert(job, PerByte { seconds, bytes });
    }

    /// Making a file to send takes so long.
    pub fn note_content(&mut self, kind: Kind, bytes: usize, seconds: f64) {
        self.contents.insert(kind, PerByte { seconds, bytes });
    }

    /// About how long a cell takes.
    #[must_use]
    pub fn cell_seconds(&self, plan: &Plan, cell: &Cell) -> f64 {
        let one = self.jobs.get(&cell.job).map_or(0.0, |pace| pace.of(cell.size_bytes));
        // The connections of a closed loop take turns on the cores.
        let turn = one * cell.connections.div_ceil(self.cores.max(1)) as f64;
        let (warm_up, measured) = (plan.warm_up.as_secs_f64(), plan.measured.as_secs_f64());
        let rate = plan.utilisation * cell.connections as f64 / turn.max(1e-6);
        let closed = (warm_up + measured).max(turn) + turn;
        let open = warm_up + measured.max(OPEN_REQUESTS_MIN / rate) + one;
        closed + open + CELL_SECONDS
    }

    /// About how long the measurements take, with the files that have yet to be made for them.
    #[must_use]
    pub fn seconds(&self, plan: &Plan, measurements: &[(u32, Cell)]) -> f64 {
        let cells: f64 = measurements.iter().map(|(_, cell)| self.cell_seconds(plan, cell)).sum();
        let mut files: Vec<_> =
            measurements.iter().map(|(_, cell)| (cell.job.kind(), cell.size_bytes)).collect();
        files.sort_unstable();
        files.dedup();
        let is_new = |(kind, bytes): &&(Kind, usize)| {
            self.contents.get(kind).is_none_or(|pace| pace.bytes != *bytes)
        };
        let making = |(kind, bytes): &(Kind, usize)| {
            self.contents.get(kind).map_or(0.0, |pace| pace.of(*bytes))
        };
        cells + files.iter().filter(is_new).map(making).sum::<f64>()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Measured on a machine of two cores that others used too: seconds for a MB.
    const SLOW: [(&str, f64); 10] = [
        ("jpg-png", 0.15),
        ("jpg-webp", 0.5),
        ("png-jpg", 0.04),
        ("png-webp", 0.2),
        ("webp-jpg", 0.2),
        ("webp-png", 0.2),
        ("txt-pdf", 0.1),
        ("pdf-txt", 0.3),
        ("upload", 0.01),
        ("status", 0.0),
    ];

    fn slow() -> Pace {
        let mut pace = Pace::new(2);
        for (name, seconds) in SLOW {
            let job: Job = name.parse().unwrap();
            pace.note_job(job, 1_000_000, seconds);
            pace.note_content(job.kind(), 1_000_000, seconds * 2.0);
        }
        pace
    }

    fn seconds(quick: bool) -> f64 {
        let plan = Plan::parse(include_str!("../../plans/original.toml"), quick).unwrap();
        slow().seconds(&plan, &plan.order())
    }

    #[test]
    fn the_quick_plan_takes_less_than_two_minutes_and_the_full_one_twenty() {
        assert!(seconds(true) < 100.0, "{} s", seconds(true));
        assert!((600.0..1_200.0).contains(&seconds(false)), "{} s", seconds(false));
    }

    #[test]
    fn a_file_is_made_once_and_the_one_of_the_probe_is_there() {
        let text = include_str!("../../plans/smoke.toml");
        let plan = Plan { repeats: 3, ..Plan::parse(text, false).unwrap() };
        let order = plan.order();
        let mut pace = Pace::new(2);
        let without = pace.seconds(&plan, &order);
        pace.note_content(Kind::Text, 10_000, 5.0);
        // 20 kB of text are wanted, in many cells.
        assert!((pace.seconds(&plan, &order) - without - 10.0).abs() < 1e-6);
        pace.note_content(Kind::Text, 20_000, 5.0);
        assert!((pace.seconds(&plan, &order) - without).abs() < 1e-6);
    }
}
