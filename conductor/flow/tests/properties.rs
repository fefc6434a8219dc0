//! Properties by brute force: verdicts against their definition, rounding at every edge, windows that
//! are never exceeded and always full, cells that no interleaving exceeds: promises 13, 14, 16
//! and 17.
//!
//! The engine alone, with players that do as they are told: what is asked to be written is taken to
//! be on disk, and every order arrives. Faults are for the simulation.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use orchestra_flow::{Input, ReplyId, ReplyTo};
use orchestra_model::{
    Deployments, FlowId, HostName, HostSet, JobId, JobState, Quantity, TaskState, flow::JobSpec,
};

use world::{
    JobExt,
    bare::{Bare, End},
    chance::Chance,
    deployments, flow, host, hosts, job, named_deployment,
};

/// A job's verdict, by its definition.
fn verdict(ok: u32, failures: u32, needed: u32, tolerated: u32) -> JobState {
    match ok {
        ok if ok >= needed && failures <= tolerated => JobState::Ok,
        0 => JobState::Failed,
        _ => JobState::Partial,
    }
}

/// Whether any way that the rest of `total` tasks may end makes the job ok.
fn is_in_reach(ok: u32, failures: u32, total: u32, needed: u32, tolerated: u32) -> bool {
    let rest = total - ok - failures;
    (0..=rest)
        .any(|well| verdict(ok + well, failures + rest - well, needed, tolerated) == JobState::Ok)
}

/// All of a job's settings that matter to its verdict: each of them set, or left out.
fn thresholds(total: u32) -> impl Iterator<Item = (Option<u32>, Option<u32>)> {
    let all = move || std::iter::once(None).chain((0..=total).map(Some));
    all().flat_map(move |success| all().map(move |most| (success, most)))
}

/// How many tasks have to be ok, and how many may fail.
fn bounds(total: u32, success: Option<u32>, most: Option<u32>) -> (u32, u32) {
    let needed = success.unwrap_or(total - most.unwrap_or(0));
    (needed, most.unwrap_or(total - needed))
}

fn job_of(total: u32, success: Option<u32>, most: Option<u32>) -> JobSpec {
    let spec = job(&format!("h[1-{total}]"));
    let spec = success.into_iter().fold(spec, JobSpec::success);
    most.into_iter().fold(spec, JobSpec::max_failures)
}

#[test]
fn with_all_in_flight_every_outcome_has_the_verdict_of_the_definition() {
    let mut bare = Bare::new("h[1-12]", Arc::default());
    for total in 1..=12 {
        for (success, most) in thresholds(total) {
            let (needed, tolerated) = bounds(total, success, most);
            for well in 0..=total {
                let spec = job_of(total, success, most);
                let id = bare.submit_one(spec);
                let (mut ok, mut failures) = (0, 0);
                for (nth, (name, key)) in (0..).zip(bare.running_of(id)) {
                    // Which of them fail, and how, differs from case to case.
                    let is_well = (nth * 7 + total + needed) % total < well;
                    let how = End::FAILURES[(nth + well) as usize % End::FAILURES.len()];
                    bare.end(&name, key, if is_well { End::Ok } else { how });
                    ok += u32::from(is_well);
                    failures += u32::from(!is_well);
                    if let Some(status) = bare.status(id) {
                        let hope = is_in_reach(ok, failures, total, needed, tolerated);
                        let expected = if hope { JobState::Running } else { JobState::Doomed };
                        assert_eq!(status.state, expected, "{ok} and {failures} of {id}");
                    }
                }
                let expected = verdict(ok, failures, needed, tolerated);
                assert_eq!(
                    bare.verdicts[&id], expected,
                    "{ok} of {total} are ok, {needed} needed, {tolerated} tolerated"
                );
            }
        }
    }
}

/// Every sequence of outcomes where there are few tasks; of more, those that are well first or last.
fn sequences(total: u32) -> Vec<u32> {
    match total {
        1..=6 => (0..1 << total).collect(),
        _ => (0..=total)
            .flat_map(|well| {
                let first = (1 << well) - 1;
                [first, first << (total - well)]
            })
            .collect(),
    }
}

