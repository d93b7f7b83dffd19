//! Files to send, made from a seed: the same bytes on every machine.
//!
//! Owns: pictures, texts, numbers and PDFs of about a wanted size. Must never take them from
//! elsewhere: whoever repeats a run has the same input.

mod picture;
mod text;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use fxsrv::convert::{Options, Quality, Target, convert};
use fxsrv::limits::ConvertLimits;

use crate::rng::Rng;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A JPEG of quality 95, about what cameras write.
    Jpg,
    /// A PNG.
    Png,
    /// A lossy WEBP of quality 95.
    Webp,
    /// Prose.
    Text,
    /// A number a line.
    Numbers,
    /// Prose as PDF.
    Pdf,
    /// Random bytes, of no type.
    Noise,
    /// Nothing.
    Empty,
}

/// What a picture shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Motif {
    /// Smooth light, texture and grain, as a photograph has.
    Photo,
    /// Every pixel at random: the worst case of every codec.
    Noise,
    /// Areas of one colour, as a drawing or a screenshot has.
    Flat,
}

/// Why there is no such file.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// So flat that the pixels for the size are over the server's limit.
    #[error(
        "a {motif} {kind} of {bytes} bytes needs {pixels} pixels, {} over the limit of {max}",
        .pixels - max
    )]
    TooManyPixels {
        /// What it shows.
        motif: &'static str,
        /// What it is.
        kind: &'static str,
        /// The wanted size.
        bytes: usize,
        /// What it would take.
        pixels: u64,
        /// The limit.
        max: u64,
    },
    /// It cannot be encoded.
    #[error("cannot make a {kind}: {reason}")]
    Encode {
        /// What it was to be.
        kind: &'static str,
        /// Why not.
        reason: String,
    },
}

/// Makes files, and remembers them: in memory, and on disk where it is told a directory.
#[derive(Debug)]
pub struct Store {
    seed: u64,
    dir: Option<PathBuf>,
    made: BTreeMap<(Kind, Motif, usize), Arc<Vec<u8>>>,
}

/// A file within this of the wanted size is of that size; every result has its true one.
const TOLERANCE: f64 = 0.08;

/// Sizes are near proportional to pixels, so that the second guess is good; more are a safeguard.
const GUESSES_MAX: usize = 4;

const QUALITY: u8 = 95;

/// Bumped when the bytes of a seed change, so that older files on disk are not taken for new ones.
const RECIPE: u32 = 1;

impl Kind {
    /// The name in plans and results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpg => "jpg",
            Self::Png => "png",
            Self::Webp => "webp",
            Self::Text => "txt",
            Self::Numbers => "numbers",
            Self::Pdf => "pdf",
            Self::Noise => "noise",
            Self::Empty => "empty",
        }
    }

    /// Whether what it shows makes a difference.
    #[must_use]
    pub fn is_picture(self) -> bool {
        matches!(self, Self::Jpg | Self::Png | Self::Webp)
    }
}

impl Motif {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Photo, Self::Noise, Self::Flat];

    /// The name in plans and results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Photo => "photo",
            Self::Noise => "noise",
            Self::Flat => "flat",
        }
    }
}

impl Store {
    /// A store of the files of `seed`. What it makes is kept in `dir` too, where one is given.
    #[must_use]
    pub fn new(seed: u64, dir: Option<PathBuf>) -> Self {
        Self { seed, dir, made: BTreeMap::new() }
    }

    /// Whether a file has been made already: then it is here at once.
    #[must_use]
    pub fn has(&self, kind: Kind, motif: Motif, bytes: usize) -> bool {
        self.made.contains_key(&(kind, motif, bytes))
    }

    /// A file of about `bytes`: pictures and PDFs within 8 %, the others exactly.
    ///
    /// # Errors
    ///
    /// It takes more pixels than a server allows, or an encoder refuses.
    pub fn file(
        &mut self,
        kind: Kind,
        motif: Motif,
        bytes: usize,
    ) -> Result<Arc<Vec<u8>>, ContentError> {
        let motif = if kind.is_picture() { motif } else { Motif::Photo };
        let key = (kind, motif, bytes);
        if let Some(file) = self.made.get(&key) {
            return Ok(Arc::clone(file));
        }
        let name = format!("{RECIPE}-{}-{}-{bytes}.{}", self.seed, motif.name(), kind.name());
        let path = self.dir.as_ref().map(|dir| dir.join(name));
        let kept = path.as_ref().and_then(|path| std::fs::read(path).ok());
        let file = if let Some(file) = kept {
            file
        } else {
            let file = make(kind, motif, bytes, self.seed)?;
            if let Some(path) = path {
                // Whole or not at all; without it the next run makes the file again.
                let part = path.with_extension("part");
                let _ = std::fs::write(&part, &file).and_then(|()| std::fs::rename(&part, &path));
            }
            file
        };
        let file = Arc::new(file);
        self.made.insert(key, Arc::clone(&file));
        Ok(file)
    }
}

