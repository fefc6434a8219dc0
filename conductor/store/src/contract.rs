//! What every store must do, whatever it is made of: [`check`] runs all of it against one.
//!
//! For the tests of this crate, and of any that brings another store (feature `contract`).

#![expect(clippy::unwrap_used, reason = "a suite of tests, which fails by panicking")]

mod pruning;
mod records;
mod services;

use std::{collections::BTreeSet, slice};

use orchestra_model::{
    FlowId, FlowState, HostSet, JobState, Millis, Params, TaskState, Timestamp,
    audit::{Asker, AuditEntry, AuditMark, AuditRecord, Deed, Happening, Object, Verb},
    delivery::{OrderNumber, ProofKeyId, Term},
    names::{DeploymentName, FlowName, ParamKey, ServiceName},
    policy::Right,
    proof::Mac,
    record::{
        DeploymentInForce, Drain, EndRecord, FlowRecord, HoldRecord, Impact, InForce, JobRecord,
        ListEdition, Op, ParamsRecord, PlayerRecord, Record, Recovered, TaskRecord,
    },
    status::Counts,
    thresholds::Thresholds,
    tree::Parent,
};

pub use self::records::{
    end_record, flow_record, hold_record, host, job, job_record, params_record, player_record,
    small_flow, task_record,
};
use self::{
    pruning::{
        a_pruned_flow_is_gone_and_nothing_else, a_start_sweeps_what_was_pruned_before,
        a_submission_cut_short_is_dropped, sweeping_ends_and_is_bounded,
    },
    records::{hosts_chunk, spec_chunk},
    services::brakes_are_kept,
    services::bundles_are_kept_until_they_are_forgotten,
    services::services_are_kept_with_their_versions_and_placements,
};
use crate::{ATOMIC_OPS, CommitError, Reader, Store};

/// A place where one store lies, at first an empty one.
pub trait Place {
    /// Opens the store, after the one opened before was dropped.
    fn open(&self) -> Box<dyn Store>;

    /// Raises the stored term as another opener would, behind the back of an open store.
    fn take_over(&self);
}

/// A proof key that tests record.
const PROOF_KEY: ProofKeyId = ProofKeyId([7; 16]);

/// Runs every check, each on a fresh place.
pub fn check<P: Place>(fresh: impl Fn() -> P) {
    for one in [
        a_new_store_is_empty,
        every_record_reads_as_it_was_written,
        a_put_replaces,
        tasks_come_in_pages_by_index,
        flows_are_listed_newest_first,
        ended_flows_are_found_by_their_ends,
        requests_find_their_flow,
        erased_params_are_gone_and_nothing_else,
        holds_end_when_they_are_released_and_not_before,
        audit_lines_are_kept_until_they_are_pruned_and_numbers_go_on,
        brakes_are_kept,
        bundles_are_kept_until_they_are_forgotten,
        services_are_kept_with_their_versions_and_placements,
        a_pruned_flow_is_gone_and_nothing_else,
        sweeping_ends_and_is_bounded,
        a_start_sweeps_what_was_pruned_before,
        a_reader_sees_one_moment,
        everything_survives_reopening,
        the_term_only_rises,
        the_proof_key_is_remembered,
        a_long_batch_is_committed_whole,
        a_submission_cut_short_is_dropped,
        a_missing_piece_is_an_error,
    ] {
        one(&fresh());
    }
    a_writer_that_was_taken_over_is_fenced(&fresh());
}

fn put(store: &mut dyn Store, records: impl IntoIterator<Item = Record>) {
    let batch: Vec<Op> = records.into_iter().map(Op::Put).collect();
    store.commit(&batch).unwrap();
}

/// Everything about a flow, to be compared.
fn all_of(reader: &dyn Reader, flow: u64) -> impl PartialEq + use<> {
    let id = FlowId(flow);
    let jobs = reader.jobs(id).unwrap();
    let parts: Vec<_> = (jobs.iter())
        .map(|job| {
            let tasks = reader.tasks(job.id, None, usize::MAX).unwrap();
            let ends = tasks.iter().map(|task| reader.ends(job.id, &task.host).unwrap());
            let ends: Vec<_> = ends.collect();
            let hosts = (reader.targets(job.id).unwrap(), reader.tree(job.id).unwrap());
            (hosts, reader.params(job.id).unwrap(), tasks, ends)
        })
        .collect();
    (reader.flow(id).unwrap(), reader.spec(id).unwrap(), jobs, parts)
}

