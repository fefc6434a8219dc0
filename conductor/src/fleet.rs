//! The fleet as the conductor's own files describe it: the `players` file with its labels,
//! `groups.toml`, the deployments of `deployments.d`, whose apps are groups as well, and the
//! services of `services.d`. What a player says about itself never counts for targeting.

mod deployments;
mod facts;
mod files;
mod groups;
mod in_force;
mod policy;
mod relays;
mod services;
mod shrunk;

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use orchestra_document::Problems;
use orchestra_model::{
    Deployments, HostName, HostSet, chain, hex,
    hostset::{Groups, InvalidHostSet},
    names::{AppName, DeploymentName, GroupName},
    record::ListEdition,
};
use orchestra_policy::Policy;
use orchestra_service::FiledService;

use sha2::{Digest as _, Sha256};

use self::files::{Document, if_there, read_text};
pub(crate) use self::{relays::RelayPlace, services::DIRECTORY as SERVICES};
use crate::config::Config;

/// Most bytes of a certificate's or a list's file that are hashed.
const TLS_BYTES: u64 = 8 << 20;

/// A host's labels: one value a key.
type Labels = BTreeMap<String, String>;

/// Hosts, labels, groups and deployments, against which host set expressions resolve.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fleet {
    hosts: HostSet,
    /// The labels of hosts that have any. Hosts of the same lines share them.
    labels: HashMap<HostName, Arc<Labels>>,
    labelled: BTreeMap<(String, String), HostSet>,
    /// Where the relays of those hosts are that have one.
    relays: HashMap<HostName, RelayPlace>,
    groups: BTreeMap<GroupName, HostSet>,
    deployments: Arc<Deployments>,
    services: Arc<[FiledService]>,
    policy: Arc<Policy>,
    /// SHA-256 over the content of the deployments.
    deployments_digest: [u8; 32],
    files: FilesSeen,
    /// The revocation lists that `conductor.toml` names.
    lists: Vec<ListEdition>,
    /// SHA-256 of what was read, by the name of each file, or directory of files.
    digests: BTreeMap<Arc<str>, Arc<str>>,
}

/// Which optional files were seen.
#[derive(Clone, Debug, Default)]
struct FilesSeen {
    has_groups: bool,
    /// Whether there is a directory of deployments.
    has_directory: bool,
    /// The file of each deployment.
    deployments: BTreeMap<DeploymentName, Arc<str>>,
}

/// What may stand after an `@`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// Every host.
    All,
    /// A group of `groups.toml`.
    Group(GroupName),
    /// An app of a deployment.
    App(AppName),
    /// A label's key and value.
    Label(String, String),
}

/// Why the fleet's files cannot be used.
#[derive(Debug)]
pub enum InvalidFleet {
    /// A file cannot be read.
    Read(PathBuf, io::Error),
    /// Lines of the players file are wrong. Contains all problems.
    Players(PathBuf, Problems),
    /// `groups.toml` cannot be used. Contains all problems.
    Groups(PathBuf, Problems),
    /// Files of `deployments.d` are wrong. Contains all problems.
    Deployments(PathBuf, Problems),
    /// Files of `services.d` are wrong. Contains all problems.
    Services(PathBuf, Problems),
    /// `policy.toml` cannot be used. Contains all problems.
    Policy(PathBuf, Problems),
    /// There is no `policy.toml`, and nobody said that none is wanted.
    NoPolicy(PathBuf),
    /// There is a `policy.toml`, and it was said that everybody may do everything.
    OpenPolicy(PathBuf),
}

/// What is wrong with a line of the players file.
#[derive(Debug)]
pub(crate) enum LineProblem {
    /// The host set does not parse.
    Hosts(Box<InvalidHostSet>),
    /// A label is not `KEY=VALUE`, or key or value is not a name.
    Label(String),
    /// The value of `memory` or `cpu`, which say how much of a host is for instances of services, is
    /// no such amount.
    Room(facts::InvalidRoom),
    /// What is said of a relay is no place where one listens.
    Relay(String),
    /// A host has two values for one label.
    Contradiction(HostName, String),
}

impl fmt::Display for LineProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hosts(cause) => write!(f, "the host set is wrong: {}", chain(cause)),
            Self::Label(text) => write!(f, "{text:?} is not a label; a label is KEY=VALUE"),
            Self::Room(cause) => {
                write!(f, "what it has for services is wrong: {}", chain(cause))
            }
            Self::Relay(text) => write!(
                f,
                "{text:?} is no place of a relay: expected `relay=yes`, `relay=:PORT`, or \
                 `relay=ADDRESS`, with or without :PORT"
            ),
            Self::Contradiction(host, key) => {
                write!(f, "{host} already has another value for label {key}")
            }
        }
    }
}

