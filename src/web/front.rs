//! What every request passes: its host and its origin are checked, it gets an id, and its answer the
//! headers that all answers have.

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use tower_service::Service as _;

use super::app::{App, Peer};
use super::problem::{BAD_REQUEST, METHOD_NOT_ALLOWED, NOT_FOUND, NOT_READY, Problem};
use super::{assets, convert, formats, hosts, openapi, status, store};
use crate::{admin, metrics as counters};

/// The id of a request, in its answer, in log lines here, and in those of master and worker.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub(super) String);

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The trace that a request belongs to: <https://www.w3.org/TR/trace-context/>. As an id it has master
/// and worker make their spans a part of it.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// As many characters as the wire takes for an id.
const ID_BYTES_MAX: usize = 64;

/// Those who ask whether a server is ready wait for a second or two themselves.
const READY_TIMEOUT: Duration = Duration::from_secs(1);

/// Everything on the page is from here, and it goes nowhere else; previews are made in the browser,
/// of blobs.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; base-uri 'none'; connect-src 'self'; \
    font-src 'self'; form-action 'none'; frame-ancestors 'none'; frame-src blob:; \
    img-src 'self' blob:; object-src 'none'; script-src 'self'; style-src 'self'";

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];

pub(super) fn router(app: App) -> Router {
    Router::new()
        .route("/v1/info", get(formats::info))
        .route("/v1/formats", get(formats::formats))
        .route("/v1/convert", post(convert::post).put(convert::put))
        .route("/v1/status", get(status::status))
        .route("/v1/status/events", get(status::events))
        .route("/v1/store", get(store::list))
        .route("/v1/store/{name}", get(store::get).put(store::put))
        .route("/v1/store/{name}/rename", post(store::rename))
        .route("/v1/store/{name}/summary", get(store::summary))
        .route("/v1/openapi.json", get(openapi::document))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(get(assets::file))
        .with_state(app)
}

async fn ready(State(app): State<App>) -> Result<&'static str, Problem> {
    let why_not = match tokio::time::timeout(READY_TIMEOUT, status::why_not_ready(&app)).await {
        Ok(why_not) => why_not,
        Err(_) => Some("the master does not answer".to_owned()),
    };
    let not_ready = |reason| Problem::new(StatusCode::SERVICE_UNAVAILABLE, NOT_READY, reason);
    admin::why_not_ready(app.stop(), why_not).map_or(Ok("ready\n"), |reason| Err(not_ready(reason)))
}

async fn metrics(State(app): State<App>) -> Response {
    admin::metrics(&app.config().metrics, "web").map(Body::new)
}

/// Answers one request.
pub(super) async fn serve(
    app: &App,
    mut router: Router,
    peer: Peer,
    mut request: Request,
) -> Response {
    let (started, id) = (Instant::now(), request_id(request.headers()));
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    request.extensions_mut().insert(peer);
    request.extensions_mut().insert(RequestId(id.clone()));
    let response = match check(app, &request) {
        Ok(()) => match router.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        Err(problem) => problem.into_response(),
    };
    let response = finish(response, &path, &id);
    counters::count(|here| {
        here.ended(operation(&path), code(response.status()));
        here.total_us.record_since(started);
    });
    tracing::info!(
        peer = %peer.0,
        id,
        %method,
        path,
        status = response.status().as_u16(),
        us = started.elapsed().as_micros(),
        "answered"
    );
    response
}

/// What requests to a gateway are counted by.
pub(super) const NAMES: counters::Names = counters::Names {
    operations: &["convert", "store", "status", "page"],
    codes: &["OK", "CLIENT_ERROR", "SERVER_ERROR"],
};

fn operation(path: &str) -> usize {
    let of = ["/v1/convert", "/v1/store", "/v1/status"];
    of.iter().position(|start| path.starts_with(start)).unwrap_or(of.len())
}

fn code(status: StatusCode) -> usize {
    usize::from(status.is_client_error()) + 2 * usize::from(status.is_server_error())
}

fn check(app: &App, request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let host = hosts::check_host(request.uri(), headers, &app.config().names)?;
    // The page itself may be come to from anywhere.
    if request.uri().path().starts_with("/v1/") {
        hosts::check_origin(headers, &host)
    } else {
        Ok(())
    }
}

fn finish(response: Response, path: &str, id: &str) -> Response {
    let status = response.status();
    let problem = response.extensions().get::<Problem>().cloned();
    let is_error = status.is_client_error() || status.is_server_error();
    let mut response = match problem {
        Some(problem) => problem.render(id),
        // What the router answers by itself.
        None if is_error => {
            let mut rendered = generic(status).render(id);
            if let Some(allow) = response.headers().get(header::ALLOW) {
                rendered.headers_mut().insert(header::ALLOW, allow.clone());
            }
            rendered
        }
        None => response,
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if path.starts_with("/v1/") {
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(X_REQUEST_ID, id);
    }
    response
}

fn generic(status: StatusCode) -> Problem {
    let (code, detail) = match status {
        StatusCode::NOT_FOUND => (NOT_FOUND, "there is nothing at this path"),
        StatusCode::METHOD_NOT_ALLOWED => {
            (METHOD_NOT_ALLOWED, "the path is right, and the method is not")
        }
        _ => (BAD_REQUEST, status.canonical_reason().unwrap_or("the request cannot be served")),
    };
    Problem::new(status, code, detail)
}

/// The client's own id where it has one that fits, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let is_id = |id: &&str| {
        (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let told = |name| headers.get(name).and_then(|id| id.to_str().ok()).filter(is_id);
    told(X_REQUEST_ID).or_else(|| told(TRACEPARENT)).map_or_else(new_id, str::to_owned)
}

/// 64 random bits: enough to find one request among all of a log.
fn new_id() -> String {
    let mut bytes = [0; 8];
    // Without randomness the id is zero, and nothing else is lost.
    let _ = getrandom::fill(&mut bytes);
    format!("{:016x}", u64::from_be_bytes(bytes))
}

/// The answer to a request whose head could not be read goes out by itself; this is for all others.
pub(super) fn into_request(request: hyper::Request<hyper::body::Incoming>) -> Request {
    request.map(Body::new)
}