/// Two deployments and `groups` groups.
fn in_force(groups: u32) -> InForce {
    let deployment = |(name, cells)| {
        let file = format!("deployments.d/{name} and more.yaml").into();
        (DeploymentName::new(name).unwrap(), DeploymentInForce { file, cells })
    };
    InForce {
        deployments: [("db", 0), ("web", 4)].map(deployment).into(),
        groups,
        revokes: groups > 0,
        lists: [Some(vec![1, 0].into()), None]
            .map(|number| ListEdition {
                ca: "CN=our CA".into(),
                key: vec![4, 2].into(),
                number,
                made: Timestamp(7_000),
            })
            .into(),
        words: [("@prod", "db[1-9],fe1"), ("@tier=1", "fe[1-2].east")]
            .map(|(word, hosts)| (word.into(), HostSet::parse_plain(hosts).unwrap()))
            .into(),
        files: [("players", "5f"), ("policy.toml", "e3")]
            .map(|(name, digest)| (name.into(), digest.into()))
            .into(),
    }
}

fn a_new_store_is_empty(place: &dyn Place) {
    let store = place.open();
    assert_eq!(store.identity().term, Term(1));
    let reader = store.reader().unwrap();
    assert_eq!(reader.next_flow().unwrap(), FlowId(1));
    assert_eq!(reader.recovered().unwrap(), Recovered::default());
    assert_eq!(reader.in_force().unwrap(), InForce::default());
    assert_eq!(reader.players().unwrap(), []);
    assert_eq!(reader.holds().unwrap(), []);
    assert_eq!(reader.audit_head().unwrap(), AuditMark::default());
    assert_eq!(reader.audit_base().unwrap(), AuditMark::default());
    assert_eq!(reader.audit(9, None).unwrap(), []);
    assert_eq!(reader.live_flows().unwrap(), []);
    assert_eq!(reader.flows(10, None, false).unwrap(), []);
    assert_eq!(reader.requests().unwrap(), []);
    assert_eq!(reader.flow(FlowId(1)).unwrap(), None);
    assert_eq!(reader.spec(FlowId(1)).unwrap(), None);
    assert_eq!(reader.jobs(FlowId(1)).unwrap(), []);
    assert_eq!(reader.targets(job(1, 1, 1)).unwrap(), None);
    assert_eq!(reader.params(job(1, 1, 1)).unwrap(), None);
    assert_eq!(reader.tasks(job(1, 1, 1), None, 10).unwrap(), []);
}

