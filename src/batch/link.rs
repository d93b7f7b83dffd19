//! A file store, asked from threads that have another event loop than its client.

use std::io::{self, Write};
use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::{Landed, Trouble};
use crate::store::Name;
use crate::store_client::{Config, Connection, StoreClientError};
use crate::wire::Code;

/// Requests that wait for the connection.
const WAITING_MAX: usize = 16;

/// A connection that breaks off is opened again so often for one request.
const ATTEMPTS_MAX: u32 = 3;

/// A store, asked one thing after the other over one connection. Clones share it.
#[derive(Clone)]
pub(super) struct Link(mpsc::Sender<Ask>);

enum Ask {
    Get {
        name: Name,
        bytes_max: u64,
        reply: oneshot::Sender<Result<Vec<u8>, Trouble>>,
    },
    Put {
        name: Name,
        bytes: Vec<u8>,
        replace: bool,
        reply: oneshot::Sender<Result<Landed, Trouble>>,
    },
}

impl Link {
    pub(super) fn start(config: Config) -> io::Result<Self> {
        let (asks, mut taken) = mpsc::channel::<Ask>(WAITING_MAX);
        let driver = config.driver;
        let serve = move || {
            let served = driver.run(async {
                let mut client = Client { config, connection: None };
                while let Some(ask) = taken.recv().await {
                    client.answer(ask).await;
                }
                if let Some(connection) = client.connection {
                    connection.close().await;
                }
            });
            if let Err(error) = served {
                tracing::error!(%error, "the event loop for the store cannot be set up");
            }
        };
        thread::Builder::new().name("store".to_owned()).spawn(serve)?;
        Ok(Self(asks))
    }

    pub(super) async fn get(&self, name: Name, bytes_max: u64) -> Result<Vec<u8>, Trouble> {
        let (reply, answer) = oneshot::channel();
        self.ask(Ask::Get { name, bytes_max, reply }).await?;
        answer.await.map_err(|_| gone())?
    }

    pub(super) async fn put(
        &self,
        name: Name,
        bytes: Vec<u8>,
        replace: bool,
    ) -> Result<Landed, Trouble> {
        let (reply, answer) = oneshot::channel();
        self.ask(Ask::Put { name, bytes, replace, reply }).await?;
        answer.await.map_err(|_| gone())?
    }

    async fn ask(&self, ask: Ask) -> Result<(), Trouble> {
        self.0.send(ask).await.map_err(|_| gone())
    }
}

fn gone() -> Trouble {
    Trouble::storage("the thread for the store has ended")
}

struct Client {
    config: Config,
    connection: Option<Connection>,
}

impl Client {
    async fn answer(&mut self, ask: Ask) {
        // Whoever asked may be gone.
        match ask {
            Ask::Get { name, bytes_max, reply } => {
                let _ = reply.send(self.get(&name, bytes_max).await);
            }
            Ask::Put { name, bytes, replace, reply } => {
                let _ = reply.send(self.put(&name, &bytes, replace).await);
            }
        }
    }

    async fn get(&mut self, name: &Name, bytes_max: u64) -> Result<Vec<u8>, Trouble> {
        for attempt in 1.. {
            let mut sink = Sink { bytes: Vec::new(), bytes_max, is_over: false };
            match self.get_once(name, &mut sink).await {
                Ok(()) => return Ok(sink.bytes),
                Err(_) if sink.is_over => return Err(Trouble::too_large(bytes_max + 1, bytes_max)),
                Err(error) if error.may_be_retried() && attempt < ATTEMPTS_MAX => {}
                Err(error) => return Err(trouble(&error)),
            }
        }
        Err(gone())
    }

    async fn get_once(&mut self, name: &Name, sink: &mut Sink) -> Result<(), StoreClientError> {
        let mut connection = self.connect().await?;
        connection.ask_for(std::iter::once(name)).await?;
        let taken = connection.take(sink, &mut |_| {}).await;
        self.keep(connection, taken.as_ref().err());
        taken.map(drop)
    }

    /// A store takes a file whole or not at all, and in place of what has the name: so it is looked at
    /// first. Nobody else writes the results of a batch.
    async fn put(&mut self, name: &Name, bytes: &[u8], replace: bool) -> Result<Landed, Trouble> {
        if !replace {
            match self.get(name, bytes.len() as u64).await {
                Ok(there) if there == bytes => return Ok(Landed::Same),
                Err(missing) if missing.code == Trouble::NOT_FOUND => {}
                Err(other) if other.is_passing => return Err(other),
                _ => return Err(Trouble::exists()),
            }
        }
        let length = u32::try_from(bytes.len())
            .map_err(|_| Trouble::too_large(bytes.len() as u64, u64::from(u32::MAX)))?;
        for attempt in 1.. {
            let put = match self.connect().await {
                Ok(mut connection) => {
                    let put = connection.put(name, length, &mut &*bytes, &mut |_| {}).await;
                    self.keep(connection, put.as_ref().err());
                    put
                }
                Err(error) => Err(error),
            };
            match put {
                Ok(()) => return Ok(Landed::New),
                Err(error) if error.may_be_retried() && attempt < ATTEMPTS_MAX => {}
                Err(error) => return Err(trouble(&error)),
            }
        }
        Err(gone())
    }

    async fn connect(&mut self) -> Result<Connection, StoreClientError> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => Connection::connect(&self.config).await,
        }
    }

    /// A connection on which something broke off is of no further use.
    fn keep(&mut self, connection: Connection, error: Option<&StoreClientError>) {
        if error.is_none_or(StoreClientError::is_whole_answer) {
            self.connection = Some(connection);
        }
    }
}

/// A file as it comes, up to its limit.
struct Sink {
    bytes: Vec<u8>,
    bytes_max: u64,
    is_over: bool,
}

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if (self.bytes.len() + data.len()) as u64 > self.bytes_max {
            self.is_over = true;
            return Err(io::Error::other("the file is too large"));
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn trouble(error: &StoreClientError) -> Trouble {
    let trouble = match error {
        StoreClientError::NotFound => Trouble::lasting(Trouble::NOT_FOUND, error.to_string()),
        StoreClientError::NotAdmitted(_) => {
            Trouble::lasting(Code::Unauthorized.name(), error.to_string())
        }
        StoreClientError::Refused | StoreClientError::Unknown => {
            Trouble::not_allowed(error.to_string())
        }
        _ => Trouble::storage(error.to_string()),
    };
    match error.hint() {
        Some(hint) => trouble.with_hint(hint),
        None => trouble,
    }
}
