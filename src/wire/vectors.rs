//! The vectors of the original protocol, as far as header and checksum decide them.
#![allow(clippy::unwrap_used)]

use super::{ChecksumKind, Code, Failure, Operation, RequestHeader, Version, admit};
use crate::auth::{Token, Tokens};
use crate::convert::Target;

/// Larger than every body here.
const BODY_BYTES_MAX: u64 = 1024;

struct Vector {
    id: &'static str,
    /// Field by field: version, token, checksum, file name, size, operation.
    header_hex: &'static str,
    body_hex: &'static str,
    /// What the whole of a server answers; `None` is a result.
    answer: Option<Code>,
}

#[rustfmt::skip]
const VECTORS: &[Vector] = &[
    Vector {
        id: "txt-to-pdf",
        header_hex: concat!(
            "76312e30", "73757065725f7365637265745f746f6b656e5f31323334353637383930313200",
            "6f5902ac237024bdd0c176cb93063dc4",
            "68656c6c6f2e747874000000000000000000000000000000000000000000",
            "000000000000000c", "00000004",
        ),
        body_hex: "68656c6c6f20776f726c640a",
        answer: None,
    },
    Vector {
        id: "wrong-op-for-text",
        header_hex: concat!(
            "76312e30", "73757065725f7365637265745f746f6b656e5f31323334353637383930313200",
            "6f5902ac237024bdd0c176cb93063dc4",
            "68656c6c6f2e747874000000000000000000000000000000000000000000",
            "000000000000000c", "00000001",
        ),
        body_hex: "68656c6c6f20776f726c640a",
        answer: Some(Code::WrongType),
    },
    Vector {
        id: "bad-version",
        header_hex: concat!(
            "76322e30", "73757065725f7365637265745f746f6b656e5f31323334353637383930313200",
            "9dd4e461268c8034f5c8564e155c67a6",
            "612e74787400000000000000000000000000000000000000000000000000",
            "0000000000000001", "00000004",
        ),
        body_hex: "78",
        answer: Some(Code::BadVersion),
    },
    Vector {
        id: "bad-token",
        header_hex: concat!(
            "76312e30", "6e6f706500000000000000000000000000000000000000000000000000000000",
            "9dd4e461268c8034f5c8564e155c67a6",
            "612e74787400000000000000000000000000000000000000000000000000",
            "0000000000000001", "00000004",
        ),
        body_hex: "78",
        answer: Some(Code::Unauthorized),
    },
    Vector {
        id: "token-with-nul-either-side",
        header_hex: concat!(
            "76312e30", "0073757065725f7365637265745f746f6b656e5f313233343536373839303132",
            "9dd4e461268c8034f5c8564e155c67a6",
            "612e74787400000000000000000000000000000000000000000000000000",
            "0000000000000001", "00000004",
        ),
        body_hex: "78",
        answer: None,
    },
    Vector {
        id: "bad-op-6",
        header_hex: concat!(
            "76312e30", "73757065725f7365637265745f746f6b656e5f31323334353637383930313200",
            "9dd4e461268c8034f5c8564e155c67a6",
            "612e74787400000000000000000000000000000000000000000000000000",
            "0000000000000001", "00000006",
        ),
        body_hex: "78",
        answer: Some(Code::BadOperation),
    },
    Vector {
        id: "op-written-little-endian",
        header_hex: concat!(
            "76312e30", "73757065725f7365637265745f746f6b656e5f31323334353637383930313200",
            "9dd4e461268c8034f5c8564e155c67a6",
            "612e74787400000000000000000000000000000000000000000000000000",
            "0000000000000001", "04000000",
        ),
        body_hex: "78",
        answer: Some(Code::BadOperation),
    },
    Vector {
        id: "bad-checksum",
        header_hex: concat!(
            "76312e30", "73757065725f7365637265745f746f6b656e5f31323334353637383930313200",
            "00000000000000000000000000000000",
            "612e74787400000000000000000000000000000000000000000000000000",
            "0000000000000001", "00000004",
        ),
        body_hex: "78",
        answer: Some(Code::ChecksumMismatch),
    },
    Vector {
        id: "everything-wrong-version-wins",
        header_hex: concat!(
            "76392e39", "6e6f706500000000000000000000000000000000000000000000000000000000",
            "9dd4e461268c8034f5c8564e155c67a6",
            "612e74787400000000000000000000000000000000000000000000000000",
            "0000000000000001", "0000004d",
        ),
        body_hex: "78",
        answer: Some(Code::BadVersion),
    },
    Vector {
        id: "token-wins-over-op",
        header_hex: concat!(
            "76312e30", "6e6f706500000000000000000000000000000000000000000000000000000000",
            "9dd4e461268c8034f5c8564e155c67a6",
            "612e74787400000000000000000000000000000000000000000000000000",
            "0000000000000001", "0000004d",
        ),
        body_hex: "78",
        answer: Some(Code::Unauthorized),
    },
    Vector {
        id: "name-is-a-path",
        header_hex: concat!(
            "76312e30", "73757065725f7365637265745f746f6b656e5f31323334353637383930313200",
            "401b30e3b8b5d629635a5c613cdb7919",
            "2e2e2f2e2e2f6574632f7061737377640000000000000000000000000000",
            "0000000000000002", "00000004",
        ),
        body_hex: "780a",
        answer: None,
    },
    Vector {
        id: "name-cut-in-a-character",
        header_hex: concat!(
            "76312e30", "73757065725f7365637265745f746f6b656e5f31323334353637383930313200",
            "401b30e3b8b5d629635a5c613cdb7919",
            "7878787878787878787878787878787878787878787878787878787878c3",
            "0000000000000002", "00000004",
        ),
        body_hex: "780a",
        answer: None,
    },
    Vector {
        id: "unknown-binary",
        header_hex: concat!(
            "76312e30", "73757065725f7365637265745f746f6b656e5f31323334353637383930313200",
            "16f404156c0500ac48efa2d3abc5fbcf",
            "612e62696e00000000000000000000000000000000000000000000000000",
            "0000000000000080", "00000001",
        ),
        body_hex: concat!(
            "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
            "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf",
            "c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf",
            "e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
        ),
        answer: Some(Code::UnknownType),
    },
    Vector {
        id: "pdf-with-image-op",
        header_hex: concat!(
            "76312e30", "73757065725f7365637265745f746f6b656e5f31323334353637383930313200",
            "6446a98080f5e51ab7f0abc0e8eda635",
            "612e70646600000000000000000000000000000000000000000000000000",
            "0000000000000009", "00000001",
        ),
        body_hex: "255044462d312e340a",
        answer: Some(Code::WrongType),
    },
    Vector {
        id: "pdf-garbage",
        header_hex: concat!(
            "76312e30", "73757065725f7365637265745f746f6b656e5f31323334353637383930313200",
            "4ac92ef0d47fb94dc272123de82d45ce",
            "612e70646600000000000000000000000000000000000000000000000000",
            "0000000000000011", "00000005",
        ),
        body_hex: "255044462d312e340a676172626167650a",
        answer: Some(Code::MalformedInput),
    },
];

