//! What a run is sent while it goes on: signals, and parameters that it reads again.
//!
//! The environment of a process cannot be changed. So a service that names a signal for reloading
//! has its parameters also in a file (`ORC_PARAMS_FILE`), as lines that a shell takes for
//! assignments. The file is replaced as a whole before the signal is sent. It belongs to the unit's
//! user, and is in memory if the parameters must not be written to a disk.

use std::io;

use orchestra_model::{delivery::Refusal, service::UnitOrder};
use orchestra_units::{Effect, RunEvent, UnitKey};
use rustix::process::{Signal, pidfd_send_signal};

use crate::sitter::Sitter;

const ON_DISK: &str = "reload puts its parameters into a file in run_dir, which lies on a disk, where sensitive ones, and \
     those of a score without a schema, may not lie";

impl Sitter {
    /// Checks that a unit whose parameters must not be written to a disk has a file in memory for
    /// them.
    pub(super) fn check_reload(
        &mut self,
        order: &UnitOrder,
        keep_params: bool,
    ) -> Result<(), Refusal> {
        if order.upkeep.reload.is_none() || keep_params {
            return Ok(());
        }
        match self.keeping.place.is_in_memory() {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::SpawnFailed(ON_DISK.to_owned())),
            Err(error) => Err(Refusal::SpawnFailed(format!("run_dir: {error}"))),
        }
    }

    /// Sends a signal to the first process of a run, after giving it the parameters that it is to
    /// read.
    pub(super) fn signal_run(&mut self, effect: Effect) {
        let Effect::Signal { unit, run, of, signal, reload } = effect else { return };
        if let Some(order) = reload
            && let Err(error) = self.give_again(&unit, &order)
        {
            tracing::warn!(%unit, error = %orchestra_model::chain(&error), "a run cannot be told its parameters; another one follows");
            return self.keeping.tell(&unit, run, RunEvent::NotReloaded { of });
        }
        let found = self.keeping.runs.values().find(|it| it.unit == unit && it.id == run);
        let main = found.and_then(|run| run.main.as_ref()).filter(|main| !main.gone);
        if let (Some(main), Some(number)) = (main, Signal::from_named_raw(signal)) {
            tracing::info!(%unit, run = %run.number, pid = main.pid, signal, "a run gets a signal");
            // The pidfd is of this process, even if its number was given to another. A process that
            // has just ended needs no signal.
            if let Err(error) = pidfd_send_signal(&main.pidfd, number) {
                tracing::info!(%unit, %error, "the signal met nobody");
            }
        }
        self.keeping.tell(&unit, run, RunEvent::SignalSent { of, signal });
    }

    /// Gives the parameters to the user of the present run, even if the score's next run would be
    /// another user's.
    fn give_again(&mut self, unit: &UnitKey, order: &UnitOrder) -> io::Result<()> {
        let owner = self.keeping.place.owner_of_given(unit)?;
        self.give_params(unit, Some(owner), order)
    }

    /// Writes a unit's parameters into the file for its runs, if its service reloads.
    pub(super) fn give_params(
        &mut self,
        unit: &UnitKey,
        owner: Option<(u32, u32)>,
        order: &UnitOrder,
    ) -> io::Result<()> {
        if order.upkeep.reload.is_none() {
            return Ok(());
        }
        let units = self.keeping.engine.state().units();
        let may_lie_on_disk = units.get(unit).is_some_and(|unit| unit.keeps_params);
        // The configuration may have changed since the order was taken.
        if !may_lie_on_disk && !self.keeping.place.is_in_memory()? {
            return Err(io::Error::other(ON_DISK));
        }
        self.keeping.place.give(unit, owner, assignments(order).as_bytes())
    }
}

/// Returns what may change while a run goes on, as assignments of a shell.
fn assignments(order: &UnitOrder) -> String {
    let quoted = |value: &str| format!("'{}'", value.replace('\'', r"'\''"));
    let version = format!("ORC_VERSION={}\n", quoted(&order.version.to_string()));
    let params = order.params.iter();
    let lines = params.map(|(key, value)| format!("ORC_{key}={}\n", quoted(value)));
    std::iter::once(version).chain(lines).collect()
}
