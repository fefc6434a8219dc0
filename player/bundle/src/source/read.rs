//! Reads the files that the survey has seen, in the order of the manifest, and writes their data one
//! after the other.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Seek as _, Write as _},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt as _,
    },
    path::Path,
};

use orchestra_model::{
    bundle::{
        BundleEntry, BundlePath, CHUNK_BYTES, ContentHash, DataExtent, EntryKind, EntryName,
        FileEntry, HOLE_BYTES, Xattr, chunk_bytes,
    },
    foreign, limits,
};
use rustix::{
    fs::{Mode, OFlags, SeekFrom},
    io::Errno,
};

use super::{
    Choice, Gathered, LeftOut, SourceError, Tree,
    survey::{Seen, Survey, open_directory},
};
use crate::{
    depot::settle,
    hash::{ChunkHasher, Hasher},
};

/// How much is written at once, in bytes.
const PIECE: usize = 256 << 10;

/// Every file of an SELinux host has it, and no host takes it from elsewhere.
const SELINUX: &[u8] = b"security.selinux";

/// Reads all files of the survey of `top`.
pub(super) fn read(
    top: &OwnedFd,
    survey: Survey,
    choice: &Choice,
    content: File,
    content_path: &Path,
) -> Result<Tree, SourceError> {
    let unwritten = |source| SourceError::Content { path: content_path.into(), source };
    let Survey { top_mode, mut entries, seen, left_out } = survey;
    let mut reader = Reader {
        choice,
        left_out,
        block: vec![0; HOLE_BYTES as usize],
        xattrs: vec![0; limits::BUNDLE_XATTR_BYTES],
        content: Content::new(content),
    };
    let mut gathered = Gathered::default();
    let mut path = BundlePath::default();
    // The open directories that lead to the present entry.
    let mut above: Vec<OwnedFd> = Vec::new();
    for (entry, seen) in entries.iter_mut().zip(seen) {
        path.turn_to(entry.depth, entry.name.clone());
        above.truncate(usize::from(entry.depth) - 1);
        let directory = above.last().unwrap_or(top).as_fd();
        match reader.entry(directory, entry, seen) {
            Ok(Some(inner)) => above.push(inner),
            Ok(None) => {}
            Err(Unread::Write(source)) => return Err(unwritten(source)),
            Err(Unread::Read(why)) => {
                gathered.note(&path, why);
                // What is read later would lie elsewhere, and nothing comes of it.
                break;
            }
        }
    }
    gathered.into_result()?;
    let Reader { left_out, content, .. } = reader;
    let chunks = content.finish().map_err(unwritten)?;
    Ok(Tree { top_mode, entries, chunks, left_out })
}

/// Why an entry was not read.
enum Unread {
    /// It cannot be read, or has changed.
    Read(String),
    /// What was read of it cannot be written.
    Write(io::Error),
}

impl Unread {
    fn system(attempt: &str, error: Errno) -> Self {
        Self::Read(format!("{attempt}: {error}"))
    }

    fn changed() -> Self {
        Self::Read("it changed while it was read; publish again when nobody writes there".into())
    }
}

struct Reader<'a> {
    choice: &'a Choice,
    left_out: LeftOut,
    /// What was read last of a file.
    block: Vec<u8>,
    /// Names or a value of extended attributes.
    xattrs: Vec<u8>,
    content: Content,
}

