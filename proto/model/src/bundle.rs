//! A bundle: a tree of files under a name and a serial, which passes from host to host unchanged.
//!
//! ```text
//! manifest   which entries there are, and the hash of every chunk of their content
//! content    the data of all files, one after the other in the manifest's order, without holes
//! statement  what a publisher says of a manifest: name, serial, expiry, id, sizes
//! seal       a statement, and who has signed it
//! place      which bundles are taken somewhere, and what may be in them
//! shape      how manifest and content are cut into the parts that travel
//! arrival    which chunks are there of a bundle that is still arriving
//! installed  a place on a host: where it is, whose, and how many releases it keeps
//! record     which bundles a place of a host has taken, as its player keeps it beside them
//! change     whether a place takes a bundle, or is switched to one that it has
//! register   the bundles that a conductor knows, and which hosts have a copy
//! report     what a player tells of its places, and many players' folded
//! ```
//!
//! A bundle's id is the hash of its encoded manifest, so the id stands for every byte of it.
//! Manifests, seals and journals are read from bytes that somebody else may have made. A [`Manifest`] that exists is safe to
//! unpack below a directory: [`Manifest::new`] judges each path, each link and each sum, and no
//! value is made otherwise.
//!
//! Left to others: hashing and signatures, which are computations over bytes from here
//! (`orchestra-bundle`, `orchestra-certs`).

mod arrival;
mod change;
mod codec;
mod diff;
mod entry;
mod hash;
mod installed;
mod invalid;
mod links;
mod manifest;
mod path;
mod place;
mod ranges;
mod record;
mod reference;
mod register;
mod report;
mod rules;
mod seal;
mod shape;

pub use arrival::{ArrivalJournal, ArrivalRecord};
pub use change::{ChangeRefusal, Judging};
pub use diff::{BundleChange, BundleDiff, EntryChange};
pub use entry::{BundleEntry, DataExtent, EntryKind, FileEntry, FileTime, Xattr};
pub use hash::{BundleId, ContentHash, HASH_TAG, InvalidHash, PublisherKey};
pub use installed::InstalledPlace;
pub use invalid::{EntryFault, InvalidManifest};
pub use manifest::{CHUNK_BYTES, HOLE_BYTES, LARGE_CHUNK_BYTES, LARGE_FROM, Manifest, chunk_bytes};
pub use path::{BundlePath, EntryName, InvalidEntryName};
pub use place::{BundlePlace, PlaceRefusal, PlaceTrust};
pub use ranges::ChunkRanges;
pub use record::{BundleRelease, InvalidRecord, InvalidRelease, PendingChange, PlaceRecord};
pub use reference::{BundleReference, BundleSerial, InvalidBundleReference, InvalidSerial};
pub use register::{BundleRegister, RegisterRefusal, RegisteredBundle, Registration};
pub use report::{HeldPlace, HeldTrouble, PlaceHolders, PlaceReport, PlaceStanding, PlacesReport};
pub use seal::{
    BundleStatement, InvalidSeal, Seal, SignatureBytes, StatementSignature, TooManySignatures,
};
pub use shape::{BundlePart, BundleShape};
