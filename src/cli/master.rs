//! `fxsrv master`.

use super::fail::Fail;
use super::nats;
use super::serve::{self, CertEnd, ServeArgs};
use super::term;
use crate::config::{File, MasterKeys, Running, WorkerWire};
use crate::exchange::AccessLog;
use crate::io::Driver;
use crate::master::{self, WorkerList};
use crate::server::{Changing, Lifecycle};
use crate::tls::certs::CertDir;
use crate::tls::{ClientAuth, ClientTls, Identity, Roots, ServerTls, Trust, Versions};
use crate::wire::Version;

const PORT: u16 = 5000;

/// Take files from clients, and pass them to workers
///
/// A master checks who asks and for what, chooses a worker, and passes file and answer through as
/// they arrive. It keeps nothing of either.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  A master for two workers, after `fxsrv certs init --dir certs --name files.example.org`:
      fxsrv token new > token && chmod 600 token
      fxsrv master --listen 0.0.0.0:5000 --certs certs --token-file token \\
          --worker 10.0.0.2:6000 --worker 10.0.0.3:6000

  For several clients, each with a token of its own that can be revoked:
      fxsrv token new --file tokens --name scanner --operations pdf,text --rate 100/m
      fxsrv master --certs certs --token-file tokens --worker 10.0.0.2:6000

  In front of a worker that speaks v1.0 and has a certificate of its own:
      fxsrv master --certs certs --token-file token \\
          --worker 10.0.0.4:6000 --worker-wire v1.0 --worker-ca worker.pem

  In front of every worker behind a name, such as a headless service of Kubernetes or a name in Consul:
      fxsrv master --certs certs --token-file token --workers-dns workers.internal:6000

Signals: SIGTERM takes no more requests and ends once those in flight are done, or --grace is over.
SIGINT, or a second signal, ends at once. SIGHUP reads certificates, tokens and list of workers anew;
connections go on, and a worker that has left the list is drained.")]
pub(super) struct Args {
    #[command(flatten)]
    keys: MasterKeys,
    #[command(flatten)]
    serve: ServeArgs,
}

pub(super) fn run(args: Args) -> Result<(), Fail> {
    let keys = read_keys(&args)?;
    let mut running = keys.common().parse()?;
    if let Some(timeout) = keys.connect_timeout {
        running.limits.connect_timeout = timeout.0;
    }
    let (driver, _follower) =
        serve::begin_followed(keys.log, running.io, keys.otlp.as_ref(), "master")?;
    let first = read_live(&keys)?;
    let workers = first.workers.to_string();
    let (sender, changing) = Changing::new(first);
    let config = configure(&keys, driver, &running, changing)?;
    if args.serve.check_config {
        let mut facts = vec![
            ("listen", config.plan.listen.to_string()),
            ("workers", workers),
            ("workers speak", config.worker_wire.name().to_owned()),
        ];
        facts.extend(serve::common_facts(driver, &running));
        return serve::facts(&facts);
    }
    let before = config.live.clone();
    let access = serve::open_access(keys.access_log.as_ref())?;
    let config = master::Config { access: access.clone(), ..config };
    let end = CertEnd::default();
    end.note(keys.certs.as_ref());
    end.show_in(&config.metrics);
    let life = Lifecycle::default();
    let stop = life.stop();
    serve::answer_admin(keys.admin.as_ref(), "master", &config.metrics, &stop)?;
    serve::heed_signals(life, move || {
        let keys = read_keys(&args)?;
        access.reopen();
        let anew = read_live(&keys)?;
        end.note(keys.certs.as_ref());
        let tokens = anew.tokens.after(&before.now().tokens);
        sender.set(master::Live { tokens, ..anew });
        Ok(())
    })?;
    serve::log_start("master", driver, &running);
    serve::watch_expiry(keys.certs.as_ref())?;
    let found = nats::found_workers(&keys)?;
    master::run_following(config, found, &stop, serve::announce)
        .map_err(|error| Fail::failed(error.to_string()))
}

