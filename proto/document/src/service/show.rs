//! The canonical form as text.

use std::collections::BTreeMap;

use orchestra_model::{
    Quantity,
    names::{LabelValue, ParamKey},
    service::{
        AbsenceRule, AtMostOne, HealthRule, Labels, Layout, MilliCores, PlaceRule, PortRule, Probe,
        ProcessRule, ReadyRule, ReadySign, ReloadRule, Resources, RestartRule, RestartWhen,
        ServiceSpec, Spread, StopRule, UpdateRule,
    },
    size::ByteSize,
    time::Millis,
};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{recipe::shown, signal};

/// Whether the values of parameters are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// They are, and are written.
    Told,
    /// They are not: each is written as nothing, which no reader takes for a value.
    Withheld,
}

/// A service as a YAML file that means the same: every rule is written, whether or not it has its
/// default. Equal services have the same text, and reading it gives equal ones where values are told.
/// `on` is in quotes, because readers of YAML 1.1 take it for `true`.
pub fn show(spec: &ServiceSpec, values: Values) -> String {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let canonical = Canonical { spec, values };
    // A table with names for keys, numbers and text can be written.
    let mut text = serde_saphyr::to_string_with_options(&canonical, options).unwrap_or_default();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// A service in the canonical form.
#[derive(Clone, Copy, Debug)]
pub struct Canonical<'a> {
    pub spec: &'a ServiceSpec,
    /// Whether its parameters have their values.
    pub values: Values,
}

impl Serialize for Canonical<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ServiceSpec {
            name,
            score,
            params,
            prepare,
            cleanup,
            on,
            place,
            absent,
            budget,
            update,
            upkeep,
            judgement,
            max_age,
            auto_start,
        } = self.spec;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("service", name)?;
        map.serialize_entry("score", score)?;
        if !params.is_empty() {
            let value = |value| (self.values == Values::Told).then_some(value);
            let params: BTreeMap<&ParamKey, Option<&str>> =
                params.iter().map(|(key, text)| (key, value(text))).collect();
            map.serialize_entry("params", &params)?;
        }
        for (field, recipe) in [("prepare", prepare), ("cleanup", cleanup)] {
            if let Some(recipe) = recipe {
                map.serialize_entry(field, &shown(recipe, self.values))?;
            }
        }
        match (&upkeep.linked_to, place) {
            (Some(other), _) => map.serialize_entry("linked_to", other)?,
            (None, Some(rule)) => {
                map.serialize_entry("place", &placed(rule))?;
                map.serialize_entry("absent", &Absent { replace_after: after(*absent) })?;
            }
            (None, None) => map.serialize_entry("on", on)?,
        }
        if let Some(budget) = budget {
            map.serialize_entry("budget", &Amount(*budget))?;
        }
        map.serialize_entry("restart", &restart(&upkeep.restart))?;
        map.serialize_entry("ready", &ready(&upkeep.ready))?;
        if let Some(rule) = &upkeep.health {
            map.serialize_entry("health", &health(rule))?;
            map.serialize_entry("on_unhealthy", &judgement.on_unhealthy)?;
            map.serialize_entry(
                "panic",
                &judgement.panic.map_or(Share::Off("off"), |most| Share::Most(Amount(most))),
            )?;
        }
        if let Some(max_age) = max_age {
            map.serialize_entry("max_age", max_age)?;
        }
        if !upkeep.ports.is_empty() {
            let ports: BTreeMap<&str, Port> =
                upkeep.ports.iter().map(|(name, rule)| (name.as_str(), Port(rule))).collect();
            map.serialize_entry("ports", &ports)?;
        }
        process(&mut map, &upkeep.process)?;
        match upkeep.at_most_one {
            Some(AtMostOne { lease: Some(lease) }) => {
                map.serialize_entry("at_most_one", &Leased { lease })?;
            }
            Some(AtMostOne { lease: None }) => map.serialize_entry("at_most_one", &true)?,
            None => {}
        }
        if upkeep.require_same_score {
            map.serialize_entry("require_same_score", &true)?;
        }
        if upkeep.keep_secrets {
            map.serialize_entry("keep_secrets", &true)?;
        }
        if let Some(ReloadRule { signal }) = upkeep.reload {
            map.serialize_entry("reload", &Reload { signal: signal::name(signal) })?;
        }
        map.serialize_entry("stop", &stop(&upkeep.stop))?;
        if let Some(limits) = &upkeep.resources {
            map.serialize_entry("resources", &resources(limits))?;
        }
        map.serialize_entry("update", &rule(update))?;
        map.serialize_entry("auto_start", auto_start)?;
        map.end()
    }
}

#[derive(Serialize)]
struct Place<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zones: Option<&'a BTreeMap<LabelValue, u32>>,
    #[serde(skip_serializing_if = "Labels::is_empty")]
    require: &'a Labels,
    spread: Spread,
}

fn placed(rule: &PlaceRule) -> Place<'_> {
    let PlaceRule { layout, require, spread } = rule;
    let (count, zones) = match layout {
        Layout::Count(count) => (Some(*count), None),
        Layout::Zones(zones) => (None, Some(zones)),
    };
    Place { count, zones, require, spread: *spread }
}

#[derive(Serialize)]
struct Absent {
    replace_after: After,
}

