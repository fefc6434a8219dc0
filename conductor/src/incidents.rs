//! What is recorded although nobody had anything done: refusals, and certificates that come and go.
//!
//! Whoever is refused may come again as often as they like, so what is recorded of them is bounded.
//! The first refusal of a kind is a line at once; those that follow within a minute are counted, and
//! are one line when it is over. A kind is who was refused what, and why. There is an allowance of
//! [`ALLOWANCE`] lines, to which one is added a minute; what finds none, or is of one kind too many, is
//! counted in one line a minute. So in the long run there are at most two lines a minute, about a
//! megabyte a day, whatever anybody does.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use orchestra_certs::{Claim, Identity, Peer, Sighting, Subject};
use orchestra_model::{
    HostName, HostSet,
    audit::{Asker, AuditEntry, Deed, Happening, Object, Verb},
};
use orchestra_policy::Denial;
use tokio::{
    sync::{Notify, oneshot, watch},
    time::{Instant, sleep_until},
};

use crate::driver::{Handle, Request};

/// How long refusals of one kind are counted.
const MINUTE: Duration = Duration::from_secs(60);
/// Most lines of refusals that are written before there are as few as the rules of this module say.
const ALLOWANCE: u32 = 240;
/// Most kinds of refusals that are told apart within a minute.
const KINDS: usize = 256;
/// Most identities of which it is remembered with which certificate they came.
const IDENTITIES: usize = 100_000;
/// Longest text of a line, in bytes; longer ones are cut.
const TEXT_BYTES: usize = 400;
/// Longest folded host set of a line, in bytes, which are ASCII; longer ones are cut.
const HOSTS_BYTES: usize = 4 << 10;

/// Where refusals and certificates are noted. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Incidents(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    tally: Mutex<Tally>,
    /// Notified when a line is to be written at once.
    ready: Notify,
}

impl Incidents {
    /// Notes that the policy denied something.
    pub(crate) fn denied(&self, denial: &Denial) {
        let on = denial.hosts.as_ref().map_or(Object::Conductor, of_hosts);
        let (by, deed) = (Asker::from(&denial.who), Deed::Denied(denial.right));
        let rule = denial.rule().map(|rule| Arc::from(rule.as_str()));
        let entry = AuditEntry::new(by, deed, on, cut(denial.shortly()));
        self.note(AuditEntry { rule, ..entry });
    }

    /// Notes that something could not be done which somebody may do.
    pub(crate) fn failed(&self, by: Asker, verb: Verb, why: &str) {
        let why = cut(why.to_owned());
        self.note(AuditEntry::new(by, Deed::Failed(verb), Object::Conductor, why));
    }

    /// Notes that the role of a peer's certificate may not make a call.
    pub(crate) fn call_refused(&self, peer: &Peer, path: &str) {
        let deed = Deed::Happened(Happening::CallRefused);
        let on = Object::Peer(peer.identity.to_string().into());
        let why = cut(format!("the role {} may not call {path}", peer.identity.role()));
        self.note(AuditEntry::new(by(&peer.identity), deed, on, why));
    }

    /// Notes what happened at the door.
    pub(crate) fn sighted(&self, sighting: &Sighting<'_>) {
        match sighting {
            Sighting::Entered(peer) => {
                let is_ready = self.lock().entered(peer);
                self.tell(is_ready);
            }
            Sighting::Ended(peer, why) => {
                let deed = Deed::Happened(Happening::CertificateWent);
                let on = Object::Peer(peer.identity.to_string().into());
                let what = cut(format!("serial {}: {why}", peer.serial));
                self.lock().known.remove(&peer.identity);
                self.note(AuditEntry::new(Asker::Keeper, deed, on, what));
            }
            Sighting::Refused { address, claim, why } => {
                self.note(stranger(address.ip(), *claim, &why.to_string()));
            }
        }
    }

    fn note(&self, entry: AuditEntry) {
        let is_ready = self.lock().note(entry);
        self.tell(is_ready);
    }

