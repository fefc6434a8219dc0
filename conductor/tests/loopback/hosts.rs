//! Names that nobody knows: an error wherever they stand, for every verb; and what `@` words there
//! are.

use orchestra_proto::v1::{self, GroupKind};
use tonic::{Code, Status};

use crate::harness::{Audience, Conductor, Place, job, request};

async fn start(groups: &str) -> (Place, Conductor, Audience) {
    let place = Place::new("fe[1-3] app=web\ndb1\n");
    place.write("groups.toml", groups);
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    (place, conductor, alice)
}

fn is_unknown(status: &Status, name: &str) -> bool {
    let hosts = status.metadata().get("orchestra-hosts").map(|value| value.to_str().unwrap());
    hosts == Some("unknown") && status.message().contains(name)
}

#[tokio::test]
async fn a_misspelt_exclusion_is_refused_by_every_verb() {
    let (_place, _conductor, alice) = start("").await;
    for expression in ["fe[1-3]!h03", "@all!h03", "@app=web&h03", "fe1^h03", "h03!h03"] {
        let refused = [
            alice.try_submit(request([job(expression)])).await.unwrap_err(),
            alice.plan(request([job(expression)])).await.unwrap_err(),
            alice.players(expression, false).await.unwrap_err(),
            alice.drain(expression, "disks").await.unwrap_err(),
            alice.undrain(expression).await.unwrap_err(),
            alice.release(expression, "mended").await.unwrap_err(),
        ];
        for status in refused {
            assert!(is_unknown(&status, "h03"), "{expression}: {status:?}");
        }
    }
    let told = alice.try_submit(request([job("fe[1-3]!h03")])).await.unwrap_err();
    assert_eq!(told.message(), "job job-1: 1 unknown host, not in the players file: h03");
    for (expression, why) in [
        ("@all!@nosuch", "there is no group nosuch; `orc groups` lists them"),
        ("@app=nosuch", "no host has the label app=nosuch; `orc groups` lists them"),
    ] {
        let status = alice.try_submit(request([job(expression)])).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().ends_with(why), "{status:?}");
    }
    assert_eq!(alice.submit([job("fe[1-3]!db1")]).await, 1, "a host may be taken away in vain");
}

#[tokio::test]
async fn who_means_it_has_what_is_unknown_left_out_and_told() {
    let (_place, _conductor, alice) = start("").await;
    let lenient =
        |targets: &str| v1::SubmitRequest { allow_unknown: true, ..request([job(targets)]) };
    let asked = lenient("fe[1-5]!h03!@nosuch,fe1");
    let answer = alice.try_submit(asked.clone()).await.unwrap();
    let told = [
        "job job-1: not in the players file, so left out: fe[4-5],h03 (3)",
        "job job-1: no such group or label, so left out: @nosuch",
    ];
    assert_eq!(answer.warnings[..2], told);
    assert_eq!(alice.flow(answer.flow).await.slots[0].jobs[0].targets, "fe[1-3]");
    assert_eq!(alice.plan(asked).await.unwrap().remarks[..2], told);
    let status = alice.try_submit(lenient("h[01-03]")).await.unwrap_err();
    assert!(status.message().contains("its host set is empty"), "{status:?}");
}

#[tokio::test]
async fn a_list_that_repeats_a_host_is_told() {
    let (_place, _conductor, alice) = start("").await;
    let answer = alice.try_submit(request([job("fe1,fe2,fe1,FE2")])).await.unwrap();
    let told = "job job-1: named more than once, but counted once: fe[1-2] (2)";
    assert_eq!(answer.warnings[0], told);
    assert_eq!(alice.plan(request([job("fe1,fe1")])).await.unwrap().remarks.len(), 1);
}

#[tokio::test]
async fn groups_name_groups_and_are_listed() {
    let (place, conductor, alice) =
        start("all-web = \"@web\"\nweb = \"@app=web!@old\"\nold = \"fe1\"\n").await;
    let group =
        |name: &str, kind, hosts: &str, count| (name.to_owned(), kind, hosts.to_owned(), count);
    assert_eq!(
        alice.groups().await,
        [
            group("all", GroupKind::All, "db1,fe[1-3]", 4),
            group("all-web", GroupKind::Group, "fe[2-3]", 2),
            group("old", GroupKind::Group, "fe1", 1),
            group("web", GroupKind::Group, "fe[2-3]", 2),
            group("app=web", GroupKind::Label, "fe[1-3]", 3),
        ]
    );
    for (groups, why) in [
        ("all = \"fe1\"\n", "groups.toml: a group cannot be named all: @all is every host"),
        ("a = \"@b\"\nb = \"@a\"\n", "groups name each other in a circle: @a names @b names @a"),
        ("a = \"@all!h03\"\n", "group a names hosts that the players file does not: h03"),
    ] {
        place.write("groups.toml", groups);
        let refused = alice.reload(false).await.unwrap_err();
        assert!(refused.message().contains(why), "{refused:?}");
    }
    assert_eq!(alice.groups().await.len(), 5, "a reload that is refused changes nothing");
    place.write("players", "\u{feff}fe[1-3] app=web\ndb1\n");
    place.write("groups.toml", "\u{feff}web = \"fe[1-2]\"\n");
    alice.reload(false).await.unwrap();
    assert_eq!(alice.groups().await[1], group("web", GroupKind::Group, "fe[1-2]", 2));
    place.write("players", "fe[1-3]!fe9 app=web\ndb1\n");
    let refused = alice.reload(false).await.unwrap_err();
    assert!(
        refused.message().contains("line 1: the host set is wrong: `!` takes away fe9"),
        "{refused:?}"
    );
    drop(conductor);
}
