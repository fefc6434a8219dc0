//! Session after session: when to try again, and where.

use std::time::Duration;

use orchestra_model::delivery::AgentSession;
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::time::{Instant, sleep};

use crate::{
    aside::Aside,
    backoff::{self, Backoff},
    complaints::Complaints,
    dial::Dial,
    endpoint::Endpoint,
    failure::SessionFailure,
    link::{Link, LinkError, Sink, Source},
    route::Route,
    session::{End, Ended, Session},
};

/// After a session that the sitter ended within this time, the next one waits.
const BRIEF: Duration = Duration::from_secs(1);

/// Keeps one session after the other, until the sitter goes. `boot_id` changes with every boot of
/// the host; `aside` is where bundles are fetched.
pub async fn serve<R: Source, W: Sink>(
    dial: &impl Dial,
    boot_id: &str,
    mut link: Link<R, W>,
    mut aside: Aside,
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
        let Ended { why, accepted } = match session.run(&mut link, &mut aside).await {
            Ok(ended) => ended,
            Err(gone) => return gone,
        };
        if let Some(accepted) = accepted {
            route.arrived();
            complaints.forget();
            backoff.had_session(accepted);
        }
        let failure = match why {
            // What made the sitter ask for another session at once may still be there.
            End::Reattach if accepted.is_none_or(|session| session.lasted < BRIEF) => None,
            End::Reattach => continue,
            End::Redirect(to) if route.redirect(&to) => continue,
            End::Redirect(_) => Some(SessionFailure::Redirected),
            End::Failed(failure) => Some(failure),
        };
        let wait = match failure {
            // This is no failure of the conductor, so waits do not grow.
            None => backoff::pause(chance()),
            Some(failure) => {
                // After a session that was lost, the same conductor is tried first: it may have
                // been restarted, which is faster than that another one takes over.
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

/// Returns a number that is evenly distributed over all of `u64`. Without randomness from the
/// kernel it is the highest, so that waits are longest.
fn chance() -> u64 {
    let mut bytes = [0; 8];
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(8) => u64::from_ne_bytes(bytes),
        _ => u64::MAX,
    }
}
