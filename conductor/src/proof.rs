//! The proof key, by which a conductor recognises orders that it issued when a player shows them.
//!
//! Each order and each hello carries a mac under this key (`orchestra_model::proof`). The player
//! keeps the macs and shows them when it attaches. The conductor does not store them, because it
//! can make a mac again at any time.
//!
//! The key is in `state_dir/proof.key`, beside the database and never in it, so that a backup of
//! the database does not contain it. The store records the id of the newest key, a hash, so that a
//! key and a store that do not belong together are noticed: such a store counts as an old copy
//! until `orc conductor recover`, which makes a new key. Earlier keys stay in the file, newest
//! first, because players may still show macs under them.
//!
//! ```text
//! a store without a key    proof.key.new written and synced → id recorded in the store → renamed
//! recover                  proof.key.new written and synced → term and id recorded     → renamed
//! ```
//!
//! A crash between the last two steps leaves a `proof.key.new` whose id the store records; the next
//! start renames it.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use orchestra_model::{
    delivery::ProofKeyId,
    from_hex, hex,
    proof::{Mac, Statement},
};
use ring::{digest, hmac, rand::SecureRandom as _};
use subtle::ConstantTimeEq as _;

/// Name of the key's file in the state directory.
const FILE: &str = "proof.key";
/// A key that the store does not record yet.
const PENDING: &str = "proof.key.new";
/// Bytes of a key, as many as SHA-256 gives: RFC 2104 advises against fewer.
const KEY_BYTES: usize = 32;
/// Most keys that a file holds: one for each recovery. Older ones are dropped.
const MOST_KEYS: usize = 64;
/// Largest file that is read, in bytes.
const FILE_BYTES: u64 = 64 << 10;

/// Why the key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidKey {
    /// It cannot be read or written.
    #[error("cannot {attempted} the proof key {}", .path.display())]
    Io {
        /// What was attempted, for the message.
        attempted: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// Somebody else may read it.
    #[error(
        "the proof key {} has mode {mode:04o}, so that others may read it; chmod 0600 it",
        .path.display()
    )]
    Mode {
        /// The file.
        path: PathBuf,
        mode: u32,
    },
    /// It is not a list of keys.
    #[error(
        "the proof key {}: line {line} is not a key of {KEY_BYTES} bytes in hexadecimal",
        .path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes for a proof key")]
    Random,
}

/// What links of the audit are told by from other uses of the key.
const AUDIT_CONTEXT: &[u8] = b"orchestra audit link v1\0";
/// What codes in the place of digests are told by.
const VEIL_CONTEXT: &[u8] = b"orchestra digest code v1\0";

/// One key.
struct Key {
    bytes: [u8; KEY_BYTES],
    hmac: hmac::Key,
}

impl Key {
    fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self { bytes, hmac: hmac::Key::new(hmac::HMAC_SHA256, &bytes) }
    }

    fn random() -> Result<Self, InvalidKey> {
        let mut bytes = [0; KEY_BYTES];
        ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| InvalidKey::Random)?;
        Ok(Self::new(bytes))
    }

    fn id(&self) -> ProofKeyId {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"orchestra proof key id v1\0");
        context.update(&self.bytes);
        ProofKeyId(first_16(context.finish().as_ref()))
    }

    fn mac(&self, bytes: &[u8]) -> [u8; 16] {
        first_16(hmac::sign(&self.hmac, bytes).as_ref())
    }
}

/// Returns the first 16 bytes of a SHA-256, which has 32.
fn first_16(hash: &[u8]) -> [u8; 16] {
    std::array::from_fn(|at| hash[at])
}

/// The keys of one store: the newest, under which everything is proven, and earlier ones, which
/// confirm macs that were made under them. Without a key nothing is proven.
#[derive(Default)]
pub(crate) struct Keys {
    /// Newest first.
    keys: Vec<Key>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.keys.len())
    }
}

impl Keys {
    /// Returns the id of the newest key; `None` if there is none.
    pub(crate) fn id(&self) -> Option<ProofKeyId> {
        self.keys.first().map(Key::id)
    }

