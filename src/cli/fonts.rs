//! Fonts for texts: those that are named, or one that this machine has.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::fail::Fail;
use crate::config::ByteSize;
use crate::convert::FontData;
use crate::isolation::Font;
use crate::limits::{FONT_BYTES_MAX, FONTS_MAX};

/// In place of a file: no font at all.
const NONE: &str = "none";

/// Fonts with Chinese, Japanese and Korean that systems bring along, the better ones first.
const KNOWN: [&str; 16] = [
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "NotoSansCJKjp-Regular.otf",
    "NotoSansSC-Regular.otf",
    "NotoSansSC-Regular.ttf",
    "SourceHanSans-Regular.ttc",
    "SourceHanSansSC-Regular.otf",
    "SourceHanSansCN-Regular.otf",
    "wqy-zenhei.ttc",
    "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf",
    "DroidSansFallback.ttf",
    "ipag.ttf",
    "NanumGothic.ttf",
    "unifont.otf",
    "unifont.ttf",
];

/// Where they lie below a directory of fonts: `opentype/noto/`, `truetype/droid/` and the like.
const DEPTH_MAX: usize = 6;

/// Files that are looked at by their names, so that a strange directory is no endless one.
const ENTRIES_MAX: usize = 20_000;

/// Fonts, with what they are called.
pub(super) struct Fonts(Vec<(String, Font)>);

impl Fonts {
    /// For a person; `none` where there is none.
    pub(super) fn names(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        if names.is_empty() { NONE.to_owned() } else { names.join(", ") }
    }

    pub(super) fn into_inner(self) -> Vec<Font> {
        self.0.into_iter().map(|(_, font)| font).collect()
    }
}

/// The fonts of the key `font`, and without it one that this machine has for CJK.
///
/// # Errors
///
/// A font that is named cannot be used.
pub(super) fn open(key: Option<&[String]>) -> Result<Fonts, Fail> {
    let files = match key {
        None => return Ok(Fonts(find().into_iter().collect())),
        Some([name]) if name == NONE => return Ok(Fonts(Vec::new())),
        Some(files) => files,
    };
    if files.len() > FONTS_MAX {
        return Err(Fail::usage(format!(
            "there are {} fonts, over the limit of {FONTS_MAX}",
            files.len()
        ))
        .with_hint("name those that texts need; the first that has a character is taken"));
    }
    let load_named = |name: &String| {
        let (path, index) = split(name);
        let font = load(path, index).map_err(|why| {
            Fail::usage(format!("cannot use the font {}: {why}", path.display()))
                .with_hint("name a TrueType or OpenType file, or `none` for none")
        })?;
        Ok((name.clone(), font))
    };
    files.iter().map(load_named).collect::<Result<_, _>>().map(Fonts)
}

/// `FILE#N` is the font N of a collection; a file whose own name ends so comes first.
fn split(name: &str) -> (&Path, u32) {
    let parts = name.rsplit_once('#').and_then(|(path, index)| Some((path, index.parse().ok()?)));
    match parts {
        Some((path, index)) if !Path::new(name).exists() => (Path::new(path), index),
        _ => (Path::new(name), 0),
    }
}

/// Reads a font, and holds it against what setting text needs.
fn load(path: &Path, index: u32) -> Result<Font, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(FONT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > FONT_BYTES_MAX {
        return Err(format!("it is larger than {}", ByteSize(FONT_BYTES_MAX)));
    }
    let font = FontData { bytes: &bytes, index };
    font.check().map_err(|error| error.message)?;
    Font::share(font).map_err(|error| format!("no memory for it: {error}"))
}

/// The first of [`KNOWN`] that is here and can be used.
fn find() -> Option<(String, Font)> {
    let mut found = Vec::new();
    let mut left = ENTRIES_MAX;
    for dir in directories() {
        collect(&dir, DEPTH_MAX, &mut left, &mut found);
    }
    found.sort();
    found.into_iter().find_map(|(_, path)| match load(&path, 0) {
        Ok(font) => Some((path.display().to_string(), font)),
        Err(why) => {
            tracing::debug!(path = %path.display(), why, "a font of this machine is of no use");
            None
        }
    })
}

/// Where fonts lie (XDG Base Directory Specification, and what fontconfig looks at beside it).
fn directories() -> Vec<PathBuf> {
    let variable =
        |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = variable("HOME");
    let data = variable("XDG_DATA_HOME").or_else(|| Some(home.as_ref()?.join(".local/share")));
    let own = [data.map(|data| data.join("fonts")), home.map(|home| home.join(".fonts"))];
    let shared = ["/usr/local/share/fonts", "/usr/share/fonts"].map(PathBuf::from);
    own.into_iter().flatten().chain(shared).collect()
}

/// Known fonts below `dir`, with their places in [`KNOWN`]. What cannot be read is passed over.
fn collect(dir: &Path, depth: usize, left: &mut usize, found: &mut Vec<(usize, PathBuf)>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if *left == 0 {
            return;
        }
        *left -= 1;
        // A link to a directory is not followed: it may lead in a circle.
        if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), depth - 1, left, found);
        } else if let Some(rank) = KNOWN.iter().position(|known| entry.file_name() == *known) {
            found.push((rank, entry.path()));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_font_of_a_collection_has_its_number_behind_a_hash() {
        assert_eq!(split("/fonts/a.ttc#2"), (Path::new("/fonts/a.ttc"), 2));
        assert_eq!(split("/fonts/a#b.ttc"), (Path::new("/fonts/a#b.ttc"), 0));
        let here = std::env::temp_dir().join(format!("fxsrv-font-{}#1", std::process::id()));
        std::fs::write(&here, b"").unwrap();
        assert_eq!(split(here.to_str().unwrap()), (here.as_path(), 0));
        std::fs::remove_file(here).unwrap();
    }

    #[test]
    fn known_fonts_are_found_below_a_directory_the_better_ones_first() {
        let dir = std::env::temp_dir().join(format!("fxsrv-fonts-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("truetype/unifont")).unwrap();
        std::fs::create_dir_all(dir.join("opentype")).unwrap();
        let names =
            ["truetype/unifont/unifont.ttf", "opentype/NotoSansCJK-Regular.ttc", "other.ttf"];
        for name in names {
            std::fs::write(dir.join(name), b"").unwrap();
        }
        let (mut found, mut left) = (Vec::new(), 100);
        collect(&dir, DEPTH_MAX, &mut left, &mut found);
        found.sort();
        let found: Vec<_> = found.into_iter().map(|(_, path)| path).collect();
        assert_eq!(found, [names[1], names[0]].map(|name| dir.join(name)));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_is_no_font_is_refused_by_its_name() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").to_owned();
        let fail = open(Some(&[file])).err().unwrap();
        assert!(
            fail.message.contains("Cargo.toml: the font is of no use here"),
            "{}",
            fail.message
        );
        assert!(open(Some(&["none".to_owned()])).unwrap().0.is_empty());
        let many = vec!["none".to_owned(); FONTS_MAX + 1];
        assert!(open(Some(&many)).err().unwrap().message.contains("over the limit"));
    }
}
