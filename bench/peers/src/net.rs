//! Event loops, sockets, and the talk with the process that runs the comparison.

use std::io;
use std::net::SocketAddr;

use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

use crate::Fallible;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;

/// A TCP connection whose receiving side reads ahead: rustls itself reads in steps of 4 KiB, and
/// neither sink nor load shall be what is measured.
pub(crate) type Buffered = BufReader<TcpStream>;

/// Runs `future` to its end, on this thread alone.
pub(crate) fn block_on(future: impl Future<Output = Fallible>) -> Fallible {
    Builder::new_current_thread().enable_all().build()?.block_on(future)
}

/// Listens, and says where on stdout.
pub(crate) fn listen(address: SocketAddr) -> Fallible<TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM.nonblocking().cloexec(),
        None,
    )?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into())?;
    say(&format!("listening on {}", listener.local_addr()?));
    Ok(listener)
}

/// The next connection. Only running out of descriptors may fail here, and that ends nothing.
pub(crate) async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Where it fails the connection is gone, and the handshake will say so.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    }
}

/// A connection that sends at once what it is given.
pub(crate) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Says that a stage is reached, and waits for the line that lets the next one begin.
pub(crate) fn rendezvous(stage: &str) -> io::Result<()> {
    say(stage);
    // Blocking: nothing else is to happen until the line is here.
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}

/// A line on stdout, for `run.py`.
#[allow(clippy::print_stdout)]
pub(crate) fn say(line: &str) {
    println!("{line}");
}
