//! A worker and a master, or a file store, as processes of their own on loopback, with certificates of the
//! moment.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use fxsrv::auth::Token;
use fxsrv::client::ClientConfig;
use fxsrv::tls::certs::CertDir;
use fxsrv::tls::{ClientTls, Trust, Versions};
use tempfile::TempDir;

use super::process::{self, Counters};
use super::status;
use crate::load::Target;

/// What stands before the address in a server's one line on stdout.
const ANNOUNCEMENT: &str = "listening on ";

/// What stands before the count in the answer of one that counts its allocations.
const ALLOCATIONS: &str = "allocations=";

const NAME: &str = "localhost";

/// Flags of a worker that counts its allocations, which it does of one process.
pub const IN_ONE_PROCESS: [&str; 1] = ["--isolation=thread"];

/// Why there are no servers.
#[derive(Debug, thiserror::Error)]
pub enum ServersError {
    /// A file of theirs cannot be written, or the program cannot be run.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// Certificates or the token cannot be made.
    #[error("{0}")]
    Identity(String),
    /// It ended instead of listening.
    #[error("{role} did not start:\n{log}")]
    NotListening {
        /// Which of them.
        role: &'static str,
        /// What it wrote to stderr.
        log: String,
    },
}

/// A master and its worker, or a file store. All end when this is dropped.
#[derive(Debug)]
pub struct Servers {
    // Ended before the directory of their files is.
    /// The one that is asked.
    front: Server,
    /// The one behind a master.
    worker: Option<Server>,
    target: Target,
    /// A store of ours asks for none.
    token: Option<Token>,
    /// How each of them is asked for its status, which a store does not have.
    status: Vec<ClientConfig>,
    _dir: TempDir,
}

/// How the servers are started.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// The program.
    pub binary: PathBuf,
    /// Flags of both, such as `--io epoll`.
    pub flags: Vec<String>,
    /// Flags of the master alone.
    pub master_flags: Vec<String>,
    /// Flags of the worker alone.
    pub worker_flags: Vec<String>,
}

/// What the servers' own code did, both together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Allocations, where the program is the one that counts them.
    pub allocations: u64,
    /// Bytes that were copied on the way between two sockets, where the servers say so.
    pub copied_bytes: Option<u64>,
}

/// Counters of both.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pair {
    /// Of the master, or of a store.
    pub master: Counters,
    /// Of the worker; of a store there is none.
    pub worker: Counters,
}

impl Servers {
    /// Starts the worker, then the master.
    ///
    /// # Errors
    ///
    /// One of them does not come up; the error has what it said.
    pub fn start(setup: &Setup) -> Result<Self, ServersError> {
        let dir = tempfile::tempdir().map_err(|source| failed("make a directory", source))?;
        let identity = |error: &dyn std::fmt::Display| ServersError::Identity(error.to_string());
        let names = [NAME.to_owned(), "127.0.0.1".to_owned()];
        let certs = CertDir::init(dir.path().join("certs"), &names).map_err(|e| identity(&e))?;
        let token = Token::generate().map_err(|error| identity(&error))?;
        let token_path = dir.path().join("token");
        write_secret(&token_path, token.reveal())
            .map_err(|source| failed("write the token", source))?;

        let worker_flags: Vec<_> = setup.worker_flags.iter().map(String::as_str).collect();
        let worker = Server::start(setup, "worker", dir.path(), &worker_flags)?;
        let worker_address = worker.address.to_string();
        let token_flag = token_path.to_string_lossy().into_owned();
        let mut flags = vec!["--token-file", &token_flag, "--worker", &worker_address];
        flags.extend(setup.master_flags.iter().map(String::as_str));
        let master = Server::start(setup, "master", dir.path(), &flags)?;
        let roots = Some(certs.load_roots().map_err(|error| identity(&error))?);
        let (address, name) = (master.address, NAME.to_owned());
        let target = Target { address, name, roots, is_plain: false };
        let client = certs.load_client().map_err(|error| identity(&error))?;
        let trust = target.roots.as_ref().map_or(Trust::Insecure, Trust::Roots);
        let tls = ClientTls::new(trust, Some(&client), Versions::Tls13)
            .map_err(|error| identity(&error))?;
        let asking = |server: &Server| {
            status::config(server.address, tls.clone(), token.clone())
                .ok_or_else(|| identity(&"its address is none"))
        };
        let status = vec![asking(&master)?, asking(&worker)?];
        let (worker, token) = (Some(worker), Some(token));
        Ok(Self { front: master, worker, target, token, status, _dir: dir })
    }

    /// Starts a file store over an empty directory, without TLS where `is_plain`.
    ///
    /// # Errors
    ///
    /// It does not come up; the error has what it said.
    pub fn start_store(setup: &Setup, is_plain: bool) -> Result<Self, ServersError> {
        let dir = tempfile::tempdir().map_err(|source| failed("make a directory", source))?;
        let identity = |error: &dyn std::fmt::Display| ServersError::Identity(error.to_string());
        let names = [NAME.to_owned(), "127.0.0.1".to_owned()];
        let certs = CertDir::init(dir.path().join("certs"), &names).map_err(|e| identity(&e))?;
        let root = dir.path().join("files");
        fs::create_dir(&root).map_err(|source| failed("make a directory", source))?;
        let root = root.to_string_lossy().into_owned();
        let mut flags = vec!["--root", &root];
        flags.extend(is_plain.then_some("--plain"));
        let front = Server::start(setup, "store", dir.path(), &flags)?;
        let roots = Some(certs.load_roots().map_err(|error| identity(&error))?);
        let (address, name) = (front.address, NAME.to_owned());
        let target = Target { address, name, roots, is_plain };
        Ok(Self { front, worker: None, target, token: None, status: Vec::new(), _dir: dir })
    }

