//! A player's directory, a sitter on it, and the agent's end of its socket in the test's hand.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fs,
    io::{ErrorKind, IoSliceMut, Read},
    mem::MaybeUninit,
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use bytes::Bytes;
use orchestra_ca::{Ca, Terms};
use orchestra_certs::Subject;
pub(crate) use orchestra_harness::eventually;
use orchestra_harness::{Config, Lifeline, Names, PATIENCE};
use orchestra_link::ipc::{Inbox, Outbox, ReceiveError, ToAgent, ToSitter};
use orchestra_model::{
    FlowId, HostName, JobId,
    delivery::{
        AgentSession, AttemptEnd, AttemptKey, OrderNumber, Outcome, PlayerSnapshot, Refusal,
        Report, StoreId, Term,
    },
    score::BuiltIn,
    service::{Leases, LogPart, ReadingId, UnitReport},
    vitals::VitalsBatch,
};
use orchestra_proto::{
    RawSnapshot, batch_from_wire, decode_end, log_part_from_wire, scores_from_wire,
    snapshot_from_wire, v1,
};
use prost::Message;
use rustix::{
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
    process::{Pid, Signal, kill_process},
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// Whose orders the tests give.
pub(crate) const STORE: StoreId = StoreId([7; 16]);
/// The player's name.
pub(crate) const PLAYER: &str = "db1.example.com";
/// Who is who.
const NAMES: Names<'_> = Names { conductor: "c1.example.com", domain: "example.com" };

/// Whether the tests may become other users, make cgroups and mount.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a process of this number lives.
pub(crate) fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// The socket that an agent sends of its own.
fn handed_over(agent: &UnixStream) -> UnixStream {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let into = &mut [IoSliceMut::new(&mut byte)];
    recvmsg(agent, into, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let sent = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
        _ => None,
    });
    sent.unwrap().into()
}

pub(crate) struct World {
    dir: TempDir,
    config: RefCell<Config>,
    listener: UnixListener,
    sitter: RefCell<Option<Sitter>>,
    link: RefCell<Option<Link>>,
    last_order: Cell<u64>,
    /// Reports that came while another was waited for.
    reports: RefCell<Vec<Report<AttemptEnd>>>,
    /// What was told of units, in order.
    unit_reports: RefCell<Vec<UnitReport>>,
    /// What came of logs, in order.
    log_parts: RefCell<Vec<(ReadingId, LogPart)>>,
    /// What was told of what is used, in order.
    vitals: RefCell<VecDeque<VitalsBatch>>,
    /// Leases that were asked for, in order.
    leases: RefCell<VecDeque<Leases>>,
    /// Whether those are granted as soon as they are heard.
    pub(crate) grants: Cell<bool>,
    /// What a sitter is started through, before its own program and arguments.
    wrapper: RefCell<Vec<String>>,
}

struct Sitter {
    child: Child,
    lifeline: Option<Lifeline>,
}

struct Link {
    /// The agent's end of its socket to the sitter. It has one too, and does not read it.
    socket: UnixStream,
    /// The agent lives while this is open.
    _agent: UnixStream,
    inbox: Inbox<ToAgent>,
    session: AgentSession,
}

