//! What tasks wrote: gathered by identical text, or line by line, or as responses.

use std::{cmp::Reverse, collections::HashMap, io};

use orchestra_model::{
    delivery::{EndBytes, Output},
    hostset::HostSet,
    ids::JobId,
    names::HostName,
    state::TaskState,
    status::TaskStatus,
};

use super::{Ending, diff, end::ReadEnd};
use crate::{
    error::Failure,
    view::{Page, Style},
};

/// Most bytes of different outputs that are kept while gathering.
const GATHERED: usize = 256 << 20;

const RULE: &str = "---------------";

/// Returns all that is known of a stream, with a line where some of it is left out. It ends with a
/// line end unless it is empty.
pub(crate) fn text(output: &Output) -> Vec<u8> {
    let mut text = output.head.clone();
    if output.truncated {
        end_line(&mut text);
        let kept = (output.head.len() + output.tail.len()) as u64;
        let gap = match output.bytes.saturating_sub(kept) {
            0 => "[… what is missing here is not known …]\n".to_owned(),
            left_out => format!("[… {left_out} bytes left out …]\n"),
        };
        text.extend_from_slice(gap.as_bytes());
    }
    text.extend_from_slice(&output.tail);
    end_line(&mut text);
    text
}

/// Returns what is known of a stream from a byte on, counted from its first; as [`text`] does.
pub(crate) fn text_from(output: &Output, from: u64) -> Vec<u8> {
    let head = output.head.len() as u64;
    let late = output.bytes.saturating_sub(output.tail.len() as u64).max(head);
    let skip = |bytes: &[u8], count: u64| {
        bytes.get(usize::try_from(count).unwrap_or(usize::MAX)..).unwrap_or_default().to_vec()
    };
    let left = Output {
        head: skip(&output.head, from),
        tail: skip(&output.tail, from.saturating_sub(late)),
        bytes: output.bytes.saturating_sub(from),
        truncated: output.truncated && from < late,
    };
    text(&left)
}

fn end_line(text: &mut Vec<u8>) {
    if !text.is_empty() && !text.ends_with(b"\n") {
        text.push(b'\n');
    }
}

/// Stands before each line of standard error.
pub(crate) const MARK: &[u8] = b"! ";

/// Returns standard output and standard error, or in place of the former why they cannot be read.
fn both(end: &EndBytes) -> (Vec<u8>, Vec<u8>) {
    match ReadEnd::from(end).whole {
        Ok(end) => (text(&end.stdout), text(&end.stderr)),
        Err(why) => (unreadable(&why), Vec::new()),
    }
}

/// Returns standard output, then standard error with a mark before each line.
fn marked(end: &EndBytes) -> Vec<u8> {
    let (mut bytes, errors) = both(end);
    for line in errors.split_inclusive(|byte| *byte == b'\n') {
        bytes.extend_from_slice(MARK);
        bytes.extend_from_slice(line);
    }
    bytes
}

/// Returns the text in place of an output that cannot be read.
pub(crate) fn unreadable(why: &str) -> Vec<u8> {
    format!("[its output cannot be read: {why}]\n").into_bytes()
}

/// Gathers tasks by how they ended and what they wrote, as `clush -b` does.
#[derive(Default)]
pub(crate) struct Gathered {
    /// Whether jobs are named, although all that is gathered may be of one.
    pub(crate) names_jobs: bool,
    by_text: HashMap<Alike, Group>,
    bytes: usize,
}

/// What tasks of a group have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Alike {
    pub(crate) job: JobId,
    /// How they ended: `failed: exit 3`; empty if they are ok, or go on.
    pub(crate) ending: String,
    /// What they wrote, each line of standard error behind [`MARK`].
    pub(crate) text: Vec<u8>,
}

impl Alike {
    /// `db[1,3] (2): failed: exit 3`.
    fn heading(&self, group: &Group) -> String {
        let hosts = HostSet::from_names(group.hosts.iter().cloned());
        let colon = if self.ending.is_empty() { "" } else { ": " };
        format!("{}{colon}{}", hosts.counted(), self.ending)
    }
}

#[derive(Default)]
struct Group {
    /// The position of the first of them, for the order of printing.
    first: usize,
    hosts: Vec<HostName>,
}

impl Gathered {
    /// Adds a task. Tasks that have not ended have no output and are left out.
    pub(crate) fn add(&mut self, task: &TaskStatus) -> Result<(), Failure> {
        let (Some(end), Some(host)) = (&task.end, &task.host) else { return Ok(()) };
        let ending = match task.state {
            TaskState::Ok => String::new(),
            _ => Ending::of(task).to_string(),
        };
        self.say(host.clone(), Alike { job: task.job, ending, text: marked(end) })
    }