fn every_record_reads_as_it_was_written(place: &dyn Place) {
    let mut store = place.open();
    let id = job(42, 3, 7);
    let flow = FlowRecord {
        name: Some(FlowName::new("deploy-42").unwrap()),
        state: FlowState::Cancelled,
        ended_at: Some(Timestamp(u64::from(u32::MAX) * 1_000)),
        cancelled_by: Some(Asker::from_word("bob.example.com").unwrap()),
        cancel_reason: Some("wrong version".into()),
        paused_by: Some(Asker::from_word("carol").unwrap()),
        retry_of: Some(FlowId(41)),
        predecessor: Some(FlowState::Failed),
        request_mac: Some(Mac([9; 16])),
        ..flow_record(42)
    };
    let mut counts = Counts::default();
    for (n, state) in (1..).zip(TaskState::ALL) {
        counts.set(*state, n);
    }
    let job = JobRecord {
        state: JobState::Partial,
        ended_at: Some(Timestamp(5)),
        untouched: TaskState::Skipped,
        counts,
        param_keys: ["a", "B_2"].map(|key| ParamKey::new(key).unwrap()).to_vec(),
        canary_ok_at: Some(Timestamp(4)),
        promoted_by: Some(Asker::from_word("carol").unwrap()),
        change: u64::MAX,
        kept_params: std::sync::Arc::new(params_record(id, "kept").params),
        thresholds: Some(Box::new(Thresholds {
            window: 50,
            needed: 80,
            tolerated: 20,
            quorum: 0,
            canary: 2,
        })),
        ..job_record(id)
    };
    let task = TaskRecord {
        state: TaskState::TimedOut,
        attempt: u32::MAX,
        retries: 3,
        order: OrderNumber(1 << 60),
        started_at: Some(Timestamp(0)),
        ended_at: Some(Timestamp(1)),
        impact: Impact::Unthrottled,
        before: Some(TaskState::Lost),
        exit: Some(-1),
        signal: Some(9),
        detail: Some("the spool said: \"weg\", ünd so fort\n\0".into()),
        time_limit: Some(Millis::seconds(u32::MAX.into())),
        change: u64::MAX - 1,
        parent: Some(Parent::Nobody),
        ..task_record(id, u32::MAX)
    };
    let bytes: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let end = EndRecord { late: true, ..end_record(id, u32::MAX, 2, &bytes) };
    let player = PlayerRecord {
        spool: None,
        detached_at: Some(Timestamp(77)),
        removed: true,
        drained: Some(Drain {
            by: Asker::from_word("carol").unwrap(),
            reason: "new disks,\nchange \"4711\"".into(),
            since: Timestamp(76),
        }),
        ..player_record(1)
    };
    let hold = HoldRecord { state: TaskState::Lost, ..hold_record(1, id) };
    let pairs = [("a", ""), ("B_2", "x=y\n"), ("long", &"v".repeat(30_000))];
    let params = ParamsRecord { job: id, params: Params::from_pairs(pairs).unwrap() };
    put(
        &mut *store,
        [
            Record::NextFlow(FlowId::MAX),
            Record::Recovered(Recovered { term: Term(9), half_known: FlowId(7) }),
            Record::InForce(in_force(7)),
            Record::Spec(spec_chunk(42, 0, &bytes)),
            Record::Spec(spec_chunk(42, 1, &[])),
            Record::Spec(spec_chunk(42, 2, &bytes)),
            Record::Targets(hosts_chunk(id, 0, "fe[1-6]")),
            Record::Targets(hosts_chunk(id, 1, ",db1")),
            Record::Tree(hosts_chunk(id, 0, "b1\n")),
            Record::Tree(hosts_chunk(id, 1, "\nfe[1-6],b1\n")),
            Record::Params(params.clone()),
            Record::Job(job.clone()),
            Record::Flow(flow.clone()),
            Record::Task(task.clone()),
            Record::End(end.clone()),
            Record::Player(player.clone()),
            Record::Hold(hold.clone()),
        ],
    );
    let reader = store.reader().unwrap();
    assert_eq!(reader.next_flow().unwrap(), FlowId::MAX);
    assert_eq!(reader.recovered().unwrap(), Recovered { term: Term(9), half_known: FlowId(7) });
    assert_eq!(reader.in_force().unwrap(), in_force(7));
    assert_eq!(reader.spec(FlowId(42)).unwrap(), Some([&bytes[..], &bytes[..]].concat()));
    assert_eq!(reader.targets(id).unwrap().as_deref(), Some("fe[1-6],db1"));
    assert_eq!(reader.tree(id).unwrap().as_deref(), Some("b1\n\nfe[1-6],b1\n"));
    assert_eq!(reader.params(id).unwrap(), Some(params.params));
    assert_eq!(reader.job(id).unwrap(), Some(job.clone()));
    assert_eq!(reader.job(orchestra_model::JobId { job: 77, ..id }).unwrap(), None);
    assert_eq!(reader.jobs(FlowId(42)).unwrap(), [job]);
    assert_eq!(reader.flow(FlowId(42)).unwrap(), Some(flow));
    assert_eq!(reader.tasks(id, None, 10).unwrap(), slice::from_ref(&task));
    assert_eq!(reader.task_by_host(id, &task.host).unwrap(), Some(task.clone()));
    assert_eq!(reader.end(id, &task.host, 2).unwrap(), Some(end.clone()));
    assert_eq!(reader.ends(id, &task.host).unwrap(), [end]);
    assert_eq!(reader.players().unwrap(), [player]);
    assert_eq!(reader.holds().unwrap(), [hold]);
}

