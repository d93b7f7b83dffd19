//! How much is stored, and how much more may be.

use super::StoreError;
use crate::limits::StoreLimits;

/// Files and bytes that are there, and those on their way: they are counted against the limits
/// before they have arrived, so that two at once cannot exceed what one of them would fill.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    files_coming: u64,
    bytes_coming: u64,
}

impl Usage {
    /// Counts a file that is there.
    pub(super) fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }

    /// Counts anew what is there.
    #[cfg(feature = "s3")]
    pub(super) fn recount(&mut self, files: u64, bytes: u64) {
        (self.files, self.bytes) = (files, bytes);
    }

    /// Takes a place for a file of `bytes` on its way.
    pub(super) fn reserve(
        &mut self,
        bytes: u64,
        is_new: bool,
        limits: &StoreLimits,
    ) -> Result<(), StoreError> {
        if is_new && self.files + self.files_coming >= limits.files_max {
            return Err(StoreError::TooManyFiles { max: limits.files_max });
        }
        let total = self.bytes + self.bytes_coming + bytes;
        if total > limits.total_bytes_max {
            let max = limits.total_bytes_max;
            return Err(StoreError::NoRoom { bytes, over: total - max, max });
        }
        self.files_coming += u64::from(is_new);
        self.bytes_coming += bytes;
        Ok(())
    }

    /// Gives the place back: the file is there, and counted as such, or never will be.
    pub(super) fn release(&mut self, bytes: u64, was_new: bool) {
        self.files_coming -= u64::from(was_new);
        self.bytes_coming -= bytes;
    }

    /// A file of `bytes` is there now, and has replaced one of `old` bytes, if any.
    pub(super) fn publish(&mut self, bytes: u64, old: Option<u64>) {
        self.files += u64::from(old.is_none());
        self.bytes = (self.bytes + bytes).saturating_sub(old.unwrap_or(0));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_its_way_counts() {
        let limits = StoreLimits { files_max: 2, total_bytes_max: 10, ..StoreLimits::default() };
        let mut usage = Usage::default();
        usage.reserve(6, true, &limits).unwrap();
        let error = usage.reserve(5, true, &limits).unwrap_err();
        assert!(matches!(error, StoreError::NoRoom { bytes: 5, over: 1, max: 10 }));
        usage.reserve(4, true, &limits).unwrap();
        let error = usage.reserve(0, true, &limits).unwrap_err();
        assert!(matches!(error, StoreError::TooManyFiles { max: 2 }));
        usage.reserve(0, false, &limits).unwrap();
        usage.publish(6, None);
        usage.release(6, true);
        usage.release(4, true);
        assert_eq!((usage.files, usage.bytes), (1, 6));
        usage.publish(2, Some(6));
        assert_eq!((usage.files, usage.bytes), (1, 2));
        usage.reserve(8, true, &limits).unwrap();
    }
}
