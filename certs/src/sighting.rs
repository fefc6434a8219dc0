//! What a door tells of certificates, to whoever keeps a record of them.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use rustls_pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use crate::{accept::Peer, identity::Identity, refused::Refused, x509};

/// Something that happened at the door.
#[derive(Debug)]
pub enum Sighting<'a> {
    /// A peer was let in.
    Entered(&'a Peer),
    /// A connected peer's certificate is not accepted any more, so its connection was ended.
    Ended(&'a Peer, &'a Refused),
    /// A peer was not let in because of its certificate, or for want of one.
    Refused {
        address: SocketAddr,
        /// What the certificate says; `None` if there is none, or it cannot be read. Unless it is
        /// revoked or has expired, nothing shows that this is true.
        claim: Option<&'a Claim>,
        why: &'a Refused,
    },
}

/// Who a certificate says that somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The identity in it.
    pub identity: Identity,
    /// Its serial number in hex.
    pub serial: Arc<str>,
}

impl Claim {
    fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, leaf) = X509Certificate::from_der(der).ok()?;
        let identity = Identity::of_parsed(&leaf).ok()?;
        Some(Self { identity, serial: x509::serial(&leaf).into() })
    }
}

type Told = Box<dyn Fn(&Sighting<'_>) + Send + Sync>;

/// Who is told of sightings: nobody, until somebody asks for it.
#[derive(Default)]
pub(crate) struct Observer(OnceLock<Told>);

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Observer({})", self.0.get().is_some())
    }
}

impl Observer {
    /// Has somebody told from now on. The first one who asks is told alone.
    pub(crate) fn set(&self, told: impl Fn(&Sighting<'_>) + Send + Sync + 'static) {
        let is_first = self.0.set(Box::new(told)).is_ok();
        debug_assert!(is_first, "two observers of one door");
    }

    pub(crate) fn tell(&self, sighting: &Sighting<'_>) {
        if let Some(told) = self.0.get() {
            told(sighting);
        }
    }
}

tokio::task_local! {
    /// What the handshake that is being made was shown.
    static SHOWN: Shown;
}

/// What a handshake was shown. A handshake that fails leaves nothing but an error, which says why and
/// not whose certificate it was; so whoever judges certificates notes it here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown(Arc<Mutex<Option<Claim>>>);

impl Shown {
    /// Makes a handshake, of which what it is shown is noted.
    pub(crate) async fn around<T>(&self, handshake: impl Future<Output = T>) -> T {
        SHOWN.scope(self.clone(), handshake).await
    }

    /// Returns what was shown.
    pub(crate) fn claim(&self) -> Option<Claim> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes the certificate that the present handshake, if there is one, is shown.
    pub(crate) fn note(der: &CertificateDer<'_>) {
        // Whoever judges a certificate again does so outside of a handshake.
        let _ = SHOWN.try_with(|shown| {
            *shown.0.lock().unwrap_or_else(PoisonError::into_inner) = Claim::of(der);
        });
    }
}