fn a_put_replaces(place: &dyn Place) {
    let mut store = place.open();
    let id = job(1, 1, 1);
    store.commit(&small_flow(1)).unwrap();
    let ended = FlowRecord { state: FlowState::Ok, ..flow_record(1) };
    // As a one-of job does that moves to another player.
    let parent = Some(Parent::Host(host(3)));
    let moved = TaskRecord { host: host(50), attempt: 2, parent, ..task_record(id, 0) };
    let late = EndRecord { late: true, ..end_record(id, 1, 1, b"later") };
    put(
        &mut *store,
        [
            Record::Flow(ended.clone()),
            Record::Task(moved.clone()),
            Record::End(late),
            Record::Params(params_record(id, "other")),
            Record::Targets(hosts_chunk(id, 0, "db50")),
        ],
    );
    let reader = store.reader().unwrap();
    assert_eq!(reader.flow(FlowId(1)).unwrap(), Some(ended));
    assert_eq!(reader.live_flows().unwrap(), []);
    assert_eq!(reader.tasks(id, None, 1).unwrap(), slice::from_ref(&moved));
    assert_eq!(reader.task_by_host(id, &host(0)).unwrap(), None);
    assert_eq!(reader.task_by_host(id, &host(50)).unwrap(), Some(moved));
    // An attempt ends once: what a player repeats changes nothing.
    assert_eq!(reader.ends(id, &host(1)).unwrap(), [end_record(id, 1, 1, b"end")]);
    assert_eq!(reader.params(id).unwrap(), Some(params_record(id, "other").params));
    assert_eq!(reader.targets(id).unwrap().as_deref(), Some("db50"));
}

fn tasks_come_in_pages_by_index(place: &dyn Place) {
    let mut store = place.open();
    let (id, other) = (job(1, 1, 1), job(1, 1, 2));
    // Enough for several pages of `each_task`, written out of order, with a neighbour.
    let indices = (0..2_500).map(|n| (n * 7) % 2_503).chain([u32::MAX]);
    let expected: BTreeSet<u32> = indices.clone().collect();
    put(&mut *store, [Record::Flow(flow_record(1)), Record::Task(task_record(other, 3))]);
    put(&mut *store, indices.map(|index| Record::Task(task_record(id, index))));
    let reader = store.reader().unwrap();
    let first = reader.tasks(id, None, 3).unwrap();
    assert_eq!(first, [0, 1, 2].map(|index| task_record(id, index)));
    let next = reader.tasks(id, Some(2), 2).unwrap();
    assert_eq!(next, [3, 4].map(|index| task_record(id, index)));
    assert_eq!(reader.tasks(id, Some(u32::MAX), 2).unwrap(), []);
    assert_eq!(reader.tasks(id, None, 0).unwrap(), []);
    let mut seen = Vec::new();
    reader.each_task(id, &mut |task| seen.push(task.index)).unwrap();
    assert!(seen.iter().eq(&expected), "{} tasks, {} expected", seen.len(), expected.len());
}

fn flows_are_listed_newest_first(place: &dyn Place) {
    let mut store = place.open();
    let ended = |id| FlowRecord { state: FlowState::Failed, ..flow_record(id) };
    let flows = [flow_record(1), ended(2), flow_record(3), ended(4), flow_record(5)];
    put(&mut *store, flows.map(Record::Flow));
    let reader = store.reader().unwrap();
    let ids = |limit, before: Option<u64>, only_alive| -> Vec<u64> {
        let flows = reader.flows(limit, before.map(FlowId), only_alive).unwrap();
        flows.iter().map(|flow| flow.id.0).collect()
    };
    assert_eq!(ids(10, None, false), [5, 4, 3, 2, 1]);
    assert_eq!(ids(2, None, false), [5, 4]);
    assert_eq!(ids(2, Some(4), false), [3, 2]);
    assert_eq!(ids(2, None, true), [5, 3]);
    assert_eq!(ids(2, Some(3), true), [1]);
    assert_eq!(ids(2, Some(1), false), [0; 0]);
    let alive: Vec<u64> = reader.live_flows().unwrap().iter().map(|flow| flow.id.0).collect();
    assert_eq!(alive, [1, 3, 5]);
}

