//! The file store behind the page: list, put, get, rename, summary.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::app::{App, Peer};
use super::digest::Announced;
use super::openapi::Refusals;
use super::problem::{BAD_REQUEST, NOT_FOUND, Problem, STORE_REFUSED, STORE_UNREACHABLE};
use super::upload::Upload;
use super::{answer, convert, master, names, status};
use crate::store::{Directory, Name};
use crate::store_client::{Config as StoreConfig, Connection, StoreClientError};
use crate::wire::Code;

/// A store that the page shows.
#[derive(Debug, Clone)]
pub struct StoreAccess {
    /// How it is asked.
    pub client: StoreConfig,
    /// Its directory, where that is on this machine: the protocol itself has no list.
    pub root: Option<PathBuf>,
}

/// The files of a store.
#[derive(Serialize, ToSchema)]
pub(super) struct Listing {
    files: Vec<Entry>,
}

/// A file of a store.
#[derive(Serialize, ToSchema)]
struct Entry {
    name: String,
    size: u64,
    /// Milliseconds since 1970.
    modified: u64,
}

/// What the numbers of a file come to, as text: readers of JSON would round them.
#[derive(Serialize, ToSchema)]
pub(super) struct Summary {
    #[schema(example = "4.0")]
    max: String,
    min: String,
    mean: String,
}

/// Which file of the store.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "a name is read by the store's own rules; this is their description")]
struct StoredName {
    /// 1 to 31 bytes, without slashes and control characters.
    #[param(
        min_length = 1,
        max_length = 31,
        pattern = r"^[^/\x00-\x1f\x7f-\x9f]+$",
        example = "numbers.txt"
    )]
    name: String,
}

/// What a rename says.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rename {
    /// 1 to 31 bytes, without slashes and control characters.
    #[schema(
        min_length = 1,
        max_length = 31,
        pattern = r"^[^/\x00-\x1f\x7f-\x9f]+$",
        example = "renamed.txt"
    )]
    to: String,
}

/// List the files
#[utoipa::path(
    get, path = "/v1/store", tag = "store", security((), ("token" = [])),
    responses(
        (status = 200, description = "All of them, by name", body = Listing),
        Refusals,
    )
)]
pub(super) async fn list(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Json<Listing>, Problem> {
    let access = admit(&app, &headers).await?;
    let _place = app.enter(peer)?;
    let root = access.root.clone().ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, NOT_FOUND, "this store does not list its files")
            .with_hint("ask for a file by its name")
    })?;
    let listed = crate::io::blocking(move || files(&root)).await.and_then(|listed| listed);
    let files = listed.map_err(|error| {
        tracing::warn!(%error, "the store's files cannot be listed");
        unreachable("the files of the store cannot be listed")
    })?;
    Ok(Json(Listing { files }))
}

fn files(root: &FilePath) -> std::io::Result<Vec<Entry>> {
    let directory = Directory::view(root)?;
    let mut names = directory.names()?;
    names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    let entry = |name: &Name| {
        // One that has left since is none any more.
        let found = directory.find(name).ok()?;
        let modified = found.file.metadata().ok()?.modified().ok()?;
        let modified = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        Some(Entry {
            name: name.as_str().to_owned(),
            size: found.bytes,
            modified: u64::try_from(modified.as_millis()).unwrap_or(u64::MAX),
        })
    };
    Ok(names.iter().filter_map(entry).collect())
}

/// Fetch a file
#[utoipa::path(
    get, path = "/v1/store/{name}", tag = "store", security((), ("token" = [])),
    params(StoredName),
    responses(
        (status = 200, description = "The file", body = Vec<u8>, content_type = "application/octet-stream"),
        Refusals,
    )
)]
pub(super) async fn get(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (name, access) = (parse(&name)?, admit(&app, &headers).await?);
    let place = Arc::new(app.enter(peer)?);
    let (mut sink, from_store, _gone) = answer::channel(app.config().limits.stall_timeout);
    let stored = name.clone();
    let _detached = master::beside(|_| async move {
        let outcome = match Connection::connect(&access.client).await {
            Ok(mut connection) => {
                let outcome = connection.get_streamed(&stored, &mut sink).await;
                close(connection, outcome.is_ok()).await;
                outcome
            }
            Err(error) => Err(error),
        };
        sink.end(outcome.map(|_| ()).map_err(|error| explain(&error))).await;
    });
    let (_, body) = from_store.answer(place, false).await?;
    let mut response = Body::new(body).into_response();
    let headers = response.headers_mut();
    let binary = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, binary);
    headers.insert(header::CONTENT_DISPOSITION, names::disposition(name.as_str()));
    Ok(response)
}

