//! `fxsrv worker`.

use std::time::{Duration, Instant};

use super::convert::StoreArgs;
use super::fail::Fail;
use super::fonts::{self, Fonts};
use super::nats::Wish;
use super::serve::{self, CertEnd, ServeArgs};
use super::term;
use crate::auth::Tokens;
use crate::config::{
    ClientAuthMode, File, FilesKeys, NOTICE_DEFAULT, Running, SLOTS_MAX, SPARES, WorkerKeys, cores,
    isolation, with_memory, with_queue, within,
};
use crate::exchange::AccessLog;
use crate::io::{Driver, memory_bytes};
use crate::limits::ConvertLimits;
use crate::server::{Changing, Lifecycle, Phase, Plan, Stop};
use crate::tls::certs::CertDir;
use crate::tls::{ClientAuth, ServerTls, Versions};
use crate::worker;

const PORT: u16 = 6000;

/// Convert files that masters send
///
/// A worker takes a file into memory, converts it there, answers, and forgets it. Nothing of it is
/// written to disk.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  A worker that lets in masters with a certificate of the same CA:
      fxsrv worker --listen 0.0.0.0:6000 --certs certs

  A worker that lets in one of them alone, made with `fxsrv certs init --client-name master1.internal`:
      fxsrv worker --listen 0.0.0.0:6000 --certs certs --client-name master1.internal

  A worker for a master of v1.0, which shows a token and no certificate:
      fxsrv worker --listen 0.0.0.0:6000 --certs certs --client-auth none --token-file token

  A worker that takes files of batches too, of one bucket, and whom masters find by themselves:
      fxsrv worker --listen 0.0.0.0:6000 --certs certs --queue nats://nats.internal:4222 \\
          --queue-allow s3://bucket --announce-as worker1.internal:6000

Signals: SIGTERM tells masters to go elsewhere, takes requests for --notice still, and ends once those
in flight are done, or --grace is over. SIGINT, or a second signal, ends at once. SIGHUP reads
certificates and token anew; connections go on.")]
pub(super) struct Args {
    #[command(flatten)]
    keys: WorkerKeys,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    serve: ServeArgs,
}

pub(super) fn run(args: Args) -> Result<(), Fail> {
    let keys = read_keys(&args)?;
    let mut running = keys.common().parse()?;
    if let Some(convert_timeout) = keys.convert_timeout {
        running.limits.convert_timeout = convert_timeout.0;
    }
    running.limits = with_memory(running.limits, keys.memory, memory_bytes())?;
    if keys.queue.is_some() {
        running.limits = with_queue(running.limits, keys.queue_memory)?;
    }
    let (driver, _follower) =
        serve::begin_followed(keys.log, running.io, keys.otlp.as_ref(), "worker")?;
    let (sender, changing) = Changing::new(read_live(&keys)?);
    let fonts = fonts::open(keys.font.as_deref())?;
    let font_names = fonts.names();
    let config = configure(&keys, driver, &running, changing, fonts)?;
    let wish = Wish::of(&keys, &store_keys(&args)?, &running, config.slots)?;
    if args.serve.check_config {
        let mut facts = vec![
            ("listen", config.plan.listen.to_string()),
            ("conversions at once", config.slots.to_string()),
            ("isolation", config.isolation.to_string()),
            ("fonts", font_names),
            ("queue", if wish.has_queue() { "yes" } else { "no" }.to_owned()),
        ];
        facts.extend(serve::common_facts(driver, &running));
        return serve::facts(&facts);
    }
    let before = config.live.clone();
    let access = serve::open_access(keys.access_log.as_ref())?;
    let config = worker::Config { access: access.clone(), ..config };
    let end = CertEnd::default();
    end.note(keys.certs.as_ref());
    end.show_in(&config.metrics);
    let life = Lifecycle::default();
    let stop = life.stop();
    serve::answer_admin(keys.admin.as_ref(), "worker", &config.metrics, &stop)?;
    serve::heed_signals(life, move || {
        let keys = read_keys(&args)?;
        access.reopen();
        let anew = read_live(&keys)?;
        end.note(keys.certs.as_ref());
        let tokens = anew.tokens.after(&before.now().tokens);
        sender.set(worker::Live { tokens, ..anew });
        Ok(())
    })?;
    serve::log_start("worker", driver, &running);
    serve::watch_expiry(keys.certs.as_ref())?;
    tracing::info!(
        slots = config.slots,
        isolation = %config.isolation,
        fonts = font_names,
        limits = ?config.convert_limits,
        "conversions"
    );
    serve_both(config, &wish, &stop)
}

