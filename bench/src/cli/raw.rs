//! `fxsrv-bench raw`: what conversions take alone.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use fxsrv::convert::{Options, Target, convert};
use fxsrv::limits::ConvertLimits;

use super::{Fail, out};

/// Convert the files of a directory in memory, on all cores, and print what that took as JSON
///
/// Files are read before the clock starts, and results are thrown away: what is left is the
/// conversion, which others have to be held against.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directory
    dir: PathBuf,

    /// What the files become, as an extension
    #[arg(long, default_value = "png")]
    to: String,

    /// Threads
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, std::num::NonZero::get))]
    threads: usize,
}

pub(super) fn run(args: &Args) -> Result<(), Fail> {
    let target = Target::from_extension(&args.to)
        .ok_or_else(|| Fail::new(format!("'{}' is no type", args.to)))?;
    let cannot = |error| Fail::new(format!("cannot read {}: {error}", args.dir.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&args.dir).map_err(cannot)? {
        files.push(std::fs::read(entry.map_err(cannot)?.path()).map_err(cannot)?);
    }
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (limits, options) = (ConvertLimits::default(), Options::default());
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..args.threads {
            scope.spawn(|| {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if convert(file, target, &options, &limits).is_err() {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let seconds = started.elapsed().as_secs_f64();
    let (count, failed) = (files.len(), failed.into_inner());
    out(&serde_json::json!({ "files": count, "failed": failed, "seconds": seconds }).to_string())
}