#[test]
fn one_after_another_every_sequence_of_outcomes_stops_where_it_is_doomed() {
    let mut bare = Bare::new("h[1-12]", Arc::default());
    for total in 1..=12 {
        for (success, most) in thresholds(total) {
            let (needed, tolerated) = bounds(total, success, most);
            for outcomes in sequences(total) {
                let id = bare.submit_one(job_of(total, success, most).parallel(1));
                let (mut ok, mut failures) = (0, 0);
                for nth in 0..total {
                    if !is_in_reach(ok, failures, total, needed, tolerated) {
                        break;
                    }
                    let (name, key) = bare.running_of(id).remove(0);
                    assert_eq!(name, host(&format!("h{}", nth + 1)), "in host-set order");
                    let is_well = outcomes >> nth & 1 == 1;
                    bare.end(&name, key, if is_well { End::Ok } else { End::Failed });
                    ok += u32::from(is_well);
                    failures += u32::from(!is_well);
                }
                assert!(bare.running_of(id).is_empty(), "{id} goes on though it is doomed");
                let expected = verdict(ok, failures, needed, tolerated);
                assert_eq!(bare.verdicts[&id], expected, "{id}: {ok} ok, {failures} failed");
                let ends = [TaskState::Ok, TaskState::Failed, TaskState::Skipped];
                let ended = ends.map(|state| bare.counts[&id].get(state));
                assert_eq!(ended, [ok, failures, total - ok - failures], "{id}");
            }
        }
    }
}

/// The greatest number that is at most `percent` of `total`, by trying.
fn rounded_down(percent: u8, total: u32) -> u32 {
    (0..=total).rev().find(|n| n * 100 <= u32::from(percent) * total).unwrap()
}

/// The least number that is at least `percent` of `total`, by trying.
fn rounded_up(percent: u8, total: u32) -> u32 {
    (0..=total).find(|n| n * 100 >= u32::from(percent) * total).unwrap()
}

#[test]
fn a_share_is_rounded_as_promised_at_every_total() {
    for total in 0..=250 {
        for percent in 0..=100 {
            let (share, down) = (Quantity::Percent(percent), rounded_down(percent, total));
            assert_eq!(share.window_of(total), down.max(1), "{share} of {total}");
            assert_eq!(share.floor_of(total), down, "{share} of {total}");
            assert_eq!(share.threshold_of(total), rounded_up(percent, total), "{share} of {total}");
        }
        for count in [0, 1, total / 2, total, total + 1] {
            let share = Quantity::Count(count);
            assert_eq!(share.window_of(total), count.max(1), "{share} of {total}");
            assert_eq!(share.floor_of(total), count, "{share} of {total}");
            assert_eq!(share.threshold_of(total), count.min(total), "{share} of {total}");
        }
    }
}

#[test]
fn the_examples_of_the_rules() {
    assert_eq!(rounded_down(25, 150), 37);
    assert_eq!(rounded_up(80, 9), 8);
    assert_eq!(rounded_down(10, 9), 0);
}

#[test]
fn concurrency_rounds_down_and_success_and_canary_up_at_every_edge() {
    let mut bare = Bare::new("h[1-150]", Arc::default());
    let totals = (1..=12).chain([33, 99, 100, 101, 150]);
    for total in totals {
        for percent in 1..=100 {
            let share = Quantity::Percent(percent);
            let spec = JobSpec {
                parallel: share,
                success: Some(share),
                canary: Some(share),
                ..job(&format!("h[1-{total}]"))
            };
            let id = bare.submit_one(spec);
            let status = bare.status(id).unwrap();
            assert_eq!(status.window, rounded_down(percent, total).max(1), "{share} of {total}");
            assert_eq!(status.needed, rounded_up(percent, total), "{share} of {total}");
            let canary = status.canary.map_or(total, |canary| canary.tasks);
            assert_eq!(canary, rounded_up(percent, total), "{share} of {total}");
            let started = bare.running_of(id).len() as u32;
            assert_eq!(started, status.window.min(canary), "{share} of {total}");
            bare.input(Input::CancelRequested {
                reply: ReplyTo::new(ReplyId(0)),
                flow: id.flow,
                by: world::audience(),
                reason: None,
                abandon: false,
            });
            for (name, key) in bare.running_of(id) {
                bare.end(&name, key, End::Ok);
            }
        }
    }
}

#[test]
fn max_failures_rounds_down_at_every_edge() {
    let mut bare = Bare::new("h[1-20]", Arc::default());
    for total in 1..=20 {
        for percent in (0..=100).filter(|percent| total < 8 || percent % 5 < 2) {
            let most = Some(Quantity::Percent(percent));
            let spec = JobSpec { max_failures: most, ..job_of(total, Some(0), None) };
            let id = bare.submit_one(spec);
            let mut failures = 0;
            for (name, key) in bare.running_of(id) {
                bare.end(&name, key, End::Failed);
                failures += 1;
                let state = bare
                    .status(id)
                    .map_or(bare.verdicts.get(&id).copied(), |status| Some(status.state));
                let fits = matches!(state.unwrap(), JobState::Running | JobState::Ok);
                let tolerated = rounded_down(percent, total);
                assert_eq!(fits, failures <= tolerated, "{failures} of {total}, {percent}%");
            }
        }
    }
}

