//! When a run counts as ready, and as healthy.

use std::str::FromStr;

use orchestra_model::{
    Quantity, ScoreName,
    service::{
        HealthRule, InvalidProbe, Judgement, OnUnhealthy, Probe, ReadyRule, ReadySign, Target,
    },
    whole,
};

use super::names;
use crate::{Fields, Node, Problems};

/// `started`, or a table with at most one sign and a deadline.
pub(super) fn ready(node: &Node, problems: &mut Problems) -> ReadyRule {
    let usual = ReadyRule::default();
    match node {
        Node::Text(word) if word == "started" => return usual,
        Node::Text(_) => {
            problems.add(
                "ready",
                "it is started, {notify: true}, {fd: 3}, {tcp: 8080}, {http: \"8080/healthz\"} or \
                 {score: check-web}",
            );
            return usual;
        }
        _ => {}
    }
    let Some(mut fields) = Fields::of(node, "ready", problems) else { return usual };
    let started = sign("started", ReadySign::Started, &mut fields, problems);
    let notify = sign("notify", ReadySign::Notify, &mut fields, problems);
    let fd = fields.parsed("fd", problems).map(|Descriptor(fd)| ReadySign::Fd(fd));
    let probe = probe(&mut fields, problems);
    let deadline = fields.parsed("deadline", problems).unwrap_or(usual.deadline);
    fields.finish(names::READY, problems);
    let probes = probe.into_iter().map(ReadySign::Probe);
    let signs = started.into_iter().chain(notify).chain(fd).chain(probes);
    let mut signs: Vec<ReadySign> = signs.collect();
    if signs.len() > 1 {
        problems
            .add("ready", "started, notify, fd, tcp, http and score exclude each other; give one");
    }
    ReadyRule { sign: signs.pop().unwrap_or(usual.sign), deadline }
}

/// A sign of readiness that is written as `NAME: true`.
fn sign(
    name: &'static str,
    sign: ReadySign,
    fields: &mut Fields<'_>,
    problems: &mut Problems,
) -> Option<ReadySign> {
    match fields.yes_or_no(name, problems)? {
        true => Some(sign),
        false => {
            fields.note(name, "it is true, or left out", problems);
            None
        }
    }
}

/// `tcp`, `http` or `score` of a table; `None` where it has none of them, or a wrong one.
fn probe(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Probe> {
    let tcp = fields.parsed("tcp", problems).map(Probe::Tcp as fn(Target) -> Probe);
    let http = fields.parsed("http", problems).map(|Http(probe)| probe);
    let score = fields.parsed("score", problems).map(Probe::Score as fn(ScoreName) -> Probe);
    let name = if score.is_some() { "score" } else { "http" };
    let mut probes = [tcp, http, score].into_iter().flatten();
    let probe = probes.next();
    if probes.next().is_some() {
        fields.note(name, "of tcp, http and score it is one; give one of them", problems);
        return None;
    }
    probe
}

/// A table with a probe, and how often it is asked.
pub(super) fn health(node: &Node, problems: &mut Problems) -> Option<HealthRule> {
    if let Node::Text(_) = node {
        problems.add(
            "health",
            "it is a table: {tcp: 8080}, {http: \"8080/healthz\"} or {score: check-web}",
        );
        return None;
    }
    let mut fields = Fields::of(node, "health", problems)?;
    let known = problems.len();
    let probe = probe(&mut fields, problems);
    if probe.is_none() && problems.len() == known {
        let what =
            "it says not what is asked: tcp: 8080, http: \"8080/healthz\" or score: check-web";
        problems.add("health", what);
    }
    let every = fields.parsed("every", problems);
    let timeout = fields.parsed("timeout", problems);
    let (fall, rise) = (fields.parsed("fall", problems), fields.parsed("rise", problems));
    fields.finish(names::HEALTH_FIELDS, problems);
    let usual = HealthRule::new(probe?);
    Some(HealthRule {
        every: every.unwrap_or(usual.every),
        timeout: timeout.unwrap_or(usual.timeout),
        fall: fall.map_or(usual.fall, |Count(count)| count),
        rise: rise.map_or(usual.rise, |Count(count)| count),
        ..usual
    })
}

/// What follows from how units are, beside what is asked of them.
pub(super) fn judgement(fields: &mut Fields<'_>, problems: &mut Problems) -> Judgement {
    let usual = Judgement::default();
    let on_unhealthy = fields.parsed("on_unhealthy", problems).map(|Unhealthy(what)| what);
    let panic = fields.parsed("panic", problems).map(|Panic(most)| most);
    Judgement {
        on_unhealthy: on_unhealthy.unwrap_or(usual.on_unhealthy),
        panic: panic.unwrap_or(usual.panic),
    }
}

struct Unhealthy(OnUnhealthy);

impl FromStr for Unhealthy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        OnUnhealthy::from_word(text).map(Unhealthy).ok_or("it is report, withdraw or restart")
    }
}

/// `off`, or how many.
struct Panic(Option<Quantity>);

impl FromStr for Panic {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" | "false" => Ok(Panic(None)),
            most => most
                .parse()
                .map(|most| Panic(Some(most)))
                .map_err(|_| "expected a number of units like 5, a share like 50%, or off"),
        }
    }
}

/// What `http` says.
struct Http(Probe);

impl FromStr for Http {
    type Err = InvalidProbe;

    fn from_str(text: &str) -> Result<Self, InvalidProbe> {
        Probe::http(text).map(Http)
    }
}

/// How many answers in a row.
struct Count(u32);

impl FromStr for Count {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        whole(text).map(Count).ok_or("expected a whole number from 1 to 1000")
    }
}

/// The number of a descriptor.
struct Descriptor(u32);

impl FromStr for Descriptor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        whole(text).map(Descriptor).ok_or("expected a descriptor from 3 to 9")
    }
}
