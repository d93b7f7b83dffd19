//! A client's connection: opened, used for many files, opened again where it must be.

use std::time::{Duration, Instant};

use super::exchange::{ExchangeError, Outgoing, Reply, exchange};
use super::{Answer, ClientConfig, ClientError, Progress, Request, Wire, reach, secure};
use crate::auth::Token;
use crate::convert;
use crate::io::{BUFFER_BYTES, Buffer};
use crate::transport::{StreamError, TlsStream};
use crate::wire::{ChecksumKind, Code, Operation, RequestHeader, RequestOptions, Version};

/// A name is informative: more than a file system's 255 bytes tells nobody anything.
const NAME_BYTES_MAX: usize = 255;

/// A busy server is asked again no sooner than this, whatever it says.
const BUSY_WAIT_MIN: Duration = Duration::from_millis(50);

/// A goodbye is a courtesy: a server that does not hear it within this goes without.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(200);
const GOODBYE_BYTES_MAX: u64 = 64 * 1024;

/// A connection to a server.
///
/// In v1.1 it is kept for any number of requests; in v1.0 every request opens its own. A conversion
/// changes nothing on the server, so a request whose kept connection had ended meanwhile is sent
/// once more over a new one.
pub struct Connection {
    pub(super) config: ClientConfig,
    /// What the server has been found to speak.
    version: Option<Version>,
    pub(super) stream: Option<TlsStream>,
    /// The stream has carried a request. Before that, session tickets may wait in it.
    pub(super) is_used: bool,
}

impl Connection {
    /// Connects, and makes sure of the server's identity.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or not be trusted.
    pub async fn connect(config: &ClientConfig) -> Result<Self, ClientError> {
        let version = match config.wire {
            Wire::Auto => None,
            Wire::V1_1 => Some(Version::V1_1),
            Wire::V1_0 => Some(Version::V1_0),
        };
        let mut connection = Self { config: config.clone(), version, stream: None, is_used: false };
        connection.stream = Some(connection.open().await?);
        Ok(connection)
    }

    /// Has one file converted. `progress` hears how far it is.
    ///
    /// A server that is busy is asked again, a bounded number of times and within the time of a
    /// request.
    ///
    /// # Errors
    ///
    /// The server refuses, cannot be reached again, or answers with what is not a whole file.
    pub async fn convert(
        &mut self,
        request: &Request<'_>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Answer, ClientError> {
        let operation = Operation::Convert(request.target);
        self.ask(operation, request, progress).await
    }

    /// The server's own words on how it is.
    ///
    /// # Errors
    ///
    /// As [`Self::convert`], and where the server speaks v1.0, which has no status.
    pub async fn status(&mut self) -> Result<String, ClientError> {
        // The target is not part of a status request.
        let (target, options) = (convert::Target::Text, RequestOptions::default());
        let request = Request { target, name: "", body: &[], options: &options };
        let answer = self.ask(Operation::Status, &request, &mut |_| {}).await?;
        Ok(String::from_utf8_lossy(&answer.bytes).into_owned())
    }

    /// Shows `token` from now on: each request says for itself who asks.
    pub fn set_token(&mut self, token: Token) {
        self.config.token = token;
    }

    /// Says goodbye.
    pub async fn close(mut self) {
        if let Some(stream) = self.stream.take() {
            stream.finish(GOODBYE_BYTES_MAX, GOODBYE_TIMEOUT).await;
        }
    }

    async fn ask(
        &mut self,
        operation: Operation,
        request: &Request<'_>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Answer, ClientError> {
        let deadline = Instant::now() + self.config.limits.request_timeout;
        let mut retries_left = self.config.limits.busy_retries_max;
        loop {
            match self.ask_once(operation, request, deadline, progress).await {
                Err(ClientError::Refused(failure))
                    if failure.code == Code::Busy && retries_left > 0 =>
                {
                    let wait = Duration::from_millis(failure.retry_after_ms.into());
                    let wait = wait.max(BUSY_WAIT_MIN);
                    if Instant::now() + wait >= deadline {
                        return Err(ClientError::Refused(failure));
                    }
                    retries_left -= 1;
                    tokio::time::sleep(wait).await;
                }
                done => return done,
            }
        }
    }

