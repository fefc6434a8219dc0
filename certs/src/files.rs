//! Certificate, key, CA and revocation list, read from their files and checked as far as one end
//! can.
//!
//! A mistake is found here, with the file's name and the command that mends it, rather than in a
//! handshake. Files are bounded and read once; a reload loads them all anew.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use orchestra_model::{HostName, Timestamp, TlsFiles, limits};
use rustls::{
    CipherSuite, RootCertStore,
    crypto::{CryptoProvider, ring},
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use crate::{
    identity::{Identity, InvalidIdentity, Role},
    refused::Refused,
    regular::open_regular,
    revocation::{Lists, NewestLists, OlderList, RevocationList, moment},
    x509,
};

/// Largest file that is read, in bytes: a revocation list of a hundred thousand serials fits.
const FILE_BYTES: u64 = 8 << 20;

/// The content of [`TlsFiles`], which fits together.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The files that it was read from.
    pub(crate) files: TlsFiles,
    pub(crate) identity: Identity,
    /// When our certificate ends.
    ends: Timestamp,
    pub(crate) roots: Arc<RootCertStore>,
    /// The certificates of [`Credentials::roots`], as they were read.
    pub(crate) authorities: Arc<[CertificateDer<'static>]>,
    pub(crate) lists: Arc<Lists>,
    pub(crate) newest: NewestLists,
    older_list: Option<OlderList>,
    pub(crate) certified: Arc<SingleCertAndKey>,
    pub(crate) provider: Arc<CryptoProvider>,
}

/// Returns ring's algorithms, with AES-128 and SHA-256 first. They are as strong as the P-256 keys
/// of our certificates. SHA-384 would take several times as long on processors that have
/// instructions for SHA-256.
fn provider() -> CryptoProvider {
    let mut provider = ring::default_provider();
    let first = CipherSuite::TLS13_AES_128_GCM_SHA256;
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != first);
    provider
}

impl Credentials {
    /// Reads the files; our certificate must be an identity of `domain` and valid now.
    pub fn load(files: &TlsFiles, domain: &HostName) -> Result<Credentials, LoadError> {
        Self::load_after(files, domain, &NewestLists::default())
    }

    /// Reads the files as [`Credentials::load`] does, for a program that has read them before: a
    /// revocation list that is older than the newest one does not replace it.
    pub fn load_after(
        files: &TlsFiles,
        domain: &HostName,
        newest: &NewestLists,
    ) -> Result<Credentials, LoadError> {
        let mut wrong = Vec::new();
        let us = rustix::process::geteuid().as_raw();
        match Parts::read(files, domain, us, &mut wrong) {
            Some(parts) => Ok(parts.into_credentials(files, newest)),
            // Without a mistake there are all parts.
            None => Err(wrong.swap_remove(0)),
        }
    }

    /// Returns everything that is wrong with the files of an end whose key is for the user
    /// `reader`. Each file is read by itself, so that no mistake hides another one. Where each by
    /// itself is in order, it is also looked whether those who trust the same CA and the same
    /// revocation list would accept our certificate; else the credentials are returned.
    pub fn examine(
        files: &TlsFiles,
        domain: &HostName,
        reader: u32,
    ) -> Result<Credentials, Vec<LoadError>> {
        let mut wrong = Vec::new();
        let Some(parts) = Parts::read(files, domain, reader, &mut wrong) else {
            return Err(wrong);
        };
        let chain = parts.chain.clone();
        let credentials = parts.into_credentials(files, &NewestLists::default());
        match credentials.judge_own(&chain) {
            Ok(()) => Ok(credentials),
            Err(why) => Err(vec![why]),
        }
    }

    /// Returns the revocation lists that were read, one of each CA; none if no file was named.
    pub fn revocation_lists(&self) -> impl Iterator<Item = &RevocationList> {
        self.lists.known()
    }

    /// Returns since when a revocation list should have been replaced by the next one, if any
    /// should.
    pub fn run_out(&self, now: SystemTime) -> Option<String> {
        self.lists.known().find(|list| list.has_run_out(now))?.until.clone()
    }

