//! `fxsrv convert`.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::carry::{Errand, Origin};
use super::fail::{Exit, Fail};
use super::input::{is_stdin, read};
use super::local::{LOCAL_NAMES, Parts, Tiers};
use super::output::{Destination, Output, name_in_store};
use super::progress::Bar;
use super::server::{self, Target as Server};
use super::{fonts, logs, options, serve, term, transfer};
use crate::auth::Token;
use crate::client::{Address, ClientConfig, ClientError, Connection, Request};
use crate::config::{self, Common, ConvertKeys, FilesKeys, LogLevel};
use crate::convert::{self, Target};
use crate::io::Driver;
use crate::server::Lifecycle;
use crate::store::Name;
use crate::store_client;
use crate::tls::certs::throwaway;
use crate::tls::{ClientTls, Trust, Versions};
use crate::wire::{Code, Operation, RequestOptions};

/// A local server has one client: a request takes two buffers on the worker and four on the master.
const LOCAL_BUFFERS: usize = 8;

/// Convert files
///
/// Pictures become JPG, PNG or WEBP; text becomes PDF, and PDF text. The type of a file is told by its
/// content, never by its name. Each result lies beside its file, with the new extension, and appears
/// whole or not at all.
///
/// Two names without --to are a file and its result, whose ending says the type. `store:NAME` is a
/// file of the file store, for either: it streams from there and to there, and is kept nowhere on the
/// way.
///
/// Without a server, a master and a worker run inside of this process for as long as it takes, on
/// 127.0.0.1 and with certificates and a token of the moment.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "fxsrv convert <FILE>... --to <TYPE> [OPTIONS]\n       \
                      fxsrv convert <FILE> <RESULT> [OPTIONS]",
    after_long_help = "\
Examples:
  On this machine alone:
      fxsrv convert photo.png --to jpg
      fxsrv convert *.jpg --to webp --quality 85 -o small/
      fxsrv convert report.pdf --to txt -o - | less
      fxsrv convert - --to pdf < notes.txt > notes.pdf

  From a file store and to one, by a server or on this machine:
      fxsrv convert store:report.txt store:report.pdf --store files.example.org:5002 \\
          --store-ca ca.pem
      fxsrv convert *.jpg --to webp -o store: --store 127.0.0.1:5002 --store-plain

  By a server, as `fxsrv up` prints it there:
      fxsrv convert photo.png --to jpg --server files.example.org:5000 \\
          --ca ca.pem --token-file token

  Every flag has a variable, and a line in the table [convert] of ~/.config/fxsrv/config.toml:
      server = \"files.example.org:5000\"
      ca = \"/home/me/.config/fxsrv/ca.pem\"
      token-file = \"/home/me/.config/fxsrv/token\"

Exit codes: 0 all files are converted, 1 the server refused or a file failed, 2 the command line or
the configuration is wrong, 3 the server could not be reached, or not be trusted."
)]
pub(super) struct Args {
    /// Files to convert; - is stdin, store:NAME a file of the store
    #[arg(required_unless_present = "check_config", value_name = "FILE")]
    files: Vec<PathBuf>,

    /// What they become; of two names without it the second is the result
    #[arg(long, value_name = "TYPE")]
    to: Option<Type>,

    /// Where the result goes: a file, a directory, - for stdout, store: or store:NAME
    #[arg(long, short, value_name = "FILE|DIR|-")]
    output: Option<PathBuf>,

    #[command(flatten)]
    keys: ConvertKeys,

    #[command(flatten)]
    store: StoreArgs,

    /// Read keys from a file; a flag or a variable goes before a line of it
    /// [default: ~/.config/fxsrv/config.toml where it exists]
    #[arg(long, env = "FXSRV_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// Check flags, environment, file, CA and token, say what is found, and end
    #[arg(long)]
    check_config: bool,
}

