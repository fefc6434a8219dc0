//! Roadrunner's job flows: JSON with slots of jobs, each a command over ssh on hosts.
//!
//! ```json
//! {"default_job_timeout": "10", "default_retries": "3",
//!  "job_flow": [{"slot_id": "slot1", "jobs": [
//!     {"job_id": "job1", "success_constraint": "80%", "parallelism": "50%",
//!      "cmd": "uname -a", "hosts": ["db1", "db2"]}]}]}
//! ```
//!
//! Numbers may be texts. Commands are not sent here, so each becomes a note that says which score has to
//! do what it did.

use std::fmt::Write as _;

use orchestra_document::{Fields, Format, Node, Problems};
use orchestra_model::{
    hostset::HostSet,
    names::{HostName, JobName, ScoreName},
};

use super::quoted;

#[cfg(test)]
mod tests;

/// A job flow as a flow of ours.
#[derive(Debug)]
pub(super) struct JobFlow {
    slots: Vec<Slot>,
    /// What was left out, or means something else here; each with its place.
    pub(super) notes: Vec<String>,
}

#[derive(Debug)]
struct Slot {
    name: String,
    jobs: Vec<Job>,
}

#[derive(Debug)]
struct Job {
    name: JobName,
    score: ScoreName,
    hosts: HostSet,
    /// In seconds.
    timeout: u64,
    retries: u64,
    /// How many hosts suffice; `None`: all of them.
    success: Option<u64>,
    /// How many at once; `None`: all of them.
    parallel: Option<u64>,
}

/// What holds for jobs that say nothing themselves.
struct Defaults {
    timeout: Option<u64>,
    retries: Option<u64>,
}

impl JobFlow {
    /// Whether a text may be one: they alone are JSON.
    pub(super) fn is_likely(text: &str) -> bool {
        text.trim_start().starts_with('{')
    }

    /// Whether a text is one, whatever else it might be.
    pub(super) fn is_one(text: &str) -> bool {
        matches!(Format::Json.parse(text), Ok(Node::Map(fields))
            if fields.iter().any(|(key, _)| &**key == "job_flow"))
    }

    /// Reads one. `score` stands for every command; without it each job has a score of its own name.
    /// Fails with everything that is wrong, each with its place.
    pub(super) fn read(text: &str, score: Option<&ScoreName>) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let mut reader = Reader { score, notes: Vec::new() };
        let slots = match Format::Json.parse(text) {
            Ok(tree) => reader.flow(&tree, &mut problems),
            Err(malformed) => {
                problems.add("", malformed);
                None
            }
        };
        problems.into_result()?;
        let slots = slots.unwrap_or_default();
        let general = [
            "timeout: there the time after which roadrunner waited no longer for hosts that began \
             together, while the command ran on; here the task is ended",
            "parallel: there the next hosts began once all of those before were done; here another host \
             begins as soon as one is",
        ];
        let is_wave = slots.iter().flat_map(|slot| &slot.jobs).any(|job| job.parallel.is_some());
        let general = general.into_iter().take(1 + usize::from(is_wave)).map(str::to_owned);
        Ok(Self { slots, notes: reader.notes.into_iter().chain(general).collect() })
    }

    /// The flow file, in YAML.
    pub(super) fn flow(&self) -> String {
        let mut text = String::from("slots:\n");
        for slot in &self.slots {
            // Writing to a string does not fail.
            let _ = write_slot(slot, &mut text);
        }
        text
    }
}

fn write_slot(slot: &Slot, text: &mut String) -> std::fmt::Result {
    writeln!(text, "  # {}\n  - jobs:", quoted(&slot.name))?;
    for job in &slot.jobs {
        writeln!(text, "      - name: {}\n        score: {}", job.name, job.score)?;
        writeln!(text, "        targets: {}", quoted(&job.hosts.to_string()))?;
        writeln!(text, "        timeout: {}s\n        retries: {}", job.timeout, job.retries)?;
        for (key, value) in [("success", job.success), ("parallel", job.parallel)] {
            if let Some(value) = value {
                writeln!(text, "        {key}: {value}")?;
            }
        }
    }
    Ok(())
}

struct Reader<'a> {
    score: Option<&'a ScoreName>,
    notes: Vec<String>,
}

