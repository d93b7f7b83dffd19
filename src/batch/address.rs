//! Where files are: places with many, and the address of one.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use super::Trouble;
use crate::store::Name;

const BUCKET: &str = "s3://";
const STORE: &str = "store:";

/// Why a text is no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The bucket's part of it is wrong.
    #[error("'{0}' has no bucket's name; an address is s3://BUCKET/PREFIX")]
    Bucket(String),
    /// A store cannot say which files it has.
    #[error("a file store has no list of its files")]
    StoreListed,
    /// A store has no directories.
    #[error("'{0}' is no file store; its address is store: alone")]
    StoreWithin(String),
    /// The name is none that a store takes.
    #[error("'{0}': {1}")]
    Name(String, crate::store::NameError),
    /// Nothing is there.
    #[error("there is no {}", .0.display())]
    Missing(PathBuf),
    /// A file is where a directory should be.
    #[error("{} is no directory", .0.display())]
    NoDirectory(PathBuf),
}

/// Where the files of a batch come from, or go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A directory, and all beneath it.
    Directory(PathBuf),
    /// Objects whose keys begin with a prefix, which ends with a slash or is empty.
    Bucket {
        /// The bucket's name.
        bucket: String,
        /// The prefix.
        prefix: String,
    },
    /// A file store.
    Store,
    /// A file with one address a line.
    Manifest(PathBuf),
    /// One file of a store.
    Stored(Name),
}

/// Where one file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// In the file system.
    Path(PathBuf),
    /// In a bucket.
    Object {
        /// The bucket's name.
        bucket: String,
        /// The object's key.
        key: String,
    },
    /// In a file store.
    Stored(Name),
}

impl Place {
    /// Where sources are: a directory, `s3://BUCKET/PREFIX/`, `store:NAME`, or a manifest.
    ///
    /// # Errors
    ///
    /// It is none of them, or not there.
    pub fn source(text: &OsStr) -> Result<Self, AddressError> {
        match of_scheme(text)? {
            Some(Self::Store) => Err(AddressError::StoreListed),
            Some(place) => Ok(place),
            None => {
                let path = PathBuf::from(text);
                match std::fs::metadata(&path) {
                    Ok(found) if found.is_dir() => Ok(Self::Directory(absolute(path))),
                    Ok(_) => Ok(Self::Manifest(absolute(path))),
                    Err(_) => Err(AddressError::Missing(path)),
                }
            }
        }
    }

    /// Where results go: a directory, which is made where it is missing, `s3://BUCKET/PREFIX/` or
    /// `store:`.
    ///
    /// # Errors
    ///
    /// It is none of them.
    pub fn target(text: &OsStr) -> Result<Self, AddressError> {
        match of_scheme(text)? {
            Some(Self::Stored(name)) => {
                Err(AddressError::StoreWithin(format!("{STORE}{}", name.as_str())))
            }
            Some(place) => Ok(place),
            None => {
                let path = PathBuf::from(text);
                match std::fs::metadata(&path) {
                    Ok(found) if !found.is_dir() => Err(AddressError::NoDirectory(path)),
                    _ => Ok(Self::Directory(absolute(path))),
                }
            }
        }
    }

    /// The address of an entry of this source.
    ///
    /// # Errors
    ///
    /// The entry is no address.
    pub fn entry(&self, entry: &[u8]) -> Result<Address, Trouble> {
        match self {
            Self::Directory(root) => Ok(Address::Path(root.join(OsStr::from_bytes(entry)))),
            Self::Bucket { bucket, prefix } => {
                let key = format!("{prefix}{}", utf8(entry)?);
                Ok(Address::Object { bucket: bucket.clone(), key })
            }
            Self::Stored(name) => Ok(Address::Stored(name.clone())),
            Self::Manifest(_) | Self::Store => Address::parse(entry),
        }
    }

