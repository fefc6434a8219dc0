//! `player --check`: looks at everything that a start needs, by the same code, and tells what is wrong
//! and what mends it. It makes no directory, takes no lock and starts nothing, so a player may run
//! meanwhile.
//!
//! Left to `orc doctor`: whether a conductor can be reached.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path, time::SystemTime};

use orchestra_certs::{Credentials, LoadError, Role, x509};
use orchestra_daemon::check::Check;
use orchestra_model::{ScoreName, chain, score::ScoreSpec};
use rustix::process::geteuid;

use super::{
    cgroup::{self, CgroupError},
    host_policy::HostPolicy,
    places::LocalPlaces,
    scores::Scores,
    spool_dir::{SpoolDir, SpoolDirError},
    unit,
    users::{UserError, Users},
};
use crate::config::{Config, ConfigError, RunAs};

/// Checks the configuration in a file.
pub fn check(file: &Path) -> Check {
    let mut check = Check::default();
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(error) => {
            check.wrong(chain(&error));
            check.mend(match error {
                ConfigError::Read { .. } => "write it, or name another one with --config",
                ConfigError::Invalid { .. } => {
                    "give each key what it needs; the packaged sample says what each is for"
                }
            });
            check.note("nothing else is looked at, because this file names it");
            return check;
        }
    };
    check.ok(format_args!("{}", config.file.display()));
    let mut users = Users::default();
    let reader = check_users(&config, &mut users, &mut check);
    check_certificates(&config, reader, &mut check);
    check_places(&config, &mut check);
    check_cgroup(&config, &mut check);
    let remembered = check_spool(&config.spool_dir, &mut check);
    check_scores(&config.scores_dir, &remembered, &mut users, &mut check);
    check_bundle_places(&config, reader, &mut users, &mut check);
    check_policy(&config, &mut check);
    check
}

/// Looks the users up. Returns the number of the agent's, who reads the key.
fn check_users(config: &Config, users: &mut Users, check: &mut Check) -> u32 {
    let own = geteuid().as_raw();
    let mut reader = own;
    let prober = config.prober_user.as_ref().map(|user| ("prober_user", user));
    let named = [("agent_user", &config.agent_user), ("task_user", &config.task_user)];
    for (key, user) in named.into_iter().chain(prober) {
        match users.run_as(user) {
            Ok(runner) => {
                let uid = runner.identity.map_or(own, |identity| identity.uid);
                check.ok(format_args!("{key}: {} (uid {uid})", name_of(user)));
                if key == "agent_user" {
                    reader = uid;
                }
            }
            Err(error) => {
                check.wrong(format_args!("{key}: {}", chain(&error)));
                check.mend(mend_of_user(&error));
            }
        }
    }
    reader
}

fn name_of(user: &RunAs) -> &str {
    match user {
        RunAs::Caller => "self",
        RunAs::User(name) => name,
    }
}

fn mend_of_user(error: &UserError) -> &'static str {
    match error {
        UserError::Unknown(_) => {
            "make the user (the package does: systemd-sysusers), or name another"
        }
        UserError::NotRoot(_) => "run this as root, as the player is, or write \"self\"",
        UserError::Name(_) => "name a user",
        UserError::LookUp(..) => "mend the directory of users that this host asks (nsswitch.conf)",
    }
}

fn check_certificates(config: &Config, reader: u32, check: &mut Check) {
    let credentials = match Credentials::examine(&config.tls, &config.domain, reader) {
        Ok(credentials) => credentials,
        Err(wrong) => return wrong.iter().for_each(|error| tell(error, check)),
    };
    let identity = credentials.identity();
    if identity.role() != Role::Player {
        check.wrong(format_args!("the certificate is that of {identity}, which is no player"));
        return check.mend("bring one that `orchestra-certs issue --dir DIR player NAME` made");
    }
    let ends = credentials.ends();
    check.ok(format_args!("certificate of {identity}, until {}", x509::moment(ends)));
    if credentials.ends_soon(SystemTime::now()) {
        check.note("this certificate ends soon");
        check.mend("issue the next one, bring it here, and restart the player: scores run on");
    }
    if credentials.run_out(SystemTime::now()).is_some() {
        check.note("the revocation list has run out, and is still used");
        check.mend("make a new one: `orchestra-certs revoke --dir DIR`");
    }
}

fn tell(error: &LoadError, check: &mut Check) {
    check.wrong(chain(error));
    if let Some(mend) = error.mend() {
        check.mend(mend);
    }
}

