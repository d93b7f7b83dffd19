//! What an operator's tools ask a server over plain HTTP: is it alive, is it ready, what has it done.
//!
//! Owns: `/livez`, `/readyz` and `/metrics`, on an address and a thread of their own, so that they
//! answer while the event loops are busy. Must never tell what was in a file, or change anything.

mod health;
pub(crate) mod hosts;
pub(crate) mod prometheus;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;

pub use health::{Health, judge};

use crate::io::listen;
use crate::metrics::Registry;
use crate::server::{Phase, Stop};

/// Tools ask one by one; what is more is none of them.
const CONNECTIONS_MAX: usize = 32;

/// For a request, and for a connection as a whole.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// A question has one line and few headers.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Answers for a server until it stops.
#[derive(Clone)]
pub struct Admin {
    /// `master`, `worker` or `store`.
    pub role: &'static str,
    /// What the server counts.
    pub metrics: Registry,
    /// Where it is on its way.
    pub stop: Stop,
    /// Names under which it is asked, beside localhost and IP addresses.
    pub names: Vec<String>,
}

impl Admin {
    /// Begins to answer on `address`, on a thread of its own, and says where that is.
    ///
    /// # Errors
    ///
    /// The address cannot be bound, or the thread not be started.
    pub fn start(self, address: SocketAddr) -> io::Result<SocketAddr> {
        let listener = listen(address).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
        })?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = move || {
            if let Err(error) = runtime.block_on(self.serve(listener)) {
                tracing::error!(%error, "the admin address is not served any more");
            }
        };
        std::thread::Builder::new().name("admin".to_owned()).spawn(work)?;
        Ok(address)
    }

    async fn serve(self, listener: std::net::TcpListener) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (places, mut stop) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), self.stop.clone());
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.reached(Phase::Stopped) => return Ok(()),
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
            let admin = self.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let answer = admin.answer(&request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let serving = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(REQUEST_TIMEOUT)
                    .max_buf_size(HEAD_BYTES_MAX)
                    .serve_connection(TokioIo::new(stream), service);
                let _ = tokio::time::timeout(CONNECTION_TIMEOUT, serving).await;
                drop(place);
            });
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        match judge(&self.metrics, &self.stop) {
            Health::Ready => plain(StatusCode::OK, "ready\n".to_owned()),
            Health::Degraded(reason) => plain(StatusCode::OK, format!("degraded: {reason}\n")),
            Health::Unready(reason) => {
                plain(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n"))
            }
        }
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n".to_owned());
        }
        if let Err(refusal) = hosts::check(request.uri(), request.headers(), &self.names) {
            return plain(StatusCode::MISDIRECTED_REQUEST, format!("{refusal}\n"));
        }
        match request.uri().path() {
            // The name that it had before stays.
            "/livez" | "/healthz" => plain(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => self.ready(),
            "/metrics" => metrics(&self.metrics, self.role),
            _ => {
                plain(StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics\n".to_owned())
            }
        }
    }
}

/// Why no requests are taken: a server is about to stop, or there is another reason.
pub(crate) fn why_not_ready(stop: &Stop, other: Option<String>) -> Option<String> {
    let is_stopping = stop.phase() != Phase::Serving;
    if is_stopping { Some("about to stop".to_owned()) } else { other }
}

/// Why a master without a worker that takes requests is not ready.
pub(crate) const NO_WORKER: &str = "no worker is ready";

/// What was counted.
pub(crate) fn metrics(registry: &Registry, role: &str) -> Response<Full<Bytes>> {
    let mut response = plain(StatusCode::OK, prometheus::render(&registry.snapshot(), role));
    let format = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, format);
    response
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let text = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}
