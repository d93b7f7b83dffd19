//! Versions and operations.

use crate::convert::Target;

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// One request, one answer, close.
    V1_0,
    /// Persistent, with options and structured answers.
    V1_1,
}

impl Version {
    /// The version that four bytes name.
    #[must_use]
    pub fn parse(bytes: &[u8; 4]) -> Option<Self> {
        match bytes {
            b"v1.0" => Some(Self::V1_0),
            b"v1.1" => Some(Self::V1_1),
            _ => None,
        }
    }

    /// The bytes on the wire.
    #[must_use]
    pub fn bytes(self) -> [u8; 4] {
        match self {
            Self::V1_0 => *b"v1.0",
            Self::V1_1 => *b"v1.1",
        }
    }

    /// The name that people use, which is the bytes on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V1_0 => "v1.0",
            Self::V1_1 => "v1.1",
        }
    }
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// The server's state; v1.1 only, with an empty body.
    Status,
    /// A conversion of the body.
    Convert(Target),
}

impl Operation {
    /// The number on the wire.
    #[must_use]
    pub fn id(self) -> u16 {
        match self {
            Self::Status => 0,
            Self::Convert(Target::Jpg) => 1,
            Self::Convert(Target::Png) => 2,
            Self::Convert(Target::Webp) => 3,
            Self::Convert(Target::Pdf) => 4,
            Self::Convert(Target::Text) => 5,
        }
    }

    /// The operation of a number; `None` above 5, and for 0 in v1.0, which has no status.
    #[must_use]
    pub fn from_id(id: u16, version: Version) -> Option<Self> {
        match id {
            0 if version == Version::V1_1 => Some(Self::Status),
            1 => Some(Self::Convert(Target::Jpg)),
            2 => Some(Self::Convert(Target::Png)),
            3 => Some(Self::Convert(Target::Webp)),
            4 => Some(Self::Convert(Target::Pdf)),
            5 => Some(Self::Convert(Target::Text)),
            _ => None,
        }
    }

    /// What messages and log lines call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Convert(target) => target.name(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_version_is_read_back_from_its_bytes_and_nothing_else_is() {
        for version in [Version::V1_0, Version::V1_1] {
            assert_eq!(Version::parse(&version.bytes()), Some(version));
            assert_eq!(version.name().as_bytes(), version.bytes());
        }
        for other in [b"v1.2", b"V1.0", b"v2.0", b"v1.\0", b"\0\0\0\0", b" v1."] {
            assert_eq!(Version::parse(other), None);
        }
    }

    #[test]
    fn ids_are_those_of_the_table() {
        for id in 0..=5 {
            assert_eq!(Operation::from_id(id, Version::V1_1).unwrap().id(), id);
        }
        assert_eq!(Operation::from_id(4, Version::V1_0), Some(Operation::Convert(Target::Pdf)));
        assert_eq!(Operation::from_id(0, Version::V1_0), None);
        for id in 6..=u16::MAX {
            assert_eq!(Operation::from_id(id, Version::V1_0), None);
            assert_eq!(Operation::from_id(id, Version::V1_1), None);
        }
    }
}
