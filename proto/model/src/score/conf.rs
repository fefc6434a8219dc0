//! Reading a score's `.conf`.
//!
//! Everything wrong with a file is told at once, by key, because whoever mends it does so through
//! configuration management and would rather not come back for each slip. What the player alone
//! can know (whether the user exists, who owns the file) is its own to check.

use std::{collections::BTreeMap, fmt};

use toml::{Table, Value};

use super::{Interface, ParamKind, ParamSpec, ScoreSpec, pattern};
use crate::{limits, names::ParamKey, nearest::nearest, time::Millis};

/// Keys of a `.conf`.
const KEYS: [&str; 8] = [
    "description",
    "interface",
    "timeout",
    "user",
    "concurrency",
    "exclusive",
    "disruptive",
    "params",
];

/// Keys of a parameter's table.
const PARAM_KEYS: [&str; 7] =
    ["type", "pattern", "max_length", "required", "sensitive", "description", "choices"];

/// Why a text is not a score's `.conf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidConf {
    /// It is larger than [`limits::SCORE_CONF_BYTES`].
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It is not TOML.
    Syntax {
        /// Where, counted from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// What it says is not right: at least one problem, in the order of their keys.
    Problems(Vec<ConfProblem>),
}

/// One thing that is wrong with a `.conf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfProblem {
    /// The key with the tables it is in: `params.package.pattern`.
    pub key: String,
    /// What is wrong with it, and what would be right.
    pub problem: String,
}

