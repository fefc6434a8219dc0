//! What mends certificates, keys and lists that cannot be used, for whoever brings them to a host.

use std::io;

use crate::files::LoadError;

impl LoadError {
    /// Returns what to do about it; `None` where the error itself says so.
    pub fn mend(&self) -> Option<&'static str> {
        match self {
            Self::Read { source, .. } => Some(match source.kind() {
                io::ErrorKind::NotFound => {
                    "bring the file, or name another one in [tls]; `orchestra-certs issue` makes \
                     certificates with their keys, `orchestra-certs revoke` a revocation list"
                }
                io::ErrorKind::PermissionDenied => {
                    "let the user of this program read the file and pass its directories, or run this \
                     as that user"
                }
                _ => "put a readable file there, or name another one in [tls]",
            }),
            Self::Nothing { .. } | Self::Pem { .. } => {
                Some("bring the file anew, whole and in PEM form, as `orchestra-certs` writes it")
            }
            Self::Mismatch { .. } => Some(
                "bring certificate and key of one name, as one `orchestra-certs issue` made them",
            ),
            Self::Authority { .. } => Some("bring ca.pem of the authority's directory anew"),
            Self::Expired { .. } => Some("`orchestra-certs issue --force` makes the next one"),
            Self::NotYetValid { .. } => Some("set the clock of this host"),
            Self::Identity { .. } | Self::Role { .. } => Some(
                "bring a certificate that `orchestra-certs issue` made for this role and name, by the \
                 authority of the configured domain",
            ),
            Self::RevocationList { .. } => Some(
                "bring ca.crl of the authority's directory, as `orchestra-certs revoke` makes it",
            ),
            Self::NoPublisher(_) => {
                Some("bring a key that `orchestra-certs publisher` made, or `openssl genpkey`")
            }
            Self::KeyMode { .. }
            | Self::KeyOwner { .. }
            | Self::Unacceptable { .. }
            | Self::Tls(_) => None,
        }
    }
}
