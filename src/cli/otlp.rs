//! Spans of requests, sent to a collector of OpenTelemetry.

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry};

use super::fail::Fail;
use crate::config::Collector;
use crate::exchange::spans;

/// How long a collector may take for spans, and the end of the process for the last of them.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Sends spans to a collector, on threads of its own. Those that find no room in its queue, or no
/// collector, are dropped: a request waits for neither. What is left is sent when this is dropped.
pub(super) struct Follower {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Follower {
    /// A follower that sends to `collector`, under the name of `role`.
    pub(super) fn start(Collector(url): &Collector, role: &str) -> Result<Self, Fail> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(url)
            .with_timeout(TIMEOUT)
            .build()
            .map_err(|error| Fail::failed(format!("cannot send spans to {url}: {error}")))?;
        let resource = Resource::builder()
            .with_service_name(format!("fxsrv-{role}"))
            .with_attribute(opentelemetry::KeyValue::new(
                "service.version",
                env!("CARGO_PKG_VERSION"),
            ))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            // A caller that samples has its say; of the rest all are sent.
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
            .with_resource(resource)
            .build();
        let tracer = provider.tracer("fxsrv");
        Ok(Self { provider, tracer })
    }

    /// What takes the spans of requests, and nothing else.
    fn layer<S>(&self) -> impl Layer<S>
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.tracer.clone())
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(Targets::new().with_target(spans::TARGET, LevelFilter::TRACE))
    }

    /// Logs by `lines`, and follows beside it. Only the first call of a process has an effect.
    pub(super) fn install<L>(&self, lines: L)
    where
        L: Layer<Registry> + Send + Sync,
    {
        let _ = tracing_subscriber::registry().with(lines).with(self.layer()).try_init();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown_with_timeout(TIMEOUT) {
            tracing::warn!(%error, "the last spans are lost");
        }
    }
}