impl Reader<'_> {
    /// Reads an entry. A directory is returned open.
    fn entry(
        &mut self,
        directory: BorrowedFd<'_>,
        entry: &mut BundleEntry,
        seen: Seen,
    ) -> Result<Option<OwnedFd>, Unread> {
        match &mut entry.kind {
            EntryKind::Link { .. } => Ok(None),
            EntryKind::Directory { .. } => {
                let opened = open_directory(directory, &entry.name);
                let opened = opened.map_err(|error| Unread::system("opening it", error))?;
                entry.xattrs = self.xattrs_of(opened.as_fd())?;
                Ok(Some(opened))
            }
            EntryKind::File(file) => {
                let opened = open_file(directory, &entry.name)
                    .map_err(|error| Unread::system("opening it", error))?;
                check_unchanged(&opened, seen)?;
                entry.xattrs = self.xattrs_of(opened.as_fd())?;
                self.file(&opened, file)?;
                check_unchanged(&opened, seen)?;
                Ok(None)
            }
        }
    }

    /// Reads a file block by block. A block of zeros is a hole, and so is one that the file system
    /// has none of.
    fn file(&mut self, opened: &File, file: &mut FileEntry) -> Result<(), Unread> {
        let mut hasher = Hasher::default();
        let mut offset = 0;
        while let Some(begin) = next_data(opened, offset, file.size)? {
            let len = HOLE_BYTES.min(file.size - begin);
            let block = &mut self.block[..len as usize];
            opened.read_exact_at(block, begin).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => Unread::changed(),
                _ => Unread::Read(format!("reading it: {error}")),
            })?;
            if block.iter().any(|byte| *byte != 0) {
                hasher.update(block);
                self.content.write(block).map_err(Unread::Write)?;
                add(&mut file.data, DataExtent { offset: begin, len });
            }
            offset = begin + len;
        }
        file.hash = hasher.finish();
        Ok(())
    }

    /// Returns the extended attributes that are carried, and notes the others.
    fn xattrs_of(&mut self, opened: BorrowedFd<'_>) -> Result<Vec<Xattr>, Unread> {
        let unread = |error| Unread::system("reading its extended attributes", error);
        let len = match rustix::fs::flistxattr(opened, &mut self.xattrs[..]) {
            Ok(len) => len,
            Err(Errno::NOTSUP) => return Ok(Vec::new()),
            Err(error) => return Err(unread(error)),
        };
        let names: Vec<Box<[u8]>> =
            self.xattrs[..len].split(|byte| *byte == 0).map(Into::into).collect();
        let mut carried = Vec::new();
        for name in names.into_iter().filter(|name| !name.is_empty() && **name != *SELINUX) {
            if self.choice.xattrs.contains(&*name) {
                let len = rustix::fs::fgetxattr(opened, &*name, &mut self.xattrs[..]);
                let value = self.xattrs[..len.map_err(unread)?].into();
                carried.push(Xattr { name, value });
            } else {
                let shown = foreign::lines(&name).into_owned();
                self.left_out.xattrs.insert(String::from_utf8_lossy(&shown).into_owned());
            }
        }
        carried.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(carried)
    }
}

/// Opens a regular file that is no link.
fn open_file(directory: BorrowedFd<'_>, name: &EntryName) -> Result<File, Errno> {
    // What blocks has taken the file's place, and is found out by what it is.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name.as_bytes(), flags, Mode::empty()).map(File::from)
}

fn check_unchanged(opened: &File, seen: Seen) -> Result<(), Unread> {
    let stat = rustix::fs::fstat(opened).map_err(|error| Unread::system("looking at it", error))?;
    if Seen::of(&stat) == seen { Ok(()) } else { Err(Unread::changed()) }
}

/// Where the next block begins that may hold data, at or after `offset`, which is the beginning of a
/// block.
fn next_data(opened: &File, offset: u64, size: u64) -> Result<Option<u64>, Unread> {
    if offset >= size {
        return Ok(None);
    }
    match rustix::fs::seek(opened, SeekFrom::Data(offset)) {
        Ok(begin) if begin >= size => Ok(None),
        Ok(begin) => Ok(Some(begin - begin % HOLE_BYTES)),
        // There is nothing but a hole.
        Err(Errno::NXIO) => Ok(None),
        // A file system that knows no holes.
        Err(Errno::INVAL | Errno::NOTSUP) => Ok(Some(offset)),
        Err(error) => Err(Unread::system("looking for its data", error)),
    }
}

/// Adds an extent, to the last one if the two touch.
fn add(data: &mut Vec<DataExtent>, extent: DataExtent) {
    match data.last_mut().filter(|last| last.end() == Some(extent.offset)) {
        Some(last) => last.len += extent.len,
        None => data.push(extent),
    }
}

/// The content of a bundle while it is written.
struct Content {
    file: BufWriter<File>,
    hasher: ChunkHasher,
    len: u64,
}

impl Content {
    fn new(file: File) -> Self {
        let file = BufWriter::with_capacity(PIECE, file);
        Self { file, hasher: ChunkHasher::new(CHUNK_BYTES), len: 0 }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    /// Makes it durable, and returns the hash of each chunk. Where there is so much content that
    /// chunks are longer, which is known only now, it is read once more.
    fn finish(self) -> io::Result<Vec<ContentHash>> {
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        settle(&file)?;
        let chunk_bytes = chunk_bytes(self.len);
        if chunk_bytes == CHUNK_BYTES {
            return Ok(self.hasher.finish());
        }
        let mut hasher = ChunkHasher::new(chunk_bytes);
        let mut piece = vec![0; PIECE];
        file.rewind()?;
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(hasher.finish()),
                read => hasher.update(&piece[..read]),
            }
        }
    }
}