/// Which store `store:` is; without a flag as `[files]` has it.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct StoreArgs {
    /// The store that store: is [default: 127.0.0.1:5002]
    #[arg(long, env = "FXSRV_STORE", value_name = "HOST:PORT", help_heading = "Store")]
    store: Option<Address>,

    /// Trust the store by this file: the ca.pem of its certificates
    #[arg(long, env = "FXSRV_STORE_CA", value_name = "FILE", help_heading = "Store")]
    store_ca: Option<PathBuf>,

    /// Speak with the store without TLS
    #[arg(
        long, env = "FXSRV_STORE_PLAIN", num_args = 0, default_missing_value = "true",
        value_parser = clap::builder::BoolishValueParser::new(), help_heading = "Store",
    )]
    store_plain: Option<bool>,

    /// File with the token to show to the store, where it asks for one
    #[arg(long, env = "FXSRV_STORE_TOKEN_FILE", value_name = "FILE", help_heading = "Store")]
    store_token_file: Option<PathBuf>,
}

impl StoreArgs {
    pub(super) fn keys(self) -> FilesKeys {
        FilesKeys {
            server: self.store,
            ca: self.store_ca,
            plain: self.store_plain,
            token_file: self.store_token_file,
            ..FilesKeys::default()
        }
    }
}

/// What a file becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Type {
    #[value(alias = "jpeg")]
    Jpg,
    Png,
    Webp,
    Pdf,
    #[value(alias = "text")]
    Txt,
}

impl Type {
    pub(super) fn target(self) -> Target {
        match self {
            Self::Jpg => Target::Jpg,
            Self::Png => Target::Png,
            Self::Webp => Target::Webp,
            Self::Pdf => Target::Pdf,
            Self::Txt => Target::Text,
        }
    }

    /// What a name's ending says.
    fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        <Self as clap::ValueEnum>::from_str(&extension, true).ok()
    }

    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Jpg => "jpg",
            Self::Png => "png",
            Self::Webp => "webp",
            Self::Pdf => "pdf",
            Self::Txt => "txt",
        }
    }
}

pub(super) fn run(args: &Args) -> Result<Exit, Fail> {
    let config::File { convert: file, files: store_file, .. } =
        config::File::load_for_user(args.config.as_deref())?;
    let has_flag_token = args.keys.token_file.is_some();
    let keys = args.keys.clone().or(file.clone());
    logs::start(keys.log.unwrap_or(LogLevel(tracing::Level::ERROR)));
    let driver = serve::choose_driver(keys.io)?;
    let server = server::target(&keys, has_flag_token, driver)?;
    let options =
        |to: Type| options::request_options(&args.keys, &file, Operation::Convert(to.target()));
    if args.check_config {
        args.to.map(options).transpose()?;
        return facts(&keys, &server, driver).map(|()| Exit::Done);
    }
    let Plan { to, files, output } = plan(args)?;
    let output = Output::parse(output, files.len())?;
    let is_stored = matches!(output, Output::Store | Output::StoreFile(_));
    let store = if is_stored || files.iter().any(|path| name_in_store(path).is_some()) {
        let store_keys = args.store.clone().keys().or(store_file);
        let mut store = transfer::side_store_config(&store_keys)?;
        (store.driver, store.limits) = (driver, keys.limits());
        Some(store)
    } else {
        None
    };
    let job = Job {
        to,
        options: options(to)?,
        output,
        force: keys.force == Some(true),
        body_bytes_max: keys.limits().body_bytes_max,
        store,
    };
    match server {
        Server::Remote(config) => convert_all(&job, files, &config),
        Server::Local => {
            let (tiers, config) = start_tiers(&keys, to, driver)?;
            let converted = convert_all(&job, files, &config);
            let stopped = tiers.stop();
            converted.and_then(|exit| stopped.map(|()| exit))
        }
    }
}

/// Which of the names are files, and where their results go.
struct Plan<'a> {
    to: Type,
    files: &'a [PathBuf],
    output: Option<&'a Path>,
}

