//! GET: a file from the disk to its client.

use std::time::Instant;

use super::StoreError;
use super::backend::Local;
use super::checksum::{Hasher, checksum};
use super::directory::Found;
use super::name::{Name, NameError};
use super::protocol::FileHead;
use super::recent;
use super::service::{Next, Store, log_access, log_refusal};
use crate::io::{BUFFER_BYTES, Buffer, File, read_cached};
use crate::transport::{RECORD_PLAIN_MAX, Stream, StreamError};

/// Room before the data in a buffer: the head stands right in front of the first data, so that both
/// are sealed in one record, which is what a client's single `recv` returns.
pub(super) const HEAD_ROOM: usize = 64;
const _: () = assert!(FileHead::BYTES_MAX <= HEAD_ROOM);

/// Data of one step. It and its head must fit a send window together with what four records add to
/// them, 29 bytes each at most, so that each step is one write: 64 KiB less 1 KiB.
pub(super) const STEP_BYTES: usize = BUFFER_BYTES - 1024;
const _: () = assert!(STEP_BYTES + FileHead::BYTES_MAX <= 4 * RECORD_PLAIN_MAX - 4 * 29);

/// A file on its way out.
struct Reader {
    file: File,
    offset: u64,
    left: u64,
    hasher: Hasher,
    checksum: Option<u128>,
}

impl Store {
    pub(super) async fn get(
        &self,
        local: &Local,
        stream: &mut Stream,
        name: Result<Name, NameError>,
    ) -> Result<Next, StreamError> {
        let started = Instant::now();
        let name = match name {
            Ok(name) => name,
            Err(error) => return self.refuse(stream, "GET", None, &error.into()).await,
        };
        let found = match self.find_sendable(local, &name) {
            Ok(found) => found,
            Err(error) => return self.refuse(stream, "GET", Some(&name), &error).await,
        };
        if let Some(answer) = whole_answer(&name, &found) {
            return match answer {
                Ok(answer) => {
                    stream.queue(&answer).await?;
                    log_access(stream, "GET", Some(&name), found.bytes, started);
                    Ok(Next::Keep)
                }
                Err(error) => self.refuse(stream, "GET", Some(&name), &error).await,
            };
        }
        stream.flush_queued().await?;
        let (limits, bytes) = (local.directory.limits(), found.bytes);
        stream.socket().set_deadline(Some(started + limits.transfer_time(bytes)));
        let [data, send] = self.context.pool.acquire::<2>().await;
        stream.attach_send(send);
        let next = self.send_file(stream, &name, found, data, started).await?;
        stream.socket().set_deadline(None);
        Ok(next)
    }

    /// A stored file whose size the protocol can say. One that was put there by hand may be larger.
    fn find_sendable(&self, local: &Local, name: &Name) -> Result<Found, StoreError> {
        let found = self.recent.find(&local.directory, name)?;
        let max = u64::from(u32::MAX);
        if found.bytes > max {
            return Err(StoreError::TooLarge { bytes: found.bytes, max });
        }
        Ok(found)
    }

    async fn send_file(
        &self,
        stream: &mut Stream,
        name: &Name,
        found: Found,
        mut data: Buffer,
        started: Instant,
    ) -> Result<Next, StreamError> {
        // `find_sendable` has held it against the field.
        let head = FileHead::file(name, u32::try_from(found.bytes).unwrap_or(u32::MAX));
        let mut start = HEAD_ROOM - head.bytes().len();
        data.bytes_mut()[start..HEAD_ROOM].copy_from_slice(head.bytes());
        let mut reader = Reader::new(File::new(self.context.driver, found.file.clone()), &found);
        let (mut read, back) = reader.next(data).await;
        data = back;
        if let Err(error) = &read {
            // Nothing is sent yet: this can still be said.
            return self.refuse(stream, "GET", Some(name), error).await;
        }
        loop {
            let step = match read {
                Ok(step) => step,
                Err(error) => {
                    log_refusal(stream, "GET", Some(name), &error);
                    return Ok(Next::Cut);
                }
            };
            stream.queue(&data.bytes()[start..HEAD_ROOM + step]).await?;
            start = HEAD_ROOM;
            if reader.left == 0 {
                stream.flush().await?;
                log_access(stream, "GET", Some(name), reader.offset, started);
                return Ok(Next::Keep);
            }
            // While this step leaves, the next one comes from the disk.
            let (sent, (next, back)) = tokio::join!(stream.flush(), reader.next(data));
            sent?;
            (read, data) = (next, back);
        }
    }
}

/// The answer with a small file in it, where that is in memory. Most are, and need neither a pooled
/// buffer nor the ring nor another thread.
fn whole_answer(name: &Name, found: &Found) -> Option<Result<Vec<u8>, StoreError>> {
    if found.bytes > recent::FILE_BYTES_MAX {
        return None;
    }
    let (bytes, size) = (usize::try_from(found.bytes).ok()?, u32::try_from(found.bytes).ok()?);
    let head = FileHead::file(name, size);
    let head_bytes = head.bytes().len();
    let mut answer = vec![0; head_bytes + bytes];
    answer[..head_bytes].copy_from_slice(head.bytes());
    match read_cached(&found.file, &mut answer[head_bytes..], 0) {
        Ok(Some(read)) if read == bytes => {}
        // Elsewhere, or cut short since: the long way will see.
        Ok(_) => return None,
        Err(error) => return Some(Err(StoreError::Io(error))),
    }
    let verified = verify(found.checksum, || checksum(&answer[head_bytes..]));
    Some(verified.map(|()| answer))
}

fn verify(stored: Option<u128>, compute: impl FnOnce() -> u128) -> Result<(), StoreError> {
    let Some(stored) = stored else { return Ok(()) };
    let computed = compute();
    if computed == stored { Ok(()) } else { Err(StoreError::Damaged { computed, stored }) }
}

impl Reader {
    fn new(file: File, found: &Found) -> Self {
        let (left, checksum) = (found.bytes, found.checksum);
        Self { file, offset: 0, left, hasher: Hasher::default(), checksum }
    }

    /// Reads the next step behind the room for the head. With the last one the checksum is held
    /// against what was stored, before that step is sent.
    async fn next(&mut self, mut data: Buffer) -> (Result<usize, StoreError>, Buffer) {
        let room = usize::try_from(self.left).unwrap_or(STEP_BYTES).min(STEP_BYTES);
        let mut got = 0;
        while got < room {
            let range = HEAD_ROOM + got..HEAD_ROOM + room;
            let (read, back) = self.file.read_at(data, range, self.offset).await;
            data = back;
            match read {
                Ok(0) => return (Err(StoreError::Short { missing: self.left }), data),
                Ok(bytes) => {
                    got += bytes;
                    self.offset += bytes as u64;
                    self.left -= bytes as u64;
                }
                Err(error) => return (Err(StoreError::Io(error)), data),
            }
        }
        self.hasher.update(&data.bytes()[HEAD_ROOM..HEAD_ROOM + got]);
        let verified = match self.left {
            0 => verify(self.checksum, || self.hasher.finish()),
            _ => Ok(()),
        };
        (verified.map(|()| got), data)
    }
}
