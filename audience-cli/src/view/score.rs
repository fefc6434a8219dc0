//! Which player holds which score with which hash.

mod usage;

use std::{collections::BTreeMap, io};

use orchestra_model::{
    hostset::HostSet,
    names::{ParamKey, ScoreName},
    score::{HeldScore, Interface, ParamKind, ParamSpec, ScoreSpec},
};
use serde::Serialize;

use super::{
    Output, Page,
    style::{Style, one_line},
};

/// Digits of a hash that are shown to people: enough to tell versions apart.
pub(super) const HASH_DIGITS: usize = 12;

/// Scores over players: who holds which version. More than one version of a name is drift.
pub(crate) struct Scores {
    by_name: BTreeMap<ScoreName, Vec<HeldScore>>,
    /// Players that told their scores. Players that never did count as lacking nothing.
    heard: HostSet,
    drift: bool,
    /// Whether parameters are told to people, because one score was asked for.
    detailed: bool,
}

impl Scores {
    /// Takes what the conductor tells, with the players that it has heard, folded.
    pub(crate) fn new(heard: &str, held: Vec<HeldScore>) -> Self {
        let mut by_name: BTreeMap<ScoreName, Vec<HeldScore>> = BTreeMap::new();
        for version in held {
            by_name.entry(version.offer.name.clone()).or_default().push(version);
        }
        Self { by_name, heard: hosts(heard), drift: false, detailed: false }
    }

    /// These scores, told with their parameters.
    #[must_use]
    pub(crate) fn detailed(self) -> Self {
        Self { detailed: true, ..self }
    }

    /// Forgets scores of which all players in `heard` have the same version.
    pub(crate) fn keep_drift(&mut self) {
        let heard = self.heard.len();
        self.drift = true;
        self.by_name.retain(|_, versions| match versions.as_slice() {
            [only] => (only.count as usize) < heard,
            _ => true,
        });
    }

    /// The hosts, of those that were heard, that hold none of these versions.
    fn missing(&self, versions: &[HeldScore]) -> HostSet {
        let holders: usize = versions.iter().map(|version| version.count as usize).sum();
        if holders == self.heard.len() {
            return HostSet::default();
        }
        let holding = versions.iter().flat_map(|version| hosts(&version.hosts).as_slice().to_vec());
        self.heard.minus(&HostSet::from_names(holding))
    }

    /// Writes a line for each version, that of most hosts first. If only drift is told, a line for
    /// the hosts without any version follows.
    fn write(self, out: &mut dyn io::Write, style: Style) -> io::Result<()> {
        for (name, versions) in &self.by_name {
            for HeldScore { offer, hosts, count } in versions {
                let hash = offer.hash.map_or_else(|| "-".to_owned(), |hash| hash.to_string());
                let hash: String = hash.chars().take(HASH_DIGITS).collect();
                let about = match &offer.spec {
                    Ok(spec) => one_line(&spec.description),
                    Err(reason) => {
                        style.warning(&format!("disabled: {}", one_line(reason))).to_string()
                    }
                };
                let hosts = one_line(hosts);
                let line = format!("{name:<24} {hash:<HASH_DIGITS$} {hosts} ({count}) {about}");
                writeln!(out, "{}", line.trim_end())?;
                if let (true, Ok(spec)) = (self.detailed, &offer.spec) {
                    usage::write(out, name, spec, &hosts)?;
                }
            }
            let missing = if self.drift { self.missing(versions) } else { HostSet::default() };
            if !missing.is_empty() {
                let (none, hosts) = (style.warning("missing"), missing.counted());
                writeln!(out, "{name:<24} {none:<HASH_DIGITS$} {hosts}")?;
            }
        }
        Ok(())
    }

    /// Each name with its versions, for programs.
    fn into_json(self) -> Vec<Score> {
        let score = |(name, versions): (&ScoreName, &Vec<HeldScore>)| Score {
            name: name.to_string(),
            missing: self.missing(versions).to_string(),
            versions: versions.iter().map(Version::from).collect(),
        };
        self.by_name.iter().map(score).collect()
    }
}

impl Output for Scores {
    fn noun(&self) -> &'static str {
        "scores"
    }

    fn json(self) -> impl Serialize {
        self.into_json()
    }

    fn text(self, out: &mut dyn Page, style: Style) -> io::Result<()> {
        self.write(out, style)
    }

    fn remark(&self) -> Option<String> {
        if !self.by_name.is_empty() {
            return None;
        }
        Some(if self.drift { "no score differs" } else { "no scores" }.to_owned())
    }
}

