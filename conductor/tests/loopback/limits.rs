//! Limits: what they come to is decided once, told beforehand, and never without effect in silence.

use orchestra_proto::v1;
use tonic::Code;

use crate::harness::{
    Audience, Conductor, Place, Player, count, ended, exited, job, one_of, percent, request, retry,
};

async fn start(players: &str) -> (Place, Conductor, Audience) {
    let place = Place::new(players);
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    (place, conductor, alice)
}

#[tokio::test]
async fn a_limit_that_could_not_take_effect_is_refused() {
    let (_place, _conductor, alice) = start("n[1-4]\n").await;
    let two = || job("n[1-2]");
    for (asked, why) in [
        (v1::JobSpec { success: count(5), ..two() }, "job job-1: success is 5, and its host set"),
        (v1::JobSpec { max_failures: count(3), ..two() }, "max_failures is 3, and its host set"),
        (v1::JobSpec { quorum: count(3), ..two() }, "quorum is 3, and its host set has 2 hosts"),
        (v1::JobSpec { canary: count(3), ..two() }, "canary is 3, and its host set has 2 hosts"),
        (v1::JobSpec { quorum: count(3), ..one_of("n[1-2]") }, "quorum is 3, and its host set"),
        (v1::JobSpec { max_failures: count(1), ..one_of("n[1-2]") }, "max_failures makes no"),
        (v1::JobSpec { success: percent(50), ..one_of("n[1-2]") }, "success other than 100%"),
    ] {
        for status in [
            alice.try_submit(request([asked.clone()])).await.unwrap_err(),
            alice.plan(request([asked.clone()])).await.unwrap_err(),
        ] {
            assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
            assert!(status.message().contains(why), "{why:?} in {status:?}");
        }
    }
    assert_eq!(alice.submit([v1::JobSpec { success: count(2), ..two() }]).await, 1);
}

#[tokio::test]
async fn what_limits_come_to_is_told_before_and_after() {
    let (_place, _conductor, alice) = start("n[1-9]\n").await;
    let most = v1::JobSpec { max_failures: percent(25), ..job("n[1-9]") };
    let none = v1::JobSpec { success: count(0), parallel: percent(50), ..job("n[1-9]") };
    let both = v1::JobSpec { success: percent(80), max_failures: count(4), ..job("n[1-9]") };
    let asked = request([most, none, both]);
    let plan = alice.plan(asked.clone()).await.unwrap();
    let limits: Vec<_> = plan
        .limits
        .iter()
        .map(|limit| (&*limit.job_name, &*limit.limit, limit.asked.is_some(), limit.comes_to))
        .collect();
    assert_eq!(
        limits,
        [
            ("job-1", "success", false, 7),
            ("job-1", "max_failures", true, 2),
            ("job-2", "parallel", true, 4),
            ("job-2", "success", true, 0),
            ("job-2", "max_failures", false, 9),
            ("job-3", "success", true, 8),
            ("job-3", "max_failures", true, 4),
        ]
    );
    let told = [
        "job job-2: no host has to succeed",
        "job job-3: max_failures 4 tolerates 4 failures, but success 80% of 9 leaves 1",
    ];
    let answer = alice.try_submit(asked).await.unwrap();
    for remarks in [&plan.remarks, &answer.warnings] {
        for (remark, told) in remarks.iter().zip(told) {
            assert!(remark.starts_with(told), "{remarks:?}");
        }
    }
    let needed: Vec<u32> =
        alice.flow(answer.flow).await.slots.iter().map(|slot| slot.jobs[0].needed).collect();
    assert_eq!(needed, [7, 0, 8]);
}

/// Of the job's four hosts one may fail, and three have to succeed: two did, so one of the other
/// two has to. A limit that was made for more hosts than are left is capped.
#[tokio::test]
async fn a_retry_needs_what_is_missing_and_at_least_one() {
    let (place, conductor, alice) = start("n[1-4]\n").await;
    let mut sessions = Vec::new();
    for host in ["n1", "n2", "n3", "n4"] {
        sessions.push(Player::new(&place, &conductor.address, host).await.attach().await);
    }
    let asked = v1::JobSpec { max_failures: count(1), canary: count(4), ..job("n[1-4]") };
    let none = v1::JobSpec { success: count(0), ..job("n[1-4]") };
    let mut flows = Vec::new();
    for (job, verdict) in [(asked, "failed"), (none, "ok")] {
        let flow = alice.submit([job]).await;
        flows.push(flow);
        for (at, session) in sessions.iter_mut().enumerate() {
            let order = session.order().await;
            session.report(&ended(&order, &exited(i32::from(at >= 2))));
            session.acknowledged().await;
        }
        assert_eq!(alice.verdict(flow).await, verdict);
    }
    for flow in flows {
        let retried = alice.try_retry(retry(flow)).await.unwrap();
        let status = alice.flow(retried.flow).await;
        let job = &status.slots[0].jobs[0];
        assert_eq!((job.targets.as_str(), job.needed), ("n[3-4]", 1), "{job:?}");
    }
}
