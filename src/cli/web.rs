//! `fxsrv web`.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use super::fail::Fail;
use super::serve::{self, ServeArgs};
use super::term;
use crate::client::Address;
use crate::config::{ByteSize, File, WebKeys};
use crate::io::Driver;
use crate::server::Lifecycle;
use crate::store_client;
use crate::tls::certs::CertDir;
use crate::tls::{ClientAuth, ClientTls, Roots, ServerTls, Trust, Versions};
use crate::web::{self, StoreAccess};

pub(super) const PORT: u16 = 8080;
const MASTER_PORT: u16 = 5000;

/// Serve a page to drop files on, and the HTTP API beside it
///
/// The gateway is a client of a master: it passes files and results through as they arrive, and keeps
/// nothing of either. The page and its API are for browsers and programs alike; docs/http-api.md has
/// all of it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  Beside a master on this machine, and show it:
      fxsrv web --ca certs/ca.pem --token-file token --open

  Convert with curl:
      curl -T photo.jpg 'http://localhost:8080/v1/convert?to=png' -o photo.png

Signals: SIGTERM takes no more requests and ends once those in flight are done, or --grace is over.
SIGINT, or a second signal, ends at once.")]
pub(super) struct Args {
    #[command(flatten)]
    keys: WebKeys,
    /// Show the page in the browser, by $BROWSER or xdg-open
    #[arg(long)]
    open: bool,
    #[command(flatten)]
    serve: ServeArgs,
}

pub(super) fn run(args: Args) -> Result<(), Fail> {
    let file = File::load(args.serve.config.as_deref())?;
    let keys = args.keys.or(file.web);
    let driver = serve::begin(keys.log, keys.io)?;
    let config = configure(&keys, driver)?;
    if args.serve.check_config {
        return facts(&config);
    }
    let life = Lifecycle::default();
    let stop = life.stop();
    let reload = || Err(Fail::usage("a gateway reads its token when it starts, and no more"));
    super::notify::keep_watched(&config.metrics);
    serve::heed_signals(life, reload)?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        %driver,
        server = %config.server,
        limits = ?config.limits,
        "web starts"
    );
    let is_https = config.https.is_some();
    let on_listening = |address| {
        serve::announce(address);
        let url = url(address, is_https);
        if let Err(fail) = term::out(&format!("the page is at {url}")) {
            term::error(&fail);
        }
        if args.open {
            open(&url);
        }
    };
    web::run(config, &stop, on_listening).map_err(|error| Fail::failed(error.to_string()))
}

fn configure(keys: &WebKeys, driver: Driver) -> Result<web::Config, Fail> {
    let listen = serve::resolve(keys.listen.as_ref(), PORT)?;
    let certs = keys.tls.as_ref().map(CertDir::open);
    if certs.is_none() {
        check_exposure(listen, keys.insecure_http == Some(true))?;
    }
    let ca = keys.ca.as_ref().ok_or_else(|| {
        Fail::usage("nothing says whom to trust as the master")
            .with_hint("give --ca FILE, the ca.pem of the master's certificates")
    })?;
    let roots = Roots::load(ca).map_err(|error| {
        Fail::usage(error.to_string()).with_hint("--ca is the ca.pem of the master's certificates")
    })?;
    let own_name = keys.listen.as_ref().map(|listen| listen.host().to_owned());
    Ok(web::Config {
        listen,
        driver,
        threads: keys.threads()?,
        grace: keys.grace(),
        server: keys.server.clone().unwrap_or_else(master_here),
        tls: ClientTls::new(Trust::Roots(&roots), None, Versions::Tls12And13)?,
        token: keys.token_file.as_deref().map(serve::load_token).transpose()?,
        names: names(keys, own_name, certs.as_ref())?,
        https: certs.as_ref().map(https).transpose()?,
        store: store(keys, driver)?,
        metrics: web::registry(),
        limits: keys.limits()?,
        client_limits: keys.client_limits(),
    })
}

