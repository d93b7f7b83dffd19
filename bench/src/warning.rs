//! What makes a result worth less than it looks, and what to do about it.

use std::fmt;

/// A reason for doubt.
#[derive(Debug, Clone, PartialEq)]
pub enum Warning {
    /// The generator had no CPU left, so it may have measured itself.
    GeneratorLimit {
        /// Its CPU time over the time of its threads.
        utilisation: f64,
    },
    /// The generator sent late although connections were free.
    GeneratorLate {
        /// 99 % were less late than this.
        p99_ms: f64,
    },
    /// Generator and servers together had all cores.
    MachineFull {
        /// Cores that they used.
        used: f64,
        /// Cores that there are.
        cores: usize,
    },
    /// Too few requests for the high percentiles.
    FewSamples {
        /// Requests that were answered in the open loop.
        count: u64,
    },
    /// Requests failed.
    Failures {
        /// How many.
        count: u64,
        /// By kind.
        kinds: String,
    },
    /// The open loop could not be kept up with.
    Overload {
        /// Requests a second that were due.
        offered: f64,
        /// That were answered.
        achieved: f64,
    },
    /// Others used the machine when the run began.
    MachineBusy {
        /// Load average of the last minute.
        load: f64,
    },
    /// The loopback of the machine was used, with its congestion control.
    SharedNetwork {
        /// Its congestion control.
        congestion_control: String,
    },
    /// Not built with `--release`.
    DebugBuild,
    /// The server is not of this run, so its costs are not known.
    ForeignServer,
}

/// From here on a generator thread is taken for the limit.
const GENERATOR_UTILISATION_MAX: f64 = 0.85;

/// Of all cores; above it, what one process gets the other lacks.
const MACHINE_UTILISATION_MAX: f64 = 0.9;

/// A percentile of 99 wants 100 samples to exist at all.
const SAMPLES_MIN: u64 = 100;

/// The share of the offered rate that counts as kept up.
const ACHIEVED_MIN: f64 = 0.95;

/// Lateness that matters: over a tenth of the median latency, and over a quarter of a millisecond.
const LATE_SHARE_MAX: f64 = 0.1;
const LATE_MS_MAX: f64 = 0.25;

/// What the warnings of a cell are judged by.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// CPU time of the generator over the time of its threads.
    pub generator_utilisation: f64,
    /// Cores that generator and servers used.
    pub cores_used: f64,
    /// Cores that there are.
    pub cores: usize,
    /// 99th percentile of the generator's lateness.
    pub lateness_p99_ms: f64,
    /// Median latency of the open loop.
    pub p50_ms: f64,
    /// Answers in the open loop.
    pub samples: u64,
    /// Requests a second that were due.
    pub offered: f64,
    /// That were answered.
    pub achieved: f64,
    /// Requests that failed, in both loops.
    pub failures: u64,
    /// By kind.
    pub failure_kinds: String,
}

impl Warning {
    /// The warnings of a cell.
    #[must_use]
    pub fn of_cell(facts: &Facts) -> Vec<Self> {
        let mut found = Vec::new();
        if facts.generator_utilisation > GENERATOR_UTILISATION_MAX {
            found.push(Self::GeneratorLimit { utilisation: facts.generator_utilisation });
        }
        let late_max_ms = LATE_MS_MAX.max(facts.p50_ms * LATE_SHARE_MAX);
        if facts.lateness_p99_ms > late_max_ms {
            found.push(Self::GeneratorLate { p99_ms: facts.lateness_p99_ms });
        }
        if facts.cores_used > facts.cores as f64 * MACHINE_UTILISATION_MAX {
            found.push(Self::MachineFull { used: facts.cores_used, cores: facts.cores });
        }
        if facts.samples < SAMPLES_MIN {
            found.push(Self::FewSamples { count: facts.samples });
        }
        if facts.failures > 0 {
            let kinds = facts.failure_kinds.clone();
            found.push(Self::Failures { count: facts.failures, kinds });
        }
        if facts.samples >= SAMPLES_MIN && facts.achieved < facts.offered * ACHIEVED_MIN {
            found.push(Self::Overload { offered: facts.offered, achieved: facts.achieved });
        }
        found
    }

