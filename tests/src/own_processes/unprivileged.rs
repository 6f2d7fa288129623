//! Servers run as a plain user: Postgres refuses to run as root.

use std::path::Path;
use std::process::Command;

use super::run_folder::own_user_id;

/// Who the servers run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RunAs {
    /// The tests do not run as root: as whoever runs them.
    Myself,
    /// The tests run as root: as this user.
    User { user: u32, group: u32 },
}

impl RunAs {
    /// `PULSECAL_RUN_AS`, else `postgres`, else `nobody`, if this process is root.
    pub(crate) fn find() -> Self {
        if own_user_id() != 0 {
            return Self::Myself;
        }
        let users = std::fs::read_to_string("/etc/passwd").expect("/etc/passwd can be read");
        match std::env::var("PULSECAL_RUN_AS") {
            Ok(name) if !name.is_empty() => {
                named(&users, &name).unwrap_or_else(|| panic!("PULSECAL_RUN_AS: there is no user {name}"))
            }
            _ => named(&users, "postgres").or_else(|| named(&users, "nobody")).expect("a user nobody exists"),
        }
    }

    /// The command for this program as that user.
    pub(crate) fn command(&self, program: &Path) -> Command {
        match self {
            Self::Myself => Command::new(program),
            Self::User { user, group } => {
                // setpriv becomes the program, so that the child's pid is the server's.
                let mut command = Command::new("setpriv");
                command
                    .arg(format!("--reuid={user}"))
                    .arg(format!("--regid={group}"))
                    .arg("--clear-groups")
                    .arg("--")
                    .arg(program);
                command
            }
        }
    }

    /// Makes the folder (not what is in it) that user's.
    pub(crate) fn own(&self, folder: &Path) {
        if let Self::User { user, group } = self {
            std::os::unix::fs::chown(folder, Some(*user), Some(*group))
                .unwrap_or_else(|error| panic!("cannot give {} away: {error}", folder.display()));
        }
    }

    /// A part of file names that tells the users apart.
    pub(crate) fn tag(&self) -> String {
        match self {
            Self::Myself => "self".to_owned(),
            Self::User { user, .. } => user.to_string(),
        }
    }
}

fn named(users: &str, name: &str) -> Option<RunAs> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        let user = fields.nth(1)?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        Some(RunAs::User { user, group })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let users = "root:x:0:0:root:/root:/bin/sh\npost:x:7:8::/:/bin/sh\npostgres:x:101:104:x,,:/var:/bin/sh\n";
        assert_eq!(named(users, "postgres"), Some(RunAs::User { user: 101, group: 104 }));
        assert_eq!(named(users, "nobody"), None);
    }
}
