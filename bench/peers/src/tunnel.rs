//! A tunnel the plain way: tokio, tokio-rustls, and a loop that copies.
//!
//! With `--pool` it knows where a request ends, and keeps its connections to the sink: no more of a
//! master than is needed to compare the two on small requests.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use fxsrv::wire::{REPLY_HEADER_BYTES, ReplyHeader};
use rustls::pki_types::ServerName;
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
    copy_bidirectional_with_sizes,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client};

use crate::net::{self, Buffered};
use crate::request::Incoming;
use crate::{Fallible, tls};

/// The loop's buffer, in each direction.
const COPY_BYTES: usize = 64 * 1024;

/// Pass TLS connections on to another address, over TLS
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// Where the other end is
    #[arg(long)]
    upstream: SocketAddr,

    /// Certificates, as `fxsrv certs init` makes them
    #[arg(long)]
    certs: PathBuf,

    /// Bytes that are read ahead below TLS. rustls asks for 4 KiB at a time, which a smaller buffer
    /// leaves to the socket
    #[arg(long, default_value = "1")]
    read_bytes: NonZeroUsize,

    /// Read requests, and keep the connections to the other end
    #[arg(long)]
    pool: bool,
}

pub(crate) async fn run(args: Args) -> Fallible {
    let acceptor = TlsAcceptor::from(tls::server(&args.certs, false)?);
    let upstream = Arc::new(Upstream {
        address: args.upstream,
        name: tls::server_name()?,
        connector: TlsConnector::from(tls::client(&args.certs, true)?),
        read_bytes: args.read_bytes.get(),
        idle: Mutex::default(),
    });
    let listener = net::listen(args.listen)?;
    loop {
        let stream = BufReader::with_capacity(args.read_bytes.get(), net::accept(&listener).await);
        let (acceptor, upstream) = (acceptor.clone(), Arc::clone(&upstream));
        tokio::spawn(async move {
            // Who is behind a connection that fails hears of it by its end.
            let Ok(client) = acceptor.accept(stream).await else { return };
            let _ = if args.pool {
                by_request(client, &upstream).await
            } else {
                whole(client, &upstream).await
            };
        });
    }
}

struct Upstream {
    address: SocketAddr,
    name: ServerName<'static>,
    connector: TlsConnector,
    read_bytes: usize,
    idle: Mutex<Vec<Connection>>,
}

type Connection = client::TlsStream<Buffered>;

impl Upstream {
    async fn connect(&self) -> io::Result<Connection> {
        let stream: TcpStream = net::connect(self.address).await?;
        let stream = BufReader::with_capacity(self.read_bytes, stream);
        self.connector.connect(self.name.clone(), stream).await
    }

    fn take(&self) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give_back(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}

/// A connection for a connection.
async fn whole<S: AsyncRead + AsyncWrite + Unpin>(
    mut client: S,
    upstream: &Upstream,
) -> io::Result<()> {
    let mut server = upstream.connect().await?;
    copy_bidirectional_with_sizes(&mut client, &mut server, COPY_BYTES, COPY_BYTES).await?;
    Ok(())
}

/// Request after request, each over a connection that is kept.
async fn by_request<S: AsyncRead + AsyncWrite + Unpin>(
    mut client: S,
    upstream: &Upstream,
) -> io::Result<()> {
    while let Some(request) = Incoming::read(&mut client).await? {
        let mut server = match upstream.take() {
            Some(connection) => connection,
            None => upstream.connect().await?,
        };
        server.write_all(&request.head).await?;
        copy_exactly(&mut client, &mut server, request.body_bytes).await?;
        let mut head = [0; REPLY_HEADER_BYTES];
        server.read_exact(&mut head).await?;
        let reply = ReplyHeader::parse(&head).map_err(io::Error::other)?;
        client.write_all(&head).await?;
        copy_exactly(&mut server, &mut client, reply.body_bytes).await?;
        upstream.give_back(server);
    }
    client.shutdown().await
}

async fn copy_exactly<R, W>(from: &mut R, to: &mut W, bytes: u64) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut left = bytes;
    let most = usize::try_from(left).map_or(COPY_BYTES, |left| left.min(COPY_BYTES));
    let mut buffer = vec![0; most];
    while left > 0 {
        let room = usize::try_from(left).map_or(most, |left| left.min(most));
        let got = from.read(&mut buffer[..room]).await?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        to.write_all(&buffer[..got]).await?;
        left -= got as u64;
    }
    to.flush().await
}
