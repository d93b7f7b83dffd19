//! Why a request is not served, as Problem Details (RFC 9457).

use std::fmt;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::client::ClientError;
use crate::wire::{Code, Failure};

/// What is wrong, and the next step. As a response it stands in the extensions, and becomes the body
/// once the request's id is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// A name of the wire, or one of those below.
    pub(super) code: &'static str,
    pub(super) detail: String,
    pub(super) hint: Option<String>,
    pub(super) retry_after_ms: Option<u32>,
}

/// What the gateway itself refuses, where the wire has no code for it.
pub(super) const NOT_FOUND: &str = "NOT_FOUND";
pub(super) const METHOD_NOT_ALLOWED: &str = "METHOD_NOT_ALLOWED";
pub(super) const LENGTH_REQUIRED: &str = "LENGTH_REQUIRED";
pub(super) const BAD_REQUEST: &str = "BAD_REQUEST";
pub(super) const BAD_HOST: &str = "BAD_HOST";
pub(super) const CROSS_SITE: &str = "CROSS_SITE";
pub(super) const TOO_MANY_UPLOADS: &str = "TOO_MANY_UPLOADS";
pub(super) const STORE_REFUSED: &str = "STORE_REFUSED";
pub(super) const STORE_UNREACHABLE: &str = "STORE_UNREACHABLE";
pub(super) const MASTER_UNREACHABLE: &str = "MASTER_UNREACHABLE";
pub(super) const NOT_READY: &str = "NOT_READY";

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), hint: None, retry_after_ms: None }
    }

    pub(super) fn of(code: Code, detail: impl Into<String>) -> Self {
        Self::from(Failure::new(code, detail))
    }

    pub(super) fn busy(detail: impl Into<String>, retry_after_ms: u32) -> Self {
        let mut problem = Self::of(Code::Busy, detail).with_hint("try again after the given time");
        problem.retry_after_ms = Some(retry_after_ms);
        problem
    }

    pub(super) fn too_many(detail: String) -> Self {
        let hint = "wait for one of them to end, then try again";
        let mut problem = Self::new(StatusCode::TOO_MANY_REQUESTS, TOO_MANY_UPLOADS, detail);
        problem.retry_after_ms = Some(1_000);
        problem.with_hint(hint)
    }

    pub(super) fn no_token(detail: &str) -> Self {
        Self::of(Code::Unauthorized, detail)
            .with_hint("send the header `Authorization: Bearer TOKEN` with the server's token")
    }

    #[must_use]
    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether another file might meet with no problem.
    pub(super) fn is_of_the_file(&self) -> bool {
        matches!(
            self.status,
            StatusCode::PAYLOAD_TOO_LARGE
                | StatusCode::UNSUPPORTED_MEDIA_TYPE
                | StatusCode::UNPROCESSABLE_ENTITY
                | StatusCode::GATEWAY_TIMEOUT
        )
    }

    /// What stands for all problems of a kind.
    fn title(&self) -> &'static str {
        match self.code {
            "BAD_HOST" => "The request names another host",
            "CROSS_SITE" => "Another site asks",
            "TOO_MANY_UPLOADS" => "Too many uploads at once",
            "MASTER_UNREACHABLE" => "The conversion server cannot be reached",
            "NOT_READY" => "Files would not be converted now",
            "STORE_REFUSED" => "The store refuses it",
            "STORE_UNREACHABLE" => "The store cannot be reached",
            "LENGTH_REQUIRED" => "The size of the file is missing",
            "NOT_FOUND" => "There is nothing here",
            "METHOD_NOT_ALLOWED" => "That cannot be done here",
            name => Code::from_name(name).map_or("The request is not in order", title_of),
        }
    }

    /// The document.
    pub(super) fn to_json(&self, request_id: &str) -> serde_json::Value {
        let mut document = serde_json::json!({
            "type": "about:blank",
            "title": self.title(),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
            "request_id": request_id,
        });
        if let Some(hint) = &self.hint {
            document["hint"] = hint.as_str().into();
        }
        if let Some(ms) = self.retry_after_ms {
            document["retry_after_ms"] = ms.into();
        }
        document
    }

    /// The whole answer.
    pub(super) fn render(&self, request_id: &str) -> Response {
        let body = self.to_json(request_id).to_string();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(ms) = self.retry_after_ms {
            // The header has whole seconds; zero would be no wait at all.
            headers.insert(header::RETRY_AFTER, ms.div_ceil(1000).max(1).into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

fn title_of(code: Code) -> &'static str {
    match code {
        Code::Unauthorized => "The token is missing or wrong",
        Code::TooLarge => "The file is too large",
        Code::ChecksumMismatch => "The file is not what its digest says",
        Code::UnknownType => "The type of the file is not known",
        Code::WrongType => "The file does not become that",
        Code::MalformedInput => "The file is damaged",
        Code::LimitExceeded => "The file passes a limit",
        Code::DeadlineExceeded => "The conversion took too long",
        Code::Busy => "The server is busy",
        Code::NoWorker => "No worker is there",
        Code::WorkerFailed => "A worker failed",
        Code::BadOption => "An option is wrong",
        Code::Timeout => "The request came too slowly",
        Code::ShuttingDown => "The server is about to stop",
        Code::NoText => "The PDF has no text",
        Code::BadVersion | Code::BadOperation => "The servers do not understand each other",
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let code = failure.code;
        let status = StatusCode::from_u16(code.http_status());
        Self {
            status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code: code.name(),
            detail: failure.message,
            hint: failure.hint,
            retry_after_ms: (code == Code::Busy).then_some(failure.retry_after_ms),
        }
    }
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        let hint = "the operator has to look at the gateway's log and at the master";
        match error {
            ClientError::Refused(failure) => failure.into(),
            // Where the upload itself is at fault, it says so in these words.
            ClientError::Source(error) => match error.downcast::<Self>() {
                Ok(problem) => problem,
                Err(error) => Self::of(Code::Timeout, format!("the upload broke off: {error}")),
            },
            ClientError::TimedOut { after, .. } => Self::of(
                Code::DeadlineExceeded,
                format!("there is no answer within {} s", after.as_secs()),
            )
            .with_hint("send a smaller file"),
            ClientError::Unreachable { .. } | ClientError::Untrusted { .. } => Self::new(
                StatusCode::BAD_GATEWAY,
                MASTER_UNREACHABLE,
                "the master cannot be reached, or not be trusted",
            )
            .with_hint(hint),
            _ => Self::of(Code::WorkerFailed, "the answer of the master cannot be used")
                .with_hint("try again; if it persists, the operator has to look at the log"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