    fn tell(&self, is_ready: bool) {
        if is_ready {
            self.0.ready.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has lines written as they come, until the conductor stops; then those that are left.
    pub(crate) async fn run(self, driver: Handle, mut stopping: watch::Receiver<bool>) {
        let mut next = Instant::now() + MINUTE;
        loop {
            let stops = tokio::select! {
                () = self.0.ready.notified() => false,
                () = sleep_until(next) => false,
                // A closed channel means a stop too.
                _ = stopping.wait_for(|stopping| *stopping) => true,
            };
            let lines = {
                let mut tally = self.lock();
                if stops || next <= Instant::now() {
                    next = Instant::now() + MINUTE;
                    tally.end_minute();
                }
                std::mem::take(&mut tally.ready)
            };
            if !lines.is_empty() {
                let (reply, written) = oneshot::channel();
                if driver.requests.send(Request::Record(lines, reply)).await.is_err() {
                    return;
                }
                // While the store cannot be written, the driver keeps them.
                let _ = written.await;
            }
            if stops {
                return;
            }
        }
    }
}

/// Returns who somebody is, as far as that is a subject.
fn by(identity: &Identity) -> Asker {
    match &identity.subject {
        Subject::Audience(name) => Asker::Audience(name.clone()),
        Subject::Conductor(_) | Subject::Player(_) | Subject::Relay(_) => Asker::Stranger,
    }
}

/// Returns the entry of a connection that was refused.
fn stranger(address: IpAddr, claim: Option<&Claim>, why: &str) -> AuditEntry {
    let deed = Deed::Happened(Happening::CertificateRefused);
    let (on, what) = match claim {
        None => (address.to_string(), why.to_owned()),
        Some(Claim { identity, serial }) => {
            (identity.to_string(), format!("{why}; serial {serial}, from {address}"))
        }
    };
    AuditEntry::new(Asker::Stranger, deed, Object::Peer(cut(on)), cut(what))
}

fn of_hosts(hosts: &HostSet) -> Object {
    let folded = hosts.to_string();
    Object::Hosts(match folded.get(..HOSTS_BYTES) {
        Some(beginning) => format!("{beginning}…").into(),
        None => folded.into(),
    })
}

/// Cuts a text that is too long for a line.
fn cut(mut text: String) -> Arc<str> {
    if text.len() > TEXT_BYTES {
        let end = (0..=TEXT_BYTES).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or_default());
        text.push('…');
    }
    text.into()
}

/// What was noted within the present minute.
#[derive(Debug)]
struct Tally {
    /// Lines that are to be written.
    ready: Vec<AuditEntry>,
    /// How many lines may be written.
    allowance: u32,
    /// By kind, the newest refusal, which says how often there was one that is in no line.
    kinds: BTreeMap<(Asker, Deed, Arc<str>), AuditEntry>,
    /// Refusals that are in no line and of no kind.
    others: u64,
    /// With which certificates identities came, by serial number.
    known: HashMap<Identity, Arc<str>>,
    /// Players that came within this minute.
    players: Vec<HostName>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            ready: Vec::new(),
            allowance: ALLOWANCE,
            kinds: BTreeMap::new(),
            others: 0,
            known: HashMap::new(),
            players: Vec::new(),
        }
    }
}

impl Tally {
    /// Notes that something was refused. Returns whether a line is to be written at once.
    fn note(&mut self, entry: AuditEntry) -> bool {
        // What a refusal is about may be chosen by whoever is refused, and its reason hardly.
        let about = match &entry.on {
            Object::Peer(peer) => format!("{peer} {}", entry.answer).into(),
            _ => Arc::clone(&entry.answer),
        };
        let kind = (entry.by.clone(), entry.deed, about);
        if let Some(known) = self.kinds.get_mut(&kind) {
            *known = AuditEntry { times: known.times + entry.times, ..entry };
            return false;
        }
        if self.kinds.len() >= KINDS {
            self.others += entry.times;
            return false;
        }
        let mut counted = AuditEntry { times: 0, ..entry.clone() };
        let is_ready = self.pay();
        match is_ready {
            true => self.ready.push(entry),
            false => counted.times = entry.times,
        }
        self.kinds.insert(kind, counted);
        is_ready
    }

    /// Takes a line from the allowance, if there is one.
    fn pay(&mut self) -> bool {
        let left = self.allowance.checked_sub(1);
        self.allowance = left.unwrap_or_default();
        left.is_some()
    }

    /// Notes that a peer was let in, if it comes with another certificate than before. Returns whether
    /// a line is to be written at once.
    fn entered(&mut self, peer: &Peer) -> bool {
        if self.known.get(&peer.identity).is_some_and(|serial| *serial == peer.serial) {
            return false;
        }
        if self.known.len() >= IDENTITIES {
            self.known.clear();
        }
        self.known.insert(peer.identity.clone(), Arc::clone(&peer.serial));
        if let Subject::Player(host) = &peer.identity.subject {
            self.players.push(host.clone());
            return false;
        }
        let deed = Deed::Happened(Happening::CertificateCame);
        let on = Object::Peer(peer.identity.to_string().into());
        let what = format!("serial {}, from {}", peer.serial, peer.address.ip());
        self.note(AuditEntry::new(by(&peer.identity), deed, on, what))
    }