    /// The name in tables.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::GeneratorLimit { .. } => "generator-limit",
            Self::GeneratorLate { .. } => "generator-late",
            Self::MachineFull { .. } => "machine-full",
            Self::FewSamples { .. } => "few-samples",
            Self::Failures { .. } => "failures",
            Self::Overload { .. } => "overload",
            Self::MachineBusy { .. } => "machine-busy",
            Self::SharedNetwork { .. } => "shared-network",
            Self::DebugBuild => "debug-build",
            Self::ForeignServer => "foreign-server",
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GeneratorLimit { utilisation } => write!(
                f,
                "the generator used {:.0} % of its threads' time, so that it may be the limit; give \
                 it more --threads",
                utilisation * 100.0
            ),
            Self::GeneratorLate { p99_ms } => write!(
                f,
                "the generator itself was up to {p99_ms:.2} ms late (p99); run it on a machine of \
                 its own, or on a quieter one"
            ),
            Self::MachineFull { used, cores } => write!(
                f,
                "generator and servers used {used:.1} of {cores} cores, so that each took from the \
                 other; run the generator on a machine of its own"
            ),
            Self::FewSamples { count } => {
                write!(f, "only {count} requests, too few for a p99; measure for longer")
            }
            Self::Failures { count, kinds } => {
                write!(f, "{count} requests failed ({kinds}); no percentile has them")
            }
            Self::Overload { offered, achieved } => write!(
                f,
                "{offered:.0} requests a second were due and {achieved:.0} answered: latencies are \
                 those of a queue that grows; offer less"
            ),
            Self::MachineBusy { load } => write!(
                f,
                "the load average was {load:.1} when the run began: others use this machine; wait, \
                 or take no number for exact"
            ),
            Self::SharedNetwork { congestion_control } => write!(
                f,
                "no network namespace could be made, so the machine's loopback was used, with \
                 {congestion_control}; run as root"
            ),
            Self::DebugBuild => f.write_str("this is a debug build; build with --release"),
            Self::ForeignServer => {
                f.write_str("the server was not started by this run, so its costs are not known")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> Facts {
        Facts {
            generator_utilisation: 0.3,
            cores_used: 1.0,
            cores: 2,
            lateness_p99_ms: 0.1,
            p50_ms: 0.4,
            samples: 10_000,
            offered: 100.0,
            achieved: 99.0,
            failures: 0,
            failure_kinds: String::new(),
        }
    }

    #[test]
    fn a_good_cell_has_no_warning() {
        assert_eq!(Warning::of_cell(&quiet()), []);
    }

    #[test]
    fn each_doubt_is_named_once_and_says_what_to_do() {
        for (facts, name) in [
            (Facts { generator_utilisation: 0.9, ..quiet() }, "generator-limit"),
            (Facts { lateness_p99_ms: 0.5, ..quiet() }, "generator-late"),
            (Facts { cores_used: 1.9, ..quiet() }, "machine-full"),
            (Facts { samples: 99, ..quiet() }, "few-samples"),
            (Facts { failures: 1, ..quiet() }, "failures"),
            (Facts { achieved: 90.0, ..quiet() }, "overload"),
        ] {
            let found = Warning::of_cell(&facts);
            assert_eq!(found.iter().map(Warning::name).collect::<Vec<_>>(), [name]);
            assert!(found[0].to_string().len() > 40, "{}", found[0]);
        }
        // Half a millisecond is nothing beside a conversion of 100.
        let slow = Facts { lateness_p99_ms: 0.5, p50_ms: 100.0, ..quiet() };
        assert_eq!(Warning::of_cell(&slow), []);
    }
}
