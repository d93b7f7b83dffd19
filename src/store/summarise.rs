//! SUMMARY: a file of numbers, read on a thread of its own, to three lines of text.

use std::os::unix::fs::FileExt as _;
use std::time::Instant;

use super::checksum::{Hasher, verify};
use super::directory::Found;
use super::name::{Name, NameError};
use super::numbers::{Summariser, Summary};
use super::protocol::FileHead;
use super::service::{Next, Store, log_access};
use super::{StoreError, SummaryForm};
use crate::transport::{Stream, StreamError};

/// One read. Larger ones leave the second-level cache, smaller ones make more system calls.
const READ_BYTES: usize = 256 * 1024;

impl Store {
    pub(super) async fn summary(
        &self,
        stream: &mut Stream,
        name: Result<Name, NameError>,
    ) -> Result<Next, StreamError> {
        let started = Instant::now();
        let name = match name {
            Ok(name) => name,
            Err(error) => return self.refuse(stream, "SUMMARY", None, &error.into()).await,
        };
        let text = match self.shared.backend.summarise(&name).await {
            Ok(summary) => summary.text(),
            Err(error) => return self.refuse(stream, "SUMMARY", Some(&name), &error).await,
        };
        if self.shared.config.summary == SummaryForm::File {
            // Three numbers of 24 characters at most, and their names.
            let bytes = u32::try_from(text.len()).unwrap_or(u32::MAX);
            let head = FileHead::summary(&name.of_summary(), bytes);
            stream.write_all(&[head.bytes(), text.as_bytes()].concat()).await?;
        } else {
            stream.write_all(text.as_bytes()).await?;
        }
        log_access(stream, "SUMMARY", Some(&name), text.len() as u64, started);
        Ok(Next::Keep)
    }
}

pub(super) fn summarise(found: &Found) -> Result<Summary, StoreError> {
    let mut block = vec![0; READ_BYTES];
    let (mut summariser, mut hasher, mut offset) = (Summariser::default(), Hasher::default(), 0);
    while offset < found.bytes {
        let read = found.file.read_at(&mut block, offset).map_err(StoreError::Io)?;
        if read == 0 {
            return Err(StoreError::Short { missing: found.bytes - offset });
        }
        summariser.push(&block[..read])?;
        hasher.update(&block[..read]);
        offset += read as u64;
    }
    verify(found.checksum, || hasher.finish())?;
    Ok(summariser.finish()?)
}
