//! `fxsrv store`.

use std::path::{Path, PathBuf};

use super::bucket::{self, BucketWish};
use super::fail::{Exit, Fail};
use super::scrub::{self, ScrubArgs};
use super::serve::{self, ServeArgs};
use super::term;
use crate::auth::Tokens;
use crate::config::{ClientAuthMode, File, Running, StoreKeys};
use crate::io::Driver;
use crate::limits::StoreLimits;
use crate::server::Lifecycle;
use crate::store::{self, Confinement, Connections, Directory, Files, Security};
use crate::tls::certs::CertDir;
use crate::tls::{ClientAuth, ServerTls, Versions};

const PORT: u16 = 5002;

/// Keep files for clients: PUT, GET, CHANGE, SUMMARY, HELP
///
/// All files lie in one directory. A file appears under its name whole or not at all, and what is
/// acknowledged survives a loss of power; a checksum is kept with it, and held against what is sent.
/// The process can reach nothing but that directory, where the kernel has Landlock. With --backend the
/// files lie in a bucket instead.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "\
Examples:
  A store, after `fxsrv certs init --dir certs --name files.example.org`:
      fxsrv store --root /srv/files --listen 0.0.0.0:5002 --certs certs

  For clients that speak no TLS, on this machine alone:
      fxsrv store --root files --plain

  Files in a bucket, which many stores may share:
      AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=... fxsrv store --certs certs \\
          --backend s3://bucket/prefix --s3-endpoint https://s3.example.org

  Look for files that have been damaged on the disk, also while a store serves them:
      fxsrv store scrub --root /srv/files

Signals: SIGTERM takes no more requests and ends once those in flight are done, or --grace is over.
SIGINT, or a second signal, ends at once."
)]
pub(super) struct Args {
    #[command(flatten)]
    keys: StoreKeys,
    #[command(flatten)]
    serve: ServeArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Scrub(ScrubArgs),
}

pub(super) fn run(args: &Args) -> Result<Exit, Fail> {
    if let Some(Command::Scrub(scrub_args)) = &args.command {
        return scrub::run(scrub_args);
    }
    let file = File::load(args.serve.config.as_deref())?;
    let keys = args.keys.clone().or(others(&args.keys, file.store));
    let running = keys.running()?;
    let driver = serve::begin(keys.log, running.io)?;
    let place = Place::of(&keys)?;
    let config = configure(&keys, driver, &running)?;
    if args.serve.check_config {
        return facts(&config, &place, driver, &running).map(|()| Exit::Done);
    }
    let files = place.open(&keys)?;
    let life = Lifecycle::default();
    let stop = life.stop();
    serve::answer_admin(keys.admin.as_ref(), "store", &config.metrics, &stop)?;
    // A store that is confined to its directory cannot read its certificates again.
    let reload =
        || Err(Fail::usage("a store reads certificates and token when it starts, and no more"));
    serve::heed_signals(life, reload)?;
    serve::log_start("store", driver, &running);
    tracing::info!(durability = %config.durability, limits = ?keys.limits(), "files");
    store::run(config, files, &stop, serve::announce)
        .map_err(|error| Fail::failed(error.to_string()))?;
    Ok(Exit::Done)
}

fn configure(keys: &StoreKeys, driver: Driver, running: &Running) -> Result<store::Config, Fail> {
    let plan = serve::plan(serve::resolve(keys.listen.as_ref(), PORT)?, driver, running);
    let security = match keys.plain {
        Some(true) => {
            let is_local = plan.listen.ip().is_loopback();
            if !is_local && keys.plain_anywhere != Some(true) {
                return Err(Fail::usage(format!(
                    "{} is not a loopback address, and --plain speaks without TLS",
                    plan.listen
                ))
                .with_hint(
                    "leave out --plain, or add --plain-anywhere if the network is yours alone",
                ));
            }
            if !is_local {
                term::warn("without TLS, whoever stands between can read and change every file");
            }
            Security::Plain
        }
        _ => Security::Tls(tls(keys)?),
    };
    let tokens = match &keys.auth {
        Some(path) => serve::load_tokens(path)?,
        None => Tokens::Open,
    };
    Ok(store::Config {
        plan,
        security,
        tokens,
        limits: running.limits,
        durability: keys.durability.unwrap_or_default(),
        connections: match keys.one_shot {
            Some(true) => Connections::OneShot,
            _ => Connections::Kept,
        },
        summary: keys.summary.unwrap_or_default(),
        metrics: store::registry(),
    })
}

