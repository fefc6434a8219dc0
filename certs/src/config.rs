//! TLS configurations of both ends: TLS 1.3 only, certificates at both ends, no resumption.
//!
//! rustls verifies the chain. In addition each verifier demands an identity of the one domain, so
//! that a peer of another domain fails in the handshake and is told so by an alert.

use std::{fmt, net::Ipv4Addr, sync::Arc, time::SystemTime};

use orchestra_model::{HostName, TlsFiles};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    ServerConfig, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    server::{
        NoServerSessionStorage, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::{
    acceptance::Acceptance,
    files::{Credentials, LoadError},
    identity::{Identity, InvalidIdentity, Role, Subject},
    refused::Refused,
    sighting::Shown,
    ticket::TicketSigner,
};

/// HTTP/2, the only protocol spoken with a conductor (RFC 7301).
const ALPN: &[u8] = b"h2";

/// What is spoken with a relay, so that no connection is ever taken for one with a conductor.
const RELAY_ALPN: &[u8] = b"orchestra-relay/1";

/// The conductor that a player or a tool accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The domain, which is ours too.
    pub domain: HostName,
    /// The conductor's name within it.
    pub conductor_name: HostName,
}

/// Makes the configuration of the conductor's end, which accepts identities of `domain` of every
/// role.
pub fn acceptance(files: &TlsFiles, domain: &HostName) -> Result<Arc<Acceptance>, LoadError> {
    Credentials::load(files, domain)?.acceptance()
}

/// Makes the configuration of a player's or a tool's end, which accepts one conductor.
pub fn client_config(
    files: &TlsFiles,
    expected: &Expected,
) -> Result<Arc<ClientConfig>, LoadError> {
    Credentials::load(files, &expected.domain)?.client_config(&expected.conductor_name)
}

impl Credentials {
    /// Makes the configuration of the conductor's end, which accepts identities of our domain of
    /// every role.
    pub fn acceptance(&self) -> Result<Arc<Acceptance>, LoadError> {
        let tickets = self.ticket_signer()?;
        self.acceptance_of(ALPN, Some(tickets))
    }

    /// Makes the configuration of a relay's end. It accepts identities of our domain of every role
    /// too; who may fetch is in [`roles::FETCHES_FROM_RELAYS`](crate::roles::FETCHES_FROM_RELAYS).
    pub fn relay_acceptance(&self) -> Result<Arc<Acceptance>, LoadError> {
        self.require(&[Role::Relay])?;
        self.acceptance_of(RELAY_ALPN, None)
    }

    fn acceptance_of(
        &self,
        alpn: &[u8],
        tickets: Option<TicketSigner>,
    ) -> Result<Arc<Acceptance>, LoadError> {
        let verifier = Arc::new(self.any_of_domain()?);
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(tls)?
            .with_client_cert_verifier(Arc::clone(&verifier) as _)
            .with_cert_resolver(Arc::clone(&self.certified) as _);
        config.alpn_protocols = vec![alpn.to_vec()];
        // A resumed session would skip the certificate, and with it a revocation.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(Arc::new(Acceptance {
            config: Arc::new(config),
            verifier,
            identity: self.identity.clone(),
            ends: self.ends(),
            authorities: Arc::clone(&self.authorities),
            lists: Arc::clone(&self.lists),
            tickets,
        }))
    }

    /// Returns the verifier of a conductor.
    fn any_of_domain(&self) -> Result<AnyOfDomain, LoadError> {
        let chain = WebPkiClientVerifier::builder_with_provider(
            Arc::clone(&self.roots),
            Arc::clone(&self.provider),
        )
        .with_crls(self.lists.ders())
        .only_check_end_entity_revocation()
        .build()
        .map_err(tls)?;
        Ok(AnyOfDomain { chain, domain: self.identity.domain.clone() })
    }

    /// Judges our own certificates as those will who trust the same CA and the same list.
    pub(crate) fn judge_own(&self, chain: &[CertificateDer<'static>]) -> Result<(), LoadError> {
        let now = SystemTime::now();
        let judged = match &self.identity.subject {
            Subject::Conductor(_) | Subject::Relay(_) => {
                self.one_server(self.identity.subject.clone())?.judge(chain, now)
            }
            Subject::Player(_) | Subject::Audience(_) => self.any_of_domain()?.judge(chain, now),
        };
        let (path, ca) = (self.files.cert.clone(), self.files.ca.clone());
        judged.map_err(|why| LoadError::Unacceptable { path, ca, source: Box::new(why) })
    }

    /// Makes the configuration of a player's or a tool's end, which accepts the conductor of this
    /// name in our domain.
    pub fn client_config(&self, conductor_name: &HostName) -> Result<Arc<ClientConfig>, LoadError> {
        self.require(&[Role::Player, Role::Audience])?;
        self.client_config_of(Subject::Conductor(conductor_name.clone()), ALPN)
    }

    /// Makes the configuration of a player's end, which accepts the relay on this host in our domain.
    pub fn relay_client_config(&self, host: &HostName) -> Result<Arc<ClientConfig>, LoadError> {
        self.require(&[Role::Player])?;
        self.client_config_of(Subject::Relay(host.clone()), RELAY_ALPN)
    }

    fn client_config_of(
        &self,
        server: Subject,
        alpn: &[u8],
    ) -> Result<Arc<ClientConfig>, LoadError> {
        let verifier = Arc::new(self.one_server(server)?);
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(tls)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::clone(&self.certified) as _);
        config.alpn_protocols = vec![alpn.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        Ok(Arc::new(config))
    }

    /// Returns the verifier of a player or a tool.
    pub(crate) fn one_conductor(&self, name: &HostName) -> Result<OneServer, LoadError> {
        self.one_server(Subject::Conductor(name.clone()))
    }

    fn one_server(&self, subject: Subject) -> Result<OneServer, LoadError> {
        let expected = Identity { domain: self.identity.domain.clone(), subject };
        Ok(OneServer { chain: self.server_chain()?, expected })
    }

    /// Returns who judges the chain of any server of our CA.
    pub(crate) fn server_chain(&self) -> Result<Arc<WebPkiServerVerifier>, LoadError> {
        WebPkiServerVerifier::builder_with_provider(
            Arc::clone(&self.roots),
            Arc::clone(&self.provider),
        )
        .with_crls(self.lists.ders())
        .only_check_end_entity_revocation()
        .build()
        .map_err(tls)
    }

    pub(crate) fn require(&self, wanted: &'static [Role]) -> Result<(), LoadError> {
        if wanted.contains(&self.identity.role()) {
            Ok(())
        } else {
            Err(LoadError::Role { found: self.identity.clone(), wanted })
        }
    }
}

