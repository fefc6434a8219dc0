//! From a tree to deployments.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use orchestra_model::{
    HostSet, Quantity,
    deployment::{Constraint, Deployment},
    hostset::{Groups, InvalidHostSet},
    limits,
    names::{AppName, DeploymentName, EnvType, EnvValue, HostName, InvalidName},
};

use super::{
    may_follow,
    table::{name, name_of, named},
};
use crate::{
    Fields,
    Foreign::{self, Instead, Renamed},
    Node, Problems,
};

/// Other words for the fields of a deployment.
const DEPLOYMENT: &[Foreign] = &[
    Renamed("applications", "apps"),
    Renamed("environments", "envs"),
    Renamed("constraint", "constraints"),
    Instead("concurrency", "it goes below constraints and a type of environment"),
    Instead("sequence", "it goes below constraints and a type of environment"),
];

/// Other words beside `inline`.
const HOSTS: &[Foreign] = &[
    Renamed("hosts", "inline"),
    Renamed("targets", "inline"),
    Instead("include", "only inline hosts are read, and groups: @NAME"),
];

/// Other words for the fields of a constraint.
const CONSTRAINT: &[Foreign] = &[
    Renamed("apps", "concurrency"),
    Renamed("concurrent", "concurrency"),
    Renamed("max_parallel", "concurrency"),
    Renamed("parallel", "concurrency"),
    Renamed("order", "sequence"),
];