/// Two names are a file and its result where nothing else says what it becomes, or where the second
/// is a name in the store that says the same.
fn plan(args: &Args) -> Result<Plan<'_>, Fail> {
    let output = args.output.as_deref();
    if let ([_, result], None) = (&args.files[..], output) {
        let is_stored = args.files.iter().any(|path| name_in_store(path).is_some());
        match (args.to, Type::of(result)) {
            (None, Some(to)) => {
                return Ok(Plan { to, files: &args.files[..1], output: Some(result) });
            }
            (Some(to), Some(said)) if is_stored && to == said => {
                return Ok(Plan { to, files: &args.files[..1], output: Some(result) });
            }
            _ => {}
        }
    }
    let to = args.to.or_else(|| output.and_then(Type::of)).ok_or_else(|| {
        Fail::usage("nothing says what the files become")
            .with_hint("give --to jpg, png, webp, pdf or txt, or a result with such an ending")
    })?;
    Ok(Plan { to, files: &args.files, output })
}

fn facts(keys: &ConvertKeys, server: &Server, driver: Driver) -> Result<(), Fail> {
    let limits = keys.limits();
    let (server, wire) = match server {
        Server::Remote(config) => (config.server.to_string(), config.wire),
        Server::Local => ("inside of this process".to_owned(), keys.wire.unwrap_or_default()),
    };
    serve::facts(&[
        ("server", server),
        ("version", wire.to_string()),
        ("driver", driver.to_string()),
        ("largest file", config::ByteSize(limits.body_bytes_max).to_string()),
        ("largest answer", config::ByteSize(limits.answer_bytes_max).to_string()),
    ])
}

/// A master and a worker on 127.0.0.1, and how to reach them. Certificates and token end with them.
fn start_tiers(
    keys: &ConvertKeys,
    to: Type,
    driver: Driver,
) -> Result<(Tiers, ClientConfig), Fail> {
    let made = throwaway(&LOCAL_NAMES.map(str::to_owned))?;
    let token = Token::generate()?;
    let common = Common {
        threads: Some(1),
        buffers: Some(LOCAL_BUFFERS),
        max_body: keys.max_body,
        ..Common::default()
    };
    let running = common.parse()?;
    let fonts =
        if to == Type::Pdf { fonts::open(keys.font.as_deref())?.into_inner() } else { vec![] };
    let parts = Parts {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        driver,
        running,
        workers: 1,
        // It is asked for one file after another.
        slots: 1,
        fonts,
        isolation: config::isolation(keys.isolation, None, None, running.limits.body_bytes_max, 0),
        server: made.server,
        client: made.client,
        roots: made.roots,
        token: token.clone(),
        access: crate::exchange::AccessLog::default(),
        files: None,
        store_root: None,
    };
    let tiers = Tiers::start(&parts, Lifecycle::default())?;
    let config = ClientConfig {
        server: tiers.address().into(),
        tls: ClientTls::new(Trust::Roots(&parts.roots), None, Versions::Tls12And13)?,
        token,
        wire: keys.wire.unwrap_or_default(),
        limits: keys.limits(),
        driver,
    };
    Ok((tiers, config))
}

/// What is done to every file.
struct Job {
    to: Type,
    options: RequestOptions,
    output: Output,
    force: bool,
    body_bytes_max: u64,
    /// The store, where a name is one in it.
    store: Option<store_client::Config>,
}

/// How far the files of one command are.
struct Tally {
    converted: usize,
    failed: usize,
    exit: Exit,
    /// Destinations of this command: two files must not become one.
    written: Vec<Destination>,
}

/// Converts file after file over one connection. A file that fails does not stop the others; a
/// server that cannot be reached or trusted, or that refuses the token, does.
fn convert_all(job: &Job, files: &[PathBuf], config: &ClientConfig) -> Result<Exit, Fail> {
    let mut tally = Tally { converted: 0, failed: 0, exit: Exit::Done, written: Vec::new() };
    let done = config.driver.run(async {
        let mut connection = None;
        for path in files {
            let name = if is_stdin(path) { "stdin".to_owned() } else { path.display().to_string() };
            match convert_one(job, path, &name, config, &mut connection, &mut tally).await {
                Ok(()) => tally.converted += 1,
                Err(Refusal { fail, is_final }) => {
                    tally.failed += 1;
                    tally.exit = tally.exit.max(fail.exit);
                    term::error(&if is_final { fail } else { fail.of(&name) });
                    if is_final {
                        break;
                    }
                }
            }
        }
        if let Some(connection) = connection {
            Connection::close(connection).await;
        }
    });
    done.map_err(|error| Fail::failed(ClientError::EventLoop(error).to_string()))?;
    if files.len() > 1 {
        let skipped = files.len() - tally.converted - tally.failed;
        let skipped = if skipped > 0 { format!(", {skipped} not tried") } else { String::new() };
        term::note(&format!("{} converted, {} failed{skipped}", tally.converted, tally.failed));
    }
    Ok(tally.exit)
}

