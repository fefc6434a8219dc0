//! Entries in bytes: a kind byte, then fields in a fixed order. A length precedes texts and ends. A
//! number that was given to a kind or a word is never given to another.

use orchestra_model::{
    FlowId, JobId, Millis, ScoreName,
    delivery::{EndBytes, Refusal, StoreId, Term},
    journal::{
        ByteReader, InvalidEntry, JournalEntry, push_bytes, push_job, push_key, push_process,
    },
    limits,
    proof::{Attempted, Evidence, Mac, Proof},
    score::Interface,
};

use crate::{
    attempt::{CgroupPath, Plan, Settlement},
    bounds,
    entry::Entry,
};

const TERM: u8 = 1;
const MARK: u8 = 2;
const CANCELLED_AHEAD: u8 = 3;
const STARTING: u8 = 4;
const STARTED: u8 = 5;
const CANCELLING: u8 = 6;
const ENDED: u8 = 7;
const REFUSED: u8 = 8;
const ACKNOWLEDGED: u8 = 9;
const EVIDENCE: u8 = 10;
/// These are kinds 4, 7 and 8 with a proof, which comes after the order.
const PROVEN_STARTING: u8 = 11;
const PROVEN_ENDED: u8 = 12;
const PROVEN_REFUSED: u8 = 13;

impl JournalEntry for Entry {
    fn push(&self, out: &mut Vec<u8>) {
        match self {
            Entry::Term { store, term } => {
                out.push(TERM);
                out.extend(store.0);
                out.extend(term.0.to_le_bytes());
            }
            Entry::Mark { store, mark } => {
                out.push(MARK);
                out.extend(store.0);
                out.extend(mark.0.to_le_bytes());
            }
            Entry::Evidence { store, evidence: Evidence { order, attempt, proof } } => {
                out.push(EVIDENCE);
                out.extend(store.0);
                out.extend(order.0.to_le_bytes());
                // Evidence of a hello is about no attempt; no attempt has the number 0.
                let none =
                    Attempted { job: JobId { flow: FlowId(0), slot: 0, job: 0 }, attempt: 0 };
                let Attempted { job, attempt } = attempt.unwrap_or(none);
                push_job(out, job);
                out.extend(attempt.to_le_bytes());
                push_proof(out, proof);
            }
            Entry::CancelledAhead { store, order } => {
                out.push(CANCELLED_AHEAD);
                out.extend(store.0);
                out.extend(order.0.to_le_bytes());
            }
            Entry::Starting { key, order, proof, plan } => {
                out.push(if proof.is_some() { PROVEN_STARTING } else { STARTING });
                push_key(out, key);
                out.extend(order.0.to_le_bytes());
                proof.iter().for_each(|proof| push_proof(out, proof));
                push_plan(out, plan);
            }
            Entry::Started { key, process } => {
                out.push(STARTED);
                push_key(out, key);
                push_process(out, process);
            }
            Entry::Cancelling { key } => {
                out.push(CANCELLING);
                push_key(out, key);
            }
            Entry::Settled { key, order, proof, settlement } => {
                out.push(match (settlement, proof) {
                    (Settlement::Ended(_), None) => ENDED,
                    (Settlement::Ended(_), Some(_)) => PROVEN_ENDED,
                    (Settlement::Refused(_), None) => REFUSED,
                    (Settlement::Refused(_), Some(_)) => PROVEN_REFUSED,
                });
                push_key(out, key);
                out.extend(order.0.to_le_bytes());
                proof.iter().for_each(|proof| push_proof(out, proof));
                match settlement {
                    Settlement::Ended(end) => push_bytes(out, end.as_slice()),
                    Settlement::Refused(refusal) => push_refusal(out, refusal),
                }
            }
            Entry::Acknowledged { key } => {
                out.push(ACKNOWLEDGED);
                push_key(out, key);
            }
        }
    }

    fn read(reader: &mut ByteReader<'_>) -> Result<Entry, InvalidEntry> {
        let kind = reader.u8().ok_or(InvalidEntry::Malformed("kind"))?;
        let entry = match kind {
            TERM => read_term(reader).ok_or("term"),
            MARK => read_mark(reader).ok_or("mark"),
            CANCELLED_AHEAD => read_cancelled_ahead(reader).ok_or("cancelled order"),
            EVIDENCE => read_evidence(reader).ok_or("evidence"),
            STARTING | PROVEN_STARTING => {
                read_starting(reader, kind == PROVEN_STARTING).ok_or("starting attempt")
            }
            STARTED => read_started(reader).ok_or("started attempt"),
            CANCELLING => {
                reader.key().map(|key| Entry::Cancelling { key }).ok_or("cancelled attempt")
            }
            ENDED => read_settled(reader, true, false).ok_or("settled attempt"),
            REFUSED => read_settled(reader, false, false).ok_or("settled attempt"),
            PROVEN_ENDED => read_settled(reader, true, true).ok_or("settled attempt"),
            PROVEN_REFUSED => read_settled(reader, false, true).ok_or("settled attempt"),
            ACKNOWLEDGED => {
                reader.key().map(|key| Entry::Acknowledged { key }).ok_or("acknowledged attempt")
            }
            unknown => return Err(InvalidEntry::UnknownKind(unknown)),
        };
        entry.map_err(InvalidEntry::Malformed)
    }
}

fn read_term(reader: &mut ByteReader<'_>) -> Option<Entry> {
    Some(Entry::Term { store: StoreId(reader.array()?), term: Term(reader.u64()?) })
}

