//! What operators do to flows and players. Each verb is logged with its asker.

use std::sync::Arc;

use orchestra_flow::{Input, Rejection, ReplyTo, answer};
use orchestra_model::{
    AudienceName, FlowId, FlowState, HostSet, audit::Verb, limits, names::JobName,
};
use orchestra_policy::What;
use orchestra_store::Reader;

use super::{
    Desk, Others, WhichFlow,
    refusal::{no_hosts, rejected},
};
use crate::{
    declined::{Declined, Ground},
    driver::Asked,
};

impl Desk {
    /// Pauses a flow: nothing more of it starts until it is resumed.
    pub(crate) async fn pause(
        &self,
        flow: WhichFlow,
        by: AudienceName,
    ) -> Result<answer::Changed, Declined> {
        let flow = self.flow_id(flow, &by).await?;
        let allowed = self.check_flow_verb(&by, Verb::Pause, flow).await?;
        let (asked, who) = (Asked::by(&by, Verb::Pause).under(&allowed), by.clone());
        let make = move |reply| Input::PauseRequested { reply, flow, by: by.into() };
        let changed = self.change_flow(flow, asked, make).await?;
        tracing::info!(%flow, audience = %who, state = %changed.state, "flow paused");
        Ok(changed)
    }

    /// Goes on with a flow that was paused.
    pub(crate) async fn resume(
        &self,
        flow: WhichFlow,
        by: AudienceName,
    ) -> Result<answer::Changed, Declined> {
        let flow = self.flow_id(flow, &by).await?;
        let allowed = self.check_flow_verb(&by, Verb::Resume, flow).await?;
        let asked = Asked::by(&by, Verb::Resume).under(&allowed);
        let make = move |reply| Input::ResumeRequested { reply, flow };
        let changed = self.change_flow(flow, asked, make).await?;
        tracing::info!(%flow, audience = %by, state = %changed.state, "flow resumed");
        Ok(changed)
    }

    /// Declares the canary of a job good, or the canaries of all jobs.
    pub(crate) async fn promote(
        &self,
        flow: WhichFlow,
        job: Option<JobName>,
        by: AudienceName,
    ) -> Result<answer::Changed, Declined> {
        let flow = self.flow_id(flow, &by).await?;
        let allowed = self.check_flow_verb(&by, Verb::Promote, flow).await?;
        let name = job.as_ref().map_or("", JobName::as_str).to_owned();
        let job = self.named_job(flow, job).await?;
        let (asked, who) = (Asked::by(&by, Verb::Promote).under(&allowed), by.clone());
        let make = move |reply| Input::PromoteRequested { reply, flow, job, by: by.into() };
        let changed = self.change_flow(flow, asked, make).await?;
        tracing::info!(%flow, job = name, audience = %who, "flow promoted");
        Ok(changed)
    }

    /// Cancels a flow. A reason may be empty. With `abandon`, its tasks on absent players are given
    /// up. A flow that has ended stays unchanged.
    pub(crate) async fn cancel(
        &self,
        flow: WhichFlow,
        reason: &str,
        abandon: bool,
        by: AudienceName,
    ) -> Result<answer::Cancelled, Declined> {
        let flow = self.flow_id(flow, &by).await?;
        let reason = if reason.is_empty() { None } else { Some(read_reason(reason)?) };
        let verb = if abandon { Verb::Abandon } else { Verb::Cancel };
        let allowed = self.check_flow_verb(&by, verb, flow).await?;
        let asked = Asked { reason: reason.clone(), ..Asked::by(&by, verb).under(&allowed) };
        let who = by.clone();
        let why = reason.clone();
        let make =
            move |reply| Input::CancelRequested { reply, flow, by: by.into(), reason, abandon };
        let state = match self.try_change(asked, make).await? {
            Ok(answer::Cancelled { state, .. }) => state,
            // The flow is not alive: it has ended, or never existed.
            Err(Rejection::UnknownFlow(_)) => self.status_of(flow).await?.summary.state,
            Err(rejection) => return Err(rejected(&rejection)),
        };
        let why = why.as_deref().unwrap_or_default();
        tracing::info!(%flow, audience = %who, %state, abandon, reason = why, "cancel requested");
        Ok(answer::Cancelled { flow, state })
    }

    /// Starts nothing more on players.
    pub(crate) async fn drain(
        &self,
        hosts: String,
        reason: &str,
        by: AudienceName,
    ) -> Result<answer::Drained, Declined> {
        let reason = read_reason(reason)?;
        let hosts = some(self.players(hosts, &by).await?)?;
        let allowed = self.check_verb(&by, Verb::Drain, What::Hosts, Some(&hosts))?;
        let (who, why) = (by.clone(), Arc::clone(&reason));
        let asked = Asked::by(&by, Verb::Drain).under(&allowed).because(&reason);
        let make = move |reply| Input::DrainRequested { reply, hosts, by: by.into(), reason };
        let drained: answer::Drained = self.change(asked, make).await?;
        tracing::info!(hosts = %drained.hosts, audience = %who, reason = %why, "players drained");
        Ok(drained)
    }

