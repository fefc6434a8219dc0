//! What is told of units, and what may be asked of them: all that the scheduler knows of services.
//!
//! A job about the units of a service is a job like any other, with three differences. Its tasks
//! start no process, so they take no place on their players (`Player::gate`). They change their
//! hosts whatever their score says. And how one ends says nothing of its host: that is told of the
//! unit itself, for as long as the unit lives. A unit that is not well makes its host hold its
//! cells, beside what attempts have left there (`rules/holds`).

use orchestra_model::{HostSet, flow::JobSpec, service::UnwellUnit};

use crate::{Engine, Rejection, Submission, ids::PlayerIx, tables::player::Player};

impl Engine {
    /// Notes which units of a player are not well: these, and no others.
    pub(crate) fn tell_units(&mut self, player: PlayerIx, mut unwell: Vec<UnwellUnit>) {
        let now = self.now;
        unwell.sort_unstable();
        unwell.dedup_by(|later, first| later.service == first.service);
        self.roster.change(player, |player| player.tell_units(unwell, now));
    }

    /// Ends the holds of a host for an attempt that left it down, and for units that gave up.
    /// Returns whether there was one for an attempt, and whether there was one for units.
    pub(crate) fn release_host(&mut self, ix: PlayerIx) -> (bool, bool) {
        self.roster
            .change(ix, |player: &mut Player| (player.release_hold(), player.release_units()))
    }
}

/// Checks what a submission asks of units. It must name one instance for each host of a job, and
/// must not repeat the rest of a flow that has ended: for that, one asks the service.
pub(crate) fn check_units(submission: &Submission) -> Result<(), Rejection> {
    let slots = submission.spec.slots.iter().zip(&submission.targets);
    let jobs = slots.flat_map(|(slot, sets)| slot.jobs.iter().zip(sets));
    for (job, hosts) in jobs {
        let Some(service) = job.service() else { continue };
        if submission.retry_of.is_some() {
            return Err(Rejection::NotForRetries(service.clone()));
        }
        let Some(unit) = &job.unit else { continue };
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
