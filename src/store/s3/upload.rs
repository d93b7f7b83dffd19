//! From a ring thread into the bucket.

use std::sync::Arc;

use bytes::Bytes;
use object_store::PutPayload;
use object_store::multipart::{MultipartStore as _, PartId};
use object_store::path::Path;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;

use super::Bucket;
use super::bucket::{Objects, PIECE_BYTES, Started, attributes};
use super::quota::Place;
use crate::store::StoreError;
use crate::store::name::Name;

/// Pieces on their way from a ring thread: 1 MiB, so that a part fills while another one leaves.
const PIECES_MAX: usize = 16;

/// Parts of one file on their way at once, beside the one that fills.
const PARTS_AT_ONCE: usize = 2;

/// What a ring thread says of a file.
pub(super) enum Piece {
    Data(Bytes),
    /// All of it is sent, and hashes to this.
    End(u128),
}

/// A file on its way into the bucket.
struct Upload {
    objects: Arc<Objects>,
    name: Name,
    bytes: u64,
    left: u64,
    pieces: mpsc::Receiver<Piece>,
}

/// Bytes in memory, and their place there.
struct Part {
    payload: PutPayload,
    place: OwnedSemaphorePermit,
}

impl Bucket {
    /// Begins to store a file of `bytes`. It takes its name once [`Piece::End`] has come; a sender
    /// that is dropped before that ends it without a trace.
    pub(super) async fn begin(
        &self,
        name: &Name,
        bytes: u64,
    ) -> Result<(mpsc::Sender<Piece>, Started<()>), StoreError> {
        let max = u64::from(self.limits().file_bytes_max);
        if bytes > max {
            return Err(StoreError::TooLarge { bytes, max });
        }
        let (objects, name) = (Arc::clone(&self.objects), name.clone());
        let place = {
            let (objects, name) = (Arc::clone(&objects), name.clone());
            self.start(async move { Place::reserve(&objects, &name, bytes).await }).done().await?
        };
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        let upload = Upload { objects, name, bytes, left: bytes, pieces };
        let done = self.start(async move {
            upload.run().await?;
            if let Some(place) = place {
                place.keep();
            }
            Ok(())
        });
        Ok((sender, done))
    }
}

impl Upload {
    async fn run(mut self) -> Result<(), StoreError> {
        if self.left <= self.objects.limits.part_bytes as u64 {
            self.small().await
        } else {
            self.large().await
        }
    }

    /// One request, whose head already has the checksum.
    async fn small(&mut self) -> Result<(), StoreError> {
        let part = self.fill().await?;
        let attributes = attributes(self.checksum().await?);
        let path = self.objects.path(&self.name)?;
        let _alone = self.objects.lock(&self.name).await;
        self.objects.put(&path, part.payload, attributes).await
    }

    /// In parts, under a name of our own: metadata is given when an upload begins, and the checksum is
    /// known when it ends. A copy inside of the bucket then makes it the file.
    async fn large(&mut self) -> Result<(), StoreError> {
        let draft = self.objects.own_path("tmp");
        let attributes = attributes(self.upload(&draft).await?);
        let alone = self.objects.lock(&self.name).await;
        let stored = self.objects.copy_draft(&draft, self.bytes, &self.name, attributes).await;
        drop(alone);
        self.objects.remove(&draft).await;
        stored
    }

    async fn upload(&mut self, draft: &Path) -> Result<u128, StoreError> {
        let objects = Arc::clone(&self.objects);
        let store = &objects.clients.store;
        let id = objects.timed("beginning an upload", store.create_multipart(draft)).await?;
        let sent = async {
            let parts = self.send_parts(draft, &id).await?;
            let checksum = self.checksum().await?;
            let complete = store.complete_multipart(draft, &id, parts);
            objects.timed("completing an upload", complete).await.map(|_| checksum)
        };
        let sent = sent.await;
        if sent.is_err()
            && let Err(error) =
                objects.timed("giving up an upload", store.abort_multipart(draft, &id)).await
        {
            tracing::warn!(%error, "an upload is left unfinished in the bucket");
        }
        sent
    }

    async fn send_parts(&mut self, draft: &Path, id: &str) -> Result<Vec<PartId>, StoreError> {
        let (mut sending, mut sent) = (JoinSet::new(), Vec::new());
        let mut count = 0;
        while self.left > 0 {
            let part = self.fill().await?;
            if sending.len() == PARTS_AT_ONCE {
                keep(sending.join_next().await, &mut sent)?;
            }
            let (objects, draft, id) = (Arc::clone(&self.objects), draft.clone(), id.to_owned());
            let index = count;
            sending.spawn(async move {
                let put = objects.clients.store.put_part(&draft, &id, index, part.payload);
                let id = objects.timed("writing a part", put).await?;
                drop(part.place);
                Ok((index, id))
            });
            count += 1;
        }
        while !sending.is_empty() {
            keep(sending.join_next().await, &mut sent)?;
        }
        sent.sort_by_key(|(index, _)| *index);
        Ok(sent.into_iter().map(|(_, id)| id).collect())
    }

    /// The next part, once there is memory for it.
    async fn fill(&mut self) -> Result<Part, StoreError> {
        let bytes = self.left.min(self.objects.limits.part_bytes as u64);
        // At most a part, whose pieces are few.
        let places = u32::try_from(bytes.div_ceil(PIECE_BYTES as u64)).unwrap_or(u32::MAX);
        let place = Arc::clone(&self.objects.memory).acquire_many_owned(places).await;
        let place = place.map_err(|_| abandoned())?;
        let (mut pieces, mut got) = (Vec::with_capacity(places as usize), 0);
        while got < bytes {
            match self.pieces.recv().await {
                Some(Piece::Data(piece)) => {
                    got += piece.len() as u64;
                    pieces.push(piece);
                }
                Some(Piece::End(_)) | None => return Err(abandoned()),
            }
        }
        self.left -= got;
        Ok(Part { payload: pieces.into_iter().collect(), place })
    }

    async fn checksum(&mut self) -> Result<u128, StoreError> {
        match self.pieces.recv().await {
            Some(Piece::End(checksum)) => Ok(checksum),
            _ => Err(abandoned()),
        }
    }
}

type Sent = Result<(usize, PartId), StoreError>;

fn keep(
    joined: Option<Result<Sent, tokio::task::JoinError>>,
    sent: &mut Vec<(usize, PartId)>,
) -> Result<(), StoreError> {
    if let Some(joined) = joined {
        sent.push(joined.map_err(|error| StoreError::Bucket(error.to_string()))??);
    }
    Ok(())
}

/// Nobody hears it: the client has left.
fn abandoned() -> StoreError {
    StoreError::Bucket("the client has left".to_owned())
}