    /// Starts work on players again.
    pub(crate) async fn undrain(
        &self,
        hosts: String,
        by: AudienceName,
    ) -> Result<answer::Drained, Declined> {
        let hosts = some(self.players(hosts, &by).await?)?;
        let allowed = self.check_verb(&by, Verb::Undrain, What::Hosts, Some(&hosts))?;
        let asked = Asked::by(&by, Verb::Undrain).under(&allowed);
        let make = move |reply| Input::UndrainRequested { reply, hosts };
        let undrained: answer::Drained = self.change(asked, make).await?;
        tracing::info!(hosts = %undrained.hosts, audience = %by, "players undrained");
        Ok(undrained)
    }

    /// Has hosts not count as down any more. Hosts that left the players file keep their holds, so
    /// they may be named too.
    pub(crate) async fn release_holds(
        &self,
        hosts: String,
        reason: &str,
        by: AudienceName,
    ) -> Result<answer::ReleasedHolds, Declined> {
        let reason = read_reason(reason)?;
        let once = |reader: &dyn Reader| {
            let players = reader.players()?.into_iter().map(|player| player.host);
            let holders = reader.holds()?.into_iter().map(|hold| hold.host);
            Ok(HostSet::from_names(players.chain(holders)))
        };
        let once = self.read(once).await?;
        let hosts = some(self.hosts(hosts, Others::Some(once), Some(&by)).await?)?;
        let allowed = self.check_verb(&by, Verb::ReleaseHolds, What::Hosts, Some(&hosts))?;
        let make = move |reply| Input::ReleaseRequested { reply, hosts };
        let asked = Asked::by(&by, Verb::ReleaseHolds).under(&allowed).because(&reason);
        let released: answer::ReleasedHolds = self.change(asked, make).await?;
        tracing::info!(hosts = %released.hosts, audience = %by, %reason, "holds released");
        Ok(released)
    }

    /// Releases players from quarantine.
    pub(crate) async fn release_players(
        &self,
        hosts: String,
        reason: &str,
        by: AudienceName,
    ) -> Result<answer::ReleasedPlayers, Declined> {
        let reason = read_reason(reason)?;
        let hosts = some(self.players(hosts, &by).await?)?;
        let allowed = self.check_verb(&by, Verb::ReleasePlayers, What::Hosts, Some(&hosts))?;
        let make = move |reply| Input::ReleasePlayersRequested { reply, hosts };
        let asked = Asked::by(&by, Verb::ReleasePlayers).under(&allowed).because(&reason);
        let released: answer::ReleasedPlayers = self.change(asked, make).await?;
        tracing::warn!(
            hosts = %released.hosts, audience = %by, %reason, lost = released.lost,
            "released from quarantine"
        );
        Ok(released)
    }

    /// Changes a living flow, and returns its state after that.
    async fn change_flow(
        &self,
        flow: FlowId,
        asked: Asked,
        make: impl FnOnce(ReplyTo<answer::Changed>) -> Input + Send + 'static,
    ) -> Result<answer::Changed, Declined> {
        match self.try_change(asked, make).await? {
            Ok(changed) => Ok(changed),
            Err(Rejection::UnknownFlow(_)) => {
                let state: FlowState = self.status_of(flow).await?.summary.state;
                let why = format!("flow {flow} has ended: it is {state}");
                Err(Declined::new(Ground::Ended, why))
            }
            Err(rejection) => Err(rejected(&rejection)),
        }
    }
}

/// Declines an empty host set: a verb that changes nothing is a mistake.
fn some(hosts: HostSet) -> Result<HostSet, Declined> {
    if hosts.is_empty() { Err(no_hosts()) } else { Ok(hosts) }
}

/// Checks a reason, which other people read: it is not empty, is on one line, and has no characters
/// that control a terminal or change how the text around them is shown.
fn read_reason(reason: &str) -> Result<Arc<str>, Declined> {
    let reason = reason.trim();
    let problem = if reason.is_empty() {
        "say why, with a reason"
    } else if reason.len() > limits::REASON_BYTES {
        "the reason is longer than 1000 bytes"
    } else if reason.chars().any(char::is_control) {
        "the reason has control characters; it is one line of text"
    } else if reason.chars().any(is_invisible) {
        "the reason has invisible characters, like marks of writing direction or spaces of no \
         width; type it anew"
    } else {
        return Ok(reason.into());
    };
    Err(Declined::new(Ground::Invalid, problem))
}

/// Returns whether a character is invisible itself or changes how others are shown: marks of
/// direction, joiners and spaces of no width, separators of lines, the byte order mark.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_a_line_of_text() {
        assert_eq!(&*read_reason(" neue Platte für fe1 ").unwrap(), "neue Platte für fe1");
        let longest = "x".repeat(limits::REASON_BYTES);
        assert!(read_reason(&longest).is_ok());
        for bad in ["", " \n", "two\nlines", "\u{1b}[2J", &format!("{longest}x")] {
            assert!(read_reason(bad).is_err(), "{bad:?}");
        }
        // Among them are one that reverses the text after it, and one that separates lines.
        for hidden in ['\u{202e}', '\u{200b}', '\u{2028}', '\u{2066}', '\u{feff}', '\u{61c}'] {
            let refused = read_reason(&format!("disk{hidden}s")).unwrap_err();
            assert!(refused.message().contains("invisible"), "{refused:?}");
        }
    }
}
