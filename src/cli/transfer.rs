//! Files between this machine and a store, each whole or not at all.

use std::fs::{File, Permissions};
use std::io::{self, IsTerminal as _, Seek as _, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::fail::Fail;
use super::progress::Bar;
use super::{serve, term};
use crate::client::Progress;
use crate::config::FilesKeys;
use crate::io::Driver;
use crate::store::Name;
use crate::store_client::{Config, Connection, Moved, StoreClientError};
use crate::tls::{ClientTls, Identity, Roots, Trust, Versions};

const PORT: u16 = 5002;

/// A connection that breaks off is opened again so often for one request.
const ATTEMPTS_MAX: u32 = 3;

/// A new file's mode before the umask takes its part.
const FILE_MODE: u32 = 0o666;

/// A store, and the connection to it while it lasts.
pub(super) struct Session {
    config: Config,
    connection: Option<Connection>,
}

/// What is done once per attempt.
pub(super) enum Ask<'a> {
    Put { name: &'a Name, bytes: u32, source: &'a mut File },
    Get { name: &'a Name, sink: &'a mut File },
    Change { from: &'a Name, to: &'a Name },
    Summary { name: &'a Name },
    Help,
}

impl Session {
    /// Where the store is, by its keys; nothing is sent yet.
    pub(super) fn new(keys: &FilesKeys) -> Result<Self, Fail> {
        Ok(Self { config: store_config(keys)?, connection: None })
    }

    /// Asks, over a new connection where there is none. A connection that breaks off is opened again
    /// and the request made from its start, which the protocol knows no way around.
    pub(super) async fn ask(
        &mut self,
        mut ask: Ask<'_>,
        progress: &mut dyn FnMut(Moved),
    ) -> Result<String, StoreClientError> {
        for attempt in 1.. {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => Connection::connect(&self.config).await?,
            };
            ask.rewind().map_err(StoreClientError::Local)?;
            match ask.once(&mut connection, progress).await {
                Ok(answer) => {
                    self.connection = Some(connection);
                    return Ok(answer);
                }
                Err(error) if error.may_be_retried() && ask.is_repeatable() => {
                    if attempt == ATTEMPTS_MAX {
                        return Err(error);
                    }
                    term::warn(&format!("{error}; trying again from the start"));
                }
                Err(error) => {
                    self.keep(connection, &error);
                    return Err(error);
                }
            }
        }
        Err(StoreClientError::Refused)
    }

    /// A connection on which a file broke off is of no further use.
    fn keep(&mut self, connection: Connection, error: &StoreClientError) {
        if matches!(error, StoreClientError::NotFound | StoreClientError::Unknown) {
            self.connection = Some(connection);
        }
    }

    /// What its connection runs on.
    pub(super) fn driver(&self) -> Driver {
        self.config.driver
    }

    pub(super) async fn close(self) {
        if let Some(connection) = self.connection {
            connection.close().await;
        }
    }
}

/// Where the store is, by its keys.
pub(super) fn store_config(keys: &FilesKeys) -> Result<Config, Fail> {
    let server = match &keys.server {
        Some(server) => server.clone(),
        None => std::net::SocketAddr::from(([127, 0, 0, 1], PORT)).into(),
    };
    let tls = match (&keys.ca, keys.plain) {
        (_, Some(true)) => None,
        (Some(ca), _) => {
            let (roots, identity) = (Roots::load(ca)?, identity(keys)?);
            let trust = Trust::Roots(&roots);
            Some(ClientTls::new(trust, identity.as_ref(), Versions::Tls12And13)?)
        }
        (None, _) => {
            return Err(Fail::usage(format!("nothing says whom to trust as {server}"))
                .with_hint("give --ca FILE, the ca.pem of the store's certificates, or --plain"));
        }
    };
    let token = keys.token_file.as_deref().map(serve::load_token).transpose()?;
    let driver = serve::choose_driver(keys.io)?;
    Ok(Config { server, tls, token, limits: keys.limits(), driver })
}

/// What is shown to a store that asks for a certificate.
fn identity(keys: &FilesKeys) -> Result<Option<Identity>, Fail> {
    match (&keys.cert, &keys.key) {
        (Some(cert), Some(key)) => Ok(Some(Identity::load(cert, key)?)),
        (None, None) => Ok(None),
        _ => Err(Fail::usage("a certificate and its key are shown together")
            .with_hint("give both --cert FILE and --key FILE, or neither")),
    }
}

impl Ask<'_> {
    fn rewind(&mut self) -> io::Result<()> {
        match self {
            Self::Put { source, .. } => source.rewind(),
            Self::Get { sink, .. } => sink.rewind().and_then(|()| sink.set_len(0)),
            _ => Ok(()),
        }
    }

    /// A change that was made, and whose answer was lost, would be refused the second time.
    fn is_repeatable(&self) -> bool {
        !matches!(self, Self::Change { .. })
    }

    async fn once(
        &mut self,
        connection: &mut Connection,
        progress: &mut dyn FnMut(Moved),
    ) -> Result<String, StoreClientError> {
        match self {
            Self::Put { name, bytes, source } => {
                connection.put(name, *bytes, *source, progress).await?;
            }
            Self::Get { name, sink } => {
                connection.get(name, *sink, progress).await?;
            }
            Self::Change { from, to } => connection.change(from, to).await?,
            Self::Summary { name } => return Ok(connection.summary(name).await?.1),
            Self::Help => return connection.help().await,
        }
        Ok(String::new())
    }
}

