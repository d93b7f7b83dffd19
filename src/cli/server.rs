//! Which server a client command asks, by its keys.

use super::fail::Fail;
use super::serve::load_token;
use crate::auth::Token;
use crate::client::ClientConfig;
use crate::config::ConvertKeys;
use crate::io::Driver;
use crate::tls::{ClientTls, Roots, Trust, Versions};

/// Where files are sent.
pub(super) enum Target {
    /// To a server that is configured.
    Remote(Box<ClientConfig>),
    /// To servers inside of this process.
    Local,
}

/// The variable that holds a token itself. It has no flag, since a command line is everyone's to
/// read, and no line in a file, since a file can have the token alone.
const TOKEN_VARIABLE: &str = "FXSRV_TOKEN";

/// `has_flag_token` says that the token's file is not merely that of the configuration file, over
/// which the variable goes.
pub(super) fn target(
    keys: &ConvertKeys,
    has_flag_token: bool,
    driver: Driver,
) -> Result<Target, Fail> {
    let Some(server) = keys.server.clone() else {
        return match &keys.ca {
            Some(_) => Err(Fail::usage("a CA is given, and no server to trust by it")
                .with_hint("give --server HOST:PORT too, or leave out --ca")),
            None => Ok(Target::Local),
        };
    };
    let ca = keys.ca.as_ref().ok_or_else(|| {
        Fail::usage(format!("nothing says whom to trust as {server}"))
            .with_hint("give --ca FILE, the ca.pem of the server's certificates")
    })?;
    let roots = Roots::load(ca).map_err(|error| {
        Fail::usage(error.to_string()).with_hint("--ca is the ca.pem of the server's certificates")
    })?;
    Ok(Target::Remote(Box::new(ClientConfig {
        server,
        tls: ClientTls::new(Trust::Roots(&roots), None, Versions::Tls12And13)?,
        token: token(keys, has_flag_token)?,
        wire: keys.wire.unwrap_or_default(),
        limits: keys.limits(),
        driver,
    })))
}

fn token(keys: &ConvertKeys, has_flag_token: bool) -> Result<Token, Fail> {
    if let (false, Ok(text)) = (has_flag_token, std::env::var(TOKEN_VARIABLE)) {
        return Token::parse(&text)
            .map_err(|error| Fail::usage(format!("{TOKEN_VARIABLE}: {error}")));
    }
    let path = keys.token_file.as_ref().ok_or_else(|| {
        Fail::usage("there is no token to show to the server")
            .with_hint(format!("give --token-file FILE, or set {TOKEN_VARIABLE}"))
    })?;
    load_token(path)
}
