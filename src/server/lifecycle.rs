//! The phases of a server, as told by one place and heard by all threads.

use tokio::sync::watch;

/// Where a server is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Requests are taken.
    Serving,
    /// Requests are still taken, and whoever asks is told to go elsewhere.
    Leaving,
    /// No more are taken; those in flight go on.
    Draining,
    /// Everything ends at once.
    Stopped,
}

/// Tells the threads of a server when to end. Phases only go forward.
#[derive(Debug, Clone)]
pub struct Lifecycle(watch::Sender<Phase>);

/// Hears the phases of one or more servers.
#[derive(Debug, Clone)]
pub struct Stop {
    sender: watch::Sender<Phase>,
    receiver: watch::Receiver<Phase>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self(watch::Sender::new(Phase::Serving))
    }
}

impl Lifecycle {
    /// Goes on to `phase`, unless a later one is reached.
    pub fn request(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let later = phase > *now;
            *now = phase.max(*now);
            later
        });
    }

    /// What a server listens to.
    #[must_use]
    pub fn stop(&self) -> Stop {
        Stop { sender: self.0.clone(), receiver: self.0.subscribe() }
    }
}

impl Stop {
    /// Where the server is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.receiver.borrow()
    }

    /// A server that fails takes the others of its process along.
    pub(crate) fn request(&self, phase: Phase) {
        Lifecycle(self.sender.clone()).request(phase);
    }

    /// Waits for `phase` or a later one.
    pub async fn reached(&mut self, phase: Phase) {
        // The sender is part of `self`, so that the wait cannot fail.
        let _ = self.receiver.wait_for(|now| *now >= phase).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_only_go_forward() {
        let life = Lifecycle::default();
        let stop = life.stop();
        assert_eq!(stop.phase(), Phase::Serving);
        life.request(Phase::Stopped);
        life.request(Phase::Draining);
        assert_eq!(stop.phase(), Phase::Stopped);
    }
}
