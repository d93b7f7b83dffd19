//! How a bucket is reached.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpClient, HttpConnector as _, ReqwestConnector};
use object_store::path::Path;
use object_store::{BackoffConfig, Certificate, ClientOptions, RetryConfig};

use super::BucketError;
use crate::limits::BucketLimits;

/// `s3://bucket/prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketAddress {
    /// The bucket.
    pub bucket: String,
    /// What stands before the names of all files; may be empty.
    pub prefix: String,
}

/// How a bucket is reached. Credentials come from the environment alone, by the names that all
/// clients of S3 have for them.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the files are.
    pub address: BucketAddress,
    /// The server's URL, where it is not Amazon's.
    pub endpoint: Option<String>,
    /// The region; without it that of the environment.
    pub region: Option<String>,
    /// Certificates, PEM, to trust the endpoint by in place of the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// Memory and time.
    pub limits: BucketLimits,
}

/// What requests are made with.
pub(super) struct Clients {
    pub(super) store: AmazonS3,
    /// For the few requests that the library has no words for.
    pub(super) http: HttpClient,
    pub(super) prefix: Path,
    pub(super) bucket: String,
}

/// The names under which an endpoint is given in the environment, the most specific first.
const ENDPOINT_VARIABLES: [&str; 3] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];

/// A request is tried again so often, within its time.
const RETRIES_MAX: usize = 4;

impl Settings {
    pub(super) fn clients(&self) -> Result<Clients, BucketError> {
        let prefix = Path::parse(&self.address.prefix)
            .map_err(|error| BucketError::Address(error.to_string()))?;
        let from_environment =
            || ENDPOINT_VARIABLES.iter().find_map(|name| std::env::var(name).ok());
        let endpoint = self.endpoint.clone().or_else(from_environment);
        let is_http = endpoint.as_deref().is_some_and(|url| url.starts_with("http://"));
        let options = self.options(is_http)?;
        let http = ReqwestConnector::default().connect(&options).map_err(BucketError::settings)?;
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&self.address.bucket)
            .with_client_options(options)
            .with_retry(self.retries())
            // `DeleteObjects` is not known everywhere, and one object at a time is deleted here.
            .with_disable_bulk_delete(true);
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(region) = &self.region {
            builder = builder.with_region(region);
        }
        let store = builder.build().map_err(BucketError::settings)?;
        Ok(Clients { store, http, prefix, bucket: self.address.bucket.clone() })
    }

    fn options(&self, is_http: bool) -> Result<ClientOptions, BucketError> {
        let time = self.limits.request_timeout;
        let mut options = ClientOptions::new()
            // As a whole a download takes the time that its client needs. The library's own words for
            // no limit would be one of 30 s.
            .with_timeout_disabled()
            .with_read_timeout(time)
            .with_connect_timeout(time.min(CONNECT_TIMEOUT_MAX))
            // Whoever writes http:// means it.
            .with_allow_http(is_http);
        if let Some(pem) = &self.ca_pem {
            let certificates = Certificate::from_pem_bundle(pem).map_err(BucketError::settings)?;
            options = options.with_no_system_certificates(true);
            for certificate in certificates {
                options = options.with_root_certificate(certificate);
            }
        }
        Ok(options)
    }

    fn retries(&self) -> RetryConfig {
        RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(3),
                base: 2.0,
            },
            max_retries: RETRIES_MAX,
            // None is begun after half of the time, so that its answer may still come within it.
            retry_timeout: self.limits.request_timeout / 2,
        }
    }
}

const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(5);

impl FromStr for BucketAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("'{text}' {why}; an address is s3://BUCKET/PREFIX");
        let rest = text.strip_prefix("s3://").ok_or_else(|| wrong("does not begin with s3://"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_sound = |char: char| char.is_ascii_alphanumeric() || ".-_".contains(char);
        if bucket.is_empty() || !bucket.chars().all(is_sound) {
            return Err(wrong("has no bucket's name"));
        }
        let prefix = prefix.trim_end_matches('/');
        Path::parse(prefix).map_err(|_| wrong("has a prefix that no object can have"))?;
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for BucketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_bucket_and_perhaps_a_prefix() {
        for (text, bucket, prefix, shown) in [
            ("s3://b", "b", "", "s3://b"),
            ("s3://my-bucket/", "my-bucket", "", "s3://my-bucket"),
            ("s3://b/a/b c/", "b", "a/b c", "s3://b/a/b c"),
        ] {
            let address: BucketAddress = text.parse().unwrap();
            assert_eq!((address.bucket.as_str(), address.prefix.as_str()), (bucket, prefix));
            assert_eq!(address.to_string(), shown);
        }
        for text in ["", "b/p", "s3://", "s3:///p", "s3://b c/p", "s3://b/a//b", "s3://b/../x"] {
            assert!(text.parse::<BucketAddress>().is_err(), "{text}");
        }
    }
}
