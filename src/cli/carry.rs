//! A conversion whose file comes from a store, or goes to one: it passes through, and is held nowhere.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::convert::Refusal;
use super::fail::Fail;
use super::landing::Landing;
use super::output::Destination;
use super::progress::Bar;
use crate::client::{AnswerHead, ClientError, Connection, Progress, Sink, Source, StreamedRequest};
use crate::config::ByteSize;
use crate::convert::Target;
use crate::store::Name;
use crate::store_client::{self, Download, StoreClientError, Upload};
use crate::wire::{ChecksumKind, Code, Hasher, RequestOptions};

/// What is read of a file in one go.
const READ_BYTES: usize = 64 * 1024;

/// A busy server is asked again no sooner than this, whatever it says.
const BUSY_WAIT_MIN: Duration = Duration::from_millis(50);

/// Where a file comes from.
pub(super) enum Origin<'a> {
    /// A path, or `-` for stdin.
    Path(&'a Path),
    Store(Name),
}

/// What is to be done.
pub(super) struct Errand<'a> {
    pub(super) target: Target,
    pub(super) options: &'a RequestOptions,
    pub(super) from: Origin<'a>,
    pub(super) to: &'a Destination,
    pub(super) force: bool,
    pub(super) body_bytes_max: u64,
    pub(super) store: &'a store_client::Config,
}

/// Bytes before and after.
pub(super) struct Carried {
    pub(super) body_bytes: u64,
    pub(super) result_bytes: u64,
}

/// A file on its way to the converter.
struct Body<'a> {
    from: From,
    bytes: u64,
    sent: u64,
    bar: &'a RefCell<Bar>,
    failure: Option<Fail>,
}

enum From {
    File(File),
    Store(Download),
}

/// A result on its way to where it goes.
struct Yield<'a> {
    errand: &'a Errand<'a>,
    to: Option<To>,
    /// The last bytes: they leave once the whole is known to be good, so that nothing else ever gets a
    /// name.
    held: Bytes,
    got: u64,
    total: u64,
    bar: &'a RefCell<Bar>,
    failure: Option<Fail>,
}

enum To {
    Landing(Landing),
    Store(Upload),
}

impl Errand<'_> {
    /// Does it. A converter that is busy is asked again, a bounded number of times; a file that comes
    /// from a store is then fetched again, since nothing of it was kept.
    pub(super) async fn run(
        &self,
        connection: &mut Connection,
        bar: Bar,
    ) -> Result<Carried, Refusal> {
        let limits = &self.store.limits;
        let deadline = Instant::now() + limits.request_timeout;
        let mut retries_left = limits.busy_retries_max;
        let bar = RefCell::new(bar);
        let carried = loop {
            match self.once(connection, &bar).await {
                Err(Outcome::Busy(wait, _))
                    if retries_left > 0 && Instant::now() + wait < deadline =>
                {
                    retries_left -= 1;
                    tokio::time::sleep(wait).await;
                }
                Err(Outcome::Busy(_, refusal) | Outcome::Final(refusal)) => break Err(refusal),
                Ok(carried) => break Ok(carried),
            }
        };
        bar.into_inner().clear();
        carried
    }

    async fn once(
        &self,
        connection: &mut Connection,
        bar: &RefCell<Bar>,
    ) -> Result<Carried, Outcome> {
        let (mut body, checksum, options) = self.open(bar).await?;
        let max = self.body_bytes_max;
        if body.bytes > max {
            let max = ByteSize(max);
            return Err(Fail::failed(format!("it is larger than the limit of {max}"))
                .with_hint("raise the limit with --max-body")
                .into());
        }
        let name = match &self.from {
            Origin::Path(path) => path.file_name().unwrap_or_default().to_string_lossy(),
            Origin::Store(name) => name.as_str().into(),
        };
        let request = StreamedRequest {
            target: self.target,
            name: &name,
            body_bytes: body.bytes,
            checksum,
            options: &options,
        };
        let mut result = Yield::new(self, bar);
        let never = std::future::pending();
        let done = connection.convert_streamed(&request, &mut body, &mut result, never).await;
        match done {
            Ok(head) => {
                result.finish().await?;
                Ok(Carried { body_bytes: body.bytes, result_bytes: head.body_bytes })
            }
            Err(ClientError::Refused(failure)) if failure.code == Code::Busy => {
                let wait = Duration::from_millis(failure.retry_after_ms.into()).max(BUSY_WAIT_MIN);
                Err(Outcome::Busy(wait, ClientError::Refused(failure).into()))
            }
            // What failed on the way says more than that it did not get through.
            Err(error) => Err(match body.failure.or(result.failure) {
                Some(fail) => fail.into(),
                None => Outcome::Final(explain(error)),
            }),
        }
    }

    /// The file, its checksum where it can be known in advance, and the options that say which.
    async fn open<'b>(
        &self,
        bar: &'b RefCell<Bar>,
    ) -> Result<(Body<'b>, [u8; 16], RequestOptions), Fail> {
        let mut options = self.options.clone();
        let (from, bytes, checksum) = match &self.from {
            Origin::Store(name) => {
                // It goes before the file, of which nothing is here yet. The store has checked its own.
                options.checksum = ChecksumKind::None;
                let file = self.download(name).await.map_err(|error| of_store(error, name))?;
                let bytes = file.bytes();
                (From::Store(file), bytes, [0; 16])
            }
            Origin::Path(path) => {
                let (file, bytes, checksum) = read_ahead(path, options.checksum)
                    .map_err(|error| Fail::failed(format!("cannot read it: {error}")))?;
                (From::File(file), bytes, checksum)
            }
        };
        Ok((Body { from, bytes, sent: 0, bar, failure: None }, checksum, options))
    }

    async fn download(&self, name: &Name) -> Result<Download, StoreClientError> {
        store_client::Connection::connect(self.store).await?.download(name).await
    }
}

