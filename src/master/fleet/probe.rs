//! One look at a worker: the status operation over a connection of its own.

use std::time::{Duration, Instant};

use super::report::Report;
use super::worker::Worker;
use crate::auth::Token;
use crate::io::Driver;
use crate::limits::FleetLimits;
use crate::master::upstream;
use crate::tls::ClientTls;
use crate::transport::{StreamError, TlsStream};
use crate::wire::{
    ChecksumKind, Code, Operation, REPLY_HEADER_BYTES, ReplyError, ReplyHeader, RequestHeader,
    Version,
};

/// A goodbye is a courtesy: a worker that does not hear it within this goes without.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(200);

/// With what a worker is asked.
pub(super) struct Probe<'a> {
    pub(super) tls: &'a ClientTls,
    /// Shown to workers that ask for one.
    pub(super) token: Option<&'a Token>,
    /// v1.0 has no status: there a handshake is the whole look.
    pub(super) wire: Version,
    pub(super) limits: FleetLimits,
}

/// Why a look found nobody well.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProbeError {
    #[error("{0}")]
    Stream(#[from] StreamError),
    #[error("{0}")]
    Reply(#[from] ReplyError),
    #[error("its status has {0} bytes")]
    TooLong(u64),
}

impl Probe<'_> {
    /// Asks `worker` how it is.
    ///
    /// # Errors
    ///
    /// It cannot be reached, not be trusted, or does not answer in time and in form.
    pub(super) async fn ask(&self, worker: &Worker) -> Result<Report, ProbeError> {
        let deadline = Instant::now() + self.limits.check_timeout;
        // The checks have a thread of their own, on whatever driver the requests are.
        let timeout = self.limits.check_timeout;
        let mut stream = upstream::dial(worker, self.tls, Driver::Epoll, timeout).await?;
        stream.socket().set_deadline(Some(deadline));
        let report = match self.wire {
            Version::V1_0 => Report::default(),
            Version::V1_1 => self.status(&mut stream).await?,
        };
        stream.finish(self.limits.report_bytes_max, GOODBYE_TIMEOUT).await;
        Ok(report)
    }

    async fn status(&self, stream: &mut TlsStream) -> Result<Report, ProbeError> {
        let (checksum, operation) = (ChecksumKind::default().of(b""), Operation::Status);
        let header = match self.token {
            Some(token) => RequestHeader::new(Version::V1_1, token, checksum, "", 0, operation, 0),
            None => RequestHeader::without_token(Version::V1_1, checksum, operation),
        };
        stream.write_all(&header.to_bytes()).await?;
        let mut bytes = [0; REPLY_HEADER_BYTES];
        stream.read_exact(&mut bytes).await?;
        let reply = ReplyHeader::parse(&bytes)?;
        if reply.body_bytes > self.limits.report_bytes_max {
            return Err(ProbeError::TooLong(reply.body_bytes));
        }
        let mut text = vec![0; usize::try_from(reply.body_bytes).unwrap_or_default()];
        stream.read_exact(&mut text).await?;
        Ok(match Code::from_number(reply.status) {
            None => Report::parse(&String::from_utf8_lossy(&text)),
            Some(Code::ShuttingDown) => Report { is_leaving: true, ..Report::default() },
            // Whoever refuses is there: a worker may know other tokens than its master.
            Some(_) => Report::default(),
        })
    }
}
