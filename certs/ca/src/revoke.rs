//! Revoking: the CA's list of certificates that are no longer accepted, which grows.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use orchestra_certs::read_certificates;
use rcgen::{
    CertificateRevocationList as SignedList, CertificateRevocationListParams, KeyIdMethod,
    RevokedCertParams, SerialNumber,
};
use x509_parser::{
    certificate::X509Certificate, pem::parse_x509_pem, prelude::FromDer as _,
    revocation_list::CertificateRevocationList,
};

use crate::{
    ca::{CA_CERT, Ca, DAY},
    error::CaError,
    place::{self, Access},
};

/// How long a list is good for unless asked otherwise, in days: as long as a certificate of ours, so
/// that each revocation makes one that outlasts what it revokes.
pub const LIST_DAYS: u32 = 397;

pub(crate) const LIST: &str = "ca.crl";
/// Most digits of a serial number in hex (RFC 5280, section 4.1.2.2).
const SERIAL_DIGITS: usize = 40;

/// A certificate's serial number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Serial(Vec<u8>);

impl Serial {
    /// Of a certificate's file, or as hex.
    pub fn read(text: &str) -> Result<Serial, CaError> {
        let is_hex = text.len().is_multiple_of(2)
            && (2..=SERIAL_DIGITS).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hex {
            let pairs = (0..text.len()).step_by(2).filter_map(|at| text.get(at..at + 2));
            return Ok(Serial(pairs.filter_map(|two| u8::from_str_radix(two, 16).ok()).collect()));
        }
        Ok(read_leaf(Path::new(text))?.0)
    }
}

impl Serial {
    /// Of a certificate.
    pub(crate) fn of(certificate: &X509Certificate<'_>) -> Serial {
        Serial(certificate.raw_serial().to_vec())
    }
}

/// A certificate's serial number and, encoded, the name of its issuer and its own.
fn read_leaf(path: &Path) -> Result<(Serial, Vec<u8>, Vec<u8>), CaError> {
    let certificates =
        read_certificates(path).map_err(|error| CaError::Certificate(Box::new(error)))?;
    let leaf = certificates.first().and_then(|der| X509Certificate::from_der(der).ok());
    let (_, leaf) = leaf.ok_or_else(|| CaError::Unreadable(path.into()))?;
    let names = [leaf.issuer(), leaf.subject()].map(|name| name.as_raw().to_vec());
    let [issuer, own] = names;
    Ok((Serial(leaf.raw_serial().to_vec()), issuer, own))
}

/// What a new list holds.
#[derive(Clone, Debug)]
pub struct Revoked {
    /// Where it is.
    pub path: PathBuf,
    /// How many certificates it names that the one before did not.
    pub added: usize,
    /// How many it names.
    pub all: usize,
}

/// A list as it is there.
#[derive(Default)]
pub(crate) struct Before {
    number: u64,
    revoked: BTreeMap<Serial, SystemTime>,
}

impl Before {
    /// Whether the list names a certificate.
    pub(crate) fn names(&self, serial: &Serial) -> bool {
        self.revoked.contains_key(serial)
    }
}

impl Ca {
    /// The serial number of a certificate of this CA, by its file, or as hex. A list that names the
    /// certificate of another CA would revoke nobody, and say that it did.
    pub fn serial(&self, text: &str) -> Result<Serial, CaError> {
        let serial = Serial::read(text)?;
        let path = Path::new(text);
        if path.exists() {
            let (_, issuer, _) = read_leaf(path)?;
            let (_, _, own) = read_leaf(&self.directory().join(CA_CERT))?;
            if issuer != own {
                return Err(CaError::Foreign(path.into()));
            }
        }
        Ok(serial)
    }

    /// Adds these to the CA's revocation list, `ca.crl`, which is good for so many days from now.
    /// Without any it is renewed, or made where there is none.
    pub fn revoke(&self, serials: &[Serial], days: u32) -> Result<Revoked, CaError> {
        let path = self.directory().join(LIST);
        let Before { number, mut revoked } = read(&path)?;
        let now = SystemTime::now();
        let before = revoked.len();
        for serial in serials {
            revoked.entry(serial.clone()).or_insert(now);
        }
        let all = revoked.len();
        let list = self.sign_list(number + 1, &revoked, now, days)?;
        let pem = list.pem().map_err(CaError::Make)?;
        place::write(&path, &pem, Access::Public, true)?;
        place::sync_directory(self.directory())?;
        Ok(Revoked { path, added: all - before, all })
    }

    fn sign_list(
        &self,
        number: u64,
        revoked: &BTreeMap<Serial, SystemTime>,
        now: SystemTime,
        days: u32,
    ) -> Result<SignedList, CaError> {
        let revoked_certs = revoked.iter().map(|(serial, since)| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&serial.0),
            revocation_time: (*since).into(),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: now.into(),
            next_update: (now + DAY * days.max(1)).into(),
            crl_number: SerialNumber::from_slice(minimal(&number.to_be_bytes())),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(self.issuer()).map_err(CaError::Make)
    }
}

/// A number without the zeros that it begins with.
fn minimal(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

/// Reads a list; one that is not there names nobody.
pub(crate) fn read(path: &Path) -> Result<Before, CaError> {
    let unreadable = || CaError::Unreadable(path.into());
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Before::default()),
        Err(source) => return Err(CaError::Read { path: path.into(), source }),
    };
    let (_, pem) = parse_x509_pem(&text).map_err(|_| unreadable())?;
    let (_, list) = CertificateRevocationList::from_der(&pem.contents).map_err(|_| unreadable())?;
    let number = list.crl_number().and_then(|number| u64::try_from(number).ok());
    let revoked = list.iter_revoked_certificates().map(|one| {
        let since = u64::try_from(one.revocation_date.timestamp()).unwrap_or(0);
        (Serial(one.raw_serial().to_vec()), UNIX_EPOCH + Duration::from_secs(since))
    });
    Ok(Before { number: number.unwrap_or(0), revoked: revoked.collect() })
}
