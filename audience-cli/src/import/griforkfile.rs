//! Griforkfiles: Ruby of which the literal settings are read.
//!
//! ```ruby
//! branches 4
//! hosts ['web1.internal', 'web2.internal']
//! rsync delete: true, bwlimit: 8000, excludes: ['.git']
//! local do
//!   rsync '/path/to/myapp/'
//! end
//! ```
//!
//! A block is a program, so it becomes a note that says with what to replace it; but a directory that
//! it passes on by `rsync` or `rsync_remote`, given as a literal, becomes a job.

use std::{collections::BTreeSet, fmt::Write as _};

use orchestra_document::Problems;
use orchestra_model::hostset::HostSet;

use super::quoted;

#[cfg(test)]
mod tests;

/// What is read of a Griforkfile.
#[derive(Debug, Default)]
pub(super) struct Griforkfile {
    branches: u32,
    by_generation: bool,
    hosts: HostSet,
    /// Directories that blocks pass on, each once.
    paths: Vec<String>,
    rsync: Rsync,
    /// What has no counterpart or another meaning, with its line.
    pub(super) notes: Vec<String>,
}

/// Options of rsync, as far as the score `rsync-pull` has them.
#[derive(Debug, Default)]
struct Rsync {
    keeps_more: bool,
    bwlimit: Option<u32>,
    exclude: Option<String>,
}

/// Words that open a block, and what a block of theirs becomes.
const BLOCKS: [(&str, &str); 7] = [
    ("local", STEP),
    ("remote", STEP),
    ("prepare", "becomes a slot on the root before this one"),
    ("finish", "becomes a slot on the root after this one"),
    ("prepare_remote", "becomes a slot on all hosts before this one"),
    ("finish_remote", "becomes a slot on all hosts after this one"),
    ("grifork", "left out: players are on the hosts already"),
];
/// What a step from a host to another becomes.
const STEP: &str = "becomes a score with ORC_TREE_PARENT for src and ORC_PLAYER for dst; what it \
                    passes on by rsync is below";

impl Griforkfile {
    /// Reads one. Fails with everything that is wrong, each with its line.
    pub(super) fn read(text: &str) -> Result<Self, Problems> {
        let (mut read, mut problems) = (Self::default(), Problems::default());
        let mut lines = (1_usize..).zip(text.lines());
        while let Some((number, line)) = lines.next() {
            let (word, rest) = split(line);
            if word.is_empty() {
                continue;
            }
            if let Some((_, becomes)) = BLOCKS.iter().find(|(block, _)| *block == word) {
                read.notes.push(format!("line {number}: {word}: {becomes}"));
                let inside = lines.by_ref().map(|(_, line)| line);
                if opens(line) && !read.enter(inside) {
                    problems.add_at(Some(number), "", format_args!("{word}: its end is missing"));
                }
                continue;
            }
            // A list may go over several lines.
            let mut value = rest.to_owned();
            while value.matches('[').count() > value.matches(']').count() {
                let Some((_, more)) = lines.next() else { break };
                value.push_str(without_comment(more));
            }
            read.set(number, word, &value, &mut problems);
        }
        let mut seen = BTreeSet::new();
        read.paths.retain(|path| seen.insert(path.clone()));
        for (is_missing, word) in
            [(read.branches == 0, "branches"), (read.hosts.is_empty(), "hosts")]
        {
            if is_missing && problems.is_empty() {
                problems.add("", format_args!("{word} is missing"));
            }
        }
        problems.into_result()?;
        Ok(read)
    }

