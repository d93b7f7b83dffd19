//! The files of `convert`, whole.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::fail::Fail;
use crate::config::ByteSize;

/// Whether a path means stdin.
pub(super) fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// A whole file, or stdin, that is not larger than the limit.
pub(super) fn read(input: Option<&Path>, bytes_max: u64) -> Result<Vec<u8>, Fail> {
    let too_large = || {
        let max = ByteSize(bytes_max);
        Fail::failed(format!("it is larger than the limit of {max}"))
            .with_hint("raise the limit with --max-body")
    };
    let cannot = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Fail::failed("there is no such file"),
        io::ErrorKind::PermissionDenied => Fail::failed("it may not be read by this user"),
        _ => Fail::failed(format!("cannot read it: {error}")),
    };
    let mut body = Vec::new();
    match input {
        None => {
            io::stdin().lock().take(bytes_max + 1).read_to_end(&mut body).map_err(cannot)?;
        }
        Some(path) => {
            let file = File::open(path).map_err(cannot)?;
            let metadata = file.metadata().map_err(cannot)?;
            if metadata.len() > bytes_max {
                return Err(too_large());
            }
            file.take(bytes_max + 1).read_to_end(&mut body).map_err(cannot)?;
        }
    }
    if body.len() as u64 > bytes_max {
        return Err(too_large());
    }
    Ok(body)
}
