//! From the bucket towards a ring thread.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use object_store::GetResult;
use tokio::sync::mpsc;

use super::Bucket;
use super::bucket::{Objects, checksum};
use crate::io::Buffer;
use crate::store::StoreError;
use crate::store::checksum::{Hasher, verify};
use crate::store::get::Content;
use crate::store::name::Name;
use crate::store::numbers::{Summariser, Summary};

/// Pieces on their way to a ring thread. The library reads up to 16 KiB at a time over TLS, and up to
/// a few hundred without.
const PIECES_MAX: usize = 4;

/// A file on its way.
pub(in crate::store) struct Fetched {
    bytes: u64,
    checksum: Option<u128>,
    pieces: mpsc::Receiver<Result<Bytes, StoreError>>,
    /// What is left of the last piece.
    rest: Bytes,
}

impl Bucket {
    /// Begins to read a file.
    pub(in crate::store) async fn fetch(&self, name: &Name) -> Result<Fetched, StoreError> {
        let (objects, name) = (Arc::clone(&self.objects), name.clone());
        self.start(async move {
            let found = objects.open(&name, false).await?;
            let (sender, pieces) = mpsc::channel(PIECES_MAX);
            let (bytes, checksum) = (found.meta.size, checksum(&found.attributes));
            tokio::spawn(async move { objects.send(found, &sender).await });
            Ok(Fetched { bytes, checksum, pieces, rest: Bytes::new() })
        })
        .done()
        .await
    }

    pub(in crate::store) async fn summarise(&self, name: &Name) -> Result<Summary, StoreError> {
        let (objects, name) = (Arc::clone(&self.objects), name.clone());
        self.start(async move { objects.summarise(&name).await }).done().await
    }
}

impl Objects {
    async fn send(&self, found: GetResult, sender: &mpsc::Sender<Result<Bytes, StoreError>>) {
        let mut stream = found.into_stream();
        while let Some(piece) =
            self.timed("reading", async { stream.next().await.transpose() }).await.transpose()
        {
            let is_last = piece.is_err();
            // A client that has left wants no more of it.
            if sender.send(piece).await.is_err() || is_last {
                return;
            }
        }
    }

    /// Shows a file to `sink` piece by piece, and holds it against its checksum.
    pub(super) async fn read(
        &self,
        name: &Name,
        mut sink: impl FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<Option<u128>, StoreError> {
        let found = self.open(name, false).await?;
        let (bytes, stored) = (found.meta.size, checksum(&found.attributes));
        let (mut stream, mut hasher, mut read) = (found.into_stream(), Hasher::default(), 0);
        while let Some(piece) =
            self.timed("reading", async { stream.next().await.transpose() }).await?
        {
            sink(&piece)?;
            hasher.update(&piece);
            read += piece.len() as u64;
        }
        if read < bytes {
            return Err(StoreError::Short { missing: bytes - read });
        }
        verify(stored, || hasher.finish())?;
        Ok(stored)
    }

    async fn summarise(&self, name: &Name) -> Result<Summary, StoreError> {
        let mut summariser = Summariser::default();
        self.read(name, |piece| Ok(summariser.push(piece)?)).await?;
        Ok(summariser.finish()?)
    }
}

impl Content for Fetched {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn checksum(&self) -> Option<u128> {
        self.checksum
    }

    async fn fill(
        &mut self,
        mut data: Buffer,
        room: Range<usize>,
    ) -> (Result<(), StoreError>, Buffer) {
        let filled = self.copy(&mut data.bytes_mut()[room]).await;
        (filled, data)
    }
}

impl Fetched {
    async fn copy(&mut self, out: &mut [u8]) -> Result<(), StoreError> {
        let mut got = 0;
        while got < out.len() {
            if self.rest.is_empty() {
                self.rest = match self.pieces.recv().await {
                    Some(piece) => piece?,
                    None => {
                        return Err(StoreError::Short { missing: (out.len() - got) as u64 });
                    }
                };
            }
            let taken = self.rest.len().min(out.len() - got);
            out[got..got + taken].copy_from_slice(&self.rest.split_to(taken));
            got += taken;
        }
        Ok(())
    }
}
