//! The few requests that the library has no words for, signed by it and sent as they are.

use std::fmt::Write as _;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use object_store::client::HttpRequestBody;
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer as _};

use super::bucket::Objects;
use super::error::{late, reason};
use crate::store::StoreError;

/// An answer is a few lines of XML.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

const RETRIES_MAX: u32 = 4;
const BACKOFF: Duration = Duration::from_millis(100);

/// A request, without its signature.
#[derive(Default)]
struct Call {
    method: Method,
    query: Vec<(&'static str, String)>,
    /// Headers of S3's own have to be signed.
    signed: Vec<(&'static str, String)>,
    /// Conditions are HTTP's, and need not be.
    plain: Option<(HeaderName, String)>,
    body: Bytes,
}

impl Objects {
    /// Copies a range of an object into a part of an upload, and returns the part's tag.
    pub(super) async fn copy_part(
        &self,
        from: &Path,
        range: Range<u64>,
        e_tag: Option<&str>,
        to: &Path,
        upload: &str,
        number: usize,
    ) -> Result<String, StoreError> {
        let from = format!("/{}/{}", self.clients.bucket, encoded(from.as_ref()));
        let mut signed = vec![
            ("x-amz-copy-source", from),
            ("x-amz-copy-source-range", format!("bytes={}-{}", range.start, range.end - 1)),
        ];
        signed.extend(e_tag.map(|e_tag| ("x-amz-copy-source-if-match", e_tag.to_owned())));
        let call = Call {
            method: Method::PUT,
            query: vec![("partNumber", number.to_string()), ("uploadId", upload.to_owned())],
            signed,
            ..Call::default()
        };
        let answer = self.call(to, &call).await?;
        tag(&answer).ok_or_else(|| StoreError::Bucket("a copied part has no tag".to_owned()))
    }

    /// Completes an upload, unless there is an object of its name.
    pub(super) async fn complete_new(
        &self,
        to: &Path,
        upload: &str,
        tags: &[String],
    ) -> Result<(), StoreError> {
        let parts = tags.iter().zip(1..).map(|(tag, number): (_, usize)| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>")
        });
        let parts: String = parts.collect();
        let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        let call = Call {
            method: Method::POST,
            query: vec![("uploadId", upload.to_owned())],
            plain: Some((header::IF_NONE_MATCH, "*".to_owned())),
            body: body.into(),
            ..Call::default()
        };
        self.call(to, &call).await.map(|_| ())
    }

    /// Deletes an object, if it still is the one of this tag, as far as the server knows how to.
    pub(super) async fn delete_if(
        &self,
        path: &Path,
        e_tag: Option<&str>,
    ) -> Result<(), StoreError> {
        let plain = e_tag.map(|e_tag| (header::IF_MATCH, e_tag.to_owned()));
        let call = Call { method: Method::DELETE, plain, ..Call::default() };
        match self.call(path, &call).await {
            // Replaced, or gone: it is another's now.
            Err(StoreError::Exists | StoreError::Missing) => Ok(()),
            done => done.map(|_| ()),
        }
    }

    async fn call(&self, path: &Path, call: &Call) -> Result<Bytes, StoreError> {
        let after = self.limits.request_timeout;
        let calling = async {
            let mut backoff = BACKOFF;
            for _ in 0..RETRIES_MAX {
                match self.call_once(path, call).await {
                    Err(Failure::Passing(reason)) => {
                        tracing::info!(reason, "trying a request to the bucket again");
                    }
                    Err(Failure::Final(error)) => return Err(error),
                    Ok(answer) => return Ok(answer),
                }
                tokio::time::sleep(backoff).await;
                backoff *= 2;
            }
            self.call_once(path, call).await.map_err(|failure| match failure {
                Failure::Passing(reason) => StoreError::Bucket(reason),
                Failure::Final(error) => error,
            })
        };
        tokio::time::timeout(after, calling).await.unwrap_or_else(|_| Err(late("a request", after)))
    }

    async fn call_once(&self, path: &Path, call: &Call) -> Result<Bytes, Failure> {
        let request = self.request(path, call).await.map_err(Failure::Final)?;
        let response = self.clients.http.execute(request).await;
        let response = response.map_err(|error| Failure::Passing(error.to_string()))?;
        let status = response.status();
        let mut body = response.into_body().bytes_stream();
        let mut answer = Vec::new();
        while let Some(piece) =
            body.try_next().await.map_err(|error| Failure::Passing(error.to_string()))?
        {
            if answer.len() + piece.len() > ANSWER_BYTES_MAX {
                break;
            }
            answer.extend_from_slice(&piece);
        }
        judge(status, &answer)?;
        Ok(answer.into())
    }

    async fn request(
        &self,
        path: &Path,
        call: &Call,
    ) -> Result<Request<HttpRequestBody>, StoreError> {
        let wrong = |error: &dyn std::fmt::Display| StoreError::Bucket(error.to_string());
        let mut options = SignedUrlOptions::new().with_query(call.query.iter().cloned());
        let mut request = Request::builder().method(&call.method);
        for (name, value) in &call.signed {
            let value = HeaderValue::from_str(value).map_err(|error| wrong(&error))?;
            options = options.with_signed_header(HeaderName::from_static(name), value.clone());
            request = request.header(*name, value);
        }
        if let Some((name, value)) = &call.plain {
            request = request.header(name, value);
        }
        if call.method != Method::DELETE {
            request = request.header(header::CONTENT_LENGTH, call.body.len());
        }
        let signed = self.clients.store.signed_url_opts(
            call.method.clone(),
            path,
            self.limits.request_timeout,
            &options,
        );
        let url = signed.await.map_err(|error| StoreError::Bucket(reason(error)))?;
        let body = HttpRequestBody::from(call.body.clone());
        request.uri(url.as_str()).body(body).map_err(|error| wrong(&error))
    }
}

enum Failure {
    /// It may be gone the next time.
    Passing(String),
    Final(StoreError),
}

fn judge(status: StatusCode, answer: &[u8]) -> Result<(), Failure> {
    let bucket = |text: &str| Failure::Final(StoreError::Bucket(text.to_owned()));
    // A completed upload may say in its body that it is none.
    let is_error = memchr::memmem::find(answer, b"<Error>").is_some();
    match status.as_u16() {
        200..=299 if !is_error => Ok(()),
        200..=299 | 408 | 409 | 429 | 500.. => {
            Err(Failure::Passing(format!("the bucket's server answered {status}")))
        }
        403 => Err(bucket("access is denied to these credentials")),
        404 => Err(Failure::Final(StoreError::Missing)),
        412 => Err(Failure::Final(StoreError::Exists)),
        _ => Err(bucket(&format!("the bucket's server answered {status}"))),
    }
}

/// The tag in the answer to a copy, as it has to be given back.
fn tag(answer: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(answer).ok()?;
    let (_, rest) = text.split_once("<ETag>")?;
    let (tag, _) = rest.split_once("</ETag>")?;
    let is_sound = |char: char| char.is_ascii_graphic() && !"<>".contains(char);
    (!tag.is_empty() && tag.chars().all(is_sound)).then(|| tag.to_owned())
}

/// A key as the header of a copy's source has it.
fn encoded(key: &str) -> String {
    let mut encoded = String::with_capacity(key.len());
    for &byte in key.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_taken_as_it_stands() {
        let answer = b"<?xml?><CopyPartResult><ETag>&quot;ab1&quot;</ETag></CopyPartResult>";
        assert_eq!(tag(answer).unwrap(), "&quot;ab1&quot;");
        for bad in [&b"<ETag></ETag>"[..], b"", b"<ETag>a<b</ETag>", b"<ETag>x", b"\xff<ETag>a"] {
            assert_eq!(tag(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn keys_are_encoded_byte_by_byte() {
        assert_eq!(encoded("a/b c+d%\u{e9}~.txt"), "a/b%20c%2Bd%25%C3%A9~.txt");
    }

    #[test]
    fn an_error_in_a_good_answer_is_one() {
        assert!(judge(StatusCode::OK, b"<Result/>").is_ok());
        assert!(matches!(judge(StatusCode::OK, b"<Error><Code>x"), Err(Failure::Passing(_))));
        let taken = judge(StatusCode::PRECONDITION_FAILED, b"");
        assert!(matches!(taken, Err(Failure::Final(StoreError::Exists))));
    }
}
