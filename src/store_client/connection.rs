//! A connection to a store.

use std::io::{Read, Write};
use std::time::Duration;

use super::{Config, Moved, StoreClientError};
use crate::client::{self, ClientError};
use crate::io::{BUFFER_BYTES, Buffer};
use crate::store::Name;
use crate::store::protocol::{Answer, op};
use crate::transport::{PlainStream, Stream, StreamError};

/// A goodbye is a courtesy: a store that does not hear it within this goes without.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(200);
const GOODBYE_BYTES_MAX: u64 = 64 * 1024;

/// A text of an answer that a person reads: what is longer is something else.
const TEXT_BYTES_MAX: u32 = 64 * 1024;

/// Data that is sent in one go: it fills a send window of four records.
const STEP_BYTES: usize = BUFFER_BYTES - 1024;

/// Files that are asked for at once: 64 requests of 32 bytes are 2 KiB.
pub const ASKED_MAX: usize = 64;

const OP_SHIFT: u8 = 5;
pub(super) const GOT_FILE: u8 = 1;
const GOT_SUMMARY: u8 = 2;
const GOT_HELP: u8 = 6;

/// A connection to a store, for any number of requests.
pub struct Connection {
    config: Config,
    pub(super) stream: Stream,
}

impl Connection {
    /// Connects, makes sure of the store's identity, and shows the token.
    ///
    /// # Errors
    ///
    /// The store cannot be reached or trusted, or does not accept the token.
    pub async fn connect(config: &Config) -> Result<Self, StoreClientError> {
        let stream = open(config).await?;
        let stall = Some(config.limits.stall_timeout);
        stream.socket().set_deadline(None);
        stream.socket().set_stall_limits(stall, stall);
        let mut connection = Self { config: config.clone(), stream };
        let [recv, send] = [Buffer::heap(BUFFER_BYTES), Buffer::heap(BUFFER_BYTES)];
        connection.stream.attach_recv(recv);
        connection.stream.attach_send(send);
        if let Some(token) = &config.token {
            let line = zeroize::Zeroizing::new(format!("AUTH {}\n", token.reveal()));
            connection.send(line.as_bytes()).await?;
            if connection.answer().await? != Answer::Done.byte() {
                return Err(StoreClientError::NotAdmitted(config.server.clone()));
            }
        }
        Ok(connection)
    }