    /// Returns a list that stays in force although its file holds an older one, if there is one.
    pub fn older_list(&self) -> Option<&OlderList> {
        self.older_list.as_ref()
    }

    /// Who we are.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// When our certificate ends: the first moment at which it is not valid any more.
    pub fn ends(&self) -> Timestamp {
        self.ends
    }

    /// Whether our certificate ends within [`limits::CERTIFICATE_NOTICE`] of a moment.
    pub fn ends_soon(&self, now: SystemTime) -> bool {
        moment_of(self.ends) < now + Duration::from_millis(limits::CERTIFICATE_NOTICE.0)
    }
}

/// What the files of an end hold, each checked by itself.
struct Parts {
    identity: Identity,
    ends: Timestamp,
    roots: RootCertStore,
    authorities: Vec<CertificateDer<'static>>,
    chain: Vec<CertificateDer<'static>>,
    certified: CertifiedKey,
    lists: Lists,
    provider: Arc<CryptoProvider>,
}

impl Parts {
    /// Reads all files, and adds what is wrong with them. `None` if anything is.
    fn read(
        files: &TlsFiles,
        domain: &HostName,
        reader: u32,
        wrong: &mut Vec<LoadError>,
    ) -> Option<Parts> {
        let provider = Arc::new(provider());
        let authorities = note(read_pem(&files.ca, "CA certificate"), wrong);
        let roots = authorities.as_ref().and_then(|found| note(roots(&files.ca, found), wrong));
        let chain = note(read_certificates(&files.cert), wrong);
        let own =
            chain.as_ref().and_then(|chain| note(own_identity(&files.cert, chain, domain), wrong));
        let key = note(read_key_of(&files.key, reader), wrong);
        let certified = chain.clone().zip(key).and_then(|(chain, key)| {
            let fitting = CertifiedKey::from_der(chain, key, &provider);
            let mismatch = |source| LoadError::Mismatch {
                cert: files.cert.clone(),
                key: files.key.clone(),
                source,
            };
            note(fitting.map_err(mismatch), wrong)
        });
        let lists = match (&files.crl, &authorities) {
            (Some(path), Some(authorities)) => {
                note(Lists::read(path, authorities, &provider), wrong)
            }
            _ => Some(Lists::default()),
        };
        let (identity, ends) = own?;
        Some(Parts {
            identity,
            ends,
            roots: roots?,
            authorities: authorities?,
            chain: chain?,
            certified: certified?,
            lists: lists?,
            provider,
        })
    }

    fn into_credentials(mut self, files: &TlsFiles, newest: &NewestLists) -> Credentials {
        let older_list = files.crl.as_ref().and_then(|path| newest.renew(path, &mut self.lists));
        Credentials {
            files: files.clone(),
            identity: self.identity,
            ends: self.ends,
            roots: Arc::new(self.roots),
            authorities: self.authorities.into(),
            lists: Arc::new(self.lists),
            newest: newest.clone(),
            older_list,
            certified: Arc::new(SingleCertAndKey::from(self.certified)),
            provider: self.provider,
        }
    }
}

fn moment_of(moment: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(moment.0)
}

/// Notes an error.
fn note<T>(result: Result<T, LoadError>, wrong: &mut Vec<LoadError>) -> Option<T> {
    result.map_err(|why| wrong.push(why)).ok()
}

/// Reads a private key that nobody but us or root can have read or replaced.
pub fn read_private_key(path: &Path) -> Result<PrivateKeyDer<'static>, LoadError> {
    read_key_of(path, rustix::process::geteuid().as_raw())
}

/// Reads a private key that is for the user `reader`: nobody but that user or root can have read or
/// replaced it.
fn read_key_of(path: &Path, reader: u32) -> Result<PrivateKeyDer<'static>, LoadError> {
    const WHAT: &str = "private key";
    let failed = |source| LoadError::Read { what: WHAT, path: path.into(), source };
    let file = open_regular(path).map_err(failed)?;
    // The open file is checked, so that what is checked is what is read.
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(LoadError::KeyMode { path: path.into(), mode });
    }
    if metadata.uid() != reader && metadata.uid() != 0 {
        let (owner, us) = (metadata.uid(), rustix::process::geteuid().as_raw());
        return Err(LoadError::KeyOwner { path: path.into(), owner, reader, us });
    }
    let bytes = read_bounded(file, WHAT, path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|source| pem_error(WHAT, path, source))
}

