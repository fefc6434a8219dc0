//! How a score is used: its limits, its parameters, and a line to paste.

use std::io;

use orchestra_model::{
    names::{ParamKey, ScoreName},
    score::{Interface, ParamKind, ParamSpec, ScoreSpec},
};

use crate::view::style::one_line;

/// Writes how a version of a score is used that these hosts have.
pub(super) fn write(
    out: &mut dyn io::Write,
    name: &ScoreName,
    spec: &ScoreSpec,
    hosts: &str,
) -> io::Result<()> {
    writeln!(out, "  {}", limits(spec))?;
    let Some(params) = &spec.params else {
        writeln!(out, "  any parameters pass")?;
        return writeln!(out, "  submitjob {name} -w '{hosts}' --plan");
    };
    let width = params.keys().map(|key| key.as_str().len()).max().unwrap_or(0);
    for (key, param) in params {
        writeln!(out, "  {:<width$}  {}", key.as_str(), about(param))?;
    }
    let given = params.iter().filter(|(_, param)| param.required);
    let given: String = given.map(|(key, param)| format!(" {}", example(key, param))).collect();
    writeln!(out, "  submitjob {name}{given} -w '{hosts}' --plan")
}

/// `answers by env; timeout 10m; at most 1 at once; changes its host`.
fn limits(spec: &ScoreSpec) -> String {
    let mut parts = vec![match spec.interface {
        Interface::Env => "no response".to_owned(),
        Interface::Pipe => "responds with KEY=VALUE lines".to_owned(),
    }];
    parts.push(format!("timeout {}", spec.timeout));
    parts.extend(spec.user.as_deref().map(|user| format!("runs as {}", one_line(user))));
    parts.extend(spec.concurrency.map(|n| format!("at most {n} at once on a host")));
    if spec.exclusive {
        parts.push("alone on its host".to_owned());
    }
    parts.push(if spec.disruptive { "changes its host" } else { "only looks" }.to_owned());
    parts.join("; ")
}

/// `string, required, matches ^[a-z]+$, at most 64 bytes: which package`.
fn about(param: &ParamSpec) -> String {
    let mut parts = vec![match &param.kind {
        ParamKind::Choice(choices) => format!("one of {}", choices.join(", ")),
        kind => type_of(kind).to_owned(),
    }];
    if param.required {
        parts.push("required".to_owned());
    }
    parts.extend(param.pattern.as_ref().map(|pattern| format!("matches {pattern}")));
    parts.extend(param.max_length.map(|bytes| format!("at most {bytes} bytes")));
    if param.sensitive {
        parts.push("sensitive: never shown".to_owned());
    }
    let colon = if param.description.is_empty() { "" } else { ": " };
    one_line(&format!("{}{colon}{}", parts.join(", "), param.description))
}

/// A value to replace; a choice's first is one that passes.
fn example(key: &ParamKey, param: &ParamSpec) -> String {
    let value = match &param.kind {
        ParamKind::Choice(choices) => choices.first().map_or("", String::as_str),
        ParamKind::Integer | ParamKind::Number => "1",
        ParamKind::Boolean => "true",
        ParamKind::Host => "HOST",
        ParamKind::Path => "/PATH",
        ParamKind::String => "TEXT",
    };
    match value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte)) {
        true => format!("{key}={value}"),
        false => format!("{key}='{}'", one_line(&value.replace('\'', "'\\''"))),
    }
}

/// The word for what a parameter's value must be.
pub(super) fn type_of(kind: &ParamKind) -> &'static str {
    match kind {
        ParamKind::String => "string",
        ParamKind::Integer => "integer",
        ParamKind::Number => "number",
        ParamKind::Boolean => "boolean",
        ParamKind::Choice(_) => "choice",
        ParamKind::Host => "host",
        ParamKind::Path => "path",
    }
}

#[cfg(test)]
mod tests {
    use orchestra_model::time::Millis;

    use super::*;

    #[test]
    fn a_score_says_how_it_is_used() {
        let key = |name: &str| ParamKey::new(name).unwrap();
        let package = ParamSpec {
            pattern: Some("^[a-z]+$".into()),
            max_length: Some(64),
            required: true,
            description: "Which\npackage".into(),
            ..ParamSpec::default()
        };
        let mode = ParamSpec {
            kind: ParamKind::Choice(vec!["now or never".into(), "later".into()]),
            required: true,
            ..ParamSpec::default()
        };
        let token = ParamSpec { sensitive: true, ..ParamSpec::default() };
        let params = [(key("package"), package), (key("mode"), mode), (key("token"), token)];
        let spec = ScoreSpec {
            timeout: Millis::minutes(10),
            concurrency: Some(1),
            params: Some(params.into()),
            ..ScoreSpec::default()
        };
        let mut out = Vec::new();
        write(&mut out, &ScoreName::new("install").unwrap(), &spec, "fe[1-3]").unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "  no response; timeout 10m; at most 1 at once on a host; changes its host\n\
             \x20 mode     one of now or never, later, required\n\
             \x20 package  string, required, matches ^[a-z]+$, at most 64 bytes: Which\\npackage\n\
             \x20 token    string, sensitive: never shown\n\
             \x20 submitjob install mode='now or never' package=TEXT -w 'fe[1-3]' --plan\n"
        );
    }
}
