//! What a CA's directory holds of certificates that it issued: for a list, and to renew what ends soon.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use orchestra_certs::{Identity, Role, Subject, read_certificates, x509};
use orchestra_model::HostName;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

use crate::{
    ca::{Ca, DAY},
    error::CaError,
    name::AltName,
    revoke::{Before, LIST, Serial, read},
};

/// A certificate in the CA's directory.
#[derive(Clone, Debug)]
pub struct HeldCertificate {
    /// Whose it is.
    pub subject: Subject,
    /// Its serial number, as hex.
    pub serial: String,
    /// When it ends.
    pub ends: SystemTime,
    /// How it stands.
    pub validity: Validity,
    /// Its further names.
    pub alt_names: Vec<AltName>,
}

/// How a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// It is valid.
    Valid,
    /// It has ended.
    Ended,
    /// The CA's list names it.
    Revoked,
}

impl Validity {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Ended => "ended",
            Self::Revoked => "revoked",
        }
    }
}

impl HeldCertificate {
    /// Whether it ends within so many days, or has ended.
    pub fn ends_within(&self, days: u32) -> bool {
        self.ends < SystemTime::now() + DAY * days
    }
}

impl Ca {
    /// Returns the certificates in the CA's directory, where [`Ca::save`] puts them, by role and name.
    /// What was issued and taken away from there is not known.
    pub fn kept(&self) -> Result<Vec<HeldCertificate>, CaError> {
        let revoked = read(&self.directory().join(LIST))?;
        let mut kept = Vec::new();
        for role in Role::ALL {
            for path in certificates_in(&self.directory().join(role.as_str()))? {
                let certificate = look(&path, &revoked)?;
                let is_in_place = self.files(&certificate.subject).cert == path;
                if !is_in_place {
                    return Err(CaError::Misplaced(path, certificate.subject.to_string()));
                }
                kept.push(certificate);
            }
        }
        kept.sort_by(|one, other| one.subject.cmp(&other.subject));
        Ok(kept)
    }
}

/// Returns the files of certificates of a role; none if nothing of that role was issued.
fn certificates_in(directory: &Path) -> Result<Vec<PathBuf>, CaError> {
    let failed = |source| CaError::Read { path: directory.into(), source };
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>();
    let mut paths = paths.map_err(failed)?;
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "pem"));
    Ok(paths)
}

fn look(path: &Path, list: &Before) -> Result<HeldCertificate, CaError> {
    let unreadable = || CaError::Unreadable(path.into());
    let chain = read_certificates(path).map_err(|error| CaError::Certificate(Box::new(error)))?;
    let der = chain.first().ok_or_else(unreadable)?;
    let (_, leaf) = X509Certificate::from_der(der).map_err(|_| unreadable())?;
    let identity = Identity::of_parsed(&leaf).map_err(|_| unreadable())?;
    let ends = UNIX_EPOCH + Duration::from_millis(x509::end(&leaf).0);
    let is_revoked = list.names(&Serial::of(&leaf));
    let validity = match (is_revoked, ends <= SystemTime::now()) {
        (true, _) => Validity::Revoked,
        (false, true) => Validity::Ended,
        (false, false) => Validity::Valid,
    };
    Ok(HeldCertificate {
        subject: identity.subject,
        serial: x509::serial(&leaf),
        ends,
        validity,
        alt_names: alt_names(&leaf),
    })
}

/// Returns the further names of a certificate: all but the URI of its identity.
fn alt_names(leaf: &X509Certificate<'_>) -> Vec<AltName> {
    let names = leaf.subject_alternative_name().ok().flatten();
    let names = names.map_or(&[][..], |names| &names.value.general_names);
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => HostName::new(name).ok().map(AltName::Dns),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(Into::into);
            let v6 = || <[u8; 16]>::try_from(*bytes).map(Into::into);
            v4.or_else(|_| v6()).ok().map(AltName::Ip)
        }
        _ => None,
    };
    names.iter().filter_map(name).collect()
}