    /// Returns the proof that a statement was made here. Without a key it is one that is never
    /// confirmed.
    pub(crate) fn prove(&self, statement: &Statement<'_>) -> Mac {
        let mac = |key: &Key| key.mac(&statement.to_bytes());
        Mac(self.keys.first().map(mac).unwrap_or_default())
    }

    /// Returns whether a statement was made here, under any of the keys.
    pub(crate) fn confirm(&self, statement: &Statement<'_>, mac: Mac) -> bool {
        let bytes = statement.to_bytes();
        let is_its = |key: &Key| bool::from(key.mac(&bytes).ct_eq(&mac.0));
        self.keys.iter().any(is_its)
    }

    /// Returns the link of a line of the audit, over the link before and the line's bytes; `None`
    /// without a key.
    pub(crate) fn link(&self, previous: Mac, line: &[u8]) -> Option<Mac> {
        self.macs(AUDIT_CONTEXT, &[&previous.0, line]).into_iter().next()
    }

    /// Returns whether a link was made here, under any of the keys.
    pub(crate) fn confirms_link(&self, previous: Mac, line: &[u8], link: Mac) -> bool {
        let made = self.macs(AUDIT_CONTEXT, &[&previous.0, line]);
        made.iter().any(|mac| bool::from(mac.0.ct_eq(&link.0)))
    }

    /// Returns a code in the place of a digest, from which nothing can be guessed. Another key makes
    /// another one.
    pub(crate) fn veil(&self, digest: &str) -> Arc<str> {
        let code = self.macs(VEIL_CONTEXT, &[digest.as_bytes()]).into_iter().next();
        let bytes = code.map_or([0; 16], |code| code.0);
        hex(&bytes).into()
    }

    /// Returns the macs, under each key, newest first, of something that is no statement. The
    /// context tells it from other uses, and lengths tell its parts apart.
    pub(crate) fn macs(&self, context: &'static [u8], parts: &[&[u8]]) -> Vec<Mac> {
        let mac = |key: &Key| {
            let mut mac = hmac::Context::with_key(&key.hmac);
            mac.update(context);
            for part in parts {
                mac.update(&(part.len() as u64).to_le_bytes());
                mac.update(part);
            }
            Mac(first_16(mac.sign().as_ref()))
        };
        self.keys.iter().map(mac).collect()
    }

    fn to_text(&self) -> String {
        let mut text =
            "# Proof keys of this store, newest first. Keep them from everybody, and out of backups.\n"
                .to_owned();
        for key in &self.keys {
            text += &format!("{}\n", hex(&key.bytes));
        }
        text
    }

    fn from_text(text: &str, path: &Path) -> Result<Self, InvalidKey> {
        let mut keys = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            if text.starts_with('#') {
                continue;
            }
            let malformed = || InvalidKey::Malformed { path: path.to_owned(), line };
            keys.push(Key::new(key_bytes(text).ok_or_else(malformed)?));
        }
        match keys.is_empty() || keys.len() > MOST_KEYS {
            true => {
                Err(InvalidKey::Malformed { path: path.to_owned(), line: text.lines().count() })
            }
            false => Ok(Self { keys }),
        }
    }
}

fn key_bytes(text: &str) -> Option<[u8; KEY_BYTES]> {
    from_hex(text)?.try_into().ok()
}

/// The keys in force. A recovery replaces them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proofs(Arc<RwLock<Arc<Keys>>>);

impl Proofs {
    pub(crate) fn new(keys: Keys) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(keys))))
    }

    pub(crate) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn replace(&self, keys: Keys) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }
}

/// Where the keys lie.
#[derive(Clone, Debug)]
pub(crate) struct KeyFile {
    dir: PathBuf,
}

/// How keys and store belong together.
#[derive(Debug)]
pub(crate) enum Found {
    /// The store records the newest key of the file.
    Ours(Keys),
    /// Neither file nor store had a key. This new one is to be recorded in the store, then adopted.
    Made(Keys, ProofKeyId),
    /// They do not belong together, for this reason, so the store counts as an old copy. The keys
    /// of the file may still confirm what players show.
    Apart(Keys, String),
}