/// Serves masters, and the queue behind them. What is on its way for either comes to its end.
fn serve_both(config: worker::Config, wish: &Wish, stop: &Stop) -> Result<(), Fail> {
    let (mut taking, mut announced) = (Ok(None), Ok(()));
    let grace = config.plan.grace;
    let served = worker::run_sharing(
        config,
        stop,
        |converter| taking = wish.take_work(converter, stop),
        |address| {
            serve::announce(address);
            announced = wish.announce(address, stop);
            if announced.is_err() {
                stop.request(Phase::Stopped);
            }
        },
    );
    served.map_err(|error| Fail::failed(error.to_string()))?;
    announced?;
    if let Some(thread) = taking? {
        let ends = Instant::now() + grace;
        while !thread.is_finished() && Instant::now() < ends && stop.phase() < Phase::Stopped {
            std::thread::sleep(LOOK_PERIOD);
        }
    }
    Ok(())
}

/// How often a worker that ends looks whether its last files are written.
const LOOK_PERIOD: Duration = Duration::from_millis(20);

fn read_keys(args: &Args) -> Result<WorkerKeys, Fail> {
    let file = File::load(args.serve.config.as_deref())?;
    Ok(args.keys.clone().or(file.worker))
}

/// The store that files of batches may name; without a flag it is that of `[files]`.
fn store_keys(args: &Args) -> Result<FilesKeys, Fail> {
    let file = File::load(args.serve.config.as_deref())?;
    Ok(args.store.clone().keys().or(file.files))
}

/// What a reload reads anew.
fn read_live(keys: &WorkerKeys) -> Result<worker::Live, Fail> {
    let certs = keys.certs.as_ref().map(CertDir::open).ok_or_else(|| {
        Fail::usage("a worker needs certificates")
            .with_hint("make them with `fxsrv certs init --dir certs`, and give `--certs certs`")
    })?;
    let identity = certs.load_server()?;
    let tokens = match &keys.token_file {
        Some(path) => serve::load_tokens(path)?,
        None => Tokens::Open,
    };
    let tls = match keys.client_auth {
        Some(ClientAuthMode::None) if keys.client_name.is_some() => {
            return Err(Fail::usage("client-name asks for certificates, and client-auth is none")
                .with_hint("leave out one of them"));
        }
        Some(ClientAuthMode::None) => {
            if matches!(tokens, Tokens::Open) {
                term::warn(
                    "anyone who can connect may have files converted: --client-auth is none, \
                     and there is no --token-file",
                );
            }
            ServerTls::new(&identity, ClientAuth::None, Versions::Tls12And13)?
        }
        Some(ClientAuthMode::Required) | None => {
            let masters = certs.load_roots()?;
            let auth = match keys.client_name.as_deref() {
                None | Some([]) => ClientAuth::Required(&masters),
                Some(names) => ClientAuth::Named(&masters, names),
            };
            ServerTls::new(&identity, auth, Versions::Tls13)?
        }
    };
    Ok(worker::Live { tls, tokens })
}

fn configure(
    keys: &WorkerKeys,
    driver: Driver,
    running: &Running,
    live: Changing<worker::Live>,
    fonts: Fonts,
) -> Result<worker::Config, Fail> {
    let listen = serve::resolve(keys.listen.as_ref(), PORT)?;
    let notice = keys.notice.map_or(NOTICE_DEFAULT, |notice| notice.0);
    Ok(worker::Config {
        plan: Plan { notice, ..serve::plan(listen, driver, running) },
        live,
        limits: running.limits,
        convert_limits: ConvertLimits::default(),
        fonts: fonts.into_inner(),
        isolation: isolation(
            keys.isolation,
            keys.isolation_user,
            keys.isolation_memory,
            running.limits.body_bytes_max,
            SPARES,
        ),
        slots: within("slots", keys.slots.unwrap_or_else(cores), 1..=SLOTS_MAX)?,
        metrics: crate::exchange::registry(),
        access: AccessLog::default(),
        limits_guesses: matches!(keys.client_auth, Some(ClientAuthMode::None)),
    })
}