#[test]
fn quorum_rounds_up_at_every_edge() {
    for total in 1..=8 {
        let fleet = format!("h[1-{total}]");
        for percent in [0, 1, 12, 13, 25, 33, 34, 49, 50, 51, 66, 67, 75, 87, 88, 99, 100] {
            let mut bare = Bare::absent(&fleet, Arc::default());
            let quorum = Quantity::Percent(percent);
            let id = bare.submit_one(JobSpec { quorum, ..job(&fleet) });
            for (attached, name) in (1..).zip(&hosts(&fleet)) {
                bare.attach(name);
                let starts = bare.running_of(id).len();
                let is_met = attached >= rounded_up(percent, total);
                let expected = if is_met { attached as usize } else { 0 };
                assert_eq!(starts, expected, "{quorum} of {total}, {attached} there");
            }
        }
    }
}

#[test]
fn a_cells_concurrency_rounds_down_at_every_edge_and_counts_the_cells_hosts() {
    for total in (1..=12).chain([99, 100, 101, 150]) {
        let fleet = format!("h[1-{total}]");
        let mut bare = Bare::new(&fleet, Arc::default());
        for percent in (1..=100).filter(|percent| total < 13 || percent % 25 < 2) {
            let apps = [("app", &*fleet, Some(Quantity::Percent(percent)))];
            let site = named_deployment("site", &apps, &[("all", &fleet)], &[]);
            let deployments = deployments([site]);
            bare.input(Input::DeploymentsLoaded { reply: ReplyTo::new(ReplyId(0)), deployments });
            let limit = rounded_down(percent, total).max(1);
            assert_eq!(bare.engine.cell_status(0, 1)[0].limit, Some(limit), "{percent}%");
            // Whatever part of it a job targets.
            let some = total.div_ceil(2);
            let id = bare.submit_one(job(&format!("h[1-{some}]")));
            assert_eq!(bare.running_of(id).len() as u32, limit.min(some), "{percent}% of {total}");
            while let Some((name, key)) = bare.running_of(id).pop() {
                bare.end(&name, key, End::Ok);
            }
            assert_eq!(bare.verdicts[&id], JobState::Ok);
        }
    }
}

#[test]
fn every_window_of_every_job_is_full_until_its_last_tasks() {
    for total in 1..=12 {
        let bare = Bare::new(&format!("h[1-{total}]"), Arc::default());
        for window in 1..=total {
            for oldest_first in [true, false] {
                let mut bare = bare.clone();
                let id = bare.submit_one(job(&format!("h[1-{total}]")).parallel(window));
                for ended in 0..total {
                    let mut running = bare.running_of(id);
                    let expected = window.min(total - ended);
                    assert_eq!(running.len() as u32, expected, "{window} of {total}");
                    let next = if oldest_first { 0 } else { running.len() - 1 };
                    let (name, key) = running.swap_remove(next);
                    bare.end(&name, key, End::Ok);
                }
                assert_eq!(bare.engine.alive_count(), 0, "{window} of {total}");
                each_host_once_per_attempt(&bare);
            }
        }
    }
}

#[test]
fn windows_are_never_exceeded_and_full_while_work_waits() {
    for seed in 0..60 {
        let mut chance = Chance(seed);
        let mut bare = Bare::new("h[1-20]", Arc::default());
        let spec = |chance: &mut Chance| {
            let total = 1 + chance.below(20) as u32;
            let window = 1 + chance.below(total as usize) as u32;
            let spec = job(&format!("h[1-{total}]")).success(0).parallel(window);
            (spec.retries(chance.below(3) as u32), window)
        };
        let jobs: Vec<(JobId, u32)> = (0..4)
            .map(|_| {
                let (spec, window) = spec(&mut chance);
                (bare.submit_one(spec), window)
            })
            .collect();
        while !bare.running.is_empty() {
            for (id, window) in &jobs {
                let Some(status) = bare.status(*id) else { continue };
                let unfinished = status.counts.total() - status.counts.finished();
                let running = bare.running_of(*id).len() as u32;
                assert_eq!(running, unfinished.min(*window), "seed {seed}: {id}");
            }
            let nth = chance.below(bare.running.len());
            let (name, key) = bare.running.keys().nth(nth).cloned().unwrap();
            let how = if chance.below(3) == 0 { End::Failed } else { End::Ok };
            bare.end(&name, key, how);
        }
        assert_eq!(bare.engine.alive_count(), 0, "seed {seed}");
        each_host_once_per_attempt(&bare);
    }
}

