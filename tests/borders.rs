//! Holds the borders between the rooms of `src/`: who may name what.
//!
//! The rules stand in `docs/architecture.md`; each failure says which line breaks which rule.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

/// Longest file. One that grows over it has two subjects by then.
const LINES_MAX: usize = 500;

struct Rule {
    /// What may be named only in some places.
    words: &'static [&'static str],
    /// Where it may: files and folders under `src/`.
    allowed: &'static [&'static str],
    /// Where it is looked for; everywhere if empty.
    within: &'static [&'static str],
    why: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        words: &["tokio_uring", "io_uring::"],
        allowed: &["io/"],
        within: &[],
        why: "only io/ names the ring, so that another driver is one folder",
    },
    Rule {
        words: &["async_nats"],
        allowed: &["batch/queue/"],
        within: &[],
        why: "only batch/queue/ names NATS, so that another queue is one folder",
    },
    Rule {
        words: &["rustls::", "use rustls"],
        allowed: &["tls/"],
        within: &[],
        why: "only tls/ names rustls, whose unbuffered API ends with 0.23",
    },
    Rule {
        words: &[".await", "async fn", "async move", "TcpStream", "UdpSocket"],
        allowed: &[],
        within: &["tls/", "wire/", "convert/"],
        why: "tls/, wire/ and convert/ are free of I/O and never wait",
    },
    Rule {
        words: &["std::fs", "std::net", "std::process", "std::env", "tokio::"],
        allowed: &[],
        within: &["wire/", "convert/"],
        why: "wire/ and convert/ are functions of bytes",
    },
    Rule {
        words: &["crate::io", "crate::tls", "crate::transport", "crate::master", "crate::worker"],
        allowed: &[],
        within: &["wire/", "convert/"],
        why: "wire/ and convert/ know nothing of sockets",
    },
    Rule {
        words: &["convert::convert(", "convert::convert_with("],
        allowed: &["isolation/child.rs", "worker/engine.rs"],
        within: &[],
        why: "files are decoded in a child, or on a worker's own threads, and nowhere else",
    },
    Rule {
        words: &[
            "crate::io::{",
            "crate::tls",
            "crate::transport",
            "crate::master",
            "crate::worker",
        ],
        allowed: &[],
        within: &["isolation/"],
        why: "isolation/ knows nothing of sockets; a child has none",
    },
    Rule {
        words: &["seccompiler::", "use seccompiler"],
        allowed: &["isolation/syscalls.rs"],
        within: &[],
        why: "one list says what a child may call",
    },
    Rule {
        words: &["crate::wire"],
        allowed: &[],
        within: &["convert/", "io/", "tls/", "transport/", "server/", "store/"],
        why: "only those who speak the protocol know it",
    },
    Rule {
        words: &["println!", "eprintln!", "print!(", "eprint!(", "stdout()", "stderr()"],
        allowed: &["cli/", "main.rs"],
        within: &[],
        why: "only cli/ prints; everything else returns or logs",
    },
    Rule {
        words: &["allow(unsafe_code"],
        allowed: &[
            "io/",
            "convert/image/webp_sys.rs",
            "convert/image/jpeg_turbo.rs",
            "isolation/allocator.rs",
            "isolation/arena.rs",
            "isolation/probe.rs",
            "isolation/sandbox.rs",
        ],
        within: &[],
        why: "unsafe code is for the ring, for codecs that are C, and for the walls of a child",
    },
];

#[test]
fn every_room_keeps_to_its_border() {
    let broken: Vec<String> = sources()
        .iter()
        .flat_map(|(path, text)| RULES.iter().flat_map(move |rule| rule.broken_by(path, text)))
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_rule_can_fail() {
    for rule in RULES {
        let place = rule.within.first().unwrap_or(&"client/");
        let path = PathBuf::from(format!("{place}planted.rs"));
        for word in rule.words {
            assert!(!rule.broken_by(&path, &format!("let x = {word};")).is_empty(), "{word}");
            assert!(rule.broken_by(&path, &format!("// {word}")).is_empty(), "a comment: {word}");
        }
    }
}

#[test]
fn no_file_is_longer_than_500_lines() {
    let long: Vec<_> = sources()
        .into_iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .collect();
    assert!(long.is_empty(), "over {LINES_MAX} lines: {long:?}");
}

#[test]
fn every_room_says_what_it_owns() {
    for entry in std::fs::read_dir(source_root()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let door = std::fs::read_to_string(path.join("mod.rs")).unwrap();
            assert!(door.starts_with("//! "), "{}: no `//!`", path.display());
        }
    }
}

impl Rule {
    fn broken_by(&self, path: &Path, text: &str) -> Vec<String> {
        let is_in = |places: &[&str]| places.iter().any(|place| path.starts_with(place));
        if is_in(self.allowed) || !(self.within.is_empty() || is_in(self.within)) || is_test(path) {
            return Vec::new();
        }
        let code = text.lines().take_while(|line| !line.starts_with("mod tests"));
        code.enumerate()
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .filter(|(_, line)| self.words.iter().any(|word| line.contains(word)))
            .map(|(number, line)| {
                format!("src/{}:{}: {}\n  {}", path.display(), number + 1, line.trim(), self.why)
            })
            .collect()
    }
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| ["tests", "tests.rs"].iter().any(|name| part.as_os_str() == *name))
}

fn source_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All sources, by their path under `src/`.
fn sources() -> Vec<(PathBuf, String)> {
    let (root, mut found) = (source_root(), Vec::new());
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(&root).unwrap().to_owned(), text));
            }
        }
    }
    assert!(found.len() > 30, "the sources are where they are looked for");
    found
}
