//! Making a CA, opening it, issuing from it.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use orchestra_certs::{Identity, Role, Subject, TlsFiles, read_certificates, read_private_key};
use orchestra_model::HostName;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType, SerialNumber,
};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

use crate::{
    error::CaError,
    name::AltName,
    place::{self, Access},
};

/// How long a certificate lives unless asked otherwise, in days: a year and a month to renew it.
pub const LEAF_DAYS: u32 = 397;

/// How long the CA lives.
const CA_DAYS: u32 = 3_653;

/// How far a certificate's time begins in the past, for hosts whose clocks are behind ours.
const BACKDATED: Duration = Duration::from_secs(3_600);

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

pub(crate) const CA_CERT: &str = "ca.pem";
const CA_KEY: &str = "ca.key";

/// A CA, open: issuing from it needs no file, so that hundreds of certificates cost hundredths
/// of a second.
pub struct Ca {
    directory: PathBuf,
    domain: HostName,
    until: SystemTime,
    issuer: Issuer<'static, KeyPair>,
}

/// What a certificate holds besides its identity.
#[derive(Clone, Debug)]
pub struct Terms {
    /// How long it is valid, from 1 day to the end of its CA.
    pub days: u32,
    /// Further names, for foreign tools.
    pub alt_names: Vec<AltName>,
}

impl Default for Terms {
    fn default() -> Self {
        Self { days: LEAF_DAYS, alt_names: Vec::new() }
    }
}

/// A certificate and its key, in memory.
pub struct Issued {
    /// Whose they are.
    pub subject: Subject,
    /// The certificate.
    pub cert_pem: String,
    /// The private key: for a file of mode 0600, and for no log.
    pub key_pem: String,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Issued").field(&self.subject).finish()
    }
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ca")
            .field("directory", &self.directory)
            .field("domain", &self.domain)
            .finish()
    }
}

impl Ca {
    /// Makes a CA in `directory`, which is made as well where it is not there.
    pub fn init(directory: &Path, domain: &HostName) -> Result<Ca, CaError> {
        place::private_directory(directory)?;
        let (cert_path, key_path) = (directory.join(CA_CERT), directory.join(CA_KEY));
        for path in [&cert_path, &key_path] {
            place::refuse_existing(path)?;
        }
        let key = KeyPair::generate().map_err(CaError::Make)?;
        let (params, until) = authority(domain)?;
        let cert = params.self_signed(&key).map_err(CaError::Make)?;
        // The key first: a certificate without its key looks like a CA and is none.
        place::write(&key_path, &key.serialize_pem(), Access::Private, false)?;
        place::write(&cert_path, &cert.pem(), Access::Public, false)?;
        place::sync_directory(directory)?;
        let issuer = Issuer::new(params, key);
        Ok(Ca { directory: directory.into(), domain: domain.clone(), until, issuer })
    }

    /// Opens the CA that [`Ca::init`] made in `directory`.
    pub fn open(directory: &Path) -> Result<Ca, CaError> {
        let cert_path = directory.join(CA_CERT);
        let not_ours = || CaError::NotOurs(cert_path.clone());
        let certificates = read_certificates(&cert_path).map_err(CaError::Load)?;
        let der = certificates.first().ok_or_else(not_ours)?;
        let (_, parsed) = X509Certificate::from_der(der).map_err(|_| not_ours())?;
        let domain = domain_of(&parsed).filter(|_| parsed.is_ca()).ok_or_else(not_ours)?;
        let until = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);