    /// Adds what a host wrote.
    pub(crate) fn say(&mut self, host: HostName, alike: Alike) -> Result<(), Failure> {
        let first = self.by_text.len();
        let length = alike.text.len();
        let group = self.by_text.entry(alike).or_insert_with(|| {
            self.bytes += length;
            Group { first, hosts: Vec::new() }
        });
        group.hosts.push(host);
        if self.bytes > GATHERED {
            return Err(Failure::broken(format!(
                "gathering outputs: more than {} MiB of them differ",
                GATHERED >> 20
            ))
            .hint("-L prints them line by line as they come"));
        }
        Ok(())
    }

    /// Jobs in order, and in each the largest groups first, then those whose tasks come first.
    fn sorted(self) -> Vec<(Alike, Group)> {
        let mut groups: Vec<(Alike, Group)> = self.by_text.into_iter().collect();
        groups.sort_unstable_by_key(|(alike, group)| {
            (alike.job, Reverse(group.hosts.len()), group.first)
        });
        groups
    }

    /// Writes, for each job, how the other outputs differ from the most common one.
    pub(crate) fn write_differences(self, out: &mut dyn Page, style: Style) -> io::Result<()> {
        let groups = self.sorted();
        for groups in groups.chunk_by(|(a, _), (b, _)| a.job == b.job) {
            let Some(((common, most), others)) = groups.split_first() else { continue };
            writeln!(out, "--- {} {}", common.job, common.heading(most))?;
            for (alike, group) in others {
                writeln!(out, "+++ {} {}", alike.job, alike.heading(group))?;
                diff::write(out, &common.text, &alike.text, style)?;
            }
        }
        Ok(())
    }

    /// Writes each line of each output once, behind its hosts, folded: `db[1-2]: …`, and of standard
    /// error `db[1-2]: ! …`.
    pub(crate) fn write_lines(self, out: &mut dyn Page) -> io::Result<()> {
        for (alike, group) in self.sorted() {
            let hosts = HostSet::from_names(group.hosts).to_string();
            for line in alike.text.split_inclusive(|byte| *byte == b'\n') {
                write!(out, "{hosts}: ")?;
                out.foreign(line)?;
            }
        }
        Ok(())
    }

    /// Writes each output once, under its hosts, folded.
    pub(crate) fn write(self, out: &mut dyn Page) -> io::Result<()> {
        let names_jobs = self.names_jobs;
        let groups = self.sorted();
        let several = names_jobs || groups.windows(2).any(|pair| pair[0].0.job != pair[1].0.job);
        for (alike, group) in groups {
            let job = if several { format!("{} ", alike.job) } else { String::new() };
            writeln!(out, "{RULE}\n{job}{}\n{RULE}", alike.heading(&group))?;
            out.foreign(&alike.text)?;
        }
        Ok(())
    }
}

/// Writes a task's output with the host before each line: `db1: …`, and `db1! …` of standard error.
pub(crate) fn lines(out: &mut dyn Page, task: &TaskStatus) -> io::Result<()> {
    let (Some(end), Some(host)) = (&task.end, &task.host) else { return Ok(()) };
    let (output, errors) = both(end);
    for (text, mark) in [(output, ": "), (errors, "! ")] {
        for line in text.split_inclusive(|b| *b == b'\n') {
            write!(out, "{host}{mark}")?;
            out.foreign(line)?;
        }
    }
    Ok(())
}