/// Sends a file, or stdin, which is first gathered: its size goes before it.
pub(super) async fn put(session: &mut Session, path: &Path, name: &Name) -> Result<u64, Fail> {
    let cannot = |error: io::Error| Fail::failed(format!("cannot read: {error}"));
    let mut source = if path == Path::new("-") {
        let mut spool = tempfile::tempfile().map_err(cannot)?;
        io::copy(&mut io::stdin().lock(), &mut spool).map_err(cannot)?;
        spool
    } else {
        File::open(path).map_err(cannot)?
    };
    let metadata = source.metadata().map_err(cannot)?;
    if !metadata.is_file() {
        return Err(Fail::failed("it is no regular file")
            .with_hint("send what a pipe says with - and --as NAME"));
    }
    let total = metadata.len();
    let bytes = u32::try_from(total).map_err(|_| {
        let max = u32::MAX;
        let over = total - u64::from(max);
        Fail::failed(format!(
            "the file has {total} bytes, {over} over the protocol's limit of {max}"
        ))
    })?;
    let mut bar = Bar::new(name.as_str());
    let mut progress =
        |moved: Moved| bar.update(Progress::Uploading { sent: moved.bytes, total: moved.total });
    let ask = Ask::Put { name, bytes, source: &mut source };
    let asked = session.ask(ask, &mut progress).await;
    bar.clear();
    asked?;
    Ok(total)
}

/// Fetches a file: to stdout, or to a path, where it appears whole or not at all.
pub(super) async fn get(
    session: &mut Session,
    name: &Name,
    to: &Path,
    force: bool,
) -> Result<u64, Fail> {
    let mut landing = Landing::open(to, force)?;
    let mut bar = Bar::new(name.as_str());
    let mut progress =
        |moved: Moved| bar.update(Progress::Downloading { got: moved.bytes, total: moved.total });
    let asked = session.ask(Ask::Get { name, sink: landing.file() }, &mut progress).await;
    bar.clear();
    asked?;
    landing.land()
}

/// Where a file arrives before it has its name: beside the name, or, for stdout, where temporary
/// files lie. Dropped, it is gone.
pub(super) struct Landing {
    file: NamedTempFile,
    to: PathBuf,
    force: bool,
}

impl Landing {
    /// `to` is a path, or `-` for stdout.
    pub(super) fn open(to: &Path, force: bool) -> Result<Self, Fail> {
        let is_stdout = to == Path::new("-");
        if !is_stdout && !force && to.symlink_metadata().is_ok() {
            return Err(exists(to));
        }
        let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let dir = if is_stdout { std::env::temp_dir() } else { dir.to_owned() };
        let file = tempfile::Builder::new()
            .prefix(".fxsrv-")
            .permissions(Permissions::from_mode(if is_stdout { 0o600 } else { FILE_MODE }))
            .tempfile_in(dir)
            .map_err(|error| cannot_write(to, &error))?;
        Ok(Self { file, to: to.to_owned(), force })
    }

    /// What the bytes are written to.
    pub(super) fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Gives it its name, and says how large it is.
    pub(super) fn land(mut self) -> Result<u64, Fail> {
        let cannot = |error: io::Error| cannot_write(&self.to, &error);
        let bytes = self.file.as_file().metadata().map_err(cannot)?.len();
        if self.to == Path::new("-") {
            self.file.as_file_mut().rewind().map_err(cannot)?;
            copy_out(self.file.as_file_mut())?;
            return Ok(bytes);
        }
        let saved = if self.force {
            self.file.persist(&self.to)
        } else {
            self.file.persist_noclobber(&self.to)
        };
        saved.map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => exists(&self.to),
            _ => cannot_write(&self.to, &error.error),
        })?;
        Ok(bytes)
    }
}

fn cannot_write(to: &Path, error: &io::Error) -> Fail {
    Fail::failed(format!("cannot write {}: {error}", to.display()))
}

/// A reader that has left has seen enough.
fn copy_out(file: &mut File) -> Result<(), Fail> {
    let mut stdout = io::stdout().lock();
    match io::copy(file, &mut stdout).and_then(|_| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Fail::failed(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

fn exists(path: &Path) -> Fail {
    Fail::failed(format!("{} exists already, and is not overwritten", path.display()))
        .with_hint("overwrite it with --force, or name another with -o")
}

/// Whether stdin is somebody's keyboard.
pub(super) fn is_interactive() -> bool {
    io::stdin().is_terminal()
}
