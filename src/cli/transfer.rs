//! A store, asked by a person or a script.

use std::fs::File;
use std::io::{self, IsTerminal as _, Seek as _};
use std::path::Path;

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
pub(super) const ATTEMPTS_MAX: u32 = 3;

/// A store, and the connection to it while it lasts.
pub(super) struct Session {
    config: Config,
    pub(super) connection: Option<Connection>,
    /// Files that were asked for on it and have not come yet.
    pub(super) asked: usize,
}

/// What is done once per attempt.
pub(super) enum Ask<'a> {
    Put { name: &'a Name, bytes: u32, source: &'a mut File },
    Change { from: &'a Name, to: &'a Name },
    Summary { name: &'a Name },
    Help,
}

impl Session {
    /// Where the store is, by its keys; nothing is sent yet.
    pub(super) fn new(keys: &FilesKeys) -> Result<Self, Fail> {
        Ok(Self { config: store_config(keys)?, connection: None, asked: 0 })
    }

    /// Asks, over a new connection where there is none. A connection that breaks off is opened again
    /// and the request made from its start, which the protocol knows no way around.
    pub(super) async fn ask(
        &mut self,
        mut ask: Ask<'_>,
        progress: &mut dyn FnMut(Moved),
    ) -> Result<String, StoreClientError> {
        for attempt in 1.. {
            let mut connection = self.connect().await?;
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

    /// The connection that there is, on which nothing may be on its way, or a new one.
    pub(super) async fn connect(&mut self) -> Result<Connection, StoreClientError> {
        let idle = self.connection.take().filter(|_| self.asked == 0);
        self.asked = 0;
        if let Some(connection) = idle {
            return Ok(connection);
        }
        Connection::connect(&self.config).await
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

/// The same for a command whose flags of the store begin with `--store`.
pub(super) fn side_store_config(keys: &FilesKeys) -> Result<Config, Fail> {
    if keys.ca.is_none() && keys.plain != Some(true) {
        return Err(Fail::usage("nothing says whom to trust as the store that store: is")
            .with_hint("give --store-ca FILE, the ca.pem of its certificates, or --store-plain"));
    }
    store_config(keys)
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

/// Whether stdin is somebody's keyboard.
pub(super) fn is_interactive() -> bool {
    io::stdin().is_terminal()
}
