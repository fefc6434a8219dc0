//! Counts of what each name has under way, and of what all have.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use orchestra_certs::Identity;
use tokio::sync::{OwnedSemaphorePermit as Permit, Semaphore};
use tonic::Status;

use super::calls::{Answers, Call};

/// Most calls of one name, from the first byte of the request to the last of the answer. Each takes
/// a few kilobytes, and a pipeline may wait for hundreds of flows with one certificate.
const CALLS: usize = 1_024;
/// Most watches of one name, and of all. For a watch that is not read the conductor keeps up to a
/// thousand events.
const WATCHES: usize = 256;
const WATCHES_IN_ALL: usize = 4_096;
/// Most answers of megabytes, of one name and of all, that are being made or wait to be read, as in
/// a pager that was left open.
const ANSWERS: usize = 32;
const ANSWERS_IN_ALL: usize = 512;
/// Most bytes of larger requests of one name, and of all: room for the four largest requests of
/// each of four names.
const ROOM: usize = 32 << 20;
const ROOM_IN_ALL: usize = 128 << 20;
/// Requests up to this many bytes do not count against the room, so that small questions do not
/// wait for uploads. The most calls of a name with such requests take less than the room of one
/// name.
pub(super) const SMALL: usize = 32 << 10;
/// Most calls of one name, and of all, that do long work. It takes a processor's time and, for a
/// million hosts, hundreds of megabytes; more at once would make each call slower.
const WORK: usize = 2;
const WORK_IN_ALL: usize = 4;
/// Most calls of one name that have done their work and wait for the disk.
const SETTLING: usize = 64;
/// From so many accounts on, those of names that have nothing under way are removed.
const MANY: usize = 1_024;

/// The accounts of all names.
#[derive(Clone, Debug)]
pub(super) struct Accounts(Arc<All>);

#[derive(Debug)]
struct All {
    by_name: Mutex<HashMap<Identity, Arc<Account>>>,
    together: Arc<Together>,
}

/// What all names share.
#[derive(Debug)]
struct Together {
    watches: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    room: Arc<Semaphore>,
    work: Arc<Semaphore>,
}

/// What one name has left.
#[derive(Debug)]
pub(super) struct Account {
    calls: Arc<Semaphore>,
    watches: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    room: Arc<Semaphore>,
    work: Arc<Semaphore>,
    settling: Arc<Semaphore>,
    together: Arc<Together>,
}

/// A permit of a name, and one of all.
pub(super) type Both = [Permit; 2];

/// A turn to work.
#[derive(Debug)]
pub(super) struct Work {
    _turn: Both,
}

/// What a call keeps until its answer was read, or its reader is gone.
#[derive(Debug, Default)]
pub(super) struct Kept {
    _call: Option<Permit>,
    _watch: Option<Both>,
    pub(super) answer: Option<Both>,
    pub(super) settling: Option<Permit>,
    pub(super) room: Option<Both>,
}

/// What a call waits for.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) answer: Option<Both>,
    pub(super) settling: Option<Permit>,
    pub(super) work: Option<Work>,
}

impl Default for Accounts {
    fn default() -> Self {
        let of = |most| Arc::new(Semaphore::new(most));
        let together = Together {
            watches: of(WATCHES_IN_ALL),
            answers: of(ANSWERS_IN_ALL),
            room: of(ROOM_IN_ALL),
            work: of(WORK_IN_ALL),
        };
        Self(Arc::new(All { by_name: Mutex::default(), together: Arc::new(together) }))
    }
}

impl Accounts {
    /// The account of a name.
    pub(super) fn of(&self, who: &Identity) -> Arc<Account> {
        let mut accounts = self.0.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.get(who) {
            return Arc::clone(account);
        }
        if accounts.len() >= MANY {
            accounts.retain(|_, account| account.has_anything());
        }
        let account = Arc::new(Account::new(Arc::clone(&self.0.together)));
        accounts.insert(who.clone(), Arc::clone(&account));
        account
    }
}

#[cfg(test)]
impl Accounts {
    /// How many names there are.
    pub(super) fn len(&self) -> usize {
        self.0.by_name.lock().unwrap().len()
    }
}

impl Account {
    fn new(together: Arc<Together>) -> Self {
        let of = |most| Arc::new(Semaphore::new(most));
        Self {
            calls: of(CALLS),
            watches: of(WATCHES),
            answers: of(ANSWERS),
            room: of(ROOM),
            work: of(WORK),
            settling: of(SETTLING),
            together,
        }
    }

    fn has_anything(&self) -> bool {
        self.calls.available_permits() < CALLS
    }

    /// Counts one more call, if there is room for it at once.
    pub(super) fn enter(&self, name: &str, call: &Call) -> Result<Kept, Status> {
        let full = |what: String| Status::resource_exhausted(what);
        let one = Arc::clone(&self.calls).try_acquire_owned().map_err(|_| {
            full(format!(
                "{name} has {CALLS} calls under way, the most that one name may have: wait for some, \
                 or give each program a certificate of its own"
            ))
        })?;
        let watch = match call.answer {
            Answers::Watch => {
                let own = Arc::clone(&self.watches).try_acquire_owned().map_err(|_| {
                    full(format!(
                        "{name} watches {WATCHES} flows, the most that one name may: end some, or \
                         give each program a certificate of its own"
                    ))
                })?;
                let all = Arc::clone(&self.together.watches).try_acquire_owned().map_err(|_| {
                    full(format!(
                        "{WATCHES_IN_ALL} flows are watched, the most there may be: come again later"
                    ))
                })?;
                Some([own, all])
            }
            Answers::Small | Answers::Large => None,
        };
        Ok(Kept { _call: Some(one), _watch: watch, ..Kept::default() })
    }

    /// Waits for room for so many bytes.
    pub(super) async fn room(&self, bytes: usize) -> Option<Both> {
        if bytes <= SMALL {
            return None;
        }
        // No request is larger than the room of a name.
        let bytes = u32::try_from(bytes.min(ROOM)).unwrap_or(u32::MAX);
        both(&self.room, &self.together.room, bytes).await
    }

    /// Waits for the permits that a call needs.
    pub(super) async fn places(&self, call: &Call) -> Places {
        let answer = match call.answer {
            Answers::Large => both(&self.answers, &self.together.answers, 1).await,
            Answers::Small | Answers::Watch => None,
        };
        if !call.works {
            return Places { answer, settling: None, work: None };
        }
        let settling = Arc::clone(&self.settling).acquire_owned().await.ok();
        let turn = both(&self.work, &self.together.work, 1).await;
        Places { answer, settling, work: turn.map(|turn| Work { _turn: turn }) }
    }
}

/// Waits for a permit of the name first, so that a name that waits for itself holds no permit of
/// all. These semaphores are never closed.
async fn both(own: &Arc<Semaphore>, all: &Arc<Semaphore>, number: u32) -> Option<Both> {
    let own = Arc::clone(own).acquire_many_owned(number).await.ok()?;
    let all = Arc::clone(all).acquire_many_owned(number).await.ok()?;
    Some([own, all])
}
