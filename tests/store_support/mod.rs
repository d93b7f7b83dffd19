//! A store inside the test's process, and a plain client that shares no code with it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::mpsc;

use fxsrv::auth::Tokens;
use fxsrv::io::Driver;
use fxsrv::limits::{ServerLimits, StoreLimits};
use fxsrv::store::{self, Config, Connections, Directory, Durability, Security, SummaryForm};
use fxsrv::tls::{ClientAuth, Identity, ServerTls, Versions};

use super::support::{Client as TlsClient, DRIVERS, PATIENCE, Pki, Server, Setup, plan};

pub const HELP: &[u8] = b"\xdfbye change get help put summary";

/// Requests on one connection, in this order, and their answers.
pub const VECTORS: &[(&str, &str, &str)] = &[
    ("put", "0866696c652e7478740000000c68656c6c6f20776f726c640a", "00"),
    ("get", "2866696c652e747874", "2866696c652e7478740000000c68656c6c6f20776f726c640a"),
    ("get missing", "2b6d697373696e672e747874", "60"),
    ("change", "4866696c652e7478740b72656e616d65642e747874", "00"),
    (
        "get renamed",
        "2b72656e616d65642e747874",
        "2b72656e616d65642e7478740000000c68656c6c6f20776f726c640a",
    ),
    ("change missing", "4866696c652e7478740b72656e616d65642e747874", "60"),
    ("put numbers", "0b6e756d626572732e7478740000000d342e350a310a0a322e3337350a", "00"),
    (
        "summary",
        "6b6e756d626572732e747874",
        "5373756d6d6172795f6e756d626572732e7478740000001d\
         4d61783a20342e350a4d696e3a20312e300a4176673a20322e3632350a",
    ),
    ("summary missing", "6b6d697373696e672e747874", "60"),
    ("summary of no numbers", "6b72656e616d65642e747874", "a0"),
    ("help", "80", "df627965206368616e6765206765742068656c70207075742073756d6d617279"),
    ("help of 2022", "60", "df627965206368616e6765206765742068656c70207075742073756d6d617279"),
    ("unknown", "e0", "80"),
    ("put with a NUL", "0966696c652e74787400000000026869", "00"),
    ("get after NUL", "2866696c652e747874", "2866696c652e747874000000026869"),
    ("put of a path", "042e2e2f780000000178", "a0"),
    ("put of nothing", "05656d70747900000000", "00"),
    ("get of nothing", "25656d707479", "25656d70747900000000"),
];

pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// A whole PUT.
pub fn put(name: &str, data: &[u8]) -> Vec<u8> {
    let size = u32::try_from(data.len()).unwrap().to_be_bytes();
    [&[name.len() as u8], name.as_bytes(), &size, data].concat()
}

/// How bytes are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    Whole,
    /// One by one, each in a record of its own.
    Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Tls,
    Plain,
}

/// A store over a directory of its own.
pub struct Store {
    server: Server,
    wire: Wire,
    pki: Pki,
    dir: tempfile::TempDir,
}

pub fn over_all(test: impl Fn(&Store)) {
    for driver in DRIVERS {
        for wire in [Wire::Tls, Wire::Plain] {
            test(&start(driver, wire));
        }
    }
}

pub fn start(driver: Driver, wire: Wire) -> Store {
    start_with(driver, wire, |_, _| {})
}

pub fn start_with(
    driver: Driver,
    wire: Wire,
    change: impl FnOnce(&mut Config, &mut StoreLimits),
) -> Store {
    // Beside the program, on a disk: where temporary files lie there may be no attributes.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let pki = Pki::new();
    let identity = Identity::from_pem(&pki.server.cert_pem, &pki.server.key_pem).unwrap();
    let tls = ServerTls::new(&identity, ClientAuth::None, Versions::Tls12And13).unwrap();
    let mut config = Config {
        plan: plan(&Setup::new(driver)),
        security: if wire == Wire::Tls { Security::Tls(tls) } else { Security::Plain },
        tokens: Tokens::Open,
        limits: ServerLimits::default(),
        durability: Durability::default(),
        connections: Connections::default(),
        summary: SummaryForm::default(),
        metrics: store::registry(),
    };
    let mut limits = StoreLimits::default();
    change(&mut config, &mut limits);
    let directory = Directory::open(dir.path(), limits).unwrap();
    let server = Server::start(move |stop, sender: mpsc::Sender<SocketAddr>| {
        store::run(config, directory, stop, |address| sender.send(address).unwrap()).unwrap();
    });
    Store { server, wire, pki, dir }
}

