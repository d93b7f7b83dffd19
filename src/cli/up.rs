//! `fxsrv up`: master and workers on this machine, with nothing to prepare.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::certs::{default_names, with_missing};
use super::fail::Fail;
use super::fonts;
use super::local::{LOCAL_NAMES, Parts, Tiers};
use super::serve::{self, ServeArgs};
use super::store::open as open_store;
use super::term::{self, quote};
use super::web;
use crate::auth::Token;
use crate::client::Address;
use crate::config::{File, PageAt, SLOTS_MAX, SPARES, UpKeys, cores, isolation, user_dir, within};
use crate::limits::StoreLimits;
use crate::server::Lifecycle;
use crate::store::Directory;
use crate::tls::certs::CertDir;

const PORT: u16 = 5000;
const WORKERS_MAX: usize = 64;

/// Start a master and workers on this machine, and say how to send to them
///
/// The first start makes certificates and a random token under the state directory; later starts use
/// them again. The one thing to copy to another machine is what the printed command names.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  On this machine alone:
      fxsrv up

  With a store on the page, which keeps what is put into it:
      fxsrv up --store-root ~/files

  For others too. The first start puts the name into the certificate:
      fxsrv up --listen files.example.org:5000

Ctrl-C ends everything at once; SIGTERM lets requests in flight end first.")]
pub(super) struct Args {
    #[command(flatten)]
    keys: UpKeys,
    #[command(flatten)]
    serve: ServeArgs,
}

/// What is kept from one start to the next.
struct State {
    certs: CertDir,
    token: Token,
    token_path: PathBuf,
}

pub(super) fn run(args: Args) -> Result<(), Fail> {
    let file = File::load(args.serve.config.as_deref())?;
    let keys = args.keys.or(file.up);
    let mut running = keys.common().parse()?;
    if let Some(convert_timeout) = keys.convert_timeout {
        running.limits.convert_timeout = convert_timeout.0;
    }
    let workers = within("workers", keys.workers.unwrap_or(1), 1..=WORKERS_MAX)?;
    let slots = keys.slots.unwrap_or_else(|| cores().div_ceil(workers));
    let slots = within("slots", slots, 1..=SLOTS_MAX)?;
    let fonts = fonts::open(keys.font.as_deref())?;
    let isolation = isolation(
        keys.isolation,
        keys.isolation_user,
        keys.isolation_memory,
        running.limits.body_bytes_max,
        SPARES,
    );
    let listen = serve::resolve(keys.listen.as_ref(), PORT)?;
    let dir = state_dir(&keys)?;
    let page = page_address(keys.web.as_ref())?;
    let (driver, _follower) =
        serve::begin_followed(keys.log, running.io, keys.otlp.as_ref(), "up")?;
    if args.serve.check_config {
        let mut facts = vec![
            ("listen", listen.to_string()),
            ("state", dir.display().to_string()),
            (
                "page",
                page.as_ref().map_or_else(|| "none".to_owned(), |page| page.listen.to_string()),
            ),
            ("workers", format!("{workers}, each with {slots} conversions at once")),
            ("isolation", isolation.to_string()),
            ("fonts", fonts.names()),
        ];
        facts.extend(serve::common_facts(driver, &running));
        return serve::facts(&facts);
    }
    let state = State::open(&dir, keys.listen.as_ref())?;
    let mut parts = Parts {
        listen,
        driver,
        running,
        workers,
        slots,
        fonts: fonts.into_inner(),
        isolation,
        server: state.certs.load_server()?,
        client: state.certs.load_client()?,
        roots: state.certs.load_roots()?,
        token: state.token.clone(),
        access: serve::open_access(keys.access_log.as_ref())?,
        files: open_files(keys.store_root.as_deref(), page.as_ref())?,
        store_root: keys.store_root.clone(),
    };
    serve::log_start("up", driver, &running);
    let life = Lifecycle::default();
    let mut tiers = Tiers::start(&parts, life.clone())?;
    serve::answer_admin(keys.admin.as_ref(), "master", tiers.metrics(), &life.stop())?;
    let page = start_page(&mut tiers, &mut parts, page.as_ref());
    serve::heed_signals(life, || {
        Err(Fail::usage("`fxsrv up` reads certificates and token when it starts, and no more")
            .with_hint("start it again, or run master and worker by themselves"))
    })?;
    serve::announce(tiers.address());
    term::out(&state.command(tiers.address(), keys.listen.as_ref()))?;
    match page {
        Ok(None) => {}
        Ok(Some(address)) => term::out(&format!("the page is at {}", web::url(address, false)))?,
        Err(fail) => {
            let _ = tiers.stop();
            return Err(fail);
        }
    }
    tiers.wait()
}

/// Where the page is to be.
struct Page {
    listen: SocketAddr,
    /// It was not asked for at this port.
    may_move: bool,
}

fn page_address(key: Option<&PageAt>) -> Result<Option<Page>, Fail> {
    let (listen, may_move) = match key {
        Some(PageAt::Off) => return Ok(None),
        Some(PageAt::Address(address)) => (serve::resolve(Some(address), web::PORT)?, false),
        None => (serve::resolve(None, web::PORT)?, true),
    };
    if !listen.ip().is_loopback() {
        return Err(Fail::usage(format!(
            "{listen} is not a loopback address, where the page may be"
        ))
        .with_hint("the page shows the token for all; for others start `fxsrv web` beside it"));
    }
    Ok(Some(Page { listen, may_move }))
}

