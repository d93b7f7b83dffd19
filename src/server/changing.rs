//! What a server may be told anew while it serves: certificates, tokens, lists.

use std::sync::Arc;

use tokio::sync::watch;

/// A value that is replaced as a whole. Clones see the same one, from any thread.
///
/// To look at it takes a lock that only a change holds for long, once a connection or request.
#[derive(Debug)]
pub struct Changing<T>(watch::Receiver<Arc<T>>);

/// Replaces what a [`Changing`] is.
#[derive(Debug)]
pub struct Changer<T>(watch::Sender<Arc<T>>);

impl<T> Changing<T> {
    /// `first`, and what replaces it.
    #[must_use]
    pub fn new(first: T) -> (Changer<T>, Self) {
        let (sender, receiver) = watch::channel(Arc::new(first));
        (Changer(sender), Self(receiver))
    }

    /// `value` for good.
    #[must_use]
    pub fn fixed(value: T) -> Self {
        Self::new(value).1
    }

    /// What it is now. Whoever holds the answer holds what it was then.
    #[must_use]
    pub fn now(&self) -> Arc<T> {
        Arc::clone(&self.0.borrow())
    }

    /// Waits until it is another than this clone has waited for; for ever where it is fixed.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl<T> Clone for Changing<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Changer<T> {
    /// Replaces it. Nobody has to listen.
    pub fn set(&self, value: T) {
        self.0.send_replace(Arc::new(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clone_sees_the_change_and_what_was_taken_stays() {
        let (changer, first) = Changing::new(1);
        let (second, taken) = (first.clone(), first.now());
        changer.set(2);
        assert_eq!((*first.now(), *second.now(), *taken), (2, 2, 1));
        drop(changer);
        assert_eq!(*second.now(), 2);
    }
}