pub(super) struct Reader<'a> {
    groups: &'a dyn Groups,
    problems: &'a mut Problems,
    /// What is left of [`limits::DEPLOYMENT_HOSTS`].
    pub(super) hosts_left: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(groups: &'a dyn Groups, problems: &'a mut Problems) -> Self {
        Self { groups, problems, hosts_left: limits::DEPLOYMENT_HOSTS }
    }

    pub(super) fn file(mut self, tree: &Node) -> Vec<Deployment> {
        let members = match tree {
            Node::Null => Vec::new(),
            tree => named(tree, "", self.problems),
        };
        if members.is_empty() && self.problems.is_empty() {
            self.problems.add("", "it names no deployments");
        }
        let mut names = BTreeSet::new();
        let mut read = Vec::new();
        for (key, node) in members {
            let Some(name) = name::<DeploymentName>(key, "", self.problems) else { continue };
            if !names.insert(name.clone()) {
                self.problems.add(name.as_str(), "it is given twice");
                continue;
            }
            read.extend(self.deployment(&name, node));
        }
        read
    }

    fn deployment(&mut self, name: &DeploymentName, node: &Node) -> Option<Deployment> {
        let before = self.problems.len();
        let place = name.as_str();
        let mut fields = Fields::of(node, place, self.problems)?;
        let apps = fields.get("apps", self.problems);
        let envs = fields.get("envs", self.problems);
        let constraints = fields.get("constraints", self.problems);
        fields.finish(DEPLOYMENT, self.problems);
        if apps.is_none() && !is_given(node, "apps") {
            self.problems.add(place, "apps is missing");
        }
        let apps = self.hosts_by_name(apps?, place, "app", "apps");
        let envs = envs.map(|envs| self.envs(envs, place)).unwrap_or_default();
        let constraints = constraints.map(|own| self.constraints(own, place)).unwrap_or_default();
        let deployment = Deployment { name: name.clone(), apps, envs, constraints };
        let is_whole = self.problems.len() == before;
        for problem in deployment.problems() {
            if is_whole || !may_follow(&problem) {
                self.problems.add("", format_args!("{name}, {problem}"));
            }
        }
        Some(deployment)
    }

    /// Apps, or the environments of one type. What cannot be read is empty rather than unknown, so
    /// that what is said of it elsewhere is no further problem.
    fn hosts_by_name<T>(
        &mut self,
        node: &Node,
        place: &str,
        each: &str,
        all: &str,
    ) -> BTreeMap<T, HostSet>
    where
        T: Ord + Clone + std::fmt::Display + std::str::FromStr<Err = InvalidName>,
    {
        let mut sets = BTreeMap::new();
        for (key, node) in named(node, &format!("{place}, {all}"), self.problems) {
            let Some(name) = name::<T>(key, place, self.problems) else { continue };
            let place = format!("{place}, {each} {name}");
            match sets.entry(name) {
                Entry::Occupied(_) => self.problems.add(&place, "it is given twice"),
                Entry::Vacant(entry) => {
                    entry.insert(self.hosts(node, &place));
                }
            }
        }
        sets
    }

    fn envs(&mut self, node: &Node, place: &str) -> BTreeMap<EnvType, BTreeMap<EnvValue, HostSet>> {
        let mut types = BTreeMap::new();
        for (key, node) in named(node, &format!("{place}, envs"), self.problems) {
            let Some(env_type) = name::<EnvType>(key, place, self.problems) else { continue };
            let all = format!("envs {env_type}");
            let node = match node {
                Node::Map(fields) => match fields.as_slice() {
                    [(key, inline)] if key == "inline" => inline,
                    fields if is_given(node, "inline") => {
                        let others = fields.len() - 1;
                        let problem = format_args!(
                            "inline holds all environments or is left out; {others} stand beside it"
                        );
                        self.problems.add(&format!("{place}, {all}"), problem);
                        types.insert(env_type, BTreeMap::new());
                        continue;
                    }
                    _ => node,
                },
                _ => node,
            };
            let each = format!("envs {env_type},");
            let values = self.hosts_by_name(node, place, &each, &all);
            if types.insert(env_type, values).is_some() {
                self.problems.add(&format!("{place}, {all}"), "it is given twice");
            }
        }
        types
    }

    fn constraints(&mut self, node: &Node, place: &str) -> BTreeMap<EnvType, Constraint> {
        let mut constraints = BTreeMap::new();
        for (key, node) in named(node, &format!("{place}, constraints"), self.problems) {
            let Some(env_type) = name::<EnvType>(key, place, self.problems) else { continue };
            let place = format!("{place}, constraints {env_type}");
            let constraint = self.constraint(node, &place);
            if constraints.insert(env_type, constraint).is_some() {
                self.problems.add(&place, "it is given twice");
            }
        }
        constraints
    }

    fn constraint(&mut self, node: &Node, place: &str) -> Constraint {
        let mut constraint = Constraint::default();
        let Some(mut fields) = Fields::of(node, place, self.problems) else { return constraint };
        let concurrency = fields.get("concurrency", self.problems);
        let app = fields.get("app", self.problems);
        let sequence = fields.list("sequence", self.problems);
        fields.finish(CONSTRAINT, self.problems);
        if concurrency.is_some() && app.is_some() {
            self.problems.add(place, "app is another word for concurrency; give one of them");
        }
        if let Some(node) = concurrency.or(app) {
            constraint.concurrency = self.limits(node, &format!("{place}, concurrency"));
        }
        let place = format!("{place}, sequence");
        for (index, node) in sequence.unwrap_or_default().iter().enumerate() {
            let Node::List(members) = node else {
                let problem = format_args!(
                    "member {}: expected a list of apps, found {}; write [[backend, frontend]]",
                    index + 1,
                    node.kind()
                );
                self.problems.add(&place, problem);
                continue;
            };
            let apps: Vec<AppName> =
                members.iter().filter_map(|app| name_of(app, &place, self.problems)).collect();
            if !constraint.sequence.contains(&apps) {
                constraint.sequence.push(apps);
            }
        }
        constraint
    }

    fn limits(&mut self, node: &Node, place: &str) -> BTreeMap<AppName, Quantity> {
        let mut limits = BTreeMap::new();
        for (key, node) in named(node, place, self.problems) {
            let Some(app) = name::<AppName>(key, place, self.problems) else { continue };
            let parsed = match node {
                Node::Text(text) => text.parse::<Quantity>(),
                Node::Whole(number) => number.to_string().parse(),
                Node::Spelt(written) => written.parse(),
                other => {
                    let found = other.kind();
                    let problem = format_args!("{app}: expected N or N%, found {found}");
                    self.problems.add(place, problem);
                    continue;
                }
            };
            match parsed {
                Ok(limit) => {
                    if limits.insert(app.clone(), limit).is_some() {
                        self.problems.add(place, format_args!("{app} is given twice"));
                    }
                }
                Err(error) => self.problems.add(place, format_args!("{app}: {error}")),
            }
        }
        limits
    }

    /// `HOSTS`: a host set, a list of them, or either below `inline`.
    fn hosts(&mut self, node: &Node, place: &str) -> HostSet {
        match node {
            Node::Map(_) => {
                let Some(mut fields) = Fields::of(node, place, self.problems) else {
                    return HostSet::default();
                };
                let inline = fields.get("inline", self.problems);
                fields.finish(HOSTS, self.problems);
                match inline {
                    Some(inline) => self.host_list(inline, place),
                    None => HostSet::default(),
                }
            }
            other => self.host_list(other, place),
        }
    }

    fn host_list(&mut self, node: &Node, place: &str) -> HostSet {
        let members = match node {
            Node::List(members) => members.as_slice(),
            one => std::slice::from_ref(one),
        };
        let mut hosts: Vec<HostName> = Vec::new();
        for member in members {
            match member {
                Node::Text(text) => match HostSet::parse(text, self.groups) {
                    Ok(set) => match self.hosts_left.checked_sub(set.len()) {
                        Some(left) => {
                            self.hosts_left = left;
                            hosts.extend(set);
                        }
                        None => {
                            let most = limits::DEPLOYMENT_HOSTS;
                            let problem = format_args!(
                                "the file names too many hosts; at most {most} are allowed, each \
                                 counted wherever it is named"
                            );
                            self.problems.add(place, problem);
                            return HostSet::default();
                        }
                    },
                    Err(error) => self.problems.add(place, told(&error)),
                },
                Node::Null => {
                    self.problems.add(place, "it is empty; its hosts go below it, indented");
                }
                other => {
                    let found = other.kind();
                    self.problems.add(place, format_args!("expected a host set, found {found}"));
                }
            }
        }
        let hosts = HostSet::from_names(hosts);
        if hosts.len() > limits::HOSTSET_HOSTS {
            let most = limits::HOSTSET_HOSTS;
            self.problems.add(place, format_args!("it has more than {most} hosts"));
        }
        hosts
    }
}

fn is_given(node: &Node, name: &str) -> bool {
    matches!(node, Node::Map(fields) if fields.iter().any(|(key, _)| key == name))
}

fn told(error: &InvalidHostSet) -> String {
    match error {
        InvalidHostSet::UnknownHosts(hosts) => {
            format!("hosts that the players file does not name: {hosts}")
        }
        error => error.to_string(),
    }
}
