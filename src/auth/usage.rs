//! How much of a token's rate and places is used.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::rules::Rules;

/// What the requests of one token use together. It outlives a reload of the list.
#[derive(Debug, Default)]
pub(super) struct Usage(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    running: u32,
    /// When the bucket of requests would be full, if none came: a number that says both how many are
    /// left and when they were counted (the generic cell rate algorithm).
    full_at: Option<Instant>,
}

/// A conversion of a token, until it is dropped.
#[derive(Debug)]
pub struct Place(Option<Arc<Usage>>);

/// A request is more than its token may ask for now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TooMuch {
    /// By how much.
    pub message: String,
    /// When to come back.
    pub retry_after: Duration,
}

/// When a place of a token is worth asking for again: nobody knows how long its others take.
const PLACE_RETRY_AFTER: Duration = Duration::from_millis(500);

impl Place {
    /// Of a token without limits.
    pub(super) fn unlimited() -> Self {
        Self(None)
    }
}

impl Usage {
    /// Counts a request that comes `now`, unless it is one too many.
    pub(super) fn enter(self: &Arc<Self>, rules: &Rules, now: Instant) -> Result<Place, TooMuch> {
        let mut state = self.lock();
        if let Some(max) = rules.concurrency.filter(|max| state.running >= *max) {
            return Err(TooMuch {
                message: format!("the token has {max} conversions on their way, its most"),
                retry_after: PLACE_RETRY_AFTER,
            });
        }
        if let Some(rate) = rules.rate {
            let each = rate.period / rate.requests;
            let full_at = state.full_at.filter(|full_at| *full_at > now).unwrap_or(now) + each;
            if let Some(wait) =
                (full_at - now).checked_sub(rate.period).filter(|wait| !wait.is_zero())
            {
                let message = format!("the token is for {rate} requests, and this is one more");
                return Err(TooMuch { message, retry_after: wait });
            }
            state.full_at = Some(full_at);
        }
        state.running += 1;
        Ok(Place(Some(Arc::clone(self))))
    }

    /// Conversions on their way.
    pub(super) fn running(&self) -> u32 {
        self.lock().running
    }

    /// Numbers under a lock are no less true after a panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(usage) = &self.0 {
            usage.lock().running -= 1;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_once_and_no_more() {
        let (usage, now) = (Arc::new(Usage::default()), Instant::now());
        let rules = Rules { concurrency: Some(2), ..Rules::default() };
        let first = usage.enter(&rules, now).unwrap();
        let _second = usage.enter(&rules, now).unwrap();
        let refused = usage.enter(&rules, now).unwrap_err();
        assert_eq!(refused.retry_after, PLACE_RETRY_AFTER);
        drop(first);
        assert_eq!(usage.running(), 1);
        assert!(usage.enter(&rules, now).is_ok());
    }

    #[test]
    fn a_rate_lets_a_burst_through_and_then_one_after_the_other() {
        let (usage, now) = (Arc::new(Usage::default()), Instant::now());
        let rules = Rules { rate: Some("4/m".parse().unwrap()), ..Rules::default() };
        let at = |seconds: u64| usage.enter(&rules, now + Duration::from_secs(seconds));
        for _ in 0..4 {
            assert!(at(0).is_ok());
        }
        assert_eq!(at(0).unwrap_err().retry_after, Duration::from_secs(15));
        assert_eq!(at(10).unwrap_err().retry_after, Duration::from_secs(5));
        assert!(at(15).is_ok());
        assert!(at(15).is_err());
        for _ in 0..4 {
            assert!(at(600).is_ok(), "a bucket holds no more than itself");
        }
        assert!(at(600).is_err());
    }
}
