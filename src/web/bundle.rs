//! Many results in one answer, as a ZIP or as parts, in the order of the files. One that fails is
//! there as its Problem Details, and the others are not lost.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http_body_util::BodyExt as _;

use super::answer::Answer;
use super::app::{App, Place};
use super::convert::{self, Job, Wanted};
use super::form::{Form, FormFile};
use super::names;
use super::pieces::{self, ToPieces};
use super::problem::Problem;
use super::upload::Upload;
use super::zip::Zip;
use crate::auth::Token;
use crate::client::AnswerHead;
use crate::wire::Code;

/// What each file of a form is to become.
pub(super) struct Order {
    pub(super) app: App,
    pub(super) place: Arc<Place>,
    pub(super) wanted: Wanted,
    pub(super) token: Token,
    pub(super) id: String,
}

type Outcome = Result<(AnswerHead, Answer), Problem>;

/// Converts the files of `form`, and answers with all of them in the form that `headers` accept.
///
/// # Errors
///
/// The first file has met a problem that is none of its own: the others would meet it too.
pub(super) async fn answer(
    order: Order,
    mut form: Form,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let boundary = format!("fxsrv-{:016x}{:016x}", random(), random());
    let is_multipart = wants_multipart(headers);
    let Some(file) = form.files.pop_front() else {
        return Err(Problem::of(Code::MalformedInput, "the form has no file"));
    };
    let name = file.name.clone();
    let first = order.convert(file).await;
    if let Err(problem) = &first
        && !problem.is_of_the_file()
    {
        return Err(problem.clone());
    }
    let (out, body) = pieces::channel(order.app.config().limits.stall_timeout);
    let kind = if is_multipart {
        Kind::Multipart(boundary.clone())
    } else {
        Kind::Zip(Zip::new(SystemTime::now()))
    };
    crate::io::spawn(async move {
        let mut bundle = Bundle { kind, names: HashSet::new(), out };
        if let Err(error) = bundle.write(&order, form, name, first).await {
            bundle.out.fail(error).await;
        }
    });
    let mut response = Body::new(body).into_response();
    let headers = response.headers_mut();
    if is_multipart {
        let media = format!("multipart/mixed; boundary={boundary}");
        let plain = HeaderValue::from_static("multipart/mixed");
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(&media).unwrap_or(plain));
    } else {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
        headers.insert(header::CONTENT_DISPOSITION, names::disposition("converted.zip"));
    }
    Ok(response)
}

/// A ZIP is what a person can open, so that it is given where nothing is said.
fn wants_multipart(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|media| media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
        .find_map(|media| match media.as_str() {
            "multipart/mixed" | "multipart/*" => Some(true),
            "application/zip" | "application/*" | "*/*" => Some(false),
            _ => None,
        })
        .unwrap_or(false)
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness a result that has the boundary in it would be cut, and nothing else.
    let _ = getrandom::fill(&mut bytes);
    u64::from_be_bytes(bytes)
}

impl Order {
    async fn convert(&self, file: FormFile) -> Outcome {
        let limits = &self.app.config().limits;
        let (name, body_bytes) = (file.name.clone(), file.bytes);
        let job = Job {
            wanted: self.wanted.clone(),
            name,
            upload: Upload::new(file.into_body(), body_bytes, None, limits),
            body_bytes,
            checksum: [0; 16],
            token: self.token.clone(),
        };
        convert::run(&self.app, job, Arc::clone(&self.place), false).await
    }
}

/// How results stand beside each other.
enum Kind {
    Zip(Zip),
    /// With this boundary.
    Multipart(String),
}

struct Bundle {
    kind: Kind,
    names: HashSet<String>,
    out: ToPieces,
}