fn make(kind: Kind, motif: Motif, bytes: usize, seed: u64) -> Result<Vec<u8>, ContentError> {
    match kind {
        Kind::Jpg | Kind::Png | Kind::Webp => make_picture(kind, motif, bytes, seed),
        Kind::Text => Ok(text::prose(seed, bytes)),
        Kind::Numbers => Ok(text::numbers(seed, bytes)),
        Kind::Pdf => fit(bytes, bytes as f64 * 2.0, |size| pdf(seed, size)),
        Kind::Empty => Ok(Vec::new()),
        Kind::Noise => {
            let mut noise = vec![0; bytes];
            Rng::new(seed).fill(&mut noise);
            // A NUL first, so that no size and no seed looks like text.
            noise.iter_mut().take(4).for_each(|byte| *byte = 0);
            Ok(noise)
        }
    }
}

fn make_picture(
    kind: Kind,
    motif: Motif,
    bytes: usize,
    seed: u64,
) -> Result<Vec<u8>, ContentError> {
    let pixels_max = ConvertLimits::default().pixels_max;
    // A first guess that is cheap where it is wrong: a byte a pixel, and 4 Mpx at most.
    let guess = (bytes as f64).clamp(4_096.0, 4e6);
    fit(bytes, guess, |pixels| {
        if pixels as u64 > pixels_max {
            let (motif, kind) = (motif.name(), kind.name());
            let pixels = pixels as u64;
            return Err(ContentError::TooManyPixels {
                motif,
                kind,
                bytes,
                pixels,
                max: pixels_max,
            });
        }
        encode(kind, motif, pixels, seed)
    })
}

/// Makes a file by a measure that its size is about proportional to, until the size is right.
fn fit(
    wanted: usize,
    first_guess: f64,
    make: impl Fn(usize) -> Result<Vec<u8>, ContentError>,
) -> Result<Vec<u8>, ContentError> {
    let mut guess = first_guess;
    let mut file = Vec::new();
    for _ in 0..GUESSES_MAX {
        // Positive, and far below 2^53.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let measure = guess as usize;
        file = make(measure)?;
        let ratio = wanted as f64 / file.len().max(1) as f64;
        if (ratio - 1.0).abs() <= TOLERANCE {
            break;
        }
        guess *= ratio;
    }
    Ok(file)
}

fn encode(kind: Kind, motif: Motif, pixels: usize, seed: u64) -> Result<Vec<u8>, ContentError> {
    let failed = |reason: String| ContentError::Encode { kind: kind.name(), reason };
    let (width, height) = picture::sides(pixels);
    let png =
        picture::png(motif, width, height, seed).map_err(|error| failed(error.to_string()))?;
    let target = match kind {
        Kind::Jpg => Target::Jpg,
        Kind::Webp => Target::Webp,
        _ => return Ok(png),
    };
    let options = Options { quality: Quality::new(QUALITY), ..Options::default() };
    convert(&png, target, &options, &ConvertLimits::default())
        .map_err(|error| failed(error.to_string()))
}

fn pdf(seed: u64, text_bytes: usize) -> Result<Vec<u8>, ContentError> {
    let text = text::prose(seed, text_bytes);
    convert(&text, Target::Pdf, &Options::default(), &ConvertLimits::default())
        .map_err(|error| ContentError::Encode { kind: "pdf", reason: error.to_string() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use fxsrv::convert::{SourceType, detect};

    use super::*;

    fn file(kind: Kind, motif: Motif, bytes: usize) -> Arc<Vec<u8>> {
        Store::new(1, None).file(kind, motif, bytes).unwrap()
    }

    #[test]
    fn files_are_what_they_are_called_and_about_as_large() {
        for (kind, source) in [
            (Kind::Jpg, SourceType::Jpg),
            (Kind::Png, SourceType::Png),
            (Kind::Webp, SourceType::Webp),
            (Kind::Pdf, SourceType::Pdf),
            (Kind::Text, SourceType::Text),
            (Kind::Numbers, SourceType::Text),
        ] {
            for bytes in [30_000, 100_000] {
                let file = file(kind, Motif::Photo, bytes);
                assert_eq!(detect(&file), Some(source), "{kind:?}");
                let off = (file.len() as f64 / bytes as f64 - 1.0).abs();
                assert!(off <= TOLERANCE, "{kind:?}: {} instead of {bytes}", file.len());
            }
        }
        let noise = file(Kind::Noise, Motif::Photo, 50_000);
        assert_eq!((noise.len(), detect(&noise)), (50_000, None));
    }

    #[test]
    fn motifs_differ_as_their_names_say() {
        let pixels = |motif| encode(Kind::Png, motif, 40_000, 1).unwrap().len();
        assert!(pixels(Motif::Flat) * 10 < pixels(Motif::Photo));
        assert!(pixels(Motif::Photo) * 5 < pixels(Motif::Noise) * 4);
    }

    #[test]
    fn a_flat_picture_of_megabytes_is_refused_by_its_pixels() {
        let error = Store::new(1, None).file(Kind::Png, Motif::Flat, 500_000_000).unwrap_err();
        assert!(error.to_string().contains("over the limit of 100000000"), "{error}");
    }

    #[test]
    fn a_seed_decides_the_bytes_and_the_disk_keeps_them() {
        let dir = tempfile::tempdir().unwrap();
        let made = |seed, dir| Store::new(seed, dir).file(Kind::Jpg, Motif::Photo, 20_000).unwrap();
        let first = made(1, Some(dir.path().to_owned()));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(first, made(1, Some(dir.path().to_owned())));
        assert_eq!(first, made(1, None));
        assert_ne!(first, made(2, None));
    }
}
