//! `policy.toml`: who may do what.
//!
//! ```toml
//! [groups]
//! web-team = ["alice", "bob"]
//!
//! [[rule]]
//! name = "web"
//! who = ["@web-team"]                  # audiences, groups of this file, or "*"
//! may = ["operator", "drain"]          # rights, and roles, which are several
//! scores = ["deploy-*", "restart-web"] # exactly so, or what begins so
//! hosts = "@app=web"                   # a host set, or "*"
//!
//! [[rule]]
//! name = "no-reboots"
//! deny = true
//! who = ["*"]
//! may = ["submit"]
//! scores = ["reboot"]
//! hosts = "@db"
//! ```
//!
//! A rule says everything that its rights are limited by, so that nothing is given by leaving
//! something out. All problems of a file are told, and none of its rules counts then.

use std::collections::{BTreeMap, BTreeSet};

use orchestra_document::{Fields, Node, Problems, settings};
use orchestra_model::{
    AudienceName, BundleName, HostSet, ScoreName, ServiceName, chain,
    names::RuleName,
    nearest,
    policy::{Concern, Right, Role},
};
use orchestra_policy::{Effect, Pattern, Policy, Reach, Rule, Whom};

use super::Fleet;

pub(super) const FILE: &str = "policy.toml";
/// Longest file, in bytes.
pub(super) const FILE_BYTES: u64 = 1 << 20;
/// Most rules of a policy.
const MOST_RULES: usize = 1_000;
/// What stands for everybody, or for every host.
const ANY: &str = "*";

/// Groups of audiences.
type Teams = BTreeMap<RuleName, BTreeSet<AudienceName>>;

/// Reads a policy whose host sets are about this fleet.
pub(super) fn read(text: &str, fleet: &Fleet) -> Result<Policy, Problems> {
    settings(text, |fields, problems| {
        let teams = read_teams(fields, problems);
        let nodes = fields.list("rule", problems).unwrap_or_default();
        if nodes.is_empty() {
            problems.add("", "there is no [[rule]], so nobody may do anything");
        }
        if nodes.len() > MOST_RULES {
            problems.add("rule", format_args!("expected at most {MOST_RULES} of them"));
        }
        let mut names = BTreeSet::new();
        let mut rules = Vec::new();
        for (number, node) in (1..).zip(nodes) {
            let place = format!("rule {number}");
            let Some(mut fields) = Fields::of(node, &place, problems) else { continue };
            let rule = read_rule(&mut fields, &place, &teams, fleet, problems);
            if let Some(rule) = &rule
                && !names.insert(rule.name.clone())
            {
                fields.note("name", "another rule has it", problems);
            }
            fields.finish(&[], problems);
            rules.extend(rule);
        }
        (problems.is_empty()).then_some(Policy::Rules(rules))
    })
}

fn read_teams(fields: &mut Fields<'_>, problems: &mut Problems) -> Teams {
    let mut teams = Teams::new();
    let named = match fields.get("groups", problems) {
        None => return teams,
        Some(Node::Map(named)) => named,
        Some(_) => {
            fields.note("groups", "expected lines NAME = [\"AUDIENCE\", …]", problems);
            return teams;
        }
    };
    for (key, node) in named {
        let place = format!("groups.{}", &**key);
        let name = match RuleName::new(key) {
            Ok(name) => name,
            Err(error) => {
                problems.add(&place, error);
                continue;
            }
        };
        let Node::List(members) = node else {
            problems.add(&place, "expected a list of audiences");
            continue;
        };
        if members.is_empty() {
            problems.add(&place, "it names nobody");
        }
        let team = teams.entry(name).or_default();
        for member in members {
            match member {
                Node::Text(text) => match AudienceName::new(text) {
                    Ok(name) => drop(team.insert(name)),
                    Err(error) => problems.add(&place, error),
                },
                _ => problems.add(&place, "expected a list of audiences"),
            }
        }
    }
    teams
}

