//! What the journal reads, cuts and refuses.

mod common;

use common::*;
use orchestra_model::{
    FlowId, JobId, Millis, Timestamp,
    delivery::{EndBytes, OrderNumber, Refusal, Term},
    proof::{Attempted, Evidence, Mac, Proof},
    score::Interface,
};
use orchestra_spool::{
    BootId, CgroupPath, Entry, Plan, ProcessMark, Settlement, State, journal,
    journal::InvalidJournal,
};
use proptest::prelude::*;

const HEADER_BYTES: usize = 32;

/// A journal of several batches, and where each begins.
fn journal_of_batches() -> (Rig, Vec<usize>) {
    let mut rig = Rig::new(4);
    let base = journal::compacted(&State::new(rig.spool.state().id())).len();
    let mut starts = vec![HEADER_BYTES, base];
    for n in 1..=6 {
        starts.push(rig.disk.len());
        rig.feed([order(n, key(n)), order(n + 10, key(n + 10))]);
        starts.push(rig.disk.len());
        rig.feed([ended(key(n), "ok"), acknowledge(n, key(n)), ended(key(n + 10), "ok")]);
    }
    (rig, starts)
}

#[test]
fn every_prefix_replays_to_a_whole_number_of_batches() {
    let (rig, starts) = journal_of_batches();
    let base = starts[1];
    for len in base..=rig.disk.len() {
        let replayed = journal::replay(&rig.disk[..len]).unwrap();
        let whole = starts.iter().copied().filter(|start| *start <= len).max().unwrap();
        let valid = if len == rig.disk.len() { len } else { whole };
        assert_eq!((replayed.valid_len, replayed.torn), (valid as u64, valid < len));
        replayed.state.audit().unwrap();
    }
    for len in 0..base {
        assert!(
            journal::replay(&rig.disk[..len]).is_err(),
            "{len}: base and header are never torn"
        );
    }
}

#[test]
fn a_changed_byte_before_the_last_batch_is_damage() {
    let (rig, starts) = journal_of_batches();
    let last = *starts.last().unwrap();
    for at in HEADER_BYTES..last {
        let mut bytes = rig.disk.clone();
        bytes[at] ^= 0x40;
        let offset = starts.iter().copied().filter(|start| *start <= at).max().unwrap() as u64;
        assert_eq!(journal::replay(&bytes), Err(InvalidJournal::Damaged { offset }), "{at}");
    }
    for at in last..rig.disk.len() {
        let mut bytes = rig.disk.clone();
        bytes[at] ^= 0x40;
        let replayed = journal::replay(&bytes).unwrap();
        assert_eq!((replayed.valid_len, replayed.torn), (last as u64, true), "{at}");
    }
}

#[test]
fn a_batch_that_lost_its_first_pages_is_torn_as_a_whole() {
    let (mut rig, _) = journal_of_batches();
    let whole = rig.disk.len();
    rig.run(30, key(30));
    rig.disk.truncate(whole);
    let orders = (31..34).map(|n| order(n, key(n)));
    rig.take(orders);
    let frame = journal::frame(whole as u64, rig.spool.unwritten());
    rig.disk.extend(vec![0; frame.len() / 2]);
    rig.disk.extend(&frame[frame.len() / 2..]);
    let replayed = journal::replay(&rig.disk).unwrap();
    assert_eq!((replayed.valid_len, replayed.torn), (whole as u64, true));
}

#[test]
fn a_batch_is_not_read_from_the_wrong_place() {
    let (rig, starts) = journal_of_batches();
    let (second, third) = (starts[2], starts[3]);
    let mut bytes = rig.disk[..second].to_vec();
    bytes.extend(&rig.disk[third..]);
    let replayed = journal::replay(&bytes).unwrap();
    assert_eq!((replayed.valid_len, replayed.torn), (second as u64, true));
}

#[test]
fn a_file_that_is_something_else_is_told_apart() {
    assert_eq!(journal::replay(b""), Err(InvalidJournal::NotAJournal));
    assert_eq!(journal::replay(&[0; 100]), Err(InvalidJournal::NotAJournal));
    let mut bytes = Rig::new(1).disk;
    bytes[8] = 2;
    assert_eq!(journal::replay(&bytes), Err(InvalidJournal::Version(2)));
    bytes[8] = 1;
    bytes[12] ^= 1;
    assert_eq!(journal::replay(&bytes), Err(InvalidJournal::Damaged { offset: 0 }));
}

#[test]
fn an_entry_that_cannot_follow_is_refused() {
    let mut bytes = Rig::new(1).disk;
    let at = bytes.len() as u64;
    bytes.extend(journal::frame(at, &[Entry::Acknowledged { key: key(1) }]));
    let error = journal::replay(&bytes).unwrap_err();
    assert!(matches!(error, InvalidJournal::Contradiction { offset, .. } if offset == at));
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn a_journal_that_has_grown_is_compacted_to_an_equal_one() {
    let mut rig = Rig::new(4);
    let mut n = 0;
    while !journal::should_compact(rig.spool.state(), rig.disk.len() as u64) {
        n += 1;
        rig.feed([order(n, key(n))]);
        rig.feed([ended(key(n), &"x".repeat(10_000)), acknowledge(n, key(n))]);
    }
    rig.run(n + 1, key(n + 1));
    let fresh = journal::compacted(rig.spool.state());
    assert!(fresh.len() < 1_000 && rig.disk.len() > 1_000_000);
    assert_eq!(journal::replay(&fresh).unwrap().state, *rig.spool.state());
    assert!(!journal::should_compact(rig.spool.state(), fresh.len() as u64));
}

fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<char>(), 0..20).prop_map(String::from_iter)
}

