//! What a request of the bench asks for: the eight conversions of the original, two that isolate the
//! tunnel, and the five operations of a file store.

use std::fmt;
use std::str::FromStr;

use fxsrv::convert::Target;
use fxsrv::wire::{Code, Operation};

use crate::content::Kind;
use crate::load::{Expect, StoreOp};

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Job(usize);

struct Facts {
    name: &'static str,
    kind: Kind,
    asks: Asks,
}

/// What is asked for, and of whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// Of a master, or another server of its protocol.
    Conversion {
        /// The operation.
        operation: Operation,
        /// What is to be answered.
        expect: Expect,
    },
    /// Of a file store.
    Store(StoreOp),
}

const fn conversion(name: &'static str, kind: Kind, target: Target) -> Facts {
    let operation = Operation::Convert(target);
    Facts { name, kind, asks: Asks::Conversion { operation, expect: Expect::Result } }
}

const fn store(name: &'static str, kind: Kind, op: StoreOp) -> Facts {
    Facts { name, kind, asks: Asks::Store(op) }
}

const FACTS: [Facts; 15] = [
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
        asks: Asks::Conversion {
            operation: Operation::Convert(Target::Jpg),
            expect: Expect::Refusal(Code::UnknownType),
        },
    },
    // No body, and an answer of some kilobytes that the master itself gives.
    Facts {
        name: "status",
        kind: Kind::Empty,
        asks: Asks::Conversion { operation: Operation::Status, expect: Expect::Result },
    },
    store("store-put", Kind::Noise, StoreOp::Put),
    store("store-get", Kind::Noise, StoreOp::Get),
    store("store-summary", Kind::Numbers, StoreOp::Summary),
    store("store-change", Kind::Empty, StoreOp::Change),
    store("store-help", Kind::Empty, StoreOp::Help),
];

impl Job {
    /// All of them: conversions, the tunnel, the store.
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
    pub fn asks(self) -> Asks {
        self.facts().asks
    }

    /// Whether it is a file store that is asked.
    #[must_use]
    pub fn is_of_store(self) -> bool {
        matches!(self.asks(), Asks::Store(_))
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
