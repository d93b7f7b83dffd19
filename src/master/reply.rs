//! The head of a worker's answer, and its form for the client.

use crate::exchange::End;
use crate::transport::{ReadHalf, StreamError};
use crate::wire::{
    Failure, REPLY_HEADER_BYTES, REPLY_V1_0_HEADER_BYTES, ReplyHeader, Version,
    encode_reply_v1_0_header, parse_reply_v1_0_header,
};

/// Longest text of a failure that is read to be put into another form. Ours have under 1 KiB.
const FAILURE_TEXT_MAX: u64 = 64 * 1024;

/// What a client is sent: a head, and as many bytes of the worker's body behind it.
pub(super) struct ClientReply {
    pub(super) head: Vec<u8>,
    pub(super) relay_bytes: u64,
    pub(super) end: End,
    pub(super) retry_after_ms: u32,
    pub(super) convert_us: u32,
}

/// Why there is no answer.
pub(super) enum NoReply {
    /// The connection to the worker failed.
    Stream(StreamError),
    /// What came is no answer.
    Garbled(String),
}

impl From<StreamError> for NoReply {
    fn from(error: StreamError) -> Self {
        Self::Stream(error)
    }
}

/// Reads the head of an answer in the worker's version, and puts it into the client's.
pub(super) async fn read(
    worker: &mut ReadHalf<'_>,
    worker_wire: Version,
    client_wire: Version,
) -> Result<ClientReply, NoReply> {
    match worker_wire {
        Version::V1_0 => read_v1_0(worker).await,
        Version::V1_1 => read_v1_1(worker, client_wire).await,
    }
}

/// Only clients of v1.0 are sent to workers of v1.0, so that the answer passes through as it is.
async fn read_v1_0(worker: &mut ReadHalf<'_>) -> Result<ClientReply, NoReply> {
    let mut head = [0; REPLY_V1_0_HEADER_BYTES];
    worker.read_exact(&mut head).await?;
    let relay_bytes = parse_reply_v1_0_header(&head);
    Ok(ClientReply {
        head: head.to_vec(),
        relay_bytes,
        end: End::Answered,
        retry_after_ms: 0,
        convert_us: 0,
    })
}

async fn read_v1_1(
    worker: &mut ReadHalf<'_>,
    client_wire: Version,
) -> Result<ClientReply, NoReply> {
    let mut bytes = [0; REPLY_HEADER_BYTES];
    worker.read_exact(&mut bytes).await?;
    let header = ReplyHeader::parse(&bytes).map_err(|error| NoReply::Garbled(error.to_string()))?;
    let end = End::from_status(header.status);
    let (convert_us, retry_after_ms) = (header.convert_us, header.retry_after_ms);
    let (head, relay_bytes) = match (client_wire, header.status) {
        (Version::V1_1, _) => (bytes.to_vec(), header.body_bytes),
        (Version::V1_0, 0) => {
            (encode_reply_v1_0_header(header.body_bytes).to_vec(), header.body_bytes)
        }
        (Version::V1_0, number) => (read_failure(worker, number, &header).await?, 0),
    };
    Ok(ClientReply { head, relay_bytes, end, retry_after_ms, convert_us })
}

async fn read_failure(
    worker: &mut ReadHalf<'_>,
    number: u32,
    header: &ReplyHeader,
) -> Result<Vec<u8>, NoReply> {
    if header.body_bytes > FAILURE_TEXT_MAX {
        let text = format!("a failure of {} bytes", header.body_bytes);
        return Err(NoReply::Garbled(text));
    }
    let mut text = vec![0; usize::try_from(header.body_bytes).unwrap_or(0)];
    worker.read_exact(&mut text).await?;
    Ok(Failure::from_v1_1(number, &text).reply_v1_0())
}
