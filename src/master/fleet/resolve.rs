//! The addresses behind a name, looked up again and again.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use tokio::sync::mpsc;

use super::WORKERS_MAX;
use crate::client::Address;

/// How a name becomes addresses; tests have their own.
pub(super) type Lookup = fn(&Address) -> io::Result<Vec<SocketAddr>>;

/// The system's way: /etc/hosts, DNS, and what else nsswitch.conf names. It hands out no TTL, which
/// is why names are looked up by a period.
pub(super) fn system(name: &Address) -> io::Result<Vec<SocketAddr>> {
    (name.host(), name.port()).to_socket_addrs().map(Iterator::collect)
}

/// The addresses of one name, as they change.
pub(super) struct Resolver {
    told: mpsc::Receiver<Vec<SocketAddr>>,
    first: Option<Vec<SocketAddr>>,
}

impl Resolver {
    /// Looks `name` up every `period` on a thread of its own. A look-up may hang for as long as the
    /// system's resolver likes, and cannot be taken back: the thread is left behind at the end.
    ///
    /// The first answer is waited for, so that a master that serves has workers, if only for
    /// `patience`.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub(super) fn start(
        name: Address,
        period: Duration,
        patience: Duration,
        lookup: Lookup,
    ) -> io::Result<Self> {
        let (tell, told) = mpsc::channel(1);
        let (tell_first, first) = std::sync::mpsc::channel();
        let look = move || {
            let (mut known, mut failing) = (Vec::new(), false);
            let mut tell_first = Some(tell_first);
            loop {
                let found = lookup(&name).map(in_order);
                let changed = take_in(&name, found, &mut known, &mut failing);
                if let Some(first) = tell_first.take() {
                    // Whoever waited may have lost patience; the next look-up tells it then.
                    if first.send(known.clone()).is_err() {
                        known.clear();
                    }
                } else if changed && tell.blocking_send(known.clone()).is_err() {
                    return;
                }
                if tell.is_closed() {
                    return;
                }
                std::thread::sleep(period);
            }
        };
        std::thread::Builder::new().name("resolver".into()).spawn(look)?;
        Ok(Self { told, first: first.recv_timeout(patience).ok() })
    }

    /// What the first look-up found, if it was in time.
    pub(super) fn first(&mut self) -> Vec<SocketAddr> {
        self.first.take().unwrap_or_default()
    }

    /// The next list that differs from the one before.
    pub(super) async fn changed(&mut self) -> Vec<SocketAddr> {
        match self.told.recv().await {
            Some(addresses) => addresses,
            None => std::future::pending().await,
        }
    }
}

/// Takes a look-up into what is `known`; whether that is news. A look-up that fails, or finds
/// nothing, changes nothing: a resolver that is down must not take the fleet with it, and workers
/// that are really gone are found out by their checks.
fn take_in(
    name: &Address,
    found: io::Result<Vec<SocketAddr>>,
    known: &mut Vec<SocketAddr>,
    failing: &mut bool,
) -> bool {
    let reason = match found {
        Ok(addresses) if !addresses.is_empty() => {
            if std::mem::take(failing) {
                tracing::info!(%name, "the name of the workers is resolved again");
            }
            let is_news = *known != addresses;
            *known = addresses;
            return is_news;
        }
        Ok(_) => "it has no address".to_owned(),
        Err(error) => error.to_string(),
    };
    if !std::mem::replace(failing, true) {
        let kept = known.len();
        tracing::warn!(%name, reason, kept, "the name of the workers is not resolved");
    }
    false
}

/// In one order however they come, each once, and no more than a master can have.
fn in_order(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.len() > WORKERS_MAX {
        tracing::warn!(
            found = addresses.len(),
            WORKERS_MAX,
            "too many workers; the rest is left out"
        );
        addresses.truncate(WORKERS_MAX);
    }
    addresses
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_order_of_an_answer_is_no_news() {
        let name = "workers:1".parse().unwrap();
        let (mut known, mut failing) = (Vec::new(), false);
        let mut hear = |found| take_in(&name, Ok(in_order(found)), &mut known, &mut failing);
        assert!(hear(addresses(&["10.0.0.2:1", "10.0.0.1:1"])));
        assert!(!hear(addresses(&["10.0.0.1:1", "10.0.0.2:1", "10.0.0.1:1"])));
        assert!(hear(addresses(&["10.0.0.1:1"])));
    }

    #[test]
    fn a_look_up_that_fails_or_finds_nothing_changes_nothing() {
        let name = "workers:1".parse().unwrap();
        let (mut known, mut failing) = (addresses(&["10.0.0.1:1"]), false);
        let refused = Err(io::Error::other("no such name"));
        assert!(!take_in(&name, refused, &mut known, &mut failing));
        assert!(!take_in(&name, Ok(Vec::new()), &mut known, &mut failing));
        assert_eq!((known.clone(), failing), (addresses(&["10.0.0.1:1"]), true));
        let other = addresses(&["10.0.0.9:1"]);
        assert!(take_in(&name, Ok(other.clone()), &mut known, &mut failing));
        assert_eq!((known, failing), (other, false));
    }

    #[test]
    fn a_resolver_tells_what_changes_and_no_more() {
        /// Each look-up pops the next answer, and the last one stays.
        static ANSWERS: std::sync::Mutex<Vec<&[&str]>> = std::sync::Mutex::new(Vec::new());
        *ANSWERS.lock().unwrap() =
            vec![&["10.0.0.3:1"], &["10.0.0.2:1", "10.0.0.1:1"], &["10.0.0.1:1"], &["10.0.0.1:1"]];
        let lookup: Lookup = |_| {
            let mut answers = ANSWERS.lock().unwrap();
            let next = if answers.len() > 1 { answers.pop() } else { answers.last().copied() };
            Ok(addresses(next.unwrap()))
        };
        let name = "workers:1".parse().unwrap();
        let period = Duration::from_millis(1);
        let mut resolver = Resolver::start(name, period, Duration::from_secs(30), lookup).unwrap();
        assert_eq!(resolver.first(), addresses(&["10.0.0.1:1"]));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let next = |resolver: &mut Resolver| runtime.block_on(resolver.changed());
        assert_eq!(next(&mut resolver), addresses(&["10.0.0.1:1", "10.0.0.2:1"]));
        assert_eq!(next(&mut resolver), addresses(&["10.0.0.3:1"]));
    }
}
