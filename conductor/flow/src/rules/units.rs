//! What is told of units, and what may be asked of them: all that flows know of services.
//!
//! A job whose tasks are about the units of a service is a job like any other, but that its tasks
//! start no process: they take no place on their players (`Player::gate`), they change their hosts
//! whatever their score does, and how one ends says nothing of its host. That is told of the unit
//! itself, for as long as it lives: a unit that is not well makes its host hold its cells, beside what
//! attempts have left there (`rules/holds`).

use orchestra_model::{HostSet, ServiceName, flow::JobSpec, service::UnwellUnit};

use crate::{Engine, Rejection, Submission, ids::PlayerIx, tables::player::Player};

impl Engine {
    /// These units of a player are not well, and no others of it are.
    pub(crate) fn tell_units(&mut self, player: PlayerIx, mut unwell: Vec<UnwellUnit>) {
        let now = self.now;
        unwell.sort_unstable();
        unwell.dedup_by(|later, first| later.service == first.service);
        self.roster.change(player, |player| player.tell_units(unwell, now));
    }

    /// Lets a host hold its cells no more for an attempt that left it down, nor for units that gave
    /// up. Returns whether an attempt had, and whether units had.
    pub(crate) fn release_host(&mut self, ix: PlayerIx) -> (bool, bool) {
        self.roster
            .change(ix, |player: &mut Player| (player.release_hold(), player.release_units()))
    }
}

/// Checks what is asked of units: of each host of a job, one instance; and not what is left of a flow
/// that has ended, for that is asked of the service.
pub(crate) fn check_units(submission: &Submission) -> Result<(), Rejection> {
    let slots = submission.spec.slots.iter().zip(&submission.targets);
    let jobs = slots.flat_map(|(slot, sets)| slot.jobs.iter().zip(sets));
    for (job, hosts) in jobs {
        let Some(unit) = &job.unit else { continue };
        if submission.retry_of.is_some() {
            return Err(Rejection::NotForRetries(unit.service.clone()));
        }
        check_instances(job, unit.instances.len(), hosts)?;
    }
    Ok(())
}

fn check_instances(job: &JobSpec, instances: usize, hosts: &HostSet) -> Result<(), Rejection> {
    if instances == hosts.len() {
        return Ok(());
    }
    Err(Rejection::Instances { job: job.name.clone(), instances, hosts: hosts.len() })
}

/// The service whose units a job is about.
pub(crate) fn service_of(job: &JobSpec) -> Option<&ServiceName> {
    job.unit.as_ref().map(|unit| &unit.service)
}
