//! A conductor and its players, in a directory of their own.
//!
//! ```text
//! DIR/ca/                       the authority, and what it issued
//! DIR/conductor/                conductor.toml, players, deployments.d/, state/, log
//! DIR/players/NAME/             player.toml, its key and certificates, spool/, log
//! DIR/scores/                   what all players offer
//! DIR/record                    what scores write of themselves
//! DIR/gates/HOST                lets the score `gate` end on a host
//! ```

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions, Permissions},
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use orchestra_ca::{Ca, Terms};
use orchestra_certs::{Role, Subject};
use orchestra_harness::{Config, Names};
use orchestra_model::{HostName, HostSet};
use rustix::process::Signal;
use tempfile::TempDir;

use super::{
    Player, Record, binaries,
    daemon::Daemon,
    eventually,
    process::{OwnCgroup, processes_with, signal},
};

/// The domain of all certificates here.
pub(crate) const DOMAIN: &str = "e2e.test";
/// The conductor's name.
pub(crate) const CONDUCTOR: &str = "conductor.e2e.test";
const NAMES: Names<'_> = Names { conductor: CONDUCTOR, domain: DOMAIN };

/// The scores that every fleet has: name, text and `.conf`.
const SCORES: &[(&str, &str, &str)] = &[
    ("hello", include_str!("../scores/hello"), ""),
    ("look", include_str!("../scores/look"), "disruptive = false\n"),
    ("work", include_str!("../scores/work"), ""),
    ("gate", include_str!("../scores/gate"), ""),
    ("chatter", include_str!("../scores/chatter"), ""),
    (
        "check-up",
        include_str!("../scores/check-up"),
        "disruptive = false\n[params.exit]\n[params.other]\n[params.port]\n",
    ),
    ("serve", include_str!("../scores/serve"), "[params.exit]\n[params.other]\n[params.port]\n"),
    ("stubborn", include_str!("../scores/stubborn"), ""),
    ("escape", include_str!("../scores/escape"), ""),
    ("daemonise", include_str!("../scores/daemonise"), ""),
];

/// Where attempts get their cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cgroup {
    /// Below one of this fleet alone where there can be one, else as [`Cgroup::None`].
    Own,
    /// Nowhere.
    None,
}

/// What a fleet is to be.
#[derive(Debug)]
pub(crate) struct FleetBuilder {
    players: String,
    cgroup: Cgroup,
    player_keys: BTreeMap<String, String>,
    conductor_tables: String,
    policy: Option<String>,
    deployment: Option<String>,
    attach: bool,
    small_disks: bool,
}

/// The rule of a policy by which `alice`, who asks in these tests, may do everything.
pub(crate) const ROOT: &str = r#"
[[rule]]
name = "root"
who = ["alice"]
may = ["admin"]
scores = ["*"]
services = ["*"]
bundles = ["*"]
hosts = "*"
"#;

impl FleetBuilder {
    /// Where attempts get their cgroups; below one of the fleet's own if nothing is said.
    #[must_use]
    pub(crate) fn cgroup(mut self, cgroup: Cgroup) -> Self {
        self.cgroup = cgroup;
        self
    }