fn ended_flows_are_found_by_their_ends(place: &dyn Place) {
    let mut store = place.open();
    let ended = |id, at| FlowRecord {
        state: FlowState::Failed,
        ended_at: Some(Timestamp(at)),
        ..flow_record(id)
    };
    let flows = [ended(1, 50), flow_record(2), ended(3, 20), ended(4, 50), ended(5, 30)];
    put(&mut *store, flows.map(Record::Flow));
    let reader = store.reader().unwrap();
    let ids = |flows: Vec<FlowId>| flows.into_iter().map(|flow| flow.0).collect::<Vec<_>>();
    let by = |moment, limit| ids(reader.ended_by(Timestamp(moment), limit).unwrap());
    assert_eq!(by(19, 9), [0; 0]);
    assert_eq!(by(30, 9), [3, 5]);
    assert_eq!(by(u64::MAX, 9), [3, 5, 1, 4]);
    assert_eq!(by(50, 3), [3, 5, 1]);
    let without = |kept, limit| ids(reader.ended_before_the_last(kept, limit).unwrap());
    assert_eq!(without(0, 9), [4, 1, 5, 3]);
    assert_eq!(without(1, 2), [1, 5]);
    assert_eq!(without(4, 9), [0; 0]);
    assert_eq!(without(usize::MAX, 9), [0; 0]);
}

fn requests_find_their_flow(place: &dyn Place) {
    let mut store = place.open();
    let bob = Asker::from_word("bob").unwrap();
    let of_bob = FlowRecord { audience: bob.clone(), ..flow_record(2) };
    put(&mut *store, [flow_record(1), of_bob, flow_record(3)].map(Record::Flow));
    let reader = store.reader().unwrap();
    let alice = flow_record(1).audience;
    let request = |id| flow_record(id).request;
    assert_eq!(reader.request(&alice, request(1)).unwrap(), Some(FlowId(1)));
    assert_eq!(reader.request(&bob, request(1)).unwrap(), None);
    assert_eq!(reader.request(&bob, request(2)).unwrap(), Some(FlowId(2)));
    assert_eq!(reader.newest_of(&alice).unwrap(), Some(FlowId(3)));
    assert_eq!(reader.newest_of(&bob).unwrap(), Some(FlowId(2)));
    assert_eq!(reader.newest_of(&Asker::from_word("carol").unwrap()).unwrap(), None);
    let expected = [
        (alice.clone(), request(1), FlowId(1), flow_record(1).state),
        (bob, request(2), FlowId(2), flow_record(2).state),
        (alice, request(3), FlowId(3), flow_record(3).state),
    ];
    assert_eq!(reader.requests().unwrap(), expected);
}

fn erased_params_are_gone_and_nothing_else(place: &dyn Place) {
    let mut store = place.open();
    store.commit(&small_flow(1)).unwrap();
    let (erased, kept) = (job(1, 1, 1), job(1, 2, 1));
    // Erasing what is not there is fine: batches are tried again.
    store.commit(&[Op::EraseParams(erased), Op::EraseParams(erased)]).unwrap();
    let reader = store.reader().unwrap();
    assert_eq!(reader.params(erased).unwrap(), None);
    assert_eq!(reader.params(kept).unwrap(), Some(params_record(kept, "secret").params));
    assert_eq!(reader.jobs(FlowId(1)).unwrap().len(), 2);
}

fn holds_end_when_they_are_released_and_not_before(place: &dyn Place) {
    let mut store = place.open();
    let (old, new) = (job(1, 1, 1), job(2, 1, 1));
    store.commit(&small_flow(1)).unwrap();
    // By name, not in the order of writing; the second of a host replaces the first.
    put(&mut *store, [3, 1, 2].map(|n| Record::Hold(hold_record(n, old))));
    put(&mut *store, [Record::Hold(hold_record(2, new))]);
    // Releasing who holds nothing is fine: batches are tried again.
    store.commit(&[3, 3, 9].map(|n| Op::Release(host(n)))).unwrap();
    // Its flow goes, the host stays down.
    store.commit(&[Op::PruneFlow(FlowId(1))]).unwrap();
    drop(store);
    let reader = place.open().reader().unwrap();
    assert_eq!(reader.holds().unwrap(), [hold_record(1, old), hold_record(2, new)]);
}

