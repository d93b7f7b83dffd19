//! Files that pass through: for callers that hold none of them.

use std::io;

use super::connection::request;
use super::{Connection, StoreClientError};
use crate::client::{AnswerHead, Sink, Source};
use crate::io::BUFFER_BYTES;
use crate::store::Name;
use crate::store::protocol::op;
use crate::transport::StreamError;

impl Connection {
    /// Stores `bytes` that `source` gives as they are sent.
    ///
    /// # Errors
    ///
    /// The source fails or does not give so many, the store refuses, or the connection breaks off:
    /// then the store keeps what it had under this name, and the connection takes no more requests.
    pub async fn put_streamed<S: Source>(
        &mut self,
        name: &Name,
        bytes: u32,
        source: &mut S,
    ) -> Result<(), StoreClientError> {
        let head = [&request(op::PUT, name)[..], &bytes.to_be_bytes()].concat();
        let sent = self.send_streamed(&head, u64::from(bytes), source).await;
        if let Err(StoreClientError::Lost(error)) = sent {
            // A store that refuses says so before it stops to listen.
            return match self.answer().await {
                Ok(answer) => Err(self.judge(answer)),
                Err(_) => Err(StoreClientError::Lost(error)),
            };
        }
        sent?;
        self.done().await
    }

    async fn send_streamed<S: Source>(
        &mut self,
        head: &[u8],
        bytes: u64,
        source: &mut S,
    ) -> Result<(), StoreClientError> {
        let wrong = |what: &str| {
            StoreClientError::Local(io::Error::new(io::ErrorKind::InvalidData, what.to_owned()))
        };
        let mut left = bytes;
        self.stream.queue(head).await.map_err(StoreClientError::Lost)?;
        while left > 0 {
            let piece = source.next().await.map_err(StoreClientError::Local)?;
            let piece =
                piece.ok_or_else(|| wrong("it ended before the size that was announced"))?;
            left = left
                .checked_sub(piece.len() as u64)
                .ok_or_else(|| wrong("it is larger than was announced"))?;
            self.stream.queue(&piece).await.map_err(StoreClientError::Lost)?;
        }
        self.stream.flush().await.map_err(StoreClientError::Lost)
    }

    /// Fetches a file into `sink` as it arrives, and says how large it is.
    ///
    /// # Errors
    ///
    /// There is none, it does not arrive whole, or the sink fails: then what it was given is to be
    /// thrown away, and the connection takes no more requests.
    pub async fn get_streamed<K: Sink>(
        &mut self,
        name: &Name,
        sink: &mut K,
    ) -> Result<u64, StoreClientError> {
        self.send(&request(op::GET, name)).await?;
        let (_, bytes) = self.file_head(super::connection::GOT_FILE).await?;
        let total = u64::from(bytes);
        let head = AnswerHead { body_bytes: total, checksum: [0; 16], convert_us: 0 };
        sink.begin(&head).await.map_err(StoreClientError::Local)?;
        let mut left = total;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
            let mut piece = bytes::BytesMut::with_capacity(most);
            while piece.len() < most {
                let wanted = (most - piece.len()) as u64;
                let mut take = |data: &[u8]| piece.extend_from_slice(data);
                let read = self.stream.read_at_most(wanted, &mut take).await;
                if read.map_err(StoreClientError::Lost)? == 0 {
                    let missing = left - piece.len() as u64;
                    return Err(StoreClientError::Lost(StreamError::Closed { missing }));
                }
            }
            left -= most as u64;
            sink.write(piece.freeze()).await.map_err(StoreClientError::Local)?;
        }
        Ok(total)
    }
}