    /// A key of every `player.toml`, over the default; its value as it stands in TOML.
    #[must_use]
    pub(crate) fn player_key(mut self, key: &str, value: &str) -> Self {
        self.player_keys.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Tables at the end of `conductor.toml`.
    #[must_use]
    pub(crate) fn conductor_tables(mut self, text: &str) -> Self {
        self.conductor_tables.push_str(text);
        self
    }

    /// What stands in `policy.toml` at first; without it everybody may do everything.
    #[must_use]
    pub(crate) fn policy(mut self, text: &str) -> Self {
        self.policy = Some(text.to_owned());
        self
    }

    /// What stands in `deployments.d/web.yaml`.
    #[must_use]
    pub(crate) fn deployment(mut self, text: &str) -> Self {
        self.deployment = Some(text.to_owned());
        self
    }

    /// Players are written down, and not started.
    #[must_use]
    pub(crate) fn players_off(mut self) -> Self {
        self.attach = false;
        self
    }

    /// Store and spools are each on a disk of 32 MiB of their own, which is gone when its daemon is:
    /// [`Daemon::filler`]. Needs root.
    #[must_use]
    pub(crate) fn small_disks(mut self) -> Self {
        self.small_disks = true;
        self
    }

    /// Writes everything down and starts the conductor, then the players; returns when all of them
    /// are attached.
    pub(crate) fn start(self) -> Fleet {
        static FLEETS: AtomicU32 = AtomicU32::new(0);
        let number = FLEETS.fetch_add(1, Ordering::Relaxed);
        let name = format!("orchestra-e2e-{}-{number}", std::process::id());
        let dir = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir();
        let dir = dir.expect("a directory");
        // Users that a test switches to have to get to their own.
        set_mode(dir.path(), 0o755);
        let below = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir(&path).expect("the directory is new");
            set_mode(&path, 0o755);
            path
        };
        let (conductor, scores) = (below("conductor"), below("scores"));
        below("players");
        below("gates");
        let ca = Ca::init(&dir.path().join("ca"), &host(DOMAIN)).expect("a CA");
        let record = Record::new(dir.path().join("record"));
        set_mode(record.path(), 0o666);
        let cgroup = (self.cgroup == Cgroup::Own).then(|| OwnCgroup::make(&name)).flatten();
        let hosts = HostSet::parse_plain(&self.players).expect("a host set");
        fs::write(conductor.join("players"), format!("{}\n", self.players)).expect("a file");
        let config_dir = conductor.display().to_string();
        let arguments = ["--config-dir", &config_dir, "--new-store"];
        let mut daemon = Daemon::new("conductor", &arguments, conductor.join("log"));
        if self.small_disks {
            daemon.on_a_small_disk(&conductor.join("state"));
        }
        let mut fleet = Fleet {
            conductor: daemon,
            players: BTreeMap::new(),
            options: self,
            address: Mutex::new("127.0.0.1:0".to_owned()),
            record,
            ca,
            cgroup,
            dir,
        };
        for (name, text, conf) in SCORES {
            fleet.score(name, text, conf);
        }
        fs::create_dir(scores.join(".lib")).expect("the directory is new");
        fleet.certificate(Role::Conductor, CONDUCTOR);
        fleet.certificate(Role::Audience, "alice");
        if let Some(text) = &fleet.options.deployment {
            fleet.write_deployment(text);
        }
        fleet.start_conductor();
        for host in &hosts {
            fleet.add_player(host.as_str());
        }
        if fleet.options.attach {
            fleet.start_players();
        }
        fleet
    }
}

/// A conductor and its players. All of it, and all that it started, is gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Fleet {
    /// The conductor.
    pub(crate) conductor: Daemon,
    /// What scores wrote of themselves.
    pub(crate) record: Record,
    /// The authority of all certificates.
    pub(crate) ca: Ca,
    players: BTreeMap<String, Player>,
    options: FleetBuilder,
    address: Mutex<String>,
    cgroup: Option<OwnCgroup>,
    // Last, so that it goes last.
    dir: TempDir,
}

impl Fleet {
    /// A fleet of these players, to be made.
    #[expect(clippy::new_ret_no_self, reason = "a fleet is made by its builder")]
    pub(crate) fn new(players: &str) -> FleetBuilder {
        FleetBuilder {
            players: players.to_owned(),
            cgroup: Cgroup::Own,
            player_keys: BTreeMap::new(),
            conductor_tables: String::new(),
            policy: None,
            deployment: None,
            attach: true,
            small_disks: false,
        }
    }