/// A line of each kind, the last one with everything that a line can have.
fn audit_lines() -> [AuditRecord; 7] {
    let alice = || Asker::from_word("alice").unwrap();
    let line = |number: u8, by, deed, on| AuditRecord {
        number: number.into(),
        at: Timestamp(1_000 + u64::from(number)),
        entry: AuditEntry::new(by, deed, on, "done"),
        link: (number > 1).then_some(Mac([number; 16])),
    };
    let denied = Deed::Denied(Right::ReadOutput);
    let refused = Deed::Happened(Happening::CertificateRefused);
    let configured = Deed::Happened(Happening::Configured);
    let service = ServiceName::new("web").unwrap();
    let mut lines = [
        line(1, alice(), Deed::Done(Verb::Submit), Object::Flow(FlowId(7))),
        line(2, alice(), Deed::Done(Verb::Drain), Object::Hosts("db[1-3]".into())),
        line(3, Asker::Local, Deed::Failed(Verb::Reload), Object::Conductor),
        line(4, Asker::Stranger, refused, Object::Peer("10.0.0.7".into())),
        line(5, Asker::Local, configured, Object::File("policy.toml".into())),
        line(6, Asker::Keeper, Deed::Happened(Happening::AuditPruned), Object::Lines(9)),
        line(7, alice(), denied, Object::Service(service)),
    ];
    lines[1].entry.reason = Some("new disk, \u{e4}".into());
    lines[2].entry.reason = Some("".into());
    lines[6].entry.rule = Some("web".into());
    lines[6].entry.times = 4;
    lines
}

fn audit_lines_are_kept_until_they_are_pruned_and_numbers_go_on(place: &dyn Place) {
    let mut store = place.open();
    let lines = audit_lines();
    put(&mut *store, lines.clone().map(Record::Audit));
    drop(store);
    let mut store = place.open();
    let reader = store.reader().unwrap();
    let newest: Vec<_> = lines.iter().rev().cloned().collect();
    assert_eq!(reader.audit(9, None).unwrap(), newest);
    assert_eq!(reader.audit(2, Some(4)).unwrap(), newest[4..6]);
    assert_eq!(reader.audit_after(0, 9).unwrap(), lines);
    assert_eq!(reader.audit_after(2, 3).unwrap(), lines[2..5]);
    assert_eq!(reader.audit_after(u64::MAX, 3).unwrap(), []);
    assert_eq!(reader.audit_head().unwrap(), lines[6].mark());
    assert_eq!(reader.audit_base().unwrap(), AuditMark::default());
    let oldest = [(1, Timestamp(1_001)), (2, Timestamp(1_002))];
    assert_eq!(reader.oldest_audit(2).unwrap(), oldest);
    drop(reader);
    store.commit(&[Op::PruneAudit(3)]).unwrap();
    let reader = store.reader().unwrap();
    assert_eq!(reader.audit(9, None).unwrap(), newest[..5]);
    // What is kept goes on from the last line that is not.
    assert_eq!(reader.audit_base().unwrap(), lines[1].mark());
    drop(reader);
    // There is nothing below that any more, so what is known of it stays.
    store.commit(&[Op::PruneAudit(3)]).unwrap();
    assert_eq!(store.reader().unwrap().audit_base().unwrap(), lines[1].mark());
    store.commit(&[Op::PruneAudit(99)]).unwrap();
    drop(store);
    let reader = place.open().reader().unwrap();
    assert_eq!(reader.audit(9, None).unwrap(), []);
    assert_eq!(reader.audit_head().unwrap(), lines[6].mark());
    assert_eq!(reader.audit_base().unwrap(), lines[6].mark());
}

fn a_reader_sees_one_moment(place: &dyn Place) {
    let mut store = place.open();
    store.commit(&small_flow(1)).unwrap();
    let readers = store.readers();
    let older = readers.open().unwrap();
    store.commit(&small_flow(2)).unwrap();
    store.commit(&[Op::PruneFlow(FlowId(1))]).unwrap();
    let newer = readers.open().unwrap();
    assert_eq!(older.requests().unwrap().len(), 1);
    assert!(older.flow(FlowId(1)).unwrap().is_some());
    assert_eq!(older.tasks(job(1, 1, 1), None, 10).unwrap().len(), 2);
    assert!(newer.flow(FlowId(1)).unwrap().is_none());
    assert!(newer.flow(FlowId(2)).unwrap().is_some());
    drop(older);
    // What was used before sees the present when it is used again.
    let again = readers.open().unwrap();
    assert!(again.flow(FlowId(1)).unwrap().is_none());
    drop((newer, again));
    assert!(store.tidy().unwrap());
}

