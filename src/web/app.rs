//! What all requests share, and how many of them there may be.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Config;
use super::problem::Problem;
use crate::auth::Token;
use crate::server::Stop;

/// The gateway, as a handler sees it. Clones share it.
#[derive(Clone)]
pub(super) struct App(Arc<Inner>);

struct Inner {
    config: Config,
    requests: Arc<Semaphore>,
    uploads: Mutex<HashMap<IpAddr, usize>>,
    listeners: Arc<Semaphore>,
    /// KiB that forms may still hold.
    forms: Arc<Semaphore>,
    stop: Stop,
}

/// A browser's address, as an extension of its requests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// A place among the requests that cost something, given back when it is dropped.
pub(super) struct Place {
    _request: OwnedSemaphorePermit,
    app: App,
    address: IpAddr,
}

const KIB: u64 = 1024;

/// When to try again: a conversion takes about so long.
const RETRY_AFTER_MS: u32 = 1_000;

impl App {
    pub(super) fn new(config: Config, stop: Stop) -> Self {
        let requests = Arc::new(Semaphore::new(config.limits.requests_max));
        let listeners = Arc::new(Semaphore::new(config.limits.listeners_max));
        let forms_kib = config.limits.forms_bytes_max / KIB;
        let forms = Arc::new(Semaphore::new(usize::try_from(forms_kib).unwrap_or(usize::MAX >> 3)));
        let uploads = Mutex::default();
        Self(Arc::new(Inner { config, requests, uploads, listeners, forms, stop }))
    }

    /// A place for a request of `peer` that moves a file.
    pub(super) fn enter(&self, Peer(peer): Peer) -> Result<Place, Problem> {
        let limits = &self.0.config.limits;
        let Ok(request) = Arc::clone(&self.0.requests).try_acquire_owned() else {
            let message = format!("{} requests are on their way already", limits.requests_max);
            return Err(Problem::busy(message, RETRY_AFTER_MS));
        };
        let address = peer.ip().to_canonical();
        let mut uploads = self.0.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = uploads.entry(address).or_default();
        if *of_address >= limits.uploads_per_address_max {
            let max = limits.uploads_per_address_max;
            return Err(Problem::too_many(format!("{max} uploads of this address at once")));
        }
        *of_address += 1;
        Ok(Place { _request: request, app: self.clone(), address })
    }

    /// Memory for a form of so many bytes.
    pub(super) fn hold(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Problem> {
        let kib = u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX);
        Arc::clone(&self.0.forms).try_acquire_many_owned(kib).map_err(|_| {
            let max = self.0.config.limits.forms_bytes_max;
            let message =
                format!("the forms of others leave no room under the limit of {max} bytes");
            Problem::busy(message, RETRY_AFTER_MS)
        })
    }

    /// A place among those who hear of the status every second.
    pub(super) fn listen(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.0.listeners).try_acquire_owned().map_err(|_| {
            let max = self.0.config.limits.listeners_max;
            Problem::busy(format!("{max} pages watch the status already"), RETRY_AFTER_MS)
        })
    }

    /// What is shown to the master: the client's own token, else the gateway's.
    pub(super) fn token(&self, headers: &HeaderMap) -> Result<Token, Problem> {
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            return self
                .0
                .config
                .token
                .clone()
                .ok_or_else(|| Problem::no_token("there is no token"));
        };
        let token = value
            .to_str()
            .ok()
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| Problem::no_token("the authorization is no bearer token"))?;
        Token::parse(token).map_err(|error| Problem::no_token(&error.to_string()))
    }

    pub(super) fn stop(&self) -> &Stop {
        &self.0.stop
    }

    pub(super) fn config(&self) -> &Config {
        &self.0.config
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut uploads = self.app.0.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = uploads.get_mut(&self.address) {
            *count -= 1;
            // An address that has left takes no memory.
            if *count == 0 {
                uploads.remove(&self.address);
            }
        }
    }
}