/// Reads a rule. Every field is read before the first `?`, so that all problems are told.
fn read_rule(
    fields: &mut Fields<'_>,
    place: &str,
    teams: &Teams,
    fleet: &Fleet,
    problems: &mut Problems,
) -> Option<Rule> {
    let name = fields.parsed("name", problems);
    let denies = fields.yes_or_no("deny", problems).unwrap_or(false);
    let who = read_who(fields, teams, problems);
    let may = read_rights(fields, problems);
    let scores = read_patterns(fields, "scores", is_score, problems);
    let services = read_patterns(fields, "services", is_service, problems);
    let bundles = read_patterns(fields, "bundles", is_bundle, problems);
    let hosts = read_hosts(fields, fleet, problems);
    for needed in ["name", "who", "may"] {
        fields.needed(needed, problems);
    }
    let (name, who, may) = (name?, who?, may?);
    let effect = if denies { Effect::Deny } else { Effect::Allow };
    check_fields(fields, place, effect, &may, hosts.as_ref(), problems);
    Some(Rule {
        name,
        effect,
        who,
        may,
        scores,
        services,
        bundles,
        hosts: hosts.unwrap_or_else(Reach::everywhere),
    })
}

/// Notes fields that the rights need, or do not need.
fn check_fields(
    fields: &Fields<'_>,
    place: &str,
    effect: Effect,
    may: &BTreeSet<Right>,
    hosts: Option<&Reach>,
    problems: &mut Problems,
) {
    let of = |concerns: &[Concern]| may.iter().copied().find(|it| concerns.contains(&it.concern()));
    let on_scores = of(&[Concern::Scores, Concern::ScoresOfServices]);
    let on_services = of(&[Concern::Services, Concern::ScoresOfServices]);
    let of_output = of(&[Concern::Output]);
    let is_of_hosts =
        |right: &Right| !matches!(right.concern(), Concern::Conductor | Concern::Bundles);
    let on_hosts = may.iter().copied().find(is_of_hosts);
    let mut check = |name: &str, needs: Option<Right>, takes: bool| match needs {
        Some(right) if !fields.is_given(name) => {
            let all = if name == "hosts" { "hosts = \"*\"" } else { "[\"*\"]" };
            let why = format!("{name} is missing: {right} is limited by {name}, if only to {all}");
            problems.add(place, why);
        }
        None if fields.is_given(name) && !takes => {
            fields.note(name, "none of its rights is limited by it", problems);
        }
        _ => {}
    };
    check("scores", on_scores, of_output.is_some());
    check("services", on_services, of_output.is_some());
    check("bundles", of(&[Concern::Bundles]), false);
    check("hosts", on_hosts, false);
    if let Some(right) = of_output
        && !(fields.is_given("scores") || fields.is_given("services"))
    {
        let why = format!("scores or services is missing: {right} is limited by one of them");
        problems.add(place, why);
    }
    if let Some(right) = of(&[Concern::Conductor])
        && hosts.is_some_and(|hosts| !hosts.is_everywhere())
    {
        let why = format!(
            "{right} is about the conductor as a whole, and not about hosts: give it in a rule \
             with hosts = \"*\""
        );
        fields.note("hosts", why, problems);
    }
    let of_flows =
        |right: &Right| right.concern() == Concern::Scores && *right != Right::OthersFlows;
    if effect == Effect::Allow && may.contains(&Right::OthersFlows) && !may.iter().any(of_flows) {
        let why = "others-flows says whose flows; say what may be done to them too, as cancel";
        fields.note("may", why, problems);
    }
}

fn read_who(fields: &mut Fields<'_>, teams: &Teams, problems: &mut Problems) -> Option<Whom> {
    let words = fields.texts("who", problems)?;
    let mut names = BTreeSet::new();
    if words.is_empty() {
        fields.note("who", "it names nobody", problems);
    }
    for word in &words {
        if let Some(team) = word.strip_prefix('@') {
            match RuleName::new(team).ok().and_then(|team| teams.get(&team)) {
                Some(team) => names.extend(team.iter().cloned()),
                None => fields.note("who", format_args!("there is no group {word}"), problems),
            }
        } else if word != ANY {
            let is_team = RuleName::new(word).is_ok_and(|name| teams.contains_key(&name));
            match AudienceName::new(word) {
                _ if is_team => {
                    let why = format_args!("{word} is a group: write @{word}");
                    fields.note("who", why, problems);
                }
                Ok(name) => drop(names.insert(name)),
                Err(error) => fields.note("who", error, problems),
            }
        }
    }
    let is_everybody = words.iter().any(|word| word == ANY);
    Some(if is_everybody { Whom::Everybody } else { Whom::These(names) })
}

