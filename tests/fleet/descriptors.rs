//! How many files a process may open: a connection each, here and in the conductor.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::trouble::{Result, Trouble};

/// What a process needs besides its connections: store, logs, runtimes, and room.
const BESIDES: u64 = 256;

/// Raises this process's limit, which programs that it starts inherit, as far as it goes. Fails
/// where that is not enough for so many connections.
pub(crate) fn raise_for(connections: usize) -> Result<()> {
    let needed = connections as u64 + BESIDES;
    let before = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    if !enough(before.maximum) {
        // Only the powerful may, and not everywhere.
        let wanted = Rlimit { current: Some(needed), maximum: Some(needed) };
        let _ = setrlimit(Resource::Nofile, wanted);
    }
    let hard = getrlimit(Resource::Nofile).maximum;
    // As much as there is: what was needed is only about right.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard });
    let now = getrlimit(Resource::Nofile).current;
    if enough(now) {
        return Ok(());
    }
    let most = now.unwrap_or(u64::MAX);
    Err(Trouble::new(format!(
        "{connections} players need {needed} open files in one process, and this one may have {most}: \
         raise the hard limit (`ulimit -Hn {needed}` as root, or LimitNOFILE= in a unit), or attach \
         at most {} players (--players)",
        most.saturating_sub(BESIDES)
    )))
}
