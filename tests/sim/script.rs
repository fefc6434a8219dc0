//! What happens in a run: a list of deeds, each with the chance that it needs, so that taking one
//! out leaves all others what they were. That is what makes a failing run shrink.

use std::fmt;

use crate::chance::Chance;

/// Declares the deeds, how often each is chosen, and whether it is ordinary progress, which a
/// shrunken script is printed without.
macro_rules! deeds {
    ($($(#[$doc:meta])* $deed:ident: $weight:literal $kind:ident,)+) => {
        /// One kind of thing that happens.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Deed { $($(#[$doc])* $deed,)+ }

        /// Each, its weight, and its kind.
        const DEEDS: &[(Deed, usize, Kind)] = &[$((Deed::$deed, $weight, Kind::$kind),)+];
    };
}

/// Whose doing a deed is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Operator,
    Fault,
    Progress,
}

deeds! {
    /// A new flow.
    Submit: 34 Operator,
    /// A submission of before, once more.
    Resubmit: 6 Operator,
    Cancel: 5 Operator,
    Pause: 4 Operator,
    Resume: 6 Operator,
    /// Further attempts of a living flow's tasks.
    Retry: 7 Operator,
    /// An ended flow's unfinished tasks, as a new flow.
    RetryEnded: 4 Operator,
    Promote: 5 Operator,
    Drain: 4 Operator,
    Undrain: 5 Operator,
    Release: 5 Operator,
    /// Going on with players that are quarantined.
    ReleaseLiars: 4 Operator,
    /// Another players file.
    Roster: 4 Operator,
    /// Other deployments.
    Deployments: 5 Operator,
    /// Going on from an old copy, where the conductor asks for that.
    Recover: 6 Operator,
    /// An ended flow is old enough to be forgotten.
    Expire: 2 Operator,

    /// The conductor dies, with whatever it was writing half on disk, and starts anew.
    ConductorCrash: 8 Fault,
    /// The conductor's disk is copied.
    BackUp: 2 Fault,
    /// The conductor starts from the newest copy.
    RestoreBackup: 1 Fault,
    /// The conductor's next write finds no room.
    DiskFull: 3 Fault,
    /// A sitter dies at some point of its work.
    PlayerCrash: 8 Fault,
    /// A host reboots: its processes are gone too.
    Reboot: 3 Fault,
    /// A spool is lost.
    Wipe: 2 Fault,
    /// A player's disk fails, and is mended.
    PlayerDisk: 2 Fault,
    /// A player refuses what is new, cannot spawn, kills slowly; or not any more.
    Mood: 5 Fault,
    /// A player's scores, or how many attempts it takes at once, change.
    Rescan: 3 Fault,
    /// A player claims what it cannot prove.
    Lie: 6 Fault,
    /// A connection breaks, with what was under way on it.
    Break: 7 Fault,
    /// A host is cut off.
    Partition: 4 Fault,
    /// A host is cut off no more.
    Rejoin: 6 Fault,
    /// A message arrives twice.
    Duplicate: 8 Fault,
    /// Two messages arrive in the wrong order.
    Reorder: 8 Fault,
    /// The wall clock is set; the conductor notices when it starts next.
    SetClock: 3 Fault,

    /// A player opens a connection.
    Dial: 40 Progress,
    /// Messages arrive at the conductor.
    Up: 60 Progress,
    /// Messages arrive at a player.
    Down: 50 Progress,
    /// A sitter writes and acts.
    Sit: 50 Progress,
    /// A process ends.
    End: 60 Progress,
    /// The conductor writes and acts.
    Conduct: 110 Progress,
    /// Everything that can move moves, everywhere.
    Everything: 24 Progress,
    /// Time passes.
    Pass: 30 Progress,
}

/// A deed, and the chance in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) deed: Deed,
    pub(crate) salt: u64,
}

impl Event {
    pub(crate) fn kind(&self) -> Kind {
        let known = DEEDS.iter().find(|(deed, ..)| *deed == self.deed);
        known.map_or(Kind::Progress, |(_, _, kind)| *kind)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.deed)
    }
}

/// What a seed makes happen.
pub(crate) fn of(seed: u64) -> Vec<Event> {
    let mut chance = Chance::new(seed ^ 0x5c21_97ed);
    let steps = chance.between(120, 360);
    // Some seeds have no faults, so that what only a long calm leads to is met too; and some have
    // more of one kind of deed than the rest.
    let calm = chance.percent(20);
    let favourite = chance.below(DEEDS.len());
    let weight = |at: usize| match DEEDS[at] {
        (_, _, Kind::Fault) if calm => 0,
        (_, weight, _) if at == favourite => weight * 4,
        (_, weight, _) => weight,
    };
    let total: usize = (0..DEEDS.len()).map(weight).sum();
    let mut deed = || {
        let mut left = chance.below(total);
        for (at, (deed, ..)) in DEEDS.iter().enumerate() {
            match left.checked_sub(weight(at)) {
                Some(rest) => left = rest,
                None => return Event { deed: *deed, salt: chance.next() },
            }
        }
        Event { deed: Deed::Pass, salt: chance.next() }
    };
    (0..steps).map(|_| deed()).collect()
}
