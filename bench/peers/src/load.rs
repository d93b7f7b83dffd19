//! A closed loop of a counted number of requests.
//!
//! Counted and not timed: what the contender spends between the start and the end then belongs to
//! these requests and to nothing else, however large they are.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::Serialize;
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::net::{self, Buffered};
use crate::request::Request;
use crate::{Fallible, tls};

/// Longest time for one request: a contender that hangs shall not hang the comparison.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is read ahead below TLS.
const READ_BYTES: usize = 64 * 1024;

/// Send a counted number of requests, and say what became of them as JSON
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The contender
    #[arg(long)]
    server: SocketAddr,

    /// Certificates, as `fxsrv certs init` makes them
    #[arg(long)]
    certs: PathBuf,

    /// File with the token to show
    #[arg(long)]
    token_file: PathBuf,

    /// Requests at once
    #[arg(long, default_value_t = 1)]
    connections: usize,

    /// Requests that are counted, all connections together
    #[arg(long)]
    requests: i64,

    /// Requests before them, all connections together
    #[arg(long, default_value_t = 1)]
    warm_up: i64,

    /// Bytes of each body, and of each answer
    #[arg(long)]
    bytes: u64,

    /// A new connection, and a new TLS session, for each request
    #[arg(long)]
    new: bool,
}

#[derive(Debug, Default, Serialize)]
struct Done {
    answered: u64,
    failed: u64,
    first_failure: Option<String>,
    seconds: f64,
    p50_us: u64,
    p99_us: u64,
}

pub(crate) async fn run(args: Args) -> Fallible {
    let target = Arc::new(Target {
        address: args.server,
        name: tls::server_name()?,
        tls: tls::forgetful_client(&args.certs)?,
        request: Request::new(&args.token_file, args.bytes, args.bytes)?,
        is_new: args.new,
    });
    let mut kept: Vec<_> = (0..args.connections).map(|_| None).collect();
    let mut warm = stage(&target, &mut kept, args.warm_up.max(0)).await?;
    net::rendezvous("ready")?;
    let started = Instant::now();
    let mut all = stage(&target, &mut kept, args.requests).await?;
    let seconds = started.elapsed().as_secs_f64();
    all.times_us.sort_unstable();
    let at = |per_cent| all.times_us.get(all.times_us.len() * per_cent / 100).copied().unwrap_or(0);
    let done = Done {
        answered: all.times_us.len() as u64,
        failed: all.failed + warm.failed,
        first_failure: warm.first_failure.take().or(all.first_failure.clone()),
        seconds,
        p50_us: at(50),
        p99_us: at(99),
    };
    net::say(&serde_json::to_string(&done)?);
    Ok(())
}

struct Target {
    address: SocketAddr,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    request: Request,
    is_new: bool,
}

type Connection = TlsStream<Buffered>;

#[derive(Default)]
struct Tally {
    times_us: Vec<u64>,
    failed: u64,
    first_failure: Option<String>,
}

/// Shares `requests` among the connections, first come first served.
async fn stage(
    target: &Arc<Target>,
    kept: &mut [Option<Connection>],
    requests: i64,
) -> Fallible<Tally> {
    let left = Arc::new(AtomicI64::new(requests));
    let mut tasks = JoinSet::new();
    for (number, slot) in kept.iter_mut().enumerate() {
        let (target, left, mut connection) = (Arc::clone(target), Arc::clone(&left), slot.take());
        tasks.spawn(async move {
            let mut tally = Tally::default();
            while left.fetch_sub(1, Ordering::Relaxed) > 0 {
                let started = Instant::now();
                match tokio::time::timeout(PATIENCE, target.ask(connection.take())).await {
                    Ok(Ok(still_open)) => {
                        let elapsed = started.elapsed().as_micros();
                        tally.times_us.push(u64::try_from(elapsed).unwrap_or(u64::MAX));
                        connection = still_open;
                    }
                    Ok(Err(error)) => tally.fail(error.to_string()),
                    Err(_) => tally.fail(format!("no answer within {} s", PATIENCE.as_secs())),
                }
            }
            (number, connection, tally)
        });
    }
    let mut all = Tally::default();
    while let Some(ended) = tasks.join_next().await {
        let (number, connection, mut tally) = ended?;
        kept[number] = connection;
        all.times_us.append(&mut tally.times_us);
        all.failed += tally.failed;
        all.first_failure = all.first_failure.or(tally.first_failure);
    }
    Ok(all)
}

impl Tally {
    fn fail(&mut self, why: String) {
        self.failed += 1;
        self.first_failure.get_or_insert(why);
    }
}

impl Target {
    async fn ask(&self, kept: Option<Connection>) -> std::io::Result<Option<Connection>> {
        let mut stream = match kept {
            Some(stream) => stream,
            None => connect(self.address, &self.name, &self.tls, READ_BYTES).await?,
        };
        self.request.exchange(&mut stream).await?;
        if self.is_new {
            // The answer is here; how the contender takes the goodbye is its own affair.
            let _ = stream.shutdown().await;
            return Ok(None);
        }
        Ok(Some(stream))
    }
}

/// A TLS connection to a contender.
pub(crate) async fn connect(
    address: SocketAddr,
    name: &ServerName<'static>,
    tls: &Arc<ClientConfig>,
    read_bytes: usize,
) -> std::io::Result<Connection> {
    let stream = BufReader::with_capacity(read_bytes, net::connect(address).await?);
    TlsConnector::from(Arc::clone(tls)).connect(name.clone(), stream).await
}