/// Store a file
#[utoipa::path(
    put, path = "/v1/store/{name}", tag = "store", security((), ("token" = [])),
    params(StoredName),
    request_body(content = Option<Vec<u8>>, content_type = "application/octet-stream"),
    responses(
        (status = 204, description = "It is stored, and survives a loss of power"),
        Refusals,
    )
)]
pub(super) async fn put(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let name = parse(&name)?;
    let limits = &app.config().limits;
    let bytes = convert::length(&headers, "file", limits.body_bytes_max.min(u32::MAX.into()))?;
    let announced = Announced::from_headers(&headers)?;
    let access = admit(&app, &headers).await?;
    let _place = app.enter(peer)?;
    let mut upload = Upload::new(body, bytes, announced.sha256, limits);
    // Within the limit above.
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    run(move || async move {
        let outcome = match Connection::connect(&access.client).await {
            Ok(mut connection) => {
                let outcome = connection.put_streamed(&name, bytes, &mut upload).await;
                close(connection, outcome.is_ok()).await;
                outcome
            }
            Err(error) => Err(error),
        };
        if outcome.is_err() {
            crate::io::spawn(upload.discard());
        }
        outcome
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give a file another name
#[utoipa::path(
    post, path = "/v1/store/{name}/rename", tag = "store", security((), ("token" = [])),
    params(StoredName),
    request_body(content = Rename),
    responses(
        (status = 204, description = "It has the new name"),
        Refusals,
    )
)]
pub(super) async fn rename(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Result<Json<Rename>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let Json(Rename { to }) = body.map_err(|rejection| {
        Problem::new(StatusCode::BAD_REQUEST, BAD_REQUEST, rejection.body_text())
            .with_hint("the body is JSON, as in {\"to\": \"name\"}")
    })?;
    let (from, to) = (parse(&name)?, parse(&to)?);
    let access = admit(&app, &headers).await?;
    let _place = app.enter(peer)?;
    run(move || async move {
        let mut connection = Connection::connect(&access.client).await?;
        let outcome = connection.change(&from, &to).await;
        close(connection, outcome.is_ok()).await;
        outcome
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Greatest, least and mean of a file of numbers
#[utoipa::path(
    get, path = "/v1/store/{name}/summary", tag = "store", security((), ("token" = [])),
    params(StoredName),
    responses(
        (status = 200, description = "Numbers as text, exactly as the store says them", body = Summary),
        Refusals,
    )
)]
pub(super) async fn summary(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Summary>, Problem> {
    let (name, access) = (parse(&name)?, admit(&app, &headers).await?);
    let _place = app.enter(peer)?;
    let text = run(move || async move {
        let mut connection = Connection::connect(&access.client).await?;
        let outcome = connection.summary(&name).await;
        close(connection, outcome.is_ok()).await;
        outcome.map(|(_, text)| text)
    })
    .await?;
    let number = |label: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(label));
        line.map(|value| value.trim().to_owned()).ok_or_else(|| {
            Problem::of(Code::WorkerFailed, "the summary of the store cannot be read")
        })
    };
    Ok(Json(Summary { max: number("Max:")?, min: number("Min:")?, mean: number("Avg:")? }))
}

/// The store, for those who may convert too.
async fn admit(app: &App, headers: &HeaderMap) -> Result<StoreAccess, Problem> {
    let access = app.config().store.clone().ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, NOT_FOUND, "this server has no store")
    })?;
    let is_shown = headers.contains_key(header::AUTHORIZATION);
    // The store has a token of its own, or none: the master knows whose token is good.
    if app.config().token.is_none() || is_shown {
        status::authorize(app.token(headers)?).await?;
    }
    Ok(access)
}

/// Does `work` beside the handler, to its end also where nobody waits for it any more.
async fn run<T, F>(work: impl FnOnce() -> F) -> Result<T, Problem>
where
    T: 'static,
    F: Future<Output = Result<T, StoreClientError>> + 'static,
{
    let stopping = || Problem::of(Code::ShuttingDown, "the gateway is about to stop");
    let working = master::beside(|_| work()).ok_or_else(stopping)?;
    let done = working.await.map_err(|_| stopping())?;
    done.map_err(|error| explain(&error))
}

/// After a failure there may be no end to wait for.
async fn close(connection: Connection, is_good: bool) {
    if is_good {
        connection.close().await;
    }
}

fn parse(name: &str) -> Result<Name, Problem> {
    Name::parse(name.as_bytes()).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, BAD_REQUEST, error.to_string())
            .with_hint("a name in a store has 1 to 31 bytes, without slashes")
    })
}

fn unreachable(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_GATEWAY, STORE_UNREACHABLE, detail)
        .with_hint("the operator has to look at the gateway's log and at the store")
}

fn explain(error: &StoreClientError) -> Problem {
    match error {
        StoreClientError::NotFound => {
            Problem::new(StatusCode::NOT_FOUND, NOT_FOUND, error.to_string())
        }
        StoreClientError::Refused => {
            Problem::new(StatusCode::CONFLICT, STORE_REFUSED, error.to_string()).with_hint(
                "the name may be taken or not allowed, the file too large, or not one of numbers",
            )
        }
        StoreClientError::Local(error) => {
            let own = error.get_ref().and_then(|error| error.downcast_ref::<Problem>());
            own.cloned().unwrap_or_else(|| Problem::of(Code::Timeout, error.to_string()))
        }
        other => {
            tracing::warn!(error = %other, "the store does not serve");
            unreachable("the store cannot be reached, or does not serve")
        }
    }
}
