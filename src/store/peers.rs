//! How many connections each client address has.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Connections by address, over all threads.
#[derive(Debug, Default)]
pub(super) struct Peers(Mutex<HashMap<IpAddr, usize>>);

/// One connection of an address, until it is dropped.
pub(super) struct PeerGuard {
    peers: Arc<Peers>,
    address: IpAddr,
}

impl Peers {
    /// Counts a connection, unless its address has `max` of them.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr, max: usize) -> Option<PeerGuard> {
        let address = address.to_canonical();
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = peers.entry(address).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(PeerGuard { peers: Arc::clone(self), address })
    }
}

impl Drop for PeerGuard {
    fn drop(&mut self) {
        let mut peers = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = peers.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                peers.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_connections_and_no_trace_after() {
        let peers = Arc::new(Peers::default());
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let first = peers.enter(one, 2).unwrap();
        let second = peers.enter("::ffff:192.0.2.1".parse().unwrap(), 2).unwrap();
        assert!(peers.enter(one, 2).is_none());
        assert!(peers.enter(other, 2).is_some());
        drop(first);
        assert!(peers.enter(one, 2).is_some());
        drop(second);
        assert!(peers.0.lock().unwrap().is_empty());
    }
}
