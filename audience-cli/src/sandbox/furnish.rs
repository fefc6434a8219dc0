//! Making what the directory of a sandbox holds: an authority, certificates, configurations,
//! scores. Keys are private from their first byte.

use std::{
    error::Error,
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use orchestra_ca::{Ca, Issued, Terms, new_publisher};
use orchestra_certs::Subject;
use orchestra_model::{AudienceName, HostName, HostSet, bundle::PublisherKey};

use super::{
    cgroup::Cgroup,
    place::{AUDIENCE, CONDUCTOR, DOMAIN, Place, checked, private_directory, programs},
    samples,
};
use crate::error::Failure;

/// The name of the publisher whom every player believes.
const PUBLISHER: &str = "release";
/// Where a player's files of places are, in its directory.
const PLACES: &str = "places.d";

/// What a sandbox is made of.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The names of the players.
    pub players: HostSet,
    /// Where the scores are; `None`: the samples.
    pub scores: Option<PathBuf>,
    /// Where the conductor's deployments are copied from.
    pub deployments: Option<PathBuf>,
    /// How many attempts each player takes at once.
    pub max_tasks: u32,
    /// Where the relay beside each player listens, in the order of players; empty: there are none, and
    /// all players share a depot.
    pub relays: Vec<SocketAddr>,
}

/// Fills the directory of a sandbox.
pub(super) fn furnish(
    place: &Place,
    plan: &Plan,
    address: SocketAddr,
    cgroup: Option<&Cgroup>,
) -> Result<(), Failure> {
    let domain = HostName::new(DOMAIN).map_err(|error| failed(place, error))?;
    let ca = Ca::init(&place.root().join("ca"), &domain).map_err(|error| failed(place, error))?;
    let making = Making { place, plan, address, ca };
    making.conductor()?;
    making.audience()?;
    let scores = making.scores()?;
    let publisher = making.publisher()?;
    for host in &plan.players {
        let cgroup = cgroup.map(|cgroup| cgroup.of(host));
        making.player(host, &scores, cgroup.as_deref())?;
        making.site(host, publisher)?;
    }
    for (host, address) in plan.players.iter().zip(&plan.relays) {
        making.relay(host, *address)?;
    }
    Ok(())
}

fn failed(place: &Place, error: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
    Failure::broken(format!("making the sandbox in {}", place.root().display())).because(error)
}

/// A sandbox that is made.
struct Making<'a> {
    place: &'a Place,
    plan: &'a Plan,
    address: SocketAddr,
    ca: Ca,
}

