use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use orchestra_certs::Subject;
use orchestra_model::{AudienceName, delivery::AgentSession};
use orchestra_proto::v1::{
    FetchReport, FetchSources, Probe, Redirect, Refused, Welcome, from_player, to_player,
};
use tokio::sync::oneshot;
use tonic::Status;

use self::world::{CONDUCTOR, PLAYER, Sitter, World, command, host, report, soon, welcome};
use crate::{
    aside::{Aside, HeardAside},
    dial::Dialler,
    failure::SessionFailure,
    ipc::{ToAgent, ToSitter},
    link::{Link, LinkError, SitterPatience},
    serve,
    session::{End, Session},
};

mod world;

/// Returns how a session fails whose sitter says nothing.
async fn session(dialler: &Dialler) -> SessionFailure {
    let (_sitter, agent) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut link = Link::new(agent, None).unwrap();
    let endpoint = &dialler.conductors[0];
    let session = Session { dial: dialler, endpoint, id: AgentSession(1), boot_id: "boot-1" };
    match soon("the session's end", session.run(&mut link, &mut Aside::none())).await.unwrap().why {
        End::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

fn reports(message: &orchestra_proto::v1::FromPlayers) -> Vec<Bytes> {
    let report = |frame: &orchestra_proto::v1::FromPlayer| match &frame.frame {
        Some(from_player::Frame::Report(bytes)) if frame.player == PLAYER => bytes.clone(),
        other => panic!("{other:?}"),
    };
    message.frames.iter().map(report).collect()
}

#[tokio::test]
async fn a_session_carries_snapshot_commands_and_reports() {
    let world = World::new();
    let mut conductor = world.conductor().await;
    let mut sitter = Sitter::start(world.dialler(&[conductor.address]));
    let id = sitter.gives_snapshot().await;

    let (mut session, attach) = conductor.attached().await;
    assert_eq!(attach.protocol, orchestra_proto::PROTOCOL);
    assert_eq!(attach.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(attach.boot_id, "boot-1");
    assert_eq!(attach.snapshot, "snapshot");

    // Commands may come in the very message of the welcome.
    session.say([welcome(), command("hello"), command("order")]).await;
    sitter.hears_welcome(id).await;
    for text in ["hello", "order"] {
        let bytes = Bytes::from_static(text.as_bytes());
        assert_eq!(sitter.hears().await, ToSitter::Command { session: id, bytes });
    }

    // Frames that are ready together go in one message; those of another session are dropped.
    let many = (0..100_u8).map(|n| report(id, vec![n]));
    sitter.says([report(AgentSession(99), "stale")].into_iter().chain(many)).await;
    let message = session.message().await.unwrap();
    let expected: Vec<Bytes> = (0..100).map(|n| Bytes::from(vec![n])).collect();
    assert_eq!(reports(&message), expected);
    sitter.goes().await;
    assert!(session.message().await.is_none());
}

#[tokio::test]
async fn what_is_said_aside_passes_while_a_session_stands() {
    let world = World::new();
    let mut conductor = world.conductor().await;
    let dialler = world.dialler(&[conductor.address]);
    let (aside, mut fetching) = Aside::pair();
    let mut sitter = Sitter::of(|link| async move { serve(&dialler, "boot-1", link, aside).await });
    // What was to be said in no session is forgotten.
    let of = |bytes: u64| FetchReport { here_bytes: bytes, ..FetchReport::default() };
    fetching.reports.send(of(1)).await.unwrap();
    let (_, mut session) = sitter.attaches_to(&mut conductor).await;
    let attached = HeardAside::Attached { names_sources: true };
    assert_eq!(soon("a session", fetching.heard.recv()).await, Some(attached));
    fetching.reports.send(of(2)).await.unwrap();
    let message = session.message().await.unwrap();
    assert_eq!(message.frames[0].frame, Some(from_player::Frame::Fetch(of(2))));
    let sources = FetchSources { hopeless: "why".to_owned(), ..FetchSources::default() };
    session.say([to_player::Frame::Sources(sources.clone())]).await;
    let heard = soon("sources", fetching.heard.recv()).await;
    assert_eq!(heard, Some(HeardAside::Sources(sources)));
    drop(session);
    assert_eq!(soon("the end", fetching.heard.recv()).await, Some(HeardAside::Detached));
    sitter.goes().await;
}

#[tokio::test]
async fn a_conductor_that_names_no_sources_hears_nothing_of_bundles() {
    let world = World::new();
    let mut conductor = world.conductor().await;
    let dialler = world.dialler(&[conductor.address]);
    let (aside, mut fetching) = Aside::pair();
    let mut sitter = Sitter::of(|link| async move { serve(&dialler, "boot-1", link, aside).await });
    let id = sitter.gives_snapshot().await;
    let (mut session, _) = conductor.attached().await;
    let to_player::Frame::Welcome(mut earlier) = welcome() else { panic!() };
    earlier.names_sources = false;
    session.say([to_player::Frame::Welcome(earlier)]).await;
    sitter.hears_welcome(id).await;
    let attached = HeardAside::Attached { names_sources: false };
    assert_eq!(soon("a session", fetching.heard.recv()).await, Some(attached));
    fetching.reports.send(FetchReport::default()).await.unwrap();
    sitter.says([report(id, "after it")]).await;
    assert_eq!(reports(&session.message().await.unwrap()), ["after it"]);
    sitter.goes().await;
}

#[tokio::test]
async fn large_batches_arrive_whole_in_messages_of_bounded_size() {
    let world = World::new();
    let mut conductor = world.conductor().await;
    let mut sitter = Sitter::start(world.dialler(&[conductor.address]));
    let (id, mut session) = sitter.attaches_to(&mut conductor).await;

    let large = (0..100_u8).map(|n| report(id, vec![n; 200_000]));
    let receive = async {
        let mut seen = Vec::new();
        while seen.len() < 100 {
            let message = session.message().await.unwrap();
            assert!(prost::Message::encoded_len(&message) <= 1 << 20);
            seen.extend(reports(&message).into_iter().map(|bytes| (bytes.len(), bytes[0])));
        }
        seen
    };
    let ((), seen) = tokio::join!(sitter.says(large), receive);
    assert_eq!(seen, (0..100).map(|n| (200_000, n)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_probe_is_answered() {
    let world = World::new();
    let mut conductor = world.conductor().await;
    let mut sitter = Sitter::start(world.dialler(&[conductor.address]));
    sitter.gives_snapshot().await;
    let mut session = conductor.welcomed().await;
    session.say([to_player::Frame::Probe(Probe {})]).await;
    let answer = session.one().await;
    assert!(matches!(answer.frame, Some(from_player::Frame::Alive(_))));
    assert_eq!(answer.player, PLAYER);
}

#[tokio::test]
async fn a_sitter_that_says_nothing_ends_the_session() {
    let world = World::new();
    let mut conductor = world.conductor().await;
    let patience =
        SitterPatience { ask: Duration::from_millis(1), silent: Duration::from_millis(1_500) };
    let mut sitter = Sitter::start_asked(world.dialler(&[conductor.address]), patience);
    let (id, mut session) = sitter.attaches_to(&mut conductor).await;
    // Any word is an answer.
    for answer in [ToAgent::Here { session: id }, report(id, "r"), ToAgent::Here { session: id }] {
        assert_eq!(sitter.hears().await, ToSitter::Ask { session: id });
        sitter.says([answer]).await;
    }
    assert_eq!(sitter.hears().await, ToSitter::Ask { session: id });
    assert_eq!(sitter.hears().await, ToSitter::Closed { session: id });
    assert_eq!(reports(&session.message().await.unwrap()), [Bytes::from_static(b"r")]);
    drop(session);
    // It comes back as soon as it is answered again.
    sitter.gives_snapshot().await;
    conductor.welcomed().await;
}

#[tokio::test]
async fn after_a_refusal_or_an_end_it_tries_again() {
    let world = World::new();
    let mut conductor = world.conductor().await;
    let mut sitter = Sitter::start(world.dialler(&[conductor.address]));
    let mut seen = BTreeSet::new();
    for turn in 0..4 {
        let id = sitter.gives_snapshot().await;
        assert!(seen.insert(id), "{id:?} came twice");
        let (session, _) = conductor.attached().await;
        match turn {
            0 => {
                let reason = "unknown player: add it to the players file".to_owned();
                session.say([to_player::Frame::Refused(Refused { reason })]).await;
            }
            1 => session.fail(Status::unavailable("stopping")).await,
            2 => {
                session.say([welcome()]).await;
                sitter.hears_welcome(id).await;
                drop(session);
            }
            _ => {
                session.say([welcome()]).await;
                sitter.hears_welcome(id).await;
                return sitter.goes().await;
            }
        }
        assert_eq!(sitter.hears().await, ToSitter::Closed { session: id });
    }
}

#[tokio::test]
async fn what_the_conductor_asks_for_in_case_it_is_lost_is_known_afterwards() {
    let world = World::new();
    let mut conductor = world.conductor().await;
    for (ms, asked) in [(9_000, Some(Duration::from_secs(9))), (0, None)] {
        let dialler = world.dialler(&[conductor.address]);
        let (ended, end) = oneshot::channel();
        let mut sitter = Sitter::of(|mut link| async move {
            let endpoint = &dialler.conductors[0];
            let id = AgentSession(1);
            let session = Session { dial: &dialler, endpoint, id, boot_id: "boot-1" };
            ended.send(session.run(&mut link, &mut Aside::none()).await.unwrap()).unwrap();
            LinkError::Closed
        });
        let id = sitter.gives_snapshot().await;
        let (session, _) = conductor.attached().await;
        let to_player::Frame::Welcome(welcome) = welcome() else { panic!() };
        let welcome = Welcome { come_back_within_ms: ms, ..welcome };
        session.say([to_player::Frame::Welcome(welcome)]).await;
        sitter.hears_welcome(id).await;
        session.fail(Status::unavailable("stopping")).await;
        assert_eq!(sitter.hears().await, ToSitter::Closed { session: id });
        let accepted = soon("the end", end).await.unwrap().accepted.unwrap();
        assert_eq!(accepted.come_back_within, asked);
    }
}

#[tokio::test]
async fn a_conductor_that_dies_is_found_again() {
    let world = World::new();
    let mut first = world.conductor().await;
    let mut second = world.conductor().await;
    let mut sitter = Sitter::start(world.dialler(&[first.address, second.address]));
    let (id, session) = sitter.attaches_to(&mut first).await;
    drop(session);
    drop(first);
    assert_eq!(sitter.hears().await, ToSitter::Closed { session: id });
    sitter.gives_snapshot().await;
    second.welcomed().await;
}

#[tokio::test]
async fn a_redirect_is_followed() {
    let world = World::new();
    let mut first = world.conductor().await;
    let mut second = world.conductor().await;
    let mut sitter = Sitter::start(world.dialler(&[first.address]));
    sitter.gives_snapshot().await;
    let (session, _) = first.attached().await;
    let conductors = vec![second.address.to_string()];
    session.say([to_player::Frame::Redirect(Redirect { conductors })]).await;
    session.closed_by_player().await;
    assert!(matches!(sitter.hears().await, ToSitter::Closed { .. }));
    let (_, _session) = sitter.attaches_to(&mut second).await;
}

#[tokio::test]
async fn a_new_session_on_the_sitters_wish_begins_after_the_old_one_ended() {
    let world = World::new();
    let mut conductor = world.conductor().await;
    let mut sitter = Sitter::start(world.dialler(&[conductor.address]));
    let (id, session) = sitter.attaches_to(&mut conductor).await;

    // A frame of an earlier session is ignored.
    sitter.says([ToAgent::Reattach { session: AgentSession(0) }]).await;
    sitter.says([ToAgent::Reattach { session: id }]).await;
    session.closed_by_player().await;
    assert_eq!(sitter.hears().await, ToSitter::Closed { session: id });
    let next = sitter.gives_snapshot().await;
    assert_ne!(next, id);

    // Also while the conductor has not answered yet.
    let (_unanswered, _) = conductor.attached().await;
    sitter.says([ToAgent::Reattach { session: next }]).await;
    assert_eq!(sitter.hears().await, ToSitter::Closed { session: next });
    sitter.gives_snapshot().await;
    conductor.welcomed().await;
}

#[tokio::test]
async fn a_frame_for_somebody_else_ends_the_session() {
    let world = World::new();
    let mut conductor = world.conductor().await;
    let mut sitter = Sitter::start(world.dialler(&[conductor.address]));
    let (id, session) = sitter.attaches_to(&mut conductor).await;
    session.say_to("db2.example.com", [command("order")]).await;
    assert_eq!(sitter.hears().await, ToSitter::Closed { session: id });
}

#[tokio::test]
async fn frames_out_of_place_end_the_session() {
    let world = World::new();
    let mut conductor = world.conductor().await;
    let mut sitter = Sitter::start(world.dialler(&[conductor.address]));
    let other_protocol = Welcome { protocol: 99, ..Welcome::default() };
    let no_store = Welcome { protocol: orchestra_proto::PROTOCOL, ..Welcome::default() };
    for first in [
        command("too early"),
        to_player::Frame::Welcome(other_protocol),
        to_player::Frame::Welcome(no_store),
    ] {
        let id = sitter.gives_snapshot().await;
        let (session, _) = conductor.attached().await;
        session.say([first]).await;
        assert_eq!(sitter.hears().await, ToSitter::Closed { session: id });
    }
    let id = sitter.gives_snapshot().await;
    let session = conductor.welcomed().await;
    session.say([welcome()]).await;
    sitter.hears_welcome(id).await;
    assert_eq!(sitter.hears().await, ToSitter::Closed { session: id });
}

#[tokio::test]
async fn it_follows_its_sitter_wherever_it_stands() {
    let world = World::new();
    let mut conductor = world.conductor().await;

    // While nobody can be reached.
    let nowhere = world.nowhere().await;
    Sitter::start(world.dialler(&[nowhere])).goes().await;
    // While it waits for a snapshot.
    let mut sitter = Sitter::start(world.dialler(&[conductor.address]));
    assert!(matches!(sitter.hears().await, ToSitter::Open { .. }));
    sitter.goes().await;
    // While it waits for a welcome.
    let mut sitter = Sitter::start(world.dialler(&[conductor.address]));
    sitter.gives_snapshot().await;
    let _unanswered = conductor.attached().await;
    sitter.goes().await;
}

#[tokio::test]
async fn it_follows_its_sitter_although_the_conductor_takes_nothing() {
    let world = World::new();
    let mut conductor = world.conductor().await;
    let mut sitter = Sitter::start(world.dialler(&[conductor.address]));
    let (id, _session) = sitter.attaches_to(&mut conductor).await;
    // More than the stream's window and a batch hold: what is not read stays in the socket.
    let endless = (0..1_000).map(|_| report(id, vec![0; 100_000]));
    tokio::select! {
        () = sitter.says(endless) => panic!("all of it was taken"),
        () = stuck(&sitter) => {}
    }
    sitter.goes().await;
}

/// Waits until the agent has stopped reading: the socket stays full while all tasks had many turns.
async fn stuck(sitter: &Sitter) {
    let mut full = 0;
    while full < 10_000 {
        tokio::task::yield_now().await;
        full = if sitter.is_writable() { 0 } else { full + 1 };
    }
}

#[tokio::test]
async fn failures_are_told_in_words_that_help() {
    let world = World::new();
    let conductor = world.conductor().await;
    let told = async |dialler: &Dialler| orchestra_model::chain(&session(dialler).await);

    let nowhere = world.nowhere().await;
    let text = told(&world.dialler(&[nowhere])).await;
    assert!(text.contains(&nowhere.to_string()) && text.contains("refused"), "{text}");

    let mut dialler = world.dialler(&[conductor.address]);
    dialler.conductor_name = host("c2.example.com");
    let text = told(&dialler).await;
    assert!(text.contains(CONDUCTOR) && text.contains("c2.example.com"), "{text}");

    let mut dialler = world.dialler(&[conductor.address]);
    dialler.files.key = "/nonexistent/player.key".into();
    let text = told(&dialler).await;
    assert!(text.contains("/nonexistent/player.key"), "{text}");

    let alice = Subject::Audience(AudienceName::new("alice").unwrap());
    world.issue(&alice);
    let text = told(&world.dialler_of(&alice, &[conductor.address])).await;
    assert!(text.contains("/audience/alice") && text.contains("no player"), "{text}");

    // Certificates of another authority: the conductor says so, in an alert.
    let stranger = World::new().dialler(&[conductor.address]);
    let mut dialler = world.dialler(&[conductor.address]);
    dialler.files.cert = stranger.files.cert.clone();
    let text = told(&dialler).await;
    assert!(text.contains("certificate"), "{text}");
}

#[test]
fn a_conductors_words_are_shown_on_one_bounded_line() {
    let refused = SessionFailure::Refused(format!("a\nb\u{1b}[2J{}", "x".repeat(10_000)));
    let text = orchestra_model::chain(&refused);
    assert!(text.starts_with("the conductor refused: a b [2Jxxx"), "{text}");
    assert!(text.len() < 500);
    let status = Status::permission_denied("db1 is not in the players file");
    let text = orchestra_model::chain(&SessionFailure::Stream(status));
    assert!(text.contains("db1 is not in the players file"), "{text}");
}
