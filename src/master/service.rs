//! A master's connections.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Instrument as _;
use zeroize::Zeroizing;

use super::Live;
use super::fleet::Fleet;
use super::tunnel::{Attempt, Outcome, Repeat, Tunnel};
use super::upstream::{Ask, Upstream, Upstreams};
use crate::admin;
use crate::auth::{Denied, Grant, Guard, TooMuch};
use crate::exchange::{self, Access, AccessLog, End, Head, Next, Refusal, Times, spans};
use crate::io::Socket;
use crate::limits::ServerLimits;
use crate::metrics::{self, InFlight};
use crate::server::{Changing, Context, Service};
use crate::tls::ServerTls;
use crate::transport::{StreamError, TlsStream};
use crate::wire::{Code, Failure, Operation, ReplyHeader, Version};

/// What all threads of a master share.
pub(super) struct Shared {
    pub(super) live: Changing<Live>,
    pub(super) fleet: Fleet,
    pub(super) worker_wire: Version,
    pub(super) limits: ServerLimits,
    pub(super) guard: Guard,
    pub(super) access: AccessLog,
}

/// One thread of a master.
pub(super) struct Master {
    context: Context,
    shared: Arc<Shared>,
    upstreams: Upstreams,
}

impl Master {
    pub(super) fn new(context: Context, shared: Arc<Shared>, upstreams: Upstreams) -> Self {
        Self { context, shared, upstreams }
    }

    async fn forward(
        &self,
        client: &mut TlsStream,
        worker: &mut Upstream,
        head: &Head,
        repeat: Repeat<'_>,
    ) -> Result<Attempt, StreamError> {
        let _in_flight = InFlight::begin(head.header.body_bytes());
        let shared = &self.shared;
        let (worker_wire, limits) = (shared.worker_wire, &shared.limits);
        let (pool, Upstream { connection, reached, .. }) = (&self.context.pool, worker);
        let tunnel = Tunnel { pool, head, reached, worker_wire, limits, repeat };
        tunnel.run(client, &mut connection.stream).await
    }

    /// Reaches a worker, and takes the buffers that the body will need, both at once.
    async fn prepare(
        &self,
        client: &mut TlsStream,
        head: &Head,
        ask: &Ask,
    ) -> Result<Upstream, Failure> {
        let limits = &self.shared.limits;
        let body_bytes = head.header.body_bytes();
        let mut worker = self.upstreams.connect(self.context.driver, limits, ask).await?;
        let [recv, send] = exchange::acquire(&self.context.pool, body_bytes, limits).await?;
        client.attach_recv(recv);
        worker.connection.stream.attach_send(send);
        Ok(worker)
    }

    /// Refuses a request whose head was good, with so much of its body unread.
    async fn refuse_request(
        &self,
        client: &mut TlsStream,
        head: &Head,
        failure: Failure,
        unread_bytes: u64,
    ) -> Result<Next, StreamError> {
        let (version, checksum) = (head.version, head.options.checksum);
        let unread_bytes = Some(unread_bytes);
        let refusal = Refusal { version, failure, checksum, unread_bytes };
        exchange::turn_away(self, client, Some(head), &refusal).await
    }

    fn log_access(
        &self,
        client: &TlsStream,
        head: &Head,
        outcome: Result<&Outcome, &StreamError>,
        worker: &str,
        clock: &Clock,
    ) {
        let Clock { started, queue_us } = *clock;
        let (end, bytes_out, convert_us) = outcome.map_or((End::ClientGone, 0, 0), |outcome| {
            (outcome.end, outcome.bytes_out, outcome.convert_us)
        });
        end.count_since(head.operation, started, convert_us);
        metrics::count(|here| {
            here.body_bytes_in.add(head.header.body_bytes());
            here.body_bytes_out.add(bytes_out);
        });
        tracing::info!(
            peer = %client.peer(),
            id = head.options.id.as_deref(),
            token = head.grant.name(),
            operation = head.operation.name(),
            code = end.name(),
            bytes_in = head.header.body_bytes(),
            bytes_out,
            convert_us,
            total_us = started.elapsed().as_micros(),
            worker,
            "request"
        );
        let times =
            Times { queue_us: Some(queue_us), convert_us: convert_us.into(), ..Times::default() };
        let (peer, head, worker) = (client.peer(), Some(head), Some(worker));
        let access = Access { peer, head, end, bytes_out, started, times, worker };
        access.tell(&self.shared.access);
    }