/// Reads the certificates of a file, in order; at least one.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    read_pem(path, "certificate")
}

/// Every item of one kind in a PEM file; at least one.
pub(crate) fn read_pem<T: PemObject>(path: &Path, what: &'static str) -> Result<Vec<T>, LoadError> {
    let file =
        open_regular(path).map_err(|source| LoadError::Read { what, path: path.into(), source })?;
    let bytes = read_bounded(file, what, path)?;
    let items = T::pem_slice_iter(&bytes)
        .collect::<Result<Vec<T>, _>>()
        .map_err(|source| pem_error(what, path, source))?;
    if items.is_empty() {
        return Err(LoadError::Nothing { what, path: path.into() });
    }
    Ok(items)
}

fn read_bounded(file: File, what: &'static str, path: &Path) -> Result<Vec<u8>, LoadError> {
    let mut bytes = Vec::new();
    let read = file.take(FILE_BYTES + 1).read_to_end(&mut bytes);
    let size = read.map_err(|source| LoadError::Read { what, path: path.into(), source })?;
    if size as u64 > FILE_BYTES {
        let source = io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 8 MiB");
        return Err(LoadError::Read { what, path: path.into(), source });
    }
    Ok(bytes)
}

fn pem_error(what: &'static str, path: &Path, source: pem::Error) -> LoadError {
    match source {
        pem::Error::NoItemsFound => LoadError::Nothing { what, path: path.into() },
        source => LoadError::Pem { what, path: path.into(), source },
    }
}

