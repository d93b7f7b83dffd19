//! A store's connections.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::backend::Backend;
use super::ended;
use super::name::{Name, NameError};
use super::peers::{PeerGuard, Peers};
use super::protocol::{Answer, Request, RequestHead};
use super::recent::Recent;
use super::{Config, Connections, Security, StoreError};
use crate::auth::{Guard, TOKEN_BYTES_MAX, Tokens};
use crate::io::Socket;
use crate::metrics;
use crate::server::{Context, Service};
use crate::transport::{PlainStream, Stream, StreamError, TlsStream};

/// What a client may still send after a refusal: the largest file there is, and TLS around it. It is
/// not opened, only read away, and bounded by the linger timeout too.
const FAREWELL_BYTES_MAX: u64 = (1 << 32) + (1 << 26);

/// What all threads of a store share.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) backend: Backend,
    peers: Arc<Peers>,
    guard: Guard,
}

/// One thread of a store.
pub(super) struct Store {
    pub(super) context: Context,
    pub(super) shared: Arc<Shared>,
    pub(super) recent: Recent,
}

/// What becomes of a connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The next request.
    Keep,
    /// It ends in order, so that the answer arrives whole.
    Finish,
    /// It is cut, so that nobody takes what was sent for the whole.
    Cut,
}

impl Shared {
    pub(super) fn new(config: Config, backend: Backend) -> Self {
        Self { config, backend, peers: Arc::default(), guard: Guard::new(true) }
    }
}

impl Store {
    pub(super) fn new(context: Context, shared: Arc<Shared>) -> Self {
        Self { context, shared, recent: Recent::default() }
    }

    async fn serve_connection(&self, socket: Socket) -> Result<(), StreamError> {
        let config = &self.shared.config;
        let peer = self.enter(&socket);
        let mut stream: Stream = match &config.security {
            Security::Tls(tls) => {
                TlsStream::accept(socket, tls, config.limits.handshake_timeout).await?.into()
            }
            Security::Plain => PlainStream::new(socket).into(),
        };
        stream.socket().set_stall_limits(None, Some(config.limits.stall_timeout));
        let next = match peer {
            Some(_) if self.admits(&mut stream).await? => self.serve_requests(&mut stream).await?,
            Some(_) => Next::Finish,
            None => {
                tracing::warn!(peer = %stream.peer(), "too many connections of one address");
                stream.write_all(&[Answer::Refused.byte()]).await?;
                Next::Finish
            }
        };
        match next {
            Next::Keep => {
                stream.finish(FAREWELL_BYTES_MAX, config.limits.drain_linger_timeout).await;
            }
            Next::Finish => stream.finish(FAREWELL_BYTES_MAX, config.limits.linger_timeout).await,
            Next::Cut => stream.cut(),
        }
        Ok(())
    }

    fn enter(&self, socket: &Socket) -> Option<PeerGuard> {
        let max = self.shared.backend.limits().connections_per_address_max;
        self.shared.peers.enter(socket.peer().ip(), max)
    }

    /// Whether the connection may ask for anything. Where tokens are asked for, its first line is
    /// `AUTH` and one of them.
    async fn admits(&self, stream: &mut Stream) -> Result<bool, StreamError> {
        let config = &self.shared.config;
        if matches!(config.tokens, Tokens::Open) {
            return Ok(true);
        }
        stream.socket().set_deadline(Some(Instant::now() + config.limits.header_timeout));
        let mut line = [0; b"AUTH \r\n".len() + TOKEN_BYTES_MAX];
        let mut length = 0;
        while length < line.len() {
            stream.read_exact(&mut line[length..=length]).await?;
            length += 1;
            if line[length - 1] == b'\n' {
                break;
            }
        }
        let token = line[..length].strip_prefix(b"AUTH ").and_then(|line| line.strip_suffix(b"\n"));
        let token = token.map(|token| token.strip_suffix(b"\r").unwrap_or(token));
        let address = stream.peer().ip();
        let check = |token| self.shared.guard.check(address, token, &config.tokens);
        let (is_admitted, reason) = match token.map(check) {
            Some(Ok(grant)) if grant.uses().has_store() => (true, String::new()),
            Some(Ok(_)) => (false, "the token is not for a store".to_owned()),
            Some(Err(denied)) => (false, denied.to_string()),
            None => (false, "there is no token".to_owned()),
        };
        let answer = if is_admitted { Answer::Done } else { Answer::NotFound };
        if !is_admitted {
            metrics::count(|here| here.auth_failures.add(1));
            tracing::info!(peer = %stream.peer(), reason, "refused");
        }
        stream.write_all(&[answer.byte()]).await?;
        Ok(is_admitted)
    }

