//! Probes: from the engine's effect to a prober, and back. Checks, for which a score is run, are in
//! `checks.rs`.

use std::io;

use orchestra_model::{
    Millis,
    service::{Probe, Target},
};
use orchestra_units::{Input, ProbeNumber, ProbeOutcome, UnitKey};
use rustix::fd::OwnedFd;

use super::now;
use crate::{
    prober::wire::Call,
    sitter::{
        Sitter,
        clock::BootMillis,
        poll::Token,
        probers::{Answer, Asked},
        start::runner_of,
        sys::Identity,
    },
};

impl Sitter {
    /// Has a unit probed. If that is not possible, the outcome is unknown.
    pub(super) fn probe_unit(
        &mut self,
        unit: UnitKey,
        number: ProbeNumber,
        probe: &Probe,
        timeout: Millis,
    ) {
        let call = match Call::of(probe) {
            Ok(call) => call,
            Err(score) => return self.check_unit(unit, number, score, timeout),
        };
        let whom = match call.target {
            Target::Port(_) | Target::Named(_) | Target::Open(_) => {
                Some((None, self.prober_user.clone()))
            }
            Target::Unix(_) => self.run_dir_to_ask(&unit),
        };
        let is_asked = whom.is_some_and(|(run_dir, user)| {
            let asked = Asked { unit: unit.clone(), number, call: &call, timeout, run_dir, user };
            self.probers.ask(asked, &self.poller, &mut self.launchers, BootMillis::now())
        });
        if !is_asked {
            self.probed(vec![(unit, number, ProbeOutcome::Unknown)]);
        }
    }

    /// Returns the run directory of a unit and its user; `None` if the two do not belong together,
    /// or cannot be found out.
    fn run_dir_to_ask(&mut self, unit: &UnitKey) -> Option<(Option<OwnedFd>, Option<Identity>)> {
        let score = self.keeping.engine.state().units().get(unit)?.asked.score.clone();
        let spec = self.scores.get(&score).ok()?.spec;
        let user = runner_of(&spec, &self.config, &mut self.users).ok()?.identity;
        let opened: io::Result<_> = self.keeping.place.run(unit);
        let (run_dir, owner) = opened.ok()?;
        let own = rustix::process::geteuid().as_raw();
        let asks = user.as_ref().map_or(own, |user| user.uid);
        (asks == owner).then_some((Some(run_dir), user))
    }

    /// Takes answers of probers.
    pub(in crate::sitter) fn probed(&mut self, answers: Vec<Answer>) {
        for (unit, number, outcome) in answers {
            self.keeping.engine.handle(now(), Input::Probed { unit, number, outcome });
        }
    }

    /// A prober has said something.
    pub(in crate::sitter) fn hear_prober(&mut self, token: Token, now: BootMillis) {
        let answers = self.probers.receive(token, now);
        self.probed(answers);
    }
}
