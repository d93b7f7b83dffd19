//! The way to the master: connections that are kept, on the event loop of each thread.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::auth::Token;
use crate::client::{ClientConfig, ClientError, Connection};
use crate::io::spawn;

/// Connections that wait for their next request, of one thread.
const IDLE_MAX: usize = 64;

/// Less than a master keeps an idle connection, so that it is not ended just as it is used.
const IDLE_TIME_MAX: Duration = Duration::from_secs(20);

thread_local! {
    static HERE: RefCell<Option<Rc<Master>>> = const { RefCell::new(None) };
}

/// The connections of one thread to the master.
pub(super) struct Master {
    config: ClientConfig,
    idle: RefCell<Vec<(Connection, Instant)>>,
}

impl Master {
    /// Makes this thread's way to the master, for [`here`].
    pub(super) fn enter(config: ClientConfig) {
        let master = Self { config, idle: RefCell::default() };
        HERE.set(Some(Rc::new(master)));
    }

    /// Ends it, while there is still an event loop to end connections on.
    pub(super) fn leave() {
        HERE.take();
    }

    /// A connection that shows `token`: one that is kept, or a new one.
    pub(super) async fn connect(&self, token: Token) -> Result<Connection, ClientError> {
        while let Some((mut connection, since)) = self.idle.borrow_mut().pop() {
            if since.elapsed() < IDLE_TIME_MAX && connection.is_open() {
                connection.set_token(token);
                return Ok(connection);
            }
        }
        Connection::connect(&ClientConfig { token, ..self.config.clone() }).await
    }

    /// Keeps a connection for the next request, if it can take one.
    pub(super) fn keep(&self, connection: Connection) {
        let mut idle = self.idle.borrow_mut();
        if connection.is_open() && idle.len() < IDLE_MAX {
            idle.push((connection, Instant::now()));
        }
    }
}

/// Starts `work` with this thread's master, beside the handler that calls. What waits for it may be
/// dropped; the work goes on to its end.
pub(super) fn beside<T, F>(work: impl FnOnce(Rc<Master>) -> F) -> Option<tokio::task::JoinHandle<T>>
where
    T: 'static,
    F: Future<Output = T> + 'static,
{
    HERE.with_borrow(Clone::clone).map(|master| spawn(work(master)))
}
