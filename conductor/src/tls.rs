//! This conductor's side of every handshake, from the files that its configuration names.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use orchestra_certs::{Acceptance, Credentials, LoadError, RevocationList};

use crate::config::Config;

/// Why certificates or key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidTls {
    /// Certificates or key cannot be read, or do not fit each other.
    #[error("the TLS files cannot be used")]
    Load(#[source] LoadError),
    /// The certificate is not this conductor's.
    #[error(
        "the certificate is {certificate}, but conductor.toml makes this {expected}: issue one \
         with `orchestra-certs issue`, or mend `name` and `domain`"
    )]
    NotOurs {
        /// The identity in the certificate.
        certificate: String,
        /// The identity that it should have.
        expected: String,
    },
    /// A revocation list has expired.
    #[error(
        "the revocation list {} ran out at {until}: put a new one there, made with \
         `orchestra-certs revoke`; until then the one in force stays",
        .path.display()
    )]
    RunOut {
        path: PathBuf,
        /// Since when.
        until: String,
    },
    /// A revocation list is older than the one in force.
    #[error(
        "the revocation list {} was made at {made}, before the one in force, which was made at \
         {in_force}: who was revoked in between would be let in again; put the newer one there",
        .path.display()
    )]
    Older {
        path: PathBuf,
        /// When it was made.
        made: String,
        /// When the one in force was made.
        in_force: String,
    },
}

/// Reads certificates and key, and checks that they are those of the conductor that `config`
/// describes.
///
/// An expired revocation list is used, and reported: it still keeps out everybody whom it names.
/// Without it they would be let in; and if the start were refused, a list that was not renewed
/// would cause an outage.
pub(crate) fn load(config: &Config) -> Result<Arc<Acceptance>, InvalidTls> {
    let credentials = Credentials::load(&config.tls, &config.domain).map_err(InvalidTls::Load)?;
    of_this_conductor(config, &credentials)?;
    credentials.acceptance().map_err(InvalidTls::Load)
}

/// Checks that a certificate is that of the conductor which `config` describes.
pub(crate) fn of_this_conductor(
    config: &Config,
    credentials: &Credentials,
) -> Result<(), InvalidTls> {
    let expected = format!("spiffe://{}/conductor/{}", config.domain, config.name);
    let certificate = credentials.identity().to_string();
    if certificate != expected {
        return Err(InvalidTls::NotOurs { certificate, expected });
    }
    Ok(())
}

/// Reads certificates and key for a reload. A revocation list in force is never replaced by one
/// that is older or has expired, because that would let people in. Whether a list may be missing is
/// checked with the limits in force.
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

/// Returns what is wrong with the revocation lists in force, for `orc conductor status`.
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
