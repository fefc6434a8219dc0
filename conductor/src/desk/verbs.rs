//! What operators do to flows and players. Each is logged with who did it.

use std::sync::Arc;

use orchestra_flow::{Input, Rejection, ReplyTo, answer};
use orchestra_model::{AudienceName, FlowId, FlowState, HostSet, JobId, audit::Verb, limits};
use orchestra_proto::v1;
use orchestra_store::Reader;

use super::{
    Desk, Others,
    listing::Choice,
    refusal::{no_hosts, rejected},
};
use crate::declined::{Declined, Ground};
use crate::driver::{Asked, Request as Ask};

/// Most that is repeated of an id that somebody gave, in characters.
const ID_CHARS: usize = 64;

impl Desk {
    pub(crate) async fn pause_flow(
        &self,
        flow: Option<v1::FlowRef>,
        by: AudienceName,
    ) -> Result<v1::FlowChanged, Declined> {
        let flow = self.flow_id(flow, &by).await?;
        let (asked, who) = (Asked::by(&by, Verb::Pause), by.clone());
        let make = move |reply| Input::PauseRequested { reply, flow, by };
        let state = self.change_flow(flow, asked, make).await?;
        tracing::info!(%flow, audience = %who, %state, "flow paused");
        Ok(changed(flow, state))
    }

    pub(crate) async fn resume_flow(
        &self,
        flow: Option<v1::FlowRef>,
        by: AudienceName,
    ) -> Result<v1::FlowChanged, Declined> {
        let flow = self.flow_id(flow, &by).await?;
        let make = move |reply| Input::ResumeRequested { reply, flow };
        let state = self.change_flow(flow, Asked::by(&by, Verb::Resume), make).await?;
        tracing::info!(%flow, audience = %by, %state, "flow resumed");
        Ok(changed(flow, state))
    }

    pub(crate) async fn promote_jobs(
        &self,
        request: v1::PromoteRequest,
        by: AudienceName,
    ) -> Result<v1::FlowChanged, Declined> {
        let flow = self.flow_id(request.flow, &by).await?;
        let job = self.named_job(flow, &request.job_name).await?;
        let (asked, who) = (Asked::by(&by, Verb::Promote), by.clone());
        let make = move |reply| Input::PromoteRequested { reply, flow, job, by };
        let state = self.change_flow(flow, asked, make).await?;
        tracing::info!(%flow, job = request.job_name, audience = %who, "flow promoted");
        Ok(changed(flow, state))
    }

    pub(crate) async fn cancel_flow(
        &self,
        request: v1::CancelRequest,
        by: AudienceName,
    ) -> Result<v1::CancelResponse, Declined> {
        let abandon = request.abandon;
        let flow = self.flow_id(request.flow, &by).await?;
        let verb = if abandon { Verb::Abandon } else { Verb::Cancel };
        let (asked, who) = (Asked::by(&by, verb), by.clone());
        let make = move |reply| Input::CancelRequested { reply, flow, by, abandon };
        let state = match self.try_change(asked, make).await? {
            Ok(answer::Cancelled { state, .. }) => state,
            // Not alive: it has ended, or never was.
            Err(Rejection::UnknownFlow(_)) => self.status_of(flow).await?.summary.state,
            Err(rejection) => return Err(rejected(&rejection)),
        };
        tracing::info!(%flow, audience = %who, %state, abandon, "cancel requested");
        Ok(v1::CancelResponse { flow: flow.0, state: state.to_string() })
    }

    pub(crate) async fn drain_players(
        &self,
        request: v1::DrainRequest,
        by: AudienceName,
    ) -> Result<v1::DrainResponse, Declined> {
        let reason = read_reason(&request.reason)?;
        let hosts = some(self.players(request.hosts).await?)?;
        let (who, why) = (by.clone(), Arc::clone(&reason));
        let asked = Asked::by(&by, Verb::Drain).because(&reason);
        let make = move |reply| Input::DrainRequested { reply, hosts, by, reason };
        let answer = drained(self.change(asked, make).await?);
        tracing::info!(hosts = answer.hosts, audience = %who, reason = %why, "players drained");
        Ok(answer)
    }

    pub(crate) async fn undrain_players(
        &self,
        hosts: String,
        by: AudienceName,
    ) -> Result<v1::DrainResponse, Declined> {
        let hosts = some(self.players(hosts).await?)?;
        let make = move |reply| Input::UndrainRequested { reply, hosts };
        let answer = drained(self.change(Asked::by(&by, Verb::Undrain), make).await?);
        tracing::info!(hosts = answer.hosts, audience = %by, "players undrained");
        Ok(answer)
    }

    /// Hosts that left the players file keep their holds, so those may be named that it had.
    pub(crate) async fn release_hosts(
        &self,
        request: v1::ReleaseHoldsRequest,
        by: AudienceName,
    ) -> Result<v1::ReleaseHoldsResponse, Declined> {
        let reason = read_reason(&request.reason)?;
        let once = |reader: &dyn Reader| {
            let players = reader.players()?.into_iter().map(|player| player.host);
            let holders = reader.holds()?.into_iter().map(|hold| hold.host);
            Ok(HostSet::from_names(players.chain(holders)))
        };
        let once = self.read(once).await?;
        let hosts = some(self.hosts(request.hosts, Others::Some(once)).await?)?;
        let make = move |reply| Input::ReleaseRequested { reply, hosts };
        let asked = Asked::by(&by, Verb::ReleaseHolds).because(&reason);
        let answer::Released { hosts } = self.change(asked, make).await?;
        let (folded, count) = fold(&hosts);
        tracing::info!(hosts = folded, audience = %by, %reason, "holds released");
        Ok(v1::ReleaseHoldsResponse { hosts: folded, count })
    }