fn read_rights(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<BTreeSet<Right>> {
    let words = fields.texts("may", problems)?;
    let mut may = BTreeSet::new();
    if words.is_empty() {
        fields.note("may", "it gives no right", problems);
    }
    for word in &words {
        match (Role::from_word(word), Right::from_word(word)) {
            (Some(role), _) => may.extend(role.rights()),
            (_, Some(right)) => drop(may.insert(right)),
            _ => {
                let roles = Role::ALL.iter().map(|role| role.as_str());
                let known = roles.chain(Right::all().map(Right::as_str));
                let meant = nearest(word, known).map(|word| format!("; did you mean {word}?"));
                let problem = format!("{word:?} is no right{}", meant.unwrap_or_default());
                fields.note("may", problem, problems);
            }
        }
    }
    Some(may)
}

/// Reads a list of patterns, of which each exact one has to be a possible name.
fn read_patterns(
    fields: &mut Fields<'_>,
    name: &'static str,
    is_name: fn(&str) -> bool,
    problems: &mut Problems,
) -> Vec<Pattern> {
    let words = fields.texts(name, problems).unwrap_or_default();
    if words.is_empty() && fields.is_given(name) {
        fields.note(name, "it names nothing; [\"*\"] names all", problems);
    }
    let mut patterns = Vec::new();
    for word in &words {
        match Pattern::read(word) {
            Some(Pattern::Exactly(exactly)) if !is_name(&exactly) => {
                fields.note(name, format_args!("{word:?} can be no name"), problems);
            }
            Some(pattern) => patterns.push(pattern),
            None => {
                let problem = format!("{word:?}: expected a name, or the beginning of one with *");
                fields.note(name, problem, problems);
            }
        }
    }
    patterns
}

fn is_score(name: &str) -> bool {
    // Built-in scores have an @ before their names.
    ScoreName::new(name.strip_prefix('@').unwrap_or(name)).is_ok()
}

fn is_service(name: &str) -> bool {
    ServiceName::new(name).is_ok()
}

fn is_bundle(name: &str) -> bool {
    BundleName::new(name).is_ok()
}

fn read_hosts(fields: &mut Fields<'_>, fleet: &Fleet, problems: &mut Problems) -> Option<Reach> {
    let text = fields.text("hosts", problems)?;
    if text == ANY {
        return Some(Reach::everywhere());
    }
    match HostSet::parse(text, fleet) {
        Ok(hosts) => Some(Reach::These(hosts)),
        Err(error) => {
            fields.note("hosts", chain(&error), problems);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use orchestra_model::audit::Verb;
    use orchestra_policy::What;

    use super::*;

    fn fleet() -> Fleet {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("players"), "db[1-4] app=db\nw[1-9] app=web\n").unwrap();
        Fleet::load(place.path()).unwrap()
    }

    fn problems(text: &str) -> String {
        read(text, &fleet()).unwrap_err().to_string()
    }

    const GOOD: &str = r#"
        [groups]
        web-team = ["alice", "bob"]
        [[rule]]
        name = "web"
        who = ["@web-team", "eve"]
        may = ["operator", "drain"]
        scores = ["deploy-*", "@deliver"]
        hosts = "@app=web"
        [[rule]]
        name = "root"
        who = ["carol"]
        may = ["admin"]
        scores = ["*"]
        services = ["*"]
        bundles = ["*"]
        hosts = "*"
        [[rule]]
        name = "calm"
        deny = true
        who = ["*"]
        may = ["submit"]
        scores = ["deploy-all"]
        hosts = "w1"
    "#;

    #[test]
    fn a_rule_names_audiences_or_groups_rights_or_roles() {
        let policy = read(GOOD, &fleet()).unwrap();
        let may = |who: &str, right: &str, what: What<'_>| {
            let right = Right::from_word(right).unwrap();
            policy.reach(Some(&AudienceName::new(who).unwrap()), right, &what).to_string()
        };
        let score = |score| What::Score { score, is_of_others: false };
        for who in ["alice", "bob", "eve"] {
            assert_eq!(may(who, "submit", score("deploy-web")), "w[1-9]");
            assert_eq!(may(who, "submit", score("deploy-all")), "w[2-9]");
            assert_eq!(may(who, "drain", What::Hosts), "w[1-9]");
            assert_eq!(may(who, "undrain", What::Hosts), "nowhere");
        }
        assert_eq!(may("carol", "reload", What::Conductor), "everywhere");
        assert_eq!(may("carol", "submit", score("deploy-all")), "everywhere but on w1");
        assert_eq!(may("mallory", "see", What::Hosts), "nowhere");
    }

    #[test]
    fn every_right_can_be_given_by_its_word() {
        for right in Right::all() {
            let limits = match right.concern() {
                Concern::Conductor => "",
                Concern::Hosts => "hosts = \"*\"",
                Concern::Scores => "hosts = \"*\"\nscores = [\"*\"]",
                Concern::Services => "hosts = \"*\"\nservices = [\"*\"]",
                Concern::Bundles => "bundles = [\"*\"]",
                _ => "hosts = \"*\"\nservices = [\"*\"]\nscores = [\"*\"]",
            };
            let and = if right == Right::OthersFlows { "cancel" } else { right.as_str() };
            let text = format!(
                "[[rule]]\nname = \"r\"\nwho = [\"*\"]\nmay = [\"{right}\", \"{and}\"]\n{limits}"
            );
            let policy = read(&text, &fleet()).unwrap();
            assert!(policy.rules()[0].may.contains(&right), "{right}");
        }
        assert_eq!(Right::to(Verb::Retry), Right::from_word("submit"));
    }

    #[test]
    fn whatever_is_wrong_is_told_with_its_rule() {
        let told = problems(
            "[groups]\nx = \"alice\"\n[[rule]]\nname = \"a\"\nwho = [\"@ops\"]\nmay = [\"submitt\"]\n\
             scores = [\"a*b\", \"../x\"]\nhosts = \"nobody\"\n\
             [[rule]]\nname = \"a\"\nwho = []\nmay = []\nhost = \"w1\"\n",
        );
        for expected in [
            "groups.x: expected a list of audiences",
            "line 5: rule 1: who: there is no group @ops",
            "line 6: rule 1: may: \"submitt\" is no right; did you mean submit?",
            "scores: \"a*b\": expected a name, or the beginning of one with *",
            "scores: \"../x\" can be no name",
            "rule 1: hosts: ",
            "rule 2: who: it names nobody",
            "rule 2: may: it gives no right",
            "rule 2: unknown field \"host\"; did you mean hosts?",
        ] {
            assert!(told.contains(expected), "{expected}: {told}");
        }
    }

    #[test]
    fn nothing_is_given_by_leaving_something_out() {
        let rule = |lines: &str| {
            problems(&format!("[[rule]]\nname = \"r\"\nwho = [\"alice\"]\n{lines}\n"))
        };
        for (lines, expected) in [
            ("may = [\"submit\"]", "scores is missing: submit is limited by scores"),
            (
                "may = [\"submit\"]\nscores = [\"x\"]",
                "hosts is missing: submit is limited by hosts",
            ),
            ("may = [\"service-stop\"]\nhosts = \"*\"", "services is missing"),
            ("may = [\"read-output\"]\nhosts = \"*\"", "scores or services is missing"),
            ("may = [\"drain\"]\nhosts = \"*\"\nscores = [\"x\"]", "scores: none of its rights"),
            ("may = [\"reload\"]\nhosts = \"w1\"", "hosts: none of its rights"),
            (
                "may = [\"reload\", \"drain\"]\nhosts = \"w1\"",
                "reload is about the conductor as a whole",
            ),
            (
                "may = [\"others-flows\"]\nhosts = \"*\"\nscores = [\"*\"]",
                "say what may be done to them too",
            ),
            ("may = [\"submit\"]\nscores = []\nhosts = \"*\"", "scores: it names nothing"),
        ] {
            let told = rule(lines);
            assert!(told.contains(expected), "{lines}: {told}");
        }
        assert!(problems("").contains("there is no [[rule]]"));
    }
}
