//! Whether the event loops turn: each says so twice a second, and whoever asks hears of the slowest.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::metrics::Registry;

/// How often a loop says that it turns.
const PERIOD: Duration = Duration::from_millis(500);

/// The pulses of a server's threads. Clones share them.
#[derive(Clone)]
pub(super) struct Pulses {
    born: Instant,
    /// Of each loop the moment of its last turn, in milliseconds after `born`.
    turned_ms: Arc<Mutex<Vec<Arc<AtomicU64>>>>,
}

/// Takes its loop from the list when it ends in order.
struct Beating<'a> {
    pulses: &'a Pulses,
    own: Arc<AtomicU64>,
}

impl Pulses {
    pub(super) fn new(metrics: &Registry) -> Self {
        let pulses = Self { born: Instant::now(), turned_ms: Arc::default() };
        let shown = pulses.clone();
        let help = "Time since the slowest event loop turned; it turns twice a second.";
        metrics.gauge("loop_age_ms", help, move || shown.oldest_ms());
        pulses
    }

    /// Beats for this thread's loop, until it is dropped. A loop that dies keeps its last beat.
    pub(super) async fn beat(&self) {
        let own = Arc::new(AtomicU64::new(self.now_ms()));
        self.turned_ms.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&own));
        let beating = Beating { pulses: self, own };
        loop {
            tokio::time::sleep(PERIOD).await;
            beating.own.store(self.now_ms(), Ordering::Relaxed);
        }
    }

    fn oldest_ms(&self) -> u64 {
        let turned_ms = self.turned_ms.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = turned_ms.iter().map(|turned| turned.load(Ordering::Relaxed)).min();
        oldest.map_or(0, |oldest| self.now_ms().saturating_sub(oldest))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Drop for Beating<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let mut all = self.pulses.turned_ms.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|other| !Arc::ptr_eq(other, &self.own));
        }
    }
}
