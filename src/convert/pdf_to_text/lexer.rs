//! Splits PDF syntax into tokens; shared by objects, content streams and `CMap`s.
//!
//! Strings are decoded into a buffer of the caller's, so that a token never owns memory.

use std::borrow::Cow;
use std::ops::Range;

/// One token. Names are raw (see [`decode_name`]); a string is a range of the caller's buffer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'a> {
    Int(i64),
    Real(f64),
    Name(&'a [u8]),
    Str(Range<usize>),
    ArrayOpen,
    ArrayClose,
    DictOpen,
    DictClose,
    Keyword(&'a [u8]),
    End,
}

/// What a byte is to the syntax.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    White,
    Delimiter,
    Regular,
}

const CLASSES: [Class; 256] = classes();

const fn classes() -> [Class; 256] {
    let mut table = [Class::Regular; 256];
    let white = [0, 9, 10, 12, 13, 32];
    let delimiters = b"()<>[]{}/%";
    let mut at = 0;
    while at < white.len() {
        table[white[at]] = Class::White;
        at += 1;
    }
    at = 0;
    while at < delimiters.len() {
        table[delimiters[at] as usize] = Class::Delimiter;
        at += 1;
    }
    table
}

pub(super) fn is_white(byte: u8) -> bool {
    CLASSES[usize::from(byte)] == Class::White
}

pub(super) fn is_regular(byte: u8) -> bool {
    CLASSES[usize::from(byte)] == Class::Regular
}

/// A position in PDF syntax.
#[derive(Debug, Clone)]
pub(super) struct Lexer<'a> {
    pub(super) data: &'a [u8],
    pub(super) pos: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(data: &'a [u8], pos: usize) -> Self {
        Self { data, pos: pos.min(data.len()) }
    }

    /// The next token; a string's bytes are appended to `strings`.
    pub(super) fn next(&mut self, strings: &mut Vec<u8>) -> Token<'a> {
        self.skip_white();
        let Some(&byte) = self.data.get(self.pos) else { return Token::End };
        match byte {
            b'0'..=b'9' | b'+' | b'-' | b'.' => self.number(),
            b'/' => {
                self.pos += 1;
                Token::Name(self.regular())
            }
            b'(' => self.literal_string(strings),
            b'<' if self.data.get(self.pos + 1) == Some(&b'<') => {
                self.punctuation(2, Token::DictOpen)
            }
            b'<' => self.hex_string(strings),
            b'>' if self.data.get(self.pos + 1) == Some(&b'>') => {
                self.punctuation(2, Token::DictClose)
            }
            b'[' => self.punctuation(1, Token::ArrayOpen),
            b']' => self.punctuation(1, Token::ArrayClose),
            b'{' | b'}' | b')' | b'>' => {
                self.pos += 1;
                Token::Keyword(&self.data[self.pos - 1..self.pos])
            }
            _ => Token::Keyword(self.regular()),
        }
    }

    pub(super) fn skip_white(&mut self) {
        while let Some(&byte) = self.data.get(self.pos) {
            if is_white(byte) {
                self.pos += 1;
            } else if byte == b'%' {
                let rest = &self.data[self.pos..];
                let line = rest.iter().position(|&b| b == b'\n' || b == b'\r');
                self.pos += line.unwrap_or(rest.len());
            } else {
                break;
            }
        }
    }

    fn punctuation(&mut self, bytes: usize, token: Token<'a>) -> Token<'a> {
        self.pos += bytes;
        token
    }

    fn regular(&mut self) -> &'a [u8] {
        let rest = &self.data[self.pos..];
        let length = rest.iter().position(|&b| !is_regular(b)).unwrap_or(rest.len());
        self.pos += length;
        &rest[..length]
    }

    /// Readers take `--5` and `1.2.3` as numbers rather than fail, and so do we. A token that holds
    /// no digit, or goes on with letters (`1abc`), is a keyword.
    fn number(&mut self) -> Token<'a> {
        let start = self.pos;
        let mut negative = false;
        while let Some(&sign @ (b'+' | b'-')) = self.data.get(self.pos) {
            negative |= sign == b'-';
            self.pos += 1;
        }
        let mut whole: i64 = 0;
        let mut digits = 0_u32;
        while let Some(&digit @ b'0'..=b'9') = self.data.get(self.pos) {
            whole = whole.saturating_mul(10).saturating_add(i64::from(digit - b'0'));
            digits += 1;
            self.pos += 1;
        }
        if self.data.get(self.pos) != Some(&b'.') {
            if digits == 0 {
                self.pos = start;
                let keyword = self.regular();
                self.pos = self.pos.max(start + 1);
                return Token::Keyword(keyword);
            }
            self.skip_number_tail();
            return Token::Int(if negative { -whole } else { whole });
        }
        self.pos += 1;
        let (mut fraction, mut scale) = (0.0_f64, 1.0_f64);
        while let Some(&digit @ b'0'..=b'9') = self.data.get(self.pos) {
            if scale < 1e15 {
                fraction = fraction * 10.0 + f64::from(digit - b'0');
                scale *= 10.0;
            }
            self.pos += 1;
        }
        self.skip_number_tail();
        let value = whole as f64 + fraction / scale;
        Token::Real(if negative { -value } else { value })
    }

    /// `12-34` is 12 to every reader: what follows a number up to the next delimiter is dropped when
    /// it looks like more number. Letters are left for the next token (`0 Tc1 Tf` stays two).
    fn skip_number_tail(&mut self) {
        while matches!(self.data.get(self.pos), Some(b'-' | b'.' | b'0'..=b'9')) {
            self.pos += 1;
        }
    }

    fn literal_string(&mut self, strings: &mut Vec<u8>) -> Token<'a> {
        let start = strings.len();
        self.pos += 1;
        let mut depth = 1_u32;
        loop {
            let rest = self.data.get(self.pos..).unwrap_or_default();
            let plain = |&&byte: &&u8| !matches!(byte, b'(' | b')' | b'\\' | b'\r');
            let run = rest.iter().take_while(plain).count();
            strings.extend_from_slice(&rest[..run]);
            let Some(&byte) = rest.get(run) else {
                self.pos = self.data.len();
                break;
            };
            self.pos += run + 1;
            match byte {
                b'(' => depth += 1,
                b')' => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                b'\\' => {
                    self.escape(strings);
                    continue;
                }
                b'\r' => {
                    if self.data.get(self.pos) == Some(&b'\n') {
                        self.pos += 1;
                    }
                    strings.push(b'\n');
                    continue;
                }
                _ => {}
            }
            strings.push(byte);
        }
        Token::Str(start..strings.len())
    }

    fn escape(&mut self, strings: &mut Vec<u8>) {
        let Some(&byte) = self.data.get(self.pos) else { return };
        self.pos += 1;
        match byte {
            b'n' => strings.push(b'\n'),
            b'r' => strings.push(b'\r'),
            b't' => strings.push(b'\t'),
            b'b' => strings.push(8),
            b'f' => strings.push(12),
            b'\n' => {}
            b'\r' => {
                if self.data.get(self.pos) == Some(&b'\n') {
                    self.pos += 1;
                }
            }
            b'0'..=b'7' => {
                let mut value = u32::from(byte - b'0');
                for _ in 0..2 {
                    let Some(&digit @ b'0'..=b'7') = self.data.get(self.pos) else { break };
                    value = value * 8 + u32::from(digit - b'0');
                    self.pos += 1;
                }
                strings.push((value & 0xff) as u8);
            }
            other => strings.push(other),
        }
    }

    fn hex_string(&mut self, strings: &mut Vec<u8>) -> Token<'a> {
        let start = strings.len();
        self.pos += 1;
        let mut high: Option<u8> = None;
        while let Some(&byte) = self.data.get(self.pos) {
            self.pos += 1;
            if byte == b'>' {
                break;
            }
            let Some(digit) = hex_digit(byte) else { continue };
            match high.take() {
                Some(first) => strings.push(first << 4 | digit),
                None => high = Some(digit),
            }
        }
        if let Some(first) = high {
            strings.push(first << 4);
        }
        Token::Str(start..strings.len())
    }
}

