//! Patterns such as `*.txt`, where no shell has put names in their place.

use std::path::{Path, PathBuf};

use glob::MatchOptions;

/// As in a shell: a star stands for no slash, nor for the dot of a hidden file.
const AS_A_SHELL: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Whether a shell would have put names in its place.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// The files that a pattern fits, by name. A path of a file that exists is no pattern, and one that
/// no file fits stays what it is, to be said so.
pub(super) fn expand(path: &Path) -> Vec<PathBuf> {
    let fitting = match path.to_str() {
        Some(text) if is_pattern(text) && path.symlink_metadata().is_err() => {
            glob::glob_with(text, AS_A_SHELL).ok()
        }
        _ => None,
    };
    let files: Vec<_> = fitting
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|path| path.is_file())
        .collect();
    if files.is_empty() { vec![path.to_owned()] } else { files }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_the_files_that_it_fits() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.txt", "a.txt", ".c.txt", "d.log", "[e].txt"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        std::fs::create_dir(dir.path().join("f.txt")).unwrap();
        let expanded = |pattern: &str| -> Vec<_> {
            let names = expand(&dir.path().join(pattern));
            names
                .iter()
                .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(expanded("*.txt"), ["[e].txt", "a.txt", "b.txt"]);
        assert_eq!(expanded("?.txt"), ["a.txt", "b.txt"]);
        assert_eq!(expanded("[e].txt"), ["[e].txt"], "a file of this very name");
        assert_eq!(expanded("*.pdf"), ["*.pdf"]);
        assert_eq!(expanded("d.log"), ["d.log"]);
        assert_eq!(expanded("["), ["["]);
    }
}
