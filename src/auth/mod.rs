//! Tokens: what a client shows to be served, and what its holder may ask for.
//!
//! Owns: reading, making and comparing tokens, the list of those that a server accepts with what each
//! may do, and how often an address may show a wrong one. Must never: show a token in a message or a
//! log line, keep one of a list in any form but its hash, or compare one in a time that depends on its
//! contents.

mod date;
mod edit;
mod guard;
mod list;
mod rules;
mod token;
mod tokens;
mod usage;

pub use date::Moment;
pub use edit::{NewToken, add, names, revoke};
pub use guard::Guard;
pub use list::{ListError, TokenList};
pub use rules::{Rate, Rules, Uses};
pub use token::{LoadedToken, TOKEN_BYTES_MAX, Token, TokenError};
pub(crate) use tokens::stripped;
pub use tokens::{Denied, Grant, Tokens};
pub use usage::{Place, TooMuch};
