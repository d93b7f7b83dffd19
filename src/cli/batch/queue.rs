//! `fxsrv batch submit`, `status`, `watch`, `cancel`, `retry`, `results` and `forget`.

use std::io;
use std::time::Duration;

use serde_json::{Value, json};

use super::view::{Form, View, codes};
use super::{JobArgs, Wish, run};
use crate::batch::queue::{self, JobState, NatsConfig, Queue, Status, Submission};
use crate::batch::{Plan, Reach};
use crate::cli::fail::{Exit, Fail};
use crate::cli::{logs, nats, term};
use crate::config::{BatchKeys, File, LogLevel};

/// Between two looks of `watch`.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// Put all files on the queue of workers
///
/// Each file is one message on a JetStream work queue, with addresses alone; workers with --queue read
/// it where it lies, convert it, and write the result. The same command again goes on where it was,
/// and adds nothing that is there.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  fxsrv batch submit s3://bucket/in/ s3://bucket/out/ --to webp --nats nats://127.0.0.1:4222
  fxsrv batch watch NAME --nats nats://127.0.0.1:4222

It prints the job's name on stdout. A directory must be at the same path on the workers, which must be
told to allow it.")]
pub(super) struct SubmitArgs {
    #[command(flatten)]
    job: JobArgs,

    /// The job's name [default: one made of what it is about, so that the same command is the same job]
    #[arg(long = "job", value_name = "NAME")]
    name: Option<String>,
}

/// A job that was submitted.
#[derive(Debug, clap::Args)]
pub(super) struct OneArgs {
    /// Its name, as submit has printed it
    job: String,

    /// Print lines of JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    nats: NatsArgs,
}

/// Where the queue is.
#[derive(Debug, clap::Args)]
struct NatsArgs {
    /// The queue: nats://HOST:PORT, or tls://; more of a cluster after commas
    #[arg(long, env = "FXSRV_NATS", value_name = "URL")]
    nats: Option<String>,

    /// File with credentials for NATS
    #[arg(long, env = "FXSRV_NATS_CREDS", value_name = "FILE")]
    nats_creds: Option<std::path::PathBuf>,

    /// Trust NATS by this file, and speak TLS
    #[arg(long, env = "FXSRV_NATS_CA", value_name = "FILE")]
    nats_ca: Option<std::path::PathBuf>,

    /// Read keys of `[batch]` from a file [default: ~/.config/fxsrv/config.toml where it exists]
    #[arg(long, env = "FXSRV_CONFIG", value_name = "FILE")]
    config: Option<std::path::PathBuf>,
}

impl NatsArgs {
    fn config(self) -> Result<NatsConfig, Fail> {
        let file = File::load_for_user(self.config.as_deref())?;
        let Self { nats, nats_creds, nats_ca, .. } = self;
        let keys = BatchKeys { nats, nats_creds, nats_ca, ..BatchKeys::default() }.or(file.batch);
        logs::start(keys.log.unwrap_or(LogLevel(tracing::Level::ERROR)));
        nats_config(&keys)
    }
}

fn nats_config(keys: &BatchKeys) -> Result<NatsConfig, Fail> {
    let url = keys.nats.as_deref().ok_or_else(|| {
        Fail::usage("nothing says where the queue is").with_hint(
            "give --nats nats://HOST:PORT; without a queue, `fxsrv batch run` does it all here",
        )
    })?;
    let config = nats::config(url, keys.nats_creds.as_ref(), keys.nats_ca.as_ref());
    Ok(NatsConfig { replicas: keys.replicas, ..config })
}

pub(super) fn submit(args: SubmitArgs) -> Result<Exit, Fail> {
    let wish = args.job.parse()?;
    let nats = nats_config(&wish.keys)?;
    let stop = run::heed_signals()?;
    let submission = submission(&wish, args.name)?;
    let reach = Reach::new(wish.reach.clone())
        .map_err(|error| Fail::failed(format!("cannot start threads: {error}")))?;
    let mut view = View::new(Form::Failures);
    let places = (&wish.source, &wish.target);
    let mut tell = |count| view.listing(count);
    let plan = Plan::make(None, submission.fingerprint, places, &wish.choice, &reach, &mut tell)?;
    view.begin(plan.count(), 0);
    let submitted = queue::block_on(async {
        let queue = Queue::connect(&nats).await?;
        let mut tell = |count| view.update(count, 0);
        queue::submit(&queue, &submission, &plan, &stop, &mut tell).await
    })?;
    view.clear();
    term::out(&submission.job)?;
    let (count, total) = (submitted.count, submitted.total);
    if count < total {
        term::note(&format!("{count} of {total} files are on the queue; the same command goes on"));
        return Ok(Exit::Failed);
    }
    term::note(&format!("{total} files are on the queue"));
    Ok(Exit::Done)
}

fn submission(wish: &Wish, name: Option<String>) -> Result<Submission, Fail> {
    let fingerprint = run::fingerprint(wish)?;
    let options = String::from_utf8(wish.options.encode()?);
    let options = options.map_err(|error| Fail::usage(io::Error::other(error).to_string()))?;
    // 64 bits of it are more than jobs will ever be.
    let own = || format!("{:016x}", fingerprint >> 64);
    Ok(Submission {
        job: name.unwrap_or_else(own),
        fingerprint,
        source: wish.source.clone(),
        target: wish.target.clone(),
        choice: wish.choice.clone(),
        options,
        replace: wish.keys.force == Some(true),
    })
}

