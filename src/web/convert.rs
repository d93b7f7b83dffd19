//! A file in, a file out.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::answer::{self, Answer};
use super::app::{App, Peer, Place};
use super::digest::{self, Announced, REPR_DIGEST};
use super::front::RequestId;
use super::problem::{BAD_REQUEST, LENGTH_REQUIRED, Problem};
use super::upload::Upload;
use super::{master, names};
use crate::auth::Token;
use crate::client::{AnswerHead, ClientError, StreamedRequest};
use crate::convert::Target;
use crate::wire::{ChecksumKind, Code, Operation, RequestOptions};

/// What a query says.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) target: Target,
    pub(super) options: RequestOptions,
}

/// A file to convert.
pub(super) struct Job {
    pub(super) wanted: Wanted,
    pub(super) name: String,
    pub(super) upload: Upload,
    pub(super) body_bytes: u64,
    pub(super) checksum: [u8; 16],
    pub(super) token: Token,
}

type Parameters = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// `POST` and `PUT /v1/convert`.
pub(super) async fn convert(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Extension(id): Extension<RequestId>,
    parameters: Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut wanted = Wanted::from_query(parameters)?;
    wanted.options.id.get_or_insert(id.0);
    let limits = &app.config().limits;
    let announced = Announced::from_headers(&headers)?;
    let body_bytes = length(&headers, limits.body_bytes_max)?;
    let token = app.token(&headers)?;
    let place = app.enter(peer)?;
    let (kind, checksum) = announced.checksum();
    wanted.options.checksum = kind;
    let name = wanted.options.name.clone().or_else(|| names::from_headers(&headers));
    let job = Job {
        name: name.unwrap_or_default(),
        upload: Upload::new(body, body_bytes, announced.sha256, limits),
        body_bytes,
        checksum,
        token,
        wanted,
    };
    let (target, name) = (job.wanted.target, names::of_result(&job.name, job.wanted.target));
    let (head, answer) = run(&app, job, place, digest::wants_trailer(&headers)).await?;
    let mut response = Body::new(answer).into_response();
    describe(response.headers_mut(), &head, target, &name, kind);
    Ok(response)
}

/// Sends a job to the master, and waits for the head of its answer.
pub(super) async fn run(
    app: &App,
    job: Job,
    place: Place,
    with_digest: bool,
) -> Result<(AnswerHead, Answer), Problem> {
    let (mut sink, from_master, gone) = answer::channel(app.config().limits.stall_timeout);
    let _detached = master::beside(|master| async move {
        let Job { wanted, name, mut upload, body_bytes, checksum, token } = job;
        let request = StreamedRequest {
            target: wanted.target,
            name: &name,
            body_bytes,
            checksum,
            options: &wanted.options,
        };
        let outcome = match master.connect(token).await {
            Ok(mut connection) => {
                let outcome = connection
                    .convert_streamed(&request, &mut upload, &mut sink, gone.wait())
                    .await;
                master.keep(connection);
                outcome
            }
            Err(error) => Err(error),
        };
        log(&outcome);
        sink.end(outcome).await;
        drop(sink);
        upload.discard().await;
    });
    from_master.answer(place, with_digest).await
}

/// What the operator has to know of; what a client has done wrong it is told itself.
fn log(outcome: &Result<AnswerHead, ClientError>) {
    match outcome {
        Ok(_)
        | Err(
            ClientError::Refused(_)
            | ClientError::Source(_)
            | ClientError::Sink(_)
            | ClientError::Cancelled,
        ) => {}
        Err(error) => tracing::warn!(%error, "the master does not serve"),
    }
}

fn describe(
    headers: &mut HeaderMap,
    head: &AnswerHead,
    target: Target,
    name: &str,
    kind: ChecksumKind,
) {
    headers.insert(header::CONTENT_TYPE, content_type(target));
    headers.insert(header::CONTENT_DISPOSITION, names::disposition(name));
    let ms = f64::from(head.convert_us) / 1000.0;
    if let Ok(value) = HeaderValue::from_str(&format!("convert;dur={ms:.3}")) {
        headers.insert("server-timing", value);
    }
    if kind == ChecksumKind::Md5 {
        headers.insert(REPR_DIGEST, digest::member("md5", &head.checksum));
    }
}

pub(super) fn content_type(target: Target) -> HeaderValue {
    HeaderValue::from_static(match target {
        Target::Text => "text/plain; charset=utf-8",
        other => other.media_type(),
    })
}

/// The size of the body: the wire says it before the first byte.
fn length(headers: &HeaderMap, max: u64) -> Result<u64, Problem> {
    let length = headers.get(header::CONTENT_LENGTH).ok_or_else(|| {
        Problem::new(
            StatusCode::LENGTH_REQUIRED,
            LENGTH_REQUIRED,
            "the request does not say how large the file is",
        )
        .with_hint("send a Content-Length: with curl give a file, not a pipe")
    })?;
    let bytes = length.to_str().ok().and_then(|length| length.parse().ok());
    let bytes: u64 = bytes.ok_or_else(|| {
        Problem::new(StatusCode::BAD_REQUEST, BAD_REQUEST, "Content-Length is no number")
    })?;
    if bytes > max {
        let over = bytes - max;
        return Err(Problem::of(
            Code::TooLarge,
            format!("the file has {bytes} bytes, {over} over the limit of {max}"),
        ));
    }
    Ok(bytes)
}

impl Wanted {
    /// Reads `to` and the options of the wire.
    pub(super) fn from_query(parameters: Parameters) -> Result<Self, Problem> {
        let Query(parameters) = parameters.map_err(|rejection| {
            Problem::new(StatusCode::BAD_REQUEST, BAD_REQUEST, rejection.body_text())
        })?;
        let (to, options): (Vec<_>, Vec<_>) =
            parameters.into_iter().partition(|(key, _)| key == "to");
        let [(_, to)] = &to[..] else {
            return Err(Problem::of(Code::BadOption, "`to` must be given, once").with_hint(TARGETS));
        };
        let target = Target::from_extension(to).ok_or_else(|| {
            Problem::of(
                Code::BadOption,
                format!("`to` is no known type: {:.32}", to.escape_debug()),
            )
            .with_hint(TARGETS)
        })?;
        let mut block = String::new();
        for (key, value) in &options {
            if key == "checksum" || key == "id" {
                return Err(Problem::of(Code::BadOption, format!("`{key}` is no option of HTTP"))
                    .with_hint("use the headers Repr-Digest and X-Request-Id"));
            }
            // The wire parts options by line feeds.
            if key.chars().chain(value.chars()).any(char::is_control) {
                return Err(Problem::of(Code::BadOption, "an option has a control character"));
            }
            block.extend([key, "=", value, "\n"]);
        }
        let options = RequestOptions::parse(block.as_bytes(), Operation::Convert(target))?;
        Ok(Self { target, options })
    }
}

const TARGETS: &str = "the types are jpg, png, webp, pdf and txt, as in ?to=png";
