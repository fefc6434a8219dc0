//! Files and command lines of the first Orchestra, which was written in Go: a score's `.conf`, its list of
//! players, its `submitjob`, and what that said to the conductor.
//!
//! ```text
//! interface=pipe                                a score's .conf: lines of key=value
//! fe1.example.com                               players: a host a line, # before comments
//! submitjob -all-of hello fe1 fe2 ! name you    options, score, players; after a ! keys and values
//! {"op": "queue", "score": "hello", "players": ["fe1"], "scope": "all", "params": {}}
//! ```

use std::{collections::BTreeMap, fmt::Write as _};

use orchestra_document::{Fields, Format, Node, Problems, read_params};
use orchestra_model::{
    Params, chain,
    hostset::HostSet,
    names::{HostName, ScoreName},
};

#[cfg(test)]
mod tests;

/// What a text is here, and what its reader has to know.
#[derive(Debug)]
pub(super) struct Carried {
    pub(super) written: String,
    /// What was left out, or means something else here; each with its place.
    pub(super) notes: Vec<String>,
    /// What to do next, for a person.
    pub(super) next: &'static str,
}

/// What a text is, by its lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    ScoreConf,
    Players,
    CommandLine,
    /// What a command line said to the conductor.
    Request,
}

/// The fields that a score's `.conf` has.
const FIELDS: [&str; 4] = ["interface", "dir", "path", "user"];

impl Kind {
    /// What a text may be.
    pub(super) fn of(text: &str) -> Option<Self> {
        if let Ok(Node::Map(fields)) = Format::Json.parse(text) {
            return fields.iter().any(|(key, _)| &**key == "op").then_some(Self::Request);
        }
        let mut lines = lines(text).map(|(_, line)| line).peekable();
        let first = lines.peek()?.split_whitespace().next()?;
        if first.rsplit('/').next() == Some("submitjob") {
            return Some(Self::CommandLine);
        }
        let lines: Vec<&str> = lines.collect();
        let is_field = |line: &&str| field(line).is_some_and(|(key, _)| FIELDS.contains(&key));
        let is_host = |line: &&str| HostName::new(line).is_ok();
        match lines {
            lines if lines.iter().all(is_field) => Some(Self::ScoreConf),
            lines if lines.iter().all(is_host) => Some(Self::Players),
            _ => None,
        }
    }

    /// Its name for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ScoreConf => "a score's .conf of the first Orchestra",
            Self::Players => "the players of the first Orchestra",
            Self::CommandLine => "a command line of the first Orchestra",
            Self::Request => "a request of the first Orchestra",
        }
    }

    /// Reads a text of this kind. Fails with everything that is wrong, each with its line.
    pub(super) fn read(self, text: &str) -> Result<Carried, Problems> {
        match self {
            Self::ScoreConf => score_conf(text),
            Self::Players => Ok(players(text)),
            Self::CommandLine => command_lines(text),
            Self::Request => request(text),
        }
    }
}

/// The lines that say something, each with its number.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = (1..).zip(text.lines().map(str::trim));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn field(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    Some((key.trim(), value.trim()))
}

fn score_conf(text: &str) -> Result<Carried, Problems> {
    let (mut written, mut notes, mut problems) = (String::new(), Vec::new(), Problems::default());
    for (number, line) in lines(text) {
        let Some((key, value)) = field(line) else { continue };
        let mut note = |text: &str| notes.push(format!("line {number}: {key}: {text}"));
        let is_known = match key {
            "interface" => matches!(value, "env" | "pipe"),
            "user" => true,
            "dir" => {
                note("a score runs in / here; let it change there by itself");
                continue;
            }
            _ => {
                note("a score has a plain PATH here; let it set its own");
                continue;
            }
        };
        if is_known {
            // Writing to a string does not fail.
            let _ = writeln!(written, "{key} = {value:?}");
        } else {
            problems.add_at(Some(number), "", "interface: expected env or pipe");
        }
    }
    notes.push(
        "pipe: keys are [A-Za-z_][A-Za-z0-9_]* here; other lines are output alone".to_owned(),
    );
    let read = orchestra_document::score::parse(&written);
    if let Err(wrong) = read {
        problems.take_in("", wrong);
    }
    problems.into_result()?;
    Ok(Carried { written, notes, next: "it is the score's .conf, beside the score: SCORE.conf" })
}

/// A list of hosts is one here as well.
fn players(text: &str) -> Carried {
    let mut written = String::new();
    for (_, line) in lines(text) {
        let _ = writeln!(written, "{line}");
    }
    Carried {
        written,
        notes: vec![
            "it is read as it is; here a line may also be a host set, with labels: fe[1-6] site=east"
                .to_owned(),
        ],
        next: "it is /etc/orchestra/players of the conductor; orc conductor reload reads it",
    }
}

fn command_lines(text: &str) -> Result<Carried, Problems> {
    let (mut written, mut problems) = (String::new(), Problems::default());
    let mut notes = Vec::new();
    for (number, line) in lines(text) {
        match command(line, &mut notes) {
            Ok(command) => {
                let _ = writeln!(written, "{command}");
            }
            Err(why) => problems.add_at(Some(number), "", why),
        }
    }
    problems.into_result()?;
    notes.push(
        "submitjob prints the flow's id, as it did; --wait waits, and its exit code is the verdict"
            .to_owned(),
    );
    Ok(Carried { written, notes, next: "each line does what the one of before did" })
}

