//! Journals of arriving bundles, whole and damaged.

use orchestra_model::bundle::{ArrivalJournal, ArrivalRecord, BundleId, ChunkRanges};
use proptest::prelude::*;

const ID: BundleId = BundleId([7; 32]);
const CHUNKS: u32 = 100;

/// A journal with these records, and its bytes.
fn written(records: &[ArrivalRecord]) -> (ArrivalJournal, Vec<u8>) {
    let (mut journal, mut bytes) = ArrivalJournal::anew(ID, CHUNKS, &ChunkRanges::default());
    records.iter().for_each(|record| bytes.extend(journal.append(*record)));
    (journal, bytes)
}

fn here(first: u32, end: u32) -> ArrivalRecord {
    ArrivalRecord::Here { first, end }
}

#[test]
fn what_was_appended_is_read_at_once_or_bit_by_bit() {
    let records = [here(0, 1), here(5, 9), ArrivalRecord::OnDisk { records: 1 }, here(1, 2)];
    let (journal, bytes) = written(&records);
    assert_eq!(journal.here().iter().collect::<Vec<_>>(), [(0, 2), (5, 9)]);
    assert_eq!(journal.on_disk(), &ChunkRanges::below(1));
    assert_eq!(ArrivalJournal::read(&bytes, ID, CHUNKS), Some(journal.clone()));

    let header = written(&[]).1.len();
    let mut follower = ArrivalJournal::read(&bytes[..header], ID, CHUNKS).unwrap();
    for len in header..=bytes.len() {
        follower.follow(&bytes[follower.valid_len() as usize..len]);
    }
    assert_eq!(follower, journal);
}

#[test]
fn a_journal_that_is_written_anew_says_what_was_found_and_not_that_it_is_on_disk() {
    let mut found = ChunkRanges::below(3);
    found.insert(50, 60);
    let (journal, bytes) = ArrivalJournal::anew(ID, CHUNKS, &found);
    assert_eq!(ArrivalJournal::read(&bytes, ID, CHUNKS), Some(journal.clone()));
    assert_eq!(journal.here(), &found);
    assert!(journal.on_disk().is_empty());
}

#[test]
fn a_journal_of_another_bundle_says_nothing() {
    let (_, bytes) = written(&[here(0, 1)]);
    assert_eq!(ArrivalJournal::read(&bytes, BundleId([8; 32]), CHUNKS), None);
    assert_eq!(ArrivalJournal::read(&bytes, ID, CHUNKS + 1), None);
    assert_eq!(ArrivalJournal::read(&bytes[..20], ID, CHUNKS), None);
}

#[test]
fn a_record_that_cannot_be_ends_the_journal() {
    // Spelled by a journal of more chunks, and of more records.
    let (mut roomy, _) = ArrivalJournal::anew(ID, 200, &ChunkRanges::default());
    let first = roomy.append(here(3, 4));
    let beyond_the_end = roomy.clone().append(here(99, 101));
    let (mut journal, _) = written(&[]);
    journal.follow(&first);
    let before = journal.clone();
    journal.follow(&beyond_the_end);
    assert_eq!(journal, before);

    let mut longer = roomy.clone();
    let second = longer.append(here(4, 5));
    let covers_two = longer.append(ArrivalRecord::OnDisk { records: 2 });
    journal.follow(&covers_two);
    assert_eq!(journal, before, "it does not stand where it was written");
    journal.follow(&[second, covers_two].concat());
    assert_eq!(journal.on_disk().iter().collect::<Vec<_>>(), [(3, 5)]);
}

proptest! {
    /// Whatever happens to its bytes, nothing is told to be there that was not.
    #[test]
    fn damage_costs_what_it_hit_and_what_follows(
        ranges in prop::collection::vec((0_u32..90, 1_u32..9), 1..20),
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
        cut in any::<prop::sample::Index>(),
    ) {
        let records: Vec<_> = ranges.iter().map(|(first, len)| here(*first, first + len)).collect();
        let (journal, bytes) = written(&records);
        let mut damaged = bytes.clone();
        damaged[at.index(bytes.len())] ^= 1 << bit;
        damaged.truncate(cut.index(bytes.len()) + 1);
        if let Some(read) = ArrivalJournal::read(&damaged, ID, CHUNKS) {
            let all = read.here().iter().flat_map(|(first, end)| first..end);
            prop_assert!(all.into_iter().all(|number| journal.here().contains(number)));
            prop_assert!(read.valid_len() <= damaged.len() as u64);
        }
    }
}
