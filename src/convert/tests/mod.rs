//! What goes through more than one converter, and what their tests share.

#![allow(clippy::unwrap_used)]

mod round_trip;
pub(super) mod tiny_font;