fn roots(path: &Path, authorities: &[CertificateDer<'static>]) -> Result<RootCertStore, LoadError> {
    let mut roots = RootCertStore::empty();
    for der in authorities {
        roots
            .add(der.clone())
            .map_err(|source| LoadError::Authority { path: path.into(), source })?;
    }
    Ok(roots)
}

fn own_identity(
    path: &Path,
    chain: &[CertificateDer<'static>],
    domain: &HostName,
) -> Result<(Identity, Timestamp), LoadError> {
    let invalid = |source| LoadError::Identity { path: path.into(), source };
    let leaf = chain.first().map_or(&[][..], |der| der.as_ref());
    let (_, leaf) =
        X509Certificate::from_der(leaf).map_err(|_| invalid(InvalidIdentity::Unreadable))?;
    let now = SystemTime::now();
    if now > moment(leaf.validity().not_after.timestamp()) {
        let at = x509::utc(&leaf.validity().not_after);
        return Err(LoadError::Expired { path: path.into(), at });
    }
    if now < moment(leaf.validity().not_before.timestamp()) {
        let at = x509::utc(&leaf.validity().not_before);
        return Err(LoadError::NotYetValid { path: path.into(), at });
    }
    let identity = Identity::of_parsed(&leaf).and_then(|identity| identity.within(domain));
    Ok((identity.map_err(invalid)?, x509::end(&leaf)))
}

/// Why TLS material could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file could not be read.
    Read {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is empty, or holds only other things.
    Nothing {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A file is not PEM.
    Pem {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Where it breaks the format.
        source: pem::Error,
    },
    /// Others may read or replace the key, by its permissions.
    KeyMode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key belongs to a user who is neither the one whom it is for nor root.
    KeyOwner {
        /// The file.
        path: PathBuf,
        /// Its owner's uid.
        owner: u32,
        /// The uid of the user whom it is for.
        reader: u32,
        /// Our effective uid.
        us: u32,
    },
    /// Key and certificate do not belong together, or the key cannot be used.
    Mismatch {
        /// The certificate.
        cert: PathBuf,
        key: PathBuf,
        /// What the TLS library said.
        source: rustls::Error,
    },
    /// A CA's certificate cannot be a trust anchor.
    Authority {
        /// The file.
        path: PathBuf,
        /// What the TLS library said.
        source: rustls::Error,
    },
    /// Our certificate has expired.
    Expired {
        /// The file.
        path: PathBuf,
        /// When it ended.
        at: String,
    },
    /// Our certificate is not valid yet.
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// When it begins.
        at: String,
    },
    /// Our certificate has no identity, or one of another domain.
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: InvalidIdentity,
    },
    /// Our certificate has a role that this end of a connection cannot have.
    Role {
        /// Who we are.
        found: Identity,
        /// The roles that are possible.
        wanted: &'static [Role],
    },
    /// Those who trust the same CA and revocation list would not accept our certificate.
    Unacceptable {
        /// The file.
        path: PathBuf,
        /// The CA's.
        ca: PathBuf,
        /// What they would say.
        source: Box<Refused>,
    },
    /// A revocation list cannot be used.
    RevocationList {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: Box<str>,
    },
    /// A private key is no publisher's.
    NoPublisher(PathBuf),
    /// The TLS library does not accept the configuration.
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { what, path, .. } => write!(f, "reading the {what} {}", path.display()),
            Self::Nothing { what, path } => {
                write!(f, "{} holds no {what} in PEM form", path.display())
            }
            Self::Pem { what, path, .. } => write!(f, "parsing the {what} {}", path.display()),
            Self::KeyMode { path, mode } => {
                let path = path.display();
                write!(
                    f,
                    "the private key {path} is open to others (mode {mode:04o}); \
                     mend it: chmod 0600 {path}"
                )
            }
            Self::KeyOwner { path, owner, reader, us } => {
                let path = path.display();
                write!(f, "the private key {path} belongs to uid {owner}, ")?;
                match (*reader == *us, *us) {
                    // Root could give itself any key, and would take it from whom it is for.
                    (true, 0) => write!(
                        f,
                        "and this runs as root; run it as that user: setpriv --reuid {owner} \
                         --clear-groups COMMAND"
                    ),
                    (true, _) => write!(
                        f,
                        "which is neither root nor us (uid {us}); run this as that user, or, if the \
                         key is ours, mend it as root: chown {us} {path}"
                    ),
                    (false, _) => {
                        write!(f, "and it is for uid {reader}; mend it: chown {reader} {path}")
                    }
                }
            }
            Self::Mismatch { cert, key, .. } => write!(
                f,
                "the private key {} does not fit the certificate {}",
                key.display(),
                cert.display()
            ),
            Self::Authority { path, .. } => {
                write!(f, "{} holds a CA certificate that cannot be used", path.display())
            }
            Self::Expired { path, at } => {
                write!(f, "the certificate {} expired at {at}; issue it anew", path.display())
            }
            Self::NotYetValid { path, at } => write!(
                f,
                "the certificate {} is valid from {at} on; is the clock right?",
                path.display()
            ),
            Self::Identity { path, .. } => {
                write!(f, "the certificate {} is not to be used here", path.display())
            }
            Self::Role { found, wanted } => {
                let wanted: Vec<_> = wanted.iter().map(|role| role.as_str()).collect();
                write!(f, "our certificate is {found}; the role must be {}", wanted.join(" or "))
            }
            Self::Unacceptable { path, ca, source } => {
                let (path, ca) = (path.display(), ca.display());
                match **source {
                    Refused::UnknownCa => write!(
                        f,
                        "the certificate {path} was not issued by the CA of {ca}; bring both from \
                         one directory of `orchestra-certs`"
                    ),
                    Refused::Revoked => write!(
                        f,
                        "the certificate {path} is revoked; issue it anew: `orchestra-certs issue`"
                    ),
                    _ => write!(f, "the certificate {path} would not be accepted"),
                }
            }
            Self::NoPublisher(path) => write!(
                f,
                "the private key {} is no Ed25519 key, which a publisher's is",
                path.display()
            ),
            Self::RevocationList { path, problem } => {
                write!(f, "the revocation list {}: {problem}", path.display())
            }
            Self::Tls(_) => f.write_str("the TLS configuration is not accepted"),
        }
    }
}
