//! The program from the outside: what a person types, and what comes back.
#![allow(clippy::unwrap_used)]

mod convert;
mod sandbox;
mod servers;
