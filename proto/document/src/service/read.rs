//! From a tree to a service.

use std::str::FromStr;

use orchestra_model::{
    names::{ScoreName, ServiceName},
    service::{
        InvalidService, ReloadRule, Resources, RestartRule, RestartWhen, ServiceSpec, StopRule,
        UpdateRule, Upkeep,
    },
    whole,
};

use super::{
    absent::absent,
    at_most_one::at_most_one,
    health::{health, judgement, ready},
    names,
    place::place,
    process::{ports, process},
    recipe::recipe,
    signal::Signal,
};
use crate::{Fields, Node, Problems, read_params};

/// Reads a service; `None` where it is so wrong that nothing can be made of it. All problems are noted
/// either way.
pub(super) fn service(tree: &Node, problems: &mut Problems) -> Option<ServiceSpec> {
    let mut fields = Fields::of(tree, "", problems)?;
    let name = fields.parsed::<ServiceName>("service", problems);
    let score = fields.parsed::<ScoreName>("score", problems);
    let pairs = fields.param_values("params", problems);
    let params = read_params(pairs, "params", problems);
    let mut recipe_in = |name, problems: &mut Problems| {
        fields.get(name, problems).and_then(|node| recipe(name, node, problems))
    };
    let (prepare, cleanup) = (recipe_in("prepare", problems), recipe_in("cleanup", problems));
    let linked_to = fields.parsed::<ServiceName>("linked_to", problems);
    let is_linked = is_given(tree, "linked_to");
    let place = fields.get("place", problems).and_then(|node| place(node, problems));
    let is_placed = is_given(tree, "place");
    // A linked one is where the other is, and a placed one where the conductor chooses.
    let on = match (is_linked || is_placed) && !is_given(tree, "on") {
        true => Some(String::new()),
        false => fields.host_set("on", problems),
    };
    let max_age = fields.parsed("max_age", problems);
    let absent = fields.get("absent", problems).map(|node| absent(node, problems));
    let budget = fields.parsed("budget", problems);
    let update = fields.get("update", problems).map(|node| update(node, problems));
    let restart = fields.get("restart", problems).map(|node| restart(node, problems));
    let ready = fields.get("ready", problems).map(|node| ready(node, problems));
    let stop = fields.get("stop", problems).map(|node| stop(node, problems));
    let reload = fields.get("reload", problems).and_then(|node| reload(node, problems));
    let resources = fields.get("resources", problems).map(|node| resources(node, problems));
    let health = fields.get("health", problems).and_then(|node| health(node, problems));
    let judgement = judgement(&mut fields, problems);
    let ports = fields.get("ports", problems).map(|node| ports(node, problems));
    let process = process(&mut fields, problems);
    let at_most_one =
        fields.get("at_most_one", problems).and_then(|node| at_most_one(node, problems));
    let require_same_score = fields.yes_or_no("require_same_score", problems);
    let keep_secrets = fields.yes_or_no("keep_secrets", problems);
    let auto_start = fields.yes_or_no("auto_start", problems);
    let somewhere = match (is_linked, is_placed) {
        (true, _) => "linked_to",
        (false, true) => "place",
        (false, false) => "on",
    };
    for required in ["service", "score", somewhere] {
        if !is_given(tree, required) {
            fields.missing(required, problems);
        }
    }
    fields.finish(names::SERVICE, problems);
    let upkeep = Upkeep {
        restart: restart.unwrap_or_default(),
        ready: ready.unwrap_or_default(),
        stop: stop.unwrap_or_default(),
        resources,
        health,
        linked_to,
        reload,
        ports: ports.unwrap_or_default(),
        process,
        at_most_one,
        require_same_score: require_same_score.unwrap_or(false),
        keep_secrets: keep_secrets.unwrap_or(false),
    };
    let spec = ServiceSpec {
        params: params?,
        prepare,
        cleanup,
        place,
        absent: absent.unwrap_or_default(),
        budget,
        update: update.unwrap_or_default(),
        upkeep,
        judgement,
        max_age,
        auto_start: auto_start.unwrap_or(true),
        ..ServiceSpec::new(name?, score?, on?)
    };
    // What could not be read has its default, which others may seem to contradict.
    if problems.is_empty()
        && let Err(invalid) = spec.check()
    {
        note_invalid(&invalid, problems);
    }
    Some(spec)
}

fn note_invalid(invalid: &InvalidService, problems: &mut Problems) {
    match invalid {
        InvalidService::Limit { field, problem } => problems.add(field, problem),
        InvalidService::Upkeep(invalid) => problems.add(invalid.field, invalid.problem),
        InvalidService::Place(invalid) => problems.add(invalid.field, invalid.problem),
        InvalidService::Param { key, cause } => {
            problems.add("params", format_args!("{key}: {cause}"));
        }
    }
}