impl Reader<'_> {
    fn flow(&mut self, tree: &Node, problems: &mut Problems) -> Option<Vec<Slot>> {
        let mut fields = Fields::of(tree, "", problems)?;
        let defaults = Defaults {
            timeout: whole(&mut fields, "default_job_timeout", problems),
            retries: whole(&mut fields, "default_retries", problems),
        };
        let slots = fields.list("job_flow", problems);
        for name in ["default_job_timeout", "default_retries", "job_flow"] {
            fields.needed(name, problems);
        }
        fields.finish(&[], problems);
        let slots = slots?.iter().enumerate();
        let read = |(index, slot)| self.slot(slot, index + 1, &defaults, problems);
        Some(slots.filter_map(read).collect())
    }

    fn slot(
        &mut self,
        node: &Node,
        number: usize,
        defaults: &Defaults,
        problems: &mut Problems,
    ) -> Option<Slot> {
        let place = format!("slot {number}");
        let mut fields = Fields::of(node, &place, problems)?;
        let name = fields.text("slot_id", problems).unwrap_or_default().to_owned();
        let jobs = fields.list("jobs", problems);
        for needed in ["slot_id", "jobs"] {
            fields.needed(needed, problems);
        }
        fields.finish(&[], problems);
        let jobs = (1..).zip(jobs?);
        let jobs = jobs.filter_map(|(job, node)| {
            self.job(node, &format!("{place}, job {job}"), defaults, problems)
        });
        Some(Slot { name, jobs: jobs.collect() })
    }

    fn job(
        &mut self,
        node: &Node,
        place: &str,
        defaults: &Defaults,
        problems: &mut Problems,
    ) -> Option<Job> {
        let mut fields = Fields::of(node, place, problems)?;
        let name = fields.parsed::<JobName>("job_id", problems);
        let command = fields.text("cmd", problems);
        let hosts = fields.texts("hosts", problems);
        let timeout = whole(&mut fields, "timeout", problems).or(defaults.timeout);
        let retries = whole(&mut fields, "retries", problems).or(defaults.retries);
        let success = quantity(&mut fields, "success_constraint", problems);
        let parallel = quantity(&mut fields, "parallelism", problems);
        for needed in ["job_id", "cmd", "hosts"] {
            fields.needed(needed, problems);
        }
        fields.finish(&[], problems);
        let (name, command, names) = (name?, command?, hosts?);
        let score = match self.score {
            Some(score) => score.clone(),
            None => ScoreName::new(name.as_str())
                .map_err(|error| problems.add(place, format_args!("as a score: {error}")))
                .ok()?,
        };
        let must = format!("cmd: commands are not sent; score {score} has to do: {command}");
        self.note(place, &must);
        let hosts = self.hosts(place, &names, problems)?;
        let total = names.len() as u64;
        let times = retries.unwrap_or(1);
        if times == 0 {
            self.note(place, "retries: with 0 nothing ran there; here it runs once");
        }
        if let Some(Amount::Percent(percent)) = success
            && !percent.saturating_mul(total).is_multiple_of(100)
        {
            let count = success.map_or(total, |success| success.of(total));
            let text = format!(
                "success: {percent}% of {total} hosts were {count} there, where it was rounded down"
            );
            self.note(place, &text);
        }
        Some(Job {
            name,
            score,
            hosts,
            timeout: timeout.unwrap_or(1).max(1),
            // There the number counts the first time, too.
            retries: times.saturating_sub(1),
            success: success.map(|success| success.of(total)).filter(|count| *count < total),
            parallel: parallel.map(|parallel| parallel.of(total)).filter(|count| *count < total),
        })
    }

    fn hosts(&mut self, place: &str, names: &[String], problems: &mut Problems) -> Option<HostSet> {
        let hosts: Result<Vec<HostName>, _> =
            names.iter().map(|name| HostName::new(name)).collect();
        let hosts = match hosts {
            Ok(hosts) if hosts.is_empty() => {
                problems.add(place, "hosts: there are none");
                return None;
            }
            Ok(hosts) => HostSet::from_names(hosts),
            Err(error) => {
                problems.add(place, format_args!("hosts: {error}"));
                return None;
            }
        };
        if hosts.len() < names.len() {
            self.note(
                place,
                "hosts: a host that stood twice ran it twice there; here hosts are a set",
            );
        }
        Some(hosts)
    }

    fn note(&mut self, place: &str, text: &str) {
        self.notes.push(format!("{place}: {text}"));
    }
}

/// A number of hosts, or a part of them in percent.
#[derive(Clone, Copy)]
enum Amount {
    Hosts(u64),
    Percent(u64),
}

impl Amount {
    /// How many of so many hosts it is for roadrunner: rounded down, at least one, at most all.
    fn of(self, total: u64) -> u64 {
        let count = match self {
            Self::Hosts(hosts) => hosts,
            Self::Percent(percent) => percent.saturating_mul(total) / 100,
        };
        count.max(1).min(total)
    }
}

/// The number of a field, which may be a text.
fn whole(fields: &mut Fields<'_>, name: &'static str, problems: &mut Problems) -> Option<u64> {
    let number = match fields.get(name, problems)? {
        Node::Whole(number) => u64::try_from(*number).ok(),
        Node::Text(text) => text.trim().parse().ok(),
        _ => None,
    };
    if number.is_none() {
        fields.note(name, "expected a number from 0 on", problems);
    }
    number
}

/// The amount of a field: a number, or percent as text.
fn quantity(
    fields: &mut Fields<'_>,
    name: &'static str,
    problems: &mut Problems,
) -> Option<Amount> {
    let amount = match fields.get(name, problems)? {
        Node::Whole(number) => u64::try_from(*number).ok().map(Amount::Hosts),
        Node::Text(text) => match text.trim().strip_suffix('%') {
            Some(percent) => percent.parse().ok().map(Amount::Percent),
            None => text.trim().parse().ok().map(Amount::Hosts),
        },
        _ => None,
    };
    if amount.is_none() {
        fields.note(name, "expected a number of hosts, or a part of them like \"80%\"", problems);
    }
    amount
}
