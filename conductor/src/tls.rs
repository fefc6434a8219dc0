//! This conductor's side of every handshake, from the files that its configuration names.

use std::{error::Error, fmt, sync::Arc};

use orchestra_certs::{Credentials, LoadError};
use rustls::ServerConfig;

use crate::config::Config;

/// Why certificates or key cannot be used.
#[derive(Debug)]
pub enum InvalidTls {
    /// They cannot be read, or do not fit each other.
    Load(LoadError),
    /// The certificate is not this conductor's.
    NotOurs {
        /// Whose it is.
        certificate: String,
        /// What it should be.
        expected: String,
    },
}

impl fmt::Display for InvalidTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(_) => f.write_str("the TLS files cannot be used"),
            Self::NotOurs { certificate, expected } => write!(
                f,
                "the certificate is {certificate}, but conductor.toml makes this {expected}: issue one \
                 with `orchestra-certs issue`, or mend `name` and `domain`"
            ),
        }
    }
}

impl Error for InvalidTls {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Load(cause) => Some(cause),
            Self::NotOurs { .. } => None,
        }
    }
}

/// Reads them, and checks that they are those of the conductor that `config` describes.
pub(crate) fn load(config: &Config) -> Result<Arc<ServerConfig>, InvalidTls> {
    let credentials = Credentials::load(&config.tls, &config.domain).map_err(InvalidTls::Load)?;
    let expected = format!("spiffe://{}/conductor/{}", config.domain, config.name);
    let certificate = credentials.identity().to_string();
    if certificate != expected {
        return Err(InvalidTls::NotOurs { certificate, expected });
    }
    credentials.server_config().map_err(InvalidTls::Load)
}
