//! Keeping the process of a store to its directory.

use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus,
};

/// Rules of the newest edition that is asked for; an older kernel enforces what it knows.
const EDITION: ABI = ABI::V5;

/// How much the kernel enforces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confinement {
    /// All of it.
    Full,
    /// What it knows of it.
    Partial,
    /// Nothing: it has no Landlock.
    None,
}

/// Gives up, for the calling thread and all that it starts from now on, every access to files but to
/// those in `root`, and connecting to anywhere. What is open stays open. Must come after certificates
/// and tokens are read, and before other threads start.
///
/// The process's own entries in /proc stay readable: its limits are there.
///
/// # Errors
///
/// The kernel refuses the rules.
pub fn confine(root: &Path) -> Result<Confinement, RulesetError> {
    let files = AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::MakeReg
        | AccessFs::RemoveFile
        | AccessFs::Truncate;
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(EDITION))?
        .handle_access(AccessNet::ConnectTcp)?
        .create()?
        .set_compatibility(CompatLevel::BestEffort);
    for (path, access) in [(root, files), (Path::new("/proc/self"), AccessFs::ReadFile.into())] {
        // Without /proc there is nothing to allow there.
        if let Ok(descriptor) = PathFd::new(path) {
            ruleset = ruleset.add_rule(PathBeneath::new(descriptor, access))?;
        }
    }
    Ok(confinement(&ruleset.restrict_self()?.ruleset))
}

/// The same for a store whose files are elsewhere: no file may be written, made or removed. Reading
/// stays, since names are resolved and trusted by the system's files.
///
/// # Errors
///
/// The kernel refuses the rules.
pub fn confine_to_reading() -> Result<Confinement, RulesetError> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_write(EDITION))?
        .create()?;
    Ok(confinement(&ruleset.restrict_self()?.ruleset))
}

fn confinement(status: &RulesetStatus) -> Confinement {
    match status {
        RulesetStatus::FullyEnforced => Confinement::Full,
        RulesetStatus::PartiallyEnforced => Confinement::Partial,
        RulesetStatus::NotEnforced => Confinement::None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_confined_thread_reaches_its_directory_and_nothing_else() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("secret"), b"x").unwrap();
        // Rules count for the thread that asks for them; the others of this process go free.
        let confined = std::thread::scope(|scope| {
            let work = || {
                let confinement = confine(inside.path()).unwrap();
                let file = inside.path().join("file");
                fs::write(&file, b"y").unwrap();
                assert_eq!(fs::read(&file).unwrap(), b"y");
                fs::rename(&file, inside.path().join("other")).unwrap();
                fs::remove_file(inside.path().join("other")).unwrap();
                assert!(fs::read_to_string("/proc/self/limits").is_ok());
                (confinement, fs::read(outside.path().join("secret")))
            };
            scope.spawn(work).join().unwrap()
        });
        match confined {
            (Confinement::None, read) => assert!(read.is_ok()),
            (_, read) => assert!(read.is_err()),
        }
        assert!(fs::read(outside.path().join("secret")).is_ok());
    }

    #[test]
    fn a_thread_without_files_of_its_own_reads_and_writes_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, b"y").unwrap();
        let (confinement, read, written) = std::thread::scope(|scope| {
            let work = || {
                let confinement = confine_to_reading().unwrap();
                (confinement, fs::read(&file), fs::write(dir.path().join("new"), b"x"))
            };
            scope.spawn(work).join().unwrap()
        });
        assert_eq!(read.unwrap(), b"y");
        assert_eq!(written.is_ok(), confinement == Confinement::None);
    }
}