    /// Where they are.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What they want to be shown, if anything.
    #[must_use]
    pub fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// What they have used so far.
    #[must_use]
    pub fn counters(&self) -> Pair {
        let worker = self.worker.as_ref().map(Server::counters).unwrap_or_default();
        Pair { master: self.front.counters(), worker }
    }

    /// What they have done so far, of servers that count their allocations.
    ///
    /// # Errors
    ///
    /// One of them does not answer.
    pub fn work(&self) -> io::Result<Work> {
        let mut copied_bytes = (!self.status.is_empty()).then_some(0);
        for config in &self.status {
            let status = status::ask(config).map_err(io::Error::other)?;
            let copied = status.get("copied_bytes").copied();
            copied_bytes = copied_bytes.zip(copied).map(|(sum, more)| sum + more);
        }
        let mut allocations = 0;
        for server in self.each() {
            allocations += server.allocations()?;
        }
        Ok(Work { allocations, copied_bytes })
    }

    /// Lets the peaks of memory start over.
    pub fn reset_memory_peaks(&self) {
        self.each().for_each(|server| process::reset_memory_peak(server.child.id()));
    }

    /// Peaks of memory: of a master and its worker, or of a store and 0.
    #[must_use]
    pub fn memory_peaks_bytes(&self) -> (u64, u64) {
        let peak = |server: &Server| process::memory_peak_bytes(server.child.id());
        (peak(&self.front), self.worker.as_ref().map_or(0, peak))
    }

    /// Process numbers: of a master and its worker, or of a store.
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        self.each().map(|server| server.child.id())
    }

    fn each(&self) -> impl Iterator<Item = &Server> {
        std::iter::once(&self.front).chain(&self.worker)
    }
}

#[derive(Debug)]
struct Server {
    child: Child,
    address: SocketAddr,
    /// Kept open: a server whose stdout is closed would fail to write there.
    stdout: RefCell<BufReader<ChildStdout>>,
    /// By this one that counts its allocations is asked for them.
    stdin: RefCell<Option<ChildStdin>>,
}

impl Server {
    fn start(
        setup: &Setup,
        role: &'static str,
        dir: &Path,
        flags: &[&str],
    ) -> Result<Self, ServersError> {
        let log = dir.join(format!("{role}.log"));
        let stderr = File::create(&log).map_err(|source| failed("write a log", source))?;
        let certs = dir.join("certs");
        let mut command = ending_with_this(&setup.binary);
        command.arg(role).args(["--listen", "127.0.0.1:0", "--log", "warn"]);
        if !flags.contains(&"--plain") {
            command.arg("--certs").arg(certs);
        }
        command.args(flags).args(&setup.flags);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("FXSRV_") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(|source| failed(&format!("run {}", setup.binary.display()), source))?;
        let mut line = String::new();
        let stdout = child.stdout.take().map(BufReader::new);
        let address = stdout.and_then(|mut stdout| {
            stdout.read_line(&mut line).ok()?;
            let address = line.trim().strip_prefix(ANNOUNCEMENT)?.parse().ok()?;
            Some((address, stdout))
        });
        let Some((address, stdout)) = address else {
            let _ = child.kill();
            let _ = child.wait();
            let log = fs::read_to_string(&log).unwrap_or_default();
            return Err(ServersError::NotListening { role, log: log.trim().to_owned() });
        };
        let stdin = RefCell::new(child.stdin.take());
        Ok(Self { child, address, stdout: RefCell::new(stdout), stdin })
    }

    fn counters(&self) -> Counters {
        Counters::with_children(self.child.id())
    }

    fn allocations(&self) -> io::Result<u64> {
        if let Some(stdin) = &mut *self.stdin.borrow_mut() {
            stdin.write_all(b"\n")?;
        }
        let mut line = String::new();
        self.stdout.borrow_mut().read_line(&mut line)?;
        let count = line.trim().strip_prefix(ALLOCATIONS).and_then(|count| count.parse().ok());
        count.ok_or_else(|| io::Error::other(format!("not a count of allocations: {line:?}")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It keeps nothing that a kill could damage.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that the kernel ends when this process ends, however it does, where setpriv can say so.
fn ending_with_this(binary: &Path) -> Command {
    const FLAGS: [&str; 3] = ["--pdeathsig", "KILL", "--"];
    let tried = Command::new("setpriv").args(FLAGS).arg("true").output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        return Command::new(binary);
    }
    let mut command = Command::new("setpriv");
    command.args(FLAGS).arg(binary);
    command
}

fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{text}")
}

fn failed(what: &str, source: io::Error) -> ServersError {
    ServersError::Io { what: format!("cannot {what}"), source }
}
