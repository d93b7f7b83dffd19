//! `fxsrv files`: a store by hand.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{Editor, Helper};

use super::fail::{Exit, Fail};
use super::fetch;
use super::files::{self, Common};
use super::pattern;
use super::term;
use super::transfer::{self, Ask, Session};
use crate::config::user_dir;
use crate::store::Name;

const COMMANDS: [&str; 6] = ["bye", "change", "get", "help", "put", "summary"];

const USAGE: &str = "\
put FILE [NAME]      store a file, or by a pattern such as *.txt many
get NAME [FILE]      fetch a file
change OLD NEW       give a file another name
summary NAME         greatest, least and mean of a file's numbers
help                 this, and what the store knows
bye                  leave";

/// Lines that are remembered from one shell to the next.
const HISTORY_MAX: usize = 1000;

/// Work with a store by hand, in a shell with history and completion
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Example:
  fxsrv files --server files.example.org:5002 --ca ca.pem
  > put report.pdf
  > change report.pdf report-2.pdf
  > bye")]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
}

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Put { path: PathBuf, name: Option<String> },
    Get { name: String, path: Option<PathBuf> },
    Change { old: String, new: String },
    Summary { name: String },
    Help,
    Bye,
    Nothing,
}

pub(super) fn run(args: Args) -> Result<Exit, Fail> {
    let mut session = args.common.session()?;
    let cannot = |error: ReadlineError| Fail::failed(format!("cannot read lines: {error}"));
    let mut editor: Editor<Completion, FileHistory> = Editor::new().map_err(cannot)?;
    editor.set_helper(Some(Completion::default()));
    let history = history_path();
    if let Some(path) = &history {
        // There is none before the first shell has ended.
        let _ = editor.load_history(path);
    }
    let is_interactive = transfer::is_interactive();
    let exit = files::run(session.driver(), async {
        let mut exit = Exit::Done;
        loop {
            let text = match editor.readline(if is_interactive { "> " } else { "" }) {
                Ok(text) => text,
                Err(ReadlineError::Interrupted) => continue,
                Err(ReadlineError::Eof) => break,
                Err(error) => return Err(cannot(error)),
            };
            // What a full history loses is no loss.
            let _ = editor.add_history_entry(&text);
            let done = match parse(&text) {
                Ok(Line::Bye) => break,
                Ok(line) => execute(&mut session, line, editor.helper_mut()).await,
                Err(fail) => Err(fail),
            };
            match done {
                Ok(()) if is_interactive => exit = Exit::Done,
                Ok(()) => {}
                Err(fail) => {
                    exit = fail.exit;
                    term::error(&fail);
                }
            }
        }
        session.close().await;
        Ok(exit)
    })?;
    if let Some(path) = history.filter(|_| is_interactive) {
        save_history(&mut editor, &path);
    }
    // What a person saw go wrong and mended is no failure of the shell.
    Ok(if is_interactive { Exit::Done } else { exit })
}

async fn execute(
    session: &mut Session,
    line: Line,
    completion: Option<&mut Completion>,
) -> Result<(), Fail> {
    let mut seen = Vec::new();
    match line {
        Line::Put { path, name } => seen = put(session, &path, name.as_deref()).await?,
        Line::Get { name, path } => {
            let name = Name::parse(name.as_bytes())?;
            let path = path.unwrap_or_else(|| PathBuf::from(name.as_str()));
            let bytes = fetch::get(session, name.as_str(), &path, false).await?;
            term::note(&format!("{} is here, {bytes} bytes", path.display()));
            seen.push(name);
        }
        Line::Change { old, new } => {
            let (from, to) = (Name::parse(old.as_bytes())?, Name::parse(new.as_bytes())?);
            session.ask(Ask::Change { from: &from, to: &to }, &mut |_| {}).await?;
            term::note(&format!("{from} is {to} now"));
            seen.push(to);
        }
        Line::Summary { name } => {
            let name = Name::parse(name.as_bytes())?;
            let text = session.ask(Ask::Summary { name: &name }, &mut |_| {}).await?;
            term::out(text.trim_end())?;
            seen.push(name);
        }
        Line::Help => {
            let known = session.ask(Ask::Help, &mut |_| {}).await?;
            term::out(&format!("{USAGE}\nthe store knows: {known}"))?;
        }
        Line::Bye | Line::Nothing => {}
    }
    if let Some(completion) = completion {
        completion.names.extend(seen.iter().map(ToString::to_string));
    }
    Ok(())
}