    /// Reads a block up to its end. Returns whether it has one.
    fn enter<'a>(&mut self, lines: impl Iterator<Item = &'a str>) -> bool {
        let mut open = 1;
        for line in lines {
            let (word, rest) = split(line);
            if matches!(word, "rsync" | "rsync_remote") {
                self.paths.extend(texts(rest).into_iter().next());
            }
            open += i32::from(opens(line)) - i32::from(word == "end");
            if open == 0 {
                return true;
            }
        }
        false
    }

    fn set(&mut self, number: usize, word: &str, value: &str, problems: &mut Problems) {
        let mut note = |text: &str| self.notes.push(format!("line {number}: {word}: {text}"));
        match word {
            "branches" => match value.trim().parse() {
                Ok(branches @ 1..=64) => self.branches = branches,
                _ => problems.add_at(Some(number), "", "branches: expected a number from 1 to 64"),
            },
            "hosts" => match HostSet::parse_plain(&texts(value).join(",")) {
                Ok(hosts) if !hosts.is_empty() => self.hosts = hosts,
                Ok(_) => {
                    let expected =
                        "hosts: expected a list of names in quotes; a program is not run";
                    problems.add_at(Some(number), "", expected);
                }
                Err(error) => problems.add_at(Some(number), "", format_args!("hosts: {error}")),
            },
            "mode" => self.by_generation = value.trim() == ":standalone",
            "rsync" => {
                let excludes = after(value, "excludes").map(texts).unwrap_or_default();
                if excludes.len() > 1 {
                    note("rsync-pull takes one pattern; the first exclude is taken");
                }
                self.rsync = Rsync {
                    keeps_more: after(value, "delete").is_some_and(|it| it.starts_with("false")),
                    bwlimit: after(value, "bwlimit").and_then(number_of),
                    exclude: excludes.into_iter().next(),
                };
            }
            "parallel" => note("left out: parallel of the job says how many tasks run at once"),
            "log" => note("left out: getstatus and orc logs have what tasks write"),
            "ssh" => note("left out: tasks start without ssh, and rsync-pull has its own options"),
            other => {
                let shown: String = other.chars().take(40).collect();
                problems.add_at(Some(number), "", format_args!("unknown word {shown:?}"));
            }
        }
    }

    /// The flow file, in YAML: a slot for each directory.
    pub(super) fn flow(&self, root: Option<&str>) -> String {
        let mut text = String::from("slots:\n");
        let somewhere = ["/PATH".to_owned()];
        let paths = if self.paths.is_empty() { &somewhere } else { self.paths.as_slice() };
        for path in paths {
            // Writing to a string does not fail.
            let _ = self.write_slot(path, root, &mut text);
        }
        text
    }

    fn write_slot(&self, path: &str, root: Option<&str>, text: &mut String) -> std::fmt::Result {
        writeln!(text, "  - jobs:\n      - score: rsync-pull\n        params:")?;
        writeln!(text, "          path: {}", quoted(path))?;
        if self.rsync.keeps_more {
            writeln!(text, "          delete: \"false\"")?;
        }
        if let Some(bwlimit) = self.rsync.bwlimit {
            writeln!(text, "          bwlimit: \"{bwlimit}\"")?;
        }
        if let Some(exclude) = &self.rsync.exclude {
            writeln!(text, "          exclude: {}", quoted(exclude))?;
        }
        writeln!(text, "        targets: {}", quoted(&self.hosts.to_string()))?;
        writeln!(text, "        tree:\n          branches: {}", self.branches)?;
        if self.by_generation {
            writeln!(text, "          advance: generation")?;
        }
        match root {
            Some(root) => writeln!(text, "          root: {}", quoted(root)),
            None => writeln!(text, "          # root: the player that has the files already"),
        }
    }
}

/// The first word of a line, and what follows it without a comment.
fn split(line: &str) -> (&str, &str) {
    let line = without_comment(line).trim();
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(line.len());
    if end == 0 { (line, "") } else { line.split_at(end) }
}

/// A line up to the `#` that stands in no text.
fn without_comment(line: &str) -> &str {
    let mut within = None;
    for (at, c) in line.char_indices() {
        match within {
            None if c == '#' => return &line[..at],
            None if matches!(c, '\'' | '"') => within = Some(c),
            Some(quote) if c == quote => within = None,
            _ => {}
        }
    }
    line
}

/// Whether a line opens a block that an `end` ends.
fn opens(line: &str) -> bool {
    const OPENING: [&str; 8] = ["if", "unless", "case", "while", "until", "begin", "def", "for"];
    let line = without_comment(line).trim();
    let (first, is_over) = (split(line).0, line.ends_with(" end"));
    !is_over && (line.ends_with(" do") || line.contains(" do |") || OPENING.contains(&first))
}

/// The texts in quotes up to the end of a list, or of the line.
fn texts(mut text: &str) -> Vec<String> {
    let mut found = Vec::new();
    while let Some(at) = text.find(['\'', '"', ']']) {
        let (mark, rest) = text[at..].split_at(1);
        let Some((inside, behind)) = rest.split_once(mark).filter(|_| mark != "]") else { break };
        found.push(inside.to_owned());
        text = behind;
    }
    found
}

/// What follows a key of a hash, written `key: value` or `:key => value`.
fn after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let spellings = [format!(":{key} =>"), format!("{key}:")];
    let (_, value) = spellings.iter().find_map(|spelling| text.split_once(spelling.as_str()))?;
    Some(value.trim_start())
}

fn number_of(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}
