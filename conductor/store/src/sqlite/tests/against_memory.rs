//! The two stores told the same must tell the same.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Small keys, so that operations meet.
fn an_op() -> impl Strategy<Value = Op> {
    let flow = 1..4_u64;
    let id = (flow.clone(), 1..3_u16).prop_map(|(flow, slot)| job(flow, slot, 1));
    prop_oneof![
        1 => flow.clone().prop_map(|flow| Op::PruneFlow(FlowId(flow))),
        2 => id.clone().prop_map(Op::EraseParams),
        2 => flow.clone().prop_map(|flow| Op::Put(Record::NextFlow(FlowId(flow)))),
        3 => (flow, any::<bool>()).prop_map(|(flow, ended)| {
            let state = if ended { FlowState::Ok } else { FlowState::Running };
            Op::Put(Record::Flow(FlowRecord { state, ..flow_record(flow) }))
        }),
        3 => (id.clone(), 0..100_u32).prop_map(|(id, tasks)| {
            Op::Put(Record::Job(JobRecord { tasks, ..job_record(id) }))
        }),
        3 => (id.clone(), "[a-z]{0,9}").prop_map(|(id, value)| {
            Op::Put(Record::Params(params_record(id, &value)))
        }),
        6 => (id.clone(), 0..5_u32, 0..5_u32, 0..3_u32).prop_map(|(id, index, at, attempt)| {
            Op::Put(Record::Task(TaskRecord { host: host(at), attempt, ..task_record(id, index) }))
        }),
        3 => (id, 0..5_u32, 1..3_u32, any::<Vec<u8>>()).prop_map(|(id, at, attempt, end)| {
            Op::Put(Record::End(end_record(id, at, attempt, &end)))
        }),
        1 => (0..4_u32).prop_map(|n| Op::Release(host(n))),
        2 => (0..4_u32, 1..4_u64).prop_map(|(n, flow)| {
            Op::Put(Record::Hold(hold_record(n, job(flow, 1, 1))))
        }),
        2 => (0..4_u32, any::<u32>()).prop_map(|(n, order)| {
            let last_order = OrderNumber(u64::from(order));
            Op::Put(Record::Player(PlayerRecord { last_order, ..player_record(n) }))
        }),
    ]
}

/// Everything that can be asked, as text.
fn told(reader: &dyn crate::Reader) -> String {
    let mut told = format!(
        "{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n",
        reader.next_flow().unwrap(),
        reader.players().unwrap(),
        reader.holds().unwrap(),
        reader.live_flows().unwrap(),
        reader.flows(2, Some(FlowId(3)), false).unwrap(),
        reader.requests().unwrap(),
    );
    for flow in 1..4 {
        told += &format!("{:?}\n", reader.jobs(FlowId(flow)).unwrap());
        for id in [job(flow, 1, 1), job(flow, 2, 1)] {
            let params = reader.params(id).unwrap();
            let value = params.as_ref().and_then(|params| params.get("token"));
            told += &format!("{value:?}\n{:?}\n", reader.tasks(id, Some(0), 3).unwrap());
            for n in 0..5 {
                told += &format!("{:?}\n", reader.ends(id, &host(n)).unwrap());
                told += &format!("{:?}\n", reader.task_by_host(id, &host(n)).unwrap());
            }
        }
    }
    told
}

/// The flow that an operation writes about.
fn flow_of(op: &Op) -> Option<FlowId> {
    match op {
        Op::EraseParams(job) => Some(job.flow),
        Op::PruneFlow(flow) => Some(*flow),
        Op::Put(Record::Flow(flow)) => Some(flow.id),
        Op::Put(Record::Job(job)) => Some(job.id.flow),
        Op::Put(Record::Params(params)) => Some(params.job.flow),
        Op::Put(Record::Task(task)) => Some(task.job.flow),
        Op::Put(Record::End(end)) => Some(end.job.flow),
        _ => None,
    }
}

/// Leaves out what would be written of a flow after it was pruned, as nobody does.
fn without_revenants(batches: &mut [Vec<Op>]) {
    let mut pruned = BTreeSet::new();
    for batch in batches {
        batch.retain(|op| {
            let fits = flow_of(op).is_none_or(|flow| !pruned.contains(&flow));
            pruned.extend(flow_of(op).filter(|_| matches!(op, Op::PruneFlow(_))));
            fits
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn both_tell_the_same(
        mut batches in prop::collection::vec(prop::collection::vec(an_op(), 0..12), 1..8),
        sweep in 1..9_usize,
    ) {
        let place = Place::new();
        let mut sqlite = place.store();
        let mut memory = MemoryDisk::new(StoreId([1; 16])).open();
        without_revenants(&mut batches);
        for batch in &batches {
            sqlite.commit(batch).unwrap();
            memory.commit(batch).unwrap();
            prop_assert_eq!(told(&*sqlite.reader().unwrap()), told(&*memory.reader().unwrap()));
            // What a step costs is each store's own business; nobody sees any of it.
            sqlite.sweep(sweep).unwrap();
            memory.sweep(sweep).unwrap();
            prop_assert_eq!(told(&*sqlite.reader().unwrap()), told(&*memory.reader().unwrap()));
        }
    }
}
