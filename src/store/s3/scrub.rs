//! Checking all files of a bucket.

use futures_util::StreamExt as _;

use super::Bucket;
use super::bucket::Objects;
use crate::store::name::Name;
use crate::store::{Finding, StoreError};

/// Files that are read at once.
const READS_AT_ONCE: usize = 4;

impl Bucket {
    /// Reads every file, and holds it against its checksum; `tell` hears of each in turn.
    ///
    /// # Errors
    ///
    /// The bucket cannot be listed to its end.
    pub fn scrub<E: From<StoreError>>(
        &self,
        mut tell: impl FnMut(&Name, Finding) -> Result<(), E>,
    ) -> Result<(), E> {
        let objects = &self.objects;
        self.block_on(async {
            let mut checked = objects
                .list()
                .map(|meta| async move {
                    let Some(name) = objects.name_of(&meta?) else { return Ok(None) };
                    let finding = objects.check(&name).await;
                    Ok::<_, StoreError>(Some((name, finding)))
                })
                .buffered(READS_AT_ONCE);
            while let Some(found) = checked.next().await {
                if let Some((name, finding)) = found? {
                    tell(&name, finding)?;
                }
            }
            Ok(())
        })
    }
}

impl Objects {
    async fn check(&self, name: &Name) -> Finding {
        match self.read(name, |_| Ok(())).await {
            Ok(Some(_)) => Finding::Good,
            Ok(None) => Finding::Unchecked,
            Err(error) => Finding::Bad(error),
        }
    }
}