impl Bundle {
    async fn write(
        &mut self,
        order: &Order,
        mut form: Form,
        name: String,
        first: Outcome,
    ) -> io::Result<()> {
        self.put(order, &name, first).await?;
        while let Some(file) = form.files.pop_front() {
            let name = file.name.clone();
            // Who has left waits for nothing: what is on its way for him is given up.
            let outcome = tokio::select! {
                outcome = order.convert(file) => outcome,
                () = self.out.closed() => return Err(io::ErrorKind::BrokenPipe.into()),
            };
            self.put(order, &name, outcome).await?;
        }
        let end = match &mut self.kind {
            Kind::Zip(zip) => std::mem::replace(zip, Zip::new(SystemTime::now())).finish(),
            Kind::Multipart(boundary) => format!("--{boundary}--\r\n").into(),
        };
        self.out.send(end).await
    }

    async fn put(&mut self, order: &Order, name: &str, outcome: Outcome) -> io::Result<()> {
        let target = order.wanted.target;
        let problem = match outcome {
            Ok((head, answer)) => {
                let result = names::of_result(name, target);
                if self.has_room(&result, head.body_bytes) {
                    return self.put_result(&result, order, head.body_bytes, answer).await;
                }
                // Dropping the answer gives it up.
                Problem::of(Code::TooLarge, "the ZIP has no room for it: it ends at 4 GB")
                    .with_hint("ask for parts with `Accept: multipart/mixed`, or send fewer files")
            }
            Err(problem) => problem,
        };
        let text = Bytes::from(problem.to_json(&order.id).to_string());
        let media = HeaderValue::from_static("application/problem+json");
        self.begin(&names::of_problem(name), &media, text.len() as u64).await?;
        let crc = crc32fast::hash(&text);
        let bytes = text.len() as u64;
        self.out.send(text).await?;
        self.end(crc, bytes).await
    }

    async fn put_result(
        &mut self,
        name: &str,
        order: &Order,
        bytes: u64,
        mut answer: Answer,
    ) -> io::Result<()> {
        self.begin(name, &convert::content_type(order.wanted.target), bytes).await?;
        let mut crc = crc32fast::Hasher::new();
        while let Some(frame) = answer.frame().await {
            if let Ok(piece) = frame?.into_data() {
                crc.update(&piece);
                self.out.send(piece).await?;
            }
        }
        self.end(crc.finalize(), bytes).await
    }

    fn has_room(&self, name: &str, bytes: u64) -> bool {
        match &self.kind {
            Kind::Zip(zip) => zip.has_room(name, bytes),
            Kind::Multipart(_) => true,
        }
    }

    async fn begin(&mut self, name: &str, media: &HeaderValue, bytes: u64) -> io::Result<()> {
        let name = names::unique(name, &mut self.names);
        let head = match &mut self.kind {
            Kind::Zip(zip) => zip.begin(&name),
            Kind::Multipart(boundary) => {
                let (media, disposition) = (text(media), names::disposition(&name));
                format!(
                    "--{boundary}\r\nContent-Type: {media}\r\nContent-Disposition: {}\r\n\
                     Content-Length: {bytes}\r\n\r\n",
                    text(&disposition)
                )
                .into()
            }
        };
        self.out.send(head).await
    }

    async fn end(&mut self, crc: u32, bytes: u64) -> io::Result<()> {
        let tail = match &mut self.kind {
            Kind::Zip(zip) => zip.end(crc, bytes),
            Kind::Multipart(_) => Bytes::from_static(b"\r\n"),
        };
        self.out.send(tail).await
    }
}

/// Our own headers are ASCII.
fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zip_is_given_unless_parts_are_asked_for() {
        let wants = |accept: &'static str| {
            let accept = HeaderValue::from_static(accept);
            wants_multipart(&HeaderMap::from_iter([(header::ACCEPT, accept)]))
        };
        assert!(!wants_multipart(&HeaderMap::new()));
        assert!(!wants("*/*"));
        assert!(!wants("application/zip, multipart/mixed;q=0.5"));
        assert!(wants("multipart/mixed"));
        assert!(wants("text/html, Multipart/Mixed; q=1, */*"));
    }
}
