//! What follows from an input. Each change of a unit ends with [`Units::follow`]. It looks only at
//! what the unit's order wants and how the unit stands, not at how the unit came there.

use crate::{
    bounds,
    input::{Input, Now},
    state::UnitKey,
    units::Units,
};

mod leases;
pub(crate) mod links;
mod orders;
pub(crate) mod probes;
mod recovery;
pub(crate) mod reports;
mod restarts;
mod runs;
mod signals;
mod timers;
mod watches;

impl Units {
    /// Takes one input.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.set_time(now);
        match input {
            Input::Unwatched { key } => self.unwatch(key),
            Input::WatchSettled { key, order } => self.settle_watch(key, order),
            Input::ParamsFound { unit, order, params } => self.find_params(&unit, order, params),
            Input::Leased { unit, lease } => self.note_leased(&unit, lease),
            Input::Run { unit, run, event } => {
                if self.is_present(&unit, run) {
                    self.note_event(&unit, event);
                    self.follow(&unit);
                }
            }
            Input::Probed { unit, number, outcome } => {
                self.probed(&unit, number, outcome);
                self.follow(&unit);
            }
            Input::Woken => self.wake(),
        }
    }

    /// Sets the time to the moment of an input.
    pub(crate) fn set_time(&mut self, now: Now) {
        self.at = self.state.clock().at(now.boot_ms).max(self.at);
        self.now = now;
    }

    /// Does what a unit's order and status ask for now, for the unit and for those that links tie
    /// to it.
    pub(crate) fn follow(&mut self, key: &UnitKey) {
        // Asked first, because a unit that is forgotten has no links.
        let neighbours = self.neighbours(key);
        self.follow_alone(key);
        if let Some(tended) = self.tended.get_mut(key) {
            tended.is_ahead = false;
        }
        self.follow_links(neighbours);
    }

    fn follow_alone(&mut self, key: &UnitKey) {
        self.end_unwanted(key);
        self.judge_watch(key);
        self.begin_wanted(key);
        self.send_signals(key);
        self.judge_watch(key);
        if self.state.units().contains_key(key) {
            self.ask(key);
            self.tell_changes(key);
            self.set_wake(key);
        }
    }

    /// Follows every unit.
    pub(crate) fn follow_all(&mut self) {
        let units: Vec<UnitKey> = self.state.units().keys().cloned().collect();
        for unit in units {
            self.follow(&unit);
        }
    }
}

/// Returns the text, cut to [`bounds::WHY_BYTES`].
pub(crate) fn shortened(text: String) -> String {
    shortened_to(text, bounds::WHY_BYTES)
}

/// Returns the text, cut to `most` bytes.
pub(crate) fn shortened_to(mut text: String, most: usize) -> String {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}
