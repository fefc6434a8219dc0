//! What hands know from other tools: each line of theirs, typed as a shell has it, beside what comes of it here.
//!
//! `peers/TOOL.tsv` has four columns: what it is there, the line here, its exit code, and what is told by either
//! output, of which ` && ` parts several. A line that is the name of a test is shown there and by nothing here:
//! that it is there another test looks after.

use std::{env, fs};

use crate::harness::{Fleet, binaries};

/// A file of cases.
macro_rules! cases {
    ($tool:literal) => {
        include_str!(concat!("peers/", $tool, ".tsv"))
    };
}

/// What each host says that is given as a parameter of its name; nothing of who is not.
const SAY: &str = "#!/bin/sh\neval \"printf '%b' \\\"\\$ORC_$ORC_PLAYER\\\"\"\n";

#[test]
fn groups_of_clustershells_and_genders() {
    let fleet = Fleet::new("montana[32-55,77,87-90],idaho,n[0-10],pi[0-3]").players_off().start();
    fleet.write_players(
        "montana[32-55,77,87-90]\nidaho\nn0 role=login\nn[1-5] os=debian\nn[6-10] os=other\n\
         pi[0-3] kind1=x\npi[0-3] kind2=x\n",
    );
    write_groups(
        &fleet,
        "gpuchassis = \"@chassis[4-5]\"\nsame = \"@chassis4,@chassis5\"\n\
         chassis1 = \"montana[32-33]\"\nchassis2 = \"montana[34-35]\"\nchassis3 = \"montana[36-37]\"\n\
         chassis4 = \"montana[38-39]\"\nchassis5 = \"montana[40-41]\"\nchassis6 = \"montana[42-43]\"\n\
         chassis8 = \"montana[44-45]\"\nchassis10 = \"montana[46-47]\"\nchassis12 = \"montana[48-49]\"\n\
         gpu = \"montana[38-41]\"\noverclock = \"montana[41-42]\"\nio = \"montana[4-6]\"\n\
         mds = \"montana6\"\nsingle = \"idaho\"\nUppercase = \"n1\"\nempty = \"\"\nfoo = \"n[4-5]\"\n\
         groupA = \"n1\"\nunion = \"@groupA,n2\"\n"
            .replace("montana[4-6]", "montana[50-52]")
            .replace("\"montana6\"", "\"montana52\"")
            .as_str(),
    );
    fleet.orc(&["conductor", "reload"]).exits(0);
    walk(&fleet, cases!("groups"));
}

#[test]
fn gathered_output_of_clushs_and_dshbaks() {
    let fleet =
        Fleet::new("foo[1-3,8-11],n001c[01-02],foo[00-02]s0,foo[1,3,5]s0").players_off().start();
    fleet.score("say", SAY, "");
    fleet.start_players();
    walk(&fleet, cases!("gathering"));
}

#[test]
fn constraints_of_pogos() {
    let names = "zar[1-4],host[11-99]";
    let fleet = Fleet::new("p1").start();
    fleet.write_players(&format!("p1\n{names}\nfoo[1-101].east\nfoo[1-101].west\nbar[1-10].east\nbar[1-10].west\nzar[1-10].west\n"));
    fleet.write_deployment(include_str!("peers/pogo-deployments.yaml"));
    fleet.orc(&["conductor", "reload"]).exits(0);
    walk(&fleet, cases!("pogo"));
}

#[test]
fn job_flows_of_roadrunners() {
    let fleet = Fleet::new("p[1-6]").start();
    walk(&fleet, cases!("roadrunner"));
}

#[test]
fn command_lines_and_files_of_the_first_orchestras() {
    let fleet = Fleet::new("foo[1-2]").players_off().start();
    let answer = "#!/bin/sh\nprintf 'a=1\\nnoise\\na=2\\nb=x=y\\n=z\\n c = d\\n'\n";
    for (name, text, conf) in [
        ("say", SAY, ""),
        ("answer", answer, "interface = \"pipe\"\n"),
        ("old", SAY, "interface=pipe\n"),
        ("stdin", "#!/bin/sh\nreadlink /proc/self/fd/0\n", ""),
        ("mixed", "#!/bin/sh\n[ $ORC_PLAYER = foo1 ]\n", ""),
    ] {
        fleet.score(name, text, conf);
    }
    fleet.start_players();
    walk(&fleet, cases!("first-orchestra"));
}

fn write_groups(fleet: &Fleet, text: &str) {
    fs::write(fleet.dir().join("conductor/groups.toml"), text).unwrap();
}

/// Types each line, and tells all that are not as they are written at once.
#[track_caller]
fn walk(fleet: &Fleet, cases: &str) {
    let programs = binaries::path("orc");
    let path = format!("{}:/usr/bin:/bin", programs.parent().unwrap().display());
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/peers");
    let mut wrong = Vec::new();
    for case in cases.lines().skip(1) {
        let [there, here, exit, told] = case.split('\t').collect::<Vec<_>>()[..] else {
            panic!("four columns: {case:?}");
        };
        if here.starts_with('`') {
            continue;
        }
        let here = format!("cd {} && {here}", fleet.dir().display());
        let line = fleet.tool("/bin/sh", &["-c", &here]).env("PATH", &path).env("PEERS", files);
        let ran = line.run();
        let said = format!("{}{}", ran.out, ran.err).replace('\n', "\\n");
        let lacks = told.split(" && ").any(|part| !said.contains(part));
        if ran.code() != exit.parse().ok() || lacks {
            wrong.push(format!("{there}\n{exit}\t{told}\n{ran}"));
        }
    }
    assert!(wrong.is_empty(), "{} lines:\n{}", wrong.len(), wrong.join("\n\n"));
}