fn read_mark(reader: &mut ByteReader<'_>) -> Option<Entry> {
    Some(Entry::Mark { store: StoreId(reader.array()?), mark: reader.order()? })
}

fn read_cancelled_ahead(reader: &mut ByteReader<'_>) -> Option<Entry> {
    Some(Entry::CancelledAhead { store: StoreId(reader.array()?), order: reader.order()? })
}

fn read_evidence(reader: &mut ByteReader<'_>) -> Option<Entry> {
    let (store, order) = (StoreId(reader.array()?), reader.order()?);
    let attempted = Attempted { job: reader.job()?, attempt: reader.u32()? };
    let attempt = Some(attempted).filter(|attempted| attempted.attempt > 0);
    let proof = read_proof(reader)?;
    Some(Entry::Evidence { store, evidence: Evidence { order, attempt, proof } })
}

fn read_starting(reader: &mut ByteReader<'_>, is_proven: bool) -> Option<Entry> {
    let (key, order) = (reader.key()?, reader.order()?);
    let proof = if is_proven { Some(read_proof(reader)?) } else { None };
    Some(Entry::Starting { key, order, proof, plan: read_plan(reader)? })
}

fn read_started(reader: &mut ByteReader<'_>) -> Option<Entry> {
    Some(Entry::Started { key: reader.key()?, process: reader.process()? })
}

fn read_settled(reader: &mut ByteReader<'_>, ended: bool, is_proven: bool) -> Option<Entry> {
    let (key, order) = (reader.key()?, reader.order()?);
    let proof = if is_proven { Some(read_proof(reader)?) } else { None };
    let settlement = if ended {
        Settlement::Ended(EndBytes::new(reader.counted(limits::END_BYTES)?).ok()?)
    } else {
        Settlement::Refused(read_refusal(reader)?)
    };
    Some(Entry::Settled { key, order, proof, settlement })
}

fn push_plan(out: &mut Vec<u8>, plan: &Plan) {
    push_bytes(out, plan.score.as_str().as_bytes());
    out.extend(plan.timeout.0.to_le_bytes());
    out.push(match plan.interface {
        Interface::Env => 0,
        Interface::Pipe => 1,
    });
    out.push(plan.concurrency.is_some().into());
    out.extend(plan.concurrency.unwrap_or(0).to_le_bytes());
    out.push(plan.exclusive.into());
    // An empty path stands for none.
    push_bytes(out, plan.cgroup.as_ref().map_or("", CgroupPath::as_str).as_bytes());
}

fn read_plan(reader: &mut ByteReader<'_>) -> Option<Plan> {
    Some(Plan {
        score: ScoreName::new(reader.text(limits::NAME_BYTES)?).ok()?,
        timeout: Millis(reader.u64()?),
        interface: match reader.u8()? {
            0 => Interface::Env,
            1 => Interface::Pipe,
            _ => return None,
        },
        concurrency: match (reader.bool()?, reader.u32()?) {
            (true, most) => Some(most),
            (false, 0) => None,
            (false, _) => return None,
        },
        exclusive: reader.bool()?,
        cgroup: match reader.text(bounds::CGROUP_BYTES)? {
            "" => None,
            path => Some(CgroupPath::new(path)?),
        },
    })
}

fn push_refusal(out: &mut Vec<u8>, refusal: &Refusal) {
    let (reason, text) = match refusal {
        Refusal::UnknownScore => (1, None),
        Refusal::ScoreDisabled(why) => (2, Some(why)),
        Refusal::Parameters(why) => (3, Some(why)),
        Refusal::SpawnFailed(why) => (4, Some(why)),
        Refusal::Busy => (5, None),
        Refusal::Cancelled => (6, None),
        Refusal::Spool(why) => (7, Some(why)),
        Refusal::StaleTerm { .. } => (8, None),
        Refusal::AlreadyAcknowledged => (9, None),
        Refusal::Stopping => (10, None),
        Refusal::Limits(why) => (11, Some(why)),
        Refusal::Bundle(why) => (80, Some(why)),
        Refusal::Source(why) => (81, Some(why)),
        Refusal::Policy(why) => (90, Some(why)),
    };
    out.push(reason);
    if let Some(text) = text {
        push_bytes(out, text.as_bytes());
    }
    if let Refusal::StaleTerm { seen, .. } = refusal {
        out.extend(seen.0.to_le_bytes());
    }
}

fn read_refusal(reader: &mut ByteReader<'_>) -> Option<Refusal> {
    let reason = reader.u8()?;
    let mut text = || reader.text(bounds::REFUSAL_BYTES).map(str::to_owned);
    Some(match reason {
        1 => Refusal::UnknownScore,
        2 => Refusal::ScoreDisabled(text()?),
        3 => Refusal::Parameters(text()?),
        4 => Refusal::SpawnFailed(text()?),
        5 => Refusal::Busy,
        6 => Refusal::Cancelled,
        7 => Refusal::Spool(text()?),
        8 => Refusal::StaleTerm { seen: Term(reader.u64()?), evidence: None },
        9 => Refusal::AlreadyAcknowledged,
        10 => Refusal::Stopping,
        11 => Refusal::Limits(text()?),
        80 => Refusal::Bundle(text()?),
        81 => Refusal::Source(text()?),
        90 => Refusal::Policy(text()?),
        _ => return None,
    })
}

fn push_proof(out: &mut Vec<u8>, proof: &Proof) {
    out.extend(proof.term.0.to_le_bytes());
    out.extend(proof.mac.0);
}

fn read_proof(reader: &mut ByteReader<'_>) -> Option<Proof> {
    Some(Proof { term: Term(reader.u64()?), mac: Mac(reader.array()?) })
}
