//! Which player holds which score with which hash.

mod usage;

use std::{collections::BTreeMap, io};

use orchestra_model::{
    hostset::HostSet,
    names::{HostName, ParamKey, ScoreName},
    score::{Interface, ParamKind, ParamSpec, ScoreHash, ScoreSpec},
    status::PlayerStatus,
};
use serde::Serialize;

use super::{
    Output, Page,
    style::{Style, one_line},
};

/// Digits of a hash that are shown to people: enough to tell versions apart.
pub(super) const HASH_DIGITS: usize = 12;

/// Scores over players: who holds which version. More than one version of a name is drift.
#[derive(Default)]
pub(crate) struct Scores {
    by_name: BTreeMap<ScoreName, Vec<Variant>>,
    /// Players that told their scores. Players that never did count as lacking nothing.
    heard: Vec<HostName>,
    drift: bool,
    /// Whether parameters are told to people, because one score was asked for.
    detailed: bool,
}

struct Variant {
    hash: Option<ScoreHash>,
    /// Shared by most of its players, so kept once.
    spec: Result<ScoreSpec, String>,
    hosts: Vec<HostName>,
}

impl Scores {
    /// Scores that are told with their parameters.
    pub(crate) fn detailed() -> Self {
        Self { detailed: true, ..Self::default() }
    }

    /// Notes what a player offers, of one name if `only` is given.
    pub(crate) fn add(&mut self, player: PlayerStatus, only: Option<&ScoreName>) {
        if player.attached || !player.scores.is_empty() {
            self.heard.push(player.host.clone());
        }
        for offer in player.scores {
            if only.is_some_and(|name| *name != offer.name) {
                continue;
            }
            let variants = self.by_name.entry(offer.name).or_default();
            let same =
                |variant: &&mut Variant| variant.hash == offer.hash && variant.spec == offer.spec;
            match variants.iter_mut().find(same) {
                Some(variant) => variant.hosts.push(player.host.clone()),
                None => variants.push(Variant {
                    hash: offer.hash,
                    spec: offer.spec,
                    hosts: vec![player.host.clone()],
                }),
            }
        }
    }

    /// Forgets scores of which all players in `heard` have the same version.
    pub(crate) fn keep_drift(&mut self) {
        let heard = self.heard.len();
        self.drift = true;
        self.by_name.retain(|_, variants| match variants.as_slice() {
            [only] => only.hosts.len() < heard,
            _ => true,
        });
    }

    /// Writes a line for each version, that of most hosts first. If only drift is told, a line for
    /// the hosts without any version follows.
    fn write(self, out: &mut dyn io::Write, style: Style) -> io::Result<()> {
        let heard = HostSet::from_names(self.heard);
        for (name, variants) in sorted(self.by_name) {
            let missing = missing(&heard, &variants);
            for variant in variants {
                let hash = variant.hash.map_or_else(|| "-".to_owned(), |hash| hash.to_string());
                let hash: String = hash.chars().take(HASH_DIGITS).collect();
                let about = match &variant.spec {
                    Ok(spec) => one_line(&spec.description),
                    Err(reason) => {
                        style.warning(&format!("disabled: {}", one_line(reason))).to_string()
                    }
                };
                let hosts = HostSet::from_names(variant.hosts);
                let line = format!("{name:<24} {hash:<HASH_DIGITS$} {} {about}", hosts.counted());
                writeln!(out, "{}", line.trim_end())?;
                if let (true, Ok(spec)) = (self.detailed, &variant.spec) {
                    usage::write(out, &name, spec, &hosts)?;
                }
            }
            if self.drift && !missing.is_empty() {
                let (none, hosts) = (style.warning("missing"), missing.counted());
                writeln!(out, "{name:<24} {none:<HASH_DIGITS$} {hosts}")?;
            }
        }
        Ok(())
    }

    /// Each name with its versions, for programs.
    fn into_json(self) -> Vec<Score> {
        let heard = HostSet::from_names(self.heard);
        let mut scores = Vec::with_capacity(self.by_name.len());
        for (name, variants) in sorted(self.by_name) {
            scores.push(Score {
                name: name.to_string(),
                missing: missing(&heard, &variants).to_string(),
                versions: variants.into_iter().map(Version::from).collect(),
            });
        }
        scores
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

fn sorted(
    scores: BTreeMap<ScoreName, Vec<Variant>>,
) -> impl Iterator<Item = (ScoreName, Vec<Variant>)> {
    scores.into_iter().map(|(name, mut variants)| {
        variants.sort_by_key(|variant| std::cmp::Reverse(variant.hosts.len()));
        (name, variants)
    })
}

fn missing(heard: &HostSet, variants: &[Variant]) -> HostSet {
    let holding = variants.iter().flat_map(|variant| &variant.hosts).cloned();
    heard.minus(&HostSet::from_names(holding))
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

impl From<Variant> for Version {
    fn from(variant: Variant) -> Self {
        let hosts = HostSet::from_names(variant.hosts);
        let (spec, disabled) = match variant.spec {
            Ok(spec) => (Some(Spec::from(&spec)), None),
            Err(reason) => (None, Some(reason)),
        };
        Self {
            hash: variant.hash.map(|hash| hash.to_string()),
            hosts: hosts.to_string(),
            count: hosts.len(),
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
    use super::*;
    use crate::view::player::tests::player;

    #[test]
    fn drift_shows() {
        let mut scores = Scores::default();
        scores.add(player("fe1", &[("hello", Some(0xab)), ("x", None)]), None);
        scores.add(player("fe2", &[("hello", Some(0xcd))]), None);
        scores.add(player("fe3", &[("hello", Some(0xcd))]), None);
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
        let mut scores = Scores::default();
        scores.add(player("fe1", &[("hello", Some(1)), ("same", Some(2)), ("web", Some(3))]), None);
        scores.add(player("fe2", &[("hello", Some(9)), ("same", Some(2))]), None);
        // Never heard of: it lacks nothing.
        scores.add(PlayerStatus { attached: false, ..player("fe3", &[]) }, None);
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
