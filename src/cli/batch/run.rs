//! `fxsrv batch run`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::view::{Form, View};
use super::{JobArgs, Wish};
use crate::batch::{self, Job, Journal, Plan, Reach, Tally};
use crate::cli::fail::{Exit, Fail};
use crate::cli::{fonts, term};
use crate::config::{SLOTS_MAX, SPARES, cores, isolation, user_dir, within};
use crate::convert::Target;
use crate::limits::ConvertLimits;
use crate::worker::Converter;

/// The code of a program that a second Ctrl-C ends at once: 128 and the signal's number.
const SECOND_SIGNAL_EXIT: i32 = 130;

/// More only takes memory.
const PARALLEL_MAX: usize = 4096;

/// Convert all files in this process
///
/// All cores convert; nothing else is needed. A run that was ended goes on where it was: the same
/// command reads its journal, and converts what is left and what failed. A file that has the name of a
/// result is left as it is, and counts as done where it has the result's bytes.
///
/// Failures are printed on stdout, each as a line of JSON with its code.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  fxsrv batch run photos/ small/ --to webp --quality 80
  fxsrv batch run s3://bucket/scans/ s3://bucket/text/ --to txt --s3-endpoint https://s3.example.org
  fxsrv batch run list.txt out/ --to jpg --json > outcomes.jsonl

Ctrl-C lets the files that are on their way come to their end; a second one ends at once. Neither
leaves half a result.

Exit codes: 0 all files have their results, 1 some have none, 2 the command line or the
configuration is wrong, 3 the source could not be reached.")]
pub(super) struct Args {
    #[command(flatten)]
    job: JobArgs,

    /// Forget the journal, and list the source anew
    #[arg(long)]
    fresh: bool,

    /// Print a line of JSON for every file, and one at the end
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> Result<Exit, Fail> {
    let wish = args.job.parse()?;
    let slots = within("slots", wish.keys.slots.unwrap_or_else(cores), 1..=SLOTS_MAX)?;
    let each = if wish.is_remote() { 16 } else { 4 };
    let parallel = wish.keys.parallel.unwrap_or(slots * each);
    let parallel = within("parallel", parallel, 1..=PARALLEL_MAX)?;
    let stop = heed_signals()?;
    let fingerprint = fingerprint(&wish)?;
    let mut journal = Journal::open(&journal_dir(&wish, fingerprint)?)?;
    let limits = wish.keys.limits();
    let reach = Reach::new(wish.reach_from_here()?).map_err(|error| cannot_start(&error))?;
    let mut view = View::new(if args.json { Form::All } else { Form::Failures });
    let plan = open_plan(&wish, &mut journal, args.fresh, fingerprint, &reach, &view)?;
    let isolation = isolation(wish.keys.isolation, None, None, limits.body_bytes_max, SPARES);
    let fonts = match wish.to.target() {
        Target::Pdf => fonts::open(wish.keys.font.as_deref())?.into_inner(),
        _ => Vec::new(),
    };
    let (convert_limits, timeout) = (ConvertLimits::default(), limits.convert_timeout);
    let converter = Converter::start(slots, convert_limits, &fonts, &isolation, timeout)
        .map_err(|error| cannot_start(&error))?;
    let job = Job {
        source: wish.source,
        target: wish.target,
        choice: wish.choice,
        convert: wish.to.target(),
        options: wish.options.convert,
        replace: wish.keys.force == Some(true),
        parallel,
    };
    let begun = Instant::now();
    view.begin(plan.count(), journal.done_count());
    let mut told = Ok(());
    let tally = batch::run(
        &job,
        &plan,
        (&Arc::new(reach), &converter),
        &journal,
        &stop,
        &mut |event, tally| {
            if told.is_ok() {
                told = view.tell(event, tally);
            }
        },
    );
    let tally = tally.map_err(|error| Fail::failed(error.to_string()))?;
    told?;
    view.end(&tally, begun.elapsed())?;
    finish(&tally, journal)
}

/// Says what is left, and forgets a job of which nothing is.
fn finish(tally: &Tally, journal: Journal) -> Result<Exit, Fail> {
    if tally.left() > 0 {
        let dir = journal.dir().display();
        term::note(&format!("{} files are left; the same command goes on ({dir})", tally.left()));
        return Ok(Exit::Failed);
    }
    if tally.failures() > 0 {
        term::note("the same command tries the failed ones again; with --fresh it lists anew");
        return Ok(Exit::Failed);
    }
    journal
        .remove()
        .map_err(|error| Fail::failed(format!("cannot remove the journal: {error}")))?;
    Ok(Exit::Done)
}

/// The plan of the journal, or a new one.
fn open_plan(
    wish: &Wish,
    journal: &mut Journal,
    fresh: bool,
    fingerprint: u128,
    reach: &Reach,
    view: &View,
) -> Result<Plan, Fail> {
    let cannot = |error: std::io::Error| Fail::failed(format!("cannot use the journal: {error}"));
    if !fresh && let Some(plan) = Plan::open(journal.dir(), fingerprint)? {
        journal.read(plan.count()).map_err(cannot)?;
        return Ok(plan);
    }
    journal.clear().map_err(cannot)?;
    let (dir, places) = (journal.dir().to_owned(), (&wish.source, &wish.target));
    let mut tell = |count| view.listing(count);
    Ok(Plan::make(Some(&dir), fingerprint, places, &wish.choice, reach, &mut tell)?)
}

/// What makes two commands the same job: files, results, and what is done.
pub(super) fn fingerprint(wish: &Wish) -> Result<u128, Fail> {
    let options = wish.options.encode()?;
    let include: Vec<_> = wish.choice.include.iter().map(ToString::to_string).collect();
    Ok(batch::fingerprint(&[
        &wish.source.to_string(),
        &wish.target.to_string(),
        wish.to.extension(),
        &String::from_utf8_lossy(&options),
        &include.join("\0"),
    ]))
}

fn journal_dir(wish: &Wish, fingerprint: u128) -> Result<PathBuf, Fail> {
    if let Some(dir) = &wish.keys.journal {
        return Ok(dir.clone());
    }
    let own = user_dir("XDG_STATE_HOME", ".local/state").ok_or_else(|| {
        Fail::usage("nothing says where the journal is to be kept")
            .with_hint("name a directory with --journal DIR")
    })?;
    Ok(own.join("batch").join(format!("{fingerprint:032x}")))
}

/// The first signal asks for an end, the second one is one.
pub(super) fn heed_signals() -> Result<Arc<AtomicBool>, Fail> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let first =
            flag::register_conditional_shutdown(signal, SECOND_SIGNAL_EXIT, Arc::clone(&stop));
        first
            .and_then(|_| flag::register(signal, Arc::clone(&stop)))
            .map_err(|error| Fail::failed(format!("cannot wait for signals: {error}")))?;
    }
    debug_assert!(!stop.load(Ordering::Relaxed));
    Ok(stop)
}

fn cannot_start(error: &std::io::Error) -> Fail {
    Fail::failed(format!("cannot start threads: {error}"))
}