    /// Goes on with quarantined players.
    pub(crate) async fn release_quarantined(
        &self,
        request: v1::ReleasePlayersRequest,
        by: AudienceName,
    ) -> Result<v1::ReleasePlayersResponse, Declined> {
        let reason = read_reason(&request.reason)?;
        let hosts = some(self.players(request.hosts).await?)?;
        let make = move |reply| Input::UnquarantineRequested { reply, hosts };
        let asked = Asked::by(&by, Verb::ReleasePlayers).because(&reason);
        let answer::Unquarantined { hosts, lost } = self.change(asked, make).await?;
        let (folded, count) = fold(&hosts);
        tracing::warn!(hosts = folded, audience = %by, %reason, lost, "released from quarantine");
        Ok(v1::ReleasePlayersResponse { hosts: folded, count, lost })
    }

    /// What `recover` would do now.
    pub(crate) async fn recovery_plan(&self) -> Result<v1::PlanRecoverResponse, Declined> {
        let health = self.ask(Ask::Health).await?;
        Ok(v1::PlanRecoverResponse {
            store_id: self.facts.store_id.clone(),
            stale_store: health.stale_store.unwrap_or_default(),
            term: health.recovery.term.0,
            next_flow: health.recovery.next_flow.0,
            attached: health.attached,
            quarantined: health.quarantined,
        })
    }

    /// Whether somebody who asks for a recovery means this store, and knows how it is: on a healthy one
    /// everybody is sent away for nothing, and numbers are left out.
    pub(crate) async fn check_recover(&self, request: &v1::RecoverRequest) -> Result<(), Declined> {
        let ours = &self.facts.store_id;
        if request.store_id != *ours {
            return Err(Declined::new(
                Ground::Invalid,
                format!(
                    "this conductor's store is {ours}, not {:?}; name the one that you mean",
                    request.store_id.chars().take(ID_CHARS).collect::<String>()
                ),
            ));
        }
        let is_stale = self.ask(Ask::Health).await?.stale_store.is_some();
        if !is_stale && !request.although_healthy {
            return Err(Declined::new(
                Ground::Prevented,
                "nothing says that this store is an old copy; a recovery would send every player \
                 away and leave out numbers. If it was restored from a backup all the same, say so",
            ));
        }
        Ok(())
    }

    /// Changes a living flow, and returns where it is then.
    async fn change_flow(
        &self,
        flow: FlowId,
        asked: Asked,
        make: impl FnOnce(ReplyTo<answer::Changed>) -> Input + Send + 'static,
    ) -> Result<FlowState, Declined> {
        match self.try_change(asked, make).await? {
            Ok(answer::Changed { state, .. }) => Ok(state),
            Err(Rejection::UnknownFlow(_)) => {
                let state = self.status_of(flow).await?.summary.state;
                let why = format!("flow {flow} has ended: it is {state}");
                Err(Declined::new(Ground::Ended, why))
            }
            Err(rejection) => Err(rejected(&rejection)),
        }
    }

    /// The job of that name; `None` where none is given.
    pub(crate) async fn named_job(
        &self,
        flow: FlowId,
        name: &str,
    ) -> Result<Option<JobId>, Declined> {
        let choice = Choice::read(0, 0, name)?;
        if choice.is_all() {
            return Ok(None);
        }
        // Names are unique in a flow.
        Ok(self.chosen_jobs(flow, &choice).await?.first().copied())
    }
}

fn changed(flow: FlowId, state: FlowState) -> v1::FlowChanged {
    v1::FlowChanged { flow: flow.0, state: state.to_string() }
}

fn drained(answer: answer::Drained) -> v1::DrainResponse {
    let answer::Drained { hosts, in_flight } = answer;
    let (hosts, count) = fold(&hosts);
    v1::DrainResponse { hosts, count, in_flight }
}

fn fold(hosts: &HostSet) -> (String, u32) {
    (hosts.to_string(), u32::try_from(hosts.len()).unwrap_or(u32::MAX))
}

/// A verb that is to change nothing is a mistake.
fn some(hosts: HostSet) -> Result<HostSet, Declined> {
    if hosts.is_empty() { Err(no_hosts()) } else { Ok(hosts) }
}

/// A reason is for other people's eyes: some text, on one line, without what a terminal obeys, and
/// without what would have them read something else than is there.
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

/// Whether a character shows nothing itself and changes how others are shown: marks of direction,
/// joiners and spaces of no width, separators of lines, the byte order mark.
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
        // One that turns what follows around, one that nobody sees, one that joins lines.
        for hidden in ['\u{202e}', '\u{200b}', '\u{2028}', '\u{2066}', '\u{feff}', '\u{61c}'] {
            let refused = read_reason(&format!("disk{hidden}s")).unwrap_err();
            assert!(refused.message().contains("invisible"), "{refused:?}");
        }
    }
}
