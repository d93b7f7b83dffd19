//! Noticing that a peer leaves while nothing is read from it.
//!
//! A read that waits for the end would be in flight on a ring, and could not be taken back when the
//! answer is there first. So nothing is in flight: the sweep that enforces deadlines asks the kernel, in
//! one call for many sockets that are waited on here. A wait costs a request two stores and no
//! system call, is seen at most one sweep late, and may be dropped at any moment.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use rustix::event::{PollFd, PollFlags, Timespec};

use super::watch::Watched;

/// How a peer leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    /// It sends no more. It may still wait for an answer: what it sent last tells.
    EndsSending,
    /// The connection is over in both directions: by a reset, or by a shutdown of our own.
    Gone,
}

/// Who waits for a peer to leave.
#[derive(Debug, Default)]
pub(super) struct Lookout {
    waker: RefCell<Option<Waker>>,
    /// An end of the sending is known already, and does not count.
    ignores_end: Cell<bool>,
    seen: Cell<Option<Parting>>,
}

/// A wait for a peer to leave.
pub(super) struct Wait<'a>(&'a Lookout);

impl Lookout {
    pub(super) fn wait(&self, ignores_end: bool) -> Wait<'_> {
        self.ignores_end.set(ignores_end);
        self.seen.set(None);
        Wait(self)
    }

    /// Whether somebody waits.
    pub(super) fn is_kept(&self) -> bool {
        self.waker.borrow().is_some()
    }

    /// Tells whoever waits.
    fn tell(&self, flags: PollFlags) {
        let is_gone = flags.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL);
        self.seen.set(Some(if is_gone { Parting::Gone } else { Parting::EndsSending }));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Future for Wait<'_> {
    type Output = Parting;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Parting> {
        if let Some(parting) = self.0.seen.take() {
            return Poll::Ready(parting);
        }
        let mut waker = self.0.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.0.waker.take();
    }
}

/// What the kernel is asked. Errors and hang-ups it tells in any case.
fn interest(socket: &Watched) -> PollFlags {
    let ignores_end = socket.lookout.ignores_end.get() || socket.is_deaf.get();
    if ignores_end { PollFlags::empty() } else { PollFlags::RDHUP }
}

/// What one call asks for: more than mostly wait, and half a KiB of stack.
const ASKED_AT_ONCE: usize = 64;

/// Asks the kernel which of these peers have left. Allocates nothing.
pub(super) fn look(sockets: &[Rc<Watched>]) {
    sockets.chunks(ASKED_AT_ONCE).for_each(look_at_some);
}

fn look_at_some(sockets: &[Rc<Watched>]) {
    let mut polled: [_; ASKED_AT_ONCE] = std::array::from_fn(|place| {
        let socket = &sockets[place.min(sockets.len() - 1)];
        PollFd::new(&socket.stream, interest(socket))
    });
    let polled = &mut polled[..sockets.len()];
    // A failure is made good by the next sweep.
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    if rustix::event::poll(polled, Some(&at_once)).is_err() {
        return;
    }
    for (socket, polled) in sockets.iter().zip(polled) {
        if !polled.revents().is_empty() {
            socket.lookout.tell(polled.revents());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write as _;
    use std::net::Shutdown;
    use std::time::Duration;

    use super::*;
    use crate::io::tests::{accepted, on_both};
    use crate::io::{Buffer, RecvWindow};

    #[test]
    fn an_end_of_sending_is_seen_and_told_from_a_reset() {
        on_both(async |driver, listener, address| {
            let (socket, mut client) = accepted(&listener, address).await;
            client.write_all(b"next").unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(socket.parting(false).await, Parting::EndsSending, "{driver}");
            let mut window = RecvWindow::new(Buffer::heap(16));
            assert_eq!(socket.read_at_once(&mut window).unwrap(), 4);
            assert_eq!(socket.read_at_once(&mut window).unwrap(), 0, "{driver}: nothing is lost");
            socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
            let waits = socket.parting(true);
            drop(client);
            assert_eq!(waits.await, Parting::Gone, "{driver}");
        });
    }

    #[test]
    fn a_peer_that_is_there_is_waited_for_and_a_wait_leaves_nothing() {
        on_both(async |driver, listener, address| {
            let (socket, mut client) = accepted(&listener, address).await;
            client.write_all(b"next").unwrap();
            let waited = tokio::time::timeout(Duration::from_millis(200), socket.parting(false));
            assert!(waited.await.is_err(), "{driver}: bytes are no end");
            let mut window = RecvWindow::new(Buffer::heap(16));
            assert_eq!(socket.read_into(&mut window).await.unwrap(), 4, "{driver}");
            // As a drain ends connections that wait, of which one may have a request by then.
            socket.shutdown(Shutdown::Read);
            let waited = tokio::time::timeout(Duration::from_millis(200), socket.parting(false));
            assert!(waited.await.is_err(), "{driver}: what this side has ended is no parting");
            socket.shutdown(Shutdown::Both);
            assert_eq!(socket.parting(false).await, Parting::Gone, "{driver}");
        });
    }
}
