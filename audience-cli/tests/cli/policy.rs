//! Who may do what, as people and programs read it.

use orchestra_model::policy::{Right, Role};
use orchestra_proto::v1;

use crate::fake::Fake;

fn reach(all_but: bool, hosts: &str, count: u32) -> Option<v1::Reach> {
    Some(v1::Reach { all_but, hosts: hosts.to_owned(), count })
}

fn rules() -> Vec<v1::PolicyRule> {
    let words = |rights: &mut dyn Iterator<Item = Right>| rights.map(|it| it.to_string()).collect();
    let web = v1::PolicyRule {
        name: "web".to_owned(),
        who: vec!["alice".to_owned(), "bob".to_owned()],
        may: words(&mut Role::Operator.rights().chain(Right::from_word("drain"))),
        scores: vec!["deploy-*".to_owned()],
        services: vec!["web".to_owned()],
        hosts: reach(false, "w[1-3]", 3),
        ..Default::default()
    };
    let calm = v1::PolicyRule {
        name: "calm".to_owned(),
        deny: true,
        may: vec!["submit".to_owned()],
        scores: vec!["reboot".to_owned()],
        hosts: reach(true, "", 0),
        ..Default::default()
    };
    vec![web, calm]
}

#[test]
fn rules_are_read_by_people_and_programs() {
    let fake = Fake::start();
    let open = "the policy is open: every audience may do everything\n";
    fake.run("orc policy list").is(0, "", open);
    fake.run("orc whoami").is(0, "alice\n  everything: the policy is open\n", "");
    fake.tables().policy = rules();
    fake.run("orc policy list").is(
        0,
        "web allows alice, bob\n  operator, drain\n  scores: deploy-*\n  services: web\n  \
         hosts: w[1-3]\ncalm denies everybody\n  submit\n  scores: reboot\n  hosts: everywhere\n",
        "",
    );
    fake.run("orc whoami").is(
        0,
        "alice\nallowed by rule web\n  operator, drain\n  scores: deploy-*\n  services: web\n  \
         hosts: w[1-3]\ndenied by rule calm\n  submit\n  scores: reboot\n  hosts: everywhere\n",
        "",
    );
    let json = fake.run("orc policy list --json").json();
    assert_eq!(
        (&json["policy"][0]["deny"], &json["policy"][1]["who"]),
        (&false.into(), &().into())
    );
    let json = fake.run("orc whoami --json").json();
    assert_eq!(json["whoami"]["rules"][0]["hosts"]["count"], 3);
}

#[test]
fn a_question_about_a_right_names_what_limits_it() {
    let fake = Fake::start();
    fake.tables().right = v1::CheckRightResponse {
        allowed: true,
        why: String::new(),
        reach: reach(false, "w[1-3]", 3),
    };
    let asked = |line: &str| {
        fake.run(line).is(0, "yes\n", "");
        let asked = fake.tables().rights_asked.pop().unwrap();
        [asked.right, asked.score, asked.service, asked.hosts].join(" ")
    };
    assert_eq!(asked("orc policy check alice submit deploy-web w1"), "submit deploy-web  w1");
    assert_eq!(asked("orc policy check alice drain w1"), "drain   w1");
    assert_eq!(asked("orc policy check alice reload"), "reload   ");
    assert_eq!(asked("orc policy check alice service-stop web"), "service-stop  web ");
    let applied = "orc policy check alice service-apply web --score run-web";
    assert_eq!(asked(applied), "service-apply run-web web ");
    assert_eq!(asked("orc policy check alice read-output --service web"), "read-output  web ");
    for wrong in ["submit", "drain w1 w2", "submitt deploy-web", "submit a b c"] {
        let ran = fake.run(&format!("orc policy check alice {wrong}"));
        assert_eq!(ran.code, 64, "{wrong}");
    }
}

#[test]
fn who_may_not_is_told_why_and_where_they_may() {
    let fake = Fake::start();
    let why = "alice may not submit x on db1: rule web allows it on other hosts";
    fake.tables().right = v1::CheckRightResponse {
        allowed: false,
        why: why.to_owned(),
        reach: reach(false, "w[1-3]", 3),
    };
    let told = format!("no: {why}\nallowed on: w[1-3]\n");
    fake.run("orc policy check alice submit x db1").is(6, &told, "");
    let json = fake.run("orc policy check alice submit x db1 --json").json();
    assert_eq!((&json["right"]["allowed"], &json["right"]["why"]), (&false.into(), &why.into()));
}

#[test]
fn what_another_policy_changes_is_told_before_it_does() {
    let fake = Fake::start();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.toml");
    let diff = format!("orc policy diff {}", file.display());
    assert_eq!(fake.run(&diff).code, 64, "there is no such file");
    std::fs::write(&file, "no rule").unwrap();
    assert_eq!(fake.run(&diff).code, 64);
    std::fs::write(&file, "[[rule]]").unwrap();
    fake.run(&diff).is(0, "", "nobody loses or gains anything\n");
    fake.tables().differences = vec![
        v1::PolicyDifference {
            who: "alice".to_owned(),
            right: "cancel".to_owned(),
            what: "deploy-*".to_owned(),
            of_others: true,
            lost: reach(false, "w[3-4]", 2),
            gained: reach(false, "", 0),
        },
        v1::PolicyDifference {
            right: "see".to_owned(),
            lost: reach(false, "", 0),
            gained: reach(true, "db1", 1),
            ..Default::default()
        },
    ];
    fake.run(&diff).is(
        0,
        "alice loses cancel deploy-* in flows of others on w[3-4]\n\
         everybody else gains see everywhere but on db1\n",
        "",
    );
    let json = fake.run(&format!("{diff} --json")).json();
    assert_eq!(
        (&json["differences"][1]["who"], &json["differences"][0]["of_others"]),
        (&().into(), &true.into())
    );
}
