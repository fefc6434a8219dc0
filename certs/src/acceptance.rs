//! Which peers a conductor accepts by one reading of its files: in handshakes, and among connected
//! peers.

use std::{fmt, sync::Arc, time::SystemTime};

use orchestra_model::Timestamp;
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use crate::{
    config::AnyOfDomain,
    identity::Identity,
    refused::Refused,
    revocation::{Lists, RevocationList, moment},
    ticket::TicketSigner,
};

/// The conductor's TLS configuration, and the verifier in it.
pub struct Acceptance {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) verifier: Arc<AnyOfDomain>,
    pub(crate) identity: Identity,
    /// When the conductor's certificate ends.
    pub(crate) ends: Timestamp,
    pub(crate) authorities: Arc<[CertificateDer<'static>]>,
    pub(crate) lists: Arc<Lists>,
    /// Signs tickets with the conductor's key; a relay signs none.
    pub(crate) tickets: Option<TicketSigner>,
}

impl fmt::Debug for Acceptance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Acceptance").field(&self.verifier).finish()
    }
}

impl Acceptance {
    /// Who the conductor is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// When the conductor's own certificate ends.
    pub fn ends(&self) -> Timestamp {
        self.ends
    }

    /// Who signs tickets for relays; `None` if this is no conductor's.
    pub fn ticket_signer(&self) -> Option<&TicketSigner> {
        self.tickets.as_ref()
    }

    /// Returns its revocation lists, one of each CA; none if no file was named.
    pub fn revocation_lists(&self) -> impl Iterator<Item = &RevocationList> {
        self.lists.known()
    }

    /// Returns the outcome of a handshake with this chain at this moment.
    pub(crate) fn judge(
        &self,
        chain: &[CertificateDer<'static>],
        now: SystemTime,
    ) -> Result<(), Refused> {
        self.verifier.judge(chain, now)
    }

    /// Returns whether it may refuse a chain that `other` accepted. This saves most judgements,
    /// each of which verifies a signature, of which there may be thousands.
    pub(crate) fn may_refuse(&self, chain: &[CertificateDer<'static>], other: &Acceptance) -> bool {
        let has_same_authorities = self.authorities.iter().eq(other.authorities.iter());
        let parsed = chain.first().and_then(|leaf| X509Certificate::from_der(leaf).ok());
        let is_listed = parsed.is_none_or(|(_, leaf)| self.lists.names(leaf.raw_serial()));
        !has_same_authorities || is_listed
    }
}

/// Returns when the next certificate of a chain expires, so that the chain has to be judged again.
pub(crate) fn next_end(chain: &[CertificateDer<'static>], now: SystemTime) -> Option<SystemTime> {
    let ends = chain.iter().filter_map(|der| {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        // A certificate is valid up to and including this second (RFC 5280, section 4.1.2.5).
        let last = certificate.validity().not_after.timestamp();
        Some(moment(last.saturating_add(1)))
    });
    ends.filter(|end| *end > now).min()
}
