//! GET: a file from where it is kept to its client.

use std::ops::Range;
use std::time::Instant;

use super::StoreError;
use super::backend::{Backend, Local};
use super::checksum::{Hasher, checksum, verify};
use super::directory::Found;
use super::name::{Name, NameError};
use super::protocol::FileHead;
use super::recent::{FILE_BYTES_MAX, Looked};
use super::service::{Next, Store, log_access, log_refusal};
use crate::io::{BUFFER_BYTES, Buffer, File, read_cached};
use crate::transport::{RECORD_PLAIN_MAX, Stream, StreamError};

/// Room before the data in a buffer: the head stands right in front of the first data, so that both
/// are sealed in one record, which is what a client's single `recv` returns.
const HEAD_ROOM: usize = 64;
const _: () = assert!(FileHead::BYTES_MAX <= HEAD_ROOM);

/// Data of one step. It and its head must fit a send window together with what four records add to
/// them, 29 bytes each at most, so that each step is one write: 64 KiB less 1 KiB.
const STEP_BYTES: usize = BUFFER_BYTES - 1024;
const _: () = assert!(STEP_BYTES + FileHead::BYTES_MAX <= 4 * RECORD_PLAIN_MAX - 4 * 29);

/// A file that comes step by step, from wherever it is kept.
pub(super) trait Content {
    /// Its size.
    fn bytes(&self) -> u64;

    /// What its content should hash to, where that was stored.
    fn checksum(&self) -> Option<u128>;

    /// Fills `room` of `data` with what comes next, all of which must be part of the file.
    async fn fill(&mut self, data: Buffer, room: Range<usize>) -> (Result<(), StoreError>, Buffer);
}

/// What a file is sent through: a block that it is read into, and one that its records are sealed
/// into.
struct Blocks {
    data: Buffer,
    /// `None`: it is taken once there is something to send.
    sealed: Option<Buffer>,
}

/// A file on its way out.
struct Reader<C> {
    content: C,
    head: FileHead,
    left: u64,
    hasher: Hasher,
}

/// A file of this machine, read by the thread's driver.
struct Stored {
    file: File,
    offset: u64,
    bytes: u64,
    checksum: Option<u128>,
}

impl Store {
    pub(super) async fn get(
        &self,
        stream: &mut Stream,
        name: Result<Name, NameError>,
    ) -> Result<Next, StreamError> {
        let started = Instant::now();
        let name = match name {
            Ok(name) => name,
            Err(error) => return self.refuse(stream, "GET", None, &error.into()).await,
        };
        match &self.shared.backend {
            Backend::Local(local) => self.get_stored(local, stream, &name, started).await,
            #[cfg(feature = "s3")]
            Backend::Bucket(bucket) => match bucket.fetch(&name).await {
                Ok(file) => {
                    // Beside the pool, as the pieces on their way are: it waits for a bucket as long
                    // as those do.
                    let blocks = Blocks { data: Buffer::heap(BUFFER_BYTES), sealed: None };
                    self.send(stream, &name, file, blocks, started).await
                }
                Err(error) => self.refuse(stream, "GET", Some(&name), &error).await,
            },
        }
    }

    async fn get_stored(
        &self,
        local: &Local,
        stream: &mut Stream,
        name: &Name,
        started: Instant,
    ) -> Result<Next, StreamError> {
        let found = match self.recent.find(&local.directory, name) {
            Ok(Looked::Answer(answer)) => return queue(stream, name, &answer, started).await,
            Ok(Looked::File(found)) => found,
            Err(error) => return self.refuse(stream, "GET", Some(name), &error).await,
        };
        if let Some(answer) = whole_answer(name, &found) {
            return match answer {
                Ok(answer) => {
                    self.recent.keep_answer(name, &found, &answer);
                    queue(stream, name, &answer, started).await
                }
                Err(error) => self.refuse(stream, "GET", Some(name), &error).await,
            };
        }
        stream.flush_queued().await?;
        let file = File::new(self.context.driver, found.file.clone());
        let (bytes, checksum) = (found.bytes, found.checksum);
        let stored = Stored { file, offset: 0, bytes, checksum };
        // Both at once: taken one by one they could deadlock.
        let [data, sealed] = self.context.pool.acquire::<2>().await;
        self.send(stream, name, stored, Blocks { data, sealed: Some(sealed) }, started).await
    }

