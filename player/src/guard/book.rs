//! The book: what a sitter tells its guard, and the next sitter. It lies in `RUN_DIR/TAG`.

use std::{os::unix::ffi::OsStrExt, path::PathBuf};

use orchestra_model::{
    ServiceName,
    delivery::StoreId,
    journal::{ByteReader, push_bytes},
    limits,
    service::Placement,
};
use orchestra_units::UnitKey;

use crate::sitter::{Leaf, Trail, procfs::Stat};

/// Magic and version. A sitter that finds another one takes the leases in it for unknown.
const FORMAT: &[u8] = b"ORCGUARD\x02";
/// Longest path or mark, in bytes.
const BYTES: usize = 4_096;
/// Most marks of a unit.
const MARKS: u8 = 8;

/// Which leases there are, and what runs under them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Book {
    /// The boot that its moments are of.
    pub(crate) boot: [u8; 16],
    /// Whether some unit needs a lease, even if none has one.
    pub(crate) is_needed: bool,
    /// The sitter whose book it is, and when that started (clock ticks since boot).
    pub(crate) sitter: Option<(i32, u64)>,
    /// The process that guards it, and when that started (clock ticks since boot).
    pub(crate) guard: Option<(i32, u64)>,
    pub(crate) pages: Vec<Page>,
}

/// The lease of a unit, and where its processes are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) unit: UnitKey,
    pub(crate) placement: Placement,
    /// When a run is told to end; for the next sitter. Moments are milliseconds of
    /// `CLOCK_BOOTTIME`.
    pub(crate) until: u64,
    /// When nothing of it may be left.
    pub(crate) gone: u64,
    /// Its cgroup, and whether that is of v2; `None` if there are no cgroups.
    pub(crate) leaf: Option<(PathBuf, bool)>,
    /// What marks its processes in their environments.
    pub(crate) marks: Vec<Vec<u8>>,
    /// Its first process, and when that started, if the sitter knows it.
    pub(crate) leader: Option<(i32, u64)>,
}

impl Page {
    /// Kills what is left of the unit's run. Returns whether anything was.
    pub(super) fn kill(&self) -> bool {
        match self.leaf() {
            Some(leaf) => {
                let is_left = !leaf.is_empty();
                if is_left {
                    leaf.kill();
                }
                is_left
            }
            None => self.trail().kill() > 0,
        }
    }

    /// Whether anything is left of the unit's run.
    pub(super) fn is_left(&self) -> bool {
        match self.leaf() {
            Some(leaf) => !leaf.is_empty(),
            None => !self.trail().is_gone(),
        }
    }

    fn leaf(&self) -> Option<Leaf> {
        let (dir, is_v2) = self.leaf.clone()?;
        Some(if is_v2 { Leaf::of_v2(dir) } else { Leaf::of_v1(dir) })
    }

    fn trail(&self) -> Trail {
        let (marks, leader) = (self.marks.clone(), self.leader);
        Trail { marks, leader, orphans: false, spared: Default::default() }
    }
}

impl Book {
    /// Whether the sitter lives whose book it is.
    pub(super) fn has_sitter(&self) -> bool {
        self.sitter.is_some_and(|(pid, start_ticks)| {
            Stat::of(pid).is_some_and(|stat| !stat.zombie && stat.start_ticks == start_ticks)
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = FORMAT.to_vec();
        out.extend(self.boot);
        out.push(self.is_needed.into());
        push_process(&mut out, self.sitter);
        push_process(&mut out, self.guard);
        out.extend((self.pages.len() as u32).to_le_bytes());
        for page in &self.pages {
            out.extend(page.unit.store.0);
            push_bytes(&mut out, page.unit.service.as_str().as_bytes());
            for number in [page.placement.0, page.until, page.gone] {
                out.extend(number.to_le_bytes());
            }
            out.push(page.leaf.is_some().into());
            if let Some((dir, is_v2)) = &page.leaf {
                push_bytes(&mut out, dir.as_os_str().as_bytes());
                out.push((*is_v2).into());
            }
            out.push(page.marks.len() as u8);
            page.marks.iter().for_each(|mark| push_bytes(&mut out, mark));
            push_process(&mut out, page.leader);
        }
        out
    }

    /// Reads what [`Book::encode`] wrote; `None` if it is of another release, or makes no sense.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Book> {
        let mut reader = ByteReader::new(bytes.strip_prefix(FORMAT)?);
        let (boot, is_needed) = (reader.array()?, reader.bool()?);
        let (sitter, guard) = (read_process(&mut reader)?, read_process(&mut reader)?);
        let count = reader.u32().filter(|count| *count as usize <= limits::UNITS)?;
        let pages: Option<Vec<Page>> = (0..count).map(|_| read_page(&mut reader)).collect();
        reader.is_empty().then_some(Book { boot, is_needed, sitter, guard, pages: pages? })
    }
}

fn read_page(reader: &mut ByteReader<'_>) -> Option<Page> {
    let store = StoreId(reader.array()?);
    let service = ServiceName::new(reader.text(limits::NAME_BYTES)?).ok()?;
    let (placement, until, gone) = (Placement(reader.u64()?), reader.u64()?, reader.u64()?);
    let leaf = match reader.bool()? {
        true => {
            let dir = std::ffi::OsStr::from_bytes(reader.counted(BYTES)?);
            Some((PathBuf::from(dir), reader.bool()?))
        }
        false => None,
    };
    let count = reader.u8().filter(|count| *count <= MARKS)?;
    let marks: Option<Vec<Vec<u8>>> =
        (0..count).map(|_| reader.counted(BYTES).map(<[u8]>::to_vec)).collect();
    let (unit, marks) = (UnitKey { store, service }, marks?);
    let leader = read_process(reader)?;
    Some(Page { unit, placement, until, gone, leaf, marks, leader })
}

fn push_process(out: &mut Vec<u8>, process: Option<(i32, u64)>) {
    let (pid, start) = process.unwrap_or((0, 0));
    out.extend(pid.to_le_bytes());
    out.extend(start.to_le_bytes());
}

/// `Some(None)`: no process is named.
fn read_process(reader: &mut ByteReader<'_>) -> Option<Option<(i32, u64)>> {
    let (pid, start) = (i32::from_le_bytes(reader.array()?), reader.u64()?);
    Some((pid > 0).then_some((pid, start)))
}
