//! What a manifest says of one file, directory or link.

use super::{ContentHash, EntryName};

/// One entry of a manifest. Entries stand in the order of a walk: a directory before what is in it,
/// names of one directory by their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleEntry {
    /// How many names lead to it; 1 at the top of the bundle. Its directory is the last one before it
    /// whose depth is one less.
    pub depth: u16,
    pub name: EntryName,
    pub kind: EntryKind,
    /// By name, each once.
    pub xattrs: Vec<Xattr>,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    Directory {
        /// Permission bits, at most 0777.
        mode: u16,
    },
    File(FileEntry),
    /// A symbolic link.
    Link {
        /// Where it leads, from its own directory: to an entry of the same bundle.
        target: Box<[u8]>,
    },
}

/// A regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Permission bits, at most 0777.
    pub mode: u16,
    /// When it was changed last.
    pub mtime: FileTime,
    /// With its holes, in bytes.
    pub size: u64,
    /// Where it has data, in order, with a hole between any two. All else reads as zeros.
    pub data: Vec<DataExtent>,
    /// Of its data, extent after extent; of the file itself where it has no holes.
    pub hash: ContentHash,
}

impl FileEntry {
    /// How many bytes of the bundle's content are this file's.
    pub fn content_bytes(&self) -> u64 {
        self.data.iter().map(|extent| extent.len).sum()
    }
}

/// A part of a file that holds data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataExtent {
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// How long it is, in bytes; never 0.
    pub len: u64,
}

impl DataExtent {
    /// The first byte after it; `None` where no file can be so long.
    pub fn end(self) -> Option<u64> {
        self.offset.checked_add(self.len)
    }
}

/// A moment as file systems keep it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileTime {
    /// Since 1970, negative before.
    pub seconds: i64,
    /// After that second; below a thousand million.
    pub nanos: u32,
}

/// An extended attribute in the namespace `user.`, the only one that carries no rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xattr {
    /// With `user.` before it.
    pub name: Box<[u8]>,
    pub value: Box<[u8]>,
}
