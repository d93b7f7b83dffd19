//! A caller's trace, which a request may belong to.

use std::collections::HashMap;

use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Makes `span` a part of the trace that `id` names, where it does.
pub(super) fn join(span: &Span, id: Option<&str>) {
    let Some(id) = id.filter(|_| !span.is_disabled()) else { return };
    let carrier = HashMap::from([("traceparent".to_owned(), id.to_owned())]);
    // A span that nobody follows, or an id of another kind, stays as it is.
    let _ = span.set_parent(TraceContextPropagator::new().extract(&carrier));
}