    /// Stores `bytes` of `source`.
    ///
    /// # Errors
    ///
    /// The source ends early, the store refuses, or the connection breaks off: then the store keeps
    /// what it had under this name.
    pub async fn put(
        &mut self,
        name: &Name,
        bytes: u32,
        source: &mut dyn Read,
        progress: &mut dyn FnMut(Moved),
    ) -> Result<(), StoreClientError> {
        let head = [&request(op::PUT, name)[..], &bytes.to_be_bytes()].concat();
        let sent = self.send_file(&head, bytes, source, progress).await;
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

    async fn send_file(
        &mut self,
        head: &[u8],
        bytes: u32,
        source: &mut dyn Read,
        progress: &mut dyn FnMut(Moved),
    ) -> Result<(), StoreClientError> {
        let total = u64::from(bytes);
        let mut block = vec![0; STEP_BYTES];
        let mut moved = 0;
        self.stream.queue(head).await.map_err(StoreClientError::Lost)?;
        while moved < total {
            let room = usize::try_from(total - moved).unwrap_or(STEP_BYTES).min(STEP_BYTES);
            source.read_exact(&mut block[..room]).map_err(StoreClientError::Local)?;
            self.stream.queue(&block[..room]).await.map_err(StoreClientError::Lost)?;
            moved += room as u64;
            progress(Moved { bytes: moved, total });
        }
        self.stream.flush().await.map_err(StoreClientError::Lost)
    }

    /// Asks for files, all in one send. Each is then to be taken by [`Self::take`], in this order,
    /// before anything else is asked. Requests of [`ASKED_MAX`] fit what any store reads in one go, so
    /// that none of them waits for an answer that nobody takes yet.
    ///
    /// # Errors
    ///
    /// The connection breaks off.
    pub async fn ask_for(
        &mut self,
        names: impl Iterator<Item = &Name>,
    ) -> Result<(), StoreClientError> {
        let requests: Vec<u8> = names.flat_map(|name| request(op::GET, name)).collect();
        self.send(&requests).await
    }

    /// Takes the next file that was asked for into `sink`, and says how large it is.
    ///
    /// # Errors
    ///
    /// There is none, or the store refuses: the next one may be taken all the same. Or it does not
    /// arrive whole: then what is in `sink` is to be thrown away, and the connection is over.
    pub async fn take(
        &mut self,
        sink: &mut dyn Write,
        progress: &mut dyn FnMut(Moved),
    ) -> Result<u64, StoreClientError> {
        let (_, bytes) = self.file_head(GOT_FILE).await?;
        let total = u64::from(bytes);
        let mut moved = 0;
        while moved < total {
            let mut written = Ok(());
            let read = self
                .stream
                .read_at_most(total - moved, &mut |data| written = sink.write_all(data))
                .await
                .map_err(StoreClientError::Lost)?;
            written.map_err(StoreClientError::Local)?;
            if read == 0 {
                let missing = total - moved;
                return Err(StoreClientError::Lost(StreamError::Closed { missing }));
            }
            moved += read as u64;
            progress(Moved { bytes: moved, total });
        }
        Ok(total)
    }

    /// Gives a file another name.
    ///
    /// # Errors
    ///
    /// There is no such file, the name is taken, or the connection breaks off.
    pub async fn change(&mut self, from: &Name, to: &Name) -> Result<(), StoreClientError> {
        let to = request(0, to);
        self.send(&[&request(op::CHANGE, from)[..], &to].concat()).await?;
        self.done().await
    }

    /// Greatest, least and mean of a file's numbers: the name of the summary, and its text.
    ///
    /// # Errors
    ///
    /// There is no such file, it is not one of numbers, or the connection breaks off.
    pub async fn summary(&mut self, name: &Name) -> Result<(String, String), StoreClientError> {
        self.send(&request(op::SUMMARY, name)).await?;
        let (name, bytes) = self.file_head(GOT_SUMMARY).await?;
        if bytes > TEXT_BYTES_MAX {
            return Err(self.protocol(format!("a summary of {bytes} bytes")));
        }
        let mut text = vec![0; bytes as usize];
        self.read(&mut text).await?;
        Ok((name, String::from_utf8_lossy(&text).into_owned()))
    }

    /// The operations that the store has.
    ///
    /// # Errors
    ///
    /// The connection breaks off.
    pub async fn help(&mut self) -> Result<String, StoreClientError> {
        self.send(&[op::HELP << OP_SHIFT]).await?;
        let first = self.answer().await?;
        if first >> OP_SHIFT != GOT_HELP {
            return Err(self.judge(first));
        }
        let mut text = vec![0; usize::from(first & 0x1f)];
        self.read(&mut text).await?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Says goodbye.
    pub async fn close(self) {
        self.stream.finish(GOODBYE_BYTES_MAX, GOODBYE_TIMEOUT).await;
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), StoreClientError> {
        self.stream.write_all(bytes).await.map_err(StoreClientError::Lost)
    }

    async fn read(&mut self, out: &mut [u8]) -> Result<(), StoreClientError> {
        self.stream.read_exact(out).await.map_err(StoreClientError::Lost)
    }

    pub(super) async fn answer(&mut self) -> Result<u8, StoreClientError> {
        let mut byte = [0];
        self.read(&mut byte).await?;
        Ok(byte[0])
    }

    pub(super) async fn done(&mut self) -> Result<(), StoreClientError> {
        match self.answer().await? {
            answer if answer >> OP_SHIFT == 0 => Ok(()),
            answer => Err(self.judge(answer)),
        }
    }

    /// Name and size of an answer's file.
    pub(super) async fn file_head(&mut self, kind: u8) -> Result<(String, u32), StoreClientError> {
        let first = self.answer().await?;
        if first >> OP_SHIFT != kind {
            return Err(self.judge(first));
        }
        let mut name = vec![0; usize::from(first & 0x1f)];
        self.read(&mut name).await?;
        let mut size = [0; 4];
        self.read(&mut size).await?;
        Ok((String::from_utf8_lossy(&name).into_owned(), u32::from_be_bytes(size)))
    }

    /// What an answer says that is none of the good ones. Its upper three bits count alone.
    pub(super) fn judge(&self, answer: u8) -> StoreClientError {
        let is = |known: Answer| answer >> OP_SHIFT == known.byte() >> OP_SHIFT;
        if is(Answer::NotFound) {
            StoreClientError::NotFound
        } else if is(Answer::Refused) {
            StoreClientError::Refused
        } else if is(Answer::Unknown) {
            StoreClientError::Unknown
        } else {
            self.protocol(format!("an answer that begins with {answer:#04x}"))
        }
    }

    fn protocol(&self, what: String) -> StoreClientError {
        StoreClientError::Protocol { server: self.config.server.clone(), what }
    }
}

/// The first bytes of a request: the operation, and a name.
pub(super) fn request(op: u8, name: &Name) -> Vec<u8> {
    let name = name.as_str().as_bytes();
    // A name has no more than 31 bytes.
    [&[op << OP_SHIFT | name.len().to_le_bytes()[0]], name].concat()
}

/// Connects to the store, with TLS or without.
async fn open(config: &Config) -> Result<Stream, ClientError> {
    let Config { server, tls, limits, driver, .. } = config;
    let socket = client::reach(server, *driver, limits).await?;
    match tls {
        Some(tls) => Ok(client::secure(socket, server, tls, limits).await?.into()),
        None => Ok(PlainStream::new(socket).into()),
    }
}
