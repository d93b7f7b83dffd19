//! `fxsrv batch`.

#[cfg(feature = "nats")]
mod queue;
mod run;
mod view;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Subcommand;

use super::convert::{StoreArgs, Type};
use super::fail::{Exit, Fail};
use super::{logs, options, transfer};
use crate::batch::{
    AddressError, BucketAccess, Choice, JournalError, Place, PlanError, ReachConfig, Trouble,
};
use crate::config::{BatchKeys, File, FilesKeys, LogLevel};
use crate::wire::{Operation, RequestOptions};

/// Convert all files of a directory, a bucket or a list
///
/// A batch has a source with many files and a place for their results. A result has the path of its
/// file beneath the source, with the extension of what it became; two files that would become one
/// are told before anything is done.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<run::Args>),
    #[cfg(feature = "nats")]
    Submit(Box<queue::SubmitArgs>),
    /// Count a job's files by what became of them
    #[cfg(feature = "nats")]
    Status(queue::OneArgs),
    /// Follow a job to its end, with every failure as a line of JSON
    #[cfg(feature = "nats")]
    Watch(queue::OneArgs),
    /// Print every failure of a job, each as a line of JSON
    #[cfg(feature = "nats")]
    Results(queue::OneArgs),
    /// Put the failed files of a job on the queue again
    #[cfg(feature = "nats")]
    Retry(queue::OneArgs),
    /// Take what is left of a job off the queue
    #[cfg(feature = "nats")]
    Cancel(queue::OneArgs),
    /// Cancel a job, and remove all that the queue knows of it
    #[cfg(feature = "nats")]
    Forget(queue::OneArgs),
}

/// What a batch is about.
#[derive(Debug, clap::Args)]
struct JobArgs {
    /// The files: a directory, s3://BUCKET/PREFIX/, store:NAME, or a manifest, which is a file with
    /// the address of one on each line
    #[arg(value_name = "SRC")]
    source: OsString,

    /// Where results go: a directory, s3://BUCKET/PREFIX/ or store:
    #[arg(value_name = "DST")]
    target: OsString,

    /// What the files become
    #[arg(long, value_name = "TYPE")]
    to: Type,

    /// Only files whose paths fit this pattern, such as '*.png'; repeat it for more
    #[arg(long, value_name = "PATTERN")]
    include: Vec<String>,

    #[command(flatten)]
    keys: BatchKeys,

    #[command(flatten)]
    store: StoreArgs,

    /// Read keys from a file; a flag or a variable goes before a line of it
    /// [default: ~/.config/fxsrv/config.toml where it exists]
    #[arg(long, env = "FXSRV_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The same, once it is known to make sense.
struct Wish {
    source: Place,
    target: Place,
    to: Type,
    choice: Choice,
    options: RequestOptions,
    keys: BatchKeys,
    reach: ReachConfig,
    /// The store that `store:` is, for whoever reads and writes the files.
    store: FilesKeys,
    is_store_named: bool,
}

pub(super) fn run(args: Args) -> Result<Exit, Fail> {
    match args.command {
        Command::Run(args) => run::run(*args),
        #[cfg(feature = "nats")]
        Command::Submit(args) => queue::submit(*args),
        #[cfg(feature = "nats")]
        Command::Status(args) => queue::status(args),
        #[cfg(feature = "nats")]
        Command::Watch(args) => queue::watch(args),
        #[cfg(feature = "nats")]
        Command::Results(args) => queue::results(args),
        #[cfg(feature = "nats")]
        Command::Retry(args) => queue::retry(args),
        #[cfg(feature = "nats")]
        Command::Cancel(args) => queue::cancel(args),
        #[cfg(feature = "nats")]
        Command::Forget(args) => queue::forget(args),
    }
}

impl JobArgs {
    fn parse(self) -> Result<Wish, Fail> {
        let file = File::load_for_user(self.config.as_deref())?;
        let operation = Operation::Convert(self.to.target());
        let (flags, lines) = (self.keys.options(), file.batch.options());
        let options = options::request_options(&flags, &lines, operation)?;
        let keys = self.keys.or(file.batch);
        logs::start(keys.log.unwrap_or(LogLevel(tracing::Level::ERROR)));
        let (source, target) = (Place::source(&self.source)?, Place::target(&self.target)?);
        let flags = self.store.keys();
        let is_store_named = flags.server.is_some();
        let store = flags.or(file.files);
        let include = self.include.iter().map(|text| pattern(text)).collect::<Result<_, _>>()?;
        let reach = ReachConfig {
            buckets: bucket_access(&keys)?,
            store: None,
            allowed: None,
            limits: keys.limits(),
        };
        let choice = Choice { include, extension: self.to.extension() };
        let to = self.to;
        Ok(Wish { source, target, to, choice, options, keys, reach, store, is_store_named })
    }
}

impl Wish {
    /// What a run here may reach.
    fn reach_from_here(&self) -> Result<ReachConfig, Fail> {
        let has_store = matches!(self.source, Place::Stored(_)) || self.target == Place::Store;
        // Whether a manifest names files of a store is known when they are read.
        let is_known =
            self.is_store_named || self.store.ca.is_some() || self.store.plain == Some(true);
        let wants_store = has_store || (matches!(self.source, Place::Manifest(_)) && is_known);
        let store = wants_store.then(|| transfer::side_store_config(&self.store)).transpose()?;
        Ok(ReachConfig { store, ..self.reach.clone() })
    }