    async fn serve_requests(&self, stream: &mut Stream) -> Result<Next, StreamError> {
        let Shared { config, backend, .. } = &*self.shared;
        let mut idle_timeout = config.limits.header_timeout;
        let mut unknown_in_a_row = 0;
        while !self.context.is_draining() {
            // Answers to requests that came together leave together.
            if !stream.has_plaintext() {
                stream.flush_queued().await?;
            }
            if !stream.wait_for_request(idle_timeout).await? {
                break;
            }
            let request = self.read_head(stream).await?;
            unknown_in_a_row = match request {
                Request::Unknown => unknown_in_a_row + 1,
                _ => 0,
            };
            let next = self.serve_request(stream, request).await?;
            stream.detach();
            if next != Next::Keep {
                return Ok(next);
            }
            let is_noise = unknown_in_a_row >= backend.limits().unknown_in_a_row_max;
            if is_noise || config.connections == Connections::OneShot {
                return Ok(Next::Finish);
            }
            idle_timeout = config.limits.idle_timeout;
        }
        Ok(Next::Keep)
    }

    async fn read_head(&self, stream: &mut Stream) -> Result<Request, StreamError> {
        let timeout = self.shared.config.limits.header_timeout;
        stream.socket().set_deadline(Some(Instant::now() + timeout));
        let mut head = RequestHead::default();
        loop {
            if let Some(request) = head.request() {
                stream.socket().set_deadline(None);
                return Ok(request);
            }
            if !stream.has_plaintext() {
                stream.flush_queued().await?;
            }
            let missing = head.missing() as u64;
            if stream.read_at_most(missing, &mut |bytes| head.push(bytes)).await? == 0 {
                return Err(StreamError::Closed { missing });
            }
        }
    }

    async fn serve_request(
        &self,
        stream: &mut Stream,
        request: Request,
    ) -> Result<Next, StreamError> {
        // All but GET of a file here may take their time, for which the answers before them need not
        // wait.
        let is_quick = matches!(request, Request::Get { .. }) && self.shared.backend.is_local();
        if !is_quick {
            stream.flush_queued().await?;
        }
        match request {
            Request::Put { name, bytes } => match &self.shared.backend {
                Backend::Local(local) => self.put(local, stream, name, bytes.into()).await,
                #[cfg(feature = "s3")]
                Backend::Bucket(bucket) => {
                    self.put_object(bucket, stream, name, bytes.into()).await
                }
            },
            Request::Get { name } => self.get(stream, name).await,
            Request::Change { from, to } => self.change(stream, from, to).await,
            Request::Summary { name } => self.summary(stream, name).await,
            Request::Help => {
                let started = Instant::now();
                stream.write_all(&Answer::help()).await?;
                log_access(stream, "HELP", None, 0, started);
                Ok(Next::Keep)
            }
            Request::Unknown => {
                ended::count("UNKNOWN", Answer::Unknown);
                stream.write_all(&[Answer::Unknown.byte()]).await?;
                tracing::debug!(peer = %stream.peer(), "unknown operation");
                Ok(Next::Keep)
            }
        }
    }

    async fn change(
        &self,
        stream: &mut Stream,
        from: Result<Name, NameError>,
        to: Result<Name, NameError>,
    ) -> Result<Next, StreamError> {
        let started = Instant::now();
        let (from, to) = match (from, to) {
            (Ok(from), Ok(to)) => (from, to),
            (Err(error), _) | (_, Err(error)) => {
                return self.refuse(stream, "CHANGE", None, &error.into()).await;
            }
        };
        match self.shared.backend.rename(&from, &to).await {
            Ok(()) => {
                stream.write_all(&[Answer::Done.byte()]).await?;
                log_access(stream, "CHANGE", Some(&from), 0, started);
                Ok(Next::Keep)
            }
            Err(error) => self.refuse(stream, "CHANGE", Some(&from), &error).await,
        }
    }

    /// Answers a request that is not done.
    pub(super) async fn refuse(
        &self,
        stream: &mut Stream,
        op: &'static str,
        name: Option<&Name>,
        error: &StoreError,
    ) -> Result<Next, StreamError> {
        log_refusal(stream, op, name, error);
        stream.write_all(&[error.answer().byte()]).await?;
        Ok(Next::Keep)
    }
}

impl Service for Store {
    async fn serve(self: Rc<Self>, socket: Socket) {
        let peer = socket.peer();
        if let Err(error) = self.serve_connection(socket).await {
            // Some clients take their leave with an operation and do not wait for its answer.
            if error.is_peer_gone() {
                tracing::debug!(%peer, %error, "connection ended");
            } else {
                tracing::info!(%peer, %error, "connection failed");
            }
        }
    }
}

pub(super) fn log_access(
    stream: &Stream,
    op: &'static str,
    name: Option<&Name>,
    bytes: u64,
    started: Instant,
) {
    ended::count(op, Answer::Done);
    ended::took(started);
    let (name, us) = (name.map(Name::as_str), started.elapsed().as_micros());
    tracing::info!(peer = %stream.peer(), op, name, code = "DONE", bytes, us, "request");
}

pub(super) fn log_refusal(
    stream: &Stream,
    op: &'static str,
    name: Option<&Name>,
    error: &StoreError,
) {
    ended::count(op, error.answer());
    let (peer, name, code) = (stream.peer(), name.map(Name::as_str), error.answer().name());
    if error.is_grave() {
        tracing::error!(%peer, op, name, code, %error, "request failed");
    } else {
        tracing::info!(%peer, op, name, code, %error, "request refused");
    }
}