    /// Where everything is.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Whether attempts have cgroups.
    pub(crate) fn has_cgroups(&self) -> bool {
        self.cgroup.is_some()
    }

    /// Where the conductor listens.
    pub(crate) fn address(&self) -> String {
        self.address.lock().expect("no test panicked in here").clone()
    }

    /// Starts the conductor, on the address that it had; returns when it listens.
    pub(crate) fn start_conductor(&self) {
        self.start_conductor_with(&[]);
    }

    /// Starts the conductor with further arguments.
    pub(crate) fn start_conductor_with(&self, arguments: &[&str]) {
        let dir = self.dir().join("conductor");
        let ca = self.dir().join("ca");
        let own = |ending: &str| ca.join(format!("conductor/{CONDUCTOR}.{ending}"));
        let config = Config::of_conductor(NAMES, &self.address(), &dir.join("state"));
        let config = match &self.options.policy {
            None => config,
            Some(text) => {
                let file = dir.join("policy.toml");
                if !file.exists() {
                    fs::write(file, text).expect("a file");
                }
                config.without("policy")
            }
        };
        config
            .tls(ca.join("ca.pem"), own("pem"), own("key"))
            .tables(&self.options.conductor_tables)
            .write(&dir.join("conductor.toml"))
            .expect("a file");
        self.conductor.start_with(arguments);
        let listening = eventually("the conductor to listen", || {
            let out = self.conductor.output();
            assert!(
                self.conductor.is_running() || out.ends_with('\n'),
                "it ended: {}",
                self.conductor.log_tail()
            );
            Some(out.strip_suffix('\n')?.to_owned())
        });
        *self.address.lock().expect("no test panicked in here") = listening;
    }

    /// Kills the conductor as `kill -9` does, and starts it again.
    pub(crate) fn crash_conductor(&self) {
        self.conductor.kill();
        self.start_conductor();
    }

    /// Writes a player down, with key and certificates of its own; does not start it.
    pub(crate) fn add_player(&mut self, name: &str) -> &Player {
        let dir = self.dir().join("players").join(name);
        fs::create_dir(&dir).expect("the player is new");
        set_mode(&dir, 0o755);
        self.certificate(Role::Player, name);
        let player = self.write_player(name, &dir);
        self.players.entry(name.to_owned()).or_insert(player)
    }

    /// Starts a relay beside a player, whose depot it serves; returns it and where it listens. `more`
    /// stands in `relay.toml`. The conductor's players file does not name it yet.
    pub(crate) fn relay_beside(&self, name: &str, more: &str) -> (Daemon, String) {
        let dir = self.player(name).dir.join("relay");
        fs::create_dir(&dir).expect("the relay is new");
        self.certificate(Role::Relay, name);
        let ca = self.dir().join("ca");
        let issued = |ending: &str| ca.join("relay").join(format!("{name}.{ending}"));
        let text = format!(
            "domain = '{DOMAIN}'\nlisten = '127.0.0.1:0'\ndepot = '../depot'\n{more}\n\
             [tls]\nca = '{}'\ncert = '{}'\nkey = '{}'\n",
            ca.join("ca.pem").display(),
            issued("pem").display(),
            issued("key").display(),
        );
        let config = dir.join("relay.toml");
        fs::write(&config, text).expect("a file");
        let relay =
            Daemon::new("relay", &["--config", &config.display().to_string()], dir.join("log"));
        let address = start_relay(&relay);
        (relay, address)
    }

    /// A second directory and spool for a player's name, as an operator's mistake makes them.
    pub(crate) fn double_of(&self, name: &str) -> Player {
        let dir = self.dir().join("players").join(format!("{name}.double"));
        fs::create_dir(&dir).expect("it is the only double");
        self.write_player(name, &dir)
    }

