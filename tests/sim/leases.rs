//! At most one: a conductor's engine and a player's engine of units, with leases between them, while
//! clocks drift, messages come late, and either side stands still, dies or loses the other.
//!
//! ```text
//!   Services ◀── asks, reports ── sitter (Units) ──▶ process     clocks: each off by up to 1 %
//!            ── orders, grants ──▶      └── book ──▶ guard ──▶ kills it
//! ```
//!
//! Whenever the conductor's engine says that the instance may be replaced, another one is begun
//! elsewhere at once, and stays until the first has another placement. As long as it is there, nothing
//! of the first may be alive.

mod conductor;
mod player;

use std::collections::BTreeMap;

use orchestra_model::{
    HostName, Millis, ServiceName,
    delivery::StoreId,
    service::{Instance, Leases, Placement, Replaceable, UnitJob, UnitReport},
};

use self::{conductor::Conductor, player::Player};
use crate::chance::Chance;

/// Seeds of an ordinary `make test`.
const SEEDS: u64 = 200;
/// How many moments a seed has.
const MOMENTS: u64 = 3_000;
/// Longest and shortest lease, with how long a moment is (ms): a guard that looks once a moment is not
/// much later than one that looks once a second.
const LEASES: [(u64, u64); 3] = [(10_000, 100), (600_000, 2_000), (3_600_000, 12_000)];
const STORE: StoreId = StoreId([7; 16]);

fn web() -> ServiceName {
    ServiceName::new("web").unwrap()
}

fn host() -> HostName {
    HostName::new("a").unwrap()
}

/// A clock that runs too fast or too slow, by up to 1 %.
#[derive(Clone, Copy, Debug)]
struct Clock {
    began: u64,
    /// How much it gains in a million.
    gains: i64,
}

impl Clock {
    fn new(chance: &mut Chance) -> Self {
        let gains = match chance.below(4) {
            0 => -10_000,
            1 => 10_000,
            2 => 0,
            _ => i64::try_from(chance.below(20_001)).unwrap() - 10_000,
        };
        Clock { began: 1_000 + u64::try_from(chance.below(1_000_000)).unwrap(), gains }
    }

    /// What it shows at this moment (ms since the beginning of the seed).
    fn at(self, t: u64) -> u64 {
        let gained = i64::try_from(t).unwrap() * self.gains / 1_000_000;
        self.began + t.saturating_add_signed(gained)
    }
}

/// What is on its way.
#[derive(Clone, Debug)]
enum Message {
    Asked(Leases),
    Told(Box<UnitReport>),
    Granted(Leases),
    Ordered(Box<UnitJob>, Instance),
}

struct World {
    chance: Chance,
    t: u64,
    /// Messages by when they arrive; nothing of them keeps its order.
    network: BTreeMap<u64, Vec<Message>>,
    is_attached: bool,
    /// Until when they cannot reach each other.
    apart_until: u64,
    conductor: Conductor,
    player: Player,
    /// The placement that was replaced, while another instance lives in its stead.
    other: Option<Placement>,
    /// How often an instance was replaced.
    replaced: u32,
}

impl World {
    fn new(seed: u64) -> (Self, u64) {
        let mut chance = Chance::new(seed);
        let (lease, moment) = LEASES[chance.below(LEASES.len())];
        let grace = lease / [10, 2, 1_000][chance.below(3)];
        let conductor = Conductor::new(Clock::new(&mut chance), Millis(lease), Millis(grace));
        let player = Player::new(Clock::new(&mut chance), seed);
        let mut world = World {
            chance,
            t: 0,
            network: BTreeMap::new(),
            is_attached: false,
            apart_until: 0,
            conductor,
            player,
            other: None,
            replaced: 0,
        };
        world.attach();
        (world, moment)
    }

    fn send(&mut self, message: Message, moment: u64) {
        // Mostly at once; at times as late as may be.
        let delay = match self.chance.below(12) {
            0 => moment * 5,
            1 => moment * 60,
            2 => moment * 200,
            _ => 0,
        };
        self.network.entry(self.t + delay).or_default().push(message);
    }

    fn attach(&mut self) {
        let are_there =
            !self.conductor.is_stopped && !self.player.is_stopped && self.player.is_there;
        if are_there && self.t >= self.apart_until {
            self.is_attached = true;
            let units = self.player.reports();
            self.conductor.attached(self.t, units);
        }
    }

