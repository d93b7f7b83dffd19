//! Threads, connections, and the end of both.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::mpsc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::app::{App, Peer};
use super::master::Master;
use super::stall::Stalling;
use super::{Config, front};
use crate::client::{ClientConfig, Wire};
use crate::io::listen;
use crate::metrics::{Registry, count};
use crate::server::{Phase, Stop};

/// The pause after the process ran out of descriptors; without one the loop would spin.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// A registry for a gateway.
#[must_use]
pub fn registry() -> Registry {
    Registry::new(front::NAMES)
}

/// Serves until `stop` says otherwise; `on_listening` hears the address once it serves.
///
/// # Errors
///
/// The address cannot be bound, or a thread cannot be set up.
pub fn run(config: Config, stop: &Stop, on_listening: impl FnOnce(SocketAddr)) -> io::Result<()> {
    let listener = listen(config.listen).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {}: {error}", config.listen))
    })?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let (driver, threads) = (config.driver, config.threads);
    let app = App::new(config, stop.clone());
    std::thread::scope(|scope| {
        let (ready, readiness) = mpsc::channel();
        let start = |number| {
            let (listener, ready) = (listener.try_clone()?, ready.clone());
            let (app, stop) = (app.clone(), stop.clone());
            let body = move || {
                let ended = driver.run(serve_thread(app, listener, stop, &ready));
                if let Err(error) | Ok(Err(error)) = ended {
                    // Nobody listens any more where the first failure was heard already.
                    let _ = ready.send(Err(error));
                }
            };
            std::thread::Builder::new().name(format!("web-{number}")).spawn_scoped(scope, body)
        };
        let started = (0..threads).map(start).collect::<io::Result<Vec<_>>>();
        drop(ready);
        let all_ready = started.and_then(|threads| {
            for _ in &threads {
                readiness.recv().unwrap_or_else(|_| Err(io::Error::other("a thread died")))?;
            }
            Ok(threads)
        });
        // The scope waits for the threads that do run: they have to be told.
        let threads = all_ready.inspect_err(|_| stop.request(Phase::Stopped))?;
        on_listening(address);
        for thread in threads {
            thread.join().map_err(|_| io::Error::other("an event loop died"))?;
        }
        Ok(())
    })
}

async fn serve_thread(
    app: App,
    listener: std::net::TcpListener,
    mut stop: Stop,
    ready: &mpsc::Sender<io::Result<()>>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    app.config().metrics.enter();
    Master::enter(client_config(app.config())?);
    // The receiver is gone only where another thread has failed, and then a stop follows.
    let _ = ready.send(Ok(()));
    let mut connections = JoinSet::new();
    let mut accepting_ends = stop.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            () = accepting_ends.reached(Phase::Leaving) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((_, peer)) if connections.len() >= app.config().limits.connections_max => {
                tracing::warn!(%peer, max = app.config().limits.connections_max, "full");
            }
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                connections.spawn_local(accept(app.clone(), stream, peer, stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
    drop(listener);
    drain(&mut connections, &mut stop, app.config().grace).await;
    Master::leave();
    Ok(())
}

/// What the master is asked with; each request brings its own token.
fn client_config(config: &Config) -> io::Result<ClientConfig> {
    let token = config.token.clone().map_or_else(crate::auth::Token::generate, Ok);
    Ok(ClientConfig {
        server: config.server.clone(),
        tls: config.tls.clone(),
        token: token.map_err(io::Error::other)?,
        wire: Wire::V1_1,
        limits: config.client_limits,
        driver: config.driver,
    })
}

async fn drain(connections: &mut JoinSet<()>, stop: &mut Stop, grace: Duration) {
    let emptied = async { while connections.join_next().await.is_some() {} };
    tokio::select! {
        () = emptied => return,
        () = tokio::time::sleep(grace) => tracing::warn!("grace is over"),
        () = stop.reached(Phase::Stopped) => {}
    }
    connections.shutdown().await;
}

async fn accept(app: App, stream: TcpStream, peer: SocketAddr, stop: Stop) {
    count(|here| here.connections_accepted.add(1));
    match &app.config().https {
        None => serve_connection(app.clone(), stream, peer, stop).await,
        Some(tls) => {
            let accepting = tls.acceptor().accept(stream);
            match tokio::time::timeout(app.config().limits.header_timeout, accepting).await {
                Ok(Ok(stream)) => serve_connection(app.clone(), stream, peer, stop).await,
                Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS"),
                Err(_) => tracing::debug!(%peer, "no TLS in time"),
            }
        }
    }
    count(|here| here.connections_closed.add(1));
}

async fn serve_connection(
    app: App,
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    peer: SocketAddr,
    mut stop: Stop,
) {
    let limits = &app.config().limits;
    let stream = Stalling::new(stream, limits.stall_timeout);
    let router = front::router(app.clone());
    let service = service_fn(|request| {
        let (app, router) = (app.clone(), router.clone());
        async move {
            let request = front::into_request(request);
            Ok::<_, Infallible>(front::serve(&app, router, Peer(peer), request).await)
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.head_bytes_max)
        .max_headers(limits.headers_max)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = stop.reached(Phase::Leaving) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "connection ended");
    }
}