impl Store {
    pub fn connect(&self) -> Client {
        let address = self.server.address;
        Client(match self.wire {
            Wire::Tls => Either::Tls(Box::new(TlsClient::connect(&self.pki, address))),
            Wire::Plain => {
                let socket = TcpStream::connect(address).unwrap();
                socket.set_nodelay(true).unwrap();
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                socket.set_write_timeout(Some(PATIENCE)).unwrap();
                Either::Plain(socket)
            }
        })
    }

    /// A connection that is known to be served.
    pub fn connect_and_ask(&self) -> Client {
        let mut client = self.connect();
        assert_eq!(client.ask(b"\x80", HELP.len()), HELP);
        client
    }

    pub fn drain(&self) {
        self.server.drain();
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// Names in the directory, without the store's own.
    pub fn names(&self) -> Vec<String> {
        let mut names = self.all_names();
        names.retain(|name| !name.starts_with(".fxsrv-"));
        names
    }

    /// Drafts and the like.
    pub fn own_names(&self) -> Vec<String> {
        let mut names = self.all_names();
        names.retain(|name| name.starts_with(".fxsrv-tmp"));
        names
    }

    fn all_names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.root()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// A client of either kind.
pub struct Client(Either);

enum Either {
    Tls(Box<TlsClient>),
    Plain(TcpStream),
}

impl Client {
    fn stream(&mut self) -> &mut dyn ReadWrite {
        match &mut self.0 {
            Either::Tls(client) => &mut client.tls,
            Either::Plain(socket) => socket,
        }
    }

    pub fn send(&mut self, bytes: &[u8], cut: Cut) {
        let step = if cut == Cut::Bytes { 1 } else { bytes.len().max(1) };
        for piece in bytes.chunks(step) {
            self.stream().write_all(piece).unwrap();
            self.stream().flush().unwrap();
        }
    }

    pub fn read(&mut self, bytes: usize) -> Vec<u8> {
        let mut got = vec![0; bytes];
        self.stream().read_exact(&mut got).unwrap();
        got
    }

    /// What one `recv` of a blocking client returns.
    pub fn read_once(&mut self, bytes: usize) -> Vec<u8> {
        let mut got = vec![0; bytes];
        let read = self.stream().read(&mut got).unwrap();
        got.truncate(read);
        got
    }

    pub fn ask(&mut self, request: &[u8], answer_bytes: usize) -> Vec<u8> {
        self.send(request, Cut::Whole);
        self.read(answer_bytes)
    }

    /// The first byte of the answer.
    pub fn ask_any(&mut self, request: &[u8]) -> Vec<u8> {
        self.send(request, Cut::Whole);
        self.read_once(1)
    }

    /// The answer, and an orderly end after it.
    pub fn ask_to_end(&mut self, request: &[u8]) -> Vec<u8> {
        self.send(request, Cut::Whole);
        let mut got = Vec::new();
        self.stream().read_to_end(&mut got).unwrap();
        got
    }

    pub fn get(&mut self, name: &str) -> Option<Vec<u8>> {
        let request = [&[0x20 | name.len() as u8], name.as_bytes()].concat();
        let first = self.ask(&request, 1)[0];
        if first != request[0] {
            return None;
        }
        let head = self.read(name.len() + 4);
        let size = u32::from_be_bytes(head[name.len()..].try_into().unwrap());
        Some(self.read(size as usize))
    }

    /// Reads to the end, which must be no orderly one where there is a difference.
    pub fn read_to_cut(&mut self) -> Option<usize> {
        let is_tls = matches!(self.0, Either::Tls(_));
        let mut got = Vec::new();
        match self.stream().read_to_end(&mut got) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Some(got.len()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Some(got.len()),
            Ok(_) if !is_tls => Some(got.len()),
            _ => None,
        }
    }

    /// Says goodbye, and expects to hear it too, and nothing else.
    pub fn ends_in_order(mut self) {
        match &mut self.0 {
            Either::Tls(client) => {
                client.tls.conn.send_close_notify();
                client.tls.flush().unwrap();
            }
            Either::Plain(socket) => socket.shutdown(Shutdown::Write).unwrap(),
        }
        assert_eq!(self.read_once(1), b"");
    }

    /// Is gone without a word.
    pub fn vanish(self) {
        match self.0 {
            Either::Tls(client) => client.tls.sock.shutdown(Shutdown::Both).unwrap(),
            Either::Plain(socket) => socket.shutdown(Shutdown::Both).unwrap(),
        }
    }
}

trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}
