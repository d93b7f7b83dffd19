//! How a job is called off from another thread.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::net::Shutdown;

/// Holds a job for whoever may call it off.
///
/// The thread that has it waits for its child's answer. That wait ends when their socket is shut down,
/// which costs no descriptor and no call where nobody calls anything off.
#[derive(Default)]
pub struct Leash(Mutex<Hold>);

#[derive(Default)]
enum Hold {
    /// No child has it.
    #[default]
    Free,
    /// The child at the other end of this socket has it.
    Held(Arc<OwnedFd>),
    CalledOff,
}

impl Leash {
    /// Calls the job off. A child that has it is killed by the thread that waits for it; no child is
    /// given it from here on.
    pub fn call_off(&self) {
        let mut hold = self.lock();
        if let Hold::Held(socket) = &*hold {
            // Of a child that is gone already there is nothing to end.
            let _ = rustix::net::shutdown(socket, Shutdown::Both);
        }
        *hold = Hold::CalledOff;
    }

    /// A child is about to have the job; `false` where nobody wants it any more.
    pub(super) fn hold(&self, socket: Arc<OwnedFd>) -> bool {
        let mut hold = self.lock();
        let is_wanted = !matches!(*hold, Hold::CalledOff);
        if is_wanted {
            *hold = Hold::Held(socket);
        }
        is_wanted
    }

    /// The child has it no more; `false` where it was called off, and the socket is shut down. From
    /// here on that cannot happen: the child may have another's job.
    pub(super) fn let_go(&self) -> bool {
        let mut hold = self.lock();
        let is_wanted = !matches!(*hold, Hold::CalledOff);
        if is_wanted {
            *hold = Hold::Free;
        }
        is_wanted
    }

    /// Nothing can be left half done under it.
    fn lock(&self) -> MutexGuard<'_, Hold> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};

    use super::*;

    fn pair() -> (Arc<OwnedFd>, OwnedFd) {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        (Arc::new(ours), theirs)
    }

    #[test]
    fn who_waits_for_an_answer_hears_that_its_job_is_called_off() {
        let (leash, (socket, _theirs)) = (Arc::new(Leash::default()), pair());
        assert!(leash.hold(Arc::clone(&socket)));
        let waits = std::thread::spawn(move || recv(&*socket, &mut [0; 8], RecvFlags::empty()));
        leash.call_off();
        assert_eq!(waits.join().unwrap().unwrap().0, 0);
        assert!(!leash.let_go());
        assert!(!leash.hold(pair().0), "no other child is given it");
    }

    #[test]
    fn a_child_that_has_another_job_is_left_alone() {
        let (leash, (socket, theirs)) = (Leash::default(), pair());
        assert!(leash.hold(Arc::clone(&socket)) && leash.let_go());
        leash.call_off();
        assert_eq!(rustix::io::write(&theirs, b"well").unwrap(), 4);
        assert_eq!(recv(&*socket, &mut [0; 8], RecvFlags::DONTWAIT).unwrap().0, 4);
    }
}
