//! Units in a pretended world where everything goes wrong by chance, beside a reference that says what
//! must be so. `SEEDS=n` lives more lives, `SEED=n` one of them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says so by failing")]

use std::env;

use orchestra_model::chance::Chance;

mod driver;
mod host;
mod reference;

use driver::World;

/// Chance as the engine has it, but with a seed of its own.
#[derive(Clone, Debug)]
pub(crate) struct Dice(Chance);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Chance::new(seed))
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0.draw() % n.max(1)
    }

    /// Whether something of this likelihood (in 100) happens.
    pub(crate) fn happens(&mut self, of_100: u64) -> bool {
        self.below(100) < of_100
    }

    pub(crate) fn one_of<T: Copy>(&mut self, choice: &[T]) -> T {
        choice[usize::try_from(self.below(choice.len() as u64)).unwrap()]
    }
}

/// How many lives are lived, and how many steps each has.
const SEEDS: u64 = 300;
const STEPS: u64 = 250;

fn live(seed: u64) -> Vec<u8> {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.heal();
    world.host.disk
}

#[expect(clippy::disallowed_methods, reason = "a test is told by its environment how long it is")]
fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn whatever_happens_units_are_kept_as_their_orders_want_them() {
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        let lived = std::panic::catch_unwind(|| live(seed));
        assert!(lived.is_ok(), "seed {seed}");
    }
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    for seed in 0..10 {
        assert_eq!(live(seed), live(seed));
    }
}