impl Making<'_> {
    fn conductor(&self) -> Result<(), Failure> {
        let directory = self.place.conductor();
        let deployments = directory.join("deployments.d");
        for directory in [&directory, &deployments, &directory.join("state")] {
            self.made(private_directory(directory))?;
        }
        if let Some(given) = &self.plan.deployments {
            copy_files(given, &deployments).map_err(|error| {
                let what = format!("copying the deployments in {}", given.display());
                Failure::usage(what).because(error)
            })?;
        }
        let name = HostName::new(CONDUCTOR).map_err(|error| failed(self.place, error))?;
        self.certificate(&directory, "conductor", &Subject::Conductor(name))?;
        let toml = conductor_toml(&directory, self.address);
        self.made(write(&directory.join("conductor.toml"), &toml))?;
        let mut relays = self.plan.relays.iter();
        let line = |host: &HostName| match relays.next() {
            Some(relay) => format!("{host} relay={relay}\n"),
            None => format!("{host}\n"),
        };
        let lines: String = self.plan.players.iter().map(line).collect();
        self.made(write(&directory.join("players"), &lines))
    }

    fn audience(&self) -> Result<(), Failure> {
        let directory = self.place.root().join("audience");
        self.made(private_directory(&directory))?;
        let name = AudienceName::new(AUDIENCE).map_err(|error| failed(self.place, error))?;
        self.certificate(&directory, AUDIENCE, &Subject::Audience(name))
    }

    /// Where the scores are: those that were named, or the samples.
    fn scores(&self) -> Result<PathBuf, Failure> {
        if let Some(scores) = &self.plan.scores {
            fs::read_dir(scores).map_err(|error| {
                Failure::usage(format!("reading the scores in {}", scores.display())).because(error)
            })?;
            return checked(scores);
        }
        let scores = self.place.root().join("scores");
        self.made(samples::extract(&scores))?;
        self.made(samples::copy_server(&programs()?, &scores))?;
        Ok(scores)
    }

    fn player(&self, host: &HostName, scores: &Path, cgroup: Option<&Path>) -> Result<(), Failure> {
        let directory = self.place.player(host);
        for directory in [&directory, &directory.join("spool")] {
            self.made(private_directory(directory))?;
        }
        self.certificate(&directory, "player", &Subject::Player(host.clone()))?;
        let text = player_toml(&directory, self.address, scores, self.plan.max_tasks, cgroup);
        let depot = quoted(&self.depot(host));
        let text = format!("depot_dir = {depot}\nplaces_dir = \"{PLACES}\"\n{text}");
        self.made(write(&directory.join("player.toml"), &text))
    }

    /// Where the bundles of a player are: with relays each has its own, and the first one that into which
    /// bundles are published.
    fn depot(&self, host: &HostName) -> PathBuf {
        let is_first = self.plan.players.iter().next() == Some(host);
        match is_first || self.plan.relays.is_empty() {
            true => self.place.depot(),
            false => self.place.player(host).join("depot"),
        }
    }

    /// Makes the relay beside a player, which listens there.
    fn relay(&self, host: &HostName, address: SocketAddr) -> Result<(), Failure> {
        let directory = self.place.relay(host);
        self.made(private_directory(&directory))?;
        self.certificate(&directory, "relay", &Subject::Relay(host.clone()))?;
        let depot = quoted(&self.depot(host));
        let text = format!(
            "listen = \"{address}\"\n\
             domain = \"{DOMAIN}\"\n\
             depot = {depot}\n\
             [tls]\n\
             ca = \"../../../ca/ca.pem\"\n\
             cert = \"relay.pem\"\n\
             key = \"relay.key\"\n"
        );
        self.made(write(&directory.join("relay.toml"), &text))
    }

    /// Makes the key of a publisher, whom every player believes.
    fn publisher(&self) -> Result<PublisherKey, Failure> {
        let name = AudienceName::new(PUBLISHER).map_err(|error| failed(self.place, error))?;
        let made = new_publisher(self.place.root(), &name);
        Ok(made.map_err(|error| failed(self.place, error))?.key)
    }

    /// Makes the file of a place in which a player takes the bundles `site`.
    fn site(&self, host: &HostName, publisher: PublisherKey) -> Result<(), Failure> {
        let directory = self.place.player(host);
        let places = directory.join(PLACES);
        self.made(private_directory(&places))?;
        let path = quoted(&directory.join("site"));
        let text =
            format!("publishers = [\"{publisher}\"]\npath = {path}\nsymlinks = \"inside\"\n");
        self.made(write(&places.join("site.toml"), &text))
    }

    fn certificate(&self, directory: &Path, file: &str, of: &Subject) -> Result<(), Failure> {
        let issued = self.ca.issue(of, &Terms::default());
        let issued = issued.map_err(|error| failed(self.place, error))?;
        self.made(keep(directory, file, &issued))
    }

    fn made<T>(&self, result: io::Result<T>) -> Result<T, Failure> {
        result.map_err(|error| failed(self.place, error))
    }
}

fn conductor_toml(directory: &Path, address: SocketAddr) -> String {
    let state = quoted(&directory.join("state"));
    format!(
        "listen = \"{address}\"\n\
         name = \"{CONDUCTOR}\"\n\
         domain = \"{DOMAIN}\"\n\
         state_dir = {state}\n\
         policy = \"open\"\n\
         [tls]\n\
         ca = \"../ca/ca.pem\"\n\
         cert = \"conductor.pem\"\n\
         key = \"conductor.key\"\n"
    )
}