    /// Makes lines of what was counted in the minute that is over.
    fn end_minute(&mut self) {
        self.allowance = (self.allowance + 1).min(ALLOWANCE);
        if !self.players.is_empty() {
            let came = HostSet::from_names(std::mem::take(&mut self.players));
            let deed = Deed::Happened(Happening::CertificateCame);
            let what = format!("{} players", came.len());
            self.ready.push(AuditEntry::new(Asker::Keeper, deed, of_hosts(&came), what));
        }
        for (_, counted) in std::mem::take(&mut self.kinds) {
            match counted.times {
                0 => {}
                _ if self.pay() => self.ready.push(counted),
                times => self.others += times,
            }
        }
        if self.others > 0 {
            let deed = Deed::Happened(Happening::RefusalsFolded);
            let what = "refusals of more kinds than are told apart";
            let entry = AuditEntry::new(Asker::Keeper, deed, Object::Conductor, what);
            self.ready.push(AuditEntry { times: std::mem::take(&mut self.others), ..entry });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(from: u32) -> AuditEntry {
        stranger(IpAddr::from(from.to_be_bytes()), None, "the peer has no certificate")
    }

    fn lines(tally: &mut Tally) -> Vec<(String, u64)> {
        let lines = std::mem::take(&mut tally.ready).into_iter();
        lines.map(|line| (line.on.to_string(), line.times)).collect()
    }

    #[test]
    fn the_first_of_a_kind_is_told_at_once_and_others_are_counted() {
        let mut tally = Tally::default();
        assert!(tally.note(refused(1)));
        assert_eq!(lines(&mut tally), [("0.0.0.1".to_owned(), 1)]);
        for _ in 0..5 {
            assert!(!tally.note(refused(1)));
        }
        assert!(tally.note(refused(2)));
        assert_eq!(lines(&mut tally), [("0.0.0.2".to_owned(), 1)]);
        tally.end_minute();
        assert_eq!(lines(&mut tally), [("0.0.0.1".to_owned(), 5)]);
        tally.end_minute();
        assert_eq!(lines(&mut tally), []);
        assert!(tally.note(refused(1)), "the next minute begins anew");
    }

    /// Each refusal is counted in a line, and there are few lines, however many refusals.
    #[test]
    fn a_flood_of_refusals_is_few_lines_and_none_is_lost() {
        let (mut tally, mut told, mut counted, mut from) = (Tally::default(), 0, 0, 0);
        const MINUTES: u32 = 1_000;
        for _ in 0..MINUTES {
            for _ in 0..1_000 {
                from += 1;
                tally.note(refused(from));
                assert!(tally.kinds.len() <= KINDS);
            }
            tally.end_minute();
            let lines = lines(&mut tally);
            told += lines.len();
            counted += lines.iter().map(|(_, times)| times).sum::<u64>();
        }
        assert_eq!(counted, u64::from(MINUTES) * 1_000);
        assert!(told <= usize::try_from(ALLOWANCE + 2 * MINUTES).unwrap(), "{told}");
    }

    #[test]
    fn a_certificate_comes_once_and_players_together() {
        let mut tally = Tally::default();
        let peer = |uri: &str, serial: &str| Peer {
            identity: uri.parse().unwrap(),
            address: "127.0.0.1:7".parse().unwrap(),
            serial: serial.into(),
            surplus: None,
            outgoing: orchestra_certs::Outgoing::default(),
        };
        let alice = |serial| peer("spiffe://example.com/audience/alice", serial);
        assert!(tally.entered(&alice("1")));
        assert!(!tally.entered(&alice("1")));
        assert!(tally.entered(&alice("2")), "another certificate");
        for host in ["fe1", "fe3", "fe2", "fe1"] {
            let player = peer(&format!("spiffe://example.com/player/{host}"), "7");
            assert!(!tally.entered(&player));
        }
        tally.end_minute();
        let uri = "spiffe://example.com/audience/alice".to_owned();
        let all = [(uri.clone(), 1), (uri, 1), ("fe[1-3]".to_owned(), 1)];
        assert_eq!(lines(&mut tally), all);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(&*cut("short".to_owned()), "short");
        let long = cut("ä".repeat(TEXT_BYTES));
        assert!(long.len() <= TEXT_BYTES + '…'.len_utf8() && long.ends_with('…'));
    }
}