/// How an attempt ends without a result.
enum Outcome {
    /// It may be repeated after a while.
    Busy(Duration, Refusal),
    Final(Refusal),
}

impl std::convert::From<Fail> for Outcome {
    fn from(fail: Fail) -> Self {
        Self::Final(fail.into())
    }
}

fn explain(error: ClientError) -> Refusal {
    match error {
        ClientError::NeedsV1_1 => Fail::failed(
            "a file that comes from a store or goes to one needs v1.1, and the server speaks v1.0",
        )
        .with_hint("fetch it with `fxsrv get`, convert it, and store it with `fxsrv put`")
        .into(),
        error => error.into(),
    }
}

fn of_store(error: StoreClientError, name: &Name) -> Fail {
    Fail::from(error).of(&format!("store:{name}"))
}

/// A file, its size and its checksum. Stdin, whose size goes before it too, is first gathered.
fn read_ahead(path: &Path, kind: ChecksumKind) -> io::Result<(File, u64, [u8; 16])> {
    let mut file = if path == Path::new("-") {
        let mut spool = tempfile::tempfile()?;
        io::copy(&mut io::stdin().lock(), &mut spool)?;
        spool.rewind()?;
        spool
    } else {
        File::open(path)?
    };
    let (mut hasher, mut block, mut bytes) = (Hasher::new(kind), vec![0; READ_BYTES], 0);
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            break;
        }
        hasher.update(&block[..read]);
        bytes += read as u64;
    }
    file.rewind()?;
    Ok((file, bytes, hasher.finish()))
}

/// What goes over the border to the client. The reason itself stays here, and is told whole.
fn failed() -> io::Error {
    io::Error::other("it broke off")
}

impl Source for Body<'_> {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let next = match &mut self.from {
            From::Store(file) => file.next().await.map_err(Fail::from),
            From::File(file) => {
                let mut block = vec![0; READ_BYTES];
                let read = file.read(&mut block);
                let read = read.map_err(|error| Fail::failed(format!("cannot read it: {error}")));
                read.map(|read| {
                    block.truncate(read);
                    (read > 0).then(|| block.into())
                })
            }
        };
        let next = next.map_err(|fail| {
            self.failure = Some(fail.of("while it was read"));
            failed()
        })?;
        self.sent += next.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let uploading = Progress::Uploading { sent: self.sent, total: self.bytes };
        let is_last = self.sent == self.bytes;
        self.bar.borrow_mut().update(if is_last { Progress::Converting } else { uploading });
        Ok(next)
    }
}

impl<'a> Yield<'a> {
    fn new(errand: &'a Errand<'a>, bar: &'a RefCell<Bar>) -> Self {
        Self { errand, to: None, held: Bytes::new(), got: 0, total: 0, bar, failure: None }
    }

    async fn open(&self, bytes: u64) -> Result<To, Fail> {
        let Destination::Store(name) = self.errand.to else {
            let path = match self.errand.to {
                Destination::File(path) => path,
                _ => Path::new("-"),
            };
            return Landing::open(path, self.errand.force).map(To::Landing);
        };
        let size = u32::try_from(bytes).map_err(|_| {
            let max = u32::MAX;
            Fail::failed(format!("the result has {bytes} bytes, and a store takes {max}"))
        })?;
        let connection = store_client::Connection::connect(self.errand.store).await;
        connection.map(|store| To::Store(store.upload(name, size))).map_err(|e| of_store(e, name))
    }

    async fn send(&mut self, bytes: Bytes) -> Result<(), Fail> {
        match &mut self.to {
            None => Ok(()),
            Some(To::Landing(landing)) => landing
                .file()
                .write_all(&bytes)
                .map_err(|error| Fail::failed(format!("cannot write {}: {error}", self.errand.to))),
            Some(To::Store(upload)) => upload
                .write(bytes)
                .await
                .map_err(|error| Fail::from(error).of(&self.errand.to.to_string())),
        }
    }

    /// Lets the last bytes go, and gives the whole its name.
    async fn finish(mut self) -> Result<(), Fail> {
        let last = std::mem::take(&mut self.held);
        self.send(last).await?;
        match self.to {
            None => Ok(()),
            Some(To::Landing(landing)) => landing.land().map(|_| ()),
            Some(To::Store(upload)) => upload
                .finish()
                .await
                .map_err(|error| Fail::from(error).of(&self.errand.to.to_string())),
        }
    }
}

impl Sink for Yield<'_> {
    async fn begin(&mut self, head: &AnswerHead) -> io::Result<()> {
        self.total = head.body_bytes;
        match self.open(head.body_bytes).await {
            Ok(to) => self.to = Some(to),
            Err(fail) => {
                self.failure = Some(fail);
                return Err(failed());
            }
        }
        Ok(())
    }

    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.got += bytes.len() as u64;
        self.bar.borrow_mut().update(Progress::Downloading { got: self.got, total: self.total });
        let before = std::mem::replace(&mut self.held, bytes);
        self.send(before).await.map_err(|fail| {
            self.failure = Some(fail);
            failed()
        })
    }
}
