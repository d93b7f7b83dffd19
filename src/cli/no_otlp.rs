//! Spans in a build without the feature `otlp`: a collector is refused by name.

use tracing_subscriber::{Layer, Registry};

use super::fail::Fail;
use crate::config::Collector;

/// There is none.
pub(super) enum Follower {}

impl Follower {
    pub(super) fn start(_: &Collector, _: &str) -> Result<Self, Fail> {
        Err(Fail::usage("this build of fxsrv knows no OpenTelemetry")
            .with_hint("build it with the feature `otlp`, or leave out --otlp"))
    }

    pub(super) fn install<L: Layer<Registry> + Send + Sync>(&self, _: L) {
        match *self {}
    }
}
