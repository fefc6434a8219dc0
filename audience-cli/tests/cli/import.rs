//! Files of other tools, as files of ours.

use std::fs;

use crate::{fake::Fake, values::running};

#[test]
fn a_griforkfile_is_a_flow_file_with_notes() {
    let fake = Fake::with(running(), Vec::new());
    let file = fake.home().join("Griforkfile");
    fs::write(&file, "branches 2\nhosts ['fe1', 'fe2']\nlocal do\n  rsync '/srv/app/'\nend\n")
        .unwrap();
    let ran = fake.run(&format!("orc import {} --root build1", file.display()));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let (notes, flow) = ran.stdout.split_once("slots:").unwrap();
    assert!(notes.starts_with("# line 3: local: becomes a score"), "{notes}");
    assert!(flow.contains("targets: \"fe[1-2]\"") && flow.contains("root: \"build1\""), "{flow}");
    assert!(ran.stderr.contains("submitjob --flow FILE --plan"), "{}", ran.stderr);
    let told = fake.run(&format!("orc import {} --json", file.display())).json();
    assert_eq!(told["import"]["notes"].as_array().unwrap().len(), 1);
    fs::write(&file, "branches 2\nhost ['fe1']\n").unwrap();
    fake.run(&format!("orc import {}", file.display()))
        .fails(64, &["Griforkfile as a Griforkfile", "line 2: unknown word \"host\""]);
}

#[test]
fn a_job_flow_of_roadrunners_is_a_flow_file_with_notes() {
    let fake = Fake::with(running(), Vec::new());
    let file = fake.home().join("test_flow.json");
    let job = "{\"job_id\": \"job1\", \"cmd\": \"uname -a\", \"hosts\": [\"fe1\", \"fe2\"]}";
    let flow = format!(
        "{{\"default_job_timeout\": \"10\", \"default_retries\": \"3\", \"job_flow\": [\n\
         {{\"slot_id\": \"slot1\", \"jobs\": [{job}]}}]}}\n"
    );
    fs::write(&file, flow).unwrap();
    let ran = fake.run(&format!("orc import {}", file.display()));
    let (notes, flow) = ran.stdout.split_once("slots:").unwrap();
    let note = "# slot 1, job 1: cmd: commands are not sent; score job1 has to do: uname -a\n";
    assert!(ran.code == 0 && notes.contains(note), "{ran:?}");
    assert!(flow.contains("targets: \"fe[1-2]\"\n        timeout: 10s\n"), "{flow}");
    let ran = fake.run(&format!("orc import {} --score run --json", file.display()));
    let told = ran.json()["import"]["file"].as_str().unwrap().to_owned();
    assert!(told.contains("score: run\n"), "{told}");
    fake.run(&format!("orc import {} --root fe1", file.display())).fails(64, &["has no tree"]);
    fs::write(&file, "{\"slots\": []}\n").unwrap();
    fake.run(&format!("orc import {}", file.display()))
        .fails(64, &["as a job flow of roadrunner's", "job_flow is missing"]);
}

#[test]
fn constraints_of_pogos_are_deployments_named_as_their_file() {
    let fake = Fake::with(running(), Vec::new());
    let file = fake.home().join("shop.yaml");
    let text = "plugins: {targets: Inline}\napps: {web: 'fe[1-4]'}\nenvs: {coast: {east: 'fe[1-4]'}}\n\
                constraints: {coast: {concurrency: [{web: 25%}]}}\n";
    fs::write(&file, text).unwrap();
    let ran = fake.run(&format!("orc import {}", file.display()));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        ran.stdout.starts_with("# plugins: nothing is loaded") && ran.stdout.contains("\nshop:\n")
    );
    fs::write(&file, &ran.stdout).unwrap();
    let checked = fake.run(&format!("orc deployment check {} --show", file.display()));
    assert!(checked.code == 0 && checked.stdout.contains("web: 25%"), "{checked:?}");
    fs::write(&file, "appgroups: {web: [fe1]}\n").unwrap();
    fake.run(&format!("orc import {}", file.display()))
        .fails(64, &["as constraints of pogo's", "of the first form"]);
}

#[test]
fn what_the_first_orchestra_read_is_written_as_ours() {
    let fake = Fake::with(running(), Vec::new());
    let file = fake.home().join("theirs");
    for (theirs, ours) in [
        ("submitjob -all-of hello fe1 ! name you\n", "submitjob hello name=you --all-of fe1\n"),
        ("interface=pipe\n", "interface = \"pipe\"\n"),
        ("fe1\nfe2\n", "fe1\nfe2\n"),
    ] {
        fs::write(&file, theirs).unwrap();
        let ran = fake.run(&format!("orc import {}", file.display()));
        assert!(ran.code == 0 && ran.stdout.ends_with(ours), "{ran:?}");
    }
    fake.run("submitjob -all-of hello fe1").fails(64, &["hint: what was", "orc import -"]);
}

#[test]
fn a_job_of_cerebros_is_a_service_of_a_score() {
    let fake = Fake::with(running(), Vec::new());
    let file = fake.home().join("portal.json");
    let job = "{\"deployment_layout\": {\"east\": {\"cpu\": 3, \"mem\": 500}},\n \
               \"task_configuration\": {\"name\": \"Portal\", \"command\": \"/opt/run\", \"cpu\": .5,}}\n";
    fs::write(&file, job).unwrap();
    fake.run(&format!("orc service job_update_cfg {}", file.display()))
        .fails(64, &["as a job of Cerebro's", "line 2", "name it by --score"]);
    let ran = fake.run(&format!("orc service import {} --score run-portal", file.display()));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for line in ["service: portal\n", "score: run-portal\n", "    east: 3\n", "  cpu: 0.5\n"] {
        assert!(ran.stdout.contains(line), "{line}: {}", ran.stdout);
    }
    assert!(ran.stdout.starts_with("# deployment_layout.east.cpu: so many"), "{}", ran.stdout);
    let line = format!("orc service import {} --score run-portal --name it --json", file.display());
    let file = fake.run(&line).json()["import"]["file"].as_str().unwrap().to_owned();
    assert!(file.starts_with("service: it\n"), "{file}");
}
