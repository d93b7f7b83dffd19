//! The kernels: what every request does, in the smallest piece that means something.

use std::error::Error;
use std::hint::black_box;
use std::str::FromStr;

use fxsrv::auth::{Token, Tokens};
use fxsrv::convert::{Options, Target, convert};
use fxsrv::io::{BUFFER_BYTES, Buffer, Driver, RecvWindow, SendWindow};
use fxsrv::limits::ConvertLimits;
use fxsrv::tls::certs::throwaway;
use fxsrv::tls::{ClientAuth, ClientTls, Progress, ServerTls, TlsSession, Trust, Versions};
use fxsrv::wire::{
    ChecksumKind, Operation, ReplyHeader, RequestHeader, RequestOptions, Version, admit,
};

use crate::content::{Kind, Motif, Store};

/// Of a run of a kernel.
pub type Outcome = Result<(), Box<dyn Error>>;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kernel {
    /// A request's header and options, written, read and admitted.
    WireRequest,
    /// The header of an answer, written and read.
    WireReply,
    /// MD5 of 64 KiB.
    Md5,
    /// A record of 16 KiB, sealed by one session and opened by the other.
    TlsRecord,
    /// 48 KiB from one connection through the relay into another, over loopback.
    Tunnel,
    /// 20 kB of prose laid out as PDF.
    TextToPdf,
    /// The text of a PDF of 20 kB.
    PdfToText,
    /// A photograph of 60 kB from PNG to JPEG.
    PngToJpg,
}

impl Kernel {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::WireRequest,
        Self::WireReply,
        Self::Md5,
        Self::TlsRecord,
        Self::Tunnel,
        Self::TextToPdf,
        Self::PdfToText,
        Self::PngToJpg,
    ];

    /// The name in the baseline.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::WireRequest => "wire-request",
            Self::WireReply => "wire-reply",
            Self::Md5 => "md5-64k",
            Self::TlsRecord => "tls-record-16k",
            Self::Tunnel => "tunnel-48k",
            Self::TextToPdf => "text-to-pdf-20k",
            Self::PdfToText => "pdf-to-text-20k",
            Self::PngToJpg => "png-to-jpg-60k",
        }
    }

    /// Operations of a run: some tens of millions of instructions, a second under valgrind.
    pub(super) fn operations(self) -> u64 {
        match self {
            Self::WireRequest => 5_000,
            Self::WireReply => 50_000,
            Self::Md5 => 60,
            Self::TlsRecord => 400,
            Self::Tunnel => 100,
            Self::TextToPdf | Self::PdfToText | Self::PngToJpg => 20,
        }
    }

    /// Does it so often; what needs sockets, on `driver`.
    ///
    /// # Errors
    ///
    /// What it is about does not work.
    pub fn run(self, operations: u64, driver: Driver) -> Outcome {
        match self {
            Self::WireRequest => wire_request(operations),
            Self::WireReply => wire_reply(operations),
            Self::Md5 => {
                let body = vec![0x5a; 64 * 1024];
                for _ in 0..operations {
                    black_box(ChecksumKind::Md5.of(black_box(&body)));
                }
                Ok(())
            }
            Self::TlsRecord => tls_record(operations),
            Self::Tunnel => super::tunnel::tunnel(driver, operations),
            Self::TextToPdf => conversion(Kind::Text, 20_000, Target::Pdf, operations),
            Self::PdfToText => conversion(Kind::Pdf, 20_000, Target::Text, operations),
            Self::PngToJpg => conversion(Kind::Png, 60_000, Target::Jpg, operations),
        }
    }
}

impl FromStr for Kernel {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kernel| kernel.name() == name);
        found.ok_or_else(|| format!("'{name}' is no kernel"))
    }
}

fn wire_request(operations: u64) -> Outcome {
    let token = Token::parse("a-token-of-thirty-two-bytes-here")?;
    let tokens = Tokens::Only(vec![token.clone()]);
    let operation = Operation::Convert(Target::Jpg);
    let block = b"name=photo.png\nchecksum=xxh3\nquality=90\nid=0123456789abcdef\n";
    for at in 0..operations {
        let checksum = [7; 16];
        let header = RequestHeader::new(
            Version::V1_1,
            &token,
            checksum,
            "photo.png",
            black_box(at),
            operation,
            block.len(),
        );
        let header = RequestHeader::parse(black_box(&header.to_bytes()));
        let admitted = admit(&header, &|token| tokens.check(token), 1 << 30)
            .map_err(|(_, failure)| failure)?;
        let options = RequestOptions::parse(black_box(block), admitted.operation)?;
        black_box((admitted, options));
    }
    Ok(())
}

fn wire_reply(operations: u64) -> Outcome {
    for at in 0..operations {
        let header = ReplyHeader {
            status: 0,
            checksum: [7; 16],
            body_bytes: black_box(at),
            retry_after_ms: 0,
            convert_us: 1_234,
        };
        black_box(ReplyHeader::parse(black_box(&header.encode()))?);
    }
    Ok(())
}

/// One side of a connection in memory.
struct End {
    session: TlsSession,
    recv: RecvWindow,
    send: SendWindow,
}

impl End {
    fn new(session: TlsSession) -> Self {
        let window = || Buffer::heap(BUFFER_BYTES);
        Self { session, recv: RecvWindow::new(window()), send: SendWindow::new(window()) }
    }

    /// Takes what the other side has sent, and says how many bytes of it were data.
    fn take(&mut self, other: &mut Self) -> Result<usize, Box<dyn Error>> {
        other.session.flush_control(&mut other.send);
        self.recv.append(other.send.pending());
        other.send.clear();
        let mut data = 0;
        loop {
            let progress = self.session.advance(&mut self.recv, &mut |plain| {
                black_box(plain);
            })?;
            match progress {
                Progress::Plaintext(bytes) => data += bytes,
                Progress::Ready => {}
                Progress::Flush => {
                    self.session.flush_control(&mut self.send);
                }
                Progress::NeedRead | Progress::PeerClosed | Progress::Closed => return Ok(data),
            }
        }
    }
}

fn tls_record(operations: u64) -> Outcome {
    let made = throwaway(&["localhost".to_owned()])?;
    let server = ServerTls::new(&made.server, ClientAuth::None, Versions::Tls13)?;
    let client = ClientTls::new(Trust::Roots(&made.roots), None, Versions::Tls13)?;
    let mut server = End::new(TlsSession::server(&server)?);
    let mut client = End::new(TlsSession::client(&client, "localhost")?);
    while client.session.is_handshaking() || server.session.is_handshaking() {
        client.take(&mut server)?;
        server.take(&mut client)?;
    }
    client.take(&mut server)?;
    let plain = vec![0x5a; 16 * 1024];
    for _ in 0..operations {
        client.session.seal(black_box(&plain), &mut client.send)?;
        let got = server.take(&mut client)?;
        if got != plain.len() {
            return Err(format!("{got} of {} bytes came through", plain.len()).into());
        }
    }
    Ok(())
}

fn conversion(kind: Kind, bytes: usize, target: Target, operations: u64) -> Outcome {
    let file = Store::new(1, None).file(kind, Motif::Photo, bytes)?;
    let (options, limits) = (Options::default(), ConvertLimits::default());
    for _ in 0..operations {
        black_box(convert(black_box(&file), target, &options, &limits)?);
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_works_and_has_a_name_of_its_own() {
        for kernel in Kernel::ALL {
            kernel.run(2, Driver::Epoll).unwrap();
            assert_eq!(kernel.name().parse(), Ok(kernel));
        }
    }
}