    /// Sends a file: whole, or not to its end.
    async fn send<C: Content>(
        &self,
        stream: &mut Stream,
        name: &Name,
        content: C,
        blocks: Blocks,
        started: Instant,
    ) -> Result<Next, StreamError> {
        let time = self.shared.backend.limits().transfer_time(content.bytes());
        stream.socket().set_deadline(Some(started + time));
        let next = match Reader::new(name, content) {
            Ok(reader) => self.send_steps(stream, name, reader, blocks, started).await?,
            Err(error) => self.refuse(stream, "GET", Some(name), &error).await?,
        };
        stream.socket().set_deadline(None);
        Ok(next)
    }

    async fn send_steps<C: Content>(
        &self,
        stream: &mut Stream,
        name: &Name,
        mut reader: Reader<C>,
        Blocks { mut data, sealed }: Blocks,
        started: Instant,
    ) -> Result<Next, StreamError> {
        let mut start = reader.put_head(&mut data);
        let (mut read, mut data) = reader.next(data).await;
        if let Err(error) = &read {
            // Nothing is sent yet: this can still be said.
            return self.refuse(stream, "GET", Some(name), error).await;
        }
        let [sealed] = match sealed {
            Some(sealed) => [sealed],
            None => self.context.pool.acquire::<1>().await,
        };
        stream.attach_send(sealed);
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
                log_access(stream, "GET", Some(name), reader.content.bytes(), started);
                return Ok(Next::Keep);
            }
            // While this step leaves, the next one comes.
            let (sent, (next, back)) = tokio::join!(stream.flush(), reader.next(data));
            sent?;
            (read, data) = (next, back);
        }
    }
}

/// Answers with others, where more requests are here.
async fn queue(
    stream: &mut Stream,
    name: &Name,
    answer: &[u8],
    started: Instant,
) -> Result<Next, StreamError> {
    stream.queue(answer).await?;
    let head_bytes = FileHead::bytes_with(name);
    log_access(stream, "GET", Some(name), (answer.len() - head_bytes) as u64, started);
    Ok(Next::Keep)
}

/// The answer with a small file in it, where that is in memory. Most are, and need neither a pooled
/// buffer nor the ring nor another thread.
fn whole_answer(name: &Name, found: &Found) -> Option<Result<Vec<u8>, StoreError>> {
    if found.bytes > FILE_BYTES_MAX {
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

impl<C: Content> Reader<C> {
    /// A file whose size the protocol can say: one that others have put there may be larger.
    fn new(name: &Name, content: C) -> Result<Self, StoreError> {
        let bytes = content.bytes();
        let max = u64::from(u32::MAX);
        let size = u32::try_from(bytes).map_err(|_| StoreError::TooLarge { bytes, max })?;
        let head = FileHead::file(name, size);
        Ok(Self { content, head, left: bytes, hasher: Hasher::default() })
    }

    /// Puts the head in front of where the data will be, and says where it begins.
    fn put_head(&self, data: &mut Buffer) -> usize {
        let head = self.head.bytes();
        let start = HEAD_ROOM - head.len();
        data.bytes_mut()[start..HEAD_ROOM].copy_from_slice(head);
        start
    }

    /// Reads the next step behind the room for the head. With the last one the checksum is held
    /// against what was stored, before that step is sent.
    async fn next(&mut self, data: Buffer) -> (Result<usize, StoreError>, Buffer) {
        let step = usize::try_from(self.left).unwrap_or(STEP_BYTES).min(STEP_BYTES);
        let room = HEAD_ROOM..HEAD_ROOM + step;
        let (filled, data) = self.content.fill(data, room.clone()).await;
        if let Err(error) = filled {
            return (Err(error), data);
        }
        self.hasher.update(&data.bytes()[room]);
        self.left -= step as u64;
        let verified = match self.left {
            0 => verify(self.content.checksum(), || self.hasher.finish()),
            _ => Ok(()),
        };
        (verified.map(|()| step), data)
    }
}

impl Content for Stored {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn checksum(&self) -> Option<u128> {
        self.checksum
    }

    async fn fill(
        &mut self,
        mut data: Buffer,
        mut room: Range<usize>,
    ) -> (Result<(), StoreError>, Buffer) {
        while !room.is_empty() {
            let (read, back) = self.file.read_at(data, room.clone(), self.offset).await;
            data = back;
            match read {
                Ok(0) => {
                    return (Err(StoreError::Short { missing: self.bytes - self.offset }), data);
                }
                Ok(bytes) => {
                    room.start += bytes;
                    self.offset += bytes as u64;
                }
                Err(error) => return (Err(StoreError::Io(error)), data),
            }
        }
        (Ok(()), data)
    }
}