    /// Whether files come from another machine, or go there.
    fn is_remote(&self) -> bool {
        let is_here = |place: &Place| matches!(place, Place::Directory(_));
        !is_here(&self.source) || !is_here(&self.target)
    }
}

fn bucket_access(keys: &BatchKeys) -> Result<BucketAccess, Fail> {
    let read = |path: &PathBuf| {
        std::fs::read(path)
            .map_err(|error| Fail::usage(format!("cannot read {}: {error}", path.display())))
    };
    Ok(BucketAccess {
        endpoint: keys.s3_endpoint.clone(),
        region: keys.s3_region.clone(),
        ca_pem: keys.s3_ca.as_ref().map(read).transpose()?,
    })
}

fn pattern(text: &str) -> Result<glob::Pattern, Fail> {
    glob::Pattern::new(text)
        .map_err(|error| Fail::usage(format!("'{text}' is no pattern: {error}")))
}

impl From<AddressError> for Fail {
    fn from(error: AddressError) -> Self {
        let fail = Self::usage(error.to_string());
        match error {
            AddressError::StoreListed => fail.with_hint(
                "name its files in a manifest, one `store:NAME` on each line, and give that",
            ),
            AddressError::Missing(_) => fail.with_hint(
                "a source is a directory, s3://BUCKET/PREFIX/, store:NAME, or a manifest",
            ),
            _ => fail,
        }
    }
}

impl From<PlanError> for Fail {
    fn from(error: PlanError) -> Self {
        let message = error.to_string();
        match error {
            PlanError::List { .. } => Self::new(Exit::Unreachable, message),
            PlanError::Entry { trouble: Trouble { hint: Some(hint), .. }, .. } => {
                Self::usage(message).with_hint(hint)
            }
            PlanError::Collision { .. } => Self::usage(message)
                .with_hint("rename one of them, or say which are meant with --include"),
            PlanError::Another(_) => {
                Self::usage(message).with_hint("name another --journal, or forget it with --fresh")
            }
            PlanError::Keep { .. } => Self::failed(message),
            _ => Self::usage(message),
        }
    }
}

impl From<JournalError> for Fail {
    fn from(error: JournalError) -> Self {
        let message = error.to_string();
        match error {
            JournalError::Locked(_) => Self::usage(message).with_hint("wait for its end"),
            JournalError::Keep { .. } => {
                Self::usage(message).with_hint("name a directory with --journal DIR")
            }
        }
    }
}
