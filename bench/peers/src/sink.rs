//! Where the tunnels end: reads bodies, drops them, and answers as the worker would.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use fxsrv::wire::{Operation, ReplyHeader, Version, encode_reply_v1_0_header};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::net::{self, Buffered};
use crate::request::{Incoming, drop_bytes, write_zeros};
use crate::{Fallible, tls};

/// What is read ahead on each connection.
const READ_BYTES: usize = 64 * 1024;

/// The answer to a master that asks how its worker is: nothing is queued, everything is free.
const STATUS: &str = "role=worker\nversion=sink\nslots=1024\nbusy=0\nqueued=0\nlost=0\n";

/// Answer every request with as many bytes as its file name says
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// Certificates, as `fxsrv certs init` makes them
    #[arg(long)]
    certs: PathBuf,
}

pub(crate) async fn run(args: Args) -> Fallible {
    let acceptor = TlsAcceptor::from(tls::server(&args.certs, true)?);
    let listener = net::listen(args.listen)?;
    loop {
        let stream = BufReader::with_capacity(READ_BYTES, net::accept(&listener).await);
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // A connection that fails is seen, and counted, where the load waits for its answer.
            if let Ok(stream) = acceptor.accept(stream).await {
                let _ = serve(stream).await;
            }
        });
    }
}

async fn serve(mut stream: TlsStream<Buffered>) -> io::Result<()> {
    while let Some(request) = Incoming::read(&mut stream).await? {
        drop_bytes(&mut stream, request.body_bytes).await?;
        let text = if request.operation == Operation::Status { STATUS } else { "" };
        let body_bytes = if text.is_empty() { request.answer_bytes } else { text.len() as u64 };
        let head = match request.version {
            Version::V1_0 => encode_reply_v1_0_header(body_bytes).to_vec(),
            Version::V1_1 => reply(text, body_bytes).encode().to_vec(),
        };
        stream.write_all(&head).await?;
        stream.write_all(text.as_bytes()).await?;
        write_zeros(&mut stream, body_bytes - text.len() as u64).await?;
        stream.flush().await?;
        if request.version == Version::V1_0 {
            break;
        }
    }
    stream.shutdown().await
}

/// Only a text has a checksum: the load asks for none, as hashing is not what is measured.
fn reply(text: &str, body_bytes: u64) -> ReplyHeader {
    let checksum = match text {
        "" => [0; 16],
        text => fxsrv::wire::ChecksumKind::Md5.of(text.as_bytes()),
    };
    ReplyHeader { status: 0, checksum, body_bytes, retry_after_ms: 0, convert_us: 0 }
}
