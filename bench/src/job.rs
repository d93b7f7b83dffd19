//! What a request of the bench asks for: the eight conversions of the original, and two that isolate
//! the tunnel.

use std::fmt;
use std::str::FromStr;

use fxsrv::convert::Target;
use fxsrv::wire::{Code, Operation};

use crate::content::Kind;
use crate::load::Expect;

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Job(usize);

struct Facts {
    name: &'static str,
    kind: Kind,
    operation: Operation,
    expect: Expect,
}

const fn conversion(name: &'static str, kind: Kind, target: Target) -> Facts {
    let operation = Operation::Convert(target);
    Facts { name, kind, operation, expect: Expect::Result }
}

const FACTS: [Facts; 10] = [
    conversion("jpg-png", Kind::Jpg, Target::Png),
    conversion("jpg-webp", Kind::Jpg, Target::Webp),
    conversion("png-jpg", Kind::Png, Target::Jpg),
    conversion("png-webp", Kind::Png, Target::Webp),
    conversion("webp-jpg", Kind::Webp, Target::Jpg),
    conversion("webp-png", Kind::Webp, Target::Png),
    conversion("txt-pdf", Kind::Text, Target::Pdf),
    conversion("pdf-txt", Kind::Pdf, Target::Text),
    // Noise of no type: the body passes the whole tunnel and is hashed, and is refused then, before
    // any conversion. It is the way up alone.
    Facts {
        name: "upload",
        kind: Kind::Noise,
        operation: Operation::Convert(Target::Jpg),
        expect: Expect::Refusal(Code::UnknownType),
    },
    // No body, and an answer of some kilobytes that the master itself gives.
    Facts {
        name: "status",
        kind: Kind::Empty,
        operation: Operation::Status,
        expect: Expect::Result,
    },
];

impl Job {
    /// All of them, conversions first.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..FACTS.len()).map(Self)
    }

    /// The name in plans and results.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// What is sent.
    #[must_use]
    pub fn kind(self) -> Kind {
        self.facts().kind
    }

    /// What is asked for.
    #[must_use]
    pub fn operation(self) -> Operation {
        self.facts().operation
    }

    /// What the server is to answer.
    #[must_use]
    pub fn expect(self) -> Expect {
        self.facts().expect
    }

    /// Whether size and chunk make a difference.
    #[must_use]
    pub fn has_body(self) -> bool {
        self.kind() != Kind::Empty
    }

    fn facts(self) -> &'static Facts {
        &FACTS[self.0]
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Job {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::all().find(|job| job.name() == name).ok_or_else(|| {
            let names: Vec<_> = Self::all().map(Self::name).collect();
            format!("'{name}' is no job; there are all, {}", names.join(", "))
        })
    }
}
