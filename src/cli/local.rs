//! Master and workers inside of this process, for `up` and for `convert` without a server.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use super::fail::Fail;
use super::serve;
use crate::auth::{Token, Tokens};
use crate::config::Running;
use crate::exchange::AccessLog;
use crate::io::Driver;
use crate::isolation::{Font, Isolation};
use crate::limits::{ClientLimits, ConvertLimits, FleetLimits, UpstreamLimits, WebLimits};
use crate::master::{WorkerList, WorkerSpec};
use crate::metrics::Registry;
use crate::server::{Changing, Lifecycle, Phase, Plan, Stop};
use crate::store::{self, Directory};
use crate::tls::{ClientAuth, ClientTls, Identity, Roots, ServerTls, Trust, Versions};
use crate::wire::Version;
use crate::{master, store_client, web, worker};

/// Names that the certificate of a server in this process must have.
pub(super) const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// What the tiers are made of.
pub(super) struct Parts {
    /// Where the master listens; the workers take free ports of 127.0.0.1.
    pub(super) listen: SocketAddr,
    pub(super) driver: Driver,
    pub(super) running: Running,
    pub(super) workers: usize,
    /// Conversions at once of each worker.
    pub(super) slots: usize,
    /// For texts.
    pub(super) fonts: Vec<Font>,
    pub(super) isolation: Isolation,
    /// Shown by master and workers; its names have 127.0.0.1.
    pub(super) server: Identity,
    /// Shown by the master to the workers.
    pub(super) client: Identity,
    pub(super) roots: Roots,
    pub(super) token: Token,
    /// The master's lines.
    pub(super) access: AccessLog,
    /// Where the files of the page's store lie, and these.
    pub(super) store_root: Option<PathBuf>,
    pub(super) files: Option<Directory>,
}

/// A master and its workers, all serving; and a page before them, where one is wanted.
pub(super) struct Tiers {
    master: Hosted,
    workers: Vec<Hosted>,
    store: Option<Hosted>,
    page: Option<Hosted>,
    /// What the master counts.
    metrics: Registry,
    life: Lifecycle,
    /// The workers' own: what a master has in flight when it drains needs them.
    workers_life: Lifecycle,
}

/// A server on a thread of this process.
struct Hosted {
    address: SocketAddr,
    thread: JoinHandle<io::Result<()>>,
}

impl Tiers {
    /// Starts the workers, then the master.
    pub(super) fn start(parts: &Parts, life: Lifecycle) -> Result<Self, Fail> {
        let workers_life = Lifecycle::default();
        let mut workers = Vec::with_capacity(parts.workers);
        for _ in 0..parts.workers {
            let config = parts.worker()?;
            workers.push(host("worker", &workers_life, move |stop, tell| {
                worker::run(config, stop, |address| tell_address(&tell, address))
            })?);
        }
        let spec = |worker: &Hosted| WorkerSpec { address: worker.address.into(), weight: 1 };
        let addresses = workers.iter().map(spec).collect();
        let config = parts.master(addresses)?;
        let metrics = config.metrics.clone();
        let master = host("master", &life, move |stop, tell| {
            master::run(config, stop, |address| tell_address(&tell, address))
        })?;
        Ok(Self { master, workers, store: None, page: None, metrics, life, workers_life })
    }

    /// Starts a page for whoever reaches `listen`, and a store behind it where there are files for
    /// one: it shows the token itself.
    pub(super) fn add_page(
        &mut self,
        parts: &mut Parts,
        listen: SocketAddr,
    ) -> Result<SocketAddr, Fail> {
        let mut config = parts.page(listen, self.master.address)?;
        if let (Some(files), Some(root)) = (parts.files.take(), parts.store_root.clone()) {
            let store_config = parts.store()?;
            // It outlives the page, as the workers do.
            let store = host("store", &self.workers_life, move |stop, tell| {
                store::run(store_config, files, stop, |address| tell_address(&tell, address))
            })?;
            config.store = Some(parts.access(store.address, root)?);
            self.store = Some(store);
        }
        let page = host("page", &self.life, move |stop, tell| {
            web::run(config, stop, |address| tell_address(&tell, address))
        })?;
        let address = page.address;
        self.page = Some(page);
        Ok(address)
    }

    /// What the master counts.
    pub(super) fn metrics(&self) -> &Registry {
        &self.metrics
    }

    /// Where clients connect.
    pub(super) fn address(&self) -> SocketAddr {
        self.master.address
    }

    /// Waits until page and master have ended, then ends the workers.
    pub(super) fn wait(self) -> Result<(), Fail> {
        let ended = self.page.map_or(Ok(()), Hosted::join).and(self.master.join());
        self.workers_life.request(Phase::Stopped);
        self.workers.into_iter().chain(self.store).map(Hosted::join).fold(ended, Result::and)
    }

    /// Ends everything at once.
    pub(super) fn stop(self) -> Result<(), Fail> {
        self.life.request(Phase::Stopped);
        self.wait()
    }
}

