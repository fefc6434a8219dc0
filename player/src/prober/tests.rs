//! A prober against small servers that behave in every way but well.

use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    os::unix::net::UnixListener,
    thread,
};

use orchestra_model::{
    Millis,
    service::{Probe, SocketName, Target},
};
use orchestra_units::{ProbeOutcome, bounds::TROUBLE_BYTES};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{Mode, OFlags},
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
};

use super::{Prober, wire};

/// A prober on a thread of its own, and the sitter's end of its socket.
struct Rig {
    socket: OwnedFd,
    asked: u64,
    /// Answers that came along with earlier ones.
    heard: VecDeque<(u64, ProbeOutcome)>,
}

impl Rig {
    fn new() -> Self {
        Rig::of(super::AT_ONCE)
    }

    fn of(at_once: usize) -> Self {
        let flags = SocketFlags::CLOEXEC;
        let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
        let (socket, theirs) = pair.unwrap();
        thread::spawn(move || {
            let mut prober = Prober::new(theirs, at_once).unwrap();
            while prober.turn().unwrap() {}
        });
        Rig { socket, asked: 0, heard: VecDeque::new() }
    }

    fn ask(&mut self, probe: &Probe, timeout: u64, dir: Option<BorrowedFd<'_>>) -> u64 {
        self.asked += 1;
        let bytes =
            wire::encode_question(self.asked, &wire::Call::of(probe).unwrap(), Millis(timeout));
        let descriptors: Vec<_> = dir.into_iter().collect();
        wire::send(&self.socket, &bytes, &descriptors).unwrap();
        self.asked
    }

    fn hear(&mut self) -> (u64, ProbeOutcome) {
        if self.heard.is_empty() {
            let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
            assert_eq!(poll(&mut fds, None), Ok(1));
            let mut inbox = wire::Inbox::new();
            let (bytes, _) = inbox.receive(&self.socket).unwrap().unwrap();
            self.heard.extend(wire::decode_answers(bytes).unwrap());
        }
        self.heard.pop_front().unwrap()
    }

    fn outcome(&mut self, probe: &Probe, timeout: u64) -> ProbeOutcome {
        let number = self.ask(probe, timeout, None);
        let (answered, outcome) = self.hear();
        assert_eq!(answered, number);
        outcome
    }
}

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn http(port: u16) -> Probe {
    Probe::http(&format!("{port}/healthz")).unwrap()
}

/// Starts a server that takes one connection, reads its request and calls `answer`. Returns its
/// port.
fn serve(answer: impl FnOnce(&mut std::net::TcpStream, String) + Send + 'static) -> u16 {
    let (listener, port) = listener();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte).unwrap() == 0 {
                break;
            }
            request.push(byte[0]);
        }
        answer(&mut stream, String::from_utf8(request).unwrap());
    });
    port
}

/// Reads until the other end is gone.
fn outlast(stream: &mut std::net::TcpStream) {
    let mut rest = [0; 64];
    while stream.read(&mut rest).is_ok_and(|length| length > 0) {}
}

fn unhealthy(why: &str) -> ProbeOutcome {
    ProbeOutcome::Unhealthy(why.to_owned())
}

#[test]
fn a_port_that_is_listened_at_is_enough_for_tcp() {
    let mut rig = Rig::new();
    let (listener, port) = listener();
    assert_eq!(rig.outcome(&Probe::Tcp(Target::Port(port)), 60_000), ProbeOutcome::Healthy);
    drop(listener);
    let refused = unhealthy("connection refused");
    assert_eq!(rig.outcome(&Probe::Tcp(Target::Port(port)), 60_000), refused);
    assert_eq!(rig.outcome(&http(port), 60_000), refused);
}

