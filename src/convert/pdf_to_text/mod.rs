//! To be built.

use super::{Error, ErrorKind, Options};
use crate::limits::ConvertLimits;

pub(super) fn convert(
    _input: &[u8],
    _options: &Options,
    _limits: &ConvertLimits,
) -> Result<Vec<u8>, Error> {
    Err(Error::new(ErrorKind::Internal, "not built yet"))
}
