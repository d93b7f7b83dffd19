//! Objects from tokens, into lopdf's object model.

use lopdf::{Dictionary, Object, StringFormat};

use super::lexer::{Lexer, Token, decode_name};

/// Parses one object at `lexer`. `None` where there is none, or it nests deeper than `depth`.
/// An array or dictionary that is cut off by the end or by a keyword ends there.
pub(super) fn object(lexer: &mut Lexer<'_>, depth: u32) -> Option<Object> {
    let mut strings = Vec::new();
    let token = lexer.next(&mut strings);
    from_token(lexer, token, &mut strings, depth)
}

fn from_token(
    lexer: &mut Lexer<'_>,
    token: Token<'_>,
    strings: &mut Vec<u8>,
    depth: u32,
) -> Option<Object> {
    Some(match token {
        Token::Int(value) => reference(lexer, value).unwrap_or(Object::Integer(value)),
        Token::Real(value) => Object::Real(value as f32),
        Token::Name(raw) => Object::Name(decode_name(raw).into_owned()),
        Token::Str(range) => {
            let bytes = strings[range].to_vec();
            strings.clear();
            Object::String(bytes, StringFormat::Literal)
        }
        Token::ArrayOpen => Object::Array(array(lexer, strings, depth.checked_sub(1)?)?),
        Token::DictOpen => Object::Dictionary(dictionary(lexer, strings, depth.checked_sub(1)?)?),
        Token::Keyword(b"true") => Object::Boolean(true),
        Token::Keyword(b"false") => Object::Boolean(false),
        Token::Keyword(b"null") => Object::Null,
        _ => return None,
    })
}

/// `id generation R`, where the first number is read already.
fn reference(lexer: &mut Lexer<'_>, id: i64) -> Option<Object> {
    let id = u32::try_from(id).ok()?;
    let mut ahead = lexer.clone();
    let mut unused = Vec::new();
    // A look at the next byte spares most plain numbers the second token.
    ahead.skip_white();
    if !ahead.data.get(ahead.pos)?.is_ascii_digit() {
        return None;
    }
    let Token::Int(generation) = ahead.next(&mut unused) else { return None };
    let generation = u16::try_from(generation).ok()?;
    ahead.skip_white();
    if ahead.data.get(ahead.pos) != Some(&b'R') {
        return None;
    }
    let Token::Keyword(b"R") = ahead.next(&mut unused) else { return None };
    lexer.pos = ahead.pos;
    Some(Object::Reference((id, generation)))
}

fn array(lexer: &mut Lexer<'_>, strings: &mut Vec<u8>, depth: u32) -> Option<Vec<Object>> {
    let mut items = Vec::new();
    loop {
        let before = lexer.pos;
        match lexer.next(strings) {
            Token::ArrayClose => return Some(items),
            Token::End | Token::DictClose => {
                lexer.pos = before;
                return Some(items);
            }
            Token::Keyword(word) if !is_value(word) => {
                lexer.pos = before;
                return Some(items);
            }
            token => items.push(from_token(lexer, token, strings, depth)?),
        }
    }
}

fn dictionary(lexer: &mut Lexer<'_>, strings: &mut Vec<u8>, depth: u32) -> Option<Dictionary> {
    let mut dict = Dictionary::new();
    loop {
        let before = lexer.pos;
        match lexer.next(strings) {
            Token::DictClose | Token::End => return Some(dict),
            Token::Name(raw) => {
                let at_value = lexer.pos;
                match lexer.next(strings) {
                    // A key without a value: `/Key >>`.
                    Token::DictClose | Token::End => return Some(dict),
                    Token::Keyword(word) if !is_value(word) => {
                        lexer.pos = at_value;
                        return Some(dict);
                    }
                    Token::ArrayClose => {}
                    token => {
                        let value = from_token(lexer, token, strings, depth)?;
                        dict.set(decode_name(raw).into_owned(), value);
                    }
                }
            }
            Token::Keyword(word) if !is_value(word) => {
                lexer.pos = before;
                return Some(dict);
            }
            // Anything else between entries is skipped, as readers do.
            _ => {}
        }
    }
}

fn is_value(word: &[u8]) -> bool {
    matches!(word, b"true" | b"false" | b"null")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(input: &[u8]) -> Option<Object> {
        object(&mut Lexer::new(input, 0), 64)
    }

    #[test]
    fn references_and_numbers_are_told_apart() {
        let array = parse(b"[1 0 R 2 3 4 5 R 6]").unwrap();
        let items = array.as_array().unwrap();
        assert_eq!(items.len(), 5);
        assert_eq!(items[0], Object::Reference((1, 0)));
        assert_eq!(items[3], Object::Reference((4, 5)));
    }

    #[test]
    fn a_cut_dictionary_keeps_what_came() {
        let dict = parse(b"<</A 1/B[1 2/C<</D(x").unwrap();
        assert_eq!(dict.as_dict().unwrap().get(b"A").unwrap().as_i64().unwrap(), 1);
    }

    #[test]
    fn deep_nesting_is_refused_without_deep_recursion() {
        assert!(parse(&b"[".repeat(100_000)).is_none());
        assert!(parse(&b"<</A".repeat(100_000)).is_none());
        assert!(parse(&b"[".repeat(60)).is_some());
    }
}
