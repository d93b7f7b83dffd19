//! Programs of other commits, built where they are asked for.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Fail, output, say};

/// The program that is meant: a file, or the server of a commit, which is built once and kept.
pub(super) fn program(meant: &str) -> Result<PathBuf, Fail> {
    let file = PathBuf::from(meant);
    if file.is_file() {
        return Ok(file);
    }
    let commit = git(&["rev-parse", "--verify", "--quiet", &format!("{meant}^{{commit}}")]);
    let root = git(&["rev-parse", "--show-toplevel"]);
    if commit.is_empty() || root.is_empty() {
        return Err(Fail::new(format!("'{meant}' is neither a program nor a commit"))
            .with_hint("give the path of an fxsrv, or a commit, a branch or a tag"));
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let place = target.unwrap_or_else(|| Path::new(&root).join("target")).join("compare");
    let built = place.join(format!("fxsrv-{commit}"));
    if !built.exists() {
        say(&format!("building {meant} ({})", commit.get(..9).unwrap_or(&commit)));
        build(Path::new(&root), &place, &commit, &built)?;
    }
    Ok(built)
}

/// Builds in a worktree of its own, so that nothing of the present one matters.
fn build(root: &Path, place: &Path, commit: &str, built: &Path) -> Result<(), Fail> {
    let tree = place.join("tree");
    std::fs::create_dir_all(place)
        .map_err(|error| Fail::new(format!("cannot make {}: {error}", place.display())))?;
    let remove = || {
        let mut command = Command::new("git");
        let _ =
            command.current_dir(root).args(["worktree", "remove", "--force"]).arg(&tree).output();
    };
    // One of a build that was cut off.
    remove();
    let mut add = Command::new("git");
    add.current_dir(root).args(["worktree", "add", "--detach"]).arg(&tree).arg(commit);
    checked("git worktree add", &mut add)?;
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(&tree)
        .args(["build", "--release", "--locked", "-p", "fxsrv"])
        .env("CARGO_TARGET_DIR", place.join("target"));
    let done = checked("cargo build", &mut cargo).and_then(|()| {
        std::fs::copy(place.join("target/release/fxsrv"), built)
            .map(|_| ())
            .map_err(|error| Fail::new(format!("cannot keep {}: {error}", built.display())))
    });
    remove();
    done
}

fn checked(what: &str, command: &mut Command) -> Result<(), Fail> {
    let done = command.output().map_err(|error| Fail::new(format!("{what}: {error}")))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let end: Vec<_> = said.lines().rev().take(12).collect();
    Err(Fail::new(format!(
        "{what} failed:\n{}",
        end.into_iter().rev().collect::<Vec<_>>().join("\n")
    )))
}

fn git(args: &[&str]) -> String {
    output(Command::new("git").args(args))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_taken_as_it_is_and_nonsense_is_refused() {
        let own = std::env::current_exe().unwrap();
        assert_eq!(program(own.to_str().unwrap()).unwrap(), own);
        let fail = program("no-such-branch-or-file").unwrap_err();
        assert_eq!(fail.message, "'no-such-branch-or-file' is neither a program nor a commit");
    }
}