/// Hosts as the conductor folded them.
fn hosts(folded: &str) -> HostSet {
    HostSet::parse_plain(folded).unwrap_or_default()
}

/// A score in JSON.
#[derive(Serialize)]
struct Score {
    name: String,
    versions: Vec<Version>,
    /// Players, folded, that told their scores and have no version of this one.
    missing: String,
}

#[derive(Serialize)]
struct Version {
    hash: Option<String>,
    hosts: String,
    count: usize,
    disabled: Option<String>,
    spec: Option<Spec>,
}

#[derive(Serialize)]
struct Spec {
    description: String,
    interface: &'static str,
    timeout_ms: u64,
    user: Option<String>,
    concurrency: Option<u32>,
    exclusive: bool,
    disruptive: bool,
    /// `null` where any parameters pass.
    params: Option<Vec<Param>>,
}

#[derive(Serialize)]
struct Param {
    name: String,
    r#type: &'static str,
    /// What it may be, if it is a choice.
    choices: Option<Vec<String>>,
    pattern: Option<String>,
    max_length: Option<u32>,
    required: bool,
    sensitive: bool,
    description: String,
}

impl From<&HeldScore> for Version {
    fn from(held: &HeldScore) -> Self {
        let HeldScore { offer, hosts, count } = held;
        let (spec, disabled) = match &offer.spec {
            Ok(spec) => (Some(Spec::from(spec)), None),
            Err(reason) => (None, Some(reason.clone())),
        };
        Self {
            hash: offer.hash.map(|hash| hash.to_string()),
            hosts: hosts.to_string(),
            count: *count as usize,
            disabled,
            spec,
        }
    }
}

impl From<(&ParamKey, &ParamSpec)> for Param {
    fn from((key, param): (&ParamKey, &ParamSpec)) -> Self {
        Self {
            name: key.to_string(),
            r#type: usage::type_of(&param.kind),
            choices: match &param.kind {
                ParamKind::Choice(choices) => Some(choices.clone()),
                _ => None,
            },
            pattern: param.pattern.clone(),
            max_length: param.max_length,
            required: param.required,
            sensitive: param.sensitive,
            description: param.description.clone(),
        }
    }
}

impl From<&ScoreSpec> for Spec {
    fn from(spec: &ScoreSpec) -> Self {
        Self {
            description: spec.description.clone(),
            interface: match spec.interface {
                Interface::Env => "env",
                Interface::Pipe => "pipe",
            },
            timeout_ms: spec.timeout.0,
            user: spec.user.clone(),
            concurrency: spec.concurrency,
            exclusive: spec.exclusive,
            disruptive: spec.disruptive,
            params: spec.params.as_ref().map(|params| params.iter().map(Param::from).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use orchestra_model::{score::Holdings, status::PlayerStatus};

    use super::*;
    use crate::view::player::tests::player;

    /// What the conductor tells of players that it has heard.
    fn of(players: Vec<PlayerStatus>) -> Scores {
        let mut holdings = Holdings::default();
        for player in players {
            holdings.add(player.host, &player.scores.into());
        }
        let (heard, held) = holdings.finish(None);
        Scores::new(&heard.to_string(), held)
    }

    #[test]
    fn drift_shows() {
        let scores = of(vec![
            player("fe1", &[("hello", Some(0xab)), ("x", None)]),
            player("fe2", &[("hello", Some(0xcd))]),
            player("fe3", &[("hello", Some(0xcd))]),
        ]);
        let mut out = Vec::new();
        scores.write(&mut out, Style::default()).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "hello                    cdcdcdcdcdcd fe[2-3] (2) Says hello\n\
             hello                    abababababab fe1 (1) Says hello\n\
             x                        -            fe1 (1) disabled: writable by others\n"
        );
    }

    #[test]
    fn what_is_the_same_everywhere_is_no_drift() {
        let mut scores = of(vec![
            player("fe1", &[("hello", Some(1)), ("same", Some(2)), ("web", Some(3))]),
            player("fe2", &[("hello", Some(9)), ("same", Some(2))]),
        ]);
        scores.keep_drift();
        let mut out = Vec::new();
        scores.write(&mut out, Style::default()).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "hello                    010101010101 fe1 (1) Says hello\n\
             hello                    090909090909 fe2 (1) Says hello\n\
             web                      030303030303 fe1 (1) Says hello\n\
             web                      missing      fe2 (1)\n"
        );
    }
}
