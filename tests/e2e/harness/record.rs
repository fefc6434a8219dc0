//! What scores themselves write of their starts and ends: the only witness that counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A file to which scores append lines, each with one small write.
#[derive(Clone, Debug)]
pub(crate) struct Record(PathBuf);

/// A line of it: `WHAT TASK PLAYER ATTEMPT PID`, then anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// `start`, `end`, or another word of the score's.
    pub(crate) what: String,
    /// `42.1.1@host`.
    pub(crate) task: String,
    /// The attempt, from 1.
    pub(crate) attempt: u32,
    /// Which process.
    pub(crate) pid: i32,
    /// What follows.
    pub(crate) rest: String,
}

impl Record {
    pub(super) fn new(path: PathBuf) -> Self {
        fs::write(&path, "").expect("the directory is there");
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// All whole lines.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let text = fs::read_to_string(&self.0).expect("the record is there");
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(Line::read).collect()
    }

    /// Lines of one kind.
    pub(crate) fn of(&self, what: &str) -> Vec<Line> {
        self.lines().into_iter().filter(|line| line.what == what).collect()
    }

    /// How often each task did `what`.
    pub(crate) fn count(&self, what: &str) -> BTreeMap<String, u32> {
        let mut count = BTreeMap::new();
        for line in self.of(what) {
            *count.entry(line.task).or_default() += 1;
        }
        count
    }

    /// Hosts on which something has started and not ended.
    pub(crate) fn busy(&self) -> BTreeSet<String> {
        let mut running = Running::default();
        self.lines().iter().for_each(|line| running.note(line));
        running.0.into_keys().collect()
    }

    /// The most hosts of some that were ever busy at once, whoever asked for it.
    pub(crate) fn most_at_once(&self, counts: impl Fn(&str) -> bool) -> usize {
        let mut running = Running::default();
        let mut most = 0;
        for line in self.lines() {
            running.note(&line);
            most = most.max(running.0.keys().filter(|host| counts(host)).count());
        }
        most
    }

    /// The most hosts that were ever without the service `serve`, or changed by an attempt, at once: from
    /// the line of that number on, at which all of these have it.
    pub(crate) fn most_without_service(&self, from: usize) -> usize {
        let (mut running, mut down) = (Running::default(), BTreeSet::new());
        let mut most = 0;
        for line in self.lines().into_iter().skip(from) {
            running.note(&line);
            match line.what.as_str() {
                "down" => drop(down.insert(line.host().to_owned())),
                "run" => drop(down.remove(line.host())),
                _ => {}
            }
            let busy: BTreeSet<String> = running.0.keys().cloned().collect();
            most = most.max(down.union(&busy).count());
        }
        most
    }

    /// Fails if any attempt of any task started more than once.
    pub(crate) fn nothing_started_twice(&self) {
        let mut starts = BTreeMap::new();
        for line in self.of("start") {
            if let Some(before) = starts.insert((line.task.clone(), line.attempt), line.clone()) {
                panic!("{} #{} started twice: {before:?}, {line:?}", line.task, line.attempt);
            }
        }
    }
}

/// How many attempts run on each host that is busy.
#[derive(Debug, Default)]
struct Running(BTreeMap<String, u32>);

impl Running {
    fn note(&mut self, line: &Line) {
        let count = self.0.entry(line.host().to_owned()).or_default();
        match line.what.as_str() {
            "start" => *count += 1,
            "end" => *count -= 1,
            _ => {}
        }
        self.0.retain(|_, count| *count > 0);
    }
}

impl Line {
    /// On which host.
    pub(crate) fn host(&self) -> &str {
        self.task.split_once('@').map_or("", |(_, host)| host)
    }

    fn read(line: &str) -> Self {
        let mut words = line.splitn(6, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (what, task, player) = (word(), word(), word());
        Self {
            what: what.to_owned(),
            task: format!("{task}@{player}"),
            attempt: word().parse().expect("an attempt's number"),
            pid: word().parse().expect("a process number"),
            rest: word().to_owned(),
        }
    }
}