    fn detach(&mut self) {
        if !self.conductor.is_stopped && self.is_attached {
            self.is_attached = false;
            self.conductor.detached(self.t);
        }
    }

    /// Something goes wrong, or is well again.
    fn happen(&mut self, moment: u64) {
        // Mostly nothing else happens meanwhile, so that leases run out.
        if self.t < self.apart_until && self.chance.below(100) > 0 {
            return;
        }
        match self.chance.below(60) {
            0 => self.player.is_stopped = true,
            1..=3 => self.player.is_stopped = false,
            4 => self.conductor.is_stopped = true,
            5..=7 => self.conductor.is_stopped = false,
            8 => self.detach(),
            // For as long as a lease lasts, and all that is waited for after it.
            15 if self.chance.below(16) == 0 => {
                self.detach();
                self.apart_until = self.t + moment * 600;
            }
            9..=11 if !self.is_attached => self.attach(),
            12 => {
                // What it knew in memory alone is gone, and so is its session.
                self.is_attached = false;
                self.conductor.restart(self.t);
            }
            13 => {
                self.player.is_there = false;
                self.is_attached = false;
                self.conductor.loses_player(self.t);
            }
            16..=18 if !self.player.is_there => self.player.restart(self.t),
            _ => {}
        }
    }

    /// A moment passes.
    fn pass(&mut self, moment: u64) {
        self.t += moment;
        // The guard has a clock and no chance: it looks each moment.
        self.player.guard(self.t);
        self.happen(moment);
        let later = self.network.split_off(&(self.t + 1));
        let arrived = std::mem::replace(&mut self.network, later);
        for message in arrived.into_values().flatten() {
            self.take(message, moment);
        }
        let heeds = self.chance.below(100) < 30;
        for message in self.player.pass(self.t, heeds, &mut self.chance) {
            self.send(message, moment);
        }
        for message in self.conductor.orders(self.is_attached) {
            self.send(message, moment);
        }
        self.replace();
        self.check();
    }

    fn take(&mut self, message: Message, moment: u64) {
        match message {
            // Who stands still hears it later.
            Message::Asked(_) | Message::Told(_) if self.conductor.is_stopped => {
                self.network.entry(self.t + moment).or_default().push(message);
            }
            Message::Granted(_) | Message::Ordered(..) if self.player.is_stopped => {
                self.network.entry(self.t + moment).or_default().push(message);
            }
            Message::Asked(asked) => {
                if let Some(granted) = self.conductor.granted(self.t, asked) {
                    self.send(Message::Granted(granted), moment);
                }
            }
            Message::Told(report) => self.conductor.told(self.t, *report),
            Message::Granted(granted) => self.player.granted(self.t, granted),
            Message::Ordered(job, instance) => self.player.ordered(self.t, &job, instance),
        }
    }

    /// Begins another instance as soon as the conductor may.
    fn replace(&mut self) {
        let placement = self.conductor.placement();
        if self.other.is_some_and(|other| placement != Some(other)) {
            // It is stopped before an order leaves for the further placement.
            self.other = None;
        }
        if self.is_attached || self.conductor.is_stopped || self.other.is_some() {
            return;
        }
        if self.conductor.replaceable(self.t) == Replaceable::Now && self.conductor.replace(self.t)
        {
            self.other = placement;
            self.replaced += 1;
        }
    }

    fn check(&self) {
        if let (Some(placement), Some(alive)) = (self.other, self.player.alive()) {
            panic!(
                "at {}: placement {placement} was replaced, and a run of {alive} is alive: {:?}",
                self.t, self.player
            );
        }
    }
}

fn live(seed: u64) -> u32 {
    let (mut world, moment) = World::new(seed);
    for _ in 0..MOMENTS {
        world.pass(moment);
    }
    world.replaced
}

#[test]
fn whatever_happens_no_instance_is_alive_twice() {
    let asked = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds = match asked("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..asked("SEEDS").unwrap_or(SEEDS),
    };
    let mut replaced = 0;
    for seed in seeds.clone() {
        let lived = std::panic::catch_unwind(|| live(seed));
        assert!(lived.is_ok(), "seed {seed}");
        replaced += lived.unwrap_or(0);
    }
    let count = seeds.end - seeds.start;
    assert!(count == 1 || u64::from(replaced) > count, "too little happens: {replaced}");
}