fn tls(keys: &StoreKeys) -> Result<ServerTls, Fail> {
    let certs = keys.certs.as_ref().map(CertDir::open).ok_or_else(|| {
        Fail::usage("a store needs certificates").with_hint(
            "make them with `fxsrv certs init --dir certs`, and give `--certs certs`; or speak \
             without TLS on this machine alone with --plain",
        )
    })?;
    let identity = certs.load_server()?;
    Ok(match keys.client_auth {
        Some(ClientAuthMode::Required) => {
            let clients = certs.load_roots()?;
            ServerTls::new(&identity, ClientAuth::Required(&clients), Versions::Tls12And13)?
        }
        _ => ServerTls::new(&identity, ClientAuth::None, Versions::Tls12And13)?,
    })
}

/// What a file may add to flags and variables: a place that these name replaces the file's, of
/// whichever kind.
fn others(flags: &StoreKeys, file: StoreKeys) -> StoreKeys {
    let StoreKeys { root, backend, .. } = &file;
    let root = root.clone().filter(|_| flags.backend.is_none());
    let backend = backend.clone().filter(|_| flags.root.is_none());
    StoreKeys { root, backend, ..file }
}

/// Where the files are to lie.
enum Place {
    Directory(PathBuf),
    Bucket(BucketWish),
}

impl Place {
    fn of(keys: &StoreKeys) -> Result<Self, Fail> {
        match (&keys.root, BucketWish::of(keys)?) {
            (Some(root), None) => Ok(Self::Directory(root.clone())),
            (None, Some(wish)) => Ok(Self::Bucket(wish)),
            (None, None) => Err(Fail::usage("a store needs a place for its files")
                .with_hint("name a directory with --root DIR, or a bucket with --backend URL")),
            (Some(_), Some(_)) => Err(Fail::usage("a store has one place for its files")
                .with_hint("leave out --root, or --backend")),
        }
    }

    /// Opens it, and gives up the access to all else.
    fn open(&self, keys: &StoreKeys) -> Result<Files, Fail> {
        match self {
            Self::Directory(root) => {
                let directory = open(root, keys.limits())?;
                confined(&store::confine(directory.path()));
                Ok(directory.into())
            }
            Self::Bucket(wish) => {
                let settings = wish.settings()?;
                // Before the threads for it begin.
                confined(&store::confine_to_reading());
                let has_quota = keys.max_files.is_some() || keys.max_total.is_some();
                Ok(bucket::open(&settings, keys.limits(), has_quota)?.into())
            }
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory(root) => root.display().fmt(f),
            Self::Bucket(wish) => wish.fmt(f),
        }
    }
}

/// The files beneath `root`.
pub(super) fn open(root: &Path, limits: StoreLimits) -> Result<Directory, Fail> {
    Directory::open(root, limits).map_err(|error| {
        let fail = Fail::usage(format!("cannot keep files in {}: {error}", root.display()));
        match error.kind() {
            std::io::ErrorKind::NotFound => fail.with_hint(format!(
                "make it with `mkdir -p {}`",
                term::quote(&root.to_string_lossy())
            )),
            _ => fail,
        }
    })
}

fn confined<E: std::fmt::Display>(confined: &Result<Confinement, E>) {
    match confined {
        Ok(Confinement::Full) => tracing::debug!("confined to its files"),
        Ok(Confinement::Partial) => {
            tracing::info!("confined to its files, as far as this kernel knows how to");
        }
        Ok(Confinement::None) => tracing::warn!("not confined: this kernel has no Landlock"),
        Err(error) => tracing::warn!(%error, "not confined"),
    }
}

fn facts(
    config: &store::Config,
    place: &Place,
    driver: Driver,
    running: &Running,
) -> Result<(), Fail> {
    let security = match config.security {
        Security::Tls(_) => "TLS",
        Security::Plain => "none",
    };
    let token = if matches!(config.tokens, Tokens::Open) { "not asked for" } else { "asked for" };
    serve::facts(&[
        ("listen", config.plan.listen.to_string()),
        ("files", place.to_string()),
        ("security", security.to_owned()),
        ("token", token.to_owned()),
        ("durability", config.durability.to_string()),
        ("driver", driver.to_string()),
        ("threads", running.threads.to_string()),
        ("buffers", format!("{} a thread", running.buffers)),
    ])
}
