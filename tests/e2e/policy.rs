//! Who may do what: a policy in force, over the tools that people have.

use std::fs;

use orchestra_certs::Role;
use rustix::process::Signal;

use crate::harness::{Fleet, ROOT, Ran, Tool, eventually, set_mode};

const POLICY: &str = r#"
[groups]
web-team = ["bob"]

[[rule]]
name = "web"
who = ["@web-team"]
may = ["operator"]
scores = ["hello"]
hosts = "w[1-2]"
"#;

#[test]
fn whoever_asks_is_held_to_the_policy_in_force() {
    let fleet = Fleet::new("w[1-2],db1").policy(&[ROOT, POLICY].concat()).start();
    fleet.certificate(Role::Audience, "bob");
    let bob = |program: &str, arguments: &[&str]| -> Ran {
        fleet.tool_as("audience", "bob", program, arguments).run()
    };
    let whoami = bob("orc", &["whoami"]).exits(0);
    assert!(whoami.out.contains("allowed by rule web\n  operator\n"), "{whoami}");
    bob("submitjob", &["hello", "-w", "w[1-2]", "--wait"]).exits(0);
    let refused = bob("submitjob", &["hello", "-w", "@all"]).exits(6);
    let told = "bob may not submit hello on hosts that you may not know of: rule web allows it on other \
                hosts; `orc whoami`";
    assert!(refused.err.contains(told), "{refused}");
    let unknown = bob("submitjob", &["hello", "-w", "w1,db1"]).exits(3);
    assert!(unknown.err.contains("db1, or not among what you may know of"), "{unknown}");
    // What alice does elsewhere does not exist for bob, and what she does here is not his.
    let hidden = fleet.run(&["hello", "-w", "db1"]).to_string();
    bob("getstatus", &[&hidden]).exits(8);
    let hers = fleet.run(&["hello", "-w", "w1"]).to_string();
    bob("getstatus", &[&hers]).exits(0);
    bob("orc", &["retry", &hers]).exits(9);
    bob("orc", &["drain", "w1", "--reason", "disk"]).exits(6);
    assert_eq!(
        bob("orc", &["policy", "check", "bob", "submit", "hello", "w1"]).exits(0).out,
        "yes\n"
    );
    bob("orc", &["policy", "check", "bob", "drain", "w1"]).exits(6);

    // The file says more: told before, in force after, also by a signal; a broken one changes nothing.
    let file = fleet.dir().join("conductor/policy.toml");
    let path = file.display().to_string();
    fs::write(
        &file,
        [ROOT, &POLICY.replace("[\"operator\"]", "[\"operator\", \"drain\"]")].concat(),
    )
    .expect("a file");
    let diff = fleet.orc(&["policy", "diff", &path]).exits(0);
    assert_eq!(diff.out, "bob gains drain on w[1-2]\n");
    bob("orc", &["drain", "w1", "--reason", "disk"]).exits(6);
    fleet.conductor.signal(Signal::HUP);
    eventually("the reload", || {
        let drained = bob("orc", &["drain", "w1", "--reason", "disk"]);
        (drained.code() == Some(0)).then_some(())
    });
    fs::write(&file, "[[rule]]\nname = \"x\"\n").expect("a file");
    fleet.orc(&["conductor", "reload"]).exits(1);
    bob("orc", &["undrain", "w1"]).exits(6);
    bob("orc", &["drain", "w2", "--reason", "disk"]).exits(0);
    // A conductor that starts takes no broken one either.
    fleet.conductor.kill();
    fs::write(&file, [ROOT, POLICY].concat()).expect("a file");
    fleet.start_conductor();
    bob("orc", &["drain", "w1", "--reason", "disk"]).exits(6);
}

/// What the conductor allows a host may still refuse, by a policy of its own; and a file that it names
/// and that is not there allows nothing, or nothing new.
#[test]
fn a_host_runs_what_its_own_policy_allows_too() {
    let fleet = Fleet::new("p1").player_key("policy", "\"policy.toml\"").start();
    let file = fleet.dir().join("players/p1/policy.toml");
    let refused = |score: &str, why: &str| {
        let flow = fleet.submitjob(&[score, "-w", "p1"]).exits(0).id();
        fleet.wait_flow(flow);
        let task = fleet.task(flow);
        assert_eq!(task["state"], "refused", "{task}");
        let detail = task["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("the host's own policy: ") && detail.contains(why), "{task}");
    };
    refused("hello", "policy.toml: it cannot be read");
    let write = |text: &str| {
        fs::write(&file, text).expect("a file");
        set_mode(&file, 0o644);
    };
    let reload = || {
        let before = fleet.player("p1").sitter.log().matches("read the host's policy").count();
        fleet.player("p1").sitter.signal(Signal::HUP);
        eventually("the policy to be read", || {
            let log = fleet.player("p1").sitter.log();
            (log.matches("read the host's policy").count() > before).then_some(())
        });
    };
    write("[[allow]]\nwho = [\"alice\"]\nscores = [\"hell*\"]\n");
    reload();
    fleet.run(&["hello", "-w", "p1"]);
    refused("work", "nothing in it lets alice run work here");
    // Neither does a broken one lift it, nor one that is gone.
    write("[[allow]]\n");
    reload();
    refused("work", "nothing in it lets alice run work here");
    fs::remove_file(&file).expect("it is there");
    reload();
    fleet.run(&["hello", "-w", "p1"]);
    refused("work", "nothing in it lets alice run work here");
    // A service is somebody's too.
    let service = fleet.service_file("p1", "");
    fleet.orc(&["service", "apply", &service, "--wait"]).exits(2).complains("1 refused");
    let config = fleet.dir().join("players/p1/player.toml");
    let config = config.display().to_string();
    let checked = Tool::new("player", &["--check", "--config", &config]).run().exits(1);
    let told = format!("{}{}", checked.out, checked.err);
    assert!(told.contains("policy: ") && told.contains("it cannot be read"), "{told}");
}
