//! A worker and a master as processes of their own, on loopback, with certificates of the moment.

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

/// A worker and a master. Both end when this is dropped.
#[derive(Debug)]
pub struct Servers {
    // Ended before the directory of their files is.
    master: Server,
    worker: Server,
    target: Target,
    token: Token,
    /// How each of them is asked for its status.
    status: [ClientConfig; 2],
    _dir: TempDir,
}

/// How the servers are started.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The program.
    pub binary: PathBuf,
    /// Flags of both, such as `--io epoll`.
    pub flags: Vec<String>,
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
    /// Of the master.
    pub master: Counters,
    /// Of the worker.
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

        let worker = Server::start(setup, "worker", dir.path(), &[])?;
        let worker_address = worker.address.to_string();
        let token_flag = token_path.to_string_lossy().into_owned();
        let flags = ["--token-file", &token_flag, "--worker", &worker_address];
        let master = Server::start(setup, "master", dir.path(), &flags)?;
        let roots = Some(certs.load_roots().map_err(|error| identity(&error))?);
        let target = Target { address: master.address, name: NAME.to_owned(), roots };
        let client = certs.load_client().map_err(|error| identity(&error))?;
        let trust = target.roots.as_ref().map_or(Trust::Insecure, Trust::Roots);
        let tls = ClientTls::new(trust, Some(&client), Versions::Tls13)
            .map_err(|error| identity(&error))?;
        let asking = |server: &Server| {
            status::config(server.address, tls.clone(), token.clone())
                .ok_or_else(|| identity(&"its address is none"))
        };
        let status = [asking(&master)?, asking(&worker)?];
        Ok(Self { master, worker, target, token, status, _dir: dir })
    }

    /// Where they are.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What they want to be shown.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// What they have used so far.
    #[must_use]
    pub fn counters(&self) -> Pair {
        Pair { master: self.master.counters(), worker: self.worker.counters() }
    }

    /// What they have done so far, of servers that count their allocations.
    ///
    /// # Errors
    ///
    /// One of them does not answer.
    pub fn work(&self) -> io::Result<Work> {
        let mut copied_bytes = Some(0);
        for config in &self.status {
            let status = status::ask(config).map_err(io::Error::other)?;
            let copied = status.get("copied_bytes").copied();
            copied_bytes = copied_bytes.zip(copied).map(|(sum, more)| sum + more);
        }
        let allocations = self.master.allocations()? + self.worker.allocations()?;
        Ok(Work { allocations, copied_bytes })
    }

    /// Lets the peaks of memory start over.
    pub fn reset_memory_peaks(&self) {
        process::reset_memory_peak(self.master.child.id());
        process::reset_memory_peak(self.worker.child.id());
    }

    /// Peaks of memory, of master and worker.
    #[must_use]
    pub fn memory_peaks_bytes(&self) -> (u64, u64) {
        let peak = |server: &Server| process::memory_peak_bytes(server.child.id());
        (peak(&self.master), peak(&self.worker))
    }

    /// Process numbers of master and worker.
    #[must_use]
    pub fn pids(&self) -> (u32, u32) {
        (self.master.child.id(), self.worker.child.id())
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
        command.arg(role).args(["--listen", "127.0.0.1:0", "--log", "warn", "--certs"]);
        command.arg(certs).args(flags).args(&setup.flags);
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
        Counters::of(self.child.id())
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