/// Writes a task's response, a pair a line.
pub(crate) fn response(out: &mut dyn Page, task: &TaskStatus) -> io::Result<()> {
    let (Some(end), Some(host)) = (&task.end, &task.host) else { return Ok(()) };
    let read = match ReadEnd::from(end).whole {
        Ok(read) => read,
        Err(why) => {
            write!(out, "{host}: ")?;
            return out.foreign(&unreadable(&why));
        }
    };
    for (key, value) in &read.response {
        write!(out, "{host}: ")?;
        out.foreign(format!("{key}={value}\n").as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use orchestra_model::ids::FlowId;
    use orchestra_proto::{decode_end, encode_end};

    use super::*;
    use crate::view::samples::failed_task;

    fn task(host: &str, job: u16, stdout: &str) -> TaskStatus {
        let mut task = failed_task();
        task.host = Some(HostName::new(host).unwrap());
        task.state = TaskState::Ok;
        task.job = JobId { flow: FlowId(42), slot: 1, job };
        let mut end = decode_end(&task.end.unwrap()).unwrap();
        end.stdout = Output { head: stdout.into(), ..Output::default() };
        end.stderr = Output::default();
        task.end = Some(encode_end(&end).unwrap());
        task
    }

    fn gathered(tasks: &[TaskStatus]) -> String {
        let mut gathered = Gathered::default();
        tasks.iter().for_each(|task| gathered.add(task).unwrap());
        let mut out = Vec::new();
        gathered.write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn identical_outputs_are_told_once() {
        let tasks =
            [task("db1", 1, "up 3 days\n"), task("db2", 1, "up"), task("db3", 1, "up 3 days\n")];
        assert_eq!(
            gathered(&tasks),
            "---------------\ndb[1,3] (2)\n---------------\nup 3 days\n\
             ---------------\ndb2 (1)\n---------------\nup\n"
        );
        let several = gathered(&[task("db1", 1, "x"), task("db1", 2, "x")]);
        assert!(several.contains("\n42.1.1 db1 (1)\n"), "{several}");
        assert!(several.contains("\n42.1.2 db1 (1)\n"), "{several}");
    }

    #[test]
    fn the_largest_group_comes_first_and_says_how_it_ended() {
        let failed = |host: &str| {
            let mut task = task(host, 1, "some\n");
            task.state = TaskState::Failed;
            let mut end = decode_end(&task.end.unwrap()).unwrap();
            end.stderr = Output { head: "no such\nfile".into(), ..Output::default() };
            task.end = Some(encode_end(&end).unwrap());
            task
        };
        let tasks = [task("db1", 1, "some\n"), failed("db2"), failed("db3")];
        assert_eq!(
            gathered(&tasks),
            "---------------\ndb[2-3] (2): failed: exit 3\n---------------\nsome\n! no such\n! file\n\
             ---------------\ndb1 (1)\n---------------\nsome\n"
        );
        let mut out = Vec::new();
        lines(&mut out, &tasks[1]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "db2: some\ndb2! no such\ndb2! file\n");
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let mut task = task("db1", 1, "x");
        task.end = Some(EndBytes::new(&b"\xff"[..]).unwrap());
        let told = gathered(&[task.clone()]);
        assert!(told.contains("[its output cannot be read: AttemptEnd is not valid"), "{told}");
        let (mut by_line, mut pairs) = (Vec::new(), Vec::new());
        lines(&mut by_line, &task).unwrap();
        response(&mut pairs, &task).unwrap();
        for told in [by_line, pairs] {
            assert!(told.starts_with(b"db1: [its output cannot be read"), "{told:?}");
        }
    }

    #[test]
    fn differences_are_against_the_most_common() {
        let mut gathered = Gathered::default();
        for (host, text) in [("db1", "a\nb"), ("db2", "a\nc"), ("db3", "a\nc"), ("db4", "a")] {
            gathered.add(&task(host, 1, text)).unwrap();
        }
        let mut out = Vec::new();
        gathered.write_differences(&mut out, Style::default()).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "--- 42.1.1 db[2-3] (2)\n+++ 42.1.1 db1 (1)\n a\n-c\n+b\n\
             +++ 42.1.1 db4 (1)\n a\n-c\n"
        );
    }

    #[test]
    fn gathered_lines_have_all_their_hosts() {
        let mut gathered = Gathered::default();
        for (host, text) in [("db1", "a\nb"), ("db2", "c"), ("db3", "a\nb\n")] {
            gathered.add(&task(host, 1, text)).unwrap();
        }
        let mut out = Vec::new();
        gathered.write_lines(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "db[1,3]: a\ndb[1,3]: b\ndb2: c\n");
    }

    #[test]
    fn differences_are_coloured_where_colours_are_shown() {
        let mut gathered = Gathered::default();
        for (host, text) in [("db1", "a"), ("db2", "a"), ("db3", "b")] {
            gathered.add(&task(host, 1, text)).unwrap();
        }
        let mut out = Vec::new();
        let style = Style { colour: true, terminal: true };
        gathered.write_differences(&mut out, style).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(out.ends_with("\x1b[31m-a\x1b[0m\n\x1b[32m+b\x1b[0m\n"), "{out:?}");
    }

    #[test]
    fn lines_and_responses_have_their_host() {
        let mut out = Vec::new();
        let task = task("db1", 1, "a\nb");
        lines(&mut out, &task).unwrap();
        response(&mut out, &task).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "db1: a\ndb1: b\ndb1: k=v\n");
    }

    #[test]
    fn what_is_left_out_is_said() {
        let output = Output {
            head: b"begin".to_vec(),
            tail: b"end\n".to_vec(),
            bytes: 1_000,
            truncated: true,
        };
        assert_eq!(text(&output), "begin\n[… 991 bytes left out …]\nend\n".as_bytes());
        let unknown = Output { truncated: true, ..Output::default() };
        assert_eq!(text(&unknown), "[… what is missing here is not known …]\n".as_bytes());
        assert_eq!(text(&Output::default()), b"");
    }
}
