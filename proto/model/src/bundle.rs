//! A bundle: a tree of files under a name and a serial, which passes from host to host unchanged.
//!
//! ```text
//! manifest   which entries there are, and the hash of every chunk of their content
//! content    the data of all files, one after the other in the manifest's order, without holes
//! statement  what a publisher says of a manifest: name, serial, expiry, id, sizes
//! seal       a statement, and who has signed it
//! place      which bundles are taken somewhere, and what may be in them
//! ```
//!
//! A bundle's id is the hash of its encoded manifest, so the id stands for every byte of it. All
//! three are read from bytes that somebody else may have made. A [`Manifest`] that exists is safe to
//! unpack below a directory: [`Manifest::new`] judges each path, each link and each sum, and no
//! value is made otherwise.
//!
//! Left to others: hashing and signatures, which are computations over bytes from here
//! (`orchestra-bundle`, `orchestra-certs`).

mod codec;
mod diff;
mod entry;
mod hash;
mod invalid;
mod links;
mod manifest;
mod path;
mod place;
mod reference;
mod rules;
mod seal;

pub use diff::{BundleChange, BundleDiff, EntryChange};
pub use entry::{BundleEntry, DataExtent, EntryKind, FileEntry, FileTime, Xattr};
pub use hash::{BundleId, ContentHash, HASH_TAG, InvalidHash, PublisherKey};
pub use invalid::{EntryFault, InvalidManifest};
pub use manifest::{CHUNK_BYTES, HOLE_BYTES, LARGE_CHUNK_BYTES, LARGE_FROM, Manifest, chunk_bytes};
pub use path::{BundlePath, EntryName, InvalidEntryName};
pub use place::{BundlePlace, PlaceRefusal, PlaceTrust};
pub use reference::{BundleReference, BundleSerial, InvalidBundleReference, InvalidSerial};
pub use seal::{
    BundleStatement, InvalidSeal, Seal, SignatureBytes, StatementSignature, TooManySignatures,
};