fn tls(error: impl std::error::Error + Send + Sync + 'static) -> LoadError {
    LoadError::Tls(Box::new(error))
}

/// Returns the error for rustls, which sends the alert `certificate_unknown`.
fn refused(error: InvalidIdentity) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}

/// The methods of a verifier of either end that are about signatures: its `chain` verifies them.
macro_rules! signatures_are_the_chains {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.chain.verify_tls12_signature(message, cert, dss)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.chain.verify_tls13_signature(message, cert, dss)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.chain.supported_verify_schemes()
        }
    };
}

/// Accepts a client whose chain verifies and who is an identity of the domain.
pub(crate) struct AnyOfDomain {
    chain: Arc<dyn ClientCertVerifier>,
    domain: HostName,
}

impl AnyOfDomain {
    /// What a handshake with this chain would come to at this moment.
    pub(crate) fn judge(
        &self,
        chain: &[CertificateDer<'static>],
        now: SystemTime,
    ) -> Result<(), Refused> {
        let (leaf, intermediates) = chain.split_first().ok_or(Refused::NoCertificate)?;
        self.verify_client_cert(leaf, intermediates, unix_time(now))
            .map(drop)
            .map_err(|error| Refused::from(&error))
    }
}

impl fmt::Debug for AnyOfDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnyOfDomain({})", self.domain)
    }
}

impl ClientCertVerifier for AnyOfDomain {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Shown::note(end_entity);
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        Identity::of_certificate(end_entity)
            .and_then(|identity| identity.within(&self.domain))
            .map_err(refused)?;
        Ok(verified)
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    signatures_are_the_chains!();
}

/// Accepts a server whose chain verifies and who is the expected one.
#[derive(Debug)]
pub(crate) struct OneServer {
    chain: Arc<WebPkiServerVerifier>,
    expected: Identity,
}

/// What a handshake with any server of this chain would come to at this moment: who it is, whatever
/// its name in DNS.
pub(crate) fn judge_server(
    verifier: &WebPkiServerVerifier,
    chain: &[CertificateDer<'_>],
    now: SystemTime,
) -> Result<Identity, Refused> {
    let (leaf, intermediates) = chain.split_first().ok_or(Refused::NoCertificate)?;
    // The name is not compared.
    let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
    verify_unnamed(verifier, leaf, intermediates, &name, &[], unix_time(now))
        .map_err(|error| Refused::from(&error))?;
    Identity::of_certificate(leaf).map_err(Refused::Identity)
}

/// rustls compares DNS names and addresses last, once chain, time, purpose and revocation are in order.
/// Whether that comparison succeeds is of no interest: the URI decides.
fn verify_unnamed(
    verifier: &WebPkiServerVerifier,
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    server_name: &ServerName<'_>,
    ocsp_response: &[u8],
    now: UnixTime,
) -> Result<(), Error> {
    let verified =
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
    match verified {
        Ok(_)
        | Err(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => Ok(()),
        Err(error) => Err(error),
    }
}

impl OneServer {
    /// What a handshake with this chain would come to at this moment.
    pub(crate) fn judge(
        &self,
        chain: &[CertificateDer<'static>],
        now: SystemTime,
    ) -> Result<(), Refused> {
        let (leaf, intermediates) = chain.split_first().ok_or(Refused::NoCertificate)?;
        // The name is not compared.
        let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
        self.verify_server_cert(leaf, intermediates, &name, &[], unix_time(now))
            .map(drop)
            .map_err(|error| Refused::from(&error))
    }
}

/// Converts a moment for verifiers.
pub(crate) fn unix_time(moment: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

impl ServerCertVerifier for OneServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        verify_unnamed(&self.chain, end_entity, intermediates, server_name, ocsp_response, now)?;
        let found = Identity::of_certificate(end_entity).map_err(refused)?;
        if found != self.expected {
            return Err(refused(InvalidIdentity::Other { expected: self.expected.clone(), found }));
        }
        Ok(ServerCertVerified::assertion())
    }

    signatures_are_the_chains!();
}
