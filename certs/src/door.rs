//! The conductor's door: which peers it lets in, and which are connected. A connection lasts as
//! long as a new one with its certificate would be accepted.
//!
//! A connected peer is judged again when a certificate of its chain expires, and when the
//! acceptance is replaced. If its certificate was revoked since, or its CA is not trusted any more,
//! its connection ends. Certificates expire by the wall clock, and timers run on another clock. So
//! the wall clock is read every [`LOOK_AGAIN`]; an end is noticed so late at most after the clock
//! was set or the host slept.
//!
//! Each identity has a bounded number of connections. A connection beyond that is accepted for a
//! moment as [surplus](Peer::surplus), because only an accepted connection can be told why it is
//! refused.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use orchestra_model::Timestamp;
use rustls_pki_types::CertificateDer;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use crate::{
    accept::{Limits, Peer},
    acceptance::{Acceptance, next_end},
    identity::{Identity, Role},
    lines::Lines,
    refused::Refused,
    sighting::{Observer, Sighting},
    switch::Switch,
};

/// Longest time between two looks at the clock while any peer is connected.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How long a surplus connection is open: enough for a call and its answer.
const SURPLUS_FOR: Duration = Duration::from_secs(5);
/// Most surplus connections of one identity; further ones are closed at once.
const SURPLUS: usize = 8;

/// The conductor's door. Clones are the same door.
#[derive(Clone, Debug)]
pub struct Door(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    inside: Mutex<Inside>,
    /// Notified when [`Door::watch`] has to look at its moments again.
    sooner: Notify,
    closed: Lines,
    observer: Observer,
}

/// A connection, numbered in the order of coming.
type Id = u64;

#[derive(Debug)]
struct Inside {
    acceptance: Arc<Acceptance>,
    last: Id,
    guests: HashMap<Id, Guest>,
    /// When which connection has to be looked at.
    moments: BTreeSet<(SystemTime, Id)>,
    of_one: HashMap<Identity, OfOne>,
    /// Whether it was logged that a list of this acceptance has expired.
    told_of_lists: bool,
}

/// The connections of one identity.
#[derive(Clone, Copy, Debug, Default)]
struct OfOne {
    all: usize,
    /// How many of them are surplus.
    surplus: usize,
    /// When the certificates of the newest one end.
    ends: Option<SystemTime>,
}

#[derive(Debug)]
struct Guest {
    peer: Peer,
    chain: Arc<[CertificateDer<'static>]>,
    moment: Option<SystemTime>,
    switch: Arc<Switch>,
}

/// A connected peer, as long as this is kept.
#[derive(Debug)]
pub(crate) struct Pass {
    door: Door,
    id: Id,
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.door.lock().remove(self.id);
    }
}

impl Door {
    /// Returns a door that lets in the peers that this acceptance accepts.
    pub fn new(acceptance: Arc<Acceptance>) -> Self {
        let inside = Mutex::new(Inside {
            acceptance,
            last: 0,
            guests: HashMap::new(),
            moments: BTreeSet::new(),
            of_one: HashMap::new(),
            told_of_lists: false,
        });
        let closed = Lines::new(|connections| {
            tracing::warn!(connections, "further connections were closed within a second");
        });
        let observer = Observer::default();
        Self(Arc::new(Inner { inside, sooner: Notify::new(), closed, observer }))
    }

