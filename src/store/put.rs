//! PUT: a file from its client to the disk.

use std::time::Instant;

use super::StoreError;
use super::backend::Local;
use super::checksum::{Hasher, checksum};
use super::commit::{Change, Durability};
use super::directory::Draft;
use super::name::{Name, NameError};
use super::protocol::Answer;
use super::service::{Next, Store, log_access, log_refusal};
use crate::io::{Buffer, File, durably};
use crate::transport::{Stream, StreamError};

/// A file of up to so many bytes waits in memory of its own until it is there as a whole, and takes
/// no pooled buffer meanwhile: a page, so that a thousand slow clients take 4 MiB.
const SMALL_BYTES_MAX: usize = 4096;

/// Why a file is not stored.
enum PutError {
    /// The connection failed, and nobody is there to be answered.
    Stream(StreamError),
    /// It cannot be stored; so many of its bytes have yet to come.
    Store { error: StoreError, unread_bytes: u64 },
}

/// A file on its way in.
struct Writer {
    file: File,
    hasher: Hasher,
    /// Bytes that have yet to come.
    left: u64,
}

impl Store {
    pub(super) async fn put(
        &self,
        local: &Local,
        stream: &mut Stream,
        name: Result<Name, NameError>,
        bytes: u64,
    ) -> Result<Next, StreamError> {
        let started = Instant::now();
        let directory = &local.directory;
        stream.socket().set_deadline(Some(started + directory.limits().transfer_time(bytes)));
        let stall = self.shared.config.limits.stall_timeout;
        stream.socket().set_stall_limits(Some(stall), Some(stall));
        let stored = match &name {
            Ok(name) => match directory.begin(name.clone(), bytes) {
                Ok(draft) => self.store(local, stream, draft).await,
                Err(error) => Err(PutError::Store { error, unread_bytes: bytes }),
            },
            Err(error) => Err(PutError::Store { error: (*error).into(), unread_bytes: bytes }),
        };
        let next = match stored {
            Ok(()) => {
                stream.write_all(&[Answer::Done.byte()]).await?;
                let name = name.as_ref().ok();
                log_access(stream, "PUT", name, bytes, started);
                Next::Keep
            }
            Err(PutError::Stream(error)) => return Err(error),
            Err(PutError::Store { error, unread_bytes }) => {
                log_refusal(stream, "PUT", name.as_ref().ok(), &error);
                stream.write_all(&[error.answer().byte()]).await?;
                self.pass_over(stream, unread_bytes).await?
            }
        };
        stream.socket().set_deadline(None);
        stream.socket().set_stall_limits(None, Some(stall));
        Ok(next)
    }

    /// Reads what is left of a body that nobody wants, where that is cheaper than a new connection.
    pub(super) async fn pass_over(
        &self,
        stream: &mut Stream,
        bytes: u64,
    ) -> Result<Next, StreamError> {
        if bytes > self.shared.config.limits.discard_bytes_max {
            return Ok(Next::Finish);
        }
        let mut left = bytes;
        while left > 0 {
            match stream.read_at_most(left, &mut |_| {}).await? {
                0 => return Err(StreamError::Closed { missing: left }),
                read => left -= read as u64,
            }
        }
        Ok(Next::Keep)
    }

    async fn store(
        &self,
        local: &Local,
        stream: &mut Stream,
        draft: Draft,
    ) -> Result<(), PutError> {
        let (content, checksum) = match usize::try_from(draft.bytes()) {
            Ok(bytes) if bytes <= SMALL_BYTES_MAX => {
                let mut content = vec![0; bytes];
                stream.read_exact(&mut content).await.map_err(PutError::Stream)?;
                let checksum = checksum(&content);
                (content, checksum)
            }
            _ => {
                let file = File::new(self.context.driver, draft.file().clone());
                let mut writer = Writer { file, hasher: Hasher::default(), left: draft.bytes() };
                self.receive(stream, &mut writer).await?;
                (Vec::new(), writer.hasher.finish())
            }
        };
        // The disk takes its own time, which is not the client's.
        stream.socket().set_deadline(None);
        let store = |error| PutError::Store { error, unread_bytes: 0 };
        let is_synced = self.shared.config.durability != Durability::None;
        let finish = move || -> Result<Draft, StoreError> {
            draft.write_first(&content)?;
            draft.seal(checksum)?;
            if is_synced {
                draft.sync()?;
            }
            Ok(draft)
        };
        let finished = durably(finish).await.map_err(StoreError::Io).and_then(|done| done);
        let draft = finished.map_err(store)?;
        local.change(Change::Publish(draft)).await.map_err(store)
    }

    /// A small file takes one buffer; a large one three: one to receive into, one that fills, and one
    /// that is being written.
    async fn receive(&self, stream: &mut Stream, writer: &mut Writer) -> Result<(), PutError> {
        let pool = &self.context.pool;
        if writer.left <= pool.buffer_bytes() as u64 {
            let [data] = pool.acquire::<1>().await;
            return writer.receive(stream, [data, Buffer::default()]).await;
        }
        let [recv, data, other] = pool.acquire::<3>().await;
        stream.attach_recv(recv);
        let received = writer.receive(stream, [data, other]).await;
        stream.detach();
        received
    }
}

impl Writer {
    async fn receive(
        &mut self,
        stream: &mut Stream,
        [mut full, mut filling]: [Buffer; 2],
    ) -> Result<(), PutError> {
        let mut offset = 0;
        let mut ready = self.fill(stream, &mut full).await.map_err(PutError::Stream)?;
        while ready > 0 {
            // While one buffer goes to the disk, the next one fills.
            let file = self.file.clone();
            let ((written, back), filled) = tokio::join!(
                file.write_all_at(full, 0..ready, offset),
                self.fill(stream, &mut filling)
            );
            let filled = filled.map_err(PutError::Stream)?;
            written.map_err(|error| PutError::Store {
                error: StoreError::Io(error),
                unread_bytes: self.left,
            })?;
            offset += ready as u64;
            ready = filled;
            (full, filling) = (filling, back);
        }
        Ok(())
    }

    /// Fills the buffer as far as the file goes, and says how far that is.
    async fn fill(&mut self, stream: &mut Stream, data: &mut Buffer) -> Result<usize, StreamError> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(data.capacity());
        let mut got = 0;
        while got < room {
            let wanted = (room - got) as u64;
            let (hasher, block) = (&mut self.hasher, data.bytes_mut());
            let mut sink = |plain: &[u8]| {
                hasher.update(plain);
                block[got..got + plain.len()].copy_from_slice(plain);
                got += plain.len();
            };
            if stream.read_at_most(wanted, &mut sink).await? == 0 {
                return Err(StreamError::Closed { missing: self.left - got as u64 });
            }
        }
        self.left -= got as u64;
        Ok(got)
    }
}
