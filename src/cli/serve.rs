//! What master, worker and up have in common.

use std::fs::OpenOptions;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::certs::WARN_DAYS;
use super::fail::Fail;
use super::logs;
use super::notify;
use super::otlp::Follower;
use super::term;
use crate::admin::Admin;
use crate::auth::{Token, Tokens};
use crate::client::Address;
use crate::config::{Collector, LogLevel, Running};
use crate::exchange::AccessLog;
use crate::io::Driver;
use crate::metrics::Registry;
use crate::server::{Lifecycle, Phase, Plan, Stop};
use crate::tls::certs::{CertDir, CertInfo, CertKind};

/// What a server logs.
const LOG_DEFAULT: LogLevel = LogLevel(tracing::Level::INFO);

/// Flags of every server that are no keys.
#[derive(Debug, clap::Args)]
pub(super) struct ServeArgs {
    /// Read keys from a file; a flag or a variable goes before a line of it
    #[arg(long, env = "FXSRV_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Check flags, environment, file, certificates and token, say what is found, and end
    #[arg(long)]
    pub(super) check_config: bool,
}

/// A server's plan on one address.
pub(super) fn plan(listen: SocketAddr, driver: Driver, running: &Running) -> Plan {
    Plan {
        listen,
        driver,
        may_change_driver: running.io.is_none(),
        threads: running.threads,
        loops: running.threads,
        buffers: running.buffers,
        connections_max: running.limits.connections_max,
        grace: running.grace,
        notice: Duration::ZERO,
    }
}

/// The address to listen on: the first that the name has.
pub(super) fn resolve(listen: Option<&Address>, default_port: u16) -> Result<SocketAddr, Fail> {
    let Some(listen) = listen else {
        return Ok(SocketAddr::from(([127, 0, 0, 1], default_port)));
    };
    let unknown = |reason: &str| {
        Fail::usage(format!("cannot listen on {listen}: {reason}"))
            .with_hint("listen on an address of this machine, such as 127.0.0.1 or 0.0.0.0")
    };
    let mut addresses = (listen.host(), listen.port())
        .to_socket_addrs()
        .map_err(|error| unknown(&error.to_string()))?;
    addresses.next().ok_or_else(|| unknown("the name has no address"))
}

/// Starts the log, and chooses the driver.
pub(super) fn begin(log: Option<LogLevel>, wish: Option<Driver>) -> Result<Driver, Fail> {
    logs::start(log.unwrap_or(LOG_DEFAULT));
    choose_driver(wish)
}

/// The same, with the spans of requests sent to `collector` for as long as what is returned lives.
pub(super) fn begin_followed(
    log: Option<LogLevel>,
    wish: Option<Driver>,
    collector: Option<&Collector>,
    role: &str,
) -> Result<(Driver, Option<Follower>), Fail> {
    let Some(collector) = collector else { return Ok((begin(log, wish)?, None)) };
    let follower = Follower::start(collector, role)?;
    logs::start_followed(log.unwrap_or(LOG_DEFAULT), &follower);
    Ok((choose_driver(wish)?, Some(follower)))
}

/// The driver that serves. A fallback is worth a line in the log.
pub(super) fn choose_driver(wish: Option<Driver>) -> Result<Driver, Fail> {
    let choice = Driver::choose(wish)
        .map_err(|error| Fail::usage(error.to_string()).with_hint("leave out --io uring"))?;
    if let Some(fallback) = choice.fallback {
        tracing::warn!("{fallback}");
    }
    Ok(choice.driver)
}

/// A token from a file, with a warning where everybody can read it.
pub(super) fn load_token(path: &Path) -> Result<Token, Fail> {
    let loaded = Token::load(path)?;
    if loaded.world_readable {
        warn_of_readers(path);
    }
    Ok(loaded.token)
}

/// What a file accepts, with the same warning.
pub(super) fn load_tokens(path: &Path) -> Result<Tokens, Fail> {
    let (tokens, world_readable) = Tokens::load(path)?;
    if world_readable {
        warn_of_readers(path);
    }
    Ok(tokens)
}

fn warn_of_readers(path: &Path) {
    let shown = path.display();
    term::warn(&format!("{shown} can be read by every user of this machine; `chmod 600` it"));
}

/// The access log, where one is wanted. What is moved away is opened anew by [`AccessLog::reopen`].
pub(super) fn open_access(path: Option<&PathBuf>) -> Result<AccessLog, Fail> {
    let Some(path) = path.cloned() else { return Ok(AccessLog::default()) };
    let cannot = format!("cannot write {}", path.display());
    let open = move || -> io::Result<Box<dyn io::Write + Send>> {
        if path.as_os_str() == "-" {
            return Ok(Box::new(io::stdout()));
        }
        // It tells who asked for what: not for everybody.
        let mut options = OpenOptions::new();
        Ok(Box::new(options.create(true).append(true).mode(0o640).open(&path)?))
    };
    AccessLog::start(open).map_err(|error| Fail::usage(format!("{cannot}: {error}")))
}

