//! Whether every byte of a bundle is what its id and its publishers say.

use std::io::{self, BufReader, Read};

use orchestra_certs::good_signatures;
use orchestra_model::{
    bundle::{BundlePath, ContentHash, Manifest, PublisherKey},
    size::ByteSize,
};

use crate::{
    depot::{CONTENT, StoredBundle},
    error::DepotError,
    hash::{self, ChunkHasher, Hasher},
};

/// How many problems of one bundle are told; all are counted.
const TOLD: usize = 20;

/// How much content is read at once, in bytes.
const PIECE: usize = 256 << 10;

/// What was found out about a bundle.
#[derive(Debug)]
pub struct Verified {
    /// The first problems, in the order in which they were found; none if all is well.
    pub problems: Vec<BundleProblem>,
    /// How many problems there are.
    pub wrong: usize,
    /// Whose signatures on its statement are good.
    pub publishers: Vec<PublisherKey>,
    /// How many signatures are not good.
    pub bad_signatures: usize,
}

/// Something about a bundle that is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum BundleProblem {
    #[error("its manifest is another one: the hash is not the bundle's id")]
    ManifestHash,
    #[error("its manifest cannot be used: {0}")]
    Manifest(String),
    #[error("its statement says something else than its manifest")]
    Statement,
    #[error("{0} signatures on its statement are not good")]
    Signatures(usize),
    #[error("its content has {found}, and not {wanted}")]
    ContentLength { found: ByteSize, wanted: ByteSize },
    #[error("chunk {number} of its content, in {path}, is not what was published")]
    Chunk {
        /// Counted from 1.
        number: usize,
        /// The first file of which it holds something.
        path: BundlePath,
    },
    #[error("the data of {0} is not what was published")]
    File(BundlePath),
}

impl Verified {
    fn note(&mut self, problem: BundleProblem) {
        self.note_with(|| problem);
    }

    /// Counts a problem, and finds out what it is if it is going to be told.
    fn note_with(&mut self, problem: impl FnOnce() -> BundleProblem) {
        self.wrong += 1;
        if self.problems.len() < TOLD {
            self.problems.push(problem());
        }
    }
}

/// Reads all of a bundle. What cannot be read is an error; what is wrong is found.
pub fn verify(bundle: &StoredBundle) -> Result<Verified, DepotError> {
    let publishers = good_signatures(&bundle.seal);
    let bad_signatures = bundle.seal.signatures().len() - publishers.len();
    let mut verified = Verified { problems: Vec::new(), wrong: 0, publishers, bad_signatures };
    if bad_signatures > 0 {
        verified.note(BundleProblem::Signatures(bad_signatures));
    }
    let bytes = bundle.manifest_bytes()?;
    if hash::id_of(&bytes) != bundle.id {
        // What else it says is somebody else's word.
        verified.note(BundleProblem::ManifestHash);
        return Ok(verified);
    }
    let manifest = match Manifest::decode(&bytes) {
        Ok(manifest) => manifest,
        Err(why) => {
            verified.note(BundleProblem::Manifest(why.to_string()));
            return Ok(verified);
        }
    };
    if !bundle.seal.statement.is_of(&manifest, bytes.len() as u64) {
        verified.note(BundleProblem::Statement);
    }
    verify_content(bundle, &manifest, &mut verified)?;
    Ok(verified)
}

fn verify_content(
    bundle: &StoredBundle,
    manifest: &Manifest,
    verified: &mut Verified,
) -> Result<(), DepotError> {
    let path = bundle.path.join(CONTENT);
    let failed = || DepotError::io("reading", &path);
    let content = bundle.content()?;
    let found = content.metadata().map_err(failed())?.len();
    let wanted = manifest.content_bytes();
    if found != wanted {
        let (found, wanted) = (ByteSize(found), ByteSize(wanted));
        verified.note(BundleProblem::ContentLength { found, wanted });
    }
    // What is beyond the end of what was published is not read.
    let mut reading = Reading::new(BufReader::with_capacity(PIECE, content.take(wanted)), manifest);
    for (path, file) in manifest.files() {
        let len = file.content_bytes();
        let is_whole = reading.take(len).map_err(failed())? == Some(file.hash);
        if !is_whole {
            verified.note(BundleProblem::File(path));
        }
    }
    let chunks = reading.chunks.finish();
    for (n, hash) in manifest.chunks().iter().enumerate() {
        if chunks.get(n) != Some(hash) {
            verified.note_with(|| {
                let path = file_at(manifest, n as u64 * manifest.chunk_bytes());
                BundleProblem::Chunk { number: n + 1, path }
            });
        }
    }
    Ok(())
}

/// The file whose data is at an offset of the content.
fn file_at(manifest: &Manifest, offset: u64) -> BundlePath {
    let mut end = 0;
    let found = manifest.files().find(|(_, file)| {
        end += file.content_bytes();
        offset < end
    });
    found.map(|(path, _)| path).unwrap_or_default()
}

/// Content that is read once, from its beginning to its end.
struct Reading<R> {
    content: R,
    chunks: ChunkHasher,
    buffer: Vec<u8>,
}

impl<R: Read> Reading<R> {
    fn new(content: R, manifest: &Manifest) -> Self {
        let chunks = ChunkHasher::new(manifest.chunk_bytes());
        Self { content, chunks, buffer: vec![0; PIECE] }
    }

    /// Reads the next `len` bytes and returns their hash, or `None` where there are fewer.
    fn take(&mut self, len: u64) -> io::Result<Option<ContentHash>> {
        let mut hasher = Hasher::default();
        let mut left = len;
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let read = self.content.read(&mut self.buffer[..wanted])?;
            if read == 0 {
                return Ok(None);
            }
            hasher.update(&self.buffer[..read]);
            self.chunks.update(&self.buffer[..read]);
            left -= read as u64;
        }
        Ok(Some(hasher.finish()))
    }
}
