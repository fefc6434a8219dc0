//! This conductor's side of every handshake, from the files that its configuration names.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use orchestra_certs::{Acceptance, Credentials, LoadError, RevocationList};

use crate::config::Config;

/// Why certificates or key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidTls {
    /// They cannot be read, or do not fit each other.
    #[error("the TLS files cannot be used")]
    Load(#[source] LoadError),
    /// The certificate is not this conductor's.
    #[error(
        "the certificate is {certificate}, but conductor.toml makes this {expected}: issue one \
         with `orchestra-certs issue`, or mend `name` and `domain`"
    )]
    NotOurs {
        /// Whose it is.
        certificate: String,
        /// What it should be.
        expected: String,
    },
    /// The revocation list has run out.
    #[error(
        "the revocation list {} ran out at {until}: put a new one there, made with \
         `orchestra-certs revoke`; until then the one in force stays",
        .path.display()
    )]
    RunOut {
        /// Its file.
        path: PathBuf,
        /// Since when.
        until: String,
    },
    /// The revocation list is older than the one in force.
    #[error(
        "the revocation list {} was made at {made}, before the one in force, which was made at \
         {in_force}: who was revoked in between would be let in again; put the newer one there",
        .path.display()
    )]
    Older {
        /// Its file.
        path: PathBuf,
        /// When it was made.
        made: String,
        /// When the one in force was made.
        in_force: String,
    },
}

/// Reads them, and checks that they are those of the conductor that `config` describes.
///
/// A revocation list that has run out is taken, and told: it still keeps out everybody whom it
/// names. Without it they would be let in, and a start that is refused would make an outage of a
/// list that somebody forgot to renew.
pub(crate) fn load(config: &Config) -> Result<Arc<Acceptance>, InvalidTls> {
    let credentials = Credentials::load(&config.tls, &config.domain).map_err(InvalidTls::Load)?;
    let expected = format!("spiffe://{}/conductor/{}", config.domain, config.name);
    let certificate = credentials.identity().to_string();
    if certificate != expected {
        return Err(InvalidTls::NotOurs { certificate, expected });
    }
    credentials.acceptance().map_err(InvalidTls::Load)
}

/// The same for a reload: what is in force is never replaced by a revocation list that keeps fewer
/// people out because it is older or has run out. Whether there may be none any more is a matter of
/// the limits in force.
pub(crate) fn renew(config: &Config, in_force: &Acceptance) -> Result<Arc<Acceptance>, InvalidTls> {
    let acceptance = load(config)?;
    let Some(path) = config.tls.crl.clone() else {
        return Ok(acceptance);
    };
    for list in acceptance.revocation_lists() {
        let mut before = in_force.revocation_lists();
        if let Some(in_force) = before.find(|in_force| list.is_older_than(in_force)) {
            let (made, in_force) = (list.made.clone(), in_force.made.clone());
            return Err(InvalidTls::Older { path, made, in_force });
        }
    }
    let until = run_out(&acceptance).map(|list| list.until.clone().unwrap_or_default());
    match until {
        Some(until) => Err(InvalidTls::RunOut { path, until }),
        None => Ok(acceptance),
    }
}

/// What is wrong with the revocation lists in force, for `orc conductor status`.
pub(crate) fn revocation_trouble(acceptance: &Acceptance) -> Option<String> {
    let list = run_out(acceptance)?;
    Some(format!(
        "the list of {:?} ran out at {}: whom it names stays out, and who was revoked since is let in; \
         put a new one there, made with `orchestra-certs revoke`, and run `orc conductor reload`",
        list.issuer,
        list.until.as_deref().unwrap_or_default()
    ))
}

fn run_out(acceptance: &Acceptance) -> Option<&RevocationList> {
    let now = SystemTime::now();
    acceptance.revocation_lists().find(|list| list.has_run_out(now))
}
