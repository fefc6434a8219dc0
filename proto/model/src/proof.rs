//! What a conductor proves with what it says, and what a player can show for its claims.
//!
//! A player says which orders it has had, and from that follows whether the store is an old copy.
//! So that no player can make a whole fleet stand still by lying, each order and each hello carries
//! a *mac*: a code that only who holds the store's proof key can make. The player keeps the codes and
//! shows them with its claims. What it claims beyond what it can show concerns that player alone
//! (SECURITY.md).
//!
//! This module says what is proven, byte by byte. Making and checking the codes is left to whoever
//! holds the key.

use std::fmt;

use crate::{
    delivery::{
        AttemptKey, LiveAttempt, OrderNumber, PlayerSnapshot, SettledAttempt, StoreId, Term,
    },
    ids::JobId,
    names::HostName,
};

/// A message authentication code: HMAC-SHA-256 under a proof key, its first 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 16]);

impl Mac {
    /// Reads the 16 bytes that the wire or a file carries.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mac({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

/// What a mac says of an attempt whose store, player and order are known: the term in which it was
/// ordered, and the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The store's term when the order was sent.
    pub term: Term,
    /// The code over the [`Statement`].
    pub mac: Mac,
}

/// That a store has issued orders to a player up to a number, in a term: what a spool keeps with its
/// mark, and shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The highest order number that was issued.
    pub order: OrderNumber,
    /// What that order asked for; `None` where a hello said so.
    pub attempt: Option<Attempted>,
    /// The term, and the code.
    pub proof: Proof,
}

/// Which execution of which job, of a store and a player that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempted {
    pub job: JobId,
    /// Which execution, from 1.
    pub attempt: u32,
}

impl From<AttemptKey> for Attempted {
    fn from(key: AttemptKey) -> Self {
        Self { job: key.job, attempt: key.attempt }
    }
}

/// What one mac is about: this store has, in this term, issued this order to this player.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement<'a> {
    /// Whose orders.
    pub store: StoreId,
    /// To whom. A mac of another player proves nothing.
    pub player: &'a HostName,
    /// In which term of the store.
    pub term: Term,
    /// The order's number; of a hello, the highest number that was issued.
    pub order: OrderNumber,
    /// What the order asks for; `None` in a hello.
    pub attempt: Option<Attempted>,
}

impl Statement<'_> {
    /// The bytes that the code is made over. Two different statements never give the same bytes:
    /// everything but the name has a fixed length, and the name comes last.
    pub fn to_bytes(&self) -> Vec<u8> {
        const CONTEXT: &[u8] = b"orchestra order v1\0";
        let Self { store, player, term, order, attempt } = self;
        let mut bytes = Vec::with_capacity(CONTEXT.len() + 16 + 3 * 8 + 2 * 2 + 4 + 64);
        bytes.extend(CONTEXT);
        bytes.extend(store.0);
        bytes.extend(term.0.to_le_bytes());
        bytes.extend(order.0.to_le_bytes());
        // No attempt has the number 0.
        let (job, attempt) = match attempt {
            Some(of) => (of.job, of.attempt),
            None => (JobId { flow: crate::FlowId(0), slot: 0, job: 0 }, 0),
        };
        bytes.extend(job.flow.0.to_le_bytes());
        bytes.extend(job.slot.to_le_bytes());
        bytes.extend(job.job.to_le_bytes());
        bytes.extend(attempt.to_le_bytes());
        bytes.extend(player.as_str().as_bytes());
        bytes
    }
}

/// Takes out of a player's snapshot every proof that `is_true` does not confirm: what is left was
/// said by this store to this player.
pub fn drop_false_proofs(
    snapshot: &mut PlayerSnapshot,
    store: StoreId,
    player: &HostName,
    is_true: impl Fn(&Statement<'_>, Mac) -> bool,
) {
    drop_false_evidence(&mut snapshot.evidence, store, player, &is_true);
    let of_attempt = |key: &AttemptKey, order, &Proof { term, mac }: &Proof| {
        let attempt = Some(Attempted::from(*key));
        key.store == store && is_true(&Statement { store, player, term, order, attempt }, mac)
    };
    for LiveAttempt { key, order, proof, .. } in &mut snapshot.live {
        keep_true(proof, |proof| of_attempt(key, *order, proof));
    }
    for SettledAttempt { key, order, proof } in &mut snapshot.settled {
        keep_true(proof, |proof| of_attempt(key, *order, proof));
    }
}

/// Takes out evidence that `is_true` does not confirm: a snapshot has some, and a refusal may.
pub fn drop_false_evidence(
    evidence: &mut Option<Evidence>,
    store: StoreId,
    player: &HostName,
    is_true: impl Fn(&Statement<'_>, Mac) -> bool,
) {
    keep_true(evidence, |Evidence { order, attempt, proof: Proof { term, mac } }| {
        let (order, attempt, term) = (*order, *attempt, *term);
        is_true(&Statement { store, player, term, order, attempt }, *mac)
    });
}

fn keep_true<T>(shown: &mut Option<T>, is_true: impl FnOnce(&T) -> bool) {
    shown.take_if(|shown| !is_true(shown));
}
