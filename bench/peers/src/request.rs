//! Requests and answers of v1.1, as the master, the sink and the load know them.

use std::io;
use std::path::Path;

use fxsrv::auth::Token;
use fxsrv::convert::Target;
use fxsrv::wire::{
    ChecksumKind, Operation, REPLY_HEADER_BYTES, REQUEST_HEADER_BYTES, ReplyHeader, RequestHeader,
    RequestOptions, Version,
};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite,
    AsyncWriteExt as _,
};

use crate::Fallible;

/// Bodies are sent from here, again and again; ciphers take the same time for any content.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// A request whose body is zeros. Its file name asks the sink for an answer of `answer_bytes`.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    head: Vec<u8>,
    body_bytes: u64,
    answer_bytes: u64,
}

impl Request {
    pub(crate) fn new(token_file: &Path, body_bytes: u64, answer_bytes: u64) -> Fallible<Self> {
        let token = Token::load(token_file)?.token;
        let options = RequestOptions { checksum: ChecksumKind::None, ..RequestOptions::default() };
        let block = options.encode().map_err(|failure| failure.message)?;
        let header = RequestHeader::new(
            Version::V1_1,
            &token,
            [0; 16],
            &answer_bytes.to_string(),
            body_bytes,
            Operation::Convert(Target::Pdf),
            block.len(),
        );
        let head = [&header.to_bytes()[..], &block].concat();
        Ok(Self { head, body_bytes, answer_bytes })
    }

    /// Sends the request, and reads its answer to the end.
    pub(crate) async fn exchange<S>(&self, stream: &mut S) -> io::Result<()>
    where
        S: AsyncBufRead + AsyncWrite + Unpin,
    {
        stream.write_all(&self.head).await?;
        write_zeros(stream, self.body_bytes).await?;
        stream.flush().await?;
        let mut head = [0; REPLY_HEADER_BYTES];
        stream.read_exact(&mut head).await?;
        let reply = ReplyHeader::parse(&head).map_err(io::Error::other)?;
        if reply.status != 0 || reply.body_bytes != self.answer_bytes {
            let text = read_text(stream, reply.body_bytes.min(1024)).await?;
            return Err(io::Error::other(format!("code {}: {text}", reply.status)));
        }
        drop_bytes(stream, reply.body_bytes).await
    }
}

/// A request as a server meets it: its head is read, its body is still to come.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) head: Vec<u8>,
    pub(crate) version: Version,
    pub(crate) operation: Operation,
    pub(crate) body_bytes: u64,
    /// What its file name asks for; as much as was sent where that is no number.
    pub(crate) answer_bytes: u64,
}

impl Incoming {
    /// Reads the next head; `None` where the client has ended.
    pub(crate) async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<Self>> {
        let mut bytes = [0; REQUEST_HEADER_BYTES];
        if let Err(error) = stream.read_exact(&mut bytes).await {
            let is_end = error.kind() == io::ErrorKind::UnexpectedEof;
            return if is_end { Ok(None) } else { Err(error) };
        }
        let header = RequestHeader::parse(&bytes);
        let refused = |failure: fxsrv::wire::Failure| io::Error::other(failure.message);
        let version = header.version().map_err(refused)?;
        let operation = header.operation(version).map_err(refused)?;
        let mut head = bytes.to_vec();
        head.resize(head.len() + header.options_bytes(version).map_err(refused)?, 0);
        stream.read_exact(&mut head[REQUEST_HEADER_BYTES..]).await?;
        let body_bytes = header.body_bytes();
        let answer_bytes = header.filename().parse().unwrap_or(body_bytes);
        Ok(Some(Self { head, version, operation, body_bytes, answer_bytes }))
    }
}

/// Sends `bytes` zeros.
pub(crate) async fn write_zeros<S: AsyncWrite + Unpin>(
    stream: &mut S,
    bytes: u64,
) -> io::Result<()> {
    let mut left = bytes;
    while left > 0 {
        let step = left.min(ZEROS.len() as u64);
        stream.write_all(&ZEROS[..usize::try_from(step).unwrap_or(ZEROS.len())]).await?;
        left -= step;
    }
    Ok(())
}

/// Reads `bytes` and drops them.
pub(crate) async fn drop_bytes<S: AsyncBufRead + Unpin>(
    stream: &mut S,
    bytes: u64,
) -> io::Result<()> {
    let mut left = bytes;
    while left > 0 {
        let got = stream.fill_buf().await?.len() as u64;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let step = got.min(left);
        stream.consume(usize::try_from(step).unwrap_or(usize::MAX));
        left -= step;
    }
    Ok(())
}

async fn read_text<S: AsyncRead + Unpin>(stream: &mut S, bytes: u64) -> io::Result<String> {
    let mut text = String::new();
    stream.take(bytes).read_to_string(&mut text).await?;
    Ok(text)
}
