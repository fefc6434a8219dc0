//! What a conductor wants: from the bytes that came through the agent to inputs of the spool.
//!
//! This is the border of privilege. The bytes are decoded here, once, and everything in them is
//! checked here or by the types that they become. So an attacker who has taken over the agent can
//! ask only for installed scores, with parameters that these accept.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use orchestra_model::{
    Millis,
    delivery::{AttemptKey, JobPart, Order, OrderNumber, Refusal, StoreId, Term},
    proof::Mac,
    service::{Instance, Leases, LogSource, ReadLog, ReadingId},
    tree::TreePlace,
};
use orchestra_proto::{Invalid, ReadOrder, mac_from_wire, order_from_wire, store_id, v1};
use prost::{DecodeError, Message};
use sha2::{Digest, Sha256};

use super::unit::OfLog;

/// Most bytes of job parts that are kept for orders to come. A job has one task on this player, and
/// its part comes just before the order; only a retry uses an older part.
const KEPT_BYTES: usize = 512 << 10;
/// How many rejected job parts are remembered, for the orders that name them.
const NOT_TAKEN: usize = 64;
/// Longest reason that an order is refused with, in characters.
const REASON_CHARS: usize = 300;

/// A decoded command.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    /// The store whose conductor sent it.
    pub(crate) store: StoreId,
    pub(crate) term: Term,
    /// What it wants.
    pub(crate) kind: Kind,
}

/// What a command wants.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Nothing: store and term are known now.
    Hello {
        /// The highest order number that was issued to this player, and its proof.
        issued: Option<(OrderNumber, Mac)>,
    },
    /// An attempt.
    Order {
        /// The order's number for this player.
        number: OrderNumber,
        key: AttemptKey,
        /// The attempt's timeout, if the job asks for less than the score allows.
        timeout: Option<Millis>,
        /// The conductor's proof that it ordered this.
        mac: Option<Mac>,
        /// The instance that the order is about, if it is about a unit.
        instance: Option<Instance>,
        /// Where the task is in its tree, if its job has one.
        tree: Option<Arc<TreePlace>>,
        /// The job, or why its part was rejected. That answers every order for the job.
        part: Result<Arc<JobPart>, Refusal>,
    },
    /// An attempt is to end.
    Cancel {
        /// The number of the order that it cancels.
        order: OrderNumber,
        key: AttemptKey,
        /// The conductor's proof that it ordered this.
        mac: Option<Mac>,
    },
    /// A settled attempt is to be forgotten.
    Acknowledge {
        key: AttemptKey,
        /// The order that the acknowledged report answered; `None` means any.
        order: Option<OrderNumber>,
    },
    /// Something about a log that somebody reads.
    OfLog(OfLog),
    /// Leases of units are granted.
    Leases(Leases),
    /// Vitals are wanted from now on.
    AskVitals {
        /// For so many milliseconds each sample is wanted at once.
        live_for: u64,
    },
}

