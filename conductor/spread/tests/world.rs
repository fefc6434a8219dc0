//! A fleet that fetches a bundle, with everything that goes wrong: hosts that are killed and come back,
//! sessions that are lost, a conductor that starts anew. In the end everybody has the bundle.
//!
//! A host here does what the engine of a player does (`orchestra-depot`): it stays with a source for as
//! long as that one lives, however little comes, and goes to the next one only when it is gone.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says so by failing")]

use std::env;

use orchestra_model::{HostName, Timestamp, bundle::BundleId, chance::Chance};
use orchestra_spread::{Asking, Spread};

const BUNDLE: BundleId = BundleId([1; 32]);
/// How many chunks the bundle has.
const CHUNKS: u32 = 20;
/// How many chunks a host takes in a tick.
const PACE: u32 = 3;
/// After so many ticks without a chunk a host says that it is stalled.
const PATIENCE: u32 = 5;

struct Host {
    name: HostName,
    has_relay: bool,
    is_up: bool,
    /// Whether its player has a session.
    is_attached: bool,
    here: u32,
    sources: Vec<usize>,
    /// Which of them is asked.
    present: Option<usize>,
    waited: u32,
    is_told: bool,
}

/// What goes wrong in a world.
#[derive(Clone, Copy)]
struct Faults {
    /// Places are lost, and what hosts have: only there hosts have to say that they are stalled.
    forgets: bool,
}

struct World {
    spread: Spread,
    /// The first one is the copy: it always has everything.
    hosts: Vec<Host>,
    bytes: u64,
    chance: Chance,
    now: u64,
    faults: Faults,
}

impl World {
    fn new(seed: u64, faults: Faults) -> Self {
        let mut chance = Chance::new(seed);
        let count = 3 + chance.up_to(20) as usize;
        let host = |n: usize, chance: &mut Chance| Host {
            name: HostName::new(&format!("h{n}")).unwrap(),
            has_relay: n == 0 || chance.up_to(4) > 0,
            is_up: true,
            is_attached: true,
            here: if n == 0 { CHUNKS } else { 0 },
            sources: Vec::new(),
            present: None,
            waited: 0,
            is_told: false,
        };
        let hosts = (0..count).map(|n| host(n, &mut chance)).collect();
        let bytes = [1_000, 1 << 20, 64 << 20][chance.up_to(2) as usize];
        Self { spread: Spread::default(), hosts, bytes, chance, now: 0, faults }
    }

    fn ask(&mut self, n: usize) {
        let is_stalled = self.faults.forgets && self.hosts[n].waited >= PATIENCE;
        let copies = [self.hosts[0].name.clone()];
        let asking = Asking {
            host: &self.hosts[n].name,
            serves: self.hosts[n].has_relay,
            is_stalled,
            faulty: &[],
            bytes: self.bytes,
            hosts: self.hosts.len() as u32,
            copies: &copies,
        };
        let named = self.spread.ask(Timestamp(self.now), BUNDLE, asking);
        assert!(named.len() <= 6);
        let place = |name: &HostName| self.hosts.iter().position(|it| it.name == *name).unwrap();
        let sources: Vec<usize> = named.iter().map(place).collect();
        assert!(sources.iter().all(|it| *it != n && self.hosts[*it].has_relay));
        let host = &mut self.hosts[n];
        let present = host.present.filter(|it| sources.contains(it) && !is_stalled);
        (host.sources, host.present, host.waited, host.is_told) = (sources, present, 0, true);
    }

    /// Goes to the next source, and asks for others when none is left.
    fn advance(&mut self, n: usize) {
        let at = self.hosts[n].present;
        let sources = self.hosts[n].sources.clone();
        let next = match at {
            Some(present) => sources.iter().position(|it| *it == present).map_or(0, |it| it + 1),
            None => 0,
        };
        self.hosts[n].present = sources.get(next).copied();
        if self.hosts[n].present.is_none() && self.hosts[n].is_attached {
            self.ask(n);
        }
    }

