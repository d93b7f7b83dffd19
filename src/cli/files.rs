//! `fxsrv put`, `get`, `change`, `summary` and `help`: a store from scripts.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::fail::{Exit, Fail};
use super::fetch::{Fetched, Wanted};
use super::transfer::{self, Ask, Session};
use super::{logs, pattern, term};
use crate::config::{File, FilesKeys, LogLevel};
use crate::io::Driver;
use crate::store::Name;
use crate::store_client::ASKED_MAX;

/// What all of these commands take.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    #[command(flatten)]
    pub(super) keys: FilesKeys,

    /// Read keys of `[files]` from a file [default: ~/.config/fxsrv/config.toml where it exists]
    #[arg(long, env = "FXSRV_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print a line of JSON for each request
    #[arg(long)]
    json: bool,
}

/// Store files
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  fxsrv put report.pdf photo.jpg --server files.example.org:5002 --ca ca.pem
  tar c notes | fxsrv put - --as notes.tar --ca ca.pem

A file takes the place of one that has its name. A pattern in quotes, such as '*.log', means the files
that it fits.")]
pub(super) struct PutArgs {
    /// Files to store; - is stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The name in the store [default: that of the file, without directories]
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,

    #[command(flatten)]
    common: Common,
}

/// Fetch files
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  fxsrv get report.pdf photo.jpg -o inbox/ --server files.example.org:5002 --ca ca.pem
  fxsrv get notes.tar -o - --ca ca.pem | tar x")]
pub(super) struct GetArgs {
    /// Names in the store
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,

    /// Where they go: a file, a directory, or - for stdout [default: the current directory]
    #[arg(long, short, value_name = "FILE|DIR|-")]
    output: Option<PathBuf>,

    /// Overwrite files that exist
    #[arg(long, short)]
    force: bool,

    #[command(flatten)]
    common: Common,
}

/// Give a file in a store another name
#[derive(Debug, clap::Args)]
pub(super) struct ChangeArgs {
    /// The name that it has
    old: String,

    /// The name that it gets; one that is taken is refused
    new: String,

    #[command(flatten)]
    common: Common,
}

/// Print greatest, least and mean of the numbers in a file of a store
#[derive(Debug, clap::Args)]
pub(super) struct SummaryArgs {
    /// Its name; it has one number on each line
    name: String,

    #[command(flatten)]
    common: Common,
}

/// Print the operations that a store has; without --server, help on this program
#[derive(Debug, clap::Args)]
pub(super) struct HelpArgs {
    /// A command of this program to explain, in place of a store's operations
    command: Option<String>,

    #[command(flatten)]
    common: Common,
}

impl Common {
    pub(super) fn session(self) -> Result<Session, Fail> {
        let file = File::load_for_user(self.config.as_deref())?;
        logs::start(LogLevel(tracing::Level::ERROR));
        Session::new(&self.keys.or(file.files))
    }
}

pub(super) fn put(args: PutArgs) -> Result<Exit, Fail> {
    let files: Vec<PathBuf> = args.files.iter().flat_map(|path| pattern::expand(path)).collect();
    if files.len() > 1 && args.name.is_some() {
        return Err(Fail::usage(format!("{} files cannot have one name", files.len())));
    }
    let mut report = Report::new(args.common.json);
    let mut session = args.common.session()?;
    run(session.driver(), async {
        for path in &files {
            let started = Instant::now();
            let name = match &args.name {
                Some(name) => name.clone(),
                None => own_name(path)?,
            };
            let stored = match Name::parse(name.as_bytes()) {
                Ok(name) => transfer::put(&mut session, path, &name).await,
                Err(error) => Err(error.into()),
            };
            if report.tell("put", &name, started, stored)? {
                break;
            }
        }
        session.close().await;
        Ok(report.exit)
    })
}

pub(super) fn get(args: GetArgs) -> Result<Exit, Fail> {
    let many = args.names.len() > 1;
    let is_dir = args.output.as_ref().is_some_and(|output| {
        output.is_dir() || output.as_os_str().as_encoded_bytes().ends_with(b"/")
    });
    if many && args.output.is_some() && !is_dir {
        return Err(Fail::usage(format!("{} files cannot all become one", args.names.len()))
            .with_hint("name a directory with -o DIR"));
    }
    let mut report = Report::new(args.common.json);
    let mut session = args.common.session()?;
    let place = |name: &String| match &args.output {
        Some(output) if is_dir => output.join(name),
        Some(output) => output.clone(),
        None => PathBuf::from(name),
    };
    run(session.driver(), async {
        'all: for names in args.names.chunks(ASKED_MAX) {
            let mut wanted =
                names.iter().map(|name| Wanted::new(name, &place(name), args.force)).collect();
            while let Some(Fetched { given, started, outcome }) = session.fetch(&mut wanted).await {
                let outcome = outcome.map_err(|fail| of_pattern(fail, &given));
                if report.tell("get", &given, started, outcome)? {
                    break 'all;
                }
            }
        }
        session.close().await;
        Ok(report.exit)
    })
}

