//! Why a manifest is none.

use super::{BundlePath, InvalidEntryName};
use crate::{limits, size::ByteSize};

/// Why bytes, or entries and chunks together, are no manifest.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidManifest {
    /// The bytes are of something else.
    #[error("it does not begin like the manifest of a bundle")]
    NotAManifest,
    /// A later program wrote it.
    #[error("it is of format {0}, which this program does not read")]
    Format(u8),
    #[error("it is larger than {}", ByteSize(limits::MANIFEST_BYTES as u64))]
    TooLarge,
    /// It ends too early, or a field is not spelled as it should be.
    #[error("its {0} cannot be read")]
    Malformed(&'static str),
    #[error("it goes on after its end")]
    Surplus,
    #[error("it has more than {} entries", limits::BUNDLE_ENTRIES)]
    TooManyEntries,
    /// The permission bits of the bundle's top directory.
    #[error("its top directory has mode {0:04o}; at most 0777 is possible")]
    TopMode(u16),
    #[error("its files are larger than {} together", ByteSize(limits::BUNDLE_SIZE_BYTES))]
    Size,
    #[error("its files hold more than {} of data", ByteSize(limits::BUNDLE_CONTENT_BYTES))]
    Content,
    #[error("it has {found} chunks for content of {content}, which is {wanted}")]
    Chunks { found: usize, wanted: u64, content: ByteSize },
    /// One entry is wrong.
    #[error("entry {number}, {path}: {fault}")]
    Entry {
        /// Counted from 1.
        number: usize,
        path: BundlePath,
        fault: EntryFault,
    },
}

/// What is wrong with one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    #[error(transparent)]
    Name(#[from] InvalidEntryName),
    #[error("it stands below something that is no directory")]
    NoDirectory,
    #[error("it comes twice, or names are not in the order of their bytes")]
    Order,
    #[error("directories are nested more than {} deep", limits::BUNDLE_DEPTH)]
    Depth,
    #[error("its path is longer than {} bytes", limits::BUNDLE_PATH_BYTES)]
    PathLength,
    #[error(
        "it has mode {0:04o}; at most 0777 is possible, without setuid, setgid and sticky bits"
    )]
    Mode(u16),
    #[error("its time has {0} nanoseconds after the second")]
    Time(u32),
    #[error("it is larger than {}", ByteSize(limits::BUNDLE_FILE_BYTES))]
    Size,
    #[error("its data lies beyond its end")]
    BeyondEnd,
    #[error("its data is not in order, or two parts of it touch")]
    ExtentOrder,
    #[error("its data does not begin and end where holes can")]
    ExtentAlignment,
    #[error("its extended attributes come twice, or not in the order of their names")]
    XattrOrder,
    #[error("it has an extended attribute whose name is not user. and 1 to 250 bytes")]
    XattrName,
    #[error("its extended attributes have more than {} bytes", limits::BUNDLE_XATTR_BYTES)]
    XattrSize,
    #[error(
        "its target is empty, has a NUL byte, or more than {} bytes",
        limits::BUNDLE_TARGET_BYTES
    )]
    Target,
    #[error("the link leads to an absolute path, and so out of the bundle")]
    Absolute,
    #[error("the link leads out of the bundle")]
    Escapes,
    #[error("the link leads to something that is not in the bundle")]
    Dangling,
    #[error("the link leads through something that is no directory")]
    ThroughOther,
    #[error("the link leads in a circle, or through more than {} links", limits::BUNDLE_LINKS)]
    Circle,
}
