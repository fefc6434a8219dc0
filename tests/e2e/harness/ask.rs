//! What a fleet can be asked, through the tools that an operator has.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::Value;

use super::{
    Fleet, Process, Ran, Tool, eventually,
    fleet::{CONDUCTOR, DOMAIN},
    process::{is_alive, processes_with},
};

impl Fleet {
    /// A tool that speaks to this conductor as alice.
    pub(crate) fn tool(&self, program: &str, arguments: &[&str]) -> Tool {
        self.tool_as("audience", "alice", program, arguments)
    }

    /// A tool with any certificate of the fleet's CA.
    pub(crate) fn tool_as(
        &self,
        role: &str,
        name: &str,
        program: &str,
        arguments: &[&str],
    ) -> Tool {
        let ca = self.dir().join("ca").display().to_string();
        Tool::new(program, arguments)
            .env("HOME", &ca)
            .env("ORCHESTRA_CONDUCTOR", &self.address())
            .env("ORCHESTRA_CONDUCTOR_NAME", CONDUCTOR)
            .env("ORCHESTRA_DOMAIN", DOMAIN)
            .env("ORCHESTRA_CA", &format!("{ca}/ca.pem"))
            .env("ORCHESTRA_CERT", &format!("{ca}/{role}/{name}.pem"))
            .env("ORCHESTRA_KEY", &format!("{ca}/{role}/{name}.key"))
    }

    /// Runs `submitjob`.
    pub(crate) fn submitjob(&self, arguments: &[&str]) -> Ran {
        self.tool("submitjob", arguments).run()
    }

    /// Submits while the conductor has not heard of any player since it started, so that players
    /// alone decide what they take; the flows.
    #[track_caller]
    pub(crate) fn submit_unheard(&self, submissions: &[Vec<&str>]) -> Vec<u64> {
        self.players().for_each(|player| player.sitter.kill());
        self.crash_conductor();
        let submitted =
            submissions.iter().map(|arguments| self.submitjob(arguments).exits(0).id()).collect();
        self.start_players();
        submitted
    }

    /// Runs `getstatus`.
    pub(crate) fn getstatus(&self, arguments: &[&str]) -> Ran {
        self.tool("getstatus", arguments).run()
    }

    /// Runs `orc`.
    pub(crate) fn orc(&self, arguments: &[&str]) -> Ran {
        self.tool("orc", arguments).run()
    }

    /// Writes a flow file; its path.
    pub(crate) fn flow_file(&self, flow: &Value) -> String {
        static FLOWS: AtomicU32 = AtomicU32::new(0);
        let name = format!("flow-{}.json", FLOWS.fetch_add(1, Ordering::Relaxed));
        let path = self.dir().join(name);
        fs::write(&path, flow.to_string()).expect("a file");
        path.display().to_string()
    }

    /// Submits a flow; its id.
    #[track_caller]
    pub(crate) fn submit_flow(&self, flow: &Value) -> u64 {
        self.submitjob(&["--flow", &self.flow_file(flow)]).exits(0).id()
    }

    /// Waits until a flow has ended; `orc wait`'s exit tells how.
    pub(crate) fn wait_flow(&self, flow: u64) -> Ran {
        self.orc(&["wait", &flow.to_string(), "--wait-timeout", "100s"])
    }

    /// A flow as `getstatus --json` tells it.
    #[track_caller]
    pub(crate) fn flow(&self, flow: u64) -> Value {
        self.getstatus(&[&flow.to_string(), "--json"]).json()["flow"].take()
    }

    /// The tasks of a flow as `getstatus --tasks --json` tells them.
    #[track_caller]
    pub(crate) fn tasks(&self, flow: u64) -> Vec<Value> {
        let mut document = self.getstatus(&[&flow.to_string(), "--tasks", "--json"]).json();
        let slots = document["flow"]["slots"].as_array_mut().expect("slots").iter_mut();
        let jobs = slots.flat_map(|slot| slot["jobs"].as_array_mut().expect("jobs").iter_mut());
        let tasks = jobs.flat_map(|job| job["tasks"].as_array_mut().expect("tasks").iter_mut());
        tasks.map(Value::take).collect()
    }

    /// The state of each task of a flow, by `42.1.1@host`.
    #[track_caller]
    pub(crate) fn states(&self, flow: u64) -> BTreeMap<String, String> {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        self.tasks(flow).iter().map(|task| (text(&task["id"]), text(&task["state"]))).collect()
    }

    /// The only task of a flow.
    #[track_caller]
    pub(crate) fn task(&self, flow: u64) -> Value {
        let mut tasks = self.tasks(flow);
        assert_eq!(tasks.len(), 1, "{tasks:?}");
        tasks.remove(0)
    }

    /// Submits to `p1`, whose disk has just been filled, until it refuses for a reason with this word:
    /// a journal that ends within a block has some space left.
    #[track_caller]
    pub(crate) fn wait_for_a_refusal(&self, word: &str) {
        let refused = eventually("an order to be refused", || {
            let ran = self.submitjob(&["work", "seconds=0", "-w", "p1", "--wait"]);
            (ran.code() != Some(0)).then(|| ran.exits(2).id())
        });
        let task = self.task(refused);
        assert_eq!(task["state"], "refused", "{task}");
        assert!(task["detail"].as_str().unwrap().contains(word), "{task}");
    }

    /// Waits until the only task of a flow is in `state`.
    pub(crate) fn wait_state(&self, flow: u64, state: &str) {
        eventually(&format!("the task of flow {flow} to be {state}"), || {
            (self.task(flow)["state"] == state).then_some(())
        });
    }

    /// Waits until a flow is in `state`.
    pub(crate) fn wait_flow_state(&self, flow: u64, state: &str) {
        eventually(&format!("flow {flow} to be {state}"), || {
            (self.flow(flow)["state"] == state).then_some(())
        });
    }

    /// Waits until all of a flow's tasks that have not ended run or wait for one of `reasons`; the
    /// hosts on which it runs.
    pub(crate) fn wait_settled(&self, flow: u64, reasons: &[&str]) -> BTreeSet<String> {
        let mut told = Vec::new();
        eventually(&format!("flow {flow} to run, or to wait for {reasons:?}"), || {
            told = self.tasks(flow);
            let settled = |task: &Value| match task["state"].as_str() {
                Some("waiting") => reasons.iter().any(|reason| task["reason"] == *reason),
                state => state != Some("sent"),
            };
            told.iter().all(settled).then_some(())
        });
        let running = told.iter().filter(|task| task["state"] == "running");
        running.map(|task| task["host"].as_str().expect("a name").to_owned()).collect()
    }

    /// Runs a score on hosts to its end; the flow.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> u64 {
        let flow = self.submitjob(arguments).exits(0).id();
        let ran = self.wait_flow(flow);
        assert_ne!(ran.code(), Some(124), "it has not ended: {ran}");
        flow
    }

    /// Everything that runs and was started by a score of this fleet.
    pub(crate) fn score_processes(&self) -> Vec<Process> {
        let mark = format!("ORC_SCORE_DIR={}", self.dir().join("scores").display());
        let mut all = processes_with(&mark);
        all.retain(|process| process.environment.contains(&mark) && is_alive(process.pid));
        all
    }

    /// Waits until nothing runs that a score of this fleet started.
    pub(crate) fn wait_no_score_runs(&self) {
        let mut left = Vec::new();
        let what = "every process of a score to be gone";
        eventually(what, || {
            left = self.score_processes();
            left.is_empty().then_some(())
        });
    }
}