    fn write_player(&self, name: &str, dir: &Path) -> Player {
        let issued = self.dir().join("ca/player").join(name);
        for (from, to) in [("pem", "cert.pem"), ("key", "key.pem")] {
            fs::copy(format!("{}.{from}", issued.display()), dir.join(to)).expect("it was issued");
        }
        fs::copy(self.dir().join("ca/ca.pem"), dir.join("ca.pem")).expect("there is a CA");
        self.write_player_toml(dir);
        let config = dir.join("player.toml").display().to_string();
        let mut sitter = Daemon::new("player", &["--config", &config], dir.join("log"));
        if self.options.small_disks {
            sitter.on_a_small_disk(&dir.join("spool"));
        }
        Player { name: name.to_owned(), dir: dir.to_owned(), sitter }
    }

    /// Writes `player.toml` into a player's directory.
    fn write_player_toml(&self, dir: &Path) {
        let cgroup = self.cgroup.as_ref().map_or(Path::new("none"), OwnCgroup::path);
        let (scores, spool) = (self.dir().join("scores"), Path::new("spool"));
        let mut config = Config::of_player(NAMES, &self.address(), &scores, spool)
            .with("kill_grace", "1s")
            .with("cgroup", cgroup)
            .tls("ca.pem", "cert.pem", "key.pem");
        for (key, value) in &self.options.player_keys {
            config.set(key, value);
        }
        config.write(&dir.join("player.toml")).expect("a file");
    }

    /// Starts all players that do not run; returns when all are attached.
    pub(crate) fn start_players(&self) {
        for player in self.players.values().filter(|player| !player.sitter.is_running()) {
            player.sitter.start();
        }
        let all: Vec<String> = self.players.keys().cloned().collect();
        self.wait_attached(&all);
    }

    /// A player by its name.
    #[track_caller]
    pub(crate) fn player(&self, name: &str) -> &Player {
        self.players.get(name).unwrap_or_else(|| panic!("no player {name}"))
    }

    /// All players.
    pub(crate) fn players(&self) -> impl Iterator<Item = &Player> {
        self.players.values()
    }

    /// The names of attached players.
    pub(crate) fn attached(&self) -> Vec<String> {
        let arguments = ["players", "--attached", "--json", "--connect-timeout", "30s"];
        let document = self.orc(&arguments).exits(0).json();
        let players = document["players"].as_array().expect("a list").iter();
        players.map(|player| player["host"].as_str().expect("a name").to_owned()).collect()
    }

    /// Waits until these players are attached.
    pub(crate) fn wait_attached<T: AsRef<str>>(&self, names: &[T]) {
        let mut there = Vec::new();
        eventually(&format!("{} players to attach", names.len()), || {
            there = self.attached();
            names.iter().all(|name| there.iter().any(|other| other == name.as_ref())).then_some(())
        });
    }

    /// Waits until this player is not attached.
    pub(crate) fn wait_detached(&self, name: &str) {
        eventually(&format!("{name} to be absent"), || {
            (!self.attached().iter().any(|other| other == name)).then_some(())
        });
    }

    /// Installs a score, over what is there, with its `.conf` where that is not empty.
    pub(crate) fn score(&self, name: &str, text: &str, conf: &str) {
        self.install(name, text.as_bytes(), conf);
    }

    /// Installs the sample HTTP service of `demo/serve-web` as a score; returns when all players offer it.
    pub(crate) fn sample_service(&self) {
        let program = fs::read(binaries::path("serve-web")).expect("it was built");
        self.install("serve-web", &program, include_str!("../../../demo/serve-web/serve-web.conf"));
        self.rescan();
        eventually("all players to offer the sample service", || {
            let told = self.orc(&["scores", "serve-web", "--json"]);
            let known = (told.code() == Some(0)).then(|| told.json())?;
            (known["scores"][0]["versions"][0]["count"] == self.players.len()).then_some(())
        });
        let all: Vec<String> = self.players.keys().cloned().collect();
        self.wait_attached(&all);
    }

