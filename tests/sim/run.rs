//! Runs a seed; and where that fails, finds a short script that fails too.

use std::{cell::RefCell, collections::BTreeSet, fmt::Write as _, panic, sync::Once};

use crate::{
    script::{self, Event, Kind},
    world::{Told, World},
};

thread_local! {
    /// What the last panic of this thread said; `None` where panics are to be printed as ever.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Why a script fails, and what happened until then.
#[derive(Debug)]
pub(crate) struct Failure {
    why: String,
    trace: Vec<String>,
}

/// What happened in a run of this seed, in lines.
pub(crate) fn trace_of(seed: u64) -> Vec<String> {
    let mut world = World::new(seed, true);
    script::of(seed).iter().for_each(|event| world.step(event));
    world.heal();
    world.into_trace()
}

/// The states and reasons that are told in a run of this seed, in words.
pub(crate) fn told_in(seed: u64) -> BTreeSet<Told> {
    let mut world = World::new(seed, false);
    let mut words = BTreeSet::new();
    for event in script::of(seed) {
        world.step(&event);
        words.extend(world.told_now());
    }
    words
}

/// Runs a seed. Fails with what a person needs to see why.
pub(crate) fn seed(seed: u64) -> Result<(), String> {
    let script = script::of(seed);
    let Err(failure) = attempt(seed, &script, false) else { return Ok(()) };
    let shrinks = std::env::var("SHRINK").is_err();
    let (script, failure) = if shrinks { shrink(seed, script, failure) } else { (script, failure) };
    Err(report(seed, &script, &failure))
}

/// Whether a seed fails, without asking why.
fn attempt(seed: u64, script: &[Event], traced: bool) -> Result<(), Failure> {
    listen();
    SAID.set(Some(String::new()));
    let mut trace = Vec::new();
    let ran = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        let mut world = World::new(seed, traced);
        let mut steps = || {
            script.iter().for_each(|event| world.step(event));
            world.heal();
        };
        let ran = panic::catch_unwind(panic::AssertUnwindSafe(&mut steps));
        trace = world.trace().to_vec();
        ran.is_ok()
    }));
    let why = SAID.take().unwrap_or_default();
    match ran {
        Ok(true) => Ok(()),
        _ => Err(Failure { why, trace }),
    }
}

/// Panics of the runs are caught and told once; all others are printed as ever.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let heard = SAID.with_borrow_mut(|said| match said {
                Some(said) => {
                    *said = info.to_string();
                    true
                }
                None => false,
            });
            if !heard {
                usual(info);
            }
        }));
    });
}

/// Most runs that finding a shorter script may take.
const TRIES: usize = 500;

/// Leaves out what the failure does not need: halves, quarters, and so on down to single events.
fn shrink(seed: u64, mut script: Vec<Event>, mut failure: Failure) -> (Vec<Event>, Failure) {
    let mut tries = 0;
    let mut length = script.len() / 2;
    while length > 0 && tries < TRIES {
        let mut at = 0;
        while at < script.len() && tries < TRIES {
            let mut shorter = script.clone();
            shorter.drain(at..(at + length).min(script.len()));
            tries += 1;
            match attempt(seed, &shorter, false) {
                // Another failure is as good as this one, and easier to read.
                Err(other) => (script, failure) = (shorter, other),
                Ok(()) => at += length,
            }
        }
        length /= 2;
    }
    let told = attempt(seed, &script, true);
    (script, told.err().unwrap_or(failure))
}

fn report(seed: u64, script: &[Event], failure: &Failure) -> String {
    let mut text = format!("seed {seed} fails: {}\n", failure.why);
    let named = script.iter().filter(|event| event.kind() != Kind::Progress);
    let named: Vec<String> = named.map(ToString::to_string).collect();
    let _ = writeln!(text, "{} events, of them: {}", script.len(), named.join(", "));
    const LINES: usize = 250;
    let from = failure.trace.len().saturating_sub(LINES);
    for line in &failure.trace[from..] {
        let line: String = line.chars().take(600).collect();
        let _ = writeln!(text, "    {line}");
    }
    let _ = writeln!(text, "replay: make sim SEED={seed}");
    text
}
