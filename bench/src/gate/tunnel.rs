//! The tunnel as a kernel: client, relay and receiver on one thread and one event loop, so that what
//! happens after what does not depend on how threads are scheduled.

use std::cell::RefCell;
use std::hint::black_box;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;

use fxsrv::io::{BUFFER_BYTES, Buffer, Driver, Listener, Socket, listen, spawn};
use fxsrv::tls::certs::throwaway;
use fxsrv::tls::{ClientAuth, ClientTls, ServerTls, Trust, Versions};
use fxsrv::transport::{Relay, TlsStream};
use tokio::sync::Notify;

use super::kernels::Outcome;

/// Bytes of one operation: three full records, which lie in a socket whole. More would come in pieces
/// whose number is the kernel's choice.
pub(super) const BYTES: usize = 48 * 1024;

/// Far beyond what anything here takes under valgrind.
const TIMEOUT: Duration = Duration::from_secs(120);

const NAME: &str = "localhost";

type Trouble = Box<dyn std::error::Error>;

/// Sends so many bodies through a relay.
pub(super) fn tunnel(driver: Driver, operations: u64) -> Outcome {
    driver.run(all(driver, operations))?
}

async fn all(driver: Driver, operations: u64) -> Outcome {
    let made = throwaway(&[NAME.to_owned()])?;
    let server = ServerTls::new(&made.server, ClientAuth::None, Versions::Tls13)?;
    let client = ClientTls::new(Trust::Roots(&made.roots), None, Versions::Tls13)?;
    let (front, back) = (open()?, open()?);
    let (front_address, back_address) = (front.local_addr()?, back.local_addr()?);
    let bytes = operations * BYTES as u64;
    let is_through = Rc::new(Notify::new());
    let receiving =
        spawn(receive(accept(driver, back), server.clone(), operations, Rc::clone(&is_through)));
    let relaying = spawn(relay(
        accept(driver, front),
        connect(driver, back_address, client.clone()),
        server,
        bytes,
    ));

    let mut stream = connect(driver, front_address, client).await?;
    let body = vec![0x5a; BYTES];
    for _ in 0..operations {
        stream.write_all(black_box(&body)).await?;
        is_through.notified().await;
    }
    relaying.await??;
    receiving.await?
}

async fn relay(
    accepting: impl Future<Output = Result<Socket, Trouble>>,
    connecting: impl Future<Output = Result<TlsStream, Trouble>>,
    server: ServerTls,
    bytes: u64,
) -> Outcome {
    let mut from = TlsStream::accept(accepting.await?, &server, TIMEOUT).await?;
    let mut to = connecting.await?;
    attach(&mut from);
    attach(&mut to);
    let (mut read, _) = from.split();
    let (_, mut write) = to.split();
    Ok(Relay::new(bytes).run(&mut read, &mut write).await?)
}

async fn receive(
    accepting: impl Future<Output = Result<Socket, Trouble>>,
    server: ServerTls,
    operations: u64,
    is_through: Rc<Notify>,
) -> Outcome {
    let mut stream = TlsStream::accept(accepting.await?, &server, TIMEOUT).await?;
    attach(&mut stream);
    for _ in 0..operations {
        let mut left = BYTES as u64;
        while left > 0 {
            let got = stream
                .read_at_most(left, &mut |plain| {
                    black_box(plain);
                })
                .await?;
            if got == 0 {
                return Err("the relay ended early".into());
            }
            left -= got as u64;
        }
        is_through.notify_one();
    }
    Ok(())
}

fn open() -> std::io::Result<TcpListener> {
    listen(SocketAddr::from(([127, 0, 0, 1], 0)))
}

async fn connect(
    driver: Driver,
    address: SocketAddr,
    tls: ClientTls,
) -> Result<TlsStream, Trouble> {
    let socket = Socket::connect(driver, address, TIMEOUT).await?;
    Ok(TlsStream::connect(socket, &tls, NAME, TIMEOUT).await?)
}

fn attach(stream: &mut TlsStream) {
    stream.attach([Buffer::heap(BUFFER_BYTES), Buffer::heap(BUFFER_BYTES)]);
}

/// The next connection.
async fn accept(driver: Driver, listener: TcpListener) -> Result<Socket, Trouble> {
    let listener = Listener::from_std(driver, listener)?;
    let (found, is_here) = (RefCell::new(None), Notify::new());
    let take = |socket| {
        found.replace(Some(socket));
        is_here.notify_one();
    };
    listener.accept_until(is_here.notified(), take).await;
    found.take().ok_or_else(|| "nobody came".into())
}