    /// Has somebody told what happens at the door. It is called at each handshake, so it must not
    /// wait. Only one may ask for it.
    pub fn observe(&self, told: impl Fn(&Sighting<'_>) + Send + Sync + 'static) {
        self.0.observer.set(told);
    }

    pub(crate) fn observer(&self) -> &Observer {
        &self.0.observer
    }

    /// Returns the acceptance in force.
    pub fn acceptance(&self) -> Arc<Acceptance> {
        Arc::clone(&self.lock().acceptance)
    }

    /// Puts another acceptance in force, for new and for connected peers. Returns how many
    /// connections it ended. Must be called within a tokio runtime, and may take a while if a CA
    /// was replaced.
    pub fn replace(&self, acceptance: &Arc<Acceptance>) -> usize {
        let suspects: Vec<_> = {
            let mut inside = self.lock();
            let before = std::mem::replace(&mut inside.acceptance, Arc::clone(acceptance));
            inside.told_of_lists = false;
            let guests = inside.guests.iter();
            guests
                .filter(|(_, guest)| acceptance.may_refuse(&guest.chain, &before))
                .map(|(id, guest)| (*id, Arc::clone(&guest.chain)))
                .collect()
        };
        self.0.sooner.notify_one();
        let now = SystemTime::now();
        suspects
            .into_iter()
            .filter(|(id, chain)| match acceptance.judge(chain, now) {
                Ok(()) => false,
                Err(why) => self.close(*id, why),
            })
            .count()
    }

    /// Returns when the certificates end with which somebody is connected; `None` if nobody of this
    /// identity is. Of several connections the newest counts.
    pub fn end_of(&self, identity: &Identity) -> Option<Timestamp> {
        self.lock().of_one.get(identity)?.ends.map(timestamp)
    }

    /// Returns who is connected with certificates that end before a moment, and when, in the order of
    /// identities.
    pub fn ending_before(&self, moment: Timestamp) -> Vec<(Identity, Timestamp)> {
        let inside = self.lock();
        let ends = inside.of_one.iter().filter_map(|(identity, of_one)| {
            Some((identity, of_one.ends.map(timestamp).filter(|ends| *ends < moment)?))
        });
        let mut ending: Vec<_> = ends.map(|(identity, ends)| (identity.clone(), ends)).collect();
        ending.sort_unstable();
        ending
    }

    /// Returns how many connections there are.
    pub fn connections(&self) -> usize {
        self.lock().guests.len()
    }

    /// Lets a peer in that `judged_by` accepted. Another acceptance may be in force since, which
    /// then judges again.
    pub(crate) fn enter(
        &self,
        peer: Peer,
        chain: Arc<[CertificateDer<'static>]>,
        mut judged_by: Arc<Acceptance>,
        limits: &Limits,
    ) -> Result<(Peer, Arc<Switch>, Pass), Refused> {
        let mut now = SystemTime::now();
        loop {
            let mut inside = self.lock();
            if Arc::ptr_eq(&inside.acceptance, &judged_by) {
                let (guest, id) = inside.insert(peer, chain, now, limits)?;
                let is_sooner = inside.moments.first().is_some_and(|(_, first)| *first == id);
                drop(inside);
                self.0.observer.tell(&Sighting::Entered(&guest.0));
                if is_sooner {
                    self.0.sooner.notify_one();
                }
                return Ok((guest.0, guest.1, Pass { door: self.clone(), id }));
            }
            judged_by = Arc::clone(&inside.acceptance);
            drop(inside);
            now = SystemTime::now();
            judged_by.judge(&chain, now)?;
        }
    }

    /// Ends connections whose time has come. Does not end.
    pub(crate) async fn watch(self) {
        loop {
            let now = SystemTime::now();
            let first = self.look(now);
            let Some(first) = first else {
                self.0.sooner.notified().await;
                continue;
            };
            let left = first.duration_since(now).unwrap_or_default();
            if timeout(left.min(LOOK_AGAIN), self.0.sooner.notified()).await.is_ok() {
                // If many come at once, one look is enough for all of them.
                sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// Does what is due. Returns when to look again, if ever.
    fn look(&self, now: SystemTime) -> Option<SystemTime> {
        let (due, acceptance) = {
            let mut inside = self.lock();
            inside.tell_of_lists(now);
            (inside.due(now), Arc::clone(&inside.acceptance))
        };
        for (id, chain, surplus) in due {
            let judged = match surplus {
                Some(most) => Err(Refused::Surplus(most)),
                None => acceptance.judge(&chain, now),
            };
            match judged {
                Ok(()) => self.lock().schedule(id, next_end(&chain, now)),
                Err(why) => drop(self.close(id, why)),
            }
        }
        self.lock().next()
    }

    /// Ends a connection, if it exists.
    fn close(&self, id: Id, why: Refused) -> bool {
        let guest = {
            let inside = self.lock();
            inside.guests.get(&id).map(|guest| (guest.peer.clone(), Arc::clone(&guest.switch)))
        };
        let Some((peer, switch)) = guest else { return false };
        if !matches!(why, Refused::Surplus(_)) {
            self.0.observer.tell(&Sighting::Ended(&peer, &why));
        }
        let Peer { identity, address, serial, .. } = peer;
        self.0.closed.write(
            || tracing::warn!(peer = %identity, %address, %serial, reason = %why, "connection closed"),
        );
        switch.turn_off(why);
        true
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn timestamp(moment: SystemTime) -> Timestamp {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl Inside {
    fn insert(
        &mut self,
        mut peer: Peer,
        chain: Arc<[CertificateDer<'static>]>,
        now: SystemTime,
        limits: &Limits,
    ) -> Result<((Peer, Arc<Switch>), Id), Refused> {
        if self.guests.len() >= limits.inside {
            return Err(Refused::Full(limits.inside));
        }
        let most = match peer.identity.role() {
            Role::Player => limits.of_player,
            Role::Audience | Role::Conductor | Role::Relay => limits.of_audience,
        };
        let OfOne { all, surplus, .. } =
            self.of_one.get(&peer.identity).copied().unwrap_or_default();
        if all - surplus >= most {
            if surplus >= SURPLUS {
                return Err(Refused::Surplus(most));
            }
            peer.surplus = Some(most);
        }
        self.last += 1;
        let id = self.last;
        let surplus = surplus + usize::from(peer.surplus.is_some());
        let of_one = OfOne { all: all + 1, surplus, ends: next_end(&chain, now) };
        self.of_one.insert(peer.identity.clone(), of_one);
        let moment = match peer.surplus {
            Some(_) => Some(now + SURPLUS_FOR),
            None => next_end(&chain, now),
        };
        let switch = Arc::new(Switch::default());
        let guest = Guest { peer: peer.clone(), chain, moment: None, switch: Arc::clone(&switch) };
        self.guests.insert(id, guest);
        self.schedule(id, moment);
        Ok(((peer, switch), id))
    }

    fn remove(&mut self, id: Id) {
        self.schedule(id, None);
        let Some(Guest { peer, .. }) = self.guests.remove(&id) else { return };
        let Some(of_one) = self.of_one.get_mut(&peer.identity) else { return };
        of_one.all -= 1;
        of_one.surplus -= usize::from(peer.surplus.is_some());
        if of_one.all == 0 {
            self.of_one.remove(&peer.identity);
        }
    }

    /// Sets when a connection has to be looked at, if ever.
    fn schedule(&mut self, id: Id, moment: Option<SystemTime>) {
        let Some(guest) = self.guests.get_mut(&id) else { return };
        if let Some(before) = std::mem::replace(&mut guest.moment, moment) {
            self.moments.remove(&(before, id));
        }
        self.moments.extend(moment.map(|moment| (moment, id)));
    }

    /// Takes out the connections whose moments have come.
    fn due(&mut self, now: SystemTime) -> Vec<(Id, Arc<[CertificateDer<'static>]>, Option<usize>)> {
        let due: Vec<Id> = self
            .moments
            .iter()
            .take_while(|(moment, _)| *moment <= now)
            .map(|(_, id)| *id)
            .collect();
        let mut guests = Vec::with_capacity(due.len());
        for id in due {
            self.schedule(id, None);
            let guest = self.guests.get(&id);
            guests.extend(guest.map(|guest| (id, Arc::clone(&guest.chain), guest.peer.surplus)));
        }
        guests
    }

    /// Logs once that a list has expired.
    fn tell_of_lists(&mut self, now: SystemTime) {
        if self.told_of_lists {
            return;
        }
        for list in self.acceptance.revocation_lists().filter(|list| list.has_run_out(now)) {
            self.told_of_lists = true;
            tracing::error!(
                ca = list.issuer,
                until = list.until,
                "the revocation list has run out: whom it names stays out, and who was revoked since is \
                 let in; put a newer one in its place and reload"
            );
        }
    }

    /// Returns when to look next, if there is anything to look for.
    fn next(&self) -> Option<SystemTime> {
        let guest = self.moments.first().map(|(moment, _)| *moment);
        let lists = self.acceptance.revocation_lists();
        // A list is valid up to and including its last second.
        let ends = lists.filter_map(|list| Some(list.ends()? + Duration::from_secs(1)));
        let list = ends.min().filter(|_| !self.told_of_lists);
        guest.into_iter().chain(list).min()
    }
}