pub(super) fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// A name with its `#xx` escapes resolved.
pub(super) fn decode_name(raw: &[u8]) -> Cow<'_, [u8]> {
    if !raw.contains(&b'#') {
        return Cow::Borrowed(raw);
    }
    let mut name = Vec::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        let pair = raw.get(at + 1).zip(raw.get(at + 2));
        let value = pair.and_then(|(&h, &l)| Some(hex_digit(h)? << 4 | hex_digit(l)?));
        match value {
            Some(byte) if raw[at] == b'#' => {
                name.push(byte);
                at += 3;
            }
            _ => {
                name.push(raw[at]);
                at += 1;
            }
        }
    }
    Cow::Owned(name)
}

/// Where `needle` begins in `hay` at or after `from`.
pub(super) fn find(hay: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    let first = *needle.first()?;
    let mut at = from;
    loop {
        let rest = hay.get(at..)?;
        at += rest.iter().position(|&byte| byte == first)?;
        if hay[at..].starts_with(needle) {
            return Some(at);
        }
        at += 1;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn tokens(input: &[u8]) -> (Vec<Token<'_>>, Vec<u8>) {
        let (mut lexer, mut strings, mut all) = (Lexer::new(input, 0), Vec::new(), Vec::new());
        loop {
            match lexer.next(&mut strings) {
                Token::End => return (all, strings),
                token => all.push(token),
            }
        }
    }

    #[test]
    fn numbers_as_readers_take_them() {
        let (all, _) = tokens(b"12 -7 +3 .5 -.25 4. --9 1.5.2 12-34");
        assert_eq!(
            all,
            [
                Token::Int(12),
                Token::Int(-7),
                Token::Int(3),
                Token::Real(0.5),
                Token::Real(-0.25),
                Token::Real(4.0),
                Token::Int(-9),
                Token::Real(1.5),
                Token::Int(12)
            ]
        );
    }

    #[test]
    fn strings_with_escapes_and_nesting() {
        let (all, strings) = tokens(b"(a\\(b(c)\\101\\n\\\r\nz)<4 1 4>(open");
        assert_eq!(all.len(), 3);
        assert_eq!(strings, b"a(b(c)A\nzA@open");
    }

    #[test]
    fn names_comments_and_operators() {
        let (all, _) = tokens(b"/A#20B%c\n[/C<</D 1>>]T*'\"");
        assert_eq!(all[0], Token::Name(b"A#20B"));
        assert_eq!(decode_name(b"A#20B#").as_ref(), b"A B#");
        assert_eq!(all[1], Token::ArrayOpen);
        assert_eq!(*all.last().unwrap(), Token::Keyword(b"T*'\""));
    }

    #[test]
    fn a_lone_sign_does_not_stop_the_lexer() {
        assert_eq!(tokens(b"- + -(x)").0.len(), 4);
    }
}
