//! Pictures: JPG, PNG and WEBP into each other.

use super::{Error, ErrorKind, Options, SourceType, Target};
use crate::limits::ConvertLimits;

pub(super) fn codecs() -> Vec<&'static str> {
    Vec::new()
}

pub(super) fn convert(
    _input: &[u8],
    _source: SourceType,
    _target: Target,
    _options: &Options,
    _limits: &ConvertLimits,
) -> Result<Vec<u8>, Error> {
    Err(Error::new(ErrorKind::Internal, "not built yet"))
}
