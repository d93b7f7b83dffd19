//! The limit of open files, which connections are charged to.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors beside those of connections: standard streams, rings, listeners, files of a
/// configuration that is read anew.
const OTHERS: usize = 64;

/// A connection may need another one: to a worker, or to a file.
const FOR_EACH: usize = 2;

/// Raises the soft limit to the hard one, and says how many connections it holds; `None` is no
/// limit. Programs that use `select` are what the lower soft limit is for.
pub(super) fn raise() -> Option<usize> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let now =
        if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    now.map(|files| connections(usize::try_from(files).unwrap_or(usize::MAX)))
}

fn connections(files: usize) -> usize {
    (files.saturating_sub(OTHERS) / FOR_EACH).max(1)
}

/// How many connections the process may have, of `wanted`, with one line for the operator where
/// these are fewer.
#[must_use]
pub fn connections_within(wanted: usize) -> (usize, Option<String>) {
    match raise() {
        Some(held) if held < wanted => {
            let files = held * FOR_EACH + OTHERS;
            let warning = format!(
                "{held} connections instead of {wanted}: the limit of open files is {files}; raise it with \
                 `ulimit -n` or LimitNOFILE=, or lower --max-connections"
            );
            (held, Some(warning))
        }
        _ => (wanted, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_holds_half_as_many_connections() {
        assert_eq!(connections(1024), 480);
        assert_eq!(connections(10), 1);
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let (held, warning) = connections_within(usize::MAX);
        let now = getrlimit(Resource::Nofile);
        assert_eq!(now.current, now.maximum);
        assert_eq!(warning.is_some(), now.maximum.is_some());
        assert!(held > 0);
        assert_eq!(connections_within(1), (1, None));
    }
}
