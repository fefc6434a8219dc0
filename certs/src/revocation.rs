//! Revocation lists, checked when they are read: each is of one of our CAs and signed by it, and
//! each of our CAs has one. With a list that is not so, every certificate of that CA would be
//! refused in its handshake, and nobody could mend it from outside.
//!
//! A list that has run out is taken as far as this module goes. It still names everybody who was
//! revoked until then; what it cannot name is who was revoked since.

use std::{
    cmp::Ordering,
    collections::HashSet,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::crypto::CryptoProvider;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::{
    certificate::X509Certificate, num_bigint::BigUint, prelude::FromDer as _,
    revocation_list::CertificateRevocationList, time::ASN1Time,
};

use crate::{
    files::{LoadError, read_pem},
    x509,
};

/// What is to be known of a revocation list that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    /// The CA's name.
    pub issuer: String,
    /// When it was made.
    pub made: String,
    /// When the next one was to be there, if it says.
    pub until: Option<String>,
    made_at: i64,
    until_at: Option<i64>,
    /// Its number, which grows from list to list, without leading zeros.
    number: Option<Vec<u8>>,
}

impl RevocationList {
    /// Whether the next list should have been here by now.
    pub fn has_run_out(&self, now: SystemTime) -> bool {
        self.ends().is_some_and(|end| end < now)
    }

    /// When it runs out, if ever.
    pub(crate) fn ends(&self) -> Option<SystemTime> {
        self.until_at.map(moment)
    }

    /// Whether it was made before another one of the same CA: with it, certificates that are
    /// revoked would be accepted again.
    pub fn is_older_than(&self, other: &RevocationList) -> bool {
        let by_number = match (&self.number, &other.number) {
            (Some(one), Some(other)) => one.len().cmp(&other.len()).then_with(|| one.cmp(other)),
            _ => Ordering::Equal,
        };
        self.issuer == other.issuer
            && by_number.then(self.made_at.cmp(&other.made_at)) == Ordering::Less
    }
}

/// Lists as they were read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lists {
    pub(crate) ders: Vec<CertificateRevocationListDer<'static>>,
    pub(crate) known: Vec<RevocationList>,
    /// Serial numbers that stand on any of them.
    pub(crate) revoked: HashSet<Box<[u8]>>,
}

/// A CA, as lists are held against it.
struct Authority<'a> {
    certificate: X509Certificate<'a>,
    has_list: bool,
}

impl Lists {
    /// Reads the lists of a file, which are to be those of these CAs.
    pub(crate) fn read(
        path: &Path,
        authorities: &[CertificateDer<'static>],
        provider: &CryptoProvider,
    ) -> Result<Lists, LoadError> {
        let wrong = |problem: String| LoadError::RevocationList {
            path: path.into(),
            problem: problem.into(),
        };
        let parsed = authorities.iter().map(|der| X509Certificate::from_der(der));
        let mut authorities = parsed
            .map(|parsed| match parsed {
                Ok((_, certificate)) => Ok(Authority { certificate, has_list: false }),
                Err(_) => Err(wrong("a certificate of our CA does not parse".to_owned())),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let ders: Vec<CertificateRevocationListDer<'static>> = read_pem(path, "revocation list")?;
        let mut lists = Lists::default();
        for der in &ders {
            lists.add(der, &mut authorities, provider).map_err(wrong)?;
        }
        if let Some(without) = authorities.iter().find(|authority| !authority.has_list) {
            return Err(wrong(format!(
                "it has no list of our CA {:?}, so that nobody with a certificate of that CA could \
                 connect; add one, which may be empty",
                without.certificate.subject().to_string()
            )));
        }
        Ok(Lists { ders, ..lists })
    }

    fn add(
        &mut self,
        der: &CertificateRevocationListDer<'_>,
        authorities: &mut [Authority<'_>],
        provider: &CryptoProvider,
    ) -> Result<(), String> {
        let (_, list) =
            CertificateRevocationList::from_der(der).map_err(|_| "it does not parse".to_owned())?;
        let issuer = list.issuer().to_string();
        let named: Vec<_> = authorities
            .iter_mut()
            .filter(|ours| ours.certificate.subject().as_raw() == list.issuer().as_raw())
            .collect();
        if named.is_empty() {
            return Err(format!(
                "it is of another CA than ours, of {issuer:?}; put the list of our own CA there"
            ));
        }
        let Some(signer) =
            named.into_iter().find(|ours| is_signed_by(&list, &ours.certificate, provider))
        else {
            return Err(format!(
                "it has the name of our CA {issuer:?}, but its signature is not that CA's; put the \
                 list there that the CA signed"
            ));
        };
        // The verifier takes the first list of a name, whatever the second one says.
        if self.known.iter().any(|known| known.issuer == issuer) {
            return Err(format!("it has two lists of the CA {issuer:?}; keep the newer one alone"));
        }
        signer.has_list = true;
        self.known.push(RevocationList {
            made: x509::utc(&list.last_update()),
            until: list.next_update().as_ref().map(x509::utc),
            made_at: list.last_update().timestamp(),
            until_at: list.next_update().as_ref().map(ASN1Time::timestamp),
            number: list.crl_number().map(BigUint::to_bytes_be),
            issuer,
        });
        self.revoked.extend(list.iter_revoked_certificates().map(|one| one.raw_serial().into()));
        Ok(())
    }
}

/// Whether a CA's key made the signature of a list, by any algorithm that we know: a signature
/// verifies with its own alone.
fn is_signed_by(
    list: &CertificateRevocationList<'_>,
    authority: &X509Certificate<'_>,
    provider: &CryptoProvider,
) -> bool {
    let key = &authority.public_key().subject_public_key.data;
    let (said, signature) = (list.tbs_cert_list.as_ref(), &list.signature_value.data);
    let known = provider.signature_verification_algorithms.all;
    known.iter().any(|algorithm| algorithm.verify_signature(key, said, signature).is_ok())
}

/// A moment of a certificate or a list, in seconds since the epoch; before it is as good as at it.
pub(crate) fn moment(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