    fn install(&self, name: &str, program: &[u8], conf: &str) {
        let scores = self.dir().join("scores");
        // Whole from the first moment, whatever the umask.
        let temporary = scores.join(format!(".{name}.new"));
        let mut file = OpenOptions::new();
        let mut file = file
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o755)
            .open(&temporary)
            .expect("a file");
        file.write_all(program).expect("space");
        drop(file);
        set_mode(&temporary, 0o755);
        if !conf.is_empty() {
            let path = scores.join(format!("{name}.conf"));
            fs::write(&path, conf).expect("a file");
            set_mode(&path, 0o644);
        }
        fs::rename(&temporary, scores.join(name)).expect("one directory");
    }

    /// Replaces a score; returns when the conductor knows that every player offers what is new.
    pub(crate) fn mend_score(&self, name: &str, text: &str) {
        // Its hash, where all have the same.
        let version = || {
            let mut document = self.orc(&["scores", name, "--json"]).exits(0).json();
            let versions = document["scores"][0]["versions"].take();
            let [only] = &versions.as_array()?[..] else { return None };
            (only["count"] == self.players.len()).then(|| only["hash"].clone())
        };
        let before = eventually("all players to offer the same", version);
        self.score(name, text, "");
        self.rescan();
        eventually("all players to offer what is new", || {
            version().filter(|now| *now != before).map(drop)
        });
    }

    /// Tells all players to look at the scores again.
    pub(crate) fn rescan(&self) {
        for player in self.players.values() {
            player.sitter.signal(Signal::HUP);
        }
    }

    /// Rewrites the players file.
    pub(crate) fn write_players(&self, text: &str) {
        fs::write(self.dir().join("conductor/players"), text).expect("a file");
    }

    /// Rewrites `deployments.d/web.yaml`.
    pub(crate) fn write_deployment(&self, text: &str) {
        let directory = self.dir().join("conductor/deployments.d");
        fs::create_dir_all(&directory).expect("a directory");
        fs::write(directory.join("web.yaml"), text).expect("a file");
    }

    /// Lets the score `gate` end on these hosts, now and whenever it is started there.
    pub(crate) fn go(&self, hosts: &str) {
        for host in &HostSet::parse_plain(hosts).expect("a host set") {
            fs::write(self.dir().join("gates").join(host.as_str()), "").expect("a file");
        }
    }

    /// Issues and stores a certificate of the fleet's CA.
    pub(crate) fn certificate(&self, role: Role, name: &str) {
        let subject = Subject::new(role, name).expect("a name");
        let issued = self.ca.issue(&subject, &Terms::default()).expect("a certificate");
        self.ca.save(&[issued], false).expect("it is new");
    }

    fn daemons(&self) -> impl Iterator<Item = &Daemon> {
        [&self.conductor].into_iter().chain(self.players.values().map(|player| &player.sitter))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.daemons().for_each(|daemon| println!("{}", daemon.log_tail()));
        }
        self.daemons().for_each(Daemon::kill);
        // Agents, scores, and what those started: all of them have the directory's name in their
        // arguments or their environment.
        let name = self.dir().display().to_string();
        for _ in 0..500 {
            let left = processes_with(&name);
            if left.is_empty() {
                break;
            }
            left.iter().for_each(|process| signal(process.pid, Signal::KILL));
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

/// Starts a relay, and returns where it listens.
fn start_relay(relay: &Daemon) -> String {
    relay.start();
    eventually("the relay to listen", || {
        let log = relay.log();
        assert!(relay.is_running(), "it ended: {}", relay.log_tail());
        let started = log.lines().rfind(|line| line.contains("relay started"))?;
        let (_, address) = started.split_once("address=")?;
        address.split(' ').next().map(ToOwned::to_owned)
    })
}

/// A name that is known to be one.
fn host(name: &str) -> HostName {
    HostName::new(name).expect("a host name")
}

/// Sets a mode, whatever the umask was.
pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
}
