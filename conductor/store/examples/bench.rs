//! Measures the embedded store in a directory on the disk in question:
//!
//! ```text
//! cargo run --release -p orchestra-store --example bench -- DIR [TASKS]
//! ```
//!
//! DIR must not exist, and is left behind. One job of TASKS tasks (a million) lives through
//! everything that a conductor writes about it, in batches of 1,000, until half of it has ended;
//! then it is recovered and pruned.

use std::{env, error::Error, path::Path, sync::Arc, time::Instant};

use orchestra_model::{
    AudienceName, FlowId, FlowState, HostName, JobId, TaskState, Timestamp,
    delivery::{OrderNumber, RequestId, SpoolId},
    record::{EndRecord, FlowRecord, Impact, Op, PlayerRecord, Record, TaskRecord},
};
use orchestra_store::{SqliteStore, Store};

const JOB: JobId = JobId { flow: FlowId(1), slot: 1, job: 1 };
const PLAYERS: u32 = 10_000;
const BATCH: usize = 1_000;
/// A short line of output and what surrounds it.
const END_BYTES: usize = 120;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let dir = arguments.next().ok_or("usage: bench DIR [TASKS]")?;
    let tasks = match arguments.next() {
        Some(text) => text.to_str().ok_or("TASKS is not a number")?.parse()?,
        None => 1_000_000,
    };
    let dir = Path::new(&dir);
    if dir.exists() {
        return Err("DIR exists".into());
    }
    run(dir, tasks)
}

fn run(dir: &Path, tasks: u32) -> Result<(), Box<dyn Error>> {
    let mut store = SqliteStore::open(dir)?;
    store.commit(&[Op::Put(Record::Flow(flow()?))])?;
    timed("sent: a task each", tasks, || {
        in_batches(&mut store, tasks, |n| Ok(vec![Record::Task(task(n, TaskState::Sent)?)]))
    })?;
    timed("sent again: a task, its player", tasks, || {
        in_batches(&mut store, tasks, |n| {
            Ok(vec![Record::Task(task(n, TaskState::Sent)?), Record::Player(player(n)?)])
        })
    })?;
    timed("ended: a task, its end", tasks / 2, || {
        in_batches(&mut store, tasks / 2, |n| {
            Ok(vec![Record::Task(task(n, TaskState::Ok)?), Record::End(end(n)?)])
        })
    })?;
    let few = tasks.min(10_000);
    timed("failed: one commit a task", few, || {
        (0..few).try_for_each(|n| {
            store.commit(&[Op::Put(Record::Task(task(n, TaskState::Failed)?))])?;
            Ok(())
        })
    })?;
    let written = std::fs::read_to_string("/proc/self/io")?;
    drop(store);
    let size = std::fs::metadata(dir.join("orchestra.db"))?.len();
    println!("{:32} {:>10} bytes a task", "database", size / u64::from(tasks));
    for line in written.lines().filter(|line| line.starts_with("write_bytes")) {
        println!("{:32} {line}", "written in all");
    }
    for _ in 0..3 {
        timed("recovered", tasks, || recover(dir, tasks))?;
    }
    let mut store = SqliteStore::open(dir)?;
    timed("pruned", 1, || Ok(store.commit(&[Op::PruneFlow(JOB.flow)])?))?;
    drop(store);
    let mut store = timed("opened", 1, || Ok(SqliteStore::open(dir)?))?;
    timed("swept", tasks, || sweep(&mut store))
}

/// Sweeps, and tells of the steps.
fn sweep(store: &mut SqliteStore) -> Result<(), Box<dyn Error>> {
    const LIMIT: usize = 250;
    let mut steps = Vec::new();
    let mut is_done = false;
    while !is_done {
        let begun = Instant::now();
        is_done = store.sweep(LIMIT)?;
        steps.push(begun.elapsed());
    }
    steps.sort();
    for (what, hundredths) in [("half", 50), ("99 in 100", 99), ("all", 100)] {
        if let Some(longest) = steps.get((steps.len() - 1) * hundredths / 100) {
            println!("{:32} {what} within {longest:.1?}", format!("steps of {LIMIT} records"));
        }
    }
    Ok(())
}

fn recover(dir: &Path, tasks: u32) -> Result<(), Box<dyn Error>> {
    let store = SqliteStore::open(dir)?;
    let reader = store.reader()?;
    // All at once, as the flow scheduler takes them.
    let mut found = Vec::new();
    reader.each_task(JOB, &mut |task| found.push(task))?;
    let found = found.len();
    if found == tasks as usize { Ok(()) } else { Err(format!("{found} tasks of {tasks}").into()) }
}

fn timed<T>(
    what: &str,
    tasks: u32,
    work: impl FnOnce() -> Result<T, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    let begun = Instant::now();
    let done = work()?;
    let seconds = begun.elapsed().as_secs_f64();
    println!("{what:32} {:>10.0} tasks/s  ({seconds:.3} s)", f64::from(tasks) / seconds);
    Ok(done)
}

fn in_batches(
    store: &mut SqliteStore,
    tasks: u32,
    records: impl Fn(u32) -> Result<Vec<Record>, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    for first in (0..tasks).step_by(BATCH) {
        let mut batch = Vec::new();
        for n in (first..tasks).take(BATCH) {
            batch.extend(records(n)?.into_iter().map(Op::Put));
        }
        store.commit(&batch)?;
    }
    Ok(())
}

fn flow() -> Result<FlowRecord, Box<dyn Error>> {
    Ok(FlowRecord {
        id: JOB.flow,
        request: RequestId([1; 16]),
        audience: AudienceName::new("alice")?,
        name: None,
        state: FlowState::Running,
        submitted_at: Timestamp(1_700_000_000_000),
        ended_at: None,
        cancelled_by: None,
        paused_by: None,
        retry_of: None,
    })
}

fn task(n: u32, state: TaskState) -> Result<TaskRecord, Box<dyn Error>> {
    let ended = state.is_final();
    let later = |ms: u64| Some(Timestamp(1_700_000_000_000 + ms + u64::from(n)));
    Ok(TaskRecord {
        job: JOB,
        index: n,
        host: HostName::new(&format!("host{n}.east.example.com"))?,
        state,
        attempt: 1,
        retries: 0,
        order: OrderNumber(u64::from(n) + 1),
        sent_at: later(0),
        started_at: later(10).filter(|_| ended),
        ended_at: later(500).filter(|_| ended),
        impact: Impact::Holds,
        before: None,
        exit: ended.then_some(0),
        signal: None,
        detail: None,
    })
}

fn end(n: u32) -> Result<EndRecord, Box<dyn Error>> {
    Ok(EndRecord {
        job: JOB,
        host: HostName::new(&format!("host{n}.east.example.com"))?,
        attempt: 1,
        late: false,
        end: Arc::from([7; END_BYTES]),
    })
}

fn player(n: u32) -> Result<PlayerRecord, Box<dyn Error>> {
    Ok(PlayerRecord {
        host: HostName::new(&format!("host{}.east.example.com", n % PLAYERS))?,
        spool: Some(SpoolId([7; 16])),
        last_order: OrderNumber(u64::from(n)),
        detached_at: None,
        removed: false,
        drained: None,
    })
}