impl fmt::Display for InvalidFleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, _) => write!(f, "cannot read {}", path.display()),
            Self::Players(path, _) | Self::Groups(path, _) | Self::Policy(path, _) => {
                write!(f, "{}", path.display())
            }
            Self::Deployments(path, _) => {
                write!(f, "the deployments of {} cannot be used", path.display())
            }
            Self::Services(path, _) => {
                write!(f, "the services of {} cannot be used", path.display())
            }
            Self::NoPolicy(path) => write!(
                f,
                "there is no {}, which says who may do what; write one, or say policy = \"open\" in \
                 conductor.toml, with which every audience may do everything",
                path.display()
            ),
            Self::OpenPolicy(path) => write!(
                f,
                "conductor.toml says policy = \"open\", and there is {}; remove one of them",
                path.display()
            ),
        }
    }
}

impl Error for InvalidFleet {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Read(_, cause) => Some(cause),
            Self::Players(_, cause)
            | Self::Groups(_, cause)
            | Self::Deployments(_, cause)
            | Self::Services(_, cause)
            | Self::Policy(_, cause) => Some(cause),
            Self::NoPolicy(_) | Self::OpenPolicy(_) => None,
        }
    }
}

impl Fleet {
    /// Reads `players`, which must exist, and `groups.toml`, `deployments.d` and `services.d`,
    /// which may. Deployments may use groups, but groups may not use apps, so groups are read
    /// first.
    pub(crate) fn load(directory: &Path) -> Result<Self, InvalidFleet> {
        let mut fleet = Self::default();
        fleet.load_players(directory)?;
        fleet.load_groups(directory)?;
        deployments::load(directory, &mut fleet)
            .map_err(|cause| InvalidFleet::Deployments(directory.to_owned(), cause))?;
        let services = services::load(directory, &mut fleet)
            .map_err(|cause| InvalidFleet::Services(directory.to_owned(), cause))?;
        fleet.services = services.into();
        Ok(fleet)
    }

    /// Notes that a file of the configuration was read, with its bytes.
    fn note_file(&mut self, name: &str, bytes: &[u8]) {
        self.digests.insert(name.into(), hex(&Sha256::digest(bytes)).into());
    }

    /// Notes that the files of a directory were read.
    fn note_files(&mut self, directory: &str, files: &[Document]) {
        let mut all = Sha256::new();
        for Document { name, text, .. } in files {
            for part in [name, text] {
                all.update((part.len() as u64).to_le_bytes());
                all.update(part);
            }
        }
        self.digests.insert(directory.into(), hex(&all.finalize()).into());
    }

    /// Notes what `conductor.toml` says, and the certificates and the revocation list that it names.
    /// Those are read a second time, so a hash may be of a file that was replaced just now.
    fn note_config(&mut self, config: &Config) {
        self.digests.insert("conductor.toml".into(), Arc::clone(&config.digest));
        let tls = &config.tls;
        let files = [
            ("tls.ca", Some(&tls.ca)),
            ("tls.cert", Some(&tls.cert)),
            ("tls.crl", tls.crl.as_ref()),
        ];
        for (name, path) in files {
            let text = path.and_then(|path| read_text(path, TLS_BYTES).ok());
            if let Some(text) = text {
                self.note_file(name, text.as_bytes());
            }
        }
    }

    /// Reads `policy.toml`, which must exist unless everybody may do everything, and may not exist
    /// then. Nobody may do anything in a fleet for which it was not read.
    pub(crate) fn governed(mut self, config: &Config) -> Result<Self, InvalidFleet> {
        let path = config.directory.join(policy::FILE);
        let text = if_there(&path, read_text(&path, policy::FILE_BYTES));
        let text = text.map_err(|cause| InvalidFleet::Read(path.clone(), cause))?;
        self.note_config(config);
        if let Some(text) = &text {
            self.note_file(policy::FILE, text.as_bytes());
        }
        let policy = match (text, config.is_open) {
            (None, true) => Policy::Open,
            (None, false) => return Err(InvalidFleet::NoPolicy(path)),
            (Some(_), true) => return Err(InvalidFleet::OpenPolicy(path)),
            (Some(text), false) => {
                self.read_policy(&text).map_err(|problems| InvalidFleet::Policy(path, problems))?
            }
        };
        self.policy = Arc::new(policy);
        Ok(self)
    }