async fn put(session: &mut Session, path: &Path, name: Option<&str>) -> Result<Vec<Name>, Fail> {
    let paths = pattern::expand(path);
    if paths.len() > 1 && name.is_some() {
        return Err(Fail::usage(format!("{} files cannot have one name", paths.len())));
    }
    let mut stored = Vec::new();
    for path in paths {
        let own = path.file_name().unwrap_or_default().to_string_lossy();
        let name = Name::parse(name.unwrap_or(&own).as_bytes())?;
        let bytes = transfer::put(session, &path, &name).await?;
        term::note(&format!("{name} is stored, {bytes} bytes"));
        stored.push(name);
    }
    Ok(stored)
}

fn parse(text: &str) -> Result<Line, Fail> {
    let words = words(text)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let named = |name: &str| name.to_owned();
    Ok(match words[..] {
        [] => Line::Nothing,
        ["put", path] => Line::Put { path: path.into(), name: None },
        ["put", path, name] => Line::Put { path: path.into(), name: Some(named(name)) },
        ["get", name] => Line::Get { name: named(name), path: None },
        ["get", name, path] => Line::Get { name: named(name), path: Some(path.into()) },
        ["change", old, new] => Line::Change { old: named(old), new: named(new) },
        ["summary", name] => Line::Summary { name: named(name) },
        ["help"] => Line::Help,
        ["bye" | "quit" | "exit"] => Line::Bye,
        [command, ..] if COMMANDS.contains(&command) => {
            return Err(Fail::usage(format!("{command} is used otherwise")).with_hint(USAGE));
        }
        [command, ..] => {
            return Err(Fail::usage(format!("there is no {command}")).with_hint(USAGE));
        }
    })
}

/// Words as a shell has them: apart by spaces, and together in quotes or behind a backslash.
fn words(text: &str) -> Result<Vec<String>, Fail> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match (quote, char) {
            (None, '"' | '\'') => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            (Some(open), char) if char == open => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, char) if char.is_whitespace() => words.extend(word.take()),
            (_, char) => word.get_or_insert_default().push(char),
        }
    }
    if quote.is_some() {
        return Err(Fail::usage("a quote is open at the end of the line"));
    }
    words.extend(word);
    Ok(words)
}

fn history_path() -> Option<PathBuf> {
    Some(user_dir("XDG_STATE_HOME", ".local/state")?.join("files-history"))
}

fn save_history(editor: &mut Editor<Completion, FileHistory>, path: &Path) {
    use rustyline::history::History as _;
    if editor.history_mut().set_max_len(HISTORY_MAX).is_err() {
        return;
    }
    if let Some(dir) = path.parent() {
        let _ = std::fs::create_dir_all(dir);
    }
    if let Err(error) = editor.save_history(path) {
        tracing::debug!(%error, "cannot save the history");
    }
}

/// Completes commands, names that have been seen, and files here.
#[derive(Default)]
struct Completion {
    files: FilenameCompleter,
    names: BTreeSet<String>,
}

impl Completer for Completion {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        context: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let before = &line[..position];
        let start = before.rfind(' ').map_or(0, |space| space + 1);
        let word = &before[start..];
        let starting = |candidates: &mut dyn Iterator<Item = &str>| -> Vec<Pair> {
            let fitting = candidates.filter(|candidate| candidate.starts_with(word));
            fitting.map(|text| Pair { display: text.into(), replacement: text.into() }).collect()
        };
        if start == 0 {
            return Ok((start, starting(&mut COMMANDS.into_iter())));
        }
        if before.starts_with("put ") {
            return self.files.complete(line, position, context);
        }
        Ok((start, starting(&mut self.names.iter().map(String::as_str))))
    }
}

impl Hinter for Completion {
    type Hint = String;
}

impl Highlighter for Completion {}
impl Validator for Completion {}
impl Helper for Completion {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_words() {
        let words = |text: &str| words(text).unwrap();
        assert_eq!(words("  put  a.txt "), ["put", "a.txt"]);
        assert_eq!(words(r#"put "my file.txt" it\'s"#), ["put", "my file.txt", "it's"]);
        assert_eq!(words(r#"get '' "a\"b""#), ["get", "", "a\"b"]);
        assert!(super::words("put 'a").is_err());
    }

    #[test]
    fn what_is_no_command_says_what_is() {
        assert_eq!(parse("").unwrap(), Line::Nothing);
        assert_eq!(parse("bye").unwrap(), Line::Bye);
        let line = Line::Change { old: "a".into(), new: "b".into() };
        assert_eq!(parse("change a b").unwrap(), line);
        assert_eq!(parse("list").unwrap_err().message, "there is no list");
        assert_eq!(parse("put").unwrap_err().message, "put is used otherwise");
    }
}