/// Looks at the directories of units, which the player makes where they are missing.
fn check_places(config: &Config, check: &mut Check) {
    for (key, path) in [("run_dir", &config.run_dir), ("services_dir", &config.services_dir)] {
        let looked = fs::metadata(path).and_then(|found| unit::only_ours(&found, key, path));
        match looked {
            Ok(()) => check.ok(format_args!("{key}: {}", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                check.ok(format_args!("{key}: {}, made when it is needed", path.display()));
            }
            Err(error) => {
                check.wrong(format_args!("{key}: {error}"));
                check.mend(format_args!(
                    "chown {} {path} && chmod go-w {path}",
                    geteuid().as_raw(),
                    path = path.display()
                ));
            }
        }
    }
}

fn check_cgroup(config: &Config, check: &mut Check) {
    match cgroup::look(&config.cgroup) {
        Ok(()) => {}
        Err(error @ (CgroupError::NotOne(_) | CgroupError::Unusable(..))) => {
            check.wrong(format_args!("cgroup: {}", chain(&error)));
            check.mend("name a directory that is there, below a cgroup v2 mount, or \"auto\"");
        }
        Err(error @ CgroupError::NoLimits(_)) => {
            check.wrong(format_args!("cgroup: {}", chain(&error)));
        }
    }
}

/// Looks at the spool, if there is one. Returns the scores which it remembers to have had a `.conf`.
fn check_spool(path: &Path, check: &mut Check) -> Scores {
    match SpoolDir::look(path) {
        Ok(Some(confs)) => {
            check.ok(format_args!("spool: {}", path.display()));
            return Scores::remembering(confs);
        }
        Ok(None) => {
            let parent = path.parent().unwrap_or(path);
            if parent.is_dir() {
                check.ok(format_args!("spool: {}: none yet, the start makes it", path.display()));
            } else {
                check.wrong(format_args!("spool: {} is not there", parent.display()));
                check.mend("make that directory, on a disk that outlives a reboot");
            }
        }
        Err(error) => {
            check.wrong(chain(&error));
            if let SpoolDirError::Open(..) = error {
                check.mend("run this as the player's user");
            }
        }
    }
    Scores::default()
}

fn check_scores(directory: &Path, remembered: &Scores, users: &mut Users, check: &mut Check) {
    let scores = match Scores::scan(directory, remembered) {
        Ok(scores) => scores,
        Err(error) => {
            check.wrong(chain(&error));
            return check.mend("make the directory, for root alone to write, and put scores there");
        }
    };
    let (all, disabled) = scores.counts();
    check.ok(format_args!("scores in {}: {}", directory.display(), all - disabled));
    for offer in scores.offers() {
        match offer.spec {
            Ok(spec) => check_score_user(&offer.name, &spec, users, check),
            Err(why) => {
                check.wrong(format_args!("score {}: {why}", offer.name));
                check.mend(
                    "mend or remove it; the player offers it as disabled until its next scan",
                );
            }
        }
    }
}

/// Looks at where bundles are taken. A directory that is not there is in order: it takes none.
fn check_bundle_places(config: &Config, agent: u32, users: &mut Users, check: &mut Check) {
    let report = LocalPlaces::scan(config, users, &LocalPlaces::default()).report();
    let at = config.places_dir.display();
    let disabled = report.places.iter().filter(|place| place.state.is_err()).count();
    check.ok(format_args!("places in {at}: {}", report.places.len() - disabled));
    for why in &report.troubles {
        check.wrong(format_args!("places: {why}"));
        check.mend("mend or remove it; the player tells it until its next scan");
    }
    for place in &report.places {
        if let Err(why) = &place.state {
            check.wrong(format_args!("place {}: {why}", place.name));
            check.mend("mend or remove it; the player takes nothing for it until its next scan");
        }
    }
    if report.places.iter().any(|place| place.state.is_ok()) {
        check_depot(&config.depot_dir, agent, check);
    }
}

/// Looks whether the agent can write where bundles arrive.
fn check_depot(depot: &Path, agent: u32, check: &mut Check) {
    // The agent makes the depot where it may.
    let (found, path) = match (fs::metadata(depot), depot.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            (fs::metadata(parent), parent)
        }
        (found, _) => (found, depot),
    };
    let at = path.display();
    let wrong = match found {
        Err(error) => format!("{at}: {error}"),
        Ok(found) if !found.is_dir() => format!("{at} is no directory"),
        Ok(found) if agent != 0 && found.uid() != agent => {
            format!("{at} belongs to user {}, and the agent is user {agent}", found.uid())
        }
        Ok(_) => return check.ok(format_args!("depot {}", depot.display())),
    };
    check.wrong(format_args!("depot {}: {wrong}", depot.display()));
    check.mend(format_args!(
        "make it with `install -d -m 2750 -o USER {}`, USER being the agent's, or name another one \
         (`depot_dir`)",
        depot.display()
    ));
}

/// Reads the host's own policy, if `player.toml` names one.
fn check_policy(config: &Config, check: &mut Check) {
    let Some(path) = &config.policy else { return };
    match HostPolicy::read(path) {
        Ok(_) => check.ok(format_args!("{}", path.display())),
        Err(error) => {
            check.wrong(format_args!("policy: {}: {}", path.display(), chain(&error)));
            check.mend("mend it, or take `policy` out of player.toml to leave it to the conductor");
        }
    }
}

fn check_score_user(name: &ScoreName, spec: &ScoreSpec, users: &mut Users, check: &mut Check) {
    let Some(user) = &spec.user else { return };
    if let Err(error) = users.named(user) {
        check.wrong(format_args!("score {name}: its .conf names a user: {}", chain(&error)));
        check.mend(mend_of_user(&error));
    }
}
