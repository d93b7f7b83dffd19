//! The memory that a child shares with its parent: the body on its way in, the result on its way out.
//!
//! Each child has an arena of its own, so that it sees no other's jobs. The parent reaches it by
//! reads and writes alone and maps nothing: whatever a child does to the arena, the parent gets bytes
//! or an error, never a fault. It copies a result out before it uses it, since the child could still
//! change it; a seal instead would need fresh memory for each job, and fresh pages cost more than the
//! copy (`docs/isolation.md` has the figures).
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

/// What of an arena stays in memory between two jobs: most photos and most of their results. Beyond
/// it pages go back to the kernel.
const KEPT_BYTES: u64 = 4 * 1024 * 1024;

static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// An arena, as the parent holds it.
pub(super) struct Arena {
    file: OwnedFd,
    bytes: u64,
    /// What the present job has written at most, by either side.
    used: u64,
}

impl Arena {
    /// An arena of `bytes`. It takes memory where it is written, and only there.
    pub(super) fn new(bytes: u64) -> io::Result<Self> {
        let file = memory_file("fxsrv", bytes)?;
        // Beside the filter of system calls, and only for tidiness: the parent maps nothing.
        let _ = rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW);
        Ok(Self { file, bytes, used: 0 })
    }

    /// Its size.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What the child is given.
    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Puts `parts` at its start, one after another.
    pub(super) fn write(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let mut at = 0;
        for part in parts {
            write_at(&self.file, part, at)?;
            at += part.len() as u64;
            self.used = self.used.max(at);
        }
        Ok(())
    }

    /// A copy of what the child has put there: `bytes` from the start.
    pub(super) fn read(&mut self, bytes: u64) -> io::Result<Vec<u8>> {
        self.used = self.used.max(bytes);
        let wanted = usize::try_from(bytes).map_err(|_| Errno::NOMEM)?;
        let mut copy = Vec::new();
        copy.try_reserve_exact(wanted).map_err(|_| Errno::NOMEM)?;
        while copy.len() < wanted {
            let at = copy.len() as u64;
            // It has exactly the room that is left, or more.
            let read = rustix::io::pread(&self.file, rustix::buffer::spare_capacity(&mut copy), at);
            match read {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        copy.truncate(wanted);
        Ok(copy)
    }

    /// Wipes the job that is over: zeros over what stays, and the rest back to the kernel.
    pub(super) fn wipe(&mut self) -> io::Result<()> {
        let kept = self.used.min(KEPT_BYTES);
        let mut at = 0;
        while at < kept {
            let piece = (kept - at).min(ZEROS.len() as u64);
            // At most the length of the zeros.
            #[allow(clippy::cast_possible_truncation)]
            write_at(&self.file, &ZEROS[..piece as usize], at)?;
            at += piece;
        }
        if self.used > KEPT_BYTES {
            self.empty_from(KEPT_BYTES)?;
        }
        self.used = 0;
        Ok(())
    }

    /// Gives back what stays between jobs too.
    pub(super) fn empty(&self) -> io::Result<()> {
        self.empty_from(0)
    }

    fn empty_from(&self, start: u64) -> io::Result<()> {
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let bytes = self.bytes.saturating_sub(start);
        Ok(rustix::fs::fallocate(&self.file, hole, start, bytes)?)
    }
}

/// A file of `bytes` in memory, which it takes where it is written, and which can be sealed.
pub(super) fn memory_file(name: &str, bytes: u64) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        // A kernel before 6.3 does not know the flag.
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags)?,
        made => made?,
    };
    rustix::fs::ftruncate(&file, bytes)?;
    Ok(file)
}