fn bytes(hex: &str) -> Vec<u8> {
    assert_eq!(hex.len() % 2, 0);
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn header(vector: &Vector) -> RequestHeader {
    RequestHeader::parse(&bytes(vector.header_hex).try_into().unwrap())
}

fn vector(id: &str) -> &'static Vector {
    VECTORS.iter().find(|vector| vector.id == id).unwrap()
}

fn tokens() -> Tokens {
    Tokens::Only(vec![Token::parse("super_secret_token_123456789012").unwrap()])
}

/// The first failure that header and checksum show.
fn check(vector: &Vector) -> Result<Operation, Failure> {
    let header = header(vector);
    let body = bytes(vector.body_hex);
    let admitted = admit(&header, &|token| tokens().check(token), BODY_BYTES_MAX)
        .map_err(|(_, failure)| failure)?;
    assert_eq!(admitted.version, Version::V1_0);
    assert_eq!(admitted.options_bytes, 0);
    assert_eq!(header.body_bytes(), body.len() as u64, "{}", vector.id);
    ChecksumKind::Md5.verify(header.checksum(), ChecksumKind::Md5.of(&body))?;
    Ok(admitted.operation)
}

#[test]
fn each_vector_fails_where_the_original_fails() {
    for vector in VECTORS {
        let decided_here = vector.answer.filter(|code| {
            !matches!(code, Code::UnknownType | Code::WrongType | Code::MalformedInput)
        });
        let failed = check(vector).err().map(|failure| failure.code);
        assert_eq!(failed, decided_here, "{}", vector.id);
    }
}

#[test]
fn each_header_comes_back_byte_by_byte() {
    for vector in VECTORS {
        assert_eq!(header(vector).to_bytes().to_vec(), bytes(vector.header_hex), "{}", vector.id);
    }
}

#[test]
fn operations_are_read() {
    assert_eq!(check(vector("txt-to-pdf")).unwrap(), Operation::Convert(Target::Pdf));
    assert_eq!(check(vector("pdf-garbage")).unwrap(), Operation::Convert(Target::Text));
    assert_eq!(check(vector("pdf-with-image-op")).unwrap(), Operation::Convert(Target::Jpg));
}

#[test]
fn names_are_shown_and_never_trusted() {
    assert_eq!(header(vector("txt-to-pdf")).filename(), "hello.txt");
    assert_eq!(header(vector("name-is-a-path")).filename(), "../../etc/passwd");
    let cut = format!("{}\u{fffd}", "x".repeat(29));
    assert_eq!(header(vector("name-cut-in-a-character")).filename(), cut);
}

#[test]
fn an_operation_in_the_wrong_byte_order_gets_a_hint() {
    let failure = check(vector("op-written-little-endian")).unwrap_err();
    assert_eq!(failure.message, "unknown operation 67108864");
    let hint = "the operation is big-endian, and this one came little-endian";
    assert_eq!(failure.hint.as_deref(), Some(hint));
}