/// Why a file is not converted, and whether the next ones would fail for the same reason.
pub(super) struct Refusal {
    fail: Fail,
    is_final: bool,
}

impl From<Fail> for Refusal {
    fn from(fail: Fail) -> Self {
        Self { fail, is_final: false }
    }
}

impl From<ClientError> for Refusal {
    fn from(error: ClientError) -> Self {
        let is_final = match &error {
            ClientError::Unreachable { .. } | ClientError::Untrusted { .. } => true,
            ClientError::Refused(failure) => failure.code == Code::Unauthorized,
            _ => false,
        };
        Self { fail: error.into(), is_final }
    }
}

async fn convert_one(
    job: &Job,
    path: &Path,
    name: &str,
    config: &ClientConfig,
    connection: &mut Option<Connection>,
    tally: &mut Tally,
) -> Result<(), Refusal> {
    let input = (!is_stdin(path)).then_some(path);
    if path.is_dir() {
        return Err(Fail::failed("it is a directory").with_hint("name the files in it").into());
    }
    let destination = job.output.destination(input, job.to.extension())?;
    if destination != Destination::Stdout && tally.written.contains(&destination) {
        let message = format!("{destination} is the result of an earlier file already");
        return Err(Fail::failed(message)
            .with_hint("convert them one by one, and name each result with -o")
            .into());
    }
    destination.check(job.force, job.to == Type::Txt)?;
    let stored = name_in_store(path).transpose()?;
    if let Some(store) = job.store.as_ref().filter(|_| is_carried(stored.as_ref(), &destination)) {
        let errand = Errand {
            target: job.to.target(),
            options: &job.options,
            from: stored.map_or(Origin::Path(path), Origin::Store),
            to: &destination,
            force: job.force,
            body_bytes_max: job.body_bytes_max,
            store,
        };
        let start = Instant::now();
        let connection = open(connection, config).await?;
        let carried = errand.run(connection, Bar::new(name)).await?;
        tell(name, &destination, [carried.body_bytes, carried.result_bytes], start);
        tally.written.push(destination);
        return Ok(());
    }
    let body = read(input, job.body_bytes_max)?;
    let connection = open(connection, config).await?;
    let sent_name = path.file_name().map_or(name.into(), |name| name.to_string_lossy());
    let sent_name = if input.is_some() { &sent_name } else { name };
    let request =
        Request { target: job.to.target(), name: sent_name, body: &body, options: &job.options };
    let (mut bar, start) = (Bar::new(name), Instant::now());
    let answer = connection.convert(&request, &mut |progress| bar.update(progress)).await;
    bar.clear();
    let answer = answer?;
    destination.save(&answer.bytes, job.force)?;
    if let Some(notice) = convert::notice(&answer.bytes, job.to.target()) {
        term::warn(&format!("{name}: {notice}"));
    }
    tell(name, &destination, [body.len() as u64, answer.bytes.len() as u64], start);
    tally.written.push(destination);
    Ok(())
}

/// Whether a file passes through rather than being read and written here.
fn is_carried(stored: Option<&Name>, destination: &Destination) -> bool {
    stored.is_some() || matches!(destination, Destination::Store(_))
}

async fn open<'a>(
    connection: &'a mut Option<Connection>,
    config: &ClientConfig,
) -> Result<&'a mut Connection, ClientError> {
    Ok(match connection {
        Some(connection) => connection,
        None => connection.insert(Connection::connect(config).await?),
    })
}

fn tell(name: &str, destination: &Destination, [before, after]: [u64; 2], start: Instant) {
    if term::is_terminal() && *destination != Destination::Stdout {
        let (before, after) = (term::size(before), term::size(after));
        let ms = start.elapsed().as_millis();
        term::note(&format!("{name} -> {destination}  {before} -> {after} in {ms} ms"));
    }
}
