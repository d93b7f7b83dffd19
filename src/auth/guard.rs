//! How often an address may show a wrong token.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::tokens::{Denied, Grant, Tokens};
use crate::metrics;

/// Wrong tokens that an address may show in a row: a script that was left with an old token stops
/// before that, and nobody guesses a token by it.
const BURST: u32 = 120;

/// After that, one in this time: a day has 86,400, which finds no token of 6 random letters in a
/// year.
const INTERVAL: Duration = Duration::from_secs(1);

/// Addresses that are remembered: 64 bytes each, 256 KiB in all.
const ADDRESSES_MAX: usize = 4096;

/// Who has shown wrong tokens of late, for all threads of a server.
///
/// An address that has shown too many is not let in with the right one either: else an answer would
/// still tell which it is. Machines behind one address share its fate, and so do the browsers behind
/// a gateway that passes their own tokens on: a server behind one is better without this.
#[derive(Debug)]
pub struct Guard {
    is_on: bool,
    /// For each address the moment from which on it has its whole burst again.
    forgiven_at: Mutex<HashMap<u64, Instant>>,
    /// How many there are, to be read without the lock: mostly none.
    count: AtomicUsize,
}

impl Guard {
    /// A guard that has seen nobody. One that is not `is_on` leaves everything to the tokens.
    #[must_use]
    pub fn new(is_on: bool) -> Self {
        Self { is_on, forgiven_at: Mutex::default(), count: AtomicUsize::new(0) }
    }

    /// What `field` of a request from `address` lets its sender do, by `tokens`. A field without a
    /// token is no try.
    ///
    /// # Errors
    ///
    /// The token is not accepted, or the address has shown too many wrong ones.
    pub fn check(&self, address: IpAddr, field: &[u8], tokens: &Tokens) -> Result<Grant, Denied> {
        if !self.is_on || matches!(tokens, Tokens::Open) || field.iter().all(|byte| *byte == 0) {
            return tokens.check(field);
        }
        let now = Instant::now();
        if let Some(wait) = self.wait(address, now) {
            metrics::count(|here| here.auth_limited.add(1));
            return Err(Denied::Limited { wait });
        }
        tokens.check(field).inspect_err(|denied| {
            if matches!(denied, Denied::Unknown) {
                self.failed(address, now);
            }
        })
    }

    /// How long the address has to wait.
    fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let forgiven_at = self.forgiven_at.lock().unwrap_or_else(PoisonError::into_inner);
        let debt = forgiven_at.get(&prefix(address))?.saturating_duration_since(now);
        debt.checked_sub(INTERVAL * (BURST - 1)).filter(|wait| !wait.is_zero())
    }

    fn failed(&self, address: IpAddr, now: Instant) {
        let mut forgiven_at = self.forgiven_at.lock().unwrap_or_else(PoisonError::into_inner);
        let key = prefix(address);
        if !forgiven_at.contains_key(&key) && forgiven_at.len() >= ADDRESSES_MAX {
            make_room(&mut forgiven_at, now);
        }
        let at = forgiven_at.entry(key).or_insert(now);
        *at = (*at).max(now) + INTERVAL;
        self.count.store(forgiven_at.len(), Ordering::Relaxed);
    }
}

/// Forgets who is forgiven; where nobody is, who is next to be.
fn make_room(forgiven_at: &mut HashMap<u64, Instant>, now: Instant) {
    forgiven_at.retain(|_, at| *at > now);
    if forgiven_at.len() < ADDRESSES_MAX {
        return;
    }
    if let Some(next) = forgiven_at.iter().min_by_key(|(_, at)| **at).map(|(key, _)| *key) {
        forgiven_at.remove(&next);
    }
}

/// What one sender has: an address of version 4, and of version 6 a network of /64.
fn prefix(address: IpAddr) -> u64 {
    match address.to_canonical() {
        // No network of version 6 that is in use begins with 32 zeros.
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => u64::try_from(address.to_bits() >> 64).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Token;
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_that_has_tried_too_often_waits_and_others_do_not() {
        let (guard, now) = (Guard::new(true), Instant::now());
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        for _ in 0..BURST {
            assert_eq!(guard.wait(one, now), None);
            guard.failed(one, now);
        }
        assert_eq!(guard.wait(one, now), Some(INTERVAL));
        assert_eq!(guard.wait(address("::ffff:192.0.2.1"), now), Some(INTERVAL));
        assert_eq!(guard.wait(other, now), None);
        assert_eq!(guard.wait(one, now + INTERVAL), None);
        guard.failed(one, now + INTERVAL);
        assert_eq!(guard.wait(one, now + INTERVAL), Some(INTERVAL));
        assert_eq!(guard.wait(one, now + INTERVAL * BURST), None);
    }

    #[test]
    fn a_network_of_version_6_is_one_sender() {
        let (guard, now) = (Guard::new(true), Instant::now());
        for host in 1..=BURST {
            guard.failed(address(&format!("2001:db8:0:1::{host:x}")), now);
        }
        assert!(guard.wait(address("2001:db8:0:1:ffff::"), now).is_some());
        assert!(guard.wait(address("2001:db8:0:2::1"), now).is_none());
    }

    #[test]
    fn so_many_addresses_are_remembered_and_the_worst_stay() {
        let (guard, now) = (Guard::new(true), Instant::now());
        let bad = address("203.0.113.7");
        for _ in 0..BURST {
            guard.failed(bad, now);
        }
        for host in 0..10_000_u32 {
            guard.failed(IpAddr::V4(host.into()), now);
        }
        assert_eq!(guard.forgiven_at.lock().unwrap().len(), ADDRESSES_MAX);
        assert!(guard.wait(bad, now).is_some());
        guard.failed(address("198.51.100.1"), now + INTERVAL * 1000);
        assert_eq!(guard.forgiven_at.lock().unwrap().len(), 1, "the others are forgiven");
    }

    #[test]
    fn the_right_token_does_not_help_and_none_is_no_try() {
        let (guard, one) = (Guard::new(true), address("192.0.2.1"));
        let tokens = Tokens::Only(vec![Token::parse("right").unwrap()]);
        for _ in 0..2 * BURST {
            assert!(matches!(guard.check(one, &[0; 32], &tokens), Err(Denied::Unknown)));
        }
        assert!(guard.check(one, b"right", &tokens).is_ok());
        for _ in 0..BURST {
            assert!(matches!(guard.check(one, b"wrong", &tokens), Err(Denied::Unknown)));
        }
        assert!(matches!(guard.check(one, b"right", &tokens), Err(Denied::Limited { .. })));
        assert!(guard.check(one, b"wrong", &Tokens::Open).is_ok());
        let off = Guard::new(false);
        for _ in 0..2 * BURST {
            assert!(off.check(one, b"wrong", &tokens).is_err());
        }
        assert!(off.check(one, b"right", &tokens).is_ok());
    }
}
