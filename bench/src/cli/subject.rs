//! Which servers are measured, as the command line says it.

use std::net::ToSocketAddrs as _;
use std::path::{Path, PathBuf};

use fxsrv::auth::Token;
use fxsrv::tls::Roots;

use super::Fail;
use crate::load::Target;

/// A server that runs already.
#[derive(Debug)]
pub(super) struct Foreign {
    pub(super) target: Target,
    pub(super) token: Option<Token>,
}

/// What flags say of such a server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) flag: &'static str,
    pub(super) server: &'a str,
    pub(super) ca: Option<&'a Path>,
    pub(super) insecure: bool,
    pub(super) token_file: Option<&'a Path>,
    pub(super) is_plain: bool,
}

impl Named<'_> {
    pub(super) fn resolve(&self) -> Result<Foreign, Fail> {
        let wrong = |what: &dyn std::fmt::Display| {
            Fail::new(format!("{} {}: {what}", self.flag, self.server))
        };
        let address: fxsrv::client::Address = self.server.parse().map_err(|error| wrong(&error))?;
        let resolved = (address.host(), address.port())
            .to_socket_addrs()
            .map_err(|error| wrong(&error))?
            .next()
            .ok_or_else(|| wrong(&"the name has no address"))?;
        let roots = match self.ca {
            Some(path) => Some(Roots::load(path).map_err(Fail::new)?),
            None if self.insecure || self.is_plain => None,
            None => {
                return Err(wrong(&"nothing says whom to trust")
                    .with_hint("give its CA, or say --insecure of a server of your own"));
            }
        };
        let token = match self.token_file {
            Some(path) => Some(Token::load(path).map_err(Fail::new)?.token),
            None => None,
        };
        let (name, is_plain) = (address.host().to_owned(), self.is_plain);
        let target = Target { address: resolved, name, roots, is_plain };
        Ok(Foreign { target, token })
    }
}

/// The server's program: the one that is named, or the one beside this.
pub(super) fn binary(named: Option<&PathBuf>) -> Result<PathBuf, Fail> {
    let beside = || {
        let own = std::env::current_exe().ok()?;
        Some(own.parent()?.join("fxsrv"))
    };
    let path = named.cloned().or_else(beside).unwrap_or_else(|| PathBuf::from("fxsrv"));
    if path.exists() {
        return Ok(path);
    }
    Err(Fail::new(format!("there is no {}", path.display()))
        .with_hint("build it with `cargo build --release`, or name it with --binary"))
}