/// Attempts of a task follow each other on its host, from the first on.
fn each_host_once_per_attempt(bare: &Bare) {
    let mut attempts: BTreeMap<(&HostName, JobId), Vec<u32>> = BTreeMap::new();
    for (name, key) in &bare.sent {
        attempts.entry((name, key.job)).or_default().push(key.attempt);
    }
    for ((name, job), attempts) in attempts {
        let expected: Vec<u32> = (1..=attempts.len() as u32).collect();
        assert_eq!(attempts, expected, "attempts of {job} on {name}");
    }
}

/// Every order of events, six deep, of flows that want the same hosts: submissions, ends well and
/// badly, releases, further attempts.
#[test]
fn no_order_of_events_exceeds_a_cell_or_leaves_room_unused() {
    for limit in 1..=2 {
        let apps = [("web", "h[1-3]", Some(Quantity::Count(limit)))];
        let site = named_deployment("site", &apps, &[("east", "h[1-3]")], &[]);
        let seen = interleave(&Bare::new("h[1-3]", deployments([site])), limit, 6);
        assert!(seen > 1_000, "only {seen} states");
    }
}

/// Tries everything that may happen next, `depth` deep. How many states were seen.
fn interleave(bare: &Bare, limit: u32, depth: u32) -> u32 {
    bare.engine.audit().unwrap();
    let acting = bare.running.keys().map(|(name, _)| name);
    let held: BTreeSet<&HostName> = acting.chain(&bare.down).collect();
    assert!(held.len() as u32 <= limit, "{held:?} hold a cell of {limit}");
    let cell = &bare.engine.cell_status(0, 1)[0];
    let is_full = held.len() as u32 == limit;
    assert!(is_full || cell.waiting.is_empty(), "{:?} wait for room that is there", cell.waiting);
    if depth == 0 {
        return 1;
    }
    let mut seen = 1;
    let mut go_on = |change: &dyn Fn(&mut Bare)| {
        let mut next = bare.clone();
        change(&mut next);
        seen += interleave(&next, limit, depth - 1);
    };
    if bare.requests() < 3 {
        let retries = bare.requests() % 2;
        go_on(&|bare| {
            bare.submit_one(job("h[1-3]").retries(retries));
        });
    }
    for (name, key) in bare.running.keys() {
        go_on(&|bare| bare.end(name, *key, End::Ok));
        go_on(&|bare| bare.end(name, *key, End::Failed));
    }
    if let Some(name) = bare.down.first() {
        let reply = ReplyTo::new(ReplyId(0));
        let release = Input::ReleaseRequested { reply, hosts: hosts(name.as_str()) };
        go_on(&|bare| bare.input(release.clone()));
    }
    if let Some(flow) = bare.engine.alive().next() {
        let (reply, job, hosts) = (ReplyTo::new(ReplyId(0)), None, None);
        let retry = Input::RetryRequested { reply, flow, job, hosts };
        go_on(&|bare| bare.input(retry.clone()));
    }
    seen
}

#[test]
fn no_interleaving_of_flows_exceeds_a_cell_or_leaves_room_unused() {
    for seed in 0..300 {
        let mut chance = Chance(seed);
        let deployments = overlapping(&mut chance);
        let mut bare = Bare::new("h[1-9]", Arc::clone(&deployments));
        let mut flows: BTreeMap<FlowId, bool> = BTreeMap::new();
        let mut down: BTreeSet<HostName> = BTreeSet::new();
        for _step in 0..120 {
            if flows.len() < 5 && chance.below(4) == 0 {
                let names = hosts("h[1-9]");
                let some: HostSet =
                    names.iter().filter(|_| chance.below(2) == 0).cloned().collect();
                let some = if some.is_empty() { names } else { some };
                let spec = job(&some.to_string()).success(0).retries(chance.below(2) as u32);
                let free = chance.below(5) == 0;
                let spec = if free { spec.unthrottled() } else { spec };
                flows.insert(bare.submit(flow([vec![spec]])), free);
            } else if chance.below(12) == 0 {
                let reply = ReplyTo::new(ReplyId(0));
                bare.input(Input::ReleaseRequested { reply, hosts: hosts("h[1-9]") });
                down.clear();
            } else if !bare.running.is_empty() {
                let nth = chance.below(bare.running.len());
                let (name, key) = bare.running.keys().nth(nth).cloned().unwrap();
                let is_well = chance.below(4) > 0;
                // The oldest order of the host first, so that the last word is the newest.
                let first = bare.running.iter().filter(|((other, _), _)| *other == name);
                let key = first.min_by_key(|(_, order)| order.number).map_or(key, |(at, _)| at.1);
                bare.end(&name, key, if is_well { End::Ok } else { End::Failed });
                match (is_well, flows[&key.job.flow]) {
                    (true, _) => drop(down.remove(&name)),
                    (false, false) => drop(down.insert(name)),
                    (false, true) => {}
                }
            }
            check_cells(&bare, &deployments, &flows, &down, seed);
        }
        each_host_once_per_attempt(&bare);
    }
}

