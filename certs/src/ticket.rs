//! Tickets for relays: signed by a conductor with the key of its certificate, judged by a relay.

use std::{sync::Arc, time::SystemTime};

use orchestra_model::{
    HostName, Timestamp,
    relay::{RelayTicket, SignedTicket, TicketFault},
};
use rustls::{
    SignatureScheme,
    client::{ResolvesClientCert as _, WebPkiServerVerifier},
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms},
    sign::CertifiedKey,
};
use rustls_pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use crate::{
    config::judge_server,
    files::{Credentials, LoadError},
    identity::{Identity, Role},
    refused::Refused,
};

/// Signs tickets as one conductor.
#[derive(Clone, Debug)]
pub struct TicketSigner {
    certified: Arc<CertifiedKey>,
    domain: HostName,
    schemes: Vec<SignatureScheme>,
}

/// Judges tickets of the conductors of one domain.
#[derive(Clone, Debug)]
pub struct TicketJudge {
    chain: Arc<WebPkiServerVerifier>,
    domain: HostName,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Why a ticket was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the conductor's key cannot sign tickets: {0}")]
pub struct Unsigned(String);

/// Why a ticket is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketRefused {
    /// Its conductor's certificate would not be accepted in a handshake.
    #[error("the certificate of the ticket's conductor is refused: {0}")]
    Certificate(Refused),
    /// Who signed it is not a conductor of this fleet.
    #[error("the ticket was signed by {0}, which is no conductor of this fleet")]
    Signer(Box<Identity>),
    /// It was not signed with the key of that certificate.
    #[error("the signature of the ticket is not good")]
    Signature,
    /// What it says is not for this.
    #[error(transparent)]
    Fault(#[from] TicketFault),
}

impl Credentials {
    /// Makes who signs tickets; we have to be a conductor.
    pub fn ticket_signer(&self) -> Result<TicketSigner, LoadError> {
        self.require(&[Role::Conductor])?;
        let certified = self
            .certified
            .resolve(&[], &[])
            .ok_or_else(|| LoadError::Tls(Box::new(Unsigned("there is no key".to_owned()))))?;
        let schemes = self.provider.signature_verification_algorithms.mapping;
        let schemes = schemes.iter().map(|(scheme, _)| *scheme).collect();
        Ok(TicketSigner { certified, domain: self.identity.domain.clone(), schemes })
    }

    /// Makes who judges tickets; we have to be a relay.
    pub fn ticket_judge(&self) -> Result<TicketJudge, LoadError> {
        self.require(&[Role::Relay])?;
        let provider: &CryptoProvider = &self.provider;
        Ok(TicketJudge {
            chain: self.server_chain()?,
            domain: self.identity.domain.clone(),
            algorithms: provider.signature_verification_algorithms,
        })
    }
}

impl TicketSigner {
    /// The domain for which it signs.
    pub fn domain(&self) -> &HostName {
        &self.domain
    }

    /// Signs a ticket.
    pub fn sign(&self, ticket: RelayTicket) -> Result<SignedTicket, Unsigned> {
        let signer = self.certified.key.choose_scheme(&self.schemes);
        let signer = signer.ok_or_else(|| Unsigned("no scheme is known for it".to_owned()))?;
        let signature = signer.sign(&ticket.to_be_signed());
        let signature = signature.map_err(|error| Unsigned(error.to_string()))?;
        let chain = self.certified.cert.iter().map(|der| der.to_vec()).collect();
        Ok(SignedTicket { ticket, chain, scheme: signer.scheme().into(), signature })
    }
}

impl TicketJudge {
    /// Judges a ticket that the player `peer` shows at this moment, in the order of what costs least.
    pub fn judge(
        &self,
        signed: &SignedTicket,
        peer: &HostName,
        now: SystemTime,
    ) -> Result<(), TicketRefused> {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let moment = Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        signed.ticket.judge(&self.domain, peer, moment)?;
        let chain = signed.chain.iter().map(|der| CertificateDer::from(der.as_slice()));
        let chain: Vec<CertificateDer<'_>> = chain.collect();
        let refused = TicketRefused::Certificate;
        let signer = judge_server(&self.chain, &chain, now).map_err(refused)?;
        if signer.role() != Role::Conductor || signer.domain != self.domain {
            return Err(TicketRefused::Signer(Box::new(signer)));
        }
        match chain.first() {
            Some(leaf) if self.has_signed(leaf, signed) => Ok(()),
            _ => Err(TicketRefused::Signature),
        }
    }

    /// Whether the key of a certificate has signed a ticket.
    fn has_signed(&self, leaf: &CertificateDer<'_>, signed: &SignedTicket) -> bool {
        let Ok((_, certificate)) = X509Certificate::from_der(leaf) else { return false };
        let key = &certificate.public_key().subject_public_key.data;
        let scheme = SignatureScheme::from(signed.scheme);
        let known = self.algorithms.mapping.iter().find(|(known, _)| *known == scheme);
        // Of a scheme of TLS 1.3 the first algorithm is the one.
        let algorithm = known.and_then(|(_, algorithms)| algorithms.first());
        let message = signed.ticket.to_be_signed();
        algorithm.is_some_and(|it| it.verify_signature(key, &message, &signed.signature).is_ok())
    }
}
