//! `relay --check`: looks at everything that a start needs, by the same code, and tells what is wrong and
//! what mends it. It starts nothing and changes nothing.

use std::{fs, path::Path, time::SystemTime};

use orchestra_bundle::Depot;
use orchestra_certs::{Credentials, LoadError, Role, x509};
use orchestra_daemon::check::Check;
use orchestra_model::chain;

use crate::config::{Config, RelayConfigError};

/// Checks the configuration in a file.
pub fn check(file: &Path) -> Check {
    let mut check = Check::default();
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(error) => {
            check.wrong(chain(&error));
            check.mend(match error {
                RelayConfigError::Read { .. } => "write it, or name another one with --config",
                RelayConfigError::Invalid { .. } => {
                    "give each key what it needs; the packaged sample says what each is for"
                }
            });
            check.note("nothing else is looked at, because this file names it");
            return check;
        }
    };
    check.ok(format_args!("{}", config.file.display()));
    check_certificates(&config, &mut check);
    check_depot(&config.depot, &mut check);
    check
}

fn check_certificates(config: &Config, check: &mut Check) {
    let reader = rustix::process::geteuid().as_raw();
    let credentials = match Credentials::examine(&config.tls, &config.domain, reader) {
        Ok(credentials) => credentials,
        Err(wrong) => return wrong.iter().for_each(|error| tell(error, check)),
    };
    let identity = credentials.identity();
    if identity.role() != Role::Relay {
        check.wrong(format_args!("the certificate is that of {identity}, which is no relay"));
        return check.mend("bring one that `orchestra-certs issue --dir DIR relay HOST` made");
    }
    let ends = credentials.ends();
    check.ok(format_args!("certificate of {identity}, until {}", x509::moment(ends)));
    if credentials.ends_soon(SystemTime::now()) {
        check.note("this certificate ends soon");
        check.mend("issue the next one, bring it here, and reload the relay");
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

fn check_depot(path: &Path, check: &mut Check) {
    if fs::symlink_metadata(path).is_err() {
        check.note(format_args!("the depot {} is not there yet", path.display()));
        return check.mend("the first bundle that is published or delivered here makes it");
    }
    match Depot::at(path).list() {
        Ok(bundles) => {
            let (path, count) = (path.display(), bundles.len());
            check.ok(format_args!("depot {path}: {count} bundles"));
        }
        Err(error) => {
            check.wrong(chain(&error));
            check.mend("let the relay's user read it: it is in the group orchestra-depot");
        }
    }
}