/// After how long, if ever.
#[derive(Serialize)]
#[serde(untagged)]
enum After {
    Length(Millis),
    Never(&'static str),
}

fn after(rule: AbsenceRule) -> After {
    rule.replace_after.map_or(After::Never("never"), After::Length)
}

/// What processes are like, as far as it is said.
fn process<M: SerializeMap>(map: &mut M, rule: &ProcessRule) -> Result<(), M::Error> {
    let ProcessRule { nofile, nice, oom_score_adj, umask, state_dir } = rule;
    if let Some(most) = nofile {
        map.serialize_entry("nofile", most)?;
    }
    if let Some(nice) = nice {
        map.serialize_entry("nice", nice)?;
    }
    if let Some(score) = oom_score_adj {
        map.serialize_entry("oom_score_adj", score)?;
    }
    if let Some(umask) = umask {
        map.serialize_entry("umask", &umask.to_string())?;
    }
    if *state_dir {
        map.serialize_entry("state_dir", &true)?;
    }
    Ok(())
}

/// One port is a number, one for each instance is text.
struct Port(PortRule);

impl Serialize for Port {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            PortRule { number, by_ordinal: false } => serializer.serialize_u16(number),
            rule => serializer.collect_str(&rule),
        }
    }
}

#[derive(Serialize)]
struct Restart {
    when: &'static str,
    first: Millis,
    max_delay: Millis,
    attempts: Attempts,
    window: Millis,
    stable_after: Millis,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Attempts {
    Count(u32),
    Word(&'static str),
}

fn restart(rule: &RestartRule) -> Restart {
    Restart {
        when: match rule.when {
            RestartWhen::Always => "always",
            RestartWhen::OnFailure => "on-failure",
            RestartWhen::Never => "never",
        },
        first: rule.first,
        max_delay: rule.max_delay,
        attempts: rule.attempts.map_or(Attempts::Word("unlimited"), Attempts::Count),
        window: rule.window,
        stable_after: rule.stable_after,
    }
}

#[derive(Serialize)]
struct Ready {
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notify: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fd: Option<u32>,
    #[serde(flatten)]
    probe: Option<Asked>,
    deadline: Millis,
}

fn ready(rule: &ReadyRule) -> Ready {
    let deadline = rule.deadline;
    let mut ready = Ready { started: None, notify: None, fd: None, probe: None, deadline };
    match &rule.sign {
        ReadySign::Started => ready.started = Some(true),
        ReadySign::Notify => ready.notify = Some(true),
        ReadySign::Fd(fd) => ready.fd = Some(*fd),
        ReadySign::Probe(probe) => ready.probe = Some(asked(probe)),
    }
    ready
}

/// What is asked; a key of the table that it stands in.
#[derive(Serialize)]
enum Asked {
    #[serde(rename = "tcp")]
    Tcp(String),
    #[serde(rename = "http")]
    Http(String),
    #[serde(rename = "score")]
    Score(String),
}

fn asked(probe: &Probe) -> Asked {
    match probe {
        Probe::Tcp(_) => Asked::Tcp(probe.to_string()),
        Probe::Http(..) => Asked::Http(probe.to_string()),
        Probe::Score(_) => Asked::Score(probe.to_string()),
    }
}

#[derive(Serialize)]
struct Health {
    #[serde(flatten)]
    probe: Asked,
    every: Millis,
    timeout: Millis,
    fall: u32,
    rise: u32,
}

fn health(rule: &HealthRule) -> Health {
    let HealthRule { probe, every, timeout, fall, rise } = rule;
    let (every, timeout, fall, rise) = (*every, *timeout, *fall, *rise);
    Health { probe: asked(probe), every, timeout, fall, rise }
}

#[derive(Serialize)]
struct Leased {
    lease: Millis,
}

#[derive(Serialize)]
struct Reload {
    signal: String,
}

#[derive(Serialize)]
struct Stop {
    linger: Millis,
    signal: String,
    grace: Millis,
}

fn stop(rule: &StopRule) -> Stop {
    Stop { linger: rule.linger, signal: signal::name(rule.signal), grace: rule.grace }
}

#[derive(Serialize)]
struct Limits {
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<ByteSize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reserve: Option<ByteSize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<Cores>,
    #[serde(skip_serializing_if = "Option::is_none")]
    processes: Option<u32>,
    enforced: bool,
}

fn resources(limits: &Resources) -> Limits {
    let Resources { memory, reserve, cpu, processes, enforced } = *limits;
    Limits { memory, reserve, cpu: cpu.map(Cores), processes, enforced }
}

/// A number, with a fraction where it has one.
struct Cores(MilliCores);

impl Serialize for Cores {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Cores(MilliCores(thousandths)) = *self;
        match (thousandths / 1_000, thousandths % 1_000) {
            (whole, 0) => serializer.serialize_u32(whole),
            _ => serializer.serialize_f64(f64::from(thousandths) / 1_000.0),
        }
    }
}

#[derive(Serialize)]
struct Update {
    parallel: Amount,
    #[serde(skip_serializing_if = "Option::is_none")]
    canary: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bake: Option<Millis>,
    healthy_for: Millis,
    deadline: Millis,
    max_failures: Amount,
    auto_revert: bool,
    #[serde(skip_serializing_if = "is_none")]
    surge: u32,
}

fn is_none(count: &u32) -> bool {
    *count == 0
}

fn rule(rule: &UpdateRule) -> Update {
    Update {
        parallel: Amount(rule.parallel),
        canary: rule.canary.map(Amount),
        bake: rule.bake,
        healthy_for: rule.healthy_for,
        deadline: rule.deadline,
        max_failures: Amount(rule.max_failures),
        auto_revert: rule.auto_revert,
        surge: rule.surge,
    }
}

/// How many units are too many.
#[derive(Serialize)]
#[serde(untagged)]
enum Share {
    Most(Amount),
    Off(&'static str),
}

/// A count is a number, a share is text.
struct Amount(Quantity);

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Quantity::Count(count) => serializer.serialize_u32(count),
            share @ Quantity::Percent(_) => serializer.collect_str(&share),
        }
    }
}