fn read_keys(args: &Args) -> Result<MasterKeys, Fail> {
    let file = File::load(args.serve.config.as_deref())?;
    Ok(args.keys.clone().or(file.master))
}

/// What a reload reads anew.
fn read_live(keys: &MasterKeys) -> Result<master::Live, Fail> {
    let certs = keys.certs.as_ref().map(CertDir::open).ok_or_else(|| {
        Fail::usage("a master needs certificates")
            .with_hint("make them with `fxsrv certs init --dir certs`, and give `--certs certs`")
    })?;
    let token_file = keys.token_file.as_ref().ok_or_else(|| {
        Fail::usage("a master needs a token that clients must show").with_hint(
            "make one with `fxsrv token new > token && chmod 600 token`, and give `--token-file token`",
        )
    })?;
    Ok(master::Live {
        tls: ServerTls::new(&certs.load_server()?, ClientAuth::None, Versions::Tls12And13)?,
        tokens: serve::load_tokens(token_file)?,
        workers: read_workers(keys)?,
        worker_tls: worker_tls(keys, &certs)?,
    })
}

fn read_workers(keys: &MasterKeys) -> Result<WorkerList, Fail> {
    let named = keys.worker.as_deref().unwrap_or_default();
    if named.is_empty() && keys.workers_dns.is_none() {
        if keys.workers_nats.is_some() {
            return Ok(WorkerList::default());
        }
        return Err(Fail::usage("a master needs at least one worker").with_hint(
            "start one with `fxsrv worker`, and give its `--worker HOST:PORT`, --workers-dns or --workers-nats",
        ));
    }
    WorkerList::parse(named, keys.workers_dns.clone())
        .map_err(|error| Fail::usage(format!("--worker: {error}")))
}

fn configure(
    keys: &MasterKeys,
    driver: Driver,
    running: &Running,
    live: Changing<master::Live>,
) -> Result<master::Config, Fail> {
    Ok(master::Config {
        plan: serve::plan(serve::resolve(keys.listen.as_ref(), PORT)?, driver, running),
        live,
        worker_wire: match keys.worker_wire {
            Some(WorkerWire::V1_0) => Version::V1_0,
            Some(WorkerWire::V1_1) | None => Version::V1_1,
        },
        limits: running.limits,
        metrics: crate::exchange::registry(),
        access: AccessLog::default(),
        fleet_limits: keys.fleet_limits()?,
        upstream_limits: keys.upstream_limits()?,
        limits_guesses: keys.limit_guesses.unwrap_or(true),
    })
}

/// Trust in workers, and what is shown to them. A worker of another make may ask for no certificate
/// and know no TLS 1.3.
fn worker_tls(keys: &MasterKeys, certs: &CertDir) -> Result<ClientTls, Fail> {
    let foreign_ca = keys.worker_ca.as_deref();
    let insecure = keys.worker_insecure == Some(true);
    if insecure && foreign_ca.is_some() {
        return Err(Fail::usage("worker-ca and worker-insecure exclude each other"));
    }
    if insecure {
        term::warn(
            "workers are not verified: whoever stands between can read and change every file",
        );
        let client = client_identity_if_any(certs)?;
        return Ok(ClientTls::new(Trust::Insecure, client.as_ref(), Versions::Tls12And13)?);
    }
    if let Some(path) = foreign_ca {
        let (roots, client) = (Roots::load(path)?, client_identity_if_any(certs)?);
        let trust = Trust::Roots(&roots);
        return Ok(ClientTls::new(trust, client.as_ref(), Versions::Tls12And13)?);
    }
    let (roots, client) = (certs.load_roots()?, certs.load_client()?);
    Ok(ClientTls::new(Trust::Roots(&roots), Some(&client), Versions::Tls13)?)
}

fn client_identity_if_any(certs: &CertDir) -> Result<Option<Identity>, Fail> {
    if !certs.path().join("client.pem").exists() {
        return Ok(None);
    }
    Ok(Some(certs.load_client()?))
}
