//! What a server says of itself when it is asked.

use std::collections::BTreeMap;

use fxsrv::client::{self, ClientConfig, ClientError, Connection, Wire};
use fxsrv::io::Driver;
use fxsrv::limits::ClientLimits;

/// The lines of a status, by name. Those that are no number are left out.
pub type Status = BTreeMap<String, u64>;

/// Asks the server of `config` once, on a connection of its own.
///
/// # Errors
///
/// It cannot be reached, or refuses.
pub fn ask(config: &ClientConfig) -> Result<Status, ClientError> {
    let text = client::blocking(Driver::Epoll, async {
        let mut connection = Connection::connect(config).await?;
        let text = connection.status().await?;
        connection.close().await;
        Ok(text)
    })?;
    Ok(parse(&text))
}

/// How a server is asked that does not speak to everyone.
#[must_use]
pub fn config(
    address: std::net::SocketAddr,
    tls: fxsrv::tls::ClientTls,
    token: fxsrv::auth::Token,
) -> Option<ClientConfig> {
    Some(ClientConfig {
        server: address.to_string().parse().ok()?,
        tls,
        token,
        wire: Wire::V1_1,
        limits: ClientLimits::default(),
        driver: Driver::Epoll,
    })
}

fn parse(text: &str) -> Status {
    text.lines()
        .filter_map(|line| {
            let (name, value) = line.split_once('=')?;
            Some((name.to_owned(), value.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_and_words_are_not() {
        let status = parse("role=master\nversion=0.1.0\ncopied_bytes=12\nodd\n");
        assert_eq!(status.into_iter().collect::<Vec<_>>(), [("copied_bytes".to_owned(), 12)]);
    }
}
