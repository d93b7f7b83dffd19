//! A master and a worker inside the test's process, and a plain client that shares no code with
//! theirs: blocking sockets and rustls' buffered API.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::must_use_candidate
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use fxsrv::auth::{Token, Tokens};
use fxsrv::io::{BULK_BUFFER_BYTES, Class, Driver, PoolPlan};
use fxsrv::isolation::Isolation;
use fxsrv::limits::{ConvertLimits, FleetLimits, ServerLimits, UpstreamLimits};
use fxsrv::master::WorkerList;
use fxsrv::server::{Changing, Lifecycle, Phase, Plan};
use fxsrv::tls::certs::{PemPair, make_ca, make_client_leaf, make_server_leaf};
use fxsrv::tls::{ClientAuth, ClientTls, Identity, Roots, ServerTls, Trust, Versions};
use fxsrv::wire::Version;
use fxsrv::{master, worker};

pub const DRIVERS: [Driver; 2] = [Driver::Uring, Driver::Epoll];
pub const TOKEN: &str = "super_secret_token_123456789012";

/// How long any one step of a test may take; reached only by a failure.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The certificates of a test.
pub struct Pki {
    pub ca: PemPair,
    pub server: PemPair,
    pub client: PemPair,
}

impl Pki {
    pub fn new() -> Self {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let ca = make_ca("test CA", 2).unwrap();
        let server = make_server_leaf(&ca, &names, 2).unwrap();
        let client = make_client_leaf(&ca, "master", 2).unwrap();
        Self { ca, server, client }
    }

    pub fn roots(&self) -> Roots {
        Roots::from_pem(&self.ca.cert_pem).unwrap()
    }

    fn server_identity(&self) -> Identity {
        Identity::from_pem(&self.server.cert_pem, &self.server.key_pem).unwrap()
    }

    fn client_identity(&self) -> Identity {
        Identity::from_pem(&self.client.cert_pem, &self.client.key_pem).unwrap()
    }