impl KeyFile {
    /// Returns the key file of a state directory.
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self { dir: state_dir.to_owned() }
    }

    /// Reads the keys and compares them with what the store records.
    pub(crate) fn open(&self, recorded: Option<ProofKeyId>) -> Result<Found, InvalidKey> {
        match self.read(PENDING) {
            Ok(None) => {}
            Ok(Some(pending)) if recorded == pending.id() => self.adopt()?,
            // A key that the store does not record was never used. A key is recorded only once it
            // is completely on disk, so a torn one was not recorded.
            Ok(Some(_)) | Err(InvalidKey::Malformed { .. }) => self.forget_pending()?,
            Err(error) => return Err(error),
        }
        let path = self.path(FILE);
        let path = path.display();
        let Some(keys) = self.read(FILE)? else {
            let Some(recorded) = recorded else {
                let (keys, id) = self.prepare(Keys::default())?;
                return Ok(Found::Made(keys, id));
            };
            let why = format!("the store's proof key {recorded} is not there: {path} is missing");
            return Ok(Found::Apart(Keys::default(), why));
        };
        Ok(match (recorded, keys.id()) {
            (Some(recorded), Some(newest)) if recorded == newest => Found::Ours(keys),
            (Some(recorded), _) => {
                let why = format!("the store's proof key is {recorded}, not the newest of {path}");
                Found::Apart(keys, why)
            }
            (None, _) => {
                let why = format!("the store is from before its proof key {path} was made");
                Found::Apart(keys, why)
            }
        })
    }

    /// Writes a new key beside the present ones, which it does not touch. The caller then records
    /// it in the store, and calls [`KeyFile::adopt`].
    pub(crate) fn renew(&self) -> Result<(Keys, ProofKeyId), InvalidKey> {
        self.prepare(self.read(FILE)?.unwrap_or_default())
    }

    /// Renames the file of the new key, which the store records, to the key file.
    pub(crate) fn adopt(&self) -> Result<(), InvalidKey> {
        let (from, to) = (self.path(PENDING), self.path(FILE));
        fs::rename(&from, &to).map_err(failed("put in place", &to))?;
        self.sync_dir()
    }

    /// Writes a new key, followed by the earlier ones.
    fn prepare(&self, former: Keys) -> Result<(Keys, ProofKeyId), InvalidKey> {
        let newest = Key::random()?;
        let id = newest.id();
        let keys: Vec<Key> = [newest].into_iter().chain(former.keys).take(MOST_KEYS).collect();
        let keys = Keys { keys };
        self.forget_pending()?;
        if let Err(error) = self.write_pending(&keys) {
            // A part that a full disk has taken is removed.
            let _ = self.forget_pending();
            return Err(error);
        }
        Ok((keys, id))
    }

    fn write_pending(&self, keys: &Keys) -> Result<(), InvalidKey> {
        let path = self.path(PENDING);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut file = file.map_err(failed("make", &path))?;
        file.write_all(keys.to_text().as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(failed("write", &path))?;
        self.sync_dir()
    }

    fn forget_pending(&self) -> Result<(), InvalidKey> {
        let path = self.path(PENDING);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    fn sync_dir(&self) -> Result<(), InvalidKey> {
        let dir = File::open(&self.dir).and_then(|dir| dir.sync_all());
        dir.map_err(failed("sync the directory of", &self.path(FILE)))
    }

    /// Reads the keys of a file; `None` if there is no file. The store says whether there should be
    /// one.
    fn read(&self, name: &str) -> Result<Option<Keys>, InvalidKey> {
        let path = self.path(name);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(failed("open", &path))?,
        };
        let mode = file.metadata().map_err(failed("look at", &path))?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(InvalidKey::Mode { path, mode });
        }
        let mut text = String::new();
        file.take(FILE_BYTES).read_to_string(&mut text).map_err(failed("read", &path))?;
        Keys::from_text(&text, &path).map(Some)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

fn failed(attempted: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InvalidKey {
    let path = path.to_owned();
    move |source| InvalidKey::Io { attempted, path, source }
}

#[cfg(test)]
mod tests;
