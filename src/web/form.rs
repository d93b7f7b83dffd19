//! A form of many files. The wire wants the size of a file before its first byte, and a form has it
//! nowhere: so a form is read whole, within a limit, and only then sent on file by file.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest as _, Multipart, Request};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use hyper::body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use super::app::App;
use super::convert::length;
use super::digest::Announced;
use super::pieces::{self, ToPieces};
use super::problem::{BAD_REQUEST, Problem};
use super::upload::Upload;
use crate::client::Source as _;
use crate::wire::Code;

/// What a form held, and the memory that was set aside for it.
pub(super) struct Form {
    pub(super) files: VecDeque<FormFile>,
    _room: OwnedSemaphorePermit,
}

/// One file of a form.
pub(super) struct FormFile {
    pub(super) name: String,
    pub(super) bytes: u64,
    chunks: VecDeque<Bytes>,
}

/// Whether a request brings a form rather than a file.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media = media.and_then(|media| media.split(';').next()).unwrap_or_default();
    media.trim().eq_ignore_ascii_case("multipart/form-data")
}

/// Reads a form to its end.
pub(super) async fn read(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    announced: Announced,
) -> Result<Form, Problem> {
    let limits = &app.config().limits;
    if announced.md5.is_some() {
        return Err(bad("a form is checked by sha-256 alone".to_owned()));
    }
    let bytes = length(headers, "form", limits.form_bytes_max)
        .map_err(|problem| problem.with_hint("send the files one by one, each as a request"))?;
    let room = app.hold(bytes)?;
    let mut upload = Upload::new(body, bytes, announced.sha256, limits);
    let (to_form, pieces) = pieces::channel(limits.stall_timeout);
    let pumping = crate::io::spawn(async move {
        let outcome = pump(&mut upload, &to_form).await;
        // Beside the answer, which may be given early.
        crate::io::spawn(upload.discard());
        outcome
    });
    let files = parse(headers, Body::new(pieces), limits.form_files_max).await;
    // What is wrong with the upload itself comes first: the form merely ended early by it.
    match pumping.await {
        Ok(Err(error)) => Err(error.downcast().unwrap_or_else(|error| bad(error.to_string()))),
        _ => Ok(Form { files: files?, _room: room }),
    }
}

/// What a form is read by. Its reader looks for the end of a part's head from the start each time more
/// has come: by single bytes, as a hostile client may send them, that would be the square of 64 MiB.
/// By this it is 256 looks.
const PIECE_BYTES: usize = 256 * 1024;

/// Passes an upload on, to its end or that of the form, which may be refused early.
async fn pump(upload: &mut Upload, form: &ToPieces) -> io::Result<()> {
    let mut held = BytesMut::new();
    while let Some(bytes) = upload.next().await? {
        held.extend_from_slice(&bytes);
        if held.len() >= PIECE_BYTES && form.send(held.split().freeze()).await.is_err() {
            return Ok(());
        }
    }
    // Who does not read the rest has refused the form, and says so himself.
    if !held.is_empty() {
        let _ = form.send(held.freeze()).await;
    }
    Ok(())
}

async fn parse(
    headers: &HeaderMap,
    body: Body,
    files_max: usize,
) -> Result<VecDeque<FormFile>, Problem> {
    let mut request = Request::new(body);
    request.headers_mut().clone_from(headers);
    // Its size is held under the limit already.
    DefaultBodyLimit::disable().apply(&mut request);
    let mut form =
        Multipart::from_request(request, &()).await.map_err(|error| bad(error.body_text()))?;
    let mut files = VecDeque::new();
    while let Some(field) = form.next_field().await.map_err(|error| malformed(&error))? {
        if files.len() == files_max {
            let detail = format!("the form has more than {files_max} files");
            return Err(Problem::of(Code::TooLarge, detail).with_hint("send fewer at once"));
        }
        files.push_back(FormFile::read(field).await?);
    }
    if files.is_empty() {
        return Err(bad("the form has no file".to_owned()));
    }
    Ok(files)
}

fn malformed(error: &MultipartError) -> Problem {
    bad(error.body_text())
}

fn bad(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, BAD_REQUEST, detail)
        .with_hint("with curl: -F file=@a.jpg -F file=@b.png, and what they become in the query")
}

impl FormFile {
    async fn read(mut field: Field<'_>) -> Result<Self, Problem> {
        let Some(name) = field.file_name().map(str::to_owned) else {
            let name = field.name().unwrap_or_default();
            return Err(bad(format!("the field `{:.32}` is no file", name.escape_debug())));
        };
        let (mut chunks, mut bytes) = (VecDeque::new(), 0);
        while let Some(chunk) = field.chunk().await.map_err(|error| malformed(&error))? {
            bytes += chunk.len() as u64;
            chunks.push_back(chunk);
        }
        Ok(Self { name, bytes, chunks })
    }

    /// The file as the body of a request of its own.
    pub(super) fn into_body(self) -> Body {
        Body::new(Held(self.chunks))
    }
}

/// A body that is there already.
struct Held(VecDeque<Bytes>);

impl hyper::body::Body for Held {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|chunk| chunk.len() as u64).sum())
    }
}