    /// What a client of the outside uses, on rustls' own API.
    pub fn outside_client(&self) -> Arc<rustls::ClientConfig> {
        use rustls::pki_types::pem::PemObject;
        let mut roots = rustls::RootCertStore::empty();
        let ca = rustls::pki_types::CertificateDer::from_pem_slice(self.ca.cert_pem.as_bytes());
        roots.add(ca.unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }

    /// What a stand-in for a worker uses: it takes any client.
    pub fn outside_server(&self) -> Arc<rustls::ServerConfig> {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        let chain = vec![CertificateDer::from_pem_slice(self.server.cert_pem.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(self.server.key_pem.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Arc::new(config)
    }
}

/// What a test sets differently from the defaults.
#[derive(Clone)]
pub struct Setup {
    pub driver: Driver,
    pub limits: ServerLimits,
    pub worker_wire: Version,
    /// Workers beside or instead of the own one.
    pub workers: Option<Vec<String>>,
    pub slots: usize,
    pub buffers: usize,
    pub threads: usize,
    pub upstream: UpstreamLimits,
}

impl Setup {
    pub fn new(driver: Driver) -> Self {
        Self {
            driver,
            limits: ServerLimits::default(),
            worker_wire: Version::V1_1,
            workers: None,
            slots: 2,
            buffers: 32,
            threads: 1,
            upstream: UpstreamLimits::DEFAULT,
        }
    }
}

/// A server on a thread of its own, stopped when it is dropped.
pub struct Server {
    pub address: SocketAddr,
    life: Lifecycle,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(
        run: impl FnOnce(&fxsrv::server::Stop, mpsc::Sender<SocketAddr>) + Send + 'static,
    ) -> Self {
        let life = Lifecycle::default();
        let (sender, receiver) = mpsc::channel();
        let stop = life.stop();
        let thread = std::thread::spawn(move || run(&stop, sender));
        let address = receiver.recv_timeout(PATIENCE).expect("the server did not start");
        Self { address, life, thread: Some(thread) }
    }

    pub fn drain(&self) {
        self.life.request(Phase::Draining);
    }

    pub fn stop(&mut self) {
        self.life.request(Phase::Stopped);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    pub fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.life.request(Phase::Stopped);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub fn start_worker(setup: &Setup, pki: &Pki) -> Server {
    let config = worker::Config {
        plan: plan(setup),
        live: Changing::fixed(worker::Live {
            tls: ServerTls::new(
                &pki.server_identity(),
                ClientAuth::Required(&pki.roots()),
                Versions::Tls13,
            )
            .unwrap(),
            tokens: Tokens::Open,
        }),
        limits: setup.limits,
        convert_limits: ConvertLimits::default(),
        // This process is a test's, and not the program that a child would be.
        fonts: Vec::new(),
        isolation: Isolation::Thread,
        slots: setup.slots,
        metrics: fxsrv::exchange::registry(),
        access: fxsrv::exchange::AccessLog::default(),
        limits_guesses: true,
    };
    Server::start(move |stop, sender| {
        worker::run(config, stop, |address| sender.send(address).unwrap()).unwrap();
    })
}

pub fn start_master(setup: &Setup, pki: &Pki, workers: &[String]) -> Server {
    let config = master::Config {
        plan: plan(setup),
        live: Changing::fixed(master::Live {
            tls: ServerTls::new(&pki.server_identity(), ClientAuth::None, Versions::Tls12And13)
                .unwrap(),
            tokens: Tokens::Only(vec![Token::parse(TOKEN).unwrap()]),
            workers: WorkerList::parse(workers, None).unwrap(),
            worker_tls: ClientTls::new(
                Trust::Roots(&pki.roots()),
                Some(&pki.client_identity()),
                Versions::Tls13,
            )
            .unwrap(),
        }),
        worker_wire: setup.worker_wire,
        limits: setup.limits,
        metrics: fxsrv::exchange::registry(),
        access: fxsrv::exchange::AccessLog::default(),
        limits_guesses: true,
        fleet_limits: FleetLimits::default(),
        upstream_limits: setup.upstream,
    };
    Server::start(move |stop, sender| {
        master::run(config, stop, |address| sender.send(address).unwrap()).unwrap();
    })
}

pub fn plan(setup: &Setup) -> Plan {
    Plan {
        listen: "127.0.0.1:0".parse().unwrap(),
        driver: setup.driver,
        may_change_driver: false,
        threads: setup.threads,
        loops: setup.threads,
        buffers: PoolPlan {
            bulk: Class { count: 4, bytes: BULK_BUFFER_BYTES },
            ..PoolPlan::small(setup.buffers)
        },
        connections_max: setup.limits.connections_max,
        grace: Duration::from_secs(10),
        notice: Duration::ZERO,
    }
}

/// A master with one worker.
pub struct Cluster {
    pub pki: Pki,
    pub worker: Server,
    pub master: Server,
}

impl Cluster {
    pub fn start(setup: &Setup) -> Self {
        let pki = Pki::new();
        let worker = start_worker(setup, &pki);
        let workers = setup.workers.clone().unwrap_or_else(|| vec![worker.address.to_string()]);
        let master = start_master(setup, &pki, &workers);
        Self { pki, worker, master }
    }

    pub fn connect(&self) -> Client {
        Client::connect(&self.pki, self.master.address)
    }

    /// The master's status, over a connection of its own.
    pub fn status(&self) -> String {
        let mut asking = self.connect();
        asking.send(&header(*b"v1.1", TOKEN, 0, b""));
        String::from_utf8(asking.reply_v1_1().body).unwrap()
    }
}

/// The plain client.
pub struct Client {
    pub tls: rustls::StreamOwned<rustls::ClientConnection, TcpStream>,
}

/// A v1.1 answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u32,
    pub body: Vec<u8>,
    pub checksum: [u8; 16],
    pub convert_us: u32,
}

impl Client {
    pub fn connect(pki: &Pki, address: SocketAddr) -> Self {
        Self::connect_with(&pki.outside_client(), address)
    }

    /// With sessions that earlier connections of `config` have left.
    pub fn connect_with(config: &Arc<rustls::ClientConfig>, address: SocketAddr) -> Self {
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let connection = rustls::ClientConnection::new(Arc::clone(config), name).unwrap();
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { tls: rustls::StreamOwned::new(connection, socket) }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.tls.write_all(bytes).unwrap();
        self.tls.flush().unwrap();
    }

    pub fn read_exact<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.tls.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// A v1.0 answer, which must be followed by an orderly end.
    pub fn reply_v1_0(&mut self) -> Vec<u8> {
        let bytes = u64::from_be_bytes(self.read_exact());
        let mut body = vec![0; usize::try_from(bytes).unwrap()];
        self.tls.read_exact(&mut body).unwrap();
        assert_eq!(self.tls.read(&mut [0]).unwrap(), 0, "close_notify follows");
        body
    }

    pub fn reply_v1_1(&mut self) -> Reply {
        let header: [u8; 40] = self.read_exact();
        assert_eq!(&header[..4], b"v1.1");
        let word = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
        let bytes = u64::from_be_bytes(header[24..32].try_into().unwrap());
        let mut body = vec![0; usize::try_from(bytes).unwrap()];
        self.tls.read_exact(&mut body).unwrap();
        Reply {
            status: word(4),
            checksum: header[8..24].try_into().unwrap(),
            body,
            convert_us: word(36),
        }
    }
}

/// A request's header as the specification lays it out, byte by byte.
pub fn header(version: [u8; 4], token: &str, operation: u32, body: &[u8]) -> Vec<u8> {
    header_announcing(version, token, operation, body, body.len() as u64)
}

pub fn header_announcing(
    version: [u8; 4],
    token: &str,
    operation: u32,
    body: &[u8],
    size: u64,
) -> Vec<u8> {
    use md5::Digest as _;
    let mut bytes = Vec::with_capacity(94);
    bytes.extend(version);
    let mut field = [0; 32];
    field[..token.len()].copy_from_slice(token.as_bytes());
    bytes.extend(field);
    bytes.extend(md5::Md5::digest(body));
    let mut name = [0; 30];
    name[..8].copy_from_slice(b"file.dat");
    bytes.extend(name);
    bytes.extend(size.to_be_bytes());
    bytes.extend(operation.to_be_bytes());
    assert_eq!(bytes.len(), 94);
    bytes
}

/// Waits until `condition` holds; fails after [`PATIENCE`].
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}
