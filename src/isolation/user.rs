//! Who a child becomes where the parent is root.

use std::str::FromStr;

/// Where names of users are looked up. Not through the C library, whose modules may ask a network.
const USERS: &str = "/etc/passwd";

/// What `nobody` is on every Linux, also without a table of users.
const NOBODY: u32 = 65_534;

/// A user and its group, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// The user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// Why a user cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// The table does not have it.
    #[error("there is no user '{0}' in {USERS}")]
    Unknown(String),
    /// It is the one that a child must not be.
    #[error("'{0}' is root, which a conversion must not be")]
    Root(String),
}

impl Default for User {
    fn default() -> Self {
        Self { uid: NOBODY, gid: NOBODY }
    }
}

impl FromStr for User {
    type Err = UserError;

    /// `NAME`, `UID` or `UID:GID`.
    fn from_str(text: &str) -> Result<Self, UserError> {
        let numbers = match text.split_once(':') {
            Some((uid, gid)) => uid.parse().ok().zip(gid.parse().ok()),
            None => text.parse().ok().map(|uid| (uid, uid)),
        };
        let user = match numbers {
            Some((uid, gid)) => Some(Self { uid, gid }),
            None => look_up(&std::fs::read_to_string(USERS).unwrap_or_default(), text)
                .or_else(|| (text == "nobody").then(Self::default)),
        };
        match user.ok_or_else(|| UserError::Unknown(text.to_owned()))? {
            Self { uid: 0, .. } | Self { gid: 0, .. } => Err(UserError::Root(text.to_owned())),
            user => Ok(user),
        }
    }
}

/// The line of `name` in a table as passwd(5) has it.
fn look_up(table: &str, name: &str) -> Option<User> {
    table.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(name);
        let (uid, gid) = (fields.nth(1)?, fields.next()?);
        is_it.then_some(User { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_name_or_numbers_and_never_root() {
        assert_eq!("1000".parse(), Ok(User { uid: 1000, gid: 1000 }));
        assert_eq!("1000:50".parse(), Ok(User { uid: 1000, gid: 50 }));
        assert_eq!("nobody".parse::<User>().map(|user| user.uid), Ok(NOBODY));
        assert_eq!("root".parse::<User>(), Err(UserError::Root("root".to_owned())));
        assert_eq!("0".parse::<User>(), Err(UserError::Root("0".to_owned())));
        assert_eq!("5:0".parse::<User>(), Err(UserError::Root("5:0".to_owned())));
        assert_eq!("no one".parse::<User>(), Err(UserError::Unknown("no one".to_owned())));
    }

    #[test]
    fn a_table_is_read_line_by_line() {
        let table = "root:x:0:0::/root:/bin/sh\nbroken\nfxsrv:x:977:975:f:/:/bin/false\n";
        assert_eq!(look_up(table, "fxsrv"), Some(User { uid: 977, gid: 975 }));
        assert_eq!(look_up(table, "broken"), None);
        assert_eq!(look_up(table, "other"), None);
    }
}
