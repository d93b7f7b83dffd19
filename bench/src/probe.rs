//! How fast the machine is, before anything is measured: so that a plan can say how long it takes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::content::Store;
use crate::job::Job;
use crate::load::{Drive, Load};
use crate::measure::machine;
use crate::plan::{Cell, Pace};
use crate::sweep::{Bench, SweepError};

/// A few requests of each job, one after the other; at least two, of which the first warms up.
const PROBE: Duration = Duration::from_millis(60);

impl Bench<'_> {
    /// Times each job of `cells` on its smallest file, and the making of that file.
    ///
    /// # Errors
    ///
    /// The generator cannot run, or a file cannot be made. A server that fails is found to be quick,
    /// and says so in the sweep.
    pub fn probe(&self, cells: &[(u32, Cell)], contents: &mut Store) -> Result<Pace, SweepError> {
        let mut smallest: BTreeMap<Job, Cell> = BTreeMap::new();
        for (_, cell) in cells {
            let known = smallest.entry(cell.job).or_insert(*cell);
            if cell.size_bytes < known.size_bytes {
                *known = *cell;
            }
        }
        let mut pace = Pace::new(machine::cores());
        for (job, cell) in smallest {
            let began = Instant::now();
            let is_made = contents.has(job.kind(), self.plan.motif, cell.size_bytes);
            let body = contents.file(job.kind(), self.plan.motif, cell.size_bytes)?;
            if !is_made {
                pace.note_content(job.kind(), cell.size_bytes, began.elapsed().as_secs_f64());
            }
            let script = self.script(&cell, body)?;
            let load = Load {
                connections: 1,
                warm_up: Duration::ZERO,
                measured: PROBE,
                ..self.load(&cell, 0, Drive::Closed, PROBE)
            };
            self.put(&load, &script)?;
            let counts = self.put(&load, &script)?.counts;
            pace.note_job(job, cell.size_bytes, counts.service.mean() / 1e9);
        }
        Ok(pace)
    }
}