impl Parts {
    /// All of them are in one process.
    fn plan(&self, listen: SocketAddr) -> Plan {
        let servers = 1 + self.workers + usize::from(self.store_root.is_some());
        let loops = self.running.threads * servers;
        Plan { loops, ..serve::plan(listen, self.driver, &self.running) }
    }

    fn worker(&self) -> Result<worker::Config, Fail> {
        let masters = ClientAuth::Required(&self.roots);
        Ok(worker::Config {
            plan: self.plan((Ipv4Addr::LOCALHOST, 0).into()),
            live: Changing::fixed(worker::Live {
                tls: ServerTls::new(&self.server, masters, Versions::Tls13)?,
                tokens: Tokens::Open,
            }),
            limits: self.running.limits,
            convert_limits: ConvertLimits::default(),
            fonts: self.fonts.clone(),
            isolation: self.isolation.clone(),
            slots: self.slots,
            metrics: crate::exchange::registry(),
            access: AccessLog::default(),
            limits_guesses: false,
        })
    }

    fn master(&self, workers: Vec<WorkerSpec>) -> Result<master::Config, Fail> {
        let trust = Trust::Roots(&self.roots);
        Ok(master::Config {
            plan: self.plan(self.listen),
            live: Changing::fixed(master::Live {
                tls: ServerTls::new(&self.server, ClientAuth::None, Versions::Tls12And13)?,
                tokens: Tokens::Only(vec![self.token.clone()]),
                workers: WorkerList { named: workers, dns: None },
                worker_tls: ClientTls::new(trust, Some(&self.client), Versions::Tls13)?,
            }),
            worker_wire: Version::V1_1,
            limits: self.running.limits,
            metrics: crate::exchange::registry(),
            fleet_limits: FleetLimits::default(),
            upstream_limits: UpstreamLimits::DEFAULT,
            access: self.access.clone(),
            limits_guesses: true,
        })
    }

    fn store(&self) -> Result<store::Config, Fail> {
        let tls = ServerTls::new(&self.server, ClientAuth::None, Versions::Tls13)?;
        Ok(store::Config {
            plan: self.plan((Ipv4Addr::LOCALHOST, 0).into()),
            security: store::Security::Tls(tls),
            tokens: Tokens::Only(vec![self.token.clone()]),
            limits: self.running.limits,
            durability: store::Durability::default(),
            connections: store::Connections::Kept,
            summary: store::SummaryForm::default(),
            metrics: store::registry(),
        })
    }

    /// How the page asks the store, and lists its files.
    fn access(&self, address: SocketAddr, root: PathBuf) -> Result<web::StoreAccess, Fail> {
        let tls = ClientTls::new(Trust::Roots(&self.roots), None, Versions::Tls13)?;
        Ok(web::StoreAccess {
            client: store_client::Config {
                server: address.into(),
                tls: Some(tls),
                token: Some(self.token.clone()),
                limits: ClientLimits::default(),
                driver: self.driver,
            },
            root: Some(root),
        })
    }

    fn page(&self, listen: SocketAddr, master: SocketAddr) -> Result<web::Config, Fail> {
        let host = if master.ip().is_unspecified() { LOCAL_NAMES[0] } else { "" };
        let server = match host {
            "" => master.into(),
            host => format!("{host}:{}", master.port()).parse().map_err(|error| {
                Fail::failed(format!("the page cannot reach the master: {error}"))
            })?,
        };
        Ok(web::Config {
            listen,
            driver: self.driver,
            threads: 1,
            grace: self.running.grace,
            server,
            tls: ClientTls::new(Trust::Roots(&self.roots), None, Versions::Tls13)?,
            https: None,
            token: Some(self.token.clone()),
            store: None,
            metrics: web::registry(),
            names: Vec::new(),
            limits: WebLimits {
                body_bytes_max: self.running.limits.body_bytes_max,
                ..WebLimits::default()
            },
            client_limits: ClientLimits::default(),
        })
    }
}

fn tell_address(tell: &mpsc::Sender<SocketAddr>, address: SocketAddr) {
    // Whoever asked waits for nothing else.
    let _ = tell.send(address);
}

/// Starts a server and waits until it serves.
fn host(
    name: &'static str,
    life: &Lifecycle,
    serve: impl FnOnce(&Stop, mpsc::Sender<SocketAddr>) -> io::Result<()> + Send + 'static,
) -> Result<Hosted, Fail> {
    let (tell, told) = mpsc::channel();
    let stop = life.stop();
    let thread = thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || serve(&stop, tell))
        .map_err(|error| Fail::failed(format!("cannot start a thread: {error}")))?;
    match told.recv() {
        Ok(address) => Ok(Hosted { address, thread }),
        Err(_) => Err(join(thread).err().unwrap_or_else(|| Fail::failed("a server ended early"))),
    }
}

fn join(thread: JoinHandle<io::Result<()>>) -> Result<(), Fail> {
    let ended = thread.join().unwrap_or_else(|_| Err(io::Error::other("a server died")));
    ended.map_err(|error| Fail::failed(error.to_string()))
}

impl Hosted {
    fn join(self) -> Result<(), Fail> {
        join(self.thread)
    }
}