/// The files of the page's store. Landlock is not for this process, which does more than that.
fn open_files(root: Option<&Path>, page: Option<&Page>) -> Result<Option<Directory>, Fail> {
    let Some(root) = root else { return Ok(None) };
    if page.is_none() {
        return Err(Fail::usage("--store-root is for the page, and --web off leaves it out")
            .with_hint("start `fxsrv store` for a store without a page"));
    }
    open_store(root, StoreLimits::default()).map(Some)
}

fn start_page(
    tiers: &mut Tiers,
    parts: &mut Parts,
    page: Option<&Page>,
) -> Result<Option<SocketAddr>, Fail> {
    let Some(Page { listen, may_move }) = page else { return Ok(None) };
    let free = SocketAddr::new(listen.ip(), 0);
    let is_taken = || std::net::TcpListener::bind(listen).is_err();
    let listen = if *may_move && is_taken() { free } else { *listen };
    tiers.add_page(parts, listen).map(Some)
}

fn state_dir(keys: &UpKeys) -> Result<PathBuf, Fail> {
    let dir = keys.state.clone().or_else(|| user_dir("XDG_STATE_HOME", ".local/state"));
    let dir = dir.ok_or_else(|| {
        Fail::usage("there is no state directory: neither XDG_STATE_HOME nor HOME is set")
            .with_hint("name one with --state DIR")
    })?;
    // The printed command must work from anywhere.
    std::path::absolute(&dir)
        .map_err(|error| Fail::usage(format!("cannot use {}: {error}", dir.display())))
}

impl State {
    /// Takes what is there, and makes what is missing.
    fn open(dir: &Path, listen: Option<&Address>) -> Result<Self, Fail> {
        let certs_path = dir.join("certs");
        let certs = if certs_path.join("server.pem").exists() {
            CertDir::open(&certs_path)
        } else {
            let extra = listen.map(|listen| listen.host().to_owned());
            let names = with_missing(default_names(), extra.filter(|host| !is_any(host)));
            let certs = CertDir::init(&certs_path, &names)?;
            term::note(&format!("made certificates for {}", names.join(", ")));
            certs
        };
        let token_path = dir.join("token");
        let token = open_token(&token_path)?;
        let state = Self { certs, token, token_path };
        state.check_names(listen)?;
        Ok(state)
    }

    /// Certificates of an earlier start may lack the name that clients now use.
    fn check_names(&self, listen: Option<&Address>) -> Result<(), Fail> {
        let infos = self.certs.describe()?;
        let Some(server) = infos.iter().find(|info| info.file == "server.pem") else {
            return Ok(());
        };
        let has = |name: &str| server.names.iter().any(|own| own == name);
        if !has("127.0.0.1") {
            let path = self.certs.path().display();
            return Err(Fail::usage(format!(
                "the certificates in {path} are not for 127.0.0.1, where the workers are reached"
            ))
            .with_hint("remove them, and the next start makes new ones"));
        }
        if let Some(host) = listen.map(Address::host).filter(|host| !is_any(host) && !has(host)) {
            let path = self.certs.path().display();
            term::warn(&format!(
                "the certificates in {path} are not for {host}, but for {}; remove them, and the \
                 next start makes new ones",
                server.names.join(", ")
            ));
        }
        Ok(())
    }

    /// A command that sends a file here, as a shell reads it.
    fn command(&self, address: SocketAddr, listen: Option<&Address>) -> String {
        let host = match listen.map(Address::host) {
            Some(host) if !is_any(host) => host.to_owned(),
            // Every address of this machine: the one that works here for sure.
            Some(_) => LOCAL_NAMES[0].to_owned(),
            None => address.ip().to_string(),
        };
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let ca = self.certs.path().join("ca.pem");
        format!(
            "{} convert photo.png --to jpg --server {} --ca {} --token-file {}",
            quote(&own_name()),
            quote(&format!("{host}:{}", address.port())),
            quote(&ca.to_string_lossy()),
            quote(&self.token_path.to_string_lossy()),
        )
    }
}

fn is_any(host: &str) -> bool {
    host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_unspecified())
}

/// How a shell finds this program again: by the name that it was found by, else by its path.
fn own_name() -> String {
    let called = std::env::args().next().unwrap_or_default();
    if !called.contains('/') && !called.is_empty() {
        return called;
    }
    std::env::current_exe().map_or(called, |path| path.to_string_lossy().into_owned())
}

/// The token of an earlier start, or a new one that its owner alone can read.
fn open_token(path: &Path) -> Result<Token, Fail> {
    let cannot = |error| Fail::failed(format!("cannot write {}: {error}", path.display()));
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            let token = Token::generate()?;
            writeln!(file, "{}", token.reveal()).map_err(cannot)?;
            Ok(token)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => serve::load_token(path),
        Err(error) => Err(cannot(error)),
    }
}
