//! fxsrv: secure file conversion over TLS for Linux.
//!
//! A client sends a file to a *master*, which checks a 94-byte header and tunnels the body to a
//! *worker*; the worker converts in memory and the result travels back the same way. Nothing of a
//! body is written to disk by either.
//!
//! The modules are rooms with one door each; `docs/architecture.md` has the map.

pub mod admin;
pub mod auth;
pub mod batch;
pub mod cli;
pub mod client;
pub mod config;
pub mod convert;
pub mod exchange;
pub mod io;
pub mod isolation;
pub mod limits;
pub mod master;
pub mod metrics;
pub mod server;
pub mod store;
pub mod store_client;
pub mod tls;
pub mod transport;
pub mod web;
pub mod wire;
pub mod worker;