    fn serve(&mut self, n: usize) {
        let Some(source) = self.hosts[n].present else { return self.advance(n) };
        if !self.hosts[source].is_up {
            return self.advance(n);
        }
        let more = self.hosts[source].here.saturating_sub(self.hosts[n].here).min(PACE);
        let host = &mut self.hosts[n];
        host.here += more;
        host.waited = if more > 0 { 0 } else { host.waited + 1 };
        if host.here == CHUNKS {
            host.present = None;
            let name = host.name.clone();
            self.spread.arrived(Timestamp(self.now), BUNDLE, &name);
        } else if self.faults.forgets && host.waited >= PATIENCE && host.is_attached {
            self.ask(n);
        }
    }

    fn tick(&mut self, with_faults: bool) {
        self.now += 1_000;
        if with_faults {
            self.fail();
        }
        for n in 1..self.hosts.len() {
            if !self.hosts[n].is_up || self.hosts[n].here == CHUNKS {
                continue;
            }
            if !self.hosts[n].is_told && self.hosts[n].is_attached {
                self.ask(n);
            }
            self.serve(n);
        }
        self.spread.audit().unwrap();
    }

    fn fail(&mut self) {
        let n = 1 + self.chance.up_to(self.hosts.len() as u64 - 2) as usize;
        let name = self.hosts[n].name.clone();
        match self.chance.up_to(11) {
            0 | 1 => {
                self.hosts[n].is_up = !self.hosts[n].is_up;
                let is_up = self.hosts[n].is_up;
                self.attach(n, is_up);
                self.hosts[n].present = None;
            }
            2 if self.hosts[n].is_up => {
                let is_attached = !self.hosts[n].is_attached;
                self.attach(n, is_attached);
            }
            3 if self.hosts[n].here < CHUNKS && self.hosts[n].is_attached => {
                self.spread.ended(Timestamp(self.now), BUNDLE, &name);
                (self.hosts[n].present, self.hosts[n].is_told) = (None, false);
            }
            4 if self.faults.forgets => self.hosts[n].here = 0,
            5 if self.faults.forgets && self.chance.up_to(5) == 0 => {
                self.spread = Spread::default();
                self.hosts.iter_mut().for_each(|host| host.is_told = false);
            }
            _ => {}
        }
    }

    fn attach(&mut self, n: usize, attached: bool) {
        let host = &mut self.hosts[n];
        (host.is_attached, host.is_told) = (attached, false);
        let name = host.name.clone();
        match attached {
            true => self.spread.attached(&name),
            false => self.spread.detached(Timestamp(self.now), &name),
        }
    }

    /// Everything is whole again, and stays so.
    fn heal(&mut self) {
        for n in 1..self.hosts.len() {
            if !self.hosts[n].is_up || !self.hosts[n].is_attached {
                self.hosts[n].is_up = true;
                self.attach(n, true);
            }
        }
    }

    fn run(mut self) {
        for _ in 0..60 {
            self.tick(true);
        }
        self.heal();
        let most = 20 * self.hosts.len() as u32 + 200;
        for _ in 0..most {
            if self.hosts.iter().all(|host| host.here == CHUNKS) {
                return;
            }
            self.tick(false);
        }
        let left = self.hosts.iter().filter(|host| host.here < CHUNKS).map(|host| {
            let present = host.present.map(|it| self.hosts[it].name.as_str());
            format!("{} has {} of {present:?}", host.name, host.here)
        });
        panic!("not everybody has it: {}", left.collect::<Vec<_>>().join(", "));
    }
}

fn seeds() -> std::ops::Range<u64> {
    let read = |name: &str| env::var(name).ok().and_then(|text| text.parse().ok());
    let first = read("SEED").unwrap_or(0);
    first..first + read("SEEDS").unwrap_or(2_000)
}

/// Nobody has to say that it is stalled, so nobody ever waits in a circle.
#[test]
fn nobody_waits_in_a_circle_whoever_is_killed_and_comes_back() {
    seeds().for_each(|seed| World::new(seed, Faults { forgets: false }).run());
}

#[test]
fn everybody_gets_it_although_places_and_depots_are_lost() {
    seeds().for_each(|seed| World::new(seed, Faults { forgets: true }).run());
}