#[test]
fn an_answer_over_http_is_healthy_by_its_status() {
    let mut rig = Rig::new();
    let port = serve(|stream, request| {
        assert!(request.starts_with("GET /healthz HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("\r\nConnection: close\r\n"), "{request}");
        // In pieces.
        for piece in ["HTTP/1.1 2", "00 OK\r", "\n\r\n", "body"] {
            let _ = stream.write_all(piece.as_bytes());
        }
    });
    assert_eq!(rig.outcome(&http(port), 60_000), ProbeOutcome::Healthy);
    let port = serve(|stream, _| {
        stream.write_all(b"HTTP/1.1 503 no\r\n\r\n").unwrap();
        outlast(stream);
    });
    assert_eq!(rig.outcome(&http(port), 60_000), unhealthy("HTTP status 503"));
}

#[test]
fn whoever_closes_or_never_ends_its_header_is_unhealthy() {
    let mut rig = Rig::new();
    let port = serve(|_, _| {});
    let why = "the connection was closed without an answer";
    assert_eq!(rig.outcome(&http(port), 60_000), unhealthy(why));
    let port = serve(|stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(b"X: 12345678\r\n").is_ok() {}
    });
    let why = "the answer's header has no end within 4 KiB";
    assert_eq!(rig.outcome(&http(port), 60_000), unhealthy(why));
}

#[test]
fn whoever_is_silent_is_unhealthy_after_its_timeout_and_delays_nobody() {
    let mut rig = Rig::new();
    let port = serve(|stream, _| outlast(stream));
    let slow = rig.ask(&http(port), 400, None);
    let (_listener, port) = listener();
    let quick = rig.ask(&Probe::Tcp(Target::Port(port)), 60_000, None);
    assert_eq!(rig.hear(), (quick, ProbeOutcome::Healthy));
    let (number, outcome) = rig.hear();
    assert_eq!(number, slow);
    // On a host without a free processor the outcome may be unknown.
    let silent = unhealthy("no answer within 400 ms");
    assert!(outcome == silent || outcome == ProbeOutcome::Unknown, "{outcome:?}");
}

#[test]
fn a_socket_in_the_run_directory_is_asked_and_no_link_is_followed() {
    let mut rig = Rig::new();
    let home = tempfile::tempdir().unwrap();
    let run = home.path().join("run");
    std::fs::create_dir(&run).unwrap();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(&run, flags, Mode::empty()).unwrap();
    let mut ask = |name: &str| {
        let probe = Probe::Tcp(Target::Unix(SocketName::new(name).unwrap()));
        rig.ask(&probe, 60_000, Some(dir.as_fd()));
        rig.hear().1
    };
    let inside = UnixListener::bind(run.join("web.sock")).unwrap();
    let _outside = UnixListener::bind(home.path().join("other.sock")).unwrap();
    std::os::unix::fs::symlink("../other.sock", run.join("link")).unwrap();
    std::fs::write(run.join("file"), "").unwrap();
    assert_eq!(ask("web.sock"), ProbeOutcome::Healthy);
    assert_eq!(ask("none"), unhealthy("entity not found"));
    assert_eq!(ask("link"), unhealthy("what has the socket's name is no socket"));
    assert_eq!(ask("file"), unhealthy("what has the socket's name is no socket"));
    // A socket at which nobody listens any more.
    drop(inside);
    assert_eq!(ask("web.sock"), unhealthy("connection refused"));
}

#[test]
fn more_questions_than_may_be_open_are_unknown() {
    let mut rig = Rig::of(1);
    let port = serve(|stream, _| outlast(stream));
    let first = rig.ask(&http(port), 500, None);
    let (_listener, other) = listener();
    let second = rig.ask(&Probe::Tcp(Target::Port(other)), 60_000, None);
    assert_eq!(rig.hear(), (second, ProbeOutcome::Unknown));
    assert_eq!(rig.hear().0, first);
    assert_eq!(rig.outcome(&Probe::Tcp(Target::Port(other)), 60_000), ProbeOutcome::Healthy);
}

#[test]
fn whoever_looks_half_a_timeout_too_late_knows_nothing() {
    let (_listener, port) = listener();
    let question = wire::encode_question(1, &wire::Call::of(&http(port)).unwrap(), Millis(100));
    let question = wire::Question::decode((&question, None)).unwrap();
    let poller = super::Poller::new().unwrap();
    let one = super::One::begin(question, &poller, super::Token(1));
    let one = one.unwrap_or_else(|outcome| panic!("{outcome:?}"));
    let outcome = |late| one.too_late(one.deadline.after(late));
    assert_eq!(outcome(49), unhealthy("no answer within 100 ms"));
    assert_eq!(outcome(50), ProbeOutcome::Unknown);
}

#[test]
fn answers_go_together_as_far_as_they_fit() {
    let mut answers = wire::Answers::default();
    assert!(answers.is_empty());
    let long = unhealthy(&"x".repeat(TROUBLE_BYTES));
    let all =
        [ProbeOutcome::Healthy, long.clone(), ProbeOutcome::Unknown, long.clone(), long.clone()];
    for (number, outcome) in (1..).zip(&all) {
        assert!(answers.add(number, outcome), "{number}");
    }
    assert!(!answers.add(6, &long));
    let decoded = wire::decode_answers(&answers.take()).unwrap();
    assert_eq!(decoded, (1..).zip(all).collect::<Vec<_>>());
    assert!(answers.is_empty());
    assert_eq!(wire::decode_answers(b"no answers"), None);
}