fn https(certs: &CertDir) -> Result<ServerTls, Fail> {
    Ok(ServerTls::new(&certs.load_server()?, ClientAuth::None, Versions::Tls12And13)?)
}

/// The names that browsers may call this server by: those that are given, that it listens on, and
/// that its certificate is for.
fn names(
    keys: &WebKeys,
    own: Option<String>,
    certs: Option<&CertDir>,
) -> Result<Vec<String>, Fail> {
    let infos = certs.map(CertDir::describe).transpose()?.unwrap_or_default();
    let certified = infos.into_iter().filter(|info| info.file == "server.pem");
    let certified = certified.flat_map(|info| info.names);
    Ok(keys.name.iter().flatten().cloned().chain(own).chain(certified).collect())
}

fn store(keys: &WebKeys, driver: Driver) -> Result<Option<StoreAccess>, Fail> {
    let Some(server) = keys.store.clone() else { return Ok(None) };
    let tls = match (&keys.store_ca, keys.store_plain) {
        (None, Some(true)) => None,
        (Some(ca), _) => {
            let roots = Roots::load(ca)?;
            Some(ClientTls::new(Trust::Roots(&roots), None, Versions::Tls12And13)?)
        }
        (None, _) => {
            return Err(Fail::usage(format!("nothing says whom to trust as the store {server}"))
                .with_hint("give --store-ca FILE, or --store-plain for a store without TLS"));
        }
    };
    Ok(Some(StoreAccess {
        client: store_client::Config {
            server,
            tls,
            token: keys.store_token_file.as_deref().map(serve::load_token).transpose()?,
            limits: keys.client_limits(),
            driver,
        },
        root: keys.store_root.clone(),
    }))
}

fn master_here() -> Address {
    SocketAddr::from(([127, 0, 0, 1], MASTER_PORT)).into()
}

/// Files and tokens go over the network in the clear only where that is asked for.
pub(super) fn check_exposure(listen: SocketAddr, is_accepted: bool) -> Result<(), Fail> {
    if listen.ip().is_loopback() {
        return Ok(());
    }
    if !is_accepted {
        return Err(Fail::usage(format!(
            "{listen} is not a loopback address, and HTTP has no protection of its own"
        ))
        .with_hint("give certificates with --tls DIR, or add --insecure-http if the network is yours alone"));
    }
    term::warn("without TLS, whoever stands between can read every file and token");
    Ok(())
}

fn facts(config: &web::Config) -> Result<(), Fail> {
    let token = match config.token {
        Some(_) => "that of the gateway, for all who show none",
        None => "that of each client",
    };
    serve::facts(&[
        ("listen", config.listen.to_string()),
        ("master", config.server.to_string()),
        ("token", token.to_owned()),
        ("driver", config.driver.to_string()),
        ("threads", config.threads.to_string()),
        ("largest file", ByteSize(config.limits.body_bytes_max).to_string()),
    ])
}

/// Where a browser on this machine finds the page.
pub(super) fn url(address: SocketAddr, is_https: bool) -> String {
    let (port, scheme) = (address.port(), if is_https { "https" } else { "http" });
    if address.ip().is_unspecified() || address.ip().is_loopback() && address.is_ipv4() {
        return format!("{scheme}://localhost:{port}/");
    }
    format!("{scheme}://{address}/")
}

/// Shows the page, and leaves the browser to itself.
fn open(url: &str) {
    let browser = std::env::var_os("BROWSER").filter(|browser| !browser.is_empty());
    let program = browser.unwrap_or_else(|| "xdg-open".into());
    let shown = program.to_string_lossy().into_owned();
    let mut command = Command::new(program);
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let warn = |why: String| term::warn(&format!("cannot open the page with {shown}: {why}"));
    match command.spawn() {
        // Waited for, so that it is no zombie once it has ended.
        Ok(mut child) => drop(std::thread::spawn(move || child.wait())),
        Err(error) => warn(error.to_string()),
    }
}
