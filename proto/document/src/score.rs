//! A score's `.conf`: TOML with the fields of [`ScoreSpec`], every one optional. Durations are texts
//! such as `"10m"`; a parameter's kind is its `type`, and the words of a choice are its `choices`.
//!
//! What the player alone can know (whether the user exists, who owns the file) is its own to check.

use std::collections::BTreeMap;

use orchestra_model::{
    Millis, ParamKey, limits,
    score::{Interface, ParamKind, ParamSpec, ScoreSpec, check_pattern},
};

use crate::{Fields, Foreign, Node, Problems, settings};

/// Reads a `.conf`, of at most [`limits::SCORE_CONF_BYTES`]. Fails with everything that is wrong.
pub fn parse(text: &str) -> Result<ScoreSpec, Problems> {
    if text.len() > limits::SCORE_CONF_BYTES {
        let mut problems = Problems::default();
        let (bytes, most) = (text.len(), limits::SCORE_CONF_BYTES);
        problems.add("", format_args!("it has {bytes} bytes; at most {most} are allowed"));
        return Err(problems);
    }
    settings(text, |fields, problems| Some(read(fields, problems)))
}

fn read(fields: &mut Fields<'_>, problems: &mut Problems) -> ScoreSpec {
    let defaults = ScoreSpec::default();
    ScoreSpec {
        description: fields.text("description", problems).unwrap_or_default().to_owned(),
        interface: read_text("interface", interface, fields, problems).unwrap_or_default(),
        timeout: read_text("timeout", timeout, fields, problems).unwrap_or(defaults.timeout),
        user: read_text("user", user, fields, problems),
        concurrency: fields.whole("concurrency", 1..=u32::MAX, problems),
        exclusive: fields.yes_or_no("exclusive", problems).unwrap_or(defaults.exclusive),
        disruptive: fields.yes_or_no("disruptive", problems).unwrap_or(defaults.disruptive),
        params: read_params(fields, problems),
    }
}

/// A field whose text `parse` takes.
fn read_text<T>(
    name: &'static str,
    parse: impl FnOnce(&str) -> Result<T, String>,
    fields: &mut Fields<'_>,
    problems: &mut Problems,
) -> Option<T> {
    let parsed = parse(fields.text(name, problems)?);
    parsed.map_err(|problem| fields.note(name, problem, problems)).ok()
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

/// The parameters that the score takes; `None` where it does not say.
fn read_params(
    outer: &mut Fields<'_>,
    problems: &mut Problems,
) -> Option<BTreeMap<ParamKey, ParamSpec>> {
    let mut params = BTreeMap::new();
    let tables = match outer.get("params", problems)? {
        Node::Map(tables) if tables.len() <= limits::PARAMS => tables,
        Node::Map(tables) => {
            let (declared, most) = (tables.len(), limits::PARAMS);
            let problem = format_args!("{declared} are declared; at most {most} are allowed");
            outer.note("params", problem, problems);
            return None;
        }
        other => {
            let problem = format!("expected tables, like [params.package], found {}", other.kind());
            outer.note("params", problem, problems);
            return None;
        }
    };
    for (key, node) in tables {
        let place = format!("params.{}", &**key);
        let name = match ParamKey::new(key) {
            Ok(name) => name,
            Err(error) => {
                let problem = format!("no parameter can have this name: {}", error.rule);
                problems.add_at(key.line(), &place, problem);
                continue;
            }
        };
        if !matches!(node, Node::Map(_)) {
            let problem = "expected a table, like [params.package]";
            problems.add_at(key.line(), &place, problem);
            continue;
        }
        if let Some(mut fields) = Fields::of(node, &place, problems) {
            params.insert(name, read_param(&mut fields, problems));
            fields.finish(&FOREIGN, problems);
        }
    }
    Some(params)
}

/// What other tools call a field of a parameter.
const FOREIGN: [Foreign; 3] = [
    Foreign::Renamed("enum", "choices"),
    Foreign::Renamed("maxLength", "max_length"),
    Foreign::Renamed("secret", "sensitive"),
];

fn read_param(fields: &mut Fields<'_>, problems: &mut Problems) -> ParamSpec {
    let choices = fields.texts("choices", problems);
    ParamSpec {
        kind: read_kind(choices, fields, problems),
        pattern: read_text("pattern", pattern, fields, problems),
        max_length: fields.whole("max_length", 1..=u32::MAX, problems),
        required: fields.yes_or_no("required", problems).unwrap_or_default(),
        sensitive: fields.yes_or_no("sensitive", problems).unwrap_or_default(),
        description: fields.text("description", problems).unwrap_or_default().to_owned(),
    }
}

fn pattern(text: &str) -> Result<String, String> {
    check_pattern(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

fn read_kind(
    choices: Option<Vec<String>>,
    fields: &mut Fields<'_>,
    problems: &mut Problems,
) -> ParamKind {
    let kind = fields.text("type", problems).unwrap_or("string");
    if kind != "choice" && fields.is_given("choices") {
        fields.note("choices", "only a parameter of type = \"choice\" has them", problems);
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
                let problem = "a choice needs at least one, like [\"on\", \"off\"]";
                fields.note("choices", problem, problems);
            }
            ParamKind::Choice(choices)
        }
        _ => {
            let problem = "expected string, integer, number, boolean, choice, host or path";
            fields.note("type", problem, problems);
            ParamKind::String
        }
    }
}
