//! Submissions: whole or not at all, and the same again is the same flow.

use orchestra_flow::{Answer, Input, Rejection, answer};
use orchestra_model::{FlowId, FlowState, JobName, flow::InvalidFlow};

use crate::world::*;

#[test]
fn sent_twice_it_is_one_flow() {
    let mut world = World::new("h1");
    let submission = world.submission(flow([vec![job("h1")]]));
    let mut repeated = Vec::new();
    for round in 0..4 {
        world.input(submitted(submission.clone()));
        match world.answers.last() {
            Some(Answer::Submitted(answer::Submitted { flow, repeated: again })) => {
                assert_eq!(*flow, FlowId(1));
                repeated.push(*again);
            }
            answer => panic!("{answer:?}"),
        }
        match round {
            0 => world.restart_and_return(),
            1 => world.ok("h1", FlowId(1)),
            _ => world.restart_and_return(),
        }
    }
    assert_eq!(repeated, [false, true, true, true]);
    assert_eq!(world.starts.len(), 1);
}

#[test]
fn another_audiences_request_id_is_another_request() {
    let mut world = World::new("h1");
    let mut submission = world.submission(flow([vec![job("h1")]]));
    world.input(submitted(submission.clone()));
    submission.audience = orchestra_model::Asker::from_word("bob").unwrap();
    world.input(submitted(submission));
    assert_eq!(world.engine.alive_count(), 2);
}

#[test]
fn rejections_change_nothing() {
    let mut world = World::new("h[1-2]");
    let written = world.disk.written;
    let cases = [
        (flow([]), Rejection::Invalid(InvalidFlow::Empty(None))),
        (
            flow([vec![job("h1")], vec![job("h[1-2],x[1-3]").named("b")]]),
            Rejection::UnknownHosts(JobName::new("b").unwrap(), hosts("x[1-3]")),
        ),
        (
            flow([vec![job("h[1-2000]").named("a"), job("h[1-1001]").named("b")]]),
            Rejection::TooManyTasks { tasks: 3_001, most: 3_000 },
        ),
    ];
    for (spec, expected) in cases {
        let answer = world.try_submit(spec);
        assert_eq!(rejection(answer), expected);
    }
    let mut nowhere = world.submission(flow([vec![job("h1")], vec![job("h2").named("b")]]));
    nowhere.targets[1].clear();
    let name = JobName::new("b").unwrap();
    world.input(submitted(nowhere));
    assert_eq!(rejection(world.answers.pop().unwrap()), Rejection::NoHosts(name));
    assert_eq!(world.disk.written, written);
    assert_eq!(world.engine.alive_count(), 0);
    assert_eq!(world.submit(flow([vec![job("h1")]])), FlowId(1), "no number was used up");
}

#[test]
fn a_one_of_job_counts_as_one_task() {
    let mut world = World::absent("h[1-3001]");
    let id = world.submit(flow([vec![job("h[1-3001]").one_of()]]));
    assert_eq!(world.state(id), FlowState::Running);
}

#[test]
fn an_expired_flow_leaves_store_and_memory() {
    let mut world = World::new("h1");
    let submission = world.submission(flow([vec![job("h1")]]));
    world.input(submitted(submission.clone()));
    world.work();
    let id = FlowId(1);
    world.input(Input::FlowExpired { flow: id });
    assert!(world.disk.flow(id).is_some(), "it is alive");
    let said = {
        let key = world.running("h1", id)[0];
        world.player("h1").end(key, &orchestra_model::delivery::Outcome::Exited(0));
        world.drain("h1");
        world.player("h1").waiting_reports()
    };
    world.flow_through();
    world.input(Input::FlowExpired { flow: id });
    assert!(world.disk.flow(id).is_none());
    // A repeated end does not bring back a part of it.
    for report in said {
        world.report("h1", report);
    }
    let job = orchestra_model::JobId { flow: id, slot: 1, job: 1 };
    assert!(world.disk.end(job, "h1", 1).is_none());
    world.input(submitted(submission));
    assert_eq!(world.engine.alive().next(), Some(FlowId(2)));
}