        let key = read_private_key(&directory.join(CA_KEY)).map_err(CaError::Load)?;
        let key = KeyPair::try_from(&key).map_err(CaError::Make)?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(CaError::OtherKey(cert_path));
        }
        let issuer = Issuer::from_ca_cert_der(der, key).map_err(CaError::Make)?;
        let until = UNIX_EPOCH + Duration::from_secs(until);
        Ok(Ca { directory: directory.into(), domain, until, issuer })
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    /// The domain of all its identities.
    pub fn domain(&self) -> &HostName {
        &self.domain
    }

    /// Where [`Ca::save`] puts what is issued to this subject, with the CA's certificate.
    pub fn files(&self, subject: &Subject) -> TlsFiles {
        // The name was checked: it holds no slash and does not start with a dot.
        let place = self.role_directory(subject.role());
        TlsFiles {
            ca: self.directory.join(CA_CERT),
            cert: place.join(format!("{}.pem", subject.name())),
            key: place.join(format!("{}.key", subject.name())),
            crl: None,
        }
    }

    /// Makes a key and a certificate, in memory.
    pub fn issue(&self, subject: &Subject, terms: &Terms) -> Result<Issued, CaError> {
        let now = SystemTime::now();
        let most = self.until.duration_since(now).unwrap_or_default().as_secs() / DAY.as_secs();
        if terms.days == 0 || u64::from(terms.days) > most {
            return Err(CaError::Days { asked: terms.days, most });
        }
        let key = KeyPair::generate().map_err(CaError::Make)?;
        let params = leaf(&self.domain, subject, terms, now)?;
        let cert = params.signed_by(&key, &self.issuer).map_err(CaError::Make)?;
        Ok(Issued { subject: subject.clone(), cert_pem: cert.pem(), key_pem: key.serialize_pem() })
    }

    /// Writes certificates and keys to their places, all durable when it returns. Unless
    /// `replace` is set, it writes nothing where anything is there already.
    pub fn save(&self, issued: &[Issued], replace: bool) -> Result<(), CaError> {
        let roles: BTreeSet<Role> = issued.iter().map(|one| one.subject.role()).collect();
        for role in &roles {
            place::private_directory(&self.role_directory(*role))?;
        }
        if !replace {
            for files in issued.iter().map(|one| self.files(&one.subject)) {
                place::refuse_existing(&files.cert)?;
                place::refuse_existing(&files.key)?;
            }
        }
        for one in issued {
            let files = self.files(&one.subject);
            place::write(&files.key, &one.key_pem, Access::Private, replace)?;
            place::write(&files.cert, &one.cert_pem, Access::Public, replace)?;
        }
        for role in &roles {
            place::sync_directory(&self.role_directory(*role))?;
        }
        place::sync_directory(&self.directory)
    }

    fn role_directory(&self, role: Role) -> PathBuf {
        self.directory.join(role.as_str())
    }
}

/// What the CA's certificate says, and until when.
///
/// There are no name constraints: those for URIs can only be made by hand, and the verifier of
/// both ends does not look at them. Each end demands the domain itself.
fn authority(domain: &HostName) -> Result<(CertificateParams, SystemTime), CaError> {
    let now = SystemTime::now();
    let until = now + DAY * CA_DAYS;
    let serial = random_serial()?;
    // The serial tells apart the CAs that one domain has in the course of time.
    let tag: String = serial.to_bytes().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let mut params = CertificateParams::default();
    params.not_before = (now - BACKDATED).into();
    params.not_after = until.into();
    params.serial_number = Some(serial);
    params.distinguished_name = common_name(&format!("Orchestra CA {tag} of {domain}"));
    params.subject_alt_names = vec![uri(domain_uri(domain))?];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok((params, until))
}

/// What a certificate of this subject says.
fn leaf(
    domain: &HostName,
    subject: &Subject,
    terms: &Terms,
    now: SystemTime,
) -> Result<CertificateParams, CaError> {
    let identity = Identity { domain: domain.clone(), subject: subject.clone() };
    let mut params = CertificateParams::default();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + DAY * terms.days).into();
    params.serial_number = Some(random_serial()?);
    // For tools that show it; nobody here reads it.
    params.distinguished_name = common_name(&subject.to_string());
    params.subject_alt_names = vec![uri(identity.to_string())?];
    for name in &terms.alt_names {
        params.subject_alt_names.push(match name {
            AltName::Dns(name) => SanType::DnsName(ia5(name.as_str().to_owned())?),
            AltName::Ip(ip) => SanType::IpAddress(*ip),
        });
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![match subject.role() {
        // A relay's is good for nothing but to be called.
        Role::Conductor | Role::Relay => ExtendedKeyUsagePurpose::ServerAuth,
        Role::Player | Role::Audience => ExtendedKeyUsagePurpose::ClientAuth,
    }];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// A trust domain's own URI (SPIFFE-ID, section 2): how an opened CA knows its domain.
fn domain_uri(domain: &HostName) -> String {
    format!("spiffe://{domain}")
}

fn domain_of(certificate: &X509Certificate<'_>) -> Option<HostName> {
    let names = certificate.subject_alternative_name().ok()??;
    match names.value.general_names.as_slice() {
        [GeneralName::URI(uri)] => HostName::new(uri.strip_prefix("spiffe://")?).ok(),
        _ => None,
    }
}

/// 127 random bits: positive, of one length, and no two alike.
fn random_serial() -> Result<SerialNumber, CaError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(CaError::Random)?;
    // The highest bit is the sign; the next one keeps the length.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn common_name(text: &str) -> DistinguishedName {
    // RFC 5280, appendix A: ub-common-name.
    const MOST: usize = 64;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text.chars().take(MOST).collect::<String>());
    name
}

fn uri(text: String) -> Result<SanType, CaError> {
    ia5(text).map(SanType::URI)
}

fn ia5(text: String) -> Result<rcgen::string::Ia5String, CaError> {
    text.try_into().map_err(CaError::Make)
}