pub(super) fn status(args: OneArgs) -> Result<Exit, Fail> {
    let nats = args.nats.config()?;
    let status = queue::block_on(async {
        queue::status(&Queue::connect(&nats).await?, &args.job, true).await
    })?;
    if args.json {
        term::out(&as_json(&status).to_string())?;
    } else {
        term::out(&in_words(&status))?;
    }
    Ok(exit_of(&status))
}

/// Follows a job to its end, or until Ctrl-C, which changes nothing about it.
pub(super) fn watch(args: OneArgs) -> Result<Exit, Fail> {
    let nats = args.nats.config()?;
    let (job, json) = (args.job, args.json);
    let mut view = View::new(Form::Failures);
    let mut told = Ok(());
    let status = queue::block_on(async {
        let queue = Queue::connect(&nats).await?;
        let (mut begun, mut seen, mut failed) = (false, 0, 0);
        loop {
            let status = queue::status(&queue, &job, false).await?;
            if !std::mem::replace(&mut begun, true) {
                view.begin(status.total, 0);
            }
            view.set_total(status.total);
            view.update(status.done + status.failed, status.failed);
            if json && told.is_ok() {
                told = view.print(&as_json(&status).to_string());
            }
            if std::mem::replace(&mut failed, status.failed) != status.failed {
                seen = queue::results(&queue, &job, seen, &mut |failure| {
                    told = view.print(&json!(failure).to_string());
                    told.is_ok()
                })
                .await?;
            }
            if status.is_over() || told.is_err() {
                return queue::status(&queue, &job, true).await;
            }
            tokio::time::sleep(LOOK_PERIOD).await;
        }
    })?;
    view.clear();
    told?;
    term::note(&in_words(&status));
    Ok(exit_of(&status))
}

/// Prints every failure of a job.
pub(super) fn results(args: OneArgs) -> Result<Exit, Fail> {
    let nats = args.nats.config()?;
    let (mut told, mut count) = (Ok(()), 0_u64);
    queue::block_on(async {
        let queue = Queue::connect(&nats).await?;
        let mut take = |failure: queue::Failure| {
            count += 1;
            told = term::out(&json!(failure).to_string());
            told.is_ok()
        };
        queue::results(&queue, &args.job, 0, &mut take).await
    })?;
    told?;
    Ok(if count == 0 { Exit::Done } else { Exit::Failed })
}

pub(super) fn cancel(args: OneArgs) -> Result<Exit, Fail> {
    let nats = args.nats.config()?;
    let count =
        queue::block_on(async { queue::cancel(&Queue::connect(&nats).await?, &args.job).await })?;
    term::note(&format!("{count} files are off the queue"));
    Ok(Exit::Done)
}

pub(super) fn retry(args: OneArgs) -> Result<Exit, Fail> {
    let nats = args.nats.config()?;
    let count =
        queue::block_on(async { queue::retry(&Queue::connect(&nats).await?, &args.job).await })?;
    term::note(&format!("{count} files are on the queue again"));
    Ok(Exit::Done)
}

pub(super) fn forget(args: OneArgs) -> Result<Exit, Fail> {
    let nats = args.nats.config()?;
    queue::block_on(async { queue::forget(&Queue::connect(&nats).await?, &args.job).await })?;
    Ok(Exit::Done)
}

fn exit_of(status: &Status) -> Exit {
    if status.failed == 0 && status.record.cancelled == 0 { Exit::Done } else { Exit::Failed }
}

fn in_words(status: &Status) -> String {
    let Status { record, total, done, pending, failed, codes: by_code, age_s } = status;
    let failures = by_code.as_ref().map_or_else(|| format!("{failed} failed"), codes);
    let state = match record.state {
        JobState::Submitting => ", being submitted",
        JobState::Cancelled => ", cancelled",
        JobState::Submitted => "",
    };
    let left = match time_left_s(status) {
        Some(seconds) if *pending > 0 => format!(", about {seconds} s left"),
        _ => String::new(),
    };
    format!(
        "{} to {} as {}: {done} of {total} done, {failures}, {pending} to do{left}{state}; {age_s} s old",
        record.source, record.target, record.to
    )
}

fn as_json(status: &Status) -> Value {
    json!({
        "source": status.record.source, "target": status.record.target, "to": status.record.to,
        "state": status.record.state, "total": status.total, "done": status.done,
        "pending": status.pending, "failed": status.failed, "codes": status.codes,
        "cancelled": status.record.cancelled, "age_s": status.age_s,
        "files_per_s": rate(status), "left_s": time_left_s(status), "over": status.is_over(),
    })
}

/// Files a second since the job began.
#[allow(clippy::cast_precision_loss)]
fn rate(status: &Status) -> f64 {
    (status.done + status.failed) as f64 / status.age_s.max(1) as f64
}

/// At that rate.
fn time_left_s(status: &Status) -> Option<u64> {
    let settled = status.done + status.failed;
    (settled > 0).then(|| status.pending.saturating_mul(status.age_s.max(1)) / settled)
}
