//! Spans: a request in parts, for whoever follows it through the tiers (`--otlp`).
//!
//! They are of the level TRACE and have a target of their own: where nobody follows them, one
//! comparison of levels is all that each costs. Nothing of a body, a token or a name of a file is in
//! one.

use tracing::Span;
use tracing::field::Empty;

use super::{Access, End, Head};
use crate::wire::Operation;

/// By which spans are told from lines of the log.
pub const TARGET: &str = "fxsrv::request";

/// A request, from its head to the end of its answer. A question for the status has none. Where its `id` is a `traceparent` of W3C's
/// Trace Context, the span belongs to the trace of whoever sent it.
#[must_use]
pub fn request(head: &Head) -> Span {
    // Masters ask every second.
    if head.operation == Operation::Status {
        return Span::none();
    }
    let span = tracing::trace_span!(
        target: TARGET,
        "request",
        otel.kind = "server",
        otel.status_code = Empty,
        id = head.options.id.as_deref(),
        token = head.grant.name(),
        version = head.version.name(),
        operation = head.operation.name(),
        bytes_in = signed(head.header.body_bytes()),
        bytes_out = Empty,
        code = Empty,
        worker = Empty,
    );
    #[cfg(feature = "otlp")]
    super::trace_context::join(&span, head.options.id.as_deref());
    span
}

/// Its body arrives.
#[must_use]
pub fn receive() -> Span {
    tracing::trace_span!(target: TARGET, "receive")
}

/// It waits for a worker and buffers.
#[must_use]
pub fn queue() -> Span {
    tracing::trace_span!(target: TARGET, "queue")
}

/// Body and answer pass through a master.
#[must_use]
pub fn tunnel() -> Span {
    tracing::trace_span!(target: TARGET, "tunnel")
}

/// Its answer leaves.
#[must_use]
pub fn send() -> Span {
    tracing::trace_span!(target: TARGET, "send")
}

/// The wait for a conversion, which ends on the thread that converts.
#[derive(Debug, Default)]
pub struct Turn {
    request: Option<Span>,
    queue: Option<Span>,
}

impl Turn {
    /// The wait begins, as part of the current span.
    #[must_use]
    pub fn await_it() -> Self {
        Self { request: Some(Span::current()), queue: Some(queue()) }
    }

    /// The wait is over; the span of the conversion.
    #[must_use]
    pub fn convert(&mut self) -> Span {
        drop(self.queue.take());
        let request = self.request.take().and_then(|request| request.id());
        tracing::trace_span!(target: TARGET, parent: request, "convert")
    }
}

/// The numbers of OpenTelemetry have a sign; one without would be sent as text.
fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Says in the current span what has become of the request.
pub(super) fn end(access: &Access<'_>) {
    let span = Span::current();
    if span.is_disabled() {
        return;
    }
    span.record("code", access.end.name());
    span.record("bytes_out", signed(access.bytes_out));
    if let Some(worker) = access.worker {
        span.record("worker", worker);
    }
    if access.end != End::Done {
        span.record("otel.status_code", "ERROR");
    }
}
