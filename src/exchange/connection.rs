//! A connection from its handshake to its end, request after request: the same for every server of
//! this protocol, which only differ in what they do with a request.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use tracing::Instrument as _;

use super::{
    Access, AccessLog, End, Head, Next, Refusal, Strangers, Times, read_head, refuse, spans,
};
use crate::auth::{Denied, Grant};
use crate::io::{Buffer, BufferPool, Socket};
use crate::limits::ServerLimits;
use crate::metrics;
use crate::tls::ServerTls;
use crate::transport::{StreamError, TlsStream};
use crate::wire::{Code, Failure};

/// A server of this protocol, one thread of it.
pub trait Server {
    /// Whether the first request of a connection is heard although the server drains: it may be on
    /// its way already.
    const HEARS_FIRST: bool;

    /// What connections and requests are held to.
    fn limits(&self) -> &ServerLimits;

    /// What a connection that begins now is shown.
    fn tls(&self) -> ServerTls;

    /// Where a line of each request goes.
    fn access(&self) -> &AccessLog;

    /// Whether no further request may begin.
    fn is_draining(&self) -> bool;

    /// What `token` is good for now, when an address shows it.
    ///
    /// # Errors
    ///
    /// It is good for nothing, or the address has shown too many that are not.
    fn check(&self, address: IpAddr, token: &[u8]) -> Result<Grant, Denied>;

    /// Whether a request whose head is good can be served here.
    ///
    /// # Errors
    ///
    /// It cannot, and is refused.
    fn look(&self, head: Head) -> Result<Head, Refusal> {
        Ok(head)
    }

    /// Serves a request, of which the head is read, to the end of its answer.
    fn serve_request(
        &self,
        stream: &mut TlsStream,
        head: &Head,
    ) -> impl Future<Output = Result<Next, StreamError>>;
}

/// Serves a connection to its end.
pub async fn serve(server: &impl Server, socket: Socket) {
    let peer = socket.peer();
    if let Err(error) = serve_connection(server, socket).await {
        if error.is_peer_gone() {
            tracing::debug!(%peer, %error, "connection ended");
        } else {
            tracing::info!(%peer, %error, "connection failed");
        }
    }
}

async fn serve_connection(server: &impl Server, socket: Socket) -> Result<(), StreamError> {
    let limits = server.limits();
    let mut stream = TlsStream::accept(socket, &server.tls(), limits.handshake_timeout).await?;
    match serve_requests(server, &mut stream).await {
        Ok(linger_timeout) => {
            stream.finish(limits.linger_bytes_max(), linger_timeout).await;
            Ok(())
        }
        Err(error) => {
            stream.abort_after(&error).await;
            Err(error)
        }
    }
}

/// Serves request after request; returns how long the client is heard out at the end.
async fn serve_requests<S: Server>(
    server: &S,
    stream: &mut TlsStream,
) -> Result<Duration, StreamError> {
    let limits = server.limits();
    let (mut idle_timeout, mut strangers) = (limits.header_timeout, Strangers::default());
    let mut is_first = true;
    while (std::mem::take(&mut is_first) && S::HEARS_FIRST) || !server.is_draining() {
        let address = stream.peer().ip();
        let check = |token: &[u8]| server.check(address, token);
        let Some(head) = read_head(stream, &check, limits, idle_timeout).await? else { break };
        let next = match head.and_then(|head| server.look(head)) {
            Ok(head) => {
                let span = spans::request(&head);
                server.serve_request(stream, &head).instrument(span).await?
            }
            Err(refusal) => {
                let next = turn_away(server, stream, None, &refusal).await?;
                if strangers.is_too_many(&refusal, limits) { Next::Finish } else { next }
            }
        };
        if next == Next::Finish {
            return Ok(limits.linger_timeout);
        }
        idle_timeout = limits.idle_timeout;
    }
    Ok(limits.drain_linger_timeout)
}

/// Refuses a request and tells of it. `head` is there where it was good.
///
/// # Errors
///
/// The connection failed.
pub async fn turn_away(
    server: &impl Server,
    stream: &mut TlsStream,
    head: Option<&Head>,
    refusal: &Refusal,
) -> Result<Next, StreamError> {
    let Failure { code, message, .. } = &refusal.failure;
    let end = End::Failed(*code);
    end.count(None);
    let (peer, started, times) = (stream.peer(), Instant::now(), Times::default());
    let access = Access { peer, head, end, bytes_out: 0, started, times, worker: None };
    access.tell(server.access());
    tracing::info!(%peer, code = code.name(), message, "refused");
    refuse(stream, refusal, server.limits()).await
}

/// Buffers for a body of `bytes`, all at once.
///
/// # Errors
///
/// There are none in time.
pub async fn acquire<const N: usize>(
    pool: &BufferPool,
    bytes: u64,
    limits: &ServerLimits,
) -> Result<[Buffer; N], Failure> {
    let acquired = tokio::time::timeout(limits.queue_timeout, pool.acquire_for::<N>(bytes)).await;
    acquired.map_err(|_| {
        let count = pool.count();
        metrics::count(|here| here.admission_timeouts.add(1));
        Failure::new(Code::Busy, format!("all {count} buffers are taken"))
            .with_retry_after_ms(1_000)
            .with_hint("try again after the given time; the operator may raise --buffers")
    })
}