    /// The master's own status; the workers' own is asked of them.
    async fn answer_status(
        &self,
        client: &mut TlsStream,
        head: &Head,
    ) -> Result<Next, StreamError> {
        let mut text = format!("role=master\nversion={}\n", env!("CARGO_PKG_VERSION"));
        text.push_str(&admin::judge(&self.context.metrics, self.context.stop()).to_string());
        text.push_str(&self.context.metrics.snapshot().lines());
        text.push_str(&self.shared.fleet.status_lines());
        End::Done.count(Some(head.operation));
        let reply = ReplyHeader {
            status: 0,
            checksum: head.options.checksum.of(text.as_bytes()),
            body_bytes: text.len() as u64,
            retry_after_ms: 0,
            convert_us: 0,
        };
        client.queue(&reply.encode()).await?;
        client.write_all(text.as_bytes()).await?;
        Ok(Next::Keep)
    }
}

impl exchange::Server for Master {
    const HEARS_FIRST: bool = false;

    fn limits(&self) -> &ServerLimits {
        &self.shared.limits
    }

    fn tls(&self) -> ServerTls {
        self.shared.live.now().tls.clone()
    }

    fn access(&self) -> &AccessLog {
        &self.shared.access
    }

    fn is_draining(&self) -> bool {
        self.context.is_draining()
    }

    fn check(&self, address: IpAddr, token: &[u8]) -> Result<Grant, Denied> {
        self.shared.guard.check(address, token, &self.shared.live.now().tokens)
    }

    /// A v1.1 answer begins with the checksum of its body, and a v1.0 worker sends none: it could be
    /// known only by holding the whole body here.
    fn look(&self, head: Head) -> Result<Head, Refusal> {
        let is_conversion = head.operation != Operation::Status;
        if self.shared.worker_wire == Version::V1_1
            || head.version == Version::V1_0
            || !is_conversion
        {
            return Ok(head);
        }
        Err(Refusal {
            version: head.version,
            failure: Failure::new(Code::BadVersion, "the workers of this master speak v1.0 only")
                .with_hint("send the request in v1.0 (`--wire v1.0`)"),
            checksum: head.options.checksum,
            unread_bytes: Some(head.header.body_bytes()),
        })
    }

    async fn serve_request(
        &self,
        client: &mut TlsStream,
        head: &Head,
    ) -> Result<Next, StreamError> {
        if head.operation == Operation::Status {
            return self.answer_status(client, head).await;
        }
        let _place = match head.grant.enter() {
            Ok(place) => place,
            Err(too_much) => {
                let unread_bytes = head.header.body_bytes();
                return self.refuse_request(client, head, busy(&too_much), unread_bytes).await;
            }
        };
        let mut clock = Clock { started: Instant::now(), queue_us: 0 };
        let mut ask = Ask::new(head.header.body_bytes());
        let mut body: Option<Zeroizing<Vec<u8>>> = None;
        loop {
            let prepared = self.prepare(client, head, &ask).instrument(spans::queue()).await;
            let mut worker = match prepared {
                Ok(worker) => {
                    clock.queue_us = micros(clock.started.elapsed());
                    worker
                }
                Err(failure) => {
                    let unread_bytes = body.map_or(head.header.body_bytes(), |_| 0);
                    return self.refuse_request(client, head, failure, unread_bytes).await;
                }
            };
            let repeat = Repeat {
                body: body.as_ref().map(|body| body.as_slice()),
                is_allowed: self.upstreams.has_another(&ask, &worker),
                is_reused: worker.is_reused,
            };
            let forwarding = self.forward(client, &mut worker, head, repeat);
            let attempted = forwarding.instrument(spans::tunnel()).await;
            client.detach();
            let again = match attempted {
                Ok(Attempt::Again(again)) => again,
                Ok(Attempt::Done(outcome)) => {
                    self.log_access(client, head, Ok(&outcome), worker.name(), &clock);
                    if outcome.is_reusable {
                        self.upstreams.keep(worker);
                    }
                    return Ok(outcome.next);
                }
                Err(error) => {
                    self.log_access(client, head, Err(&error), worker.name(), &clock);
                    return Err(error);
                }
            };
            metrics::count(|here| here.upstream_retries.add(1));
            ask.again(&worker, again.refusal);
            body = again.body.or(body);
        }
    }
}

impl Service for Master {
    async fn serve(self: Rc<Self>, socket: Socket) {
        exchange::serve(&*self, socket).await;
    }
}

/// A token has its most.
fn busy(too_much: &TooMuch) -> Failure {
    let wait_ms = u32::try_from(too_much.retry_after.as_millis()).unwrap_or(u32::MAX);
    Failure::new(Code::Busy, too_much.to_string())
        .with_retry_after_ms(wait_ms.max(1))
        .with_hint("try again after the given time; the operator may raise the token's limits")
}

/// When a request began, and how long it waited for a worker and buffers.
struct Clock {
    started: Instant,
    queue_us: u64,
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