/// One command line, in our words.
fn command(line: &str, notes: &mut Vec<String>) -> Result<String, String> {
    let mut words = shell_words(line)?.into_iter().skip(1).peekable();
    let mut scope = "--one-of";
    while let Some(option) = words.next_if(|word| word.starts_with('-')) {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (option, None),
        };
        match (name.trim_start_matches('-'), value.as_deref()) {
            ("all-of", None | Some("true")) => scope = "--all-of",
            ("all-of", Some("false")) => {}
            ("audience-sock", value) => {
                if value.is_none() {
                    words.next().ok_or("-audience-sock: its path is missing")?;
                }
                notes.push(
                    "-audience-sock: the conductor is asked over TLS: audience.toml says where"
                        .to_owned(),
                );
            }
            (other, _) => return Err(format!("-{other}: submitjob had no such option")),
        }
    }
    let score = words.next().ok_or("the score is missing")?;
    let score = ScoreName::new(&score).map_err(|error| error.to_string())?;
    let hosts: Vec<String> = words.by_ref().take_while(|word| word != "!").collect();
    let hosts = hosts.iter().map(|host| HostName::new(host)).collect::<Result<Vec<_>, _>>();
    let hosts = HostSet::from_names(hosts.map_err(|error| error.to_string())?);
    if hosts.is_empty() {
        return Err("the players are missing".to_owned());
    }
    let rest: Vec<String> = words.collect();
    if !rest.len().is_multiple_of(2) {
        return Err(format!("after the ! {} has no value", rest.last().map_or("", |key| key)));
    }
    let pairs = rest.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone()));
    let pairs: BTreeMap<String, String> = pairs.collect();
    let params = Params::from_pairs(pairs).map_err(|error| chain(&error))?;
    Ok(told(&score, &params, scope, &hosts))
}

/// A command line of ours.
fn told(score: &ScoreName, params: &Params, scope: &str, hosts: &HostSet) -> String {
    let params: String =
        params.iter().map(|(key, value)| format!(" {}", word(&format!("{key}={value}")))).collect();
    format!("submitjob {score}{params} {scope} {}", word(&hosts.to_string()))
}

fn request(text: &str) -> Result<Carried, Problems> {
    let mut problems = Problems::default();
    let tree = match Format::Json.parse(text) {
        Ok(tree) => tree,
        Err(malformed) => {
            problems.add("", malformed);
            return Err(problems);
        }
    };
    let command = command_of(&tree, &mut problems);
    problems.into_result()?;
    Ok(Carried {
        written: command.map(|command| format!("{command}\n")).unwrap_or_default(),
        notes: vec![
            "programs submit with submitjob --flow - --json, or over gRPC: audience.proto"
                .to_owned(),
        ],
        next: "it does what the request did",
    })
}

fn command_of(tree: &Node, problems: &mut Problems) -> Option<String> {
    let mut fields = Fields::of(tree, "", problems)?;
    let op = fields.text("op", problems);
    if op.is_some_and(|op| op != "queue") {
        fields.note("op", "only queue submits; getstatus tells of a flow", problems);
    }
    let score: Option<ScoreName> = fields.parsed("score", problems);
    let players = fields.texts("players", problems);
    let scope = match fields.text("scope", problems) {
        Some("all") => "--all-of",
        Some("one") | None => "--one-of",
        Some(_) => {
            fields.note("scope", "expected one or all", problems);
            return None;
        }
    };
    let mut pairs = BTreeMap::new();
    if let Some(Node::Map(given)) = fields.get("params", problems) {
        for (key, value) in given {
            match value {
                Node::Text(value) => drop(pairs.insert(key.to_string(), value.clone())),
                other => {
                    let found = other.kind();
                    problems
                        .add("params", format_args!("{}: expected text, found {found}", &**key));
                }
            }
        }
    }
    let params = read_params(pairs, "params", problems);
    for needed in ["op", "score", "players"] {
        fields.needed(needed, problems);
    }
    fields.finish(&[], problems);
    let hosts = players?.iter().map(|host| HostName::new(host)).collect::<Result<Vec<_>, _>>();
    match hosts {
        Ok(hosts) if !hosts.is_empty() => {
            Some(told(&score?, &params?, scope, &HostSet::from_names(hosts)))
        }
        Ok(_) => {
            problems.add("", "players: there are none");
            None
        }
        Err(error) => {
            problems.add("", format_args!("players: {error}"));
            None
        }
    }
}

/// A word as a shell takes it for one.
fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./,=:@%+".contains(c);
    match text.chars().all(is_plain) && !text.is_empty() {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// The words of a line, as a shell reads them that is given nothing but words and quotes.
fn shell_words(line: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (Some('"') | None, '\\') => word.get_or_insert_default().extend(chars.next()),
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ' | '\t') => words.extend(word.take()),
            (None, '$' | '`' | ';' | '|' | '&' | '<' | '>' | '(' | ')' | '*' | '?') => {
                return Err(format!("{c}: only words and quotes are read; nothing is run"));
            }
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote has no end".to_owned());
    }
    words.extend(word);
    Ok(words)
}