/// Writes all of `bytes` at `offset`.
pub(super) fn write_at(file: impl AsFd, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(&file, bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// An arena, as its child holds it: mapped to read, and written through its descriptor, so that no
/// reference to it is ever one to change it by.
pub(super) struct Mapped {
    file: OwnedFd,
    view: View,
}

/// Memory of a file, mapped to be read.
pub(super) struct View {
    start: NonNull<u8>,
    bytes: usize,
}

impl Mapped {
    /// Maps the arena whose descriptor the parent has sent.
    pub(super) fn new(file: OwnedFd, bytes: u64) -> io::Result<Self> {
        let view = View::new(&file, bytes, MapFlags::SHARED)?;
        Ok(Self { file, view })
    }

    /// The first `bytes`, where it has so many. The parent writes nothing while a job is on, and never
    /// shrinks an arena.
    pub(super) fn head(&self, bytes: usize) -> Option<&[u8]> {
        self.view.head(bytes)
    }

    /// Puts a result at the start.
    pub(super) fn write(&mut self, result: &[u8]) -> io::Result<()> {
        if result.len() > self.view.bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        write_at(&self.file, result, 0)
    }
}

impl View {
    /// Maps a file whose size and contents its seals keep as they are.
    pub(super) fn of_sealed(file: &OwnedFd, bytes: u64) -> io::Result<Self> {
        // A kernel before 6.7 does not share what is sealed. Nobody writes, so that it is one either way.
        Self::new(file, bytes, MapFlags::PRIVATE)
    }

    fn new(file: &OwnedFd, bytes: u64, how: MapFlags) -> io::Result<Self> {
        let bytes = usize::try_from(bytes).map_err(|_| Errno::NOMEM)?;
        let (nowhere, how) = (ptr::null_mut(), how | MapFlags::NORESERVE);
        // SAFETY: a new mapping at a place of the kernel's choice touches nothing that is there.
        let start = unsafe { rustix::mm::mmap(nowhere, bytes, ProtFlags::READ, how, file, 0)? };
        let start = NonNull::new(start.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self { start, bytes })
    }

    /// All of it.
    pub(super) fn whole(&self) -> &[u8] {
        self.head(self.bytes).unwrap_or_default()
    }

    fn head(&self, bytes: usize) -> Option<&[u8]> {
        // SAFETY: the mapping is there for as long as `self`, readable and `self.bytes` long, and the
        // only one who could write to it waits for this process, or is kept from it by seals.
        (bytes <= self.bytes)
            .then(|| unsafe { std::slice::from_raw_parts(self.start.as_ptr(), bytes) })
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: it was mapped so, and every slice of it has borrowed `self`.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn held_bytes(arena: &Arena) -> u64 {
        u64::try_from(rustix::fs::fstat(&arena.file).unwrap().st_blocks).unwrap() * 512
    }

    #[test]
    fn both_sides_see_what_the_other_has_put_there() {
        let mut arena = Arena::new(1 << 30).unwrap();
        assert_eq!(held_bytes(&arena), 0);
        let mut mapped = Mapped::new(arena.file.try_clone().unwrap(), arena.bytes()).unwrap();
        arena.write(&[b"body", b"secret"]).unwrap();
        assert_eq!(mapped.head(10).unwrap(), b"bodysecret");
        mapped.write(b"result").unwrap();
        assert_eq!(arena.read(6).unwrap(), b"result");
        assert!(mapped.head((1 << 30) + 1).is_none());
        assert!(mapped.write(&vec![0; 1 << 20]).is_ok());
    }

    #[test]
    fn nothing_of_a_job_stays() {
        let mut arena = Arena::new(1 << 30).unwrap();
        let body = vec![7; 5 << 20];
        arena.write(&[&body, b"secret"]).unwrap();
        // The child has said that its result is longer than the body was.
        arena.read(6 << 20).unwrap();
        arena.wipe().unwrap();
        assert_eq!(held_bytes(&arena), KEPT_BYTES);
        assert!(arena.read(6 << 20).unwrap().iter().all(|byte| *byte == 0));
        arena.empty().unwrap();
        assert_eq!(held_bytes(&arena), 0);
        assert!(arena.read(6 << 20).unwrap().iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_child_that_claims_more_than_there_is_gets_an_error() {
        let mut arena = Arena::new(4096).unwrap();
        assert_eq!(arena.read(4097).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
