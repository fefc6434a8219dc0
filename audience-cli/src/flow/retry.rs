//! `orc retry`: the id of the flow that goes on alone on standard output, everything else on
//! standard error.
//!
//! A flow that has not ended goes on itself, with the parameters that it has. Of an ended flow a
//! new one is made, whose parameters have to be given again: `--set` names jobs as people do, and
//! places are what travels.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
};

use orchestra_model::{
    params::Params,
    state::JobState,
    status::{FlowStatus, JobStatus},
};
use serde::Serialize;

use super::{
    submit::goes_on,
    wait::{From, Target, Watcher},
};
use crate::program::Program;
use crate::{
    args::{Retry, RetryArgs},
    client::{Client, RetryOf},
    console::unwritten,
    error::Failure,
    exit::Exit,
    flow::file::Overrides,
    input::Inputs,
    view::json,
};

#[derive(Serialize)]
struct Retried {
    id: u64,
    retry_of: Option<u64>,
    tasks: u32,
}

/// Runs again what ended and is not ok, and waits where that was asked for.
pub(crate) fn retry(args: &RetryArgs, program: &mut Program) -> Result<Exit, Failure> {
    let retry = args.validate(&mut Inputs::new(&mut io::stdin().lock()))?;
    let connection = program.connection()?;
    program.block_on(async move |program: &mut Program| {
        let mut client = Client::connect(connection).await?;
        // By its number from here on: what `last` is changes with the answer.
        let flow = client.flow(retry.flow).await?;
        let answer = client.retry(&retry_of(&flow, &retry)?).await?;
        let (old, new) = (flow.summary.id, orchestra_model::FlowId(answer.flow));
        let tasks = match answer.tasks {
            1 => "1 task".to_owned(),
            n => format!("{n} tasks"),
        };
        let console = &mut program.console;
        if new == old {
            console.narrate(format_args!("{tasks} of flow {old} again"));
        } else {
            console.narrate(format_args!("flow {new} runs what flow {old} left: {tasks}"));
        }
        let out = &mut console.out;
        let document = program.shared.json && retry.wait.is_none();
        let told = if document {
            let retry_of = (new != old).then_some(old.0);
            let retried = Retried { id: new.0, retry_of, tasks: answer.tasks };
            json::document(out, "flow", &retried)
        } else if !program.shared.json && !retry.wait.as_ref().is_some_and(|wait| wait.jsonl) {
            writeln!(out, "{new}")
        } else {
            Ok(())
        };
        let told = told.map_err(unwritten).and_then(|()| out.finish());
        told.map_err(|failure| goes_on(failure, new))?;
        match &retry.wait {
            None => Ok(Exit::Ok),
            Some(waiting) => {
                // Of a new flow nothing was told before.
                let from = if new == old { From::Now } else { From::Beginning };
                let mut watcher = Watcher::new(waiting, from, program)?;
                watcher.watch(&mut client, Target::Flow(new), program).await
            }
        }
    })
}

fn retry_of(flow: &FlowStatus, retry: &Retry) -> Result<RetryOf, Failure> {
    let id = flow.summary.id;
    let ended = flow.summary.state.is_final();
    let unset = retry.set.everywhere.is_empty() && retry.set.of_job.is_empty();
    if !ended && !unset {
        return Err(Failure::usage(format!(
            "setting parameters of flow {id}, which has not ended: it still has its own"
        )));
    }
    if ended && !retry.hosts.is_empty() {
        return Err(Failure::usage(format!(
            "retrying on some hosts of flow {id}, which has ended: a new flow has all that is \
             unfinished"
        ))
        .hint("submitjob SCORE -w HOSTS runs one score on some hosts"));
    }
    Ok(RetryOf {
        flow: id,
        ended,
        job: retry.job.clone(),
        hosts: retry.hosts.clone(),
        params: if unset { Vec::new() } else { places(flow, retry)? },
    })
}

/// The parameters by the places of their jobs.
fn places(flow: &FlowStatus, retry: &Retry) -> Result<Vec<(u32, u32, Params)>, Failure> {
    let id = flow.summary.id;
    let Overrides { everywhere, of_job, .. } = &retry.set;
    let all = || flow.slots.iter().flatten();
    let mut values: BTreeMap<(u16, u16), BTreeMap<String, String>> = BTreeMap::new();
    let mut add = |job: &JobStatus, of: &BTreeMap<String, crate::flow::file::Secret>| {
        let pairs = of.iter().map(|(key, value)| (key.clone(), value.0.clone()));
        values.entry((job.id.slot, job.id.job)).or_default().extend(pairs);
    };
    if !everywhere.is_empty() {
        let again: Vec<&JobStatus> = all()
            .filter(|job| {
                retry.job.as_ref().map_or(job.state != JobState::Ok, |name| job.name == *name)
            })
            .collect();
        match again[..] {
            [job] => add(job, everywhere),
            _ => {
                let names: Vec<&str> = again.iter().map(|job| job.name.as_str()).collect();
                return Err(Failure::usage(format!(
                    "setting parameters of flow {id}: of which job? These are not ok: {}",
                    names.join(", ")
                ))
                .hint("--set JOB/KEY=VALUE"));
            }
        }
    }
    for (name, pairs) in of_job {
        let job = all().find(|job| job.name == *name).ok_or_else(|| {
            Failure::usage(format!("setting parameters of flow {id}: it has no job {name}"))
                .hint(format!("getstatus {id} shows its jobs"))
        })?;
        add(job, pairs);
    }
    let of_place = |((slot, job), pairs): ((u16, u16), BTreeMap<String, String>)| {
        let params = Params::from_pairs(pairs)
            .map_err(|error| Failure::usage("reading the parameters").because(error))?;
        Ok((slot.into(), job.into(), params))
    };
    values.into_iter().map(of_place).collect()
}
