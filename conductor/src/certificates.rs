//! Certificates that end soon, in the log: the conductor's own, and those with which players and tools
//! are connected. `orc players` and `orc conductor status` tell them too.

use std::time::Duration;

use orchestra_certs::{Door, Identity, Subject, x509};
use orchestra_model::{HostName, HostSet, Timestamp, limits};
use tokio::time::sleep;

use crate::reload::Reloader;

/// How long after the start players are looked at: by then they have come back.
const FIRST: Duration = Duration::from_secs(120);
/// The time between two looks, each of which is told.
const PERIOD: Duration = Duration::from_secs(86_400);

/// Certificates that end within [`limits::CERTIFICATE_NOTICE`].
pub(crate) struct Certificates {
    /// The conductor, and when its certificate ends, soon or not.
    pub(crate) own: (Identity, Timestamp),
    is_own_ending: bool,
    /// Who is connected with certificates that end soon, and when they do.
    pub(crate) ending: Vec<(Identity, Timestamp)>,
}

impl Certificates {
    /// Returns what the door tells.
    pub(crate) fn of(door: &Door, now: Timestamp) -> Self {
        let (acceptance, soon) = (door.acceptance(), now.after(limits::CERTIFICATE_NOTICE));
        Self {
            own: (acceptance.identity().clone(), acceptance.ends()),
            is_own_ending: acceptance.ends() < soon,
            ending: door.ending_before(soon),
        }
    }

    /// Returns the players whose certificates end soon, the others, and when the first one ends.
    fn split(&self) -> (HostSet, Vec<&str>, Option<Timestamp>) {
        let (mut players, mut others): (Vec<HostName>, Vec<&str>) = Default::default();
        for (identity, _) in &self.ending {
            match &identity.subject {
                Subject::Player(host) => players.push(host.clone()),
                _ => others.push(identity.name()),
            }
        }
        let first = self.ending.iter().map(|(_, ends)| *ends).min();
        (HostSet::from_names(players), others, first)
    }
}

/// Tells once a day which certificates end soon. Does not end.
pub(crate) async fn watch(reloader: Reloader) {
    tell_own(&reloader.certificates());
    sleep(FIRST).await;
    loop {
        tell_others(&reloader.certificates());
        sleep(PERIOD).await;
        tell_own(&reloader.certificates());
    }
}

fn tell_own(certificates: &Certificates) {
    if certificates.is_own_ending {
        let (identity, ends) = &certificates.own;
        tracing::warn!(
            %identity, until = x509::moment(*ends),
            "the conductor's certificate ends soon: issue the next one (`orchestra-certs renew`), bring \
             it here, and reload"
        );
    }
}

fn tell_others(certificates: &Certificates) {
    let (players, others, first) = certificates.split();
    let Some(first) = first else { return };
    let others = others.join(",");
    tracing::warn!(
        players = %players.counted(), others, first = x509::moment(first),
        "certificates end soon: issue the next ones (`orchestra-certs renew`) and bring them to their \
         hosts"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn players_are_folded_and_the_others_named() {
        let ending = |uri: &str, at| (uri.parse::<Identity>().unwrap(), Timestamp(at));
        let own = ending("spiffe://example.com/conductor/c.example.com", 9);
        let certificates = Certificates {
            own,
            is_own_ending: false,
            ending: vec![
                ending("spiffe://example.com/player/fe1", 7),
                ending("spiffe://example.com/player/fe2", 5),
                ending("spiffe://example.com/audience/alice", 6),
            ],
        };
        let (players, others, first) = certificates.split();
        assert_eq!(players.to_string(), "fe[1-2]");
        assert_eq!((others, first), (vec!["alice"], Some(Timestamp(5))));
    }
}
