//! Players, and which of them holds which score with which hash.

use std::{collections::BTreeMap, io};

use orchestra_model::{
    hostset::HostSet,
    names::{HostName, ScoreName},
    score::{Interface, ScoreHash, ScoreSpec},
    status::PlayerStatus,
};
use serde::Serialize;

use super::style::{Style, one_line, when, when_about};

/// Digits of a hash that are shown to people: enough to tell versions apart.
const HASH_DIGITS: usize = 12;

/// Writes a player as a line.
pub fn line(out: &mut dyn io::Write, player: &PlayerStatus, style: Style) -> io::Result<()> {
    let state = match (player.attached, player.since) {
        (true, Some(since)) => format!("attached since {}", when_about(since)),
        (true, None) => "attached".to_owned(),
        (false, Some(since)) => format!("absent since {}", when_about(since)),
        (false, None) => "never seen".to_owned(),
    };
    let labels: Vec<String> =
        player.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let host = &player.host;
    let mut rest = String::new();
    if player.attached {
        rest = format!(
            " {}/{} tasks, version {}",
            player.in_flight,
            player.max_tasks,
            one_line(&player.version)
        );
    }
    let labels = if labels.is_empty() { String::new() } else { format!(" [{}]", labels.join(" ")) };
    let state = if player.attached { state } else { style.warning(&state).to_string() };
    writeln!(out, "{host:<24} {state}{rest}{labels}")
}

/// A player in JSON.
#[derive(Serialize)]
pub struct Player<'a> {
    host: &'a str,
    labels: &'a BTreeMap<String, String>,
    attached: bool,
    since: Option<String>,
    max_tasks: u32,
    in_flight: u32,
    version: &'a str,
    spool_id: Option<String>,
}

impl<'a> From<&'a PlayerStatus> for Player<'a> {
    fn from(player: &'a PlayerStatus) -> Self {
        Self {
            host: player.host.as_str(),
            labels: &player.labels,
            attached: player.attached,
            since: player.since.map(when),
            max_tasks: player.max_tasks,
            in_flight: player.in_flight,
            version: &player.version,
            spool_id: player.spool.map(|id| id.to_string()),
        }
    }
}

/// Scores over players: who holds which version. More than one version of a name is drift.
#[derive(Default)]
pub struct Scores(BTreeMap<ScoreName, Vec<Variant>>);

struct Variant {
    hash: Option<ScoreHash>,
    /// Shared by most of its players, so kept once.
    spec: Result<ScoreSpec, String>,
    hosts: Vec<HostName>,
}

impl Scores {
    /// Takes in what a player offers, of the one name where one is given.
    pub fn add(&mut self, player: PlayerStatus, only: Option<&ScoreName>) {
        for offer in player.scores {
            if only.is_some_and(|name| *name != offer.name) {
                continue;
            }
            let variants = self.0.entry(offer.name).or_default();
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

    /// Whether nobody offers any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A line for each version, that of most hosts first.
    pub fn write(self, out: &mut dyn io::Write, style: Style) -> io::Result<()> {
        for (name, variants) in sorted(self.0) {
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
            }
        }
        Ok(())
    }

    /// The same in JSON.
    pub fn into_json(self) -> Vec<Score> {
        let variant = |variant: Variant| {
            let hosts = HostSet::from_names(variant.hosts);
            let (spec, disabled) = match variant.spec {
                Ok(spec) => (Some(Spec::from(&spec)), None),
                Err(reason) => (None, Some(reason)),
            };
            Version {
                hash: variant.hash.map(|hash| hash.to_string()),
                hosts: hosts.to_string(),
                count: hosts.len(),
                disabled,
                spec,
            }
        };
        let score = |(name, variants): (ScoreName, Vec<Variant>)| Score {
            name: name.to_string(),
            versions: variants.into_iter().map(variant).collect(),
        };
        sorted(self.0).map(score).collect()
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

/// A score in JSON.
#[derive(Serialize)]
pub struct Score {
    name: String,
    versions: Vec<Version>,
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
    /// Names only; `null` where any parameters pass.
    params: Option<Vec<Param>>,
}

#[derive(Serialize)]
struct Param {
    name: String,
    required: bool,
    sensitive: bool,
    description: String,
}

impl From<&ScoreSpec> for Spec {
    fn from(spec: &ScoreSpec) -> Self {
        let params = |params: &BTreeMap<_, orchestra_model::score::ParamSpec>| {
            let param =
                |(key, param): (&orchestra_model::ParamKey, &orchestra_model::score::ParamSpec)| {
                    Param {
                        name: key.to_string(),
                        required: param.required,
                        sensitive: param.sensitive,
                        description: param.description.clone(),
                    }
                };
            params.iter().map(param).collect()
        };
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
            params: spec.params.as_ref().map(params),
        }
    }
}

#[cfg(test)]
mod tests {
    use orchestra_model::{score::ScoreOffer, time::Timestamp};

    use super::*;

    fn player(host: &str, offers: &[(&str, Option<u8>)]) -> PlayerStatus {
        let offer = |(name, hash): &(&str, Option<u8>)| ScoreOffer {
            name: ScoreName::new(name).unwrap(),
            hash: hash.map(|byte| ScoreHash([byte; 32])),
            spec: match hash {
                Some(_) => Ok(ScoreSpec { description: "Says hello".into(), ..Default::default() }),
                None => Err("writable by others".to_owned()),
            },
        };
        PlayerStatus {
            host: HostName::new(host).unwrap(),
            labels: [("app".to_owned(), "web".to_owned())].into(),
            attached: true,
            since: Some(Timestamp(1_763_712_000_000)),
            max_tasks: 4,
            in_flight: 1,
            version: "0.1.0".to_owned(),
            spool: None,
            scores: offers.iter().map(offer).collect(),
        }
    }

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
    fn a_player_is_a_line() {
        let mut out = Vec::new();
        line(&mut out, &player("fe1", &[]), Style::default()).unwrap();
        let absent = PlayerStatus { attached: false, since: None, ..player("fe2", &[]) };
        line(&mut out, &absent, Style::default()).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "fe1                      attached since 2025-11-21T08:00:00Z 1/4 tasks, version 0.1.0 \
             [app=web]\n\
             fe2                      never seen [app=web]\n"
        );
    }
}
