//! `fxsrv store scrub`.

use std::path::{Path, PathBuf};

use super::bucket::{self, BucketWish};
use super::fail::{Exit, Fail};
use super::term;
use crate::config::Period;
use crate::store::{self, Directory, Finding, Name, StoreError};

/// Read every file, and hold it against its checksum
///
/// A file that was put there by hand has no checksum, and is named as such.
#[derive(Debug, clap::Args)]
pub(super) struct ScrubArgs {
    /// The directory with the files
    #[arg(long, env = "FXSRV_ROOT", value_name = "DIR", required_unless_present = "backend")]
    root: Option<PathBuf>,

    /// The bucket with the files: `s3://BUCKET/PREFIX`
    #[arg(long, env = "FXSRV_BACKEND", value_name = "URL", conflicts_with = "root")]
    backend: Option<String>,

    /// The server of the bucket, where it is not Amazon's [default: AWS_ENDPOINT_URL]
    #[arg(long, env = "FXSRV_S3_ENDPOINT", value_name = "URL")]
    s3_endpoint: Option<String>,

    /// The region of the bucket [default: AWS_REGION, else us-east-1]
    #[arg(long, env = "FXSRV_S3_REGION", value_name = "NAME")]
    s3_region: Option<String>,

    /// Trust the server of the bucket by this file
    #[arg(long, env = "FXSRV_S3_CA", value_name = "FILE")]
    s3_ca: Option<PathBuf>,

    /// For one request to the server of the bucket [default: 30s]
    #[arg(long, env = "FXSRV_S3_TIMEOUT", value_name = "TIME")]
    s3_timeout: Option<Period>,
}

/// What was found so far.
#[derive(Default)]
struct Tally {
    good: u64,
    unchecked: u64,
    bad: u64,
}

pub(super) fn run(args: &ScrubArgs) -> Result<Exit, Fail> {
    let mut tally = Tally::default();
    match (&args.root, &args.backend) {
        (Some(root), _) => scrub_directory(root, &mut tally)?,
        (None, Some(url)) => {
            let wish = BucketWish {
                address: bucket::address(url)?,
                endpoint: args.s3_endpoint.clone(),
                region: args.s3_region.clone(),
                ca: args.s3_ca.clone(),
                timeout: args.s3_timeout.map(|period| period.0),
            };
            bucket::scrub(&wish, &mut |name, finding| tally.take(name, &finding))?;
        }
        // The parser has made sure of it.
        (None, None) => return Err(Fail::usage("nothing says where the files are")),
    }
    let Tally { good, unchecked, bad } = tally;
    term::out(&format!("{good} good, {unchecked} without a checksum, {bad} bad"))?;
    Ok(if bad > 0 { Exit::Failed } else { Exit::Done })
}

fn scrub_directory(root: &Path, tally: &mut Tally) -> Result<(), Fail> {
    let cannot =
        |error| Fail::usage(format!("cannot read the files in {}: {error}", root.display()));
    let directory = Directory::view(root).map_err(cannot)?;
    for name in directory.names().map_err(cannot)? {
        tally.take(&name, &store::check(&directory, &name))?;
    }
    Ok(())
}

impl Tally {
    fn take(&mut self, name: &Name, finding: &Finding) -> Result<(), Fail> {
        match finding {
            Finding::Good => self.good += 1,
            Finding::Unchecked => {
                self.unchecked += 1;
                term::out(&format!("{name}: has no checksum"))?;
            }
            // Replaced or renamed since the names were listed.
            Finding::Bad(StoreError::Missing) => {}
            Finding::Bad(error) => {
                self.bad += 1;
                term::out(&format!("{name}: {error}"))?;
            }
        }
        Ok(())
    }
}
