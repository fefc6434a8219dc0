use orchestra_document::Format;
use orchestra_model::{flow::JobSpec, quantity::Quantity, time::Millis};

use super::*;
use crate::flow::{Overrides, read_file};

/// A flow with one job, and what else it says.
fn flow_of(job: &str) -> Result<JobFlow, String> {
    let text = format!(
        r#"{{"default_job_timeout": "10", "default_retries": "3", "job_flow": [
            {{"slot_id": "one", "jobs": [{{"job_id": "j", "cmd": "ls", {job}}}]}}]}}"#
    );
    JobFlow::read(&text, None).map_err(|problems| problems.to_string())
}

/// The first job, as the reader of flow files has it.
fn job_of(flow: &JobFlow) -> JobSpec {
    let text = flow.flow();
    let read = read_file(&text, Format::Yaml, "it", &Overrides::default()).unwrap();
    read.spec.slots[0].jobs[0].clone()
}

#[test]
fn slots_jobs_and_defaults_become_ours_and_commands_notes() {
    let text = "{\n\t\"default_job_timeout\": \"10\",\n\t\"default_retries\": \"3\",\n\t\"job_flow\": [{\n\
        \"slot_id\": \"slot1\", \"jobs\": [\
        {\"job_id\": \"job1\", \"success_constraint\": \"100%\", \"parallelism\": \"50%\",\
         \"cmd\": \"ls -l txt\", \"hosts\": [\"localhost\", \"localhost\"]},\
        {\"job_id\": \"job2\", \"success_constraint\": \"100%\", \"cmd\": \"ls; uname -a\",\
         \"hosts\": [\"localhost\"]}]}]}";
    let flow = JobFlow::read(text, None).unwrap();
    let written = flow.flow();
    let read = read_file(&written, Format::Yaml, "it", &Overrides::default()).unwrap();
    let jobs = &read.spec.slots[0].jobs;
    assert_eq!((read.spec.slots.len(), jobs.len()), (1, 2), "{written}");
    assert_eq!((jobs[0].score.as_str(), jobs[0].targets.as_str()), ("job1", "localhost"));
    assert_eq!((jobs[0].timeout, jobs[0].retries), (Some(Millis::seconds(10)), 2));
    assert_eq!((jobs[0].parallel, jobs[1].parallel), (Quantity::Count(1), Quantity::Percent(100)));
    for note in [
        "slot 1, job 1: cmd: commands are not sent; score job1 has to do: ls -l txt",
        "slot 1, job 1: hosts: a host that stood twice ran it twice there",
        "slot 1, job 2: cmd: commands are not sent; score job2 has to do: ls; uname -a",
        "timeout: there the time after which roadrunner waited no longer",
        "parallel: there the next hosts began once all of those before were done",
    ] {
        assert!(flow.notes.iter().any(|told| told.starts_with(note)), "{note}: {:?}", flow.notes);
    }
    let score = ScoreName::new("run-it").unwrap();
    let flow = JobFlow::read(text, Some(&score)).unwrap();
    assert_eq!(job_of(&flow).score, score);
}

#[test]
fn amounts_are_what_they_were_for_roadrunner() {
    const SIX: &str = r#""hosts": ["a1", "a2", "a3", "a4", "a5", "a6"]"#;
    let success = |amount: &str| {
        let flow = flow_of(&format!(r#""success_constraint": {amount}, {SIX}"#)).unwrap();
        (job_of(&flow).success, flow.notes.iter().any(|note| note.contains("rounded down")))
    };
    let count = |n| Some(Quantity::Count(n));
    assert_eq!(success("\"80%\""), (count(4), true));
    assert_eq!(success("\"50%\""), (count(3), false));
    assert_eq!(success("\"0\""), (count(1), false));
    assert_eq!(success("\"0%\""), (count(1), false));
    assert_eq!(success("\"9\""), (None, false));
    assert_eq!(success("9"), (None, false));
    let parallel = |amount: &str| {
        let hosts = r#""hosts": ["a1", "a2", "a3"]"#;
        job_of(&flow_of(&format!(r#""parallelism": "{amount}", {hosts}"#)).unwrap()).parallel
    };
    assert_eq!((parallel("50%"), parallel("10%")), (Quantity::Count(1), Quantity::Count(1)));
}

#[test]
fn numbers_may_be_texts_and_retries_count_the_first_time() {
    let flow = flow_of(r#""hosts": ["a"], "timeout": 20, "retries": "1""#).unwrap();
    let job = job_of(&flow);
    assert_eq!((job.timeout, job.retries), (Some(Millis::seconds(20)), 0));
    let flow = flow_of(r#""hosts": ["a"], "retries": 0"#).unwrap();
    assert!(flow.notes.iter().any(|note| note.contains("with 0 nothing ran there")));
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let told = flow_of(r#""hosts": [], "timeout": "soon", "parallelism": true, "colour": 1"#);
    let told = told.unwrap_err();
    for part in [
        "timeout: expected a number from 0 on",
        "parallelism: expected a number of hosts, or a part of them",
        "unknown field \"colour\"",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(flow_of(r#""hosts": ["../x"]"#).unwrap_err().contains("slot 1, job 1: hosts: "));
    assert!(JobFlow::read("{}", None).unwrap_err().to_string().contains("job_flow is missing"));
}