    /// Reads the text of a policy, whose host sets are about this fleet.
    pub(crate) fn read_policy(&self, text: &str) -> Result<Policy, Problems> {
        policy::read(without_mark(text), self)
    }

    fn load_players(&mut self, directory: &Path) -> Result<(), InvalidFleet> {
        let path = directory.join("players");
        let text = read_text(&path, u64::MAX);
        let text = text.map_err(|cause| InvalidFleet::Read(path.clone(), cause))?;
        self.note_file("players", text.as_bytes());
        self.read_players(without_mark(&text)).map_err(|wrong| {
            let mut problems = Problems::default();
            wrong.iter().for_each(|(line, problem)| problems.add_at(Some(*line), "", problem));
            InvalidFleet::Players(path, problems)
        })
    }

    fn load_groups(&mut self, directory: &Path) -> Result<(), InvalidFleet> {
        let path = directory.join("groups.toml");
        let text = if_there(&path, read_text(&path, u64::MAX));
        let text = text.map_err(|cause| InvalidFleet::Read(path.clone(), cause))?;
        if let Some(text) = text {
            self.files.has_groups = true;
            self.note_file("groups.toml", text.as_bytes());
            let groups = groups::read(without_mark(&text), self);
            self.groups = groups.map_err(|problems| InvalidFleet::Groups(path, problems))?;
        }
        Ok(())
    }

