//! Where the files of an end's TLS lie: configurations name them, `orchestra-certs` reads them.

use std::path::PathBuf;

/// Where an end's TLS material is. All PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificates of the CAs that sign our peers; more than one while a CA is replaced.
    pub ca: PathBuf,
    /// Our certificate, and intermediate ones if there are any.
    pub cert: PathBuf,
    /// Its private key; it must belong to us or root, and be readable by nobody else.
    pub key: PathBuf,
    /// Revocation lists, one of each CA in `ca`. `None`: nothing is revoked.
    pub crl: Option<PathBuf>,
}
