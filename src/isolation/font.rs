//! A font that conversions share: memory that was filled once, and that nobody can write to or shorten
//! any more. The children of a pool map it before they close themselves off, and hold no file.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::SealFlags;
use rustix::io::Errno;

use super::arena::{memory_file, write_at};
use crate::convert::FontData;

/// A font for children, or for threads. Clones are the same memory.
#[derive(Debug, Clone)]
pub struct Font(Arc<Sealed>);

#[derive(Debug)]
struct Sealed {
    file: OwnedFd,
    place: Place,
}

/// What a child is told of a font, beside its descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) bytes: u64,
    /// Which font of a collection.
    pub(super) index: u32,
}

impl Font {
    /// Copies `font` into memory of its own.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub fn share(font: FontData<'_>) -> io::Result<Self> {
        let bytes = font.bytes.len() as u64;
        let file = memory_file("fxsrv-font", bytes)?;
        write_at(&file, font.bytes, 0)?;
        let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals)?;
        Ok(Self(Arc::new(Sealed { file, place: Place { bytes, index: font.index } })))
    }

    /// A copy for conversions in this process.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let wanted = usize::try_from(self.0.place.bytes).map_err(|_| Errno::NOMEM)?;
        let mut copy = Vec::new();
        copy.try_reserve_exact(wanted).map_err(|_| Errno::NOMEM)?;
        copy.resize(wanted, 0);
        let mut filled = 0;
        while filled < wanted {
            match rustix::io::pread(&self.0.file, &mut copy[filled..], filled as u64) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => filled += read,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(copy)
    }

    /// Which font of a collection it is.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.0.place.index
    }

    pub(super) fn place(&self) -> Place {
        self.0.place
    }

    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.0.file.as_fd()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::isolation::arena::View;

    #[test]
    fn a_shared_font_is_read_and_never_written() {
        let bytes = vec![7; 100_000];
        let font = Font::share(FontData { bytes: &bytes, index: 3 }).unwrap();
        assert_eq!((font.read().unwrap(), font.index()), (bytes.clone(), 3));
        let file = font.0.file.try_clone().unwrap();
        let view = View::of_sealed(&file, font.place().bytes).unwrap();
        assert_eq!(view.whole(), bytes);
        assert_eq!(rustix::io::pwrite(&file, b"x", 0), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&file, 1), Err(Errno::PERM));
        drop((font, file));
        assert_eq!(view.whole(), bytes);
    }
}
