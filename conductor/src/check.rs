//! `conductor --check`: reads everything that a start reads, by the same code, and tells what is wrong
//! and what mends it. It opens no store, listens nowhere for longer than a look takes, and changes
//! nothing, so a conductor may run meanwhile.
//!
//! What is in force is not compared with the files: a start and a reload refuse by themselves what
//! would take away too much.

use std::{io, net::TcpListener, path::Path, time::SystemTime};

use orchestra_certs::{Credentials, x509};
use orchestra_daemon::check::Check;
use orchestra_model::chain;
use orchestra_store::{OpenError, SqliteStore};

use crate::{
    config::{Config, InvalidConfig},
    fleet::{Fleet, InvalidFleet},
    tls,
};

/// Checks the configuration of a directory. With `new_store` there need not be a store yet.
pub fn check(directory: &Path, new_store: bool) -> Check {
    let mut check = Check::default();
    let config = Config::load(directory);
    match &config {
        Ok(config) => {
            check.ok(format_args!("{}", directory.join("conductor.toml").display()));
            check_listen(config, &mut check);
            check_certificates(config, &mut check);
            check_store(&config.state_dir, new_store, &mut check);
        }
        Err(error) => {
            check.wrong(chain(error));
            check.mend(mend_of_config(error));
            check.note(
                "certificates, store and policy are not looked at, because this file says which",
            );
        }
    }
    check_fleet(directory, config.ok().as_ref(), &mut check);
    check
}

fn mend_of_config(error: &InvalidConfig) -> &'static str {
    match error {
        InvalidConfig::Read(_, cause) => mend_of_read(cause),
        InvalidConfig::Content(..) => {
            "give each key what it needs; the packaged sample says what each is for"
        }
    }
}

fn mend_of_read(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::NotFound => "write it, or name another directory with --config-dir",
        io::ErrorKind::PermissionDenied => {
            "run this as the conductor's user, or let that user read it"
        }
        _ => "put a readable file there",
    }
}

/// Looks whether the address is one of this machine. Its port may be taken, by a conductor that
/// runs.
fn check_listen(config: &Config, check: &mut Check) {
    match TcpListener::bind((config.listen.ip(), 0)) {
        Ok(_) => check.ok(format_args!("listen: {}", config.listen)),
        Err(error) => {
            check.wrong(format_args!("listen: {}: {error}", config.listen));
            check.mend("name an address of this machine, or 0.0.0.0 for all");
        }
    }
}

fn check_certificates(config: &Config, check: &mut Check) {
    let own = rustix::process::geteuid().as_raw();
    let credentials = match Credentials::examine(&config.tls, &config.domain, own) {
        Ok(credentials) => credentials,
        Err(wrong) => {
            for error in wrong {
                check.wrong(chain(&error));
                if let Some(mend) = error.mend() {
                    check.mend(mend);
                }
            }
            return;
        }
    };
    if let Err(error) = tls::of_this_conductor(config, &credentials) {
        return check.wrong(chain(&error));
    }
    let (identity, ends) = (credentials.identity(), credentials.ends());
    check.ok(format_args!("certificate of {identity}, until {}", x509::moment(ends)));
    if credentials.ends_soon(SystemTime::now()) {
        check.note("this certificate ends soon");
        check.mend("issue the next one, bring it here, and reload the conductor");
    }
    match credentials.revocation_lists().count() {
        0 => check.note("no revocation list is named (tls.crl), so nobody can be revoked"),
        lists => match credentials.run_out(SystemTime::now()) {
            None => check.ok(format_args!("revocation lists: {lists}")),
            Some(until) => {
                check.note(format_args!("a revocation list ran out at {until}, and is still used"));
                check.mend("make a new one: `orchestra-certs revoke --dir DIR`");
            }
        },
    }
}

fn check_store(state_dir: &Path, new_store: bool, check: &mut Check) {
    let place = state_dir.display();
    match SqliteStore::look(state_dir, new_store) {
        Ok(true) => check.ok(format_args!("store in {place}")),
        Ok(false) => check.ok(format_args!("store in {place}: none yet, the start makes it")),
        Err(error) => {
            check.wrong(chain(&error));
            match error {
                OpenError::None { .. } => {
                    check.mend("mount what belongs there, or for the first start: --new-store");
                }
                OpenError::Files { .. } => check.mend("run this as the conductor's user"),
                // The error says it.
                _ => {}
            }
        }
    }
}

/// Looks at the fleet's files, each after those that it is about.
fn check_fleet(directory: &Path, config: Option<&Config>, check: &mut Check) {
    let fleet = match Fleet::load(directory) {
        Ok(fleet) => fleet,
        Err(error) => return tell_fleet(&error, check),
    };
    check.ok(format_args!(
        "players: {}, groups: {}, deployments: {}, services: {}",
        fleet.hosts().len(),
        fleet.group_count(),
        fleet.deployments().len(),
        fleet.services().len(),
    ));
    let Some(config) = config else { return };
    match fleet.governed(config).map(|fleet| fleet.policy().rules().len()) {
        Ok(0) => {
            check.note("policy: open, so every audience may do everything");
            check.mend("write policy.toml, and remove `policy` from conductor.toml");
        }
        Ok(rules) => check.ok(format_args!("policy: {rules} rules")),
        Err(error) => tell_fleet(&error, check),
    }
}

fn tell_fleet(error: &InvalidFleet, check: &mut Check) {
    check.wrong(chain(error));
    let mut rest = &["groups.toml", "deployments.d", "services.d", "policy.toml"][..];
    match error {
        InvalidFleet::Read(path, cause) => {
            check.mend(mend_of_read(cause));
            if path.file_name().is_none_or(|name| name != "players") {
                rest = &rest[1..];
            }
        }
        InvalidFleet::Players(..) => {
            check.mend("a line is HOSTS [KEY=VALUE]..., as `fe[1-6] app=web`");
        }
        InvalidFleet::Groups(..) => {
            check.mend("a line is NAME = \"HOSTS\"; hosts stand in players first");
            rest = &rest[1..];
        }
        InvalidFleet::Deployments(..) => {
            check.mend("mend the files; `orc deployment check FILE...` looks at them too");
            rest = &rest[2..];
        }
        InvalidFleet::Services(..) => {
            check.mend("mend the files; `orc service apply FILE --plan` looks at one too");
            rest = &rest[3..];
        }
        InvalidFleet::Policy(..) => {
            check.mend("each [[rule]] says name, who, may and what its rights are limited by");
            rest = &[];
        }
        // The errors say it.
        InvalidFleet::NoPolicy(_) | InvalidFleet::OpenPolicy(_) => rest = &[],
    }
    if !rest.is_empty() {
        // What they name would be called unknown for no fault of theirs.
        check.note(format_args!("not looked at before that is mended: {}", rest.join(", ")));
    }
}
