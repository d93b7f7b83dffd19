//! Requests, up to where a body begins.

use super::super::name::{NAME_BYTES_MAX, Name, NameError};
use super::{LENGTH_MASK, OP_SHIFT, SIZE_BYTES, op};

/// CHANGE is the longest: a byte and a name, twice.
const HEAD_BYTES_MAX: usize = 2 * (1 + NAME_BYTES_MAX);

/// The first bytes of a request as they come in, however they are cut.
#[derive(Debug, Clone)]
pub struct RequestHead {
    bytes: [u8; HEAD_BYTES_MAX],
    len: usize,
}

/// What is asked for. A name that is none is part of the request: what follows it has its length
/// all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Keep `bytes` of data, which follow, under a name.
    Put {
        /// The name.
        name: Result<Name, NameError>,
        /// How many bytes follow.
        bytes: u32,
    },
    /// Hand out a file.
    Get {
        /// Its name.
        name: Result<Name, NameError>,
    },
    /// Give a file another name.
    Change {
        /// The name that it has.
        from: Result<Name, NameError>,
        /// The name that it gets.
        to: Result<Name, NameError>,
    },
    /// Summarise a file of numbers.
    Summary {
        /// Its name.
        name: Result<Name, NameError>,
    },
    /// List the operations.
    Help,
    /// An operation that there is none of.
    Unknown,
}

impl Default for RequestHead {
    fn default() -> Self {
        Self { bytes: [0; HEAD_BYTES_MAX], len: 0 }
    }
}

impl RequestHead {
    /// How many bytes are certain to belong to this head and have not come yet. At 0 the request
    /// can be told; what follows is its body or the next request.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.expected() - self.len
    }

    /// The length of the head, as far as its bytes tell it so far.
    fn expected(&self) -> usize {
        let Some((op, first)) = self.first() else { return 1 };
        match op {
            op::PUT => 1 + first + SIZE_BYTES,
            op::GET | op::SUMMARY => 1 + first,
            op::CHANGE if self.len <= 1 + first => 1 + first + 1,
            op::CHANGE => 1 + first + 1 + length(self.bytes[1 + first]),
            _ => 1,
        }
    }

    /// Appends what came, which must be no more than is missing.
    ///
    /// # Panics
    ///
    /// Panics where it is more: that would be our own mistake.
    pub fn push(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.missing(), "a head takes no more than belongs to it");
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// The request, once nothing is missing.
    #[must_use]
    pub fn request(&self) -> Option<Request> {
        if self.missing() > 0 {
            return None;
        }
        let (op, first) = self.first()?;
        let name = || Name::parse(&self.bytes[1..=first]);
        Some(match op {
            op::PUT => {
                let size = &self.bytes[1 + first..1 + first + SIZE_BYTES];
                let bytes = size.iter().fold(0, |size, &byte| size << 8 | u32::from(byte));
                Request::Put { name: name(), bytes }
            }
            op::GET => Request::Get { name: name() },
            op::CHANGE => {
                let to = Name::parse(&self.bytes[1 + first + 1..self.len]);
                Request::Change { from: name(), to }
            }
            // In an earlier edition of the protocol HELP was 3, and had no name.
            op::SUMMARY if first == 0 => Request::Help,
            op::SUMMARY => Request::Summary { name: name() },
            op::HELP => Request::Help,
            _ => Request::Unknown,
        })
    }

    /// The operation, and the length of the name behind it.
    fn first(&self) -> Option<(u8, usize)> {
        let byte = *self.bytes[..self.len].first()?;
        Some((byte >> OP_SHIFT, length(byte)))
    }
}

fn length(byte: u8) -> usize {
    usize::from(byte & LENGTH_MASK)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes one head from the front, `step` bytes at most at a time.
    fn parse(mut input: &[u8], step: usize) -> Option<(Request, usize)> {
        let (mut head, total) = (RequestHead::default(), input.len());
        while head.missing() > 0 {
            let taken = head.missing().min(step).min(input.len());
            if taken == 0 {
                return None;
            }
            head.push(&input[..taken]);
            input = &input[taken..];
        }
        Some((head.request().unwrap(), total - input.len()))
    }

    fn name(text: &str) -> Result<Name, NameError> {
        Name::parse(text.as_bytes())
    }

    #[test]
    fn heads_are_told_from_their_bytes() {
        let put = Request::Put { name: name("file.txt"), bytes: 12 };
        for (bytes, request, length) in [
            (&b"\x08file.txt\0\0\0\x0chello"[..], put, 13),
            (b"\x28file.txtX", Request::Get { name: name("file.txt") }, 9),
            (b"\x41a\x02bcX", Request::Change { from: name("a"), to: name("bc") }, 5),
            // The upper bits of the second length say nothing.
            (b"\x41a\xe2bcX", Request::Change { from: name("a"), to: name("bc") }, 5),
            (b"\x61aX", Request::Summary { name: name("a") }, 2),
            (b"\x60X", Request::Help, 1),
            (b"\x80X", Request::Help, 1),
            (b"\xa5X", Request::Unknown, 1),
            (b"\xe0X", Request::Unknown, 1),
            (b"\x00\0\0\0\0", Request::Put { name: Err(NameError::Empty), bytes: 0 }, 5),
            (b"\x40\x00X", Request::Change { from: name(""), to: name("") }, 2),
        ] {
            for step in [1, 3, usize::MAX] {
                assert_eq!(parse(bytes, step), Some((request.clone(), length)), "{bytes:?}");
            }
        }
    }

    #[test]
    fn the_largest_size_is_read_whole() {
        let (request, _) = parse(b"\x01a\xff\xff\xff\xfe", 1).unwrap();
        assert_eq!(request, Request::Put { name: name("a"), bytes: u32::MAX - 1 });
    }

    proptest! {
        #[test]
        fn any_bytes_parse_alike_however_they_are_cut(
            bytes in proptest::collection::vec(any::<u8>(), 0..80), step in 1..70_usize
        ) {
            prop_assert_eq!(parse(&bytes, step), parse(&bytes, usize::MAX));
        }
    }
}