    /// Reads lines of one host set, followed by labels; `#` begins a comment.
    fn read_players(&mut self, text: &str) -> Result<(), Vec<(usize, LineProblem)>> {
        let mut all = Vec::new();
        let mut wrong = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default();
            match self.read_line(line) {
                Ok(hosts) => all.extend(hosts),
                Err(problem) => wrong.push((number, problem)),
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        self.hosts = HostSet::from_names(all);
        let mut labelled: BTreeMap<(&String, &String), Vec<HostName>> = BTreeMap::new();
        for host in &self.hosts {
            for label in self.labels.get(host).into_iter().flat_map(|labels| labels.iter()) {
                labelled.entry(label).or_default().push(host.clone());
            }
        }
        self.labelled = labelled
            .into_iter()
            .map(|((key, value), hosts)| ((key.clone(), value.clone()), HostSet::from_names(hosts)))
            .collect();
        Ok(())
    }

    /// Reads a line without its comment, and returns its hosts.
    fn read_line(&mut self, line: &str) -> Result<HostSet, LineProblem> {
        let mut words = line.split_whitespace();
        let Some(hosts) = words.next() else { return Ok(HostSet::default()) };
        let hosts = HostSet::define(hosts).map_err(|cause| LineProblem::Hosts(Box::new(cause)))?;
        let (relays, labels): (Vec<&str>, Vec<&str>) =
            words.partition(|word| word.starts_with(relays::RELAY));
        let labels = read_labels(&hosts, labels.into_iter())?;
        self.add_labels(&hosts, labels)?;
        relays.into_iter().try_for_each(|relay| self.add_relay(&hosts, relay))?;
        Ok(hosts)
    }

    /// Takes what a line says of relays.
    fn add_relay(&mut self, hosts: &HostSet, word: &str) -> Result<(), LineProblem> {
        let place = word.strip_prefix(relays::RELAY).and_then(RelayPlace::parse);
        let Some(place) = place else {
            return Err(LineProblem::Relay(word.chars().take(80).collect()));
        };
        for host in hosts {
            let before = self.relays.insert(host.clone(), place.clone());
            if before.is_some_and(|before| before != place) {
                return Err(LineProblem::Contradiction(host.clone(), "relay".to_owned()));
            }
        }
        Ok(())
    }

    /// Adds a line's labels to those that its hosts have from other lines.
    fn add_labels(&mut self, hosts: &HostSet, labels: Labels) -> Result<(), LineProblem> {
        if labels.is_empty() {
            return Ok(());
        }
        let labels = Arc::new(labels);
        // Pairs of the labels that hosts had before and have now. Many hosts share a pair.
        let mut merged: Vec<(Arc<Labels>, Arc<Labels>)> = Vec::new();
        for host in hosts {
            let Some(before) = self.labels.get_mut(host) else {
                self.labels.insert(host.clone(), Arc::clone(&labels));
                continue;
            };
            if let Some((_, now)) = merged.iter().find(|(known, _)| Arc::ptr_eq(known, before)) {
                *before = Arc::clone(now);
                continue;
            }
            let mut all = Labels::clone(before);
            for (key, value) in &*labels {
                add_label(&mut all, host, key, value)?;
            }
            let now = Arc::new(all);
            let before = std::mem::replace(before, Arc::clone(&now));
            // Only the last few pairs are kept; if all hosts differ, a search is of no use.
            merged.truncate(MERGED - 1);
            merged.insert(0, (before, now));
        }
        Ok(())
    }

    /// Where the relay of a host is, if it has one.
    pub(crate) fn relay(&self, host: &HostName) -> Option<&RelayPlace> {
        self.relays.get(host)
    }

    /// Every host of the players file.
    pub(crate) fn hosts(&self) -> &HostSet {
        &self.hosts
    }

    /// Returns everything that may stand after an `@`, with its hosts.
    pub(crate) fn words(&self) -> impl Iterator<Item = (Word, HostSet)> {
        let groups =
            self.groups.iter().map(|(name, hosts)| (Word::Group(name.clone()), hosts.clone()));
        let apps = self.deployments.apps().into_iter().map(|name| {
            let hosts =
                GroupName::new(name.as_str()).ok().and_then(|app| self.deployments.app(&app));
            (Word::App(name.clone()), hosts.unwrap_or_default())
        });
        let label = |((key, value), hosts): (&'_ (String, String), &HostSet)| {
            (Word::Label(key.clone(), value.clone()), hosts.clone())
        };
        let labels = self.labelled.iter().map(label);
        std::iter::once((Word::All, self.hosts.clone())).chain(groups).chain(apps).chain(labels)
    }

    /// How many groups `groups.toml` has.
    pub(crate) fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// The deployments in force.
    pub(crate) fn deployments(&self) -> &Arc<Deployments> {
        &self.deployments
    }

    /// What files say of services.
    pub(crate) fn services(&self) -> &Arc<[FiledService]> {
        &self.services
    }

    /// Who may do what.
    pub(crate) fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Returns the SHA-256 over the content of the deployments, which changes when one of them
    /// does.
    pub(crate) fn deployments_digest(&self) -> &[u8; 32] {
        &self.deployments_digest
    }

    /// The labels of a host.
    pub(crate) fn labels(&self, host: &HostName) -> BTreeMap<String, String> {
        self.labels.get(host).map(|labels| Labels::clone(labels)).unwrap_or_default()
    }
}

/// How many combinations of labels are remembered while a line is added.
const MERGED: usize = 16;

/// Returns a file's text without the byte order mark that some editors put at its start.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Reads the labels of a line, which are for `hosts`.
fn read_labels<'a>(
    hosts: &HostSet,
    words: impl Iterator<Item = &'a str>,
) -> Result<Labels, LineProblem> {
    let mut labels = Labels::new();
    for label in words {
        let invalid = || LineProblem::Label(label.chars().take(80).collect());
        let (key, value) = label.split_once('=').ok_or_else(invalid)?;
        if GroupName::new(key).is_err() || GroupName::new(value).is_err() {
            return Err(invalid());
        }
        facts::check_room(key, value).map_err(LineProblem::Room)?;
        if let Some(host) = hosts.iter().next() {
            add_label(&mut labels, host, key, value)?;
        }
    }
    Ok(labels)
}

fn add_label(
    labels: &mut Labels,
    host: &HostName,
    key: &str,
    value: &str,
) -> Result<(), LineProblem> {
    let before = labels.insert(key.to_owned(), value.to_owned());
    match before.is_some_and(|before| before != value) {
        true => Err(LineProblem::Contradiction(host.clone(), key.to_owned())),
        false => Ok(()),
    }
}

impl Groups for Fleet {
    fn all(&self) -> HostSet {
        self.hosts.clone()
    }

    /// Returns the hosts of a group of `groups.toml`, or of an app. No name is both.
    fn group(&self, name: &GroupName) -> Option<HostSet> {
        self.groups.get(name).cloned().or_else(|| self.deployments.app(name))
    }

    fn labelled(&self, key: &str, value: &str) -> Option<HostSet> {
        self.labelled.get(&(key.to_owned(), value.to_owned())).cloned()
    }