/// Answers an operator's tools about a server, where that is wanted, and a service manager that
/// watches it.
pub(super) fn answer_admin(
    address: Option<&Address>,
    role: &'static str,
    metrics: &Registry,
    stop: &Stop,
) -> Result<(), Fail> {
    notify::keep_watched(metrics);
    let Some(address) = address else { return Ok(()) };
    // A monitor may know this machine by the name that it was given, or has.
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let names = vec![address.host().to_owned(), own.trim().to_owned()];
    let admin = Admin { role, metrics: metrics.clone(), stop: stop.clone(), names };
    let address = admin
        .start(resolve(Some(address), address.port())?)
        .map_err(|error| Fail::failed(format!("--admin: {error}")))?;
    term::note(&format!("admin on http://{address}/metrics"));
    Ok(())
}

/// Says where a server listens: the one line on stdout, for people and for scripts.
pub(super) fn announce(address: SocketAddr) {
    crate::io::forget_start();
    if let Err(fail) = term::out(&format!("listening on {address}")) {
        term::error(&fail);
    }
    notify::ready();
}

/// SIGTERM drains; SIGINT, or a second signal, ends at once; SIGHUP calls `reload`.
pub(super) fn heed_signals(
    life: Lifecycle,
    mut reload: impl FnMut() -> Result<(), Fail> + Send + 'static,
) -> Result<(), Fail> {
    let cannot = |error| Fail::failed(format!("cannot wait for signals: {error}"));
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(cannot)?;
    let wait = move || {
        let mut phase = Phase::Serving;
        for signal in signals.forever() {
            if signal == SIGHUP {
                log_reload(reload());
                continue;
            }
            phase = match (signal, phase) {
                (SIGTERM, Phase::Serving) => Phase::Leaving,
                _ => Phase::Stopped,
            };
            tracing::info!(?phase, "a signal came");
            notify::stopping();
            life.request(phase);
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait).map_err(cannot)?;
    Ok(())
}

/// The end of the certificate that is shown, as a gauge. It is that of the file when it was read: a
/// new file that no SIGHUP has brought in helps nobody.
#[derive(Clone, Default)]
pub(super) struct CertEnd(Arc<Mutex<Option<Instant>>>);

impl CertEnd {
    /// Shows it in `metrics`.
    pub(super) fn show_in(&self, metrics: &Registry) {
        let end = Arc::clone(&self.0);
        let help = "Until the certificate ends; 0 where it is over.";
        metrics.gauge("certificate_seconds_left", help, move || {
            let end = *end.lock().unwrap_or_else(PoisonError::into_inner);
            end.map_or(u64::MAX, |end| end.saturating_duration_since(Instant::now()).as_secs())
        });
    }

    /// The files have been read just now.
    pub(super) fn note(&self, certs: Option<&PathBuf>) {
        let infos = certs.and_then(|path| CertDir::open(path).describe().ok()).unwrap_or_default();
        let shown = infos.iter().find(|info| info.kind == CertKind::Server);
        let seconds = shown.map(|info| u64::try_from(info.seconds_left).unwrap_or(0));
        let end =
            seconds.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = end;
    }
}

/// How often certificates are looked at for their end.
const EXPIRY_PERIOD: Duration = Duration::from_secs(86_400);

/// Warns of certificates whose end is near, now and once a day.
pub(super) fn watch_expiry(certs: Option<&PathBuf>) -> Result<(), Fail> {
    let Some(certs) = certs.map(CertDir::open) else { return Ok(()) };
    let watch = move || {
        loop {
            warn_of_expiry(&certs);
            std::thread::sleep(EXPIRY_PERIOD);
        }
    };
    let thread = std::thread::Builder::new().name("expiry".into()).spawn(watch);
    thread.map(drop).map_err(|error| Fail::failed(format!("cannot start a thread: {error}")))
}

fn warn_of_expiry(certs: &CertDir) {
    // Files that cannot be read any more are told of when somebody wants to use them.
    for CertInfo { file, days_left, not_after, .. } in certs.describe().unwrap_or_default() {
        let hint = "`fxsrv certs renew` makes new ones, and SIGHUP has them read";
        if days_left < 0 {
            tracing::error!(file, not_after, hint, "a certificate is over");
        } else if days_left < WARN_DAYS {
            tracing::warn!(file, days_left, hint, "a certificate ends soon");
        }
    }
}

/// One line, whatever a parser drew to show where it stumbled.
fn log_reload(outcome: Result<(), Fail>) {
    match outcome {
        Ok(()) => tracing::info!("reloaded"),
        Err(fail) => {
            let problem = fail.message.split_whitespace().collect::<Vec<_>>().join(" ");
            tracing::error!(problem, hint = fail.hint, "not reloaded: what was read before stays");
        }
    }
}

/// What a server starts with, once.
pub(super) fn log_start(role: &str, driver: Driver, running: &Running) {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        %driver,
        threads = running.threads,
        buffers = %running.buffers,
        limits = ?running.limits,
        "{role} starts"
    );
}

/// Prints what `--check-config` found.
pub(super) fn facts(lines: &[(&str, String)]) -> Result<(), Fail> {
    term::out("ok")?;
    lines.iter().try_for_each(|(what, value)| term::out(&format!("  {what}: {value}")))
}

/// Facts of every server.
pub(super) fn common_facts(driver: Driver, running: &Running) -> [(&'static str, String); 4] {
    let body_max = crate::config::ByteSize(running.limits.body_bytes_max);
    [
        ("driver", driver.to_string()),
        ("threads", running.threads.to_string()),
        ("buffers", format!("{} a thread", running.buffers)),
        ("largest file", body_max.to_string()),
    ]
}
