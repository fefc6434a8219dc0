//! Users: from the names of the configuration and of scores to numbers.

use std::{
    collections::BTreeMap,
    ffi::{CString, NulError},
    io,
};

use super::sys::{self, Identity, Who};
use crate::config::{Config, RunAs};

/// The user as whom ports are probed, if the configuration names none.
const PROBER: &str = "orchestra-probe";

/// The user as whom a process will run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Runner {
    /// The user to become; `None`: the process keeps the sitter's.
    pub(crate) identity: Option<Identity>,
    /// Home directory.
    pub(crate) home: CString,
}

/// Why the user of a name cannot be found or become.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// No such user.
    #[error("there is no user {0}")]
    Unknown(String),
    /// The name holds a NUL byte.
    #[error("a user's name holds a NUL byte")]
    Name(#[source] NulError),
    /// The name service failed.
    #[error("cannot look user {0} up")]
    LookUp(String, #[source] io::Error),
    /// Only root can become somebody else.
    #[error("only a player that runs as root can become {0}")]
    NotRoot(String),
}

/// Looks users up, each once until [`Users::forget`]: a directory service may be slow.
#[derive(Debug, Default)]
pub(crate) struct Users {
    known: BTreeMap<String, Runner>,
    caller: Option<Runner>,
}

impl Users {
    /// Returns the user that `run_as` names.
    pub(crate) fn run_as(&mut self, run_as: &RunAs) -> Result<Runner, UserError> {
        match run_as {
            RunAs::User(name) => self.named(name),
            RunAs::Caller => Ok(self.caller()),
        }
    }

    /// Returns the user as whom ports are probed: the one that the configuration names, else the
    /// usual user if there is one, else the one as whom tasks run.
    pub(crate) fn prober(&mut self, config: &Config) -> Result<Runner, UserError> {
        match &config.prober_user {
            Some(named) => self.run_as(named),
            None => match self.named(PROBER) {
                Err(UserError::Unknown(_) | UserError::NotRoot(_)) => {
                    self.run_as(&config.task_user)
                }
                found => found,
            },
        }
    }

    /// Returns the user of this name. A player that does not run as root can use only its own.
    pub(crate) fn named(&mut self, name: &str) -> Result<Runner, UserError> {
        if let Some(runner) = self.known.get(name) {
            return Ok(runner.clone());
        }
        let text = CString::new(name).map_err(UserError::Name)?;
        let found = sys::account(Who::Name(&text))
            .map_err(|cause| UserError::LookUp(name.to_owned(), cause))?;
        let account = found.ok_or_else(|| UserError::Unknown(name.to_owned()))?;
        let own = rustix::process::geteuid();
        let identity = match own.is_root() {
            true => Some(account.identity),
            false if account.identity.uid == own.as_raw() => None,
            false => return Err(UserError::NotRoot(name.to_owned())),
        };
        let runner = Runner { identity, home: account.home };
        self.known.insert(name.to_owned(), runner.clone());
        Ok(runner)
    }

    /// Returns the sitter's own user. Its home is `/` if it has no account.
    fn caller(&mut self) -> Runner {
        if self.caller.is_none() {
            let own = sys::account(Who::Uid(rustix::process::geteuid().as_raw())).ok().flatten();
            self.caller = own.map(|account| Runner { identity: None, home: account.home });
        }
        let nowhere = || Runner { identity: None, home: c"/".to_owned() };
        self.caller.clone().unwrap_or_else(nowhere)
    }

    /// Looks everybody up anew from now on.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_and_nobody_of_a_strange_name() {
        let mut users = Users::default();
        if rustix::process::geteuid().is_root() {
            let root = users.named("root").unwrap();
            let identity = root.identity.unwrap();
            assert_eq!((identity.uid, identity.gid), (0, 0));
            assert!(identity.groups.contains(&0));
        } else {
            assert!(matches!(users.named("root"), Err(UserError::NotRoot(_))));
        }
        assert!(matches!(users.named("no-such-user-here"), Err(UserError::Unknown(_))));
        assert!(matches!(users.named("a\0b"), Err(UserError::Name(_))));
        assert_eq!(users.run_as(&RunAs::Caller).unwrap().identity, None);
    }
}
