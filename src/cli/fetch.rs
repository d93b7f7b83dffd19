//! Files from a store: many of them with few round trips.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Instant;

use super::fail::Fail;
use super::landing::Landing;
use super::progress::Bar;
use super::term;
use super::transfer::{ATTEMPTS_MAX, Session};
use crate::client::Progress;
use crate::store::Name;
use crate::store_client::{ASKED_MAX, Moved, StoreClientError};

/// Fetches a file: to stdout, or to a path, where it appears whole or not at all.
pub(super) async fn get(
    session: &mut Session,
    name: &str,
    to: &Path,
    force: bool,
) -> Result<u64, Fail> {
    let mut wanted = VecDeque::from([Wanted::new(name, to, force)]);
    match session.fetch(&mut wanted).await {
        Some(fetched) => fetched.outcome,
        // There is one.
        None => Ok(0),
    }
}

/// A file that is to be fetched: its name, and where it goes, or why it cannot be.
pub(super) struct Wanted {
    given: String,
    place: Result<(Name, Landing), Fail>,
}

/// What became of it.
pub(super) struct Fetched {
    pub(super) given: String,
    pub(super) started: Instant,
    pub(super) outcome: Result<u64, Fail>,
}

impl Wanted {
    /// `to` is a path, or `-` for stdout.
    pub(super) fn new(given: &str, to: &Path, force: bool) -> Self {
        let place = Name::parse(given.as_bytes())
            .map_err(Fail::from)
            .and_then(|name| Ok((name, Landing::open(to, force)?)));
        Self { given: given.to_owned(), place }
    }
}

impl Session {
    /// Fetches the first of `wanted`, and says what became of it. All of them, [`ASKED_MAX`] at most,
    /// are asked for at once, and then come without a word more; over a connection that breaks off they
    /// are asked for again, the file that broke off from its start.
    pub(super) async fn fetch(&mut self, wanted: &mut VecDeque<Wanted>) -> Option<Fetched> {
        let Wanted { given, place } = wanted.pop_front()?;
        let started = Instant::now();
        let outcome = match place {
            Ok((name, landing)) => self.fetch_one(&name, landing, wanted).await,
            Err(fail) => Err(fail),
        };
        Some(Fetched { given, started, outcome })
    }

    async fn fetch_one(
        &mut self,
        name: &Name,
        mut landing: Landing,
        others: &VecDeque<Wanted>,
    ) -> Result<u64, Fail> {
        let mut bar = Bar::new(name.as_str());
        let mut progress = |moved: Moved| {
            bar.update(Progress::Downloading { got: moved.bytes, total: moved.total });
        };
        let mut attempt = 1;
        let taken = loop {
            match self.take(name, &mut landing, others, &mut progress).await {
                Err(error) if error.may_be_retried() && attempt < ATTEMPTS_MAX => {
                    attempt += 1;
                    term::warn(&format!("{error}; trying again from the start"));
                }
                taken => break taken,
            }
        };
        bar.clear();
        taken?;
        landing.land()
    }

    async fn take(
        &mut self,
        name: &Name,
        landing: &mut Landing,
        others: &VecDeque<Wanted>,
        progress: &mut dyn FnMut(Moved),
    ) -> Result<u64, StoreClientError> {
        let kept = self.connection.take_if(|_| self.asked > 0);
        let mut connection = if let Some(connection) = kept {
            connection
        } else {
            let mut connection = self.connect().await?;
            let others = others.iter().filter_map(|wanted| Some(&wanted.place.as_ref().ok()?.0));
            let names: Vec<_> = std::iter::once(name).chain(others).take(ASKED_MAX).collect();
            self.asked = names.len();
            connection.ask_for(names.into_iter()).await?;
            connection
        };
        self.asked -= 1;
        landing.empty().map_err(StoreClientError::Local)?;
        let taken = connection.take(landing.file(), progress).await;
        if taken.as_ref().err().is_none_or(StoreClientError::is_whole_answer) {
            self.connection = Some(connection);
        } else {
            self.asked = 0;
        }
        taken
    }
}
