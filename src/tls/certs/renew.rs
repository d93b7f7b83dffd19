//! New leaves from the CA of a directory, in the place of the old ones.

use std::fs;
use std::path::Path;

use zeroize::Zeroizing;

use super::dir::{
    CA_KEY, CA_PEM, CERT_MODE, CLIENT_KEY, CLIENT_PEM, CertInfo, KEY_MODE, SERVER_KEY, SERVER_PEM,
    write_new,
};
use super::make::{LEAF_VALID_DAYS, PemPair, make_named_client_leaf, make_server_leaf};
use super::{CLIENT_NAME, CertDir};
use crate::tls::config_error::TlsConfigError;

/// What a renewal changes beside the dates.
#[derive(Debug, Clone, Default)]
pub struct Renewal {
    /// Only leaves with fewer days left than this; all without it.
    pub within_days: Option<i64>,
    /// Names of the server, instead of those that it has.
    pub server_names: Option<Vec<String>>,
    /// Names of the client, instead of those that it has.
    pub client_names: Option<Vec<String>>,
}

impl CertDir {
    /// Makes new leaves with new keys, signed by the CA that is here, and puts them into the place
    /// of the old ones; says which. Whoever trusts the CA trusts them.
    ///
    /// A server reads them when it starts or is told to. The key goes first: between the two a pair
    /// does not fit, and whoever reads it then keeps what it has.
    ///
    /// # Errors
    ///
    /// Where the CA's pair or a leaf cannot be read, a name is none, or a file cannot be written.
    pub fn renew(&self, renewal: &Renewal) -> Result<Vec<&'static str>, TlsConfigError> {
        let ca = self.load_ca()?;
        let (mut renewed, infos) = (Vec::new(), self.describe()?);
        let is_due =
            |info: &CertInfo| renewal.within_days.is_none_or(|within| info.days_left < within);
        for info in infos.iter().filter(|info| is_due(info)) {
            let (given, key_file) = match info.file {
                SERVER_PEM => (&renewal.server_names, SERVER_KEY),
                CLIENT_PEM => (&renewal.client_names, CLIENT_KEY),
                _ => continue,
            };
            let names = given.as_ref().unwrap_or(&info.names);
            let pair = if info.file == SERVER_PEM {
                make_server_leaf(&ca, names, LEAF_VALID_DAYS)?
            } else {
                make_named_client_leaf(&ca, CLIENT_NAME, names, LEAF_VALID_DAYS)?
            };
            self.replace(key_file, &pair.key_pem, KEY_MODE)?;
            self.replace(info.file, &pair.cert_pem, CERT_MODE)?;
            renewed.push(info.file);
        }
        Ok(renewed)
    }

    fn load_ca(&self) -> Result<PemPair, TlsConfigError> {
        let read = |file| {
            let path = self.path().join(file);
            fs::read_to_string(&path).map_err(|error| TlsConfigError::read(&path, error))
        };
        Ok(PemPair { cert_pem: read(CA_PEM)?, key_pem: Zeroizing::new(read(CA_KEY)?) })
    }

    /// Puts a whole file into the place of another: nobody sees half of it.
    fn replace(&self, file: &str, text: &str, mode: u32) -> Result<(), TlsConfigError> {
        let (path, fresh) = (self.path().join(file), self.path().join(format!(".{file}.new")));
        remove_leftover(&fresh)?;
        write_new(fresh.clone(), text, mode, &mut Vec::new())?;
        fs::rename(&fresh, &path).map_err(|error| TlsConfigError::write(&path, error))
    }
}

/// A renewal that was cut short may have left its file.
fn remove_leftover(path: &Path) -> Result<(), TlsConfigError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(TlsConfigError::write(path, error))
        }
        _ => Ok(()),
    }
}