fn everything_survives_reopening(place: &dyn Place) {
    let mut store = place.open();
    let id = store.identity().store;
    store.commit(&small_flow(1)).unwrap();
    let recovered = Recovered { term: Term(1), half_known: FlowId(2) };
    let records = [Record::Player(player_record(4)), Record::Recovered(recovered)];
    put(&mut *store, records.into_iter().chain([1, 2].map(|n| Record::InForce(in_force(n)))));
    let before = store.reader().unwrap();
    let written = all_of(&*before, 1);
    drop(before);
    drop(store);
    let store = place.open();
    assert_eq!(store.identity().store, id);
    let reader = store.reader().unwrap();
    assert!(all_of(&*reader, 1) == written);
    assert_eq!(reader.players().unwrap(), [player_record(4)]);
    assert_eq!(reader.next_flow().unwrap(), FlowId(2));
    assert_eq!(reader.recovered().unwrap(), recovered);
    assert_eq!(reader.in_force().unwrap(), in_force(2));
}

fn the_term_only_rises(place: &dyn Place) {
    let mut store = place.open();
    assert_eq!(store.raise_term(Term(0), PROOF_KEY).unwrap(), Term(2));
    assert_eq!(store.raise_term(Term(7), PROOF_KEY).unwrap(), Term(8));
    let unreachable = Term(u64::MAX);
    assert_eq!(store.raise_term(unreachable, PROOF_KEY).unwrap(), Term(9), "nobody has seen that");
    assert_eq!(store.identity().term, Term(9));
    store.commit(&small_flow(1)).unwrap();
    drop(store);
    assert_eq!(place.open().identity().term, Term(10));
}

fn the_proof_key_is_remembered(place: &dyn Place) {
    let mut store = place.open();
    assert_eq!(store.proof_key().unwrap(), None, "nobody has made one");
    store.set_proof_key(PROOF_KEY).unwrap();
    assert_eq!(store.proof_key().unwrap(), Some(PROOF_KEY));
    drop(store);
    let mut store = place.open();
    assert_eq!(store.proof_key().unwrap(), Some(PROOF_KEY));
    let next = ProofKeyId([8; 16]);
    store.raise_term(Term(0), next).unwrap();
    assert_eq!(store.proof_key().unwrap(), Some(next));
    drop(store);
    assert_eq!(place.open().proof_key().unwrap(), Some(next));
}

fn a_long_batch_is_committed_whole(place: &dyn Place) {
    let mut store = place.open();
    let id = job(1, 1, 1);
    let long = u32::try_from(ATOMIC_OPS).unwrap() * 3;
    let tasks = (0..long).map(|index| Record::Task(task_record(id, index)));
    put(&mut *store, tasks.chain([Record::Flow(flow_record(1))]));
    drop(store);
    let reader = place.open().reader().unwrap();
    assert_eq!(reader.tasks(id, None, usize::MAX).unwrap().len(), ATOMIC_OPS * 3);
}

fn a_missing_piece_is_an_error(place: &dyn Place) {
    let mut store = place.open();
    put(&mut *store, [0, 2].map(|index| Record::Spec(spec_chunk(1, index, b"piece"))));
    let error = store.reader().unwrap().spec(FlowId(1)).unwrap_err();
    assert_eq!(error.to_string(), "record 1 in spec of the store is corrupt: piece 1 is missing");
}

fn a_writer_that_was_taken_over_is_fenced(place: &dyn Place) {
    let mut store = place.open();
    store.commit(&small_flow(1)).unwrap();
    place.take_over();
    for _ in 0..2 {
        let error = store.commit(&small_flow(2)).unwrap_err();
        assert!(matches!(error, CommitError::Fenced { ours: Term(1), stored: Term(2) }), "{error}");
        assert!(!error.is_retryable());
    }
    assert!(store.raise_term(Term(0), PROOF_KEY).is_err());
    assert!(store.set_proof_key(PROOF_KEY).is_err());
    assert_eq!(store.proof_key().unwrap(), None);
    assert_eq!(store.reader().unwrap().flow(FlowId(2)).unwrap(), None);
}