    /// The address of a result by its name in this place.
    ///
    /// # Errors
    ///
    /// The place cannot have a file of that name.
    pub fn result(&self, name: &[u8]) -> Result<Address, Trouble> {
        match self {
            Self::Directory(root) => Ok(Address::Path(root.join(OsStr::from_bytes(name)))),
            Self::Bucket { bucket, prefix } => {
                let key = format!("{prefix}{}", utf8(name)?);
                Ok(Address::Object { bucket: bucket.clone(), key })
            }
            _ => Name::parse(name).map(Address::Stored).map_err(|error| {
                Trouble::not_allowed(format!("a result in a file store: {error}"))
                    .with_hint("take other files with --include, or another place for results")
            }),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) | Self::Manifest(path) => path.display().fmt(f),
            Self::Bucket { bucket, prefix } => write!(f, "{BUCKET}{bucket}/{prefix}"),
            Self::Store => f.write_str(STORE),
            Self::Stored(name) => write!(f, "{STORE}{}", name.as_str()),
        }
    }
}

impl Address {
    /// Reads an address: `s3://BUCKET/KEY`, `store:NAME`, or a path.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn parse(text: &[u8]) -> Result<Self, Trouble> {
        if let Some(rest) = text.strip_prefix(BUCKET.as_bytes()) {
            let rest = utf8(rest)?;
            return match rest.split_once('/') {
                Some((bucket, key)) if is_bucket(bucket) && !key.is_empty() => {
                    Ok(Self::Object { bucket: bucket.to_owned(), key: key.to_owned() })
                }
                _ => Err(Trouble::not_allowed("it is no s3://BUCKET/KEY")),
            };
        }
        if let Some(name) = text.strip_prefix(STORE.as_bytes()) {
            let parsed = Name::parse(name);
            return parsed
                .map(Self::Stored)
                .map_err(|error| Trouble::not_allowed(error.to_string()));
        }
        if text.is_empty() || text.contains(&0) {
            return Err(Trouble::not_allowed("it is no path"));
        }
        Ok(Self::Path(absolute(PathBuf::from(OsStr::from_bytes(text)))))
    }

    /// What a result of it is called after, beneath wherever it goes: the path without what leads to
    /// its root, the key, or the name.
    ///
    /// # Errors
    ///
    /// It has no such name.
    pub fn own_name(text: &[u8]) -> Result<Vec<u8>, Trouble> {
        let no_name = || Trouble::not_allowed("nothing can be called after it");
        let path = match Self::parse(text)? {
            Self::Object { key, .. } => return Ok(key.into_bytes()),
            Self::Stored(name) => return Ok(name.as_str().as_bytes().to_vec()),
            Self::Path(_) => Path::new(OsStr::from_bytes(text)),
        };
        let mut name = PathBuf::new();
        for component in path.components() {
            match component {
                Component::Normal(part) => name.push(part),
                Component::ParentDir => {
                    return Err(no_name().with_hint("write the path without `..`"));
                }
                _ => {}
            }
        }
        if name.file_name().is_none() {
            Err(no_name())
        } else {
            Ok(name.into_os_string().into_encoded_bytes())
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Object { bucket, key } => write!(f, "{BUCKET}{bucket}/{key}"),
            Self::Stored(name) => write!(f, "{STORE}{}", name.as_str()),
        }
    }
}

/// What a text with a scheme names.
fn of_scheme(text: &OsStr) -> Result<Option<Place>, AddressError> {
    let Some(text) = text.to_str() else { return Ok(None) };
    if let Some(rest) = text.strip_prefix(BUCKET) {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if !is_bucket(bucket) {
            return Err(AddressError::Bucket(text.to_owned()));
        }
        let prefix = prefix.trim_matches('/');
        let slash = if prefix.is_empty() { "" } else { "/" };
        let prefix = format!("{prefix}{slash}");
        return Ok(Some(Place::Bucket { bucket: bucket.to_owned(), prefix }));
    }
    match text.strip_prefix(STORE) {
        Some("") => Ok(Some(Place::Store)),
        Some(name) => Name::parse(name.as_bytes())
            .map(|name| Some(Place::Stored(name)))
            .map_err(|error| AddressError::Name(text.to_owned(), error)),
        None => Ok(None),
    }
}

fn is_bucket(name: &str) -> bool {
    let is_sound = |char: char| char.is_ascii_alphanumeric() || ".-_".contains(char);
    !name.is_empty() && name.chars().all(is_sound)
}

/// The same path wherever the process is; as it is where the system cannot tell.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn utf8(bytes: &[u8]) -> Result<&str, Trouble> {
    std::str::from_utf8(bytes).map_err(|_| Trouble::not_allowed("the name is not UTF-8"))
}