fn player_toml(
    directory: &Path,
    address: SocketAddr,
    scores: &Path,
    max_tasks: u32,
    cgroup: Option<&Path>,
) -> String {
    let (scores, spool) = (quoted(scores), quoted(&directory.join("spool")));
    let cgroup = cgroup.map_or_else(|| "\"none\"".to_owned(), quoted);
    let mut text = String::new();
    let _ = write!(
        text,
        "conductors = [\"{address}\"]\n\
         conductor_name = \"{CONDUCTOR}\"\n\
         domain = \"{DOMAIN}\"\n\
         scores_dir = {scores}\n\
         spool_dir = {spool}\n\
         max_tasks = {max_tasks}\n\
         agent_user = \"self\"\n\
         task_user = \"self\"\n\
         kill_grace = \"2s\"\n\
         cgroup = {cgroup}\n\
         [tls]\n\
         ca = \"../../ca/ca.pem\"\n\
         cert = \"player.pem\"\n\
         key = \"player.key\"\n"
    );
    text
}

/// Quotes a path for TOML, which is done as in JSON.
fn quoted(path: &Path) -> String {
    serde_json::Value::from(path.to_string_lossy()).to_string()
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?
        .write_all(text.as_bytes())
}

/// Copies the files of a directory, and nothing below it.
fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

/// Writes a certificate and its key. They need not be durable, because a sandbox does not outlive a
/// boot.
fn keep(directory: &Path, name: &str, issued: &Issued) -> io::Result<()> {
    write(&directory.join(format!("{name}.key")), &issued.key_pem)?;
    write(&directory.join(format!("{name}.pem")), &issued.cert_pem)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::error::Render as _;

    #[test]
    fn a_furnished_place_holds_what_daemons_and_audience_need() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::at(&directory.path().join("with \"quotes\"")).unwrap();
        place.claim().unwrap();
        let deployments = directory.path().join("deployments");
        fs::create_dir_all(deployments.join("old")).unwrap();
        fs::write(deployments.join("shop.yaml"), "shop: {}\n").unwrap();
        let plan = Plan {
            players: HostSet::parse_plain("db[1-3]").unwrap(),
            scores: None,
            deployments: Some(deployments),
            max_tasks: 4,
            relays: Vec::new(),
        };
        furnish(&place, &plan, "127.0.0.1:4711".parse().unwrap(), None).unwrap();

        let read = |path: PathBuf| fs::read_to_string(path).unwrap();
        let conductor: toml::Table =
            read(place.conductor().join("conductor.toml")).parse().unwrap();
        assert_eq!(conductor["listen"].as_str(), Some("127.0.0.1:4711"));
        assert_eq!(conductor["state_dir"].as_str(), place.conductor().join("state").to_str());
        assert_eq!(read(place.conductor().join("players")), "db1\ndb2\ndb3\n");
        assert_eq!(read(place.conductor().join("deployments.d/shop.yaml")), "shop: {}\n");
        assert!(!place.conductor().join("deployments.d/old").exists());
        for host in &plan.players {
            let player: toml::Table = read(place.player(host).join("player.toml")).parse().unwrap();
            assert_eq!(player["scores_dir"].as_str(), place.root().join("scores").to_str());
            assert_eq!(player["cgroup"].as_str(), Some("none"));
            let site: toml::Table =
                read(place.player(host).join("places.d/site.toml")).parse().unwrap();
            assert_eq!(site["path"].as_str(), place.player(host).join("site").to_str());
            assert_eq!(player["depot_dir"].as_str(), place.root().join("depot").to_str());
            let key = place.player(host).join("player.key");
            assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o7777, 0o600);
        }
        // A second sandbox in the same place would make two of each.
        assert!(place.claim().unwrap_err().render().contains("is not empty"));
    }
}
