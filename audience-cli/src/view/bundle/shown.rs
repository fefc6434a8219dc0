//! One bundle, and what is in it.

use std::io;

use orchestra_bundle::StoredBundle;
use orchestra_model::{
    ByteSize, Timestamp,
    bundle::{BundleEntry, BundlePath, EntryKind, FileTime, Manifest},
    foreign,
};
use serde::Serialize;

use super::OfBundle;
use crate::view::{Output, Page, Style, when, when_about};

/// A bundle.
pub(crate) struct Shown {
    pub(crate) bundle: StoredBundle,
    pub(crate) manifest: Manifest,
    /// Whether entries are told, too.
    pub(crate) with_entries: bool,
}

impl Output for Shown {
    fn noun(&self) -> &'static str {
        "bundle"
    }

    fn json(self) -> impl Serialize {
        let entries = self.manifest.walk().map(|(path, entry)| OfEntry::new(&path, entry));
        OfShown {
            bundle: OfBundle::new(&self.bundle.seal),
            path: self.bundle.path().display().to_string(),
            files: self.manifest.file_count(),
            chunks: self.manifest.chunks().len(),
            chunk_bytes: self.manifest.chunk_bytes(),
            mode: format!("{:04o}", self.manifest.top_mode()),
            entries: self.with_entries.then(|| entries.collect()),
        }
    }

    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        let (bundle, manifest) = (&self.bundle, &self.manifest);
        let said = &bundle.seal.statement;
        writeln!(out, "bundle   {}@{}", said.name, said.serial)?;
        writeln!(out, "id       {}", bundle.id)?;
        writeln!(out, "domain   {}", said.domain)?;
        let expires = manifest.expires().map_or_else(|| "never".to_owned(), when_about);
        writeln!(out, "expires  {expires}")?;
        let (entries, files) = (manifest.entries().len(), manifest.file_count());
        writeln!(out, "entries  {entries}, of which {files} are files")?;
        let (size, content) = (manifest.size(), manifest.content_bytes());
        let holes = ByteSize(size.saturating_sub(content)).rounded();
        writeln!(out, "size     {}, of which {holes} are holes", ByteSize(size).rounded())?;
        let chunk = ByteSize(manifest.chunk_bytes());
        writeln!(out, "chunks   {} of {chunk}", manifest.chunks().len())?;
        for one in bundle.seal.signatures() {
            writeln!(out, "signed   {}", one.key)?;
        }
        if self.with_entries {
            manifest.walk().try_for_each(|(path, entry)| line(out, &path, entry))?;
        }
        Ok(())
    }
}

fn line(out: &mut dyn Page, path: &BundlePath, entry: &BundleEntry) -> io::Result<()> {
    match &entry.kind {
        EntryKind::Directory { mode } => writeln!(out, "{mode:04o} {:>9}  {path}/", "-"),
        EntryKind::File(file) => {
            writeln!(out, "{:04o} {:>9}  {path}", file.mode, ByteSize(file.size).rounded())
        }
        EntryKind::Link { target } => writeln!(out, "link {:>9}  {path} -> {}", "-", shown(target)),
    }
}

/// Somebody else's bytes on one line.
fn shown(bytes: &[u8]) -> String {
    let safe = foreign::lines(bytes);
    foreign::OneLine(&String::from_utf8_lossy(&safe)).to_string()
}

#[derive(Serialize)]
struct OfShown {
    #[serde(flatten)]
    bundle: OfBundle,
    path: String,
    files: usize,
    chunks: usize,
    chunk_bytes: u64,
    mode: String,
    #[serde(rename = "tree")]
    entries: Option<Vec<OfEntry>>,
}

/// An entry; what its kind does not have is null.
#[derive(Default, Serialize)]
struct OfEntry {
    path: String,
    kind: &'static str,
    mode: Option<String>,
    size: Option<u64>,
    content_bytes: Option<u64>,
    hash: Option<String>,
    changed: Option<String>,
    target: Option<String>,
    xattrs: Vec<String>,
}

impl OfEntry {
    fn new(path: &BundlePath, entry: &BundleEntry) -> Self {
        let xattrs = entry.xattrs.iter().map(|xattr| shown(&xattr.name)).collect();
        let common = Self { path: path.to_string(), xattrs, ..Self::default() };
        match &entry.kind {
            EntryKind::Directory { mode } => {
                Self { kind: "directory", mode: Some(format!("{mode:04o}")), ..common }
            }
            EntryKind::File(file) => Self {
                kind: "file",
                mode: Some(format!("{:04o}", file.mode)),
                size: Some(file.size),
                content_bytes: Some(file.content_bytes()),
                hash: Some(file.hash.to_string()),
                changed: moment(file.mtime),
                ..common
            },
            EntryKind::Link { target } => {
                Self { kind: "link", target: Some(shown(target)), ..common }
            }
        }
    }
}

/// To the millisecond; `None` before 1970.
fn moment(time: FileTime) -> Option<String> {
    let seconds = u64::try_from(time.seconds).ok()?;
    Some(when(Timestamp(seconds.checked_mul(1_000)? + u64::from(time.nanos / 1_000_000))))
}
