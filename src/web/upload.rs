//! A body on its way in, as the source of a request to the master.

use std::io;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};

use super::digest::Sha256;
use super::problem::Problem;
use crate::client::Source;
use crate::limits::WebLimits;
use crate::wire::Code;

/// The body of a request, whose size is known.
pub(super) struct Upload {
    body: Body,
    left: u64,
    sha256: Option<(Sha256, [u8; 32])>,
    stall: Duration,
    deadline: Instant,
    linger: Duration,
}

impl Upload {
    /// `bytes` of `body`, whose SHA-256 must be `sha256` where that is said.
    pub(super) fn new(
        body: Body,
        bytes: u64,
        sha256: Option<[u8; 32]>,
        limits: &WebLimits,
    ) -> Self {
        Self {
            body,
            left: bytes,
            sha256: sha256.map(|announced| (Sha256::new(), announced)),
            stall: limits.stall_timeout,
            deadline: Instant::now() + limits.upload_time(bytes),
            linger: limits.linger_timeout,
        }
    }

    async fn frame(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let due = self.deadline.min(Instant::now() + self.stall);
            let frame = timeout_at(due, self.body.frame()).await;
            let frame = frame.map_err(|_| self.too_slow())?;
            match frame.transpose() {
                Ok(None) => return Ok(None),
                Ok(Some(frame)) => {
                    // Trailers of a request say nothing here.
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
                Err(error) => {
                    let detail = format!("the upload broke off: {error}");
                    return Err(Problem::of(Code::Timeout, detail));
                }
            }
        }
    }

    fn too_slow(&self) -> Problem {
        let stalled = Instant::now() < self.deadline;
        let missing = self.left;
        let detail = if stalled {
            format!("nothing came for {} s, with {missing} bytes missing", self.stall.as_secs())
        } else {
            format!("the upload is too slow: {missing} bytes are missing at its time's end")
        };
        Problem::of(Code::Timeout, detail).with_hint("check the connection and send again")
    }

    /// Hears the client out, within bounds: a connection that is closed with unread bytes loses the
    /// answer that was sent on it.
    pub(super) async fn discard(mut self) {
        self.deadline = self.deadline.min(Instant::now() + self.linger);
        while let Ok(Some(_)) = self.frame().await {}
    }
}

impl Source for Upload {
    /// The last bytes are held back until the digest is known to fit.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let bytes = self.frame().await.map_err(io::Error::other)?;
        let Some(bytes) = bytes else { return Ok(None) };
        self.left = self.left.saturating_sub(bytes.len() as u64);
        if let Some((hash, _)) = &mut self.sha256 {
            hash.update(&bytes);
        }
        if self.left == 0
            && let Some((hash, announced)) = self.sha256.take()
        {
            hash.verify(announced).map_err(io::Error::other)?;
        }
        Ok(Some(bytes))
    }
}
