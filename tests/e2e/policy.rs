//! Who may do what: a policy in force, over the tools that people have.

use std::fs;

use orchestra_certs::Role;
use rustix::process::Signal;

use crate::harness::{Fleet, Ran, eventually};

const POLICY: &str = r#"
[groups]
web-team = ["bob"]

[[rule]]
name = "root"
who = ["alice"]
may = ["admin"]
scores = ["*"]
services = ["*"]
bundles = ["*"]
hosts = "*"

[[rule]]
name = "web"
who = ["@web-team"]
may = ["operator"]
scores = ["hello"]
hosts = "w[1-2]"
"#;

#[test]
fn whoever_asks_is_held_to_the_policy_in_force() {
    let fleet = Fleet::new("w[1-2],db1").policy(POLICY).start();
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
    fs::write(&file, POLICY.replace("[\"operator\"]", "[\"operator\", \"drain\"]"))
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
    fs::write(&file, POLICY).expect("a file");
    fleet.start_conductor();
    bob("orc", &["drain", "w1", "--reason", "disk"]).exits(6);
}
