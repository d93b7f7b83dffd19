//! A file in, a file out.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::answer::{self, Answer};
use super::app::{App, Peer, Place};
use super::digest::{self, Announced, DIGEST, REPR_DIGEST};
use super::front::RequestId;
use super::openapi::Refusals;
use super::problem::{BAD_REQUEST, LENGTH_REQUIRED, Problem};
use super::upload::Upload;
use super::{bundle, form, master, names};
use crate::auth::Token;
use crate::client::{AnswerHead, ClientError, StreamedRequest};
use crate::convert::{Password, Target};
use crate::wire::{ChecksumKind, Code, Operation, RequestOptions};

/// What a query says.
#[derive(Debug, Clone)]
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

/// Convert a file
///
/// The body is the file as it is, and the answer is the result as it is. The type of the file is told
/// by its content. Both stream. A form (`multipart/form-data`) brings many files, and the answer is a
/// ZIP, or `multipart/mixed` where that is accepted.
#[utoipa::path(
    post, path = "/v1/convert", tag = "convert", security((), ("token" = [])),
    params(ConvertParameters, ConvertHeaders),
    request_body(content(
        (Vec<u8> = "application/octet-stream"), (Files = "multipart/form-data"),
    )),
    responses(
        (status = 200, description = "The result; of a form, all results", content(
            (Vec<u8> = "image/jpeg"), (Vec<u8> = "image/png"), (Vec<u8> = "image/webp"),
            (Vec<u8> = "application/pdf"), (String = "text/plain"),
            (Vec<u8> = "application/zip"), (Vec<u8> = "multipart/mixed"),
        )),
        Refusals,
    )
)]
pub(super) async fn post(
    app: State<App>,
    peer: Extension<Peer>,
    id: Extension<RequestId>,
    parameters: Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if form::is_form(&headers) {
        convert_form(app, peer, id, parameters, headers, body).await
    } else {
        convert(app, peer, id, parameters, headers, body).await
    }
}

/// Convert a file, as `curl -T` sends it
///
/// The body is the file as it is, and the answer is the result as it is.
#[utoipa::path(
    put, path = "/v1/convert", tag = "convert", security((), ("token" = [])),
    params(ConvertParameters, ConvertHeaders),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "The result", content(
            (Vec<u8> = "image/jpeg"), (Vec<u8> = "image/png"), (Vec<u8> = "image/webp"),
            (Vec<u8> = "application/pdf"), (String = "text/plain"),
        )),
        Refusals,
    )
)]
pub(super) async fn put(
    app: State<App>,
    peer: Extension<Peer>,
    id: Extension<RequestId>,
    parameters: Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    convert(app, peer, id, parameters, headers, body).await
}

/// A form of files to convert.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "a form is read as it comes; this is its description")]
struct Files {
    /// Each with a `filename`, under which name of a field does not matter.
    file: Vec<Vec<u8>>,
}

/// What a query may say; `docs/http-api.md` has the values.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "a query is read by the wire's own rules; this is their description")]
struct ConvertParameters {
    /// What the file becomes: jpg, png, webp, pdf or txt.
    #[param(example = "png", pattern = "^(jpg|png|webp|pdf|txt)$")]
    to: String,
    /// The name of the file; the result is named after it.
    #[param(min_length = 1)]
    name: Option<String>,
    /// To JPG and WEBP.
    #[param(minimum = 1, maximum = 100)]
    quality: Option<u8>,
    /// To WEBP: 1 keeps every pixel as it is.
    #[param(minimum = 0, maximum = 1)]
    lossless: Option<u8>,
    /// To JPG: the colour under what was transparent.
    #[param(pattern = "^#[0-9a-fA-F]{6}$", example = "#ffffff")]
    background: Option<String>,
    /// Pictures: strip or keep.
    #[param(pattern = "^(strip|keep)$")]
    metadata: Option<String>,
    /// Pictures: auto or keep.
    #[param(pattern = "^(auto|keep)$")]
    orient: Option<String>,
    /// Text to PDF: a4, letter or legal.
    #[param(pattern = "^(a4|letter|legal)$")]
    page: Option<String>,
    /// Text to PDF: millimetres.
    #[param(minimum = 0, maximum = 500)]
    margin: Option<f32>,
    /// Text to PDF: points.
    #[param(rename = "font-size", minimum = 1, maximum = 288)]
    font_size: Option<f32>,
    /// Text to PDF: plain or flow; PDF to text: reading or physical.
    #[param(pattern = "^(plain|flow|reading|physical)$")]
    layout: Option<String>,
}