pub(super) fn change(args: ChangeArgs) -> Result<Exit, Fail> {
    let (from, to) = (Name::parse(args.old.as_bytes())?, Name::parse(args.new.as_bytes())?);
    let mut report = Report::new(args.common.json);
    let mut session = args.common.session()?;
    run(session.driver(), async {
        let started = Instant::now();
        let ask = Ask::Change { from: &from, to: &to };
        let changed = session.ask(ask, &mut |_| {}).await;
        session.close().await;
        report.tell("change", from.as_str(), started, changed.map(|_| 0).map_err(Fail::from))?;
        Ok(report.exit)
    })
}

pub(super) fn summary(args: SummaryArgs) -> Result<Exit, Fail> {
    let name = Name::parse(args.name.as_bytes())?;
    let json = args.common.json;
    let mut session = args.common.session()?;
    run(session.driver(), async {
        let asked = session.ask(Ask::Summary { name: &name }, &mut |_| {}).await;
        session.close().await;
        let text = asked.map_err(|error| Fail::from(error).of(name.as_str()))?;
        if json {
            term::out(&summary_json(name.as_str(), &text))?;
        } else {
            term::out(text.trim_end())?;
        }
        Ok(Exit::Done)
    })
}

/// `help` is a word of the protocol and one of every command line: with a store it is the one, and
/// without the other.
pub(super) fn help(args: HelpArgs, program: &mut clap::Command) -> Result<(), Fail> {
    if args.common.keys.server.is_some() && args.command.is_none() {
        let mut session = args.common.session()?;
        return run(session.driver(), async {
            let asked = session.ask(Ask::Help, &mut |_| {}).await;
            session.close().await;
            term::out(&asked?)
        });
    }
    let page = match &args.command {
        None => program.render_long_help(),
        Some(command) => {
            let found = program.find_subcommand_mut(command).ok_or_else(|| {
                Fail::usage(format!("there is no command '{command}'"))
                    .with_hint("`fxsrv help` lists them")
            })?;
            found.clone().bin_name(format!("fxsrv {command}")).render_long_help()
        }
    };
    term::out(page.to_string().trim_end())
}

/// Runs a client's work on this thread, by the session's driver.
pub(super) fn run<T>(
    driver: Driver,
    work: impl Future<Output = Result<T, Fail>>,
) -> Result<T, Fail> {
    driver
        .run(work)
        .map_err(|error| Fail::failed(format!("cannot start an event loop: {error}")))?
}

fn own_name(path: &Path) -> Result<String, Fail> {
    if path == Path::new("-") {
        return Err(Fail::usage("stdin has no name").with_hint("give it one with --as NAME"));
    }
    let name = path.file_name().and_then(std::ffi::OsStr::to_str);
    name.map(str::to_owned).ok_or_else(|| {
        Fail::failed(format!("{} has no name that a store can keep", path.display()))
            .with_hint("give it one with --as NAME")
    })
}

/// A name that a shell would have expanded is taken as it stands.
fn of_pattern(fail: Fail, name: &str) -> Fail {
    if fail.hint.is_some() || !pattern::is_pattern(name) {
        return fail;
    }
    fail.with_hint("it is taken as it stands: a store cannot list its names")
}

/// Says what became of each file.
struct Report {
    json: bool,
    exit: Exit,
}

impl Report {
    fn new(json: bool) -> Self {
        Self { json, exit: Exit::Done }
    }

    /// Tells of one file; `true` where the next ones would fail for the same reason.
    fn tell(
        &mut self,
        op: &str,
        name: &str,
        started: Instant,
        done: Result<u64, Fail>,
    ) -> Result<bool, Fail> {
        let us = started.elapsed().as_micros();
        let (op, quoted) = (json_text(op), json_text(name));
        match done {
            Ok(bytes) if self.json => {
                let line = format!(
                    "{{\"op\":{op},\"name\":{quoted},\"ok\":true,\"bytes\":{bytes},\"us\":{us}}}"
                );
                term::out(&line).map(|()| false)
            }
            Ok(_) => Ok(false),
            Err(fail) => {
                let is_final = fail.exit == Exit::Unreachable;
                self.exit = self.exit.max(fail.exit);
                if self.json {
                    let error = json_text(&fail.message);
                    term::out(&format!(
                        "{{\"op\":{op},\"name\":{quoted},\"ok\":false,\"error\":{error}}}"
                    ))?;
                }
                term::error(&if is_final { fail } else { fail.of(name) });
                Ok(is_final)
            }
        }
    }
}

/// `{"name":"n","max":4.5,"min":1.0,"avg":2.625}`. The numbers are as the store wrote them.
fn summary_json(name: &str, text: &str) -> String {
    let fields = text.lines().filter_map(|line| line.split_once(": "));
    let fields: Vec<_> = fields
        .map(|(key, value)| format!("{}:{value}", json_text(&key.to_ascii_lowercase())))
        .collect();
    format!("{{\"op\":\"summary\",\"name\":{},\"ok\":true,{}}}", json_text(name), fields.join(","))
}

/// A text as JSON has it.
fn json_text(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            char if char.is_control() => quoted.extend(format!("\\u{:04x}", char as u32).chars()),
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_as_json_has_them() {
        assert_eq!(json_text("a\"b\\c\n"), r#""a\"b\\c\u000a""#);
    }

    #[test]
    fn a_summary_becomes_an_object() {
        assert_eq!(
            summary_json("n", "Max: 4.5\nMin: 1.0\nAvg: 2.625\n"),
            r#"{"op":"summary","name":"n","ok":true,"max":4.5,"min":1.0,"avg":2.625}"#
        );
    }
}
