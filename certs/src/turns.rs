//! Turns at the processor, for connections whose handshake is not done.
//!
//! A turn is a share of the processor. A connection asks for a turn once its peer has sent
//! something, and gives it back when it waits for the peer. So a silent or slow peer delays no
//! other. Places are bounded, and turns are few. So the next connection waits only while a few
//! handshakes compute, however many there are.
//!
//! The identity of a waiting peer is not known, and no claim of it may bring it forward; only its
//! address is known. The order is:
//!
//! - every second turn goes to a connection that had a turn before, so that handshakes that have
//!   begun are finished;
//! - a turn goes to the address that has had the fewest of its kind, so that an address with a
//!   thousand connections does not make others wait;
//! - among equal addresses, a further turn goes to the connection that came first; a first turn
//!   goes alternately to the one that came last and to the one that came first. So when a whole
//!   fleet comes back at once, a new connection of an audience is accepted beside it.
//!
//! If more come than there are places, a connection of the address with most places is driven out,
//! or any connection if no address has two. That is the one that has been silent longest, if that
//! is long; else, of those that had no turn yet, the middle one, which would wait longest.

use std::{
    collections::{BTreeSet, HashMap},
    future::poll_fn,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::Instant;

use crate::refused::Refused;

/// After so long a silence a connection is the first to be driven out. A client sends as soon as it
/// can, and its bytes travel for less time.
const SILENCE: Duration = Duration::from_secs(1);

/// What counts as one address. For IPv6 it is the network, because one peer may have many addresses
/// in it.
type Source = IpAddr;

/// A place, numbered in the order of taking.
type Id = u64;

/// Gives places to connections, and turns to those that have a place.
#[derive(Debug)]
pub(crate) struct Turnstile(Mutex<Turns>);

#[derive(Debug)]
struct Turns {
    line: Line,
    /// How many turns are free.
    free: usize,
}

impl Turnstile {
    /// Returns a turnstile with so many places and turns, at least one of each.
    pub(crate) fn new(places: usize, turns: usize) -> Arc<Self> {
        let line = Line { most: places.max(1), ..Line::default() };
        Arc::new(Self(Mutex::new(Turns { line, free: turns.max(1) })))
    }

    /// Gives a place to a connection from this address. Another connection may lose its place by
    /// that.
    pub(crate) fn enter(self: &Arc<Self>, from: IpAddr) -> Place {
        let id = self.turns().line.enter(source(from), Instant::now());
        Place { turnstile: Arc::clone(self), id, has_turn: false }
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turns {
    /// Gives out turns while there are free ones and connections ask.
    fn give(&mut self) {
        while self.free > 0
            && let Some(id) = self.line.next()
        {
            self.free -= 1;
            self.line.wake(id);
        }
    }

    fn take_back(&mut self, id: Id) {
        if self.line.fall_silent(id, Instant::now()) {
            self.free += 1;
            self.give();
        }
    }
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    turnstile: Arc<Turnstile>,
    id: Id,
    has_turn: bool,
}

impl Place {
    /// Returns once the place is lost, because another connection got it.
    pub(crate) async fn driven_out(&mut self) -> Refused {
        poll_fn(|cx| self.poll_driven_out(cx)).await
    }

    /// Is ready once the place is lost, because another connection got it.
    pub(crate) fn poll_driven_out(&mut self, cx: &mut Context<'_>) -> Poll<Refused> {
        match self.turnstile.turns().line.listen(self.id, cx) {
            State::Out => Poll::Ready(Refused::Crowded),
            State::Silent | State::Asks | State::Has => Poll::Pending,
        }
    }

    /// Asks for a turn, unless the connection has one. Ready when it has a turn, or has lost its
    /// place.
    pub(crate) fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        let mut turns = self.turnstile.turns();
        turns.line.ask(self.id);
        turns.give();
        match turns.line.listen(self.id, cx) {
            State::Has => {
                self.has_turn = true;
                Poll::Ready(Ok(()))
            }
            State::Out => Poll::Ready(Err(Refused::Crowded)),
            State::Silent | State::Asks => Poll::Pending,
        }
    }

    /// Returns whether it has a turn, as [`Place::poll_turn`] said.
    pub(crate) fn has_turn(&self) -> bool {
        self.has_turn
    }

    /// The next word is the peer's.
    pub(crate) fn give_back(&mut self) {
        if std::mem::take(&mut self.has_turn) {
            self.turnstile.turns().take_back(self.id);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut turns = self.turnstile.turns();
        // The connection may have got a turn that it never noticed.
        turns.take_back(self.id);
        turns.line.remove(self.id);
    }
}

fn source(from: IpAddr) -> Source {
    match from.to_canonical() {
        IpAddr::V6(from) => IpAddr::V6(Ipv6Addr::from_bits(from.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

/// The state of a connection that has, or had, a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The next word is the peer's.
    Silent,
    /// It asks for a turn.
    Asks,
    /// It has a turn.
    Has,
    /// It has no place any more.
    Out,
}

/// The order of turns, and who is driven out.
#[derive(Debug, Default)]
struct Line {
    most: usize,
    last: Id,
    members: HashMap<Id, Member>,
    sources: HashMap<Source, Crowd>,
    /// Sources ordered by the number of their places.
    largest: BTreeSet<(usize, Source)>,
    /// Sources whose connections ask for a first turn, and for a further one, ordered by how many
    /// such turns they had and by who came first.
    asking: [BTreeSet<(u64, Id, Source)>; 2],
    everybody: Group,
    /// Whether the last turn was a first one.
    was_first: bool,
    /// Whether the last first turn went to the newest connection.
    was_newest: bool,
}

#[derive(Debug)]
struct Member {
    source: Source,
    state: State,
    /// Since when it has been silent.
    silent: (Instant, Id),
    waker: Option<Waker>,
}

/// Kinds of turns.
const FIRST: usize = 0;
const FURTHER: usize = 1;

/// The connections of one source.
#[derive(Debug, Default)]
struct Crowd {
    places: usize,
    group: Group,
    /// For each of [`FIRST`] and [`FURTHER`]: the connections that ask, and how many such turns the
    /// source had while it had places.
    asking: [(BTreeSet<Id>, u64); 2],
}

/// The connections of sources with equally many places, which may be driven out.
#[derive(Debug, Default)]
struct Group {
    /// Those that have not had a turn.
    new: BTreeSet<Id>,
    /// Those that are silent, ordered by since when.
    silent: BTreeSet<(Instant, Id)>,
}

impl Group {
    fn least(&self, now: Instant) -> Option<Id> {
        let longest = self.silent.first();
        let long = longest.filter(|(since, _)| now >= *since + SILENCE);
        let id = |silent: &(Instant, Id)| silent.1;
        long.map(id).or_else(|| middle(&self.new)).or_else(|| longest.map(id))
    }
}

impl Line {
    /// Takes a new place. If none is left, another connection loses its place.
    fn enter(&mut self, source: Source, now: Instant) -> Id {
        self.last += 1;
        let id = self.last;
        let silent = (now, id);
        let member = Member { source, state: State::Silent, silent, waker: None };
        self.members.insert(id, member);
        self.change(source, |crowd| crowd.places += 1);
        self.group(source, |group| {
            group.new.insert(id);
            group.silent.insert(silent);
        });
        if self.members.len() > self.most
            && let Some(out) = self.least(now)
        {
            self.wake(out);
            self.remove(out);
        }
        id
    }

    /// Returns which connection is driven out next. One that has a turn is not, because its turn is
    /// soon over.
    fn least(&self, now: Instant) -> Option<Id> {
        let largest = self.largest.last().filter(|(places, _)| *places > 1);
        let crowd = largest.and_then(|(_, source)| self.sources.get(source));
        let further = |crowd: &Crowd| middle(&crowd.asking[FURTHER].0);
        let of = |crowd: &Crowd| crowd.group.least(now).or_else(|| further(crowd));
        crowd.and_then(of).or_else(|| self.everybody.least(now))
    }

    /// Notes that a connection asks for a turn, because its peer has sent something.
    fn ask(&mut self, id: Id) {
        let silent = |member: &&mut Member| member.state == State::Silent;
        let Some(member) = self.members.get_mut(&id).filter(silent) else { return };
        member.state = State::Asks;
        let (source, silent) = (member.source, member.silent);
        let kind = if self.everybody.new.contains(&id) { FIRST } else { FURTHER };
        self.group(source, |group| {
            group.silent.remove(&silent);
        });
        self.change(source, |crowd| crowd.asking[kind].0.extend([id]));
    }

    /// Gives a turn to the next connection, and returns it; `None` if none asks.
    fn next(&mut self) -> Option<Id> {
        let kinds = if self.was_first { [FURTHER, FIRST] } else { [FIRST, FURTHER] };
        let (kind, id) = kinds.into_iter().find_map(|kind| Some((kind, self.next_of(kind)?)))?;
        let member = self.members.get_mut(&id)?;
        member.state = State::Has;
        let source = member.source;
        self.was_first = kind == FIRST;
        self.group(source, |group| {
            group.new.remove(&id);
        });
        Some(id)
    }

    /// Picks the next connection for a turn of a kind: the newest or the oldest, among the sources
    /// that had the fewest such turns.
    fn next_of(&mut self, kind: usize) -> Option<Id> {
        /// Sorts before all others.
        const LEAST: Source = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let (had, ..) = *self.asking[kind].first()?;
        let mut alike = self.asking[kind].range(..(had + 1, 0, LEAST));
        let newest = kind == FIRST && !self.was_newest;
        let (.., source) = *if newest { alike.next_back()? } else { alike.next()? };
        let (ids, _) = &self.sources.get(&source)?.asking[kind];
        let id = *if newest { ids.last()? } else { ids.first()? };
        if kind == FIRST {
            self.was_newest = newest;
        }
        self.change(source, |crowd| {
            let (ids, had) = &mut crowd.asking[kind];
            ids.remove(&id);
            *had += 1;
        });
        Some(id)
    }

    /// Notes that a connection waits for its peer. Returns whether it had a turn.
    fn fall_silent(&mut self, id: Id, now: Instant) -> bool {
        let has = |member: &&mut Member| member.state == State::Has;
        let Some(member) = self.members.get_mut(&id).filter(has) else { return false };
        (member.state, member.silent) = (State::Silent, (now, id));
        let source = member.source;
        self.group(source, |group| {
            group.silent.insert((now, id));
        });
        true
    }

    /// Removes a place, if it exists.
    fn remove(&mut self, id: Id) {
        let Some(Member { source, silent, .. }) = self.members.remove(&id) else { return };
        self.group(source, |group| {
            group.new.remove(&id);
            group.silent.remove(&silent);
        });
        self.change(source, |crowd| {
            crowd.places -= 1;
            for (ids, _) in &mut crowd.asking {
                ids.remove(&id);
            }
        });
    }

    /// Changes the group of a source that has places.
    fn group(&mut self, source: Source, change: impl Fn(&mut Group)) {
        change(&mut self.everybody);
        self.sources.get_mut(&source).map(|crowd| &mut crowd.group).into_iter().for_each(change);
    }

    /// Changes the connections of a source, and updates its position in the order. A source without
    /// connections is forgotten.
    fn change(&mut self, source: Source, change: impl FnOnce(&mut Crowd)) {
        let crowd = self.sources.entry(source).or_default();
        let key = |(ids, had): &(BTreeSet<Id>, u64)| ids.first().map(|id| (*had, *id, source));
        self.largest.remove(&(crowd.places, source));
        for (sources, asking) in self.asking.iter_mut().zip(&crowd.asking) {
            key(asking).map(|key| sources.remove(&key));
        }
        change(crowd);
        for (sources, asking) in self.asking.iter_mut().zip(&crowd.asking) {
            sources.extend(key(asking));
        }
        match crowd.places {
            0 => drop(self.sources.remove(&source)),
            places => drop(self.largest.insert((places, source))),
        }
    }

    fn wake(&mut self, id: Id) {
        if let Some(waker) = self.members.get_mut(&id).and_then(|member| member.waker.take()) {
            waker.wake();
        }
    }

    /// Returns the state of a connection, and has the task woken when that changes.
    fn listen(&mut self, id: Id, cx: &Context<'_>) -> State {
        let Some(member) = self.members.get_mut(&id) else { return State::Out };
        member.waker = Some(cx.waker().clone());
        member.state
    }
}

/// Returns the place in the middle between the first and the last.
fn middle(ids: &BTreeSet<Id>) -> Option<Id> {
    let half = ids.first()? + (ids.last()? - ids.first()?) / 2;
    ids.range(half..).next().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Line {
        fn state(&self, id: Id) -> State {
            self.members.get(&id).map_or(State::Out, |member| member.state)
        }
    }

    fn address(number: u32) -> Source {
        IpAddr::V4(Ipv4Addr::from_bits(0x0A00_0000 + number))
    }

    fn line(most: usize) -> Line {
        Line { most, ..Line::default() }
    }

    /// Adds a connection of a source that asks at once.
    fn speaker(line: &mut Line, number: u32) -> Id {
        let id = line.enter(address(number), Instant::now());
        line.ask(id);
        id
    }

    #[test]
    fn whoever_comes_last_has_a_turn_soon_and_whoever_came_first_too() {
        let mut line = line(2_000);
        let fleet: Vec<Id> = (0..1_000).map(|number| speaker(&mut line, number)).collect();
        assert_eq!([line.next(), line.next()], [Some(fleet[999]), Some(fleet[0])]);
        // New connections come each time, and still every second turn goes to the oldest.
        for turn in 1..9 {
            let newest = speaker(&mut line, 2_000 + turn);
            assert_eq!(line.next(), Some(newest));
            assert_eq!(line.next(), Some(fleet[turn as usize]));
        }
        assert_eq!(std::iter::from_fn(|| line.next()).count(), 1_000 - 10);
    }

    #[test]
    fn an_address_that_asks_a_thousand_times_keeps_no_other_one_waiting() {
        let mut line = line(2_000);
        let flood: Vec<Id> = (0..1_000).map(|_| speaker(&mut line, 1)).collect();
        assert!(line.next().is_some_and(|id| flood.contains(&id)));
        for _ in 0..100 {
            // It asks again, as the newest of all.
            let (one, other) = (speaker(&mut line, 2), speaker(&mut line, 3));
            speaker(&mut line, 1);
            let next = [line.next(), line.next()];
            assert!(next.contains(&Some(one)) && next.contains(&Some(other)), "{next:?}");
            line.remove(one);
            line.remove(other);
        }
        // A single source has all turns, alternately for its first and its last connection.
        let next = [line.next(), line.next()].map(Option::unwrap);
        assert!(next.contains(&flood[0]) && next.iter().any(|id| !flood.contains(id)), "{next:?}");
    }

    #[test]
    fn what_is_half_done_has_every_other_turn() {
        let mut line = line(100);
        let begun: Vec<Id> = (0..4).map(|number| speaker(&mut line, number)).collect();
        for _ in &begun {
            let id = line.next().unwrap();
            let now = Instant::now();
            assert!(line.fall_silent(id, now) && !line.fall_silent(id, now));
        }
        let new: Vec<Id> = (10..14).map(|number| speaker(&mut line, number)).collect();
        begun.iter().for_each(|id| line.ask(*id));
        let turns: Vec<Id> = std::iter::from_fn(|| line.next()).collect();
        assert_eq!(turns.len(), 8);
        let of_begun: Vec<Id> = turns.iter().copied().filter(|id| begun.contains(id)).collect();
        assert_eq!(of_begun, begun, "the oldest first");
        assert!(turns.chunks(2).all(|two| new.contains(&two[0]) != new.contains(&two[1])));
    }

    #[test]
    fn nor_does_one_that_asks_for_further_turns() {
        let (mut line, now) = (line(1_000), Instant::now());
        let flood: Vec<Id> = (0..1_000).map(|_| speaker(&mut line, 1)).collect();
        while let Some(id) = line.next() {
            line.fall_silent(id, now);
        }
        flood.iter().for_each(|id| line.ask(*id));
        assert!(line.next().is_some());
        let other = speaker(&mut line, 2);
        assert_eq!(line.members.len(), 1_000, "even where nobody is new or silent");
        let turns: Vec<Id> = (0..4).filter_map(|_| line.next()).collect();
        assert!(turns.contains(&other), "{turns:?}");
        line.fall_silent(other, now);
        line.ask(other);
        let turns: Vec<Id> = (0..2).filter_map(|_| line.next()).collect();
        assert!(turns.contains(&other), "{turns:?}");
    }

    #[test]
    fn who_is_driven_out_is_of_the_address_with_most_places() {
        let mut line = line(5);
        let ids: Vec<Id> = [1, 2, 2, 2, 3].map(|number| speaker(&mut line, number)).into();
        let newest = speaker(&mut line, 4);
        assert_eq!(line.state(ids[2]), State::Out, "in the middle of its own");
        assert_eq!((line.members.len(), line.state(newest)), (5, State::Asks));
        assert!(!std::iter::from_fn(|| line.next()).any(|id| id == ids[2]));
        // Connections that have a turn stay, because it is soon over.
        let last = speaker(&mut line, 5);
        assert_eq!((line.members.len(), line.state(last)), (5, State::Out));
    }

    #[test]
    fn what_is_half_done_stays_unless_its_peer_lets_it_wait() {
        let (mut line, now) = (line(3), Instant::now());
        let begun = speaker(&mut line, 1);
        assert_eq!(line.next(), Some(begun));
        line.fall_silent(begun, now);
        let others: Vec<Id> = (0..3).map(|_| line.enter(address(1), now)).collect();
        assert_eq!((line.state(begun), line.state(others[1])), (State::Silent, State::Out));
        line.fall_silent(begun, now);
        line.enter(address(1), now + SILENCE);
        assert_eq!(line.state(begun), State::Out, "it has been silent longest");
    }

    #[test]
    fn where_all_are_alike_who_is_long_silent_goes_and_then_one_in_the_middle() {
        let mut line = line(4);
        let now = Instant::now();
        let silent = line.enter(address(1), now);
        let ids: Vec<Id> = (2..6).map(|number| speaker(&mut line, number)).collect();
        assert_eq!(line.state(ids[1]), State::Out, "nobody has been silent for long");
        line.enter(address(6), now + SILENCE);
        assert_eq!((line.state(silent), line.members.len()), (State::Out, 4));
    }

    #[test]
    fn nothing_is_kept_of_those_who_left() {
        let mut line = line(50);
        for round in 0..100 {
            let ids: Vec<Id> =
                (0..60).map(|n| line.enter(address(n % 7), Instant::now())).collect();
            ids.iter().filter(|id| *id % 3 > 0).for_each(|id| line.ask(*id));
            let turns = std::iter::from_fn(|| line.next()).take(round % 20).count();
            assert_eq!(turns, round % 20);
            for id in ids {
                line.fall_silent(id, Instant::now());
                line.ask(id);
                line.remove(id);
            }
            let Line { members, sources, largest, asking, everybody, .. } = &line;
            assert!(members.is_empty() && sources.is_empty() && largest.is_empty());
            assert!(asking.iter().all(BTreeSet::is_empty));
            let Group { new, silent } = everybody;
            assert!(new.is_empty() && silent.is_empty());
        }
    }

    #[test]
    fn a_network_is_one_address() {
        let of = |text: &str| source(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
