//! A player's disk: what its files hold, and what of that survives when the machine goes down.

use orchestra_model::bundle::{ArrivalJournal, ArrivalRecord, BundleId, ChunkRanges};

use crate::Dice;

pub(crate) const ID: BundleId = BundleId([5; 32]);

/// What a chunk holds, in place of bytes; 0 is a hole.
pub(crate) fn published(chunk: u32) -> u32 {
    chunk * 7 + 1
}

/// The files of an arriving bundle.
#[derive(Clone, Debug, Default)]
struct Files {
    /// Whether each piece of the manifest is the right one.
    pieces: Vec<Option<bool>>,
    manifest: bool,
    content: Vec<u32>,
    journal: Vec<u8>,
    /// Whether the bundle lies among the whole ones.
    is_settled: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Disk {
    chunks: u32,
    /// As everybody reads them.
    files: Files,
    /// As they are certainly after the machine went down.
    durable: Files,
    journal: ArrivalJournal,
}

impl Disk {
    pub(crate) fn new(pieces: u32, chunks: u32) -> Self {
        let (journal, bytes) = ArrivalJournal::anew(ID, chunks, &ChunkRanges::default());
        let files = Files {
            pieces: vec![None; pieces as usize],
            content: vec![0; chunks as usize],
            journal: bytes,
            ..Files::default()
        };
        Self { chunks, durable: files.clone(), files, journal }
    }

    /// A disk that has all of it.
    pub(crate) fn whole(pieces: u32, chunks: u32) -> Self {
        let mut disk = Self::new(pieces, chunks);
        disk.files.pieces.fill(Some(true));
        (0..chunks).for_each(|chunk| disk.write_chunk(chunk, published(chunk)));
        disk.put_manifest(true);
        disk.sync(disk.mark());
        disk.settle();
        disk
    }

    pub(crate) fn write_piece(&mut self, piece: u32, is_right: bool) {
        self.files.pieces[piece as usize] = Some(is_right);
    }

    pub(crate) fn manifest_is_right(&self) -> bool {
        self.files.pieces.iter().all(|piece| *piece == Some(true))
    }

    pub(crate) fn put_manifest(&mut self, is_good: bool) {
        assert!(self.files.pieces.iter().all(Option::is_some), "a piece is missing");
        self.files.manifest = is_good;
        self.durable.manifest = is_good;
    }

    pub(crate) fn write_chunk(&mut self, chunk: u32, value: u32) {
        self.files.content[chunk as usize] = value;
        let record = ArrivalRecord::Here { first: chunk, end: chunk + 1 };
        self.files.journal.extend(self.journal.append(record));
    }

    /// What a sync that begins now will have covered.
    pub(crate) fn mark(&self) -> (u32, Vec<u32>) {
        (self.journal.records(), self.files.content.clone())
    }

    pub(crate) fn sync(&mut self, (records, content): (u32, Vec<u32>)) {
        self.durable.content = content;
        self.files.journal.extend(self.journal.append(ArrivalRecord::OnDisk { records }));
        self.durable.journal.clone_from(&self.files.journal);
    }

    pub(crate) fn settle(&mut self) {
        assert!(self.durable.manifest, "the manifest is not on disk");
        for (chunk, value) in (0..).zip(&self.durable.content) {
            assert_eq!(*value, published(chunk), "chunk {chunk} on disk");
        }
        self.files.is_settled = true;
        self.durable.is_settled = true;
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.files.is_settled
    }

    pub(crate) fn has_manifest(&self) -> bool {
        self.files.manifest
    }

    pub(crate) fn here(&self) -> &ChunkRanges {
        self.journal.here()
    }

    pub(crate) fn read(&self, chunk: u32) -> u32 {
        self.files.content[chunk as usize]
    }

    /// A bit of the disk flips, where somebody is served from.
    pub(crate) fn flip(&mut self, chunk: u32) {
        self.files.content[chunk as usize] ^= 1 << 20;
    }

    pub(crate) fn mend(&mut self) {
        let content = (0..).zip(&mut self.files.content).filter(|(_, value)| **value != 0);
        content.for_each(|(chunk, value)| *value = published(chunk));
    }

    /// The machine went down: what was not synced may be there or not, page by page.
    pub(crate) fn lose_power(&mut self, dice: &mut Dice) {
        for (page, durable) in self.files.content.iter_mut().zip(&self.durable.content) {
            if dice.happens(50) {
                *page = *durable;
            }
        }
        let sure = self.durable.journal.len();
        let kept = sure + dice.below(self.files.journal.len() - sure + 1);
        self.files.journal.truncate(kept);
        self.files.manifest = self.durable.manifest;
    }

    /// What a process that begins finds: all that can be believed, and what was hashed again. It is in
    /// a journal anew.
    pub(crate) fn begin(&mut self) -> ChunkRanges {
        self.files.pieces.fill(None);
        let read = ArrivalJournal::read(&self.files.journal, ID, self.chunks).unwrap();
        let mut found = read.on_disk().clone();
        for chunk in found.iter().flat_map(|(first, end)| first..end) {
            assert_eq!(self.read(chunk), published(chunk), "chunk {chunk} is said to be on disk");
        }
        let doubtful: Vec<u32> = read.here().iter().flat_map(|(first, end)| first..end).collect();
        for chunk in doubtful {
            if self.read(chunk) == published(chunk) {
                found.insert(chunk, chunk + 1);
            }
        }
        if !self.files.manifest {
            found = ChunkRanges::default();
        }
        (self.journal, self.files.journal) = ArrivalJournal::anew(ID, self.chunks, &found);
        self.durable.journal.clone_from(&self.files.journal);
        found
    }
}
