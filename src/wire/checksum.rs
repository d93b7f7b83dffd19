//! Checksums of bodies.

use md5::{Digest, Md5};
use xxhash_rust::xxh3::Xxh3;

use super::{Code, Failure};

/// Which checksum a request carries and its answer gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ChecksumKind {
    /// MD5, the only one of v1.0.
    #[default]
    Md5,
    /// XXH3-128, big-endian: many times faster, and as good against accidents, which is all that
    /// either is for; TLS is what protects against intent.
    Xxh3,
    /// None: the field is 16 zero bytes.
    None,
}

impl ChecksumKind {
    /// The value of the `checksum` option.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Xxh3 => "xxh3",
            Self::None => "none",
        }
    }

    /// The kind that the `checksum` option names.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Md5, Self::Xxh3, Self::None].into_iter().find(|kind| kind.name() == name)
    }

    /// The checksum of bytes that lie in one piece.
    #[must_use]
    pub fn of(self, bytes: &[u8]) -> [u8; 16] {
        let mut hasher = Hasher::new(self);
        hasher.update(bytes);
        hasher.finish()
    }

    /// Holds what was computed over a body against what its header announced.
    ///
    /// # Errors
    ///
    /// `CHECKSUM_MISMATCH`, with both values.
    pub fn verify(self, announced: [u8; 16], computed: [u8; 16]) -> Result<(), Failure> {
        if announced == computed {
            return Ok(());
        }
        let (announced, computed) = (u128::from_be_bytes(announced), u128::from_be_bytes(computed));
        let message = match self {
            Self::None => format!("checksum `none` goes with 16 zero bytes, not {announced:032x}"),
            _ => format!(
                "the {} of the body is {computed:032x}, and the header says {announced:032x}",
                self.name()
            ),
        };
        Err(Failure::new(Code::ChecksumMismatch, message)
            .with_hint("the checksum is taken over the body alone, without header and options"))
    }
}

/// A checksum that takes its body in pieces.
pub struct Hasher(State);

enum State {
    Md5(Md5),
    /// 576 bytes against 96 of MD5, so it lives on the heap.
    Xxh3(Box<Xxh3>),
    None,
}

impl Hasher {
    /// A hasher that has seen nothing.
    #[must_use]
    pub fn new(kind: ChecksumKind) -> Self {
        Self(match kind {
            ChecksumKind::Md5 => State::Md5(Md5::new()),
            ChecksumKind::Xxh3 => State::Xxh3(Box::default()),
            ChecksumKind::None => State::None,
        })
    }

    /// Takes the next piece of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Md5(md5) => md5.update(bytes),
            State::Xxh3(xxh3) => xxh3.update(bytes),
            State::None => {}
        }
    }

    /// The checksum of all pieces, as it stands in a header.
    #[must_use]
    pub fn finish(self) -> [u8; 16] {
        match self.0 {
            State::Md5(md5) => md5.finalize().into(),
            State::Xxh3(xxh3) => xxh3.digest128().to_be_bytes(),
            State::None => [0; 16],
        }
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            State::Md5(_) => "Hasher(md5)",
            State::Xxh3(_) => "Hasher(xxh3)",
            State::None => "Hasher(none)",
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(sum: [u8; 16]) -> String {
        format!("{:032x}", u128::from_be_bytes(sum))
    }

    #[test]
    fn known_vectors() {
        assert_eq!(hex(ChecksumKind::Md5.of(b"")), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(hex(ChecksumKind::Md5.of(b"abc")), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(hex(ChecksumKind::Xxh3.of(b"")), "99aa06d3014798d86001c324468d497f");
        assert_eq!(hex(ChecksumKind::Xxh3.of(b"abc")), "06b05ab6733a618578af5f94892f3950");
        assert_eq!(ChecksumKind::None.of(b"abc"), [0; 16]);
    }

    #[test]
    fn a_mismatch_shows_both_values() {
        let kind = ChecksumKind::Md5;
        assert!(kind.verify([7; 16], [7; 16]).is_ok());
        let failure = kind.verify([0; 16], kind.of(b"")).unwrap_err();
        assert_eq!(failure.code, Code::ChecksumMismatch);
        assert_eq!(
            failure.message,
            "the md5 of the body is d41d8cd98f00b204e9800998ecf8427e, \
             and the header says 00000000000000000000000000000000"
        );
        let failure = ChecksumKind::None.verify([1; 16], [0; 16]).unwrap_err();
        assert_eq!(
            failure.message,
            "checksum `none` goes with 16 zero bytes, not 01010101010101010101010101010101"
        );
    }

    proptest! {
        #[test]
        fn pieces_make_the_same_checksum_as_the_whole(
            body in proptest::collection::vec(any::<u8>(), 0..2000),
            cut in any::<prop::sample::Index>(),
        ) {
            let (first, second) = body.split_at(cut.index(body.len() + 1));
            for kind in [ChecksumKind::Md5, ChecksumKind::Xxh3, ChecksumKind::None] {
                let mut hasher = Hasher::new(kind);
                hasher.update(first);
                hasher.update(second);
                prop_assert_eq!(hasher.finish(), kind.of(&body));
            }
        }
    }
}