#[test]
fn room_is_used_whoever_waits_for_it_among_hosts_that_hardly_share_their_cells() {
    const HOSTS: usize = 150;
    for seed in 0..4 {
        let mut chance = Chance(seed);
        let all = format!("h[1-{HOSTS}]");
        let deployments = deployments([7, 11, 13].map(|values| {
            let limit = Quantity::Count(1 + chance.below(3) as u32);
            let sets: Vec<String> = (0..values)
                .map(|value| {
                    let names = (1..=HOSTS).filter(|host| host % values == value);
                    names.map(|host| format!("h{host}")).collect::<Vec<_>>().join(",")
                })
                .collect();
            let names: Vec<String> = (0..values).map(|value| format!("v{value}")).collect();
            let clusters: Vec<(&str, &str)> =
                names.iter().zip(&sets).map(|(name, set)| (&**name, &**set)).collect();
            named_deployment(&format!("d{values}"), &[("app", &all, Some(limit))], &clusters, &[])
        }));
        let mut bare = Bare::new(&all, Arc::clone(&deployments));
        let flows: BTreeMap<FlowId, bool> =
            (0..2).map(|_| (bare.submit(flow([vec![job(&all)]])), false)).collect();
        while !bare.running.is_empty() {
            check_cells(&bare, &deployments, &flows, &BTreeSet::new(), seed);
            for _ in 0..9.min(bare.running.len()) {
                let nth = chance.below(bare.running.len());
                let (name, key) = bare.running.keys().nth(nth).cloned().unwrap();
                bare.end(&name, key, End::Ok);
            }
        }
        assert_eq!(bare.engine.alive_count(), 0, "seed {seed}");
    }
}

/// A few deployments with cells that share hosts.
fn overlapping(chance: &mut Chance) -> Arc<Deployments> {
    let some = |chance: &mut Chance| {
        let (from, many) = (1 + chance.below(6), 1 + chance.below(4));
        format!("h[{from}-{}]", (from + many).min(9))
    };
    let limit = |chance: &mut Chance| match chance.below(3) {
        0 => Some(Quantity::Percent(50)),
        n => Some(Quantity::Count(n as u32)),
    };
    let all = ["one", "two", "three"];
    deployments(all.iter().map(|name| {
        let (app, other) = (some(chance), some(chance));
        let apps = [("app", &*app, limit(chance)), ("other", &*other, limit(chance))];
        named_deployment(name, &apps, &[("all", "h[1-9]")], &[])
    }))
}

/// No cell has more holders than its limit, and whatever waits does so for a full cell.
fn check_cells(
    bare: &Bare,
    deployments: &Deployments,
    flows: &BTreeMap<FlowId, bool>,
    down: &BTreeSet<HostName>,
    seed: u64,
) {
    let changes = bare.running.keys().filter(|(_, key)| !flows[&key.job.flow]);
    let holders: BTreeSet<&HostName> = changes.map(|(name, _)| name).chain(down).collect();
    let held = |set: &HostSet| set.iter().filter(|host| holders.contains(host)).count() as u32;
    for (_, cell) in deployments.cells().iter() {
        let limit = cell.limit.unwrap_or(u32::MAX);
        assert!(held(&cell.hosts) <= limit, "seed {seed}: {} has too many", cell.key);
    }
    for (flow, is_free) in flows {
        let id = JobId { flow: *flow, slot: 1, job: 1 };
        for task in bare.engine.tasks(id, 0, u32::MAX).unwrap_or_default() {
            let name = task.host.unwrap();
            if task.state != TaskState::Waiting {
                continue;
            }
            let is_full = deployments.cells().iter().any(|(_, cell)| {
                cell.hosts.contains(&name) && cell.limit.is_some_and(|n| held(&cell.hosts) >= n)
            });
            let waits_truly = is_full && !holders.contains(&name) && !is_free;
            assert!(waits_truly, "seed {seed}: {name} of {flow} could start");
        }
    }
}