impl fmt::Display for InvalidConf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { bytes } => {
                write!(f, "it has {bytes} bytes; at most {} are allowed", limits::SCORE_CONF_BYTES)
            }
            Self::Syntax { line, message } => write!(f, "line {line}: {message}"),
            Self::Problems(problems) => {
                for (index, ConfProblem { key, problem }) in problems.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "; " };
                    write!(f, "{separator}{key}: {problem}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for InvalidConf {}

impl ScoreSpec {
    /// Reads a `.conf`: TOML with the keys of this struct, every one optional. Durations are
    /// texts such as `"10m"`; a parameter's kind is its `type`, and the words of a choice are its
    /// `choices`.
    pub fn parse(text: &str) -> Result<ScoreSpec, InvalidConf> {
        if text.len() > limits::SCORE_CONF_BYTES {
            return Err(InvalidConf::TooLarge { bytes: text.len() });
        }
        let table: Table = toml::from_str(text).map_err(|error| syntax(text, &error))?;
        let mut reader = Reader { table, path: String::new(), problems: Vec::new() };
        let spec = spec(&mut reader);
        reader.refuse_the_rest(&KEYS);
        let mut problems = reader.problems;
        if problems.is_empty() {
            return Ok(spec);
        }
        problems.sort_by(|a, b| a.key.cmp(&b.key));
        Err(InvalidConf::Problems(problems))
    }
}

fn syntax(text: &str, error: &toml::de::Error) -> InvalidConf {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    InvalidConf::Syntax {
        line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
        message: error.message().replace('\n', ", "),
    }
}

fn spec(reader: &mut Reader) -> ScoreSpec {
    let defaults = ScoreSpec::default();
    ScoreSpec {
        description: reader.text("description").unwrap_or_default(),
        interface: reader.parsed("interface", interface).unwrap_or_default(),
        timeout: reader.parsed("timeout", timeout).unwrap_or(defaults.timeout),
        user: reader.parsed("user", user),
        concurrency: reader.at_least_1("concurrency"),
        exclusive: reader.boolean("exclusive").unwrap_or(defaults.exclusive),
        disruptive: reader.boolean("disruptive").unwrap_or(defaults.disruptive),
        params: reader.table("params").map(|table| params(reader, table)),
    }
}

fn interface(text: &str) -> Result<Interface, String> {
    match text {
        "env" => Ok(Interface::Env),
        "pipe" => Ok(Interface::Pipe),
        _ => Err("expected \"env\" or \"pipe\"".to_owned()),
    }
}

fn timeout(text: &str) -> Result<Millis, String> {
    match text.parse() {
        Ok(Millis(0)) => Err("a timeout is longer than 0".to_owned()),
        Ok(timeout) => Ok(timeout),
        Err(error) => Err(error.to_string()),
    }
}

/// The names that `useradd` gives (shadow-utils), which need no quoting anywhere.
fn user(text: &str) -> Result<String, String> {
    let rest = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    let first = |byte: u8| matches!(byte, b'a'..=b'z' | b'_');
    if text.len() <= 32 && text.bytes().next().is_some_and(first) && text.bytes().all(rest) {
        Ok(text.to_owned())
    } else {
        Err("expected a user name: a-z, 0-9, '_' and '-', not a digit or '-' first, at most 32"
            .to_owned())
    }
}

fn params(outer: &mut Reader, table: Table) -> BTreeMap<ParamKey, ParamSpec> {
    if table.len() > limits::PARAMS {
        let problem =
            format!("{} are declared; at most {} are allowed", table.len(), limits::PARAMS);
        outer.problem("params", problem);
        return BTreeMap::new();
    }
    let mut params = BTreeMap::new();
    for (key, value) in table {
        let path = format!("params.{key}");
        let name = match ParamKey::new(&key) {
            Ok(name) => name,
            Err(error) => {
                outer.problem(&path, format!("no parameter can have this name: {}", error.rule));
                continue;
            }
        };
        let Value::Table(table) = value else {
            outer.problem(&path, "expected a table, like [params.package]");
            continue;
        };
        let problems = std::mem::take(&mut outer.problems);
        let mut reader = Reader { table, path: format!("{path}."), problems };
        params.insert(name, param(&mut reader));
        reader.refuse_the_rest(&PARAM_KEYS);
        outer.problems = reader.problems;
    }
    params
}

fn param(reader: &mut Reader) -> ParamSpec {
    let choices = reader.texts("choices");
    let kind = reader.text("type").unwrap_or_else(|| "string".to_owned());
    ParamSpec {
        kind: kind_of(&kind, choices, reader),
        pattern: reader.parsed("pattern", |text| {
            pattern::compile(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
        }),
        max_length: reader.at_least_1("max_length"),
        required: reader.boolean("required").unwrap_or_default(),
        sensitive: reader.boolean("sensitive").unwrap_or_default(),
        description: reader.text("description").unwrap_or_default(),
    }
}

fn kind_of(kind: &str, choices: Option<Vec<String>>, reader: &mut Reader) -> ParamKind {
    if kind != "choice" && choices.is_some() {
        reader.problem("choices", "only a parameter of type = \"choice\" has them");
    }
    match kind {
        "string" => ParamKind::String,
        "integer" => ParamKind::Integer,
        "number" => ParamKind::Number,
        "boolean" => ParamKind::Boolean,
        "host" => ParamKind::Host,
        "path" => ParamKind::Path,
        "choice" => {
            let choices = choices.unwrap_or_default();
            if choices.is_empty() {
                reader.problem("choices", "a choice needs at least one, like [\"on\", \"off\"]");
            }
            ParamKind::Choice(choices)
        }
        _ => {
            reader
                .problem("type", "expected string, integer, number, boolean, choice, host or path");
            ParamKind::String
        }
    }
}

/// Takes known keys out of a table; what is left over is unknown.
struct Reader {
    table: Table,
    /// Prefix of every key: `params.package.`.
    path: String,
    problems: Vec<ConfProblem>,
}

impl Reader {
    fn problem(&mut self, key: &str, problem: impl Into<String>) {
        let key = format!("{}{key}", self.path);
        self.problems.push(ConfProblem { key, problem: problem.into() });
    }

    /// The value of a key where it is there and `read` takes it.
    fn take<T>(
        &mut self,
        key: &str,
        expected: &str,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Option<T> {
        let value = read(self.table.remove(key)?);
        if value.is_none() {
            self.problem(key, format!("expected {expected}"));
        }
        value
    }

    fn text(&mut self, key: &str) -> Option<String> {
        self.take(key, "a text in quotes", text)
    }

    fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        self.take(key, "a list of texts in quotes", |value| match value {
            Value::Array(values) => values.into_iter().map(text).collect(),
            _ => None,
        })
    }

    fn boolean(&mut self, key: &str) -> Option<bool> {
        self.take(key, "true or false", |value| value.as_bool())
    }

    fn at_least_1(&mut self, key: &str) -> Option<u32> {
        self.take(key, "a whole number, at least 1", |value| {
            value.as_integer().and_then(|n| u32::try_from(n).ok()).filter(|n| *n >= 1)
        })
    }

    fn table(&mut self, key: &str) -> Option<Table> {
        self.take(key, "tables, like [params.package]", |value| match value {
            Value::Table(table) => Some(table),
            _ => None,
        })
    }

    fn parsed<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(key)?;
        parse(&text).map_err(|problem| self.problem(key, problem)).ok()
    }

    fn refuse_the_rest(&mut self, known: &[&str]) {
        for (key, _) in std::mem::take(&mut self.table) {
            let problem = match nearest(&key, known.iter().copied()) {
                Some(meant) => format!("unknown key; did you mean {meant}?"),
                None => format!("unknown key; there are {}", known.join(", ")),
            };
            self.problem(&key, problem);
        }
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}
