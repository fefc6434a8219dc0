//! Session after session: when to try again, and where.

use std::time::Duration;

use orchestra_model::delivery::AgentSession;
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::time::{Instant, sleep};

use crate::{
    backoff::{self, Backoff},
    complaints::Complaints,
    dial::Dial,
    endpoint::Endpoint,
    failure::SessionFailure,
    link::{Link, LinkError, Sink, Source},
    route::Route,
    session::{End, Ended, Session},
};

/// A session that the sitter ended within this time is not begun anew without a wait.
const BRIEF: Duration = Duration::from_secs(1);

/// Session after session, until the sitter goes. `boot_id` changes with every boot of the host.
pub async fn serve<R: Source, W: Sink>(
    dial: &impl Dial,
    boot_id: &str,
    mut link: Link<R, W>,
) -> LinkError {
    let mut route = Route::new(dial.conductors());
    let mut backoff = Backoff::default();
    let mut complaints = Complaints::default();
    let mut sessions = 0;
    loop {
        sessions += 1;
        let endpoint = route.present().clone();
        let id = AgentSession(sessions);
        let session = Session { dial, endpoint: &endpoint, id, boot_id };
        let Ended { why, accepted } = match session.run(&mut link).await {
            Ok(ended) => ended,
            Err(gone) => return gone,
        };
        if let Some(accepted) = accepted {
            route.arrived();
            complaints.forget();
            backoff.had_session(accepted);
        }
        let failure = match why {
            // What made the sitter ask anew at once may well be there again.
            End::Reattach if accepted.is_none_or(|session| session.lasted < BRIEF) => None,
            End::Reattach => continue,
            End::Redirect(to) if route.redirect(&to) => continue,
            End::Redirect(_) => Some(SessionFailure::Redirected),
            End::Failed(failure) => Some(failure),
        };
        let wait = match failure {
            // No failure of the conductor's, so waits do not grow.
            None => backoff::pause(chance()),
            Some(failure) => {
                // Who had a session first looks where it was: a conductor that is started anew
                // is there before the others answer for it.
                if accepted.is_none() {
                    route.advance();
                }
                let wait = backoff.after_failure(Instant::now(), chance());
                complain(&mut complaints, &endpoint, &failure, wait);
                wait
            }
        };
        tokio::select! {
            () = sleep(wait) => {}
            gone = link.from_sitter.discard() => return gone,
        }
    }
}

fn complain(
    complaints: &mut Complaints,
    conductor: &Endpoint,
    failure: &SessionFailure,
    wait: Duration,
) {
    let reason = orchestra_model::chain(failure);
    let key = format!("{conductor} {reason}");
    if let Some(withheld) = complaints.worth_telling(&key, Instant::now()) {
        let withheld = (withheld > 0).then_some(withheld);
        tracing::warn!(%conductor, reason, withheld, retry_in = ?wait, "no session");
    }
}

/// Evenly distributed over all of `u64`. Where the kernel has no randomness to give, waits are at
/// their longest.
fn chance() -> u64 {
    let mut bytes = [0; 8];
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(8) => u64::from_ne_bytes(bytes),
        _ => u64::MAX,
    }
}