/// Why a command is not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// It cannot be decoded.
    #[error("a command cannot be decoded")]
    Decode(#[source] DecodeError),
    /// It was decoded and makes no sense.
    #[error("a command is not valid")]
    Invalid(#[source] Invalid),
    /// It is about an attempt of another store.
    #[error("a command is about an attempt of another store")]
    Store,
    /// A job part does not match its digest.
    #[error("a job part does not have the digest that it claims")]
    Digest,
    /// An order and its job part are about different jobs.
    #[error("an order and its job part are about different jobs")]
    Job,
    /// The order's job part is not kept here. A new session brings it.
    #[error("an order's job part is not here")]
    PartMissing,
}

impl From<Invalid> for CommandError {
    fn from(cause: Invalid) -> Self {
        Self::Invalid(cause)
    }
}

/// The latest job parts of the present session.
#[derive(Debug, Default)]
pub(crate) struct JobParts {
    parts: BTreeMap<[u8; 32], (Arc<JobPart>, usize)>,
    oldest_first: VecDeque<[u8; 32]>,
    bytes: usize,
    /// Rejected parts: the digest that each claims, and why it makes no sense. Their orders are
    /// refused, because a new session would bring the same parts.
    not_taken: VecDeque<([u8; 32], Refusal)>,
}

impl JobParts {
    /// Decodes a command. Returns `None` for a job part, which is kept for the orders to come.
    pub(crate) fn decode(&mut self, bytes: Bytes) -> Result<Option<Command>, CommandError> {
        let command = v1::Command::decode(bytes).map_err(CommandError::Decode)?;
        let store = store_id(&command.store_id)?;
        let of_store = |key: &Option<v1::AttemptKey>| -> Result<AttemptKey, CommandError> {
            let key = key.as_ref().ok_or(Invalid::field("Command.key"))?;
            let key = AttemptKey::try_from(key)?;
            if key.store == store { Ok(key) } else { Err(CommandError::Store) }
        };
        use v1::command::Kind as Wire;
        let kind = match command.kind.ok_or(Invalid::field("Command.kind"))? {
            Wire::Job(part) => return self.keep(&part).map(|()| None),
            Wire::Hello(hello) => {
                let mac = mac_from_wire(&hello.mac, "Hello.mac")?;
                Kind::Hello { issued: mac.map(|mac| (OrderNumber(hello.issued), mac)) }
            }
            Wire::Order(order) => {
                let key = of_store(&order.key)?;
                let ReadOrder { job_digest, order, mac } = order_from_wire(&order)?;
                let part = self.get(&job_digest)?;
                if part.as_ref().is_ok_and(|part| part.job != key.job) {
                    return Err(CommandError::Job);
                }
                let Order { number, timeout, instance, tree, .. } = order;
                Kind::Order { number, key, timeout, mac, instance, tree, part }
            }
            Wire::ReadLog(read) => {
                let read = ReadLog::try_from(&read)?;
                if matches!(read.of, LogSource::Attempt(key) if key.store != store) {
                    return Err(CommandError::Store);
                }
                Kind::OfLog(OfLog::Read(read))
            }
            Wire::LogCredit(credit) => {
                Kind::OfLog(OfLog::Credit(ReadingId(credit.reading), credit.bytes))
            }
            Wire::CloseLog(close) => Kind::OfLog(OfLog::Close(ReadingId(close.reading))),
            Wire::Leases(leases) => Kind::Leases((&leases).try_into()?),
            Wire::AskVitals(ask) => Kind::AskVitals { live_for: ask.live_for_ms.into() },
            Wire::Cancel(cancel) => Kind::Cancel {
                order: OrderNumber(cancel.order),
                key: of_store(&cancel.key)?,
                mac: mac_from_wire(&cancel.mac, "Cancel.mac")?,
            },
            Wire::Acknowledge(acknowledge) => Kind::Acknowledge {
                key: of_store(&acknowledge.key)?,
                order: Some(OrderNumber(acknowledge.order)).filter(|order| order.0 > 0),
            },
        };
        Ok(Some(Command { store, term: Term(command.term), kind }))
    }

    fn get(&self, digest: &[u8]) -> Result<Result<Arc<JobPart>, Refusal>, CommandError> {
        if let Some((part, _)) = self.parts.get(digest) {
            return Ok(Ok(Arc::clone(part)));
        }
        let not_taken = self.not_taken.iter().find(|(claimed, _)| claimed[..] == *digest);
        not_taken.map(|(_, why)| Err(why.clone())).ok_or(CommandError::PartMissing)
    }

    fn keep(&mut self, part: &v1::JobPart) -> Result<(), CommandError> {
        let understood = understand(part).inspect_err(|why| self.remember(&part.digest, why));
        let (digest, job) = understood?;
        self.bytes += part.body.len();
        match self.parts.insert(digest, (job, part.body.len())) {
            Some((_, again)) => self.bytes -= again,
            None => self.oldest_first.push_back(digest),
        }
        // The latest part stays, however large, because its order comes next.
        while self.bytes > KEPT_BYTES && self.oldest_first.len() > 1 {
            let oldest =
                self.oldest_first.pop_front().and_then(|oldest| self.parts.remove(&oldest));
            self.bytes -= oldest.map_or(0, |(_, bytes)| bytes);
        }
        Ok(())
    }

    fn remember(&mut self, claimed: &[u8], why: &CommandError) {
        let Ok(claimed) = claimed.try_into() else { return };
        if self.not_taken.len() == NOT_TAKEN {
            self.not_taken.pop_front();
        }
        let why = format!("its job is not valid: {}", orchestra_model::chain(why));
        let why = why.chars().take(REASON_CHARS).collect();
        self.not_taken.push_back((claimed, Refusal::SpawnFailed(why)));
    }
}

/// Returns a checked job part, with its digest.
fn understand(part: &v1::JobPart) -> Result<([u8; 32], Arc<JobPart>), CommandError> {
    let digest: [u8; 32] = Sha256::digest(&part.body).into();
    if part.digest[..] != digest {
        return Err(CommandError::Digest);
    }
    let body = v1::JobBody::decode(part.body.clone()).map_err(CommandError::Decode)?;
    Ok((digest, Arc::new(JobPart::try_from(body)?)))
}
