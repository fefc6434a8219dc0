//! What the two threads of a launcher say, in any order.

use std::rc::Rc;

use rustix::{
    fd::AsFd,
    net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair},
    process::getpid,
};

use super::*;
use crate::sitter::launcher::{
    program::give,
    wire::{Keep, Ready},
    words::{Word, WordKind},
};

const TAP: TapId = TapId(7);
const READY: Word = Word { kind: WordKind::Ready, pid: 5 };

fn own_pidfd() -> OwnedFd {
    pidfd_open(getpid(), PidfdFlags::empty()).unwrap()
}

fn null() -> OwnedFd {
    File::open("/dev/null").unwrap().into()
}

/// Returns a launcher that was asked for one process, and the launcher's ends of the sockets.
fn asked() -> (Launcher<&'static str>, Sockets) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let pair = || socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    let ((launches, their_launches), (taps, their_taps)) = (pair(), pair());
    let (whose, page) = (Whose::Maker(None), shared_page().unwrap());
    let process = (getpid().as_raw_nonzero().get(), own_pidfd());
    let (sockets, now) = (Sockets { launches, taps }, BootMillis::now());
    let mut launcher = Launcher::new(whose, process, sockets, page, Token(1), now);
    let launch = Launch { number: 1, what: "run", tap: Some(TAP), reserve: Some(null()) };
    launcher.in_flight.push_back(launch);
    let held = Held {
        directory: Rc::new(null()),
        keep: Keep::First(1),
        ready: Ready::Unasked,
        adopting: false,
        unattended: false,
        closing: 0,
        discards: false,
        moves: 0,
    };
    launcher.taps.insert(TAP, held);
    (launcher, Sockets { launches: their_launches, taps: their_taps })
}

fn hears(launcher: &mut Launcher<&'static str>) -> Vec<String> {
    let poller = Poller::new().unwrap();
    let said = launcher.receive(&poller, &mut BTreeMap::new(), BootMillis::now());
    let word = |said| match said {
        Said::Launched(what, Launched::Born(_)) => format!("{what} is born"),
        Said::Launched(what, _) => format!("{what} is not born"),
        Said::Word(id, word) => format!("{} {:?} of {}", id.0, word.kind, word.pid),
        Said::Account(id, account) => format!("{} over: {}", id.0, account.over),
        Said::TakenOver(id) => format!("{} taken over", id.0),
    };
    said.into_iter().map(word).collect()
}

fn says(taps: &OwnedFd, words: Vec<(TapId, Word)>, accounts: Vec<(TapId, Account)>) {
    give(taps, &Answers { accounts, words, ..Answers::default() }, &[]).unwrap();
}

fn answers(launches: &OwnedFd, what: Came) {
    let answers = Answers { launches: vec![Answer { number: 1, what }], ..Answers::default() };
    give(launches, &answers, &[own_pidfd().as_fd()]).unwrap();
}

fn born() -> Came {
    Came::Born { pid: 5, seen: Some(Seen { executed: true, start_ticks: 1 }) }
}

#[test]
fn what_a_unit_says_before_its_launch_is_answered_is_heard_after_that() {
    let (mut launcher, theirs) = asked();
    let usec = |length| Word { kind: WordKind::WatchdogUsec(length), pid: 5 };
    says(&theirs.taps, vec![(TAP, READY), (TAP, usec(1))], Vec::new());
    says(&theirs.taps, vec![(TAP, usec(2))], Vec::new());
    assert_eq!(hears(&mut launcher), [] as [&str; 0], "whose it is, is not known yet");
    answers(&theirs.launches, born());
    let heard = ["run is born", "7 Ready of 5", "7 WatchdogUsec(2) of 5"];
    assert_eq!(hears(&mut launcher), heard);
    says(&theirs.taps, vec![(TAP, READY)], Vec::new());
    assert_eq!(hears(&mut launcher), ["7 Ready of 5"]);
}

#[test]
fn what_a_run_that_is_over_already_has_said_comes_before_its_end() {
    let (mut launcher, theirs) = asked();
    let over = Account { over: true, written: None };
    says(&theirs.taps, vec![(TAP, READY)], vec![(TAP, over)]);
    assert_eq!(hears(&mut launcher), [] as [&str; 0]);
    answers(&theirs.launches, born());
    assert_eq!(hears(&mut launcher), ["run is born", "7 Ready of 5", "7 over: true"]);
}

/// Of a socket whose other end was closed with something unread in it, the first thing that one hears is
/// that the connection is broken: unix(7) has ECONNRESET. What was sent before comes after that.
#[test]
fn an_answer_counts_although_the_launcher_has_ended_with_requests_unread() {
    let (mut launcher, theirs) = asked();
    send(&launcher.sockets.launches, b"another request", SendFlags::NOSIGNAL).unwrap();
    answers(&theirs.launches, born());
    drop(theirs);
    assert_eq!(hears(&mut launcher), ["run is born"]);
    assert!(launcher.in_flight.is_empty() && launcher.dying.is_some());
}

#[test]
fn nothing_is_heard_of_what_was_never_born() {
    let (mut launcher, theirs) = asked();
    says(&theirs.taps, vec![(TAP, READY)], Vec::new());
    assert_eq!(hears(&mut launcher), [] as [&str; 0]);
    answers(
        &theirs.launches,
        Came::Born { pid: 5, seen: Some(Seen { executed: false, start_ticks: 1 }) },
    );
    assert_eq!(hears(&mut launcher), ["run is not born"]);
}

#[test]
fn who_talks_without_end_before_that_is_kept_in_little_memory() {
    let (mut launcher, theirs) = asked();
    for pid in 0..200 {
        says(&theirs.taps, vec![(TAP, Word { pid, ..READY })], Vec::new());
        assert_eq!(hears(&mut launcher), [] as [&str; 0]);
    }
    answers(&theirs.launches, born());
    assert_eq!(hears(&mut launcher).len(), 1 + super::super::WORDS);
}