fn refusal() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        Just(Refusal::UnknownScore),
        text().prop_map(Refusal::ScoreDisabled),
        text().prop_map(Refusal::Parameters),
        text().prop_map(Refusal::SpawnFailed),
        Just(Refusal::Busy),
        Just(Refusal::Cancelled),
        text().prop_map(Refusal::Spool),
        text().prop_map(Refusal::Limits),
        text().prop_map(Refusal::Bundle),
        text().prop_map(Refusal::Source),
        text().prop_map(Refusal::Policy),
        any::<u64>().prop_map(|seen| Refusal::StaleTerm { seen: Term(seen), evidence: None }),
        Just(Refusal::AlreadyAcknowledged),
        Just(Refusal::Stopping),
    ]
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let cgroup = proptest::option::of(Just(CgroupPath::new("a.service/b")));
    (any::<u64>(), any::<bool>(), any::<Option<u32>>(), any::<bool>(), cgroup).prop_map(
        |(timeout, pipe, concurrency, exclusive, cgroup)| Plan {
            timeout: Millis(timeout),
            interface: if pipe { Interface::Pipe } else { Interface::Env },
            concurrency,
            exclusive,
            cgroup: cgroup.flatten(),
            ..plan("install-package")
        },
    )
}

fn any_proof() -> impl Strategy<Value = Proof> {
    any::<(u64, [u8; 16])>().prop_map(|(term, mac)| Proof { term: Term(term), mac: Mac(mac) })
}

fn any_evidence() -> impl Strategy<Value = Evidence> {
    let attempted = any::<(u64, u16, u16)>().prop_map(|(flow, slot, job)| Attempted {
        job: JobId { flow: FlowId(flow), slot, job },
        attempt: u32::from(slot) + 1,
    });
    let attempted = proptest::option::of(attempted);
    (any::<u64>(), attempted, any_proof()).prop_map(|(order, attempt, proof)| Evidence {
        order: OrderNumber(order),
        attempt,
        proof,
    })
}

fn any_process() -> impl Strategy<Value = ProcessMark> {
    any::<(u32, u64, [u8; 16], u64, u64)>().prop_map(|(pid, start_ticks, boot, at, boot_ms)| {
        let (boot, started_at) = (BootId(boot), Timestamp(at));
        ProcessMark { pid, start_ticks, boot, started_at, boot_ms }
    })
}

/// How far one attempt has come.
type Course = ((Plan, Option<Proof>), Option<ProcessMark>, bool, Option<Result<EndBytes, Refusal>>);

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_state_reads_as_it_was_written(
        courses in proptest::collection::vec(
            (
                (any_plan(), proptest::option::of(any_proof())),
                proptest::option::of(any_process()),
                any::<bool>(),
                proptest::option::of(prop_oneof![
                    any::<Vec<u8>>().prop_map(|bytes| Ok(EndBytes::new(bytes).unwrap())),
                    refusal().prop_map(Err),
                ]),
            ),
            0..8,
        ),
        ahead in proptest::collection::btree_set(1_000u64.., 0..4),
        term in any::<u64>(),
        evidence in proptest::option::of(any_evidence()),
    ) {
        let mut entries = vec![Entry::Mark { store: STORE, mark: OrderNumber(999) }];
        entries.extend((term > TERM.0).then_some(Entry::Term { store: STORE, term: Term(term) }));
        entries.extend(evidence.map(|evidence| Entry::Evidence { store: STORE, evidence }));
        let ahead = ahead.into_iter().map(OrderNumber);
        entries.extend(ahead.map(|order| Entry::CancelledAhead { store: STORE, order }));
        for (n, course) in (1..).zip(courses) {
            push_course(&mut entries, n, course);
        }
        let mut bytes = Rig::new(1).disk;
        let frame = journal::frame(bytes.len() as u64, &entries);
        bytes.extend(frame);
        let replayed = journal::replay(&bytes).unwrap();
        prop_assert!(!replayed.torn);
        replayed.state.audit().unwrap();
        let again = journal::replay(&journal::compacted(&replayed.state)).unwrap();
        prop_assert_eq!(again.state, replayed.state);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in any::<Vec<u8>>(), kept in 0usize..400) {
        let _ = journal::replay(&bytes);
        let (mut rig, _) = journal_of_batches();
        rig.disk.truncate(kept);
        rig.disk.extend(bytes);
        let _ = journal::replay(&rig.disk);
    }
}

fn push_course(
    entries: &mut Vec<Entry>,
    n: u64,
    ((plan, proof), process, cancelling, end): Course,
) {
    let (key, order) = (key(n), OrderNumber(n));
    entries.push(Entry::Starting { key, order, proof, plan });
    entries.extend(process.map(|process| Entry::Started { key, process }));
    entries.extend(cancelling.then_some(Entry::Cancelling { key }));
    let settlement = end.map(|end| match end {
        Ok(end) => Settlement::Ended(end),
        Err(refusal) => Settlement::Refused(refusal),
    });
    entries.extend(settlement.map(|settlement| Entry::Settled { key, order, proof, settlement }));
}