impl World {
    /// A world without a sitter. `max_tasks` is 16, the grace 1 s.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let domain = HostName::new(NAMES.domain).unwrap();
        let ca = Ca::init(&dir.path().join("ca"), &domain).unwrap();
        let subject = Subject::Player(HostName::new(PLAYER).unwrap());
        ca.save(&[ca.issue(&subject, &Terms::default()).unwrap()], false).unwrap();
        fs::create_dir(dir.path().join("scores")).unwrap();
        fs::create_dir(dir.path().join("out")).unwrap();
        let listener = UnixListener::bind(dir.path().join("agent.sock")).unwrap();
        listener.set_nonblocking(true).unwrap();
        let [scores, spool, run] = ["scores", "spool", "run"].map(|name| dir.path().join(name));
        let files = ca.files(&subject);
        // Nobody listens there: agents talk to the test.
        let config = Config::of_player(NAMES, "127.0.0.1:1", &scores, &spool)
            .with("run_dir", run)
            .with("max_tasks", 16)
            .with("kill_grace", "1s")
            .tls(files.ca, files.cert, files.key);
        World {
            dir,
            config: RefCell::new(config),
            listener,
            sitter: RefCell::default(),
            link: RefCell::default(),
            last_order: Cell::new(0),
            reports: RefCell::default(),
            unit_reports: RefCell::default(),
            log_parts: RefCell::default(),
            vitals: RefCell::default(),
            leases: RefCell::default(),
            grants: Cell::default(),
            wrapper: RefCell::default(),
        }
    }

    /// Sets a line of the configuration; the next sitter reads it.
    pub(crate) fn set(&self, key: &str, value: impl Into<String>) {
        self.config.borrow_mut().set(key, value);
    }

    /// Has the next sitters started as `wrapper PROGRAM ARGUMENTS`.
    pub(crate) fn start_through(&self, wrapper: &[&str]) {
        *self.wrapper.borrow_mut() = wrapper.iter().map(|&word| word.to_owned()).collect();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Waits until a launcher has moved this text, which an attempt wrote first, into a file of the
    /// spool. What is still in a pipe may go with whoever has that open.
    pub(crate) fn wait_kept(&self, text: &str) {
        let attempts = self.path("spool").join("attempts");
        eventually(&format!("{text:?} to be kept"), || {
            let directories = fs::read_dir(&attempts).ok()?.flatten();
            let files = directories.filter_map(|entry| fs::read_dir(entry.path()).ok()).flatten();
            let starts = |path: PathBuf| {
                // Pipes lie beside the files, and reading one would wait.
                let is_file = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file());
                is_file && fs::read(path).is_ok_and(|bytes| bytes.starts_with(text.as_bytes()))
            };
            files.flatten().any(|file| starts(file.path())).then_some(())
        });
    }

    /// A file that scores write for the test to see.
    pub(crate) fn out(&self, name: &str) -> PathBuf {
        self.path("out").join(name)
    }

    /// What a score wrote to a file, once there is a whole line of it: between the making of a file and
    /// the writing, it is empty.
    pub(crate) fn text_in(&self, name: &str) -> String {
        eventually(name, || {
            fs::read_to_string(self.out(name)).ok().filter(|text| text.ends_with('\n'))
        })
    }

    /// The number that a score wrote to a file, once it is there.
    pub(crate) fn number_in(&self, name: &str) -> i32 {
        eventually(name, || fs::read_to_string(self.out(name)).ok()?.trim_end().parse().ok())
    }

    /// Makes a FIFO among the files for the test: who reads it waits for [`World::open_gate`].
    pub(crate) fn gate(&self, name: &str) {
        let mode = rustix::fs::Mode::from_raw_mode(0o666);
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, self.out(name), fifo, mode, 0).unwrap();
    }

    /// Makes the score `leave`. It leaves a daemon with its output, which says its number in `daemon`,
    /// waits at the gate `go`, writes 300,000 bytes, says so in `written`, and stays.
    pub(crate) fn score_that_leaves_a_daemon(&self) {
        self.gate("go");
        self.score(
            "leave",
            "(setsid sh -c 'echo $$ > $OUT/daemon; cat $OUT/go; head -c 300000 /dev/zero\n\
             echo 1 > $OUT/written; exec sleep 1000' &)\n\
             while [ ! -s $OUT/daemon ]; do sleep 0.01; done",
        );
    }

    /// Lets whoever waits at a gate go on; waits until somebody does.
    pub(crate) fn open_gate(&self, name: &str) {
        let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
        let none = rustix::fs::Mode::empty();
        eventually(name, || rustix::fs::open(self.out(name), flags, none).ok());
    }

    /// Installs a shell script. `OUT` in it is where files for the test go.
    pub(crate) fn score(&self, name: &str, script: &str) {
        let out = self.path("out");
        self.file(
            name,
            &format!("#!/bin/sh\nexport OUT={}\n{script}\n", out.to_str().unwrap()),
            0o755,
        );
    }

    /// Installs any file among the scores.
    pub(crate) fn file(&self, name: &str, text: &str, mode: u32) {
        let path = self.path("scores").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Starts a sitter and attaches to it.
    pub(crate) fn start(&self) -> PlayerSnapshot {
        self.start_unattached();
        self.attach()
    }

    pub(crate) fn start_unattached(&self) {
        let lifeline = Lifeline::new().unwrap();
        let child = self.command(&lifeline).spawn().unwrap();
        *self.sitter.borrow_mut() = Some(Sitter { child, lifeline: Some(lifeline) });
        *self.link.borrow_mut() = None;
    }

    /// Starts a sitter that is expected to fail, and returns what it said.
    pub(crate) fn start_in_vain(&self) -> String {
        let lifeline = Lifeline::new().unwrap();
        let output = self.command(&lifeline).stderr(Stdio::piped()).output().unwrap();
        assert!(!output.status.success(), "it did not fail");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn command(&self, lifeline: &Lifeline) -> Command {
        self.config.borrow().write(&self.path("player.toml")).unwrap();
        let mut words = self.wrapper.borrow().clone();
        words.push(std::env::current_exe().unwrap().to_str().unwrap().to_owned());
        words
            .extend(["--config".to_owned(), self.path("player.toml").to_str().unwrap().to_owned()]);
        words.extend(lifeline.arguments());
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        // What a sitter was given must not reach a score.
        command.env("LD_LIBRARY_PATH", "/nonexistent").env("SECRET_OF_THE_SITTER", "x");
        command
    }

    /// The sitter's process.
    pub(crate) fn pid(&self) -> i32 {
        self.sitter.borrow().as_ref().unwrap().child.id() as i32
    }

    /// The agent that runs now.
    pub(crate) fn agent(&self) -> Pid {
        let parent = format!("PPid:\t{}\n", self.pid());
        let is_agent = |pid: &i32| {
            let of = |name| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
            of("status").contains(&parent) && of("cmdline").contains("\0agent\0--config\0")
        };
        eventually("an agent", || {
            let names = fs::read_dir("/proc").unwrap().flatten();
            let mut pids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
            pids.find(is_agent).and_then(Pid::from_raw)
        })
    }

    /// Sends the sitter a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid()).unwrap(), signal).unwrap();
    }

    /// Waits until the sitter has ended.
    pub(crate) fn wait(&self) {
        let Sitter { mut child, lifeline } = self.sitter.take().unwrap();
        eventually("the end of the sitter", || child.try_wait().unwrap());
        drop(lifeline);
    }

    /// Kills the sitter as a crash would, without a chance to do anything.
    pub(crate) fn crash(&self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    /// Ends the lifeline and waits until the sitter has ended by it.
    pub(crate) fn cut_lifeline(&self) {
        let lifeline = self.sitter.borrow_mut().as_mut().and_then(|sitter| sitter.lifeline.take());
        drop(lifeline);
        self.wait();
    }

    /// Takes the next agent's connection and opens a session on it.
    pub(crate) fn attach(&self) -> PlayerSnapshot {
        let agent = eventually("an agent", || self.listener.accept().ok()).0;
        agent.set_nonblocking(false).unwrap();
        agent.set_read_timeout(Some(PATIENCE)).unwrap();
        let socket = handed_over(&agent);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        *self.link.borrow_mut() =
            Some(Link { socket, _agent: agent, inbox: Inbox::default(), session: AgentSession(0) });
        self.attach_again()
    }

    /// Opens another session on the same connection.
    pub(crate) fn attach_again(&self) -> PlayerSnapshot {
        let session = {
            let mut link = self.link.borrow_mut();
            let link = link.as_mut().unwrap();
            link.session.0 += 1;
            link.session
        };
        self.say(ToSitter::Open { session });
        let snapshot = loop {
            match self.hear() {
                ToAgent::Snapshot { session: of, bytes } if of == session => break bytes,
                _ => {}
            }
        };
        self.say(ToSitter::Welcomed { session, store: STORE, term: Term(1) });
        let snapshot = RawSnapshot::decode(snapshot).unwrap();
        let mut snapshot = snapshot_from_wire(&snapshot, STORE, scores_from_wire).unwrap();
        // Those that have files: every player has the others.
        let scores = snapshot.scores.iter().filter(|offer| BuiltIn::of(&offer.name).is_none());
        snapshot.scores = scores.cloned().collect();
        snapshot
    }

    /// Waits until the sitter has scanned its scores anew, and asked for a new session for that.
    pub(crate) fn hear_of_a_scan(&self) {
        while !matches!(self.hear(), ToAgent::Reattach { .. }) {}
        self.attach_again();
    }

    pub(crate) fn hear(&self) -> ToAgent {
        let mut link = self.link.borrow_mut();
        let link = link.as_mut().unwrap();
        match link.inbox.receive(&mut link.socket) {
            Ok(Some(frame)) => frame,
            Ok(None) => panic!("the agent ended: {}", self.log()),
            Err(ReceiveError::Read(error)) => panic!("nothing came: {error}\n{}", self.log()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Waits until the sitter has closed the present agent's connection.
    pub(crate) fn hear_the_end(&self) {
        let mut link = self.link.borrow_mut().take().unwrap();
        let mut bytes = [0; 4096];
        loop {
            match link.socket.read(&mut bytes) {
                Ok(1..) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    panic!("no end came: {error}\n{}", self.log());
                }
                Ok(0) | Err(_) => return,
            }
        }
    }

    pub(crate) fn say(&self, frame: ToSitter) {
        let mut outbox = Outbox::default();
        outbox.push(frame).unwrap();
        let mut link = self.link.borrow_mut();
        outbox.flush(&mut link.as_mut().unwrap().socket).unwrap();
    }

    /// Bytes that are no frame.
    pub(crate) fn say_nonsense(&self) {
        let mut link = self.link.borrow_mut();
        std::io::Write::write_all(&mut link.as_mut().unwrap().socket, &[0xff; 64]).unwrap();
    }

    /// Opens session after session and reads nothing, until the agent is gone.
    pub(crate) fn ask_without_reading(&self) {
        let mut link = self.link.borrow_mut().take().unwrap();
        for session in 100.. {
            let mut outbox = Outbox::default();
            outbox.push(ToSitter::Open { session: AgentSession(session) }).unwrap();
            if outbox.flush(&mut link.socket).is_err() {
                return;
            }
        }
    }

    /// Forgets reports that nobody waited for.
    pub(crate) fn forget_reports(&self) {
        self.reports.borrow_mut().clear();
    }

    pub(crate) fn command_bytes(&self, bytes: Vec<u8>) {
        let session = self.link.borrow().as_ref().unwrap().session;
        self.say(ToSitter::Command { session, bytes: bytes.into() });
    }

    pub(crate) fn say_command(&self, kind: v1::command::Kind) {
        let store_id = Bytes::copy_from_slice(&STORE.0);
        self.command_bytes(v1::Command { store_id, term: 1, kind: Some(kind) }.encode_to_vec());
    }

    /// Orders a first attempt of a fresh job.
    pub(crate) fn order(&self, score: &str, params: &[(&str, &str)]) -> AttemptKey {
        self.order_for(score, params, None)
    }

    pub(crate) fn order_for(
        &self,
        score: &str,
        params: &[(&str, &str)],
        timeout: Option<Duration>,
    ) -> AttemptKey {
        let key = self.fresh_key();
        let number = key.job.flow.0;
        self.send_order(score, params, timeout, key, number);
        key
    }

    /// Of a first attempt of a fresh job, whose flow has the number that its order is to have.
    pub(crate) fn fresh_key(&self) -> AttemptKey {
        let number = self.last_order.get() + 1;
        self.last_order.set(number);
        let job = JobId { flow: FlowId(number), slot: 1, job: 2 };
        AttemptKey { store: STORE, job, attempt: 1 }
    }

    /// Says the very same order once more.
    pub(crate) fn repeat_order(&self, score: &str, key: AttemptKey) {
        self.send_order(score, &[], None, key, key.job.flow.0);
    }

    fn send_order(
        &self,
        score: &str,
        params: &[(&str, &str)],
        timeout: Option<Duration>,
        key: AttemptKey,
        number: u64,
    ) {
        let body = v1::JobBody {
            job: Some(key.job.into()),
            name: "job-name".to_owned(),
            score: score.to_owned(),
            audience: "alice".to_owned(),
            params: params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            unit: None,
            seal: Bytes::new(),
        };
        self.send_body(&body, timeout, key, number, (0, 0));
    }

    /// Sends a job part and an order for it; `instance`: ordinal and placement.
    pub(crate) fn send_body(
        &self,
        body: &v1::JobBody,
        timeout: Option<Duration>,
        key: AttemptKey,
        number: u64,
        instance: (u32, u64),
    ) {
        let body: Bytes = body.encode_to_vec().into();
        let digest = Bytes::copy_from_slice(&Sha256::digest(&body));
        let part = v1::JobPart { digest: digest.clone(), body, signature: Bytes::new() };
        self.say_command(v1::command::Kind::Job(part));
        self.say_command(v1::command::Kind::Order(v1::Order {
            number,
            key: Some(key.into()),
            job_digest: digest,
            timeout_ms: timeout.map(|timeout| timeout.as_millis() as u64),
            mac: Bytes::new(),
            ordinal: instance.0,
            placement: instance.1,
            tree: None,
        }));
    }

    pub(crate) fn cancel(&self, key: AttemptKey) {
        let (order, key) = (key.job.flow.0, Some(key.into()));
        self.say_command(v1::command::Kind::Cancel(v1::Cancel { key, order, mac: Bytes::new() }));
    }

    pub(crate) fn acknowledge(&self, key: AttemptKey) {
        let (order, key) = (key.job.flow.0, Some(key.into()));
        self.say_command(v1::command::Kind::Acknowledge(v1::Acknowledge { key, order }));
    }

    /// The next report of an attempt.
    pub(crate) fn report(&self, key: AttemptKey) -> Report<AttemptEnd> {
        loop {
            let mut reports = self.reports.borrow_mut();
            if let Some(index) = reports.iter().position(|report| report.key() == key) {
                return reports.remove(index);
            }
            drop(reports);
            self.take_in_a_report();
        }
    }

    /// Keeps the next report for whoever waits for it.
    fn take_in_a_report(&self) {
        use v1::report::Kind;
        let ToAgent::Report { bytes, .. } = self.hear() else { return };
        let report = v1::Report::decode(bytes).unwrap();
        match report.kind {
            Some(Kind::Unit(unit)) => {
                self.unit_reports.borrow_mut().push((&unit).try_into().unwrap());
            }
            Some(Kind::Log(part)) => {
                self.log_parts.borrow_mut().push(log_part_from_wire(part).unwrap());
            }
            Some(Kind::Vitals(batch)) => {
                self.vitals.borrow_mut().push_back(batch_from_wire(&batch).unwrap());
            }
            Some(Kind::Leases(asked)) => {
                if self.grants.get() {
                    self.say_command(v1::command::Kind::Leases(asked.clone()));
                }
                self.leases.borrow_mut().push_back((&asked).try_into().unwrap());
            }
            _ => {
                let report = Report::try_from(report).unwrap();
                let report = report.try_map(|end| decode_end(&end)).unwrap();
                self.reports.borrow_mut().push(report);
            }
        }
    }

    /// The leases that are asked for next.
    pub(crate) fn leases(&self) -> Leases {
        loop {
            if let Some(asked) = self.leases.borrow_mut().pop_front() {
                return asked;
            }
            self.take_in_a_report();
        }
    }

    /// Forgets what leases were asked for until now.
    pub(crate) fn forget_leases(&self) {
        self.leases.borrow_mut().clear();
    }

    /// What is told next of what is used.
    pub(crate) fn vitals(&self) -> VitalsBatch {
        loop {
            if let Some(batch) = self.vitals.borrow_mut().pop_front() {
                return batch;
            }
            self.take_in_a_report();
        }
    }

    /// What was told of that until now, and is not told again.
    pub(crate) fn vitals_until_now(&self) -> Vec<VitalsBatch> {
        self.vitals.borrow_mut().drain(..).collect()
    }

    /// The next part of a log.
    pub(crate) fn log_part(&self, reading: ReadingId) -> LogPart {
        loop {
            let mut parts = self.log_parts.borrow_mut();
            if let Some(index) = parts.iter().position(|(of, _)| *of == reading) {
                return parts.remove(index).1;
            }
            drop(parts);
            self.take_in_a_report();
        }
    }

    /// The next that was told of units, or is.
    pub(crate) fn unit_report(&self) -> UnitReport {
        loop {
            let mut told = self.unit_reports.borrow_mut();
            if !told.is_empty() {
                return told.remove(0);
            }
            drop(told);
            self.take_in_a_report();
        }
    }

    /// What was told of units until now, and is not told again.
    pub(crate) fn unit_reports(&self) -> Vec<UnitReport> {
        std::mem::take(&mut *self.unit_reports.borrow_mut())
    }

    /// Waits until an attempt has started.
    pub(crate) fn started(&self, key: AttemptKey) {
        match self.report(key) {
            Report::Started { order, .. } => assert_eq!(order, OrderNumber(key.job.flow.0)),
            other => panic!("not started: {other:?}\n{}", self.log()),
        }
    }

    /// Waits for the end of an attempt.
    pub(crate) fn ended(&self, key: AttemptKey) -> AttemptEnd {
        match self.last_word(key) {
            Report::Ended { end, .. } => end,
            other => panic!("not ended: {other:?}\n{}", self.log()),
        }
    }

    /// Waits for what is said last of an attempt: its end, or a refusal.
    pub(crate) fn last_word(&self, key: AttemptKey) -> Report<AttemptEnd> {
        loop {
            match self.report(key) {
                Report::Started { .. } => {}
                last => return last,
            }
        }
    }

    pub(crate) fn refused(&self, key: AttemptKey) -> Refusal {
        match self.report(key) {
            Report::Refused { refusal, .. } => refusal,
            other => panic!("not refused: {other:?}\n{}", self.log()),
        }
    }

    /// Runs a score to its end, which must be good, and returns what it wrote.
    pub(crate) fn output_of(&self, score: &str, params: &[(&str, &str)]) -> String {
        let end = self.ended(self.order(score, params));
        let stderr = String::from_utf8_lossy(&end.stderr.head).into_owned();
        assert_eq!(end.outcome, Outcome::Exited(0), "{stderr}\n{}", self.log());
        String::from_utf8(end.stdout.head).unwrap()
    }

    /// Waits until the log holds this: it is written a moment after what it tells of.
    pub(crate) fn logged(&self, text: &str) {
        let what = format!("the log to say: {text}\n{}", self.log());
        eventually(&what, || self.log().contains(text).then_some(()));
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Directories of attempts in the spool.
    pub(crate) fn attempt_dirs(&self) -> usize {
        fs::read_dir(self.path("spool/attempts")).unwrap().count()
    }

    /// The cgroups of this player's attempts, wherever they are.
    pub(crate) fn cgroups(&self, spool: orchestra_model::delivery::SpoolId) -> Vec<PathBuf> {
        fn below(dir: &Path, name: &str, found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok) {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    match entry.file_name().to_string_lossy().contains(name) {
                        true => found.push(entry.path()),
                        false => below(&entry.path(), name, found),
                    }
                }
            }
        }
        let mut found = Vec::new();
        below(Path::new("/sys/fs/cgroup"), &spool.to_string(), &mut found);
        found
    }

    /// The directories of units' logs.
    pub(crate) fn logs(&self) -> Vec<PathBuf> {
        let found = fs::read_dir(self.path("spool/logs")).into_iter().flatten().flatten();
        found.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }

    /// The names in the directory of units in memory: of this player's spool.
    pub(crate) fn unit_places(&self) -> Vec<PathBuf> {
        let tags = fs::read_dir(self.path("run")).into_iter().flatten().flatten();
        let units = tags.flat_map(|tag| fs::read_dir(tag.path()).into_iter().flatten().flatten());
        units.map(|unit| unit.path()).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.sitter.borrow().is_none() {
            // It alone knows what is to be ended.
            self.start_unattached();
        }
        if !thread::panicking() {
            self.cut_lifeline();
        } else if let Some(mut sitter) = self.sitter.take() {
            eprintln!("---- log of the sitter\n{}", self.log());
            drop(sitter.lifeline.take());
            let _ = sitter.child.wait();
        }
    }
}