fn is_given(node: &Node, name: &str) -> bool {
    matches!(node, Node::Map(fields) if fields.iter().any(|(key, _)| key == name))
}

fn update(node: &Node, problems: &mut Problems) -> UpdateRule {
    let usual = UpdateRule::default();
    let Some(mut fields) = Fields::of(node, "update", problems) else { return usual };
    let rule = UpdateRule {
        parallel: fields.parsed("parallel", problems).unwrap_or(usual.parallel),
        canary: fields.parsed("canary", problems),
        bake: fields.parsed("bake", problems),
        healthy_for: fields.parsed("healthy_for", problems).unwrap_or(usual.healthy_for),
        deadline: fields.parsed("deadline", problems).unwrap_or(usual.deadline),
        max_failures: fields.parsed("max_failures", problems).unwrap_or(usual.max_failures),
        auto_revert: fields.yes_or_no("auto_revert", problems).unwrap_or(usual.auto_revert),
        surge: fields.parsed("surge", problems).unwrap_or(usual.surge),
    };
    fields.finish(names::UPDATE, problems);
    rule
}

fn restart(node: &Node, problems: &mut Problems) -> RestartRule {
    let usual = RestartRule::default();
    if let Node::Text(_) = node {
        problems.add("restart", "it is a table; write {when: always}, on-failure or never");
        return usual;
    }
    let Some(mut fields) = Fields::of(node, "restart", problems) else { return usual };
    let when = fields.parsed("when", problems).map(|When(when)| when);
    let attempts = fields.parsed("attempts", problems).map(|Attempts(attempts)| attempts);
    let rule = RestartRule {
        when: when.unwrap_or(usual.when),
        first: fields.parsed("first", problems).unwrap_or(usual.first),
        max_delay: fields.parsed("max_delay", problems).unwrap_or(usual.max_delay),
        attempts: attempts.unwrap_or(usual.attempts),
        window: fields.parsed("window", problems).unwrap_or(usual.window),
        stable_after: fields.parsed("stable_after", problems).unwrap_or(usual.stable_after),
    };
    fields.finish(names::RESTART, problems);
    rule
}

fn stop(node: &Node, problems: &mut Problems) -> StopRule {
    let usual = StopRule::default();
    let Some(mut fields) = Fields::of(node, "stop", problems) else { return usual };
    let signal = fields.parsed("signal", problems).map(|Signal(number)| number);
    let rule = StopRule {
        linger: fields.parsed("linger", problems).unwrap_or(usual.linger),
        signal: signal.unwrap_or(usual.signal),
        grace: fields.parsed("grace", problems).unwrap_or(usual.grace),
    };
    fields.finish(names::STOP, problems);
    rule
}

fn reload(node: &Node, problems: &mut Problems) -> Option<ReloadRule> {
    if let Node::Text(_) = node {
        problems.add("reload", "it is a table: {signal: HUP}");
        return None;
    }
    let mut fields = Fields::of(node, "reload", problems)?;
    let signal = fields.parsed("signal", problems).map(|Signal(number)| number);
    if !is_given(node, "signal") {
        fields.missing("signal", problems);
    }
    fields.finish(names::RELOAD, problems);
    signal.map(|signal| ReloadRule { signal })
}

fn resources(node: &Node, problems: &mut Problems) -> Resources {
    let none = Resources::NONE;
    let Some(mut fields) = Fields::of(node, "resources", problems) else { return none };
    let limits = Resources {
        memory: fields.parsed("memory", problems),
        reserve: fields.parsed("reserve", problems),
        cpu: fields.number("cpu", problems),
        processes: fields.parsed("processes", problems),
        enforced: fields.yes_or_no("enforced", problems).unwrap_or(none.enforced),
    };
    fields.finish(names::RESOURCES, problems);
    limits
}

/// After which ends a run is followed by another.
struct When(RestartWhen);

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "always" => Ok(When(RestartWhen::Always)),
            "on-failure" => Ok(When(RestartWhen::OnFailure)),
            "never" => Ok(When(RestartWhen::Never)),
            other => {
                let shown: String = other.chars().take(40).collect();
                Err(format!("{shown:?}: it is always, on-failure or never"))
            }
        }
    }
}

/// `unlimited`, or how many restarts.
struct Attempts(Option<u32>);

impl FromStr for Attempts {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "unlimited" => Ok(Attempts(None)),
            count => whole(count)
                .map(|count| Attempts(Some(count)))
                .ok_or("expected a whole number from 0 on, or unlimited"),
        }
    }
}
