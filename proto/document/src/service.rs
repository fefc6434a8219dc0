//! Files of services: what `orc service apply` reads. What a service is, `orchestra_model::service`
//! says.
//!
//! A file is one service. The canonical form, which [`show`] writes, with every default:
//!
//! ```yaml
//! service: web                   # required: its name
//! score: serve-web               # required: what runs, an installed score
//! params: {port: "8080"}         # none
//! prepare: {score: install-web, params: {release: "7.2"}}   # none: before a version's first run
//! cleanup: {score: remove-web}   # none: where it has left
//! on: "@web"                     # required: a host set, or a list of host sets
//! place:                         # instead of on: the conductor chooses players
//!   count: 4                     # or zones: {east: 3, west: 1}
//!   require: {disk: ssd}         # none: labels of the players file
//!   per_host: 1                  # nothing else, so it is not written
//!   spread: zone                 # zone, host or pack
//! absent: {replace_after: 5m}    # of a service with place; or never
//! linked_to: db                 # instead of on: where db is, begun after it and ended before it
//! budget: 1                      # N or N%; what update.parallel is
//! restart:
//!   when: always                 # always, on-failure or never
//!   first: 0s                    # before the first restart
//!   max_delay: 1m                # what later waits grow to
//!   attempts: unlimited          # or N within window; one more and the unit gives up
//!   window: 10m
//!   stable_after: 10s            # a run that was up so long begins the waits anew
//! ready: {started: true, deadline: 2m}   # or {notify: true}, {fd: 3}, a probe; `ready: started` too
//! health:                        # none: a run that is ready is taken for healthy
//!   http: 8080/healthz           # required, or tcp: 8080; unix:NAME[:/PATH] in ORC_RUN_DIR
//!   every: 10s
//!   timeout: 1s
//!   fall: 3                      # failures in a row
//!   rise: 2                      # successes in a row
//! on_unhealthy: report           # or withdraw, restart; as panic written beside health alone
//! panic: 50%                     # N or N% that turn together are not believed; off
//! ports: {http: 8080, admin: "9000+{ordinal}"}   # none; in ready, health and params: {port.http}
//! nofile: 65536                  # these five: as the player has it, 022, and none
//! nice: 5
//! oom_score_adj: 200
//! umask: "027"
//! state_dir: true
//! reload: {signal: HUP}          # none: other parameters are told by a new run
//! stop: {signal: TERM, grace: 30s}       # by name, with or without SIG, or number from 1 to 31
//! update:
//!   parallel: 1                  # N or N%
//!   canary: 1                    # N or N%; none
//!   bake: 5m                     # until somebody promotes the flow
//!   healthy_for: 10s
//!   deadline: 10m
//!   max_failures: 0              # N or N%
//!   auto_revert: true
//! at_most_one: {lease: 2m}       # none; or true: no lease, replaced on proof alone
//! require_same_score: true       # false: the next run uses what is installed
//! keep_secrets: true             # false: sensitive parameters are in the memory of hosts alone
//! auto_start: true
//! ```
//!
//! Unknown fields are refused with the nearest name that is known; other tools' names, and what is not
//! offered yet, are told apart (`names`).

use orchestra_model::{limits, service::ServiceSpec};

use crate::{Format, Node, Problems};

mod absent;
mod at_most_one;
mod health;
mod names;
mod place;
mod process;
mod read;
mod recipe;
mod show;
mod signal;

pub use show::{Canonical, Values, show};
pub use signal::Message;

/// Largest file of a service, in bytes.
pub const FILE_BYTES: usize = limits::SERVICE_SPEC_BYTES;

/// Why a file of several services is refused.
const SEVERAL: &str = "several services in one file are not offered yet; apply a file of each";

/// Reads the service of a text. Whether its hosts exist and its score is installed is the
/// conductor's to say.
///
/// Fails with everything that is wrong, each with its place.
pub fn parse(text: &str, format: Format) -> Result<ServiceSpec, Problems> {
    let mut problems = Problems::default();
    let spec = read_text(text, format, &mut problems);
    match (problems.into_result(), spec) {
        (Ok(()), Some(spec)) => Ok(spec),
        (Ok(()), None) => {
            let mut problems = Problems::default();
            problems.add("", "it names no service");
            Err(problems)
        }
        (Err(problems), _) => Err(problems),
    }
}

fn read_text(text: &str, format: Format, problems: &mut Problems) -> Option<ServiceSpec> {
    if text.len() > FILE_BYTES {
        problems.add("", format_args!("it is larger than {FILE_BYTES} bytes"));
        return None;
    }
    let tree = match format.parse(text) {
        Ok(tree) => tree,
        Err(malformed) if malformed.is_several() => {
            problems.add("", format_args!("{malformed}; {SEVERAL}"));
            return None;
        }
        Err(malformed) => {
            problems.add("", format_args!("it is not {}: {malformed}", format.as_str()));
            return None;
        }
    };
    match tree {
        Node::Null => problems.add("", "it names no service"),
        Node::List(_) => problems.add("", SEVERAL),
        tree => return read::service(&tree, problems),
    }
    None
}

#[cfg(test)]
mod tests;
