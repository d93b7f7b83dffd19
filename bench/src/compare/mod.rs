//! Two programs against each other, in turns on one machine.
//!
//! Owns: the order of the turns, and the verdict. Must never call something slower on the word of one
//! round of measurements, or without having seen how much the first program differs from itself.

pub mod stats;

use fxsrv::io::Driver;
use fxsrv::wire::Version;

use crate::content::Store;
use crate::measure::servers::{Servers, ServersError, Setup};
use crate::plan::{Cell, Plan};
use crate::results::table::Row;
use crate::rng::Rng;
use crate::sweep::{Bench, Subject, SweepError};
use stats::{Better, Ratio, Verdict, ratio, verdict};

/// The share of A's capacity that both are offered, so that their latencies are of the same load.
const UTILISATION: f64 = 0.6;

/// What is compared.
const METRICS: [Metric; 4] = [
    Metric { name: "capacity", better: Better::More, of: |row| row.closed_per_s },
    Metric { name: "CPU a request", better: Better::Less, of: |row| row.server_cpu_us_per_request },
    Metric { name: "p50", better: Better::Less, of: |row| row.p50_ms },
    Metric { name: "p99", better: Better::Less, of: |row| row.p99_ms },
];

struct Metric {
    name: &'static str,
    better: Better,
    of: fn(&Row) -> f64,
}

/// How it is done.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Turns of each program, and of the second A.
    pub rounds: u32,
    /// Threads of the generator.
    pub threads: usize,
    /// What carries its input and output.
    pub driver: Driver,
}

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// Servers did not start.
    #[error("{0}")]
    Servers(#[from] ServersError),
    /// A measurement failed.
    #[error("{0}")]
    Sweep(#[from] SweepError),
    /// Requests fail: speed is not the question then.
    #[error("{cell}: requests failed at {whose}: {kinds}")]
    Failures {
        /// The cell.
        cell: String,
        /// Whose.
        whose: &'static str,
        /// By kind.
        kinds: String,
    },
}

/// One metric of one cell.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The cell.
    pub cell: String,
    /// The metric.
    pub metric: &'static str,
    /// A against the second A.
    pub own: Ratio,
    /// A against B.
    pub other: Ratio,
    /// What it says. `Slower` and `Faster` have been confirmed by a second round of measurements.
    pub verdict: Verdict,
}

/// A, A again, and B.
const NAMES: [&str; 3] = ["A", "A again", "B"];

/// Compares the programs of two setups, cell by cell. `tell` hears which one is next.
///
/// # Errors
///
/// Servers do not start, the generator fails, or requests do.
pub fn compare(
    [a, b]: [&Setup; 2],
    plan: &Plan,
    terms: Terms,
    mut tell: impl FnMut(&Cell, &str),
) -> Result<Vec<Finding>, CompareError> {
    let servers = [Servers::start(a)?, Servers::start(a)?, Servers::start(b)?];
    let mut contents = Store::new(plan.seed, None);
    let mut findings = Vec::new();
    for cell in &plan.cells {
        tell(cell, "first measurement");
        let first = rounds(&servers, plan, cell, terms, plan.seed, &mut contents)?;
        let is_news =
            |finding: &Finding| matches!(finding.verdict, Verdict::Slower | Verdict::Faster);
        let mut first = judge(cell, &first, plan.seed);
        if first.iter().any(is_news) {
            tell(cell, "confirming");
            let again = rounds(&servers, plan, cell, terms, plan.seed + 1, &mut contents)?;
            let again = judge(cell, &again, plan.seed + 1);
            for finding in &mut first {
                let same = again.iter().find(|other| other.metric == finding.metric);
                if is_news(finding) && same.is_none_or(|other| other.verdict != finding.verdict) {
                    finding.verdict = Verdict::TooNoisy;
                }
            }
        }
        findings.extend(first);
    }
    Ok(findings)
}

/// Measures a cell on all three, round after round, each round in an order of its own.
fn rounds(
    servers: &[Servers; 3],
    plan: &Plan,
    cell: &Cell,
    terms: Terms,
    seed: u64,
    contents: &mut Store,
) -> Result<Vec<[Row; 3]>, CompareError> {
    let bench = |at: usize| Bench {
        subject: Subject::Own(&servers[at]),
        plan,
        version: Version::V1_1,
        threads: terms.threads,
        driver: terms.driver,
        counters: None,
    };
    // One turn to find the rate, which warms all three up too.
    let mut rate = None;
    for at in [2, 1, 0] {
        rate = Some(bench(at).measure_at(rate, 0, cell, contents)?.row.closed_per_s * UTILISATION);
    }
    let (mut rng, mut found) = (Rng::new(seed), Vec::new());
    for round in 0..terms.rounds {
        let mut rows: [Row; 3] = Default::default();
        let mut order = [0, 1, 2];
        rng.shuffle(&mut order);
        for at in order {
            let row = bench(at).measure_at(rate, round, cell, contents)?.row;
            if row.failures > 0 {
                return Err(CompareError::Failures {
                    cell: row.cell,
                    whose: NAMES[at],
                    kinds: row.failure_kinds,
                });
            }
            rows[at] = row;
        }
        found.push(rows);
    }
    Ok(found)
}

fn judge(cell: &Cell, rounds: &[[Row; 3]], seed: u64) -> Vec<Finding> {
    let finding = |metric: &Metric| {
        let pairs = |at: usize| -> Vec<_> {
            let pair = |rows: &[Row; 3]| ((metric.of)(&rows[0]), (metric.of)(&rows[at]));
            // CPU in ticks of 10 ms may be none in a short cell: no ratio has a zero.
            rounds.iter().map(pair).filter(|(a, b)| *a > 0.0 && *b > 0.0).collect()
        };
        let (own, other) = (pairs(1), pairs(2));
        if own.len() < 3 || other.len() < 3 {
            return None;
        }
        let (own, other) = (ratio(&own, seed), ratio(&other, seed));
        let verdict = verdict(own, other, metric.better);
        Some(Finding { cell: cell.to_string(), metric: metric.name, own, other, verdict })
    };
    METRICS.iter().filter_map(finding).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn row(per_s: f64, cpu_us: f64, p50_ms: f64) -> Row {
        Row {
            closed_per_s: per_s,
            server_cpu_us_per_request: cpu_us,
            p50_ms,
            p99_ms: 2.0 * p50_ms,
            ..Row::default()
        }
    }

    #[test]
    fn each_metric_is_judged_in_its_own_direction() {
        let plan = Plan::parse(include_str!("../../plans/smoke.toml"), false).unwrap();
        let mut rng = Rng::new(1);
        let mut near = |value: f64| value * (1.0 + 0.01 * (rng.unit() - 0.5));
        let rounds: Vec<_> = (0..12)
            .map(|_| {
                let mut one = |per_s, cpu, p50| row(near(per_s), near(cpu), near(p50));
                // B answers more, costs more, and is as quick.
                [one(100.0, 50.0, 1.0), one(100.0, 50.0, 1.0), one(130.0, 65.0, 1.0)]
            })
            .collect();
        let found: Vec<_> = judge(&plan.cells[0], &rounds, 1)
            .into_iter()
            .map(|finding| (finding.metric, finding.verdict))
            .collect();
        assert_eq!(
            found,
            [
                ("capacity", Verdict::Faster),
                ("CPU a request", Verdict::Slower),
                ("p50", Verdict::NoDifference),
                ("p99", Verdict::NoDifference),
            ]
        );
    }
}
