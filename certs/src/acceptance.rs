//! Whom a conductor accepts, as of one reading of its files: in handshakes, and of those who are
//! connected already.

use std::{fmt, sync::Arc, time::SystemTime};

use rustls::{ServerConfig, server::danger::ClientCertVerifier};
use rustls_pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use crate::{
    config::{AnyOfDomain, unix_time},
    refused::Refused,
    revocation::{Lists, RevocationList, moment},
};

/// A TLS configuration of the conductor's end, with the judgement that is in it.
pub struct Acceptance {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) verifier: Arc<AnyOfDomain>,
    pub(crate) authorities: Arc<[CertificateDer<'static>]>,
    pub(crate) lists: Arc<Lists>,
}

impl fmt::Debug for Acceptance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Acceptance").field(&self.verifier).finish()
    }
}

impl Acceptance {
    /// The revocation lists that it goes by, one of each CA; none where no file was named.
    pub fn revocation_lists(&self) -> impl Iterator<Item = &RevocationList> {
        self.lists.known()
    }

    /// What a handshake with this chain would come to at this moment.
    pub(crate) fn judge(
        &self,
        chain: &[CertificateDer<'static>],
        now: SystemTime,
    ) -> Result<(), Refused> {
        let (leaf, intermediates) = chain.split_first().ok_or(Refused::NoCertificate)?;
        self.verifier
            .verify_client_cert(leaf, intermediates, unix_time(now))
            .map(drop)
            .map_err(|error| Refused::from(&error))
    }

    /// Whether it may judge otherwise of a chain than another one did, which took it: to judge
    /// costs a signature, and there may be thousands.
    pub(crate) fn may_refuse(&self, chain: &[CertificateDer<'static>], other: &Acceptance) -> bool {
        let has_same_authorities = self.authorities.iter().eq(other.authorities.iter());
        let parsed = chain.first().and_then(|leaf| X509Certificate::from_der(leaf).ok());
        let is_listed = parsed.is_none_or(|(_, leaf)| self.lists.names(leaf.raw_serial()));
        !has_same_authorities || is_listed
    }
}

/// The next moment at which a chain may be judged otherwise because a certificate of it has ended.
pub(crate) fn next_end(chain: &[CertificateDer<'static>], now: SystemTime) -> Option<SystemTime> {
    let ends = chain.iter().filter_map(|der| {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        // It is valid up to and with this second (RFC 5280, section 4.1.2.5).
        let last = certificate.validity().not_after.timestamp();
        Some(moment(last.saturating_add(1)))
    });
    ends.filter(|end| *end > now).min()
}