    /// Asks until there is an answer in a version that both speak. Each turn of the loop takes away
    /// what let it turn: a kept connection, or the choice of the version.
    async fn ask_once(
        &mut self,
        operation: Operation,
        request: &Request<'_>,
        deadline: Instant,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Answer, ClientError> {
        let mut version = self.version.unwrap_or(Version::V1_1);
        let mut may_fall_back = self.version.is_none();
        // A connection that ends without an answer is opened once more before anything is made of
        // that: a kept one may have been stale, and a new one unlucky.
        let mut may_repeat = true;
        loop {
            let out = outgoing(&self.config, version, operation, request)?;
            let kept = self.stream.take();
            may_repeat &= kept.is_some() || may_fall_back;
            let mut stream = match kept {
                Some(stream) => stream,
                None => self.open().await?,
            };
            stream.socket().set_deadline(Some(deadline));
            stream.socket().set_stall_limits(None, Some(self.config.limits.stall_timeout));
            let outcome = exchange(&mut stream, &out, &self.config.limits, progress).await;
            let is_cut =
                matches!(&outcome, Err(ExchangeError::NoAnswer(error)) if error.is_peer_gone());
            if is_cut && may_repeat {
                may_repeat = false;
                continue;
            }
            // A server that speaks v1.0 alone may have answered and closed at once, twice, so that the
            // reset of the rest of the request took its answer along.
            let fits_v1_0 = || outgoing(&self.config, Version::V1_0, operation, request).is_ok();
            if may_fall_back && (asks_for_v1_0(&outcome) || (is_cut && fits_v1_0())) {
                (version, may_fall_back) = (Version::V1_0, false);
                continue;
            }
            match outcome {
                Ok(reply) => {
                    self.version = Some(version);
                    self.keep(stream, reply.reusable).await;
                    return reply.result.map_err(ClientError::Refused);
                }
                Err(error) => return Err(self.explain(error)),
            }
        }
    }

    pub(super) async fn keep(&mut self, stream: TlsStream, reusable: bool) {
        if reusable {
            stream.socket().set_stall_limits(None, None);
            stream.socket().set_deadline(None);
            (self.stream, self.is_used) = (Some(stream), true);
        } else {
            stream.finish(GOODBYE_BYTES_MAX, GOODBYE_TIMEOUT).await;
        }
    }

    /// Connects, with buffers that last for as long as the connection.
    pub(super) async fn open(&self) -> Result<TlsStream, ClientError> {
        let ClientConfig { server, tls, limits, driver, .. } = &self.config;
        let socket = reach(server, *driver, limits).await?;
        let mut stream = secure(socket, server, tls, limits).await?;
        stream.attach([Buffer::heap(BUFFER_BYTES), Buffer::heap(BUFFER_BYTES)]);
        Ok(stream)
    }

    pub(super) fn explain(&self, error: ExchangeError) -> ClientError {
        let server = self.config.server.clone();
        match error {
            ExchangeError::NoAnswer(StreamError::Tls(source))
                if source != crate::tls::TlsError::Truncated =>
            {
                ClientError::Untrusted { server, source }
            }
            ExchangeError::NoAnswer(source) => ClientError::NoAnswer { server, source },
            ExchangeError::Version(source) => ClientError::Protocol { server, source },
            ExchangeError::BrokenOff { got, expected } => ClientError::BrokenOff { got, expected },
            ExchangeError::TimedOut => {
                ClientError::TimedOut { server, after: self.config.limits.request_timeout }
            }
            ExchangeError::Final(error) => error,
        }
    }
}

/// Whether a server that was asked in v1.1 says that it knows v1.0 alone, or answers in it.
fn asks_for_v1_0(outcome: &Result<Reply, ExchangeError>) -> bool {
    match outcome {
        Ok(reply) => matches!(&reply.result, Err(failure) if failure.code == Code::BadVersion),
        Err(ExchangeError::Version(error)) => {
            matches!(error, crate::wire::ReplyError::V1_0 { .. })
        }
        Err(_) => false,
    }
}

fn outgoing<'a>(
    config: &ClientConfig,
    version: Version,
    operation: Operation,
    request: &Request<'a>,
) -> Result<Outgoing<'a>, ClientError> {
    let mut options = request.options.clone();
    let block = match version {
        Version::V1_0 => {
            if options.convert != convert::Options::default() || operation == Operation::Status {
                return Err(ClientError::NeedsV1_1);
            }
            options.checksum = ChecksumKind::Md5;
            Vec::new()
        }
        Version::V1_1 => {
            options.name = options.name.or_else(|| sendable(request.name));
            options.encode().map_err(ClientError::Refused)?
        }
    };
    let header = RequestHeader::new(
        version,
        &config.token,
        options.checksum.of(request.body),
        request.name,
        request.body.len() as u64,
        operation,
        block.len(),
    );
    let head = [&header.to_bytes()[..], &block].concat();
    Ok(Outgoing { version, operation, checksum: options.checksum, head, body: request.body })
}

/// A file's name as the option `name` takes it.
pub(super) fn sendable(name: &str) -> Option<String> {
    let mut sent = String::new();
    for char in name.chars().filter(|char| !char.is_control()) {
        if sent.len() + char.len_utf8() > NAME_BYTES_MAX {
            break;
        }
        sent.push(char);
    }
    (!sent.is_empty()).then_some(sent)
}
