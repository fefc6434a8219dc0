//! Revocation lists, checked when they are read: each belongs to one of our CAs and is signed by
//! it, and each of our CAs has one. Otherwise every certificate of a CA would be refused in its
//! handshake, and nobody could mend that from outside.
//!
//! This module accepts an expired list. It still names everybody who was revoked before it was
//! made; it lacks only who was revoked since.

use std::{
    collections::HashSet,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use orchestra_model::{Timestamp, record::ListEdition};
use rustls::crypto::CryptoProvider;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::{
    certificate::X509Certificate, prelude::FromDer as _,
    revocation_list::CertificateRevocationList, time::ASN1Time,
};

use crate::{
    files::{LoadError, read_pem},
    x509,
};

/// What is told of a revocation list in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    /// The CA's name.
    pub issuer: String,
    /// When it was made.
    pub made: String,
    /// When the next one is due, if it says.
    pub until: Option<String>,
    until_at: Option<i64>,
    edition: ListEdition,
}

impl RevocationList {
    /// Returns which edition of its CA's list it is.
    pub fn edition(&self) -> &ListEdition {
        &self.edition
    }

    /// Returns whether the next list should have come by now.
    pub fn has_run_out(&self, now: SystemTime) -> bool {
        self.ends().is_some_and(|end| end < now)
    }

    /// Returns when it expires, if ever.
    pub(crate) fn ends(&self) -> Option<SystemTime> {
        self.until_at.map(moment)
    }

    /// Returns whether it was made before another one of the same CA. Then it would let in
    /// certificates that were revoked since.
    pub fn is_older_than(&self, other: &RevocationList) -> bool {
        self.edition.is_older_than(&other.edition)
    }
}

/// Lists as they were read, one of each CA.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lists(Vec<Listed>);

/// A list as it was read.
#[derive(Clone, Debug)]
struct Listed {
    der: CertificateRevocationListDer<'static>,
    known: RevocationList,
    /// The serial numbers on it.
    revoked: Arc<HashSet<Box<[u8]>>>,
}

impl Listed {
    fn is_of_the_ca_of(&self, other: &Listed) -> bool {
        let [one, other] = [self, other].map(|list| &list.known.edition);
        one.ca == other.ca && one.key == other.key
    }
}

/// The newest revocation list of each CA that a program has used since it started. A file that was
/// put back to an older list does not replace it. Clones share these lists.
#[derive(Clone, Debug, Default)]
pub struct NewestLists(Arc<Mutex<Vec<Listed>>>);

/// A revocation list that stays in force because its file holds an older one now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OlderList {
    /// The file.
    pub path: PathBuf,
    /// When the list in the file was made.
    pub made: String,
    /// When the list in force was made.
    pub in_force: String,
}

impl fmt::Display for OlderList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, made, in_force } = self;
        write!(
            f,
            "the revocation list {} was made at {made}, before the one in force, which was made at \
             {in_force} and stays: who was revoked in between is still refused; put the newer one there",
            path.display()
        )
    }
}

impl NewestLists {
    /// Replaces each list that is older than the newest one of its CA by that one, and remembers
    /// lists that are newer. Returns which file holds an older list, if any.
    pub(crate) fn renew(&self, path: &Path, lists: &mut Lists) -> Option<OlderList> {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut older = None;
        for list in &mut lists.0 {
            let before = newest.iter_mut().find(|known| known.is_of_the_ca_of(list));
            match before {
                Some(before) if list.known.is_older_than(&before.known) => {
                    let (made, in_force) = (list.known.made.clone(), before.known.made.clone());
                    older = Some(OlderList { path: path.into(), made, in_force });
                    *list = before.clone();
                }
                Some(before) => *before = list.clone(),
                None => newest.push(list.clone()),
            }
        }
        older
    }
}

/// A CA, against which lists are checked.
struct Authority<'a> {
    certificate: X509Certificate<'a>,
    has_list: bool,
}

impl Lists {
    /// Reads the lists of a file, which must be those of these CAs.
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
        for der in ders {
            lists.add(der, &mut authorities, provider).map_err(wrong)?;
        }
        if let Some(without) = authorities.iter().find(|authority| !authority.has_list) {
            return Err(wrong(format!(
                "it has no list of our CA {:?}, so that nobody with a certificate of that CA could \
                 connect; add one, which may be empty",
                without.certificate.subject().to_string()
            )));
        }
        Ok(lists)
    }

    /// Returns the lists for the verifier.
    pub(crate) fn ders(&self) -> impl Iterator<Item = CertificateRevocationListDer<'static>> {
        self.0.iter().map(|list| list.der.clone())
    }

    /// Returns what is told of each list.
    pub(crate) fn known(&self) -> impl Iterator<Item = &RevocationList> {
        self.0.iter().map(|list| &list.known)
    }

    /// Returns whether a serial number is on any of the lists.
    pub(crate) fn names(&self, serial: &[u8]) -> bool {
        self.0.iter().any(|list| list.revoked.contains(serial))
    }

    fn add(
        &mut self,
        der: CertificateRevocationListDer<'static>,
        authorities: &mut [Authority<'_>],
        provider: &CryptoProvider,
    ) -> Result<(), String> {
        let (_, list) = CertificateRevocationList::from_der(&der)
            .map_err(|_| "it does not parse".to_owned())?;
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
        // The verifier takes the first list of a name and ignores further ones.
        if self.known().any(|known| known.issuer == issuer) {
            return Err(format!("it has two lists of the CA {issuer:?}; keep the newer one alone"));
        }
        signer.has_list = true;
        let known = RevocationList {
            made: x509::utc(&list.last_update()),
            until: list.next_update().as_ref().map(x509::utc),
            until_at: list.next_update().as_ref().map(ASN1Time::timestamp),
            edition: ListEdition {
                ca: issuer.as_str().into(),
                key: signer.certificate.public_key().raw.into(),
                number: list.crl_number().map(|number| number.to_bytes_be().into()),
                made: milliseconds(list.last_update().timestamp()),
            },
            issuer,
        };
        let revoked = list.iter_revoked_certificates().map(|one| one.raw_serial().into());
        let revoked = Arc::new(revoked.collect());
        self.0.push(Listed { der, known, revoked });
        Ok(())
    }
}

/// Returns whether a CA's key made the signature of a list, by any algorithm that we know: a
/// signature verifies only with its own algorithm.
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

fn milliseconds(seconds: i64) -> Timestamp {
    Timestamp(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000))
}

/// Converts a moment of a certificate or a list, in seconds since the epoch. Moments before the
/// epoch count as the epoch.
pub(crate) fn moment(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
