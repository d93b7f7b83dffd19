//! Making certificates.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::pki_types::DnsName;
use zeroize::Zeroizing;

use crate::tls::config_error::TlsConfigError;

/// Validity of a leaf: the most that Apple's platforms accept of a server outside their own roots.
pub const LEAF_VALID_DAYS: u32 = 825;

/// Validity of a CA: 10 years.
pub const CA_VALID_DAYS: u32 = 3_650;

const SECONDS_PER_DAY: u64 = 86_400;

/// A certificate is valid from an hour ago on, since clocks differ between machines.
const BACKDATED: Duration = Duration::from_secs(3_600);

/// A certificate and its key, as PEM texts. The key is wiped when this is dropped.
pub struct PemPair {
    /// The certificate.
    pub cert_pem: String,
    /// Its private key, PKCS #8.
    pub key_pem: Zeroizing<String>,
}

/// Makes a CA that signs leaves and no further CA.
///
/// # Errors
///
/// Where the crypto library refuses.
pub fn make_ca(common_name: &str, valid_days: u32) -> Result<PemPair, TlsConfigError> {
    let mut params = params(common_name, valid_days);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let fail = |error| make_error(common_name, error);
    let key = new_key().map_err(fail)?;
    let cert = params.self_signed(&key).map_err(fail)?;
    Ok(PemPair { cert_pem: cert.pem(), key_pem: Zeroizing::new(key.serialize_pem()) })
}

/// Makes a server's leaf for `names`: DNS names (`*.` may lead) or IP addresses.
///
/// # Errors
///
/// Where `names` is empty or has something else, or `ca` is no CA's pair.
pub fn make_server_leaf(
    ca: &PemPair,
    names: &[String],
    valid_days: u32,
) -> Result<PemPair, TlsConfigError> {
    let subject = "fxsrv server";
    if names.is_empty() {
        return Err(make_error(subject, "at least one DNS name or IP address is needed"));
    }
    let mut params = params(subject, valid_days);
    params.subject_alt_names = names.iter().map(|name| alt_name(name)).collect::<Result<_, _>>()?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    sign_leaf(ca, params, subject)
}

/// Makes a client's leaf.
///
/// # Errors
///
/// Where `ca` is no CA's pair.
pub fn make_client_leaf(
    ca: &PemPair,
    name: &str,
    valid_days: u32,
) -> Result<PemPair, TlsConfigError> {
    make_named_client_leaf(ca, name, &[], valid_days)
}

/// Makes a client's leaf for `names`, DNS names or IP addresses, by which a server may let it in.
///
/// # Errors
///
/// Where `names` has something else, or `ca` is no CA's pair.
pub fn make_named_client_leaf(
    ca: &PemPair,
    name: &str,
    names: &[String],
    valid_days: u32,
) -> Result<PemPair, TlsConfigError> {
    let mut params = params(name, valid_days);
    params.subject_alt_names = names.iter().map(|name| alt_name(name)).collect::<Result<_, _>>()?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    sign_leaf(ca, params, name)
}

fn sign_leaf(
    ca: &PemPair,
    mut params: CertificateParams,
    subject: &str,
) -> Result<PemPair, TlsConfigError> {
    let fail = |error| make_error(subject, error);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let ca_key = KeyPair::from_pem(&ca.key_pem).map_err(fail)?;
    let issuer = Issuer::from_ca_cert_pem(&ca.cert_pem, ca_key).map_err(fail)?;
    let key = new_key().map_err(fail)?;
    let cert = params.signed_by(&key, &issuer).map_err(fail)?;
    Ok(PemPair { cert_pem: cert.pem(), key_pem: Zeroizing::new(key.serialize_pem()) })
}

fn params(common_name: &str, valid_days: u32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BACKDATED);
    params.not_after = epoch + now + Duration::from_secs(u64::from(valid_days) * SECONDS_PER_DAY);
    params
}

fn new_key() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
}

fn alt_name(name: &str) -> Result<SanType, TlsConfigError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let host = name.strip_prefix("*.").unwrap_or(name);
    if DnsName::try_from(host).is_err() {
        return Err(make_error(name, "neither a DNS name nor an IP address"));
    }
    name.try_into().map(SanType::DnsName).map_err(|error| make_error(name, error))
}

#[allow(clippy::needless_pass_by_value)] // It is the argument of `map_err`.
fn make_error(subject: &str, problem: impl ToString) -> TlsConfigError {
    TlsConfigError::Make { subject: subject.to_owned(), problem: problem.to_string() }
}
