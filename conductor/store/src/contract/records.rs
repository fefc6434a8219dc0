//! Records to fill a store with: small, whole, and told apart by their numbers.

use orchestra_model::{
    Asker, FlowId, FlowState, HostName, JobId, JobName, JobState, Params, ScoreName, TaskState,
    Timestamp,
    delivery::{EndBytes, OrderNumber, RequestId, SpoolId},
    names::ParamKey,
    record::{
        EndRecord, FlowRecord, HoldRecord, HostsChunk, Impact, JobRecord, Op, ParamsRecord,
        PlayerRecord, Record, SpecChunk, TaskRecord,
    },
    status::Counts,
};

/// A job of a flow.
pub fn job(flow: u64, slot: u16, job: u16) -> JobId {
    JobId { flow: FlowId(flow), slot, job }
}

/// A running flow of `alice`, whose request id is made of its number.
pub fn flow_record(id: u64) -> FlowRecord {
    FlowRecord {
        id: FlowId(id),
        request: RequestId([u8::try_from(id % 251).unwrap(); 16]),
        audience: Asker::from_word("alice").unwrap(),
        by_keeper: false,
        name: None,
        state: FlowState::Running,
        submitted_at: Timestamp(1_700_000_000_000 + id),
        ended_at: None,
        cancelled_by: None,
        cancel_reason: None,
        paused_by: None,
        retry_of: None,
        predecessor: None,
        request_mac: None,
    }
}

/// A running job of a hundred tasks.
pub fn job_record(id: JobId) -> JobRecord {
    JobRecord {
        id,
        name: JobName::new(&format!("job-{}-{}", id.slot, id.job)).unwrap(),
        score: ScoreName::new("restart-apache").unwrap(),
        tasks: 100,
        state: JobState::Running,
        started_at: Some(Timestamp(1_700_000_000_001)),
        ended_at: None,
        untouched: TaskState::Waiting,
        counts: Counts::all_in(TaskState::Waiting, 100),
        param_keys: vec![ParamKey::new("token").unwrap()],
        kept_params: std::sync::Arc::default(),
        canary_ok_at: None,
        promoted_by: None,
        change: 0,
        thresholds: None,
    }
}

/// A task that was sent to host `db<index>`.
pub fn task_record(job: JobId, index: u32) -> TaskRecord {
    TaskRecord {
        job,
        index,
        host: host(index),
        state: TaskState::Sent,
        attempt: 1,
        retries: 0,
        order: OrderNumber(u64::from(index) + 1),
        sent_at: Some(Timestamp(1_700_000_000_002)),
        started_at: None,
        ended_at: None,
        impact: Impact::Holds,
        before: None,
        exit: None,
        signal: None,
        detail: None,
        time_limit: None,
        change: 0,
        parent: None,
    }
}

/// Host `db<n>`.
pub fn host(n: u32) -> HostName {
    HostName::new(&format!("db{n}.east.example.com")).unwrap()
}

/// An end of an attempt, with these bytes.
pub fn end_record(job: JobId, index: u32, attempt: u32, bytes: &[u8]) -> EndRecord {
    EndRecord { job, host: host(index), attempt, late: false, end: EndBytes::new(bytes).unwrap() }
}

/// A player with an order issued.
pub fn player_record(n: u32) -> PlayerRecord {
    PlayerRecord {
        host: host(n),
        spool: Some(SpoolId([7; 16])),
        last_order: OrderNumber(12),
        detached_at: None,
        removed: false,
        drained: None,
    }
}

/// A host that a failed task left down.
pub fn hold_record(n: u32, job: JobId) -> HoldRecord {
    HoldRecord {
        host: host(n),
        job,
        order: OrderNumber(12),
        state: TaskState::Failed,
        since: Timestamp(1_700_000_000_003),
    }
}

/// One parameter of a job.
pub fn params_record(job: JobId, value: &str) -> ParamsRecord {
    ParamsRecord { job, params: Params::from_pairs([("token", value)]).unwrap() }
}

/// A whole small flow: two jobs, each with host set, a parameter, two tasks and an end.
pub fn small_flow(id: u64) -> Vec<Op> {
    let mut records = vec![
        Record::NextFlow(FlowId(id + 1)),
        Record::Spec(spec_chunk(id, 0, b"slots: ")),
        Record::Spec(spec_chunk(id, 1, b"[]")),
    ];
    for job in [job(id, 1, 1), job(id, 2, 1)] {
        records.extend([
            Record::Job(job_record(job)),
            Record::Targets(hosts_chunk(job, 0, "db[0-99]")),
            Record::Tree(hosts_chunk(job, 0, "b1\n\n")),
            Record::Params(params_record(job, "secret")),
            Record::Task(task_record(job, 0)),
            Record::Task(task_record(job, 1)),
            Record::End(end_record(job, 1, 1, b"end")),
        ]);
    }
    records.push(Record::Flow(flow_record(id)));
    records.into_iter().map(Op::Put).collect()
}

pub(super) fn spec_chunk(flow: u64, index: u32, bytes: &[u8]) -> SpecChunk {
    SpecChunk { flow: FlowId(flow), index, bytes: bytes.into() }
}

pub(super) fn hosts_chunk(job: JobId, index: u32, text: &str) -> HostsChunk {
    HostsChunk { job, index, text: text.into() }
}
