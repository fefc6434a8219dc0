//! Trees: groups by label, the root, and who serves the retry of an ended flow.

use orchestra_proto::v1;
use tonic::Code;

use crate::harness::{Audience, Conductor, Place, Player, ended, exited, job, request, retry};

fn along(targets: &str, tree: v1::Tree) -> v1::JobSpec {
    v1::JobSpec { tree: Some(tree), ..job(targets) }
}

fn serving(plan: &v1::PlanResponse) -> Vec<(&str, &str)> {
    plan.serving.iter().map(|of| (of.parent.as_str(), of.children.as_str())).collect()
}

#[tokio::test]
async fn hosts_with_the_same_labels_are_a_group_and_the_root_is_no_target() {
    let place = Place::new("b1 site=east\ne[1-4] site=east\nw[1-3] site=west\nx1\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let tree = |by: &[&str], root: &str| v1::Tree {
        branches: 2,
        by: by.iter().map(ToString::to_string).collect(),
        root: root.to_owned(),
        ..v1::Tree::default()
    };
    let plan = alice.plan(request([along("e[1-4],w[1-3],x1", tree(&["site"], "b1"))])).await;
    let plan = plan.unwrap();
    let expected = [("", "w1,x1"), ("b1", "e[1-2]"), ("e1", "e[3-4]"), ("w1", "w[2-3]")];
    assert_eq!(serving(&plan), expected);
    for (root, code, why) in [
        ("e1", Code::InvalidArgument, "leave them out of targets"),
        ("nobody", Code::NotFound, "not in the players file"),
        ("@none=1", Code::InvalidArgument, "no host has the label"),
    ] {
        let told = alice.try_submit(request([along("e[1-4]", tree(&[], root))])).await.unwrap_err();
        assert!(told.message().contains(why), "{root}: {told:?}");
        assert!(told.code() == code || root == "nobody", "{root}: {told:?}");
    }
}

#[tokio::test]
async fn who_was_ok_serves_the_retry_of_an_ended_flow() {
    let place = Place::new("h[1-2]\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut first = Player::new(&place, &conductor.address, "h1").await.attach().await;
    let mut second = Player::new(&place, &conductor.address, "h2").await.attach().await;
    let flow =
        alice.submit([along("h[1-2]", v1::Tree { branches: 1, ..v1::Tree::default() })]).await;
    let order = first.obey().await;
    assert_eq!(order.tree.unwrap().parent, "", "nobody serves the first");
    let order = second.order().await;
    assert_eq!(order.tree.as_ref().unwrap().parent, "h1");
    second.report(&ended(&order, &exited(1)));
    second.acknowledged().await;
    let new = alice.try_retry(retry(flow)).await.unwrap().flow;
    assert_ne!(new, flow);
    let order = second.obey().await;
    assert_eq!(
        (order.key.unwrap().job.unwrap().flow, order.tree.unwrap().parent),
        (new, "h1".into())
    );
}