/// Headers that say more.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "the description of headers that are read one by one")]
struct ConvertHeaders {
    /// Of the file, as `sha-256=:BASE64:` or `md5=:BASE64:` (RFC 9530); it is checked.
    #[param(rename = "Repr-Digest")]
    repr_digest: Option<String>,
    /// The same as `SHA-256=BASE64` or `MD5=BASE64` (RFC 3230).
    #[param(rename = "Digest")]
    digest: Option<String>,
    /// `sha-256=1`, with `TE: trailers`, gets the digest of the result behind it.
    #[param(rename = "Want-Repr-Digest")]
    want_repr_digest: Option<String>,
    /// 1 to 64 visible characters, by which the request is found in the logs.
    #[param(rename = "X-Request-Id")]
    x_request_id: Option<String>,
    /// Opens an encrypted PDF: 1 to 127 bytes of UTF-8.
    #[param(rename = "X-Fxsrv-Password")]
    x_fxsrv_password: Option<String>,
}

/// A header, since addresses are kept in histories and logs.
const PASSWORD: HeaderName = HeaderName::from_static("x-fxsrv-password");

async fn convert(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Extension(id): Extension<RequestId>,
    parameters: Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut wanted = Wanted::of(parameters, &headers)?;
    wanted.options.id.get_or_insert(id.0);
    let limits = &app.config().limits;
    let announced = Announced::from_headers(&headers)?;
    let body_bytes = length(&headers, "file", limits.body_bytes_max)?;
    let token = app.token(&headers)?;
    let place = Arc::new(app.enter(peer)?);
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
    let with_digest = digest::wants_trailer(&headers);
    let (head, answer) = run(&app, job, place, with_digest).await?;
    let mut response = Body::new(answer).into_response();
    describe(response.headers_mut(), &head, target, &name, &announced);
    if with_digest {
        response.headers_mut().insert(header::TRAILER, HeaderValue::from_static("repr-digest"));
    }
    Ok(response)
}

async fn convert_form(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Extension(id): Extension<RequestId>,
    parameters: Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut wanted = Wanted::of(parameters, &headers)?;
    wanted.options.id.get_or_insert_with(|| id.0.clone());
    wanted.options.checksum = ChecksumKind::None;
    let announced = Announced::from_headers(&headers)?;
    let token = app.token(&headers)?;
    let place = Arc::new(app.enter(peer)?);
    let form = form::read(&app, &headers, body, announced).await?;
    let order = bundle::Order { app, place, wanted, token, id: id.0 };
    bundle::answer(order, form, &headers).await
}

/// Sends a job to the master, and waits for the head of its answer.
pub(super) async fn run(
    app: &App,
    job: Job,
    place: Arc<Place>,
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
        sink.end(outcome.map(|_| ()).map_err(Problem::from)).await;
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
    announced: &Announced,
) {
    headers.insert(header::CONTENT_TYPE, content_type(target));
    headers.insert(header::CONTENT_DISPOSITION, names::disposition(name));
    let ms = f64::from(head.convert_us) / 1000.0;
    if let Ok(value) = HeaderValue::from_str(&format!("convert;dur={ms:.3}")) {
        headers.insert("server-timing", value);
    }
    if announced.md5.is_some() {
        headers.insert(REPR_DIGEST, digest::member("md5", &head.checksum));
        if announced.is_by_digest {
            headers.insert(DIGEST, digest::earlier_member("MD5", &head.checksum));
        }
    }
}

pub(super) fn content_type(target: Target) -> HeaderValue {
    HeaderValue::from_static(match target {
        Target::Text => "text/plain; charset=utf-8",
        other => other.media_type(),
    })
}

/// The size of the body, a file or a form: the wire says it before the first byte.
pub(super) fn length(headers: &HeaderMap, what: &str, max: u64) -> Result<u64, Problem> {
    let length = headers.get(header::CONTENT_LENGTH).ok_or_else(|| {
        Problem::new(
            StatusCode::LENGTH_REQUIRED,
            LENGTH_REQUIRED,
            format!("the request does not say how large the {what} is"),
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
            format!("the {what} has {bytes} bytes, {over} over the limit of {max}"),
        ));
    }
    Ok(bytes)
}

impl Wanted {
    /// Reads the query, and the header that is no part of it.
    fn of(parameters: Parameters, headers: &HeaderMap) -> Result<Self, Problem> {
        let mut wanted = Self::from_query(parameters)?;
        if let Some(value) = headers.get(PASSWORD) {
            let password = std::str::from_utf8(value.as_bytes()).ok().and_then(Password::new);
            wanted.options.convert.password = Some(password.ok_or_else(|| {
                Problem::of(
                    Code::BadOption,
                    format!("the header X-Fxsrv-Password takes 1 to {} bytes", Password::BYTES_MAX),
                )
                .with_hint("the bytes are UTF-8 without control characters")
            })?);
        }
        Ok(wanted)
    }

    /// Reads `to` and the options of the wire.
    fn from_query(parameters: Parameters) -> Result<Self, Problem> {
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
            if ["checksum", "id", "password"].contains(&key.as_str()) {
                return Err(Problem::of(Code::BadOption, format!("`{key}` is no option of HTTP"))
                    .with_hint("use the headers Repr-Digest, X-Request-Id and X-Fxsrv-Password"));
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