    fn hosts(&self) -> Option<&HostSet> {
        Some(&self.hosts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a players file. Fails with the first problem.
    fn players(text: &str) -> Result<Fleet, (usize, LineProblem)> {
        let mut fleet = Fleet::default();
        fleet.read_players(text).map(|()| fleet).map_err(|mut wrong| wrong.remove(0))
    }

    #[test]
    fn every_wrong_line_is_told() {
        let wrong = Fleet::default().read_players("a\nb[1-\nc x\nd\na k=1\n").unwrap_err();
        assert_eq!(wrong.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3]);
        let told: Vec<String> = wrong.iter().map(|(_, problem)| problem.to_string()).collect();
        assert!(told[0].starts_with("the host set is wrong: host set \"b[1-\""), "{told:?}");
        assert_eq!(told[1], "\"x\" is not a label; a label is KEY=VALUE");
    }

    #[test]
    fn hosts_labels_and_comments_are_read() {
        let fleet = players("# ours\nfe[1-3].east app=frontend cluster=east # web\n\ndb1 app=db\n")
            .unwrap();
        assert_eq!(fleet.hosts().len(), 4);
        assert_eq!(fleet.labelled("app", "frontend").unwrap().to_string(), "fe[1-3].east");
        assert!(fleet.labelled("app", "nothing").is_none());
    }

    #[test]
    fn labels_of_several_lines_come_together() {
        let fleet = players(
            "h[1-6] app=web\nh[4-9] cluster=east\nh[2-5] tier=1 app=web\nh10\nh[1-9] all=yes\n",
        )
        .unwrap();
        let set = |key: &str, value: &str| fleet.labelled(key, value).unwrap().to_string();
        assert_eq!(set("app", "web"), "h[1-6]");
        assert_eq!(set("cluster", "east"), "h[4-9]");
        assert_eq!(set("tier", "1"), "h[2-5]");
        assert_eq!(set("all", "yes"), "h[1-9]");
        let labels = |host: &str| -> Vec<String> {
            let labels = fleet.labels(&HostName::new(host).unwrap());
            labels.iter().map(|(key, value)| format!("{key}={value}")).collect()
        };
        assert_eq!(labels("h5"), ["all=yes", "app=web", "cluster=east", "tier=1"]);
        assert_eq!(labels("h1"), ["all=yes", "app=web"]);
        assert_eq!(labels("h10"), [""; 0]);
    }

    #[test]
    fn a_wrong_line_is_named() {
        assert!(matches!(players("a\nb[1-\n"), Err((2, LineProblem::Hosts(_)))));
        assert!(matches!(players("a x\n"), Err((1, LineProblem::Label(_)))));
        assert!(matches!(players("a k=../v\n"), Err((1, LineProblem::Label(_)))));
        for room in ["memory=64", "memory=64GB", "cpu=many", "cpu=0.0001", "cpu=0"] {
            let told = players(&format!("a {room}\n"));
            assert!(matches!(told, Err((1, LineProblem::Room(_)))), "{room}");
        }
        assert!(matches!(players("a k=1\na k=2\n"), Err((2, LineProblem::Contradiction(..)))));
        assert!(matches!(players("a k=1 k=2\n"), Err((1, LineProblem::Contradiction(..)))));
        assert!(matches!(players("@all\n"), Err((1, LineProblem::Hosts(_)))));
        assert!(matches!(players("a\nb[1-3]!b4 x=1\n"), Err((2, LineProblem::Hosts(_)))));
        assert_eq!(players("b[1-3]!b2\n").unwrap().hosts().to_string(), "b[1,3]");
    }

    #[test]
    fn groups_resolve_against_the_players_file() {
        let mut fleet = players("fe[1-3] app=web\n").unwrap();
        fleet.groups = groups::read("web = \"@app=web\"\nfirst = \"fe1\"\n", &fleet).unwrap();
        assert_eq!(HostSet::parse("@web!@first", &fleet).unwrap().to_string(), "fe[2-3]");
        let unknown = HostSet::parse_plain("fe4").unwrap();
        assert_eq!(
            HostSet::parse("@web!fe4", &fleet),
            Err(InvalidHostSet::UnknownHosts(unknown)),
            "an exclusion is misspelt"
        );
    }

    #[test]
    fn the_mark_of_an_editor_is_no_part_of_a_name() {
        assert_eq!(without_mark("\u{feff}n1\n"), "n1\n");
        assert_eq!(without_mark("n1"), "n1");
    }
}
