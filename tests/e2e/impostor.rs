//! A conductor that has the right certificate and means ill: what it can make a player do, and what
//! not. The last word is the sitter's.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, mpsc},
};

use orchestra_certs::{Door, Limits, TlsFiles, acceptance, incoming};
use orchestra_model::HostName;
use orchestra_proto::v1::{
    self,
    command::Kind,
    from_player,
    players_server::{Players, PlayersServer},
    to_player,
};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

use crate::harness::{DOMAIN, Fleet, eventually, set_mode};

#[test]
fn an_order_can_name_nothing_but_an_installed_score() {
    let fleet = Fleet::new("p1").players_off().start();
    let outside = fleet.dir().join("outside");
    std::fs::write(&outside, "#!/bin/sh\necho ran >\"$0.ran\"\n").unwrap();
    set_mode(&outside, 0o755);
    let impostor = Impostor::start(&fleet, 1);
    let good = || v1::JobBody {
        job: Some(v1::JobId { flow: 1, slot: 1, job: 1 }),
        name: "job".to_owned(),
        score: "work".to_owned(),
        audience: "mallory".to_owned(),
        params: [("seconds".to_owned(), "0".to_owned())].into(),
        unit: None,
        seal: bytes::Bytes::new(),
    };
    let with = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    let mut evil = Vec::new();
    for score in [
        "../outside",
        outside.to_str().unwrap(),
        "./work",
        "x/../work",
        "",
        ".",
        "..",
        "work\0",
        ".lib",
        "work.conf",
    ] {
        evil.push(v1::JobBody { score: score.to_owned(), ..good() });
    }
    for key in ["FLOW", "SPOOL", "SCORE_DIR", "a=b", "", "a\0", "../x"] {
        evil.push(v1::JobBody { params: with(key, "x"), ..good() });
    }
    evil.push(v1::JobBody { params: with("x", "a\0b"), ..good() });
    evil.push(v1::JobBody { params: with("x", &"x".repeat(200_000)), ..good() });
    evil.push(v1::JobBody { name: "../x".to_owned(), ..good() });
    evil.push(v1::JobBody { audience: "a/b".to_owned(), ..good() });
    evil.push(v1::JobBody { job: None, ..good() });
    let mut flow = 0;
    for body in evil {
        flow += 1;
        let job = body.job.map(|_| v1::JobId { flow, slot: 1, job: 1 });
        impostor.enqueue(order(flow, &v1::JobBody { job, ..body.clone() }));
    }
    // What the digest promises is not what comes.
    flow += 1;
    let mut swapped =
        order(flow, &v1::JobBody { job: Some(v1::JobId { flow, slot: 1, job: 1 }), ..good() });
    if let Kind::Job(part) = &mut swapped[0] {
        part.body = v1::JobBody { score: "hello".to_owned(), ..good() }.encode_to_vec().into();
    }
    impostor.enqueue(swapped);
    // Bytes that are nothing.
    flow += 1;
    let mut garbage = order(flow, &good());
    if let Kind::Job(part) = &mut garbage[0] {
        part.body = vec![0xff; 100].into();
    }
    impostor.enqueue(garbage);
    // Last, so that whoever runs it has dealt with all of them.
    flow += 1;
    let job = Some(v1::JobId { flow, slot: 1, job: 1 });
    impostor.enqueue(order(flow, &v1::JobBody { job, ..good() }));

    let player = fleet.player("p1");
    player.set("conductors", &format!("[\"{}\"]", impostor.address));
    player.sitter.start();
    let (mut refused, mut ended) = (BTreeSet::new(), BTreeSet::new());
    impostor.wait_for(|report| {
        let flow_of = report.key.as_ref()?.job.as_ref()?.flow;
        match report.kind {
            Some(v1::report::Kind::Refused(_)) => refused.insert(flow_of),
            Some(v1::report::Kind::Ended(_)) => ended.insert(flow_of),
            _ => false,
        };
        (refused.len() + ended.len() == flow as usize).then_some(())
    });
    // Each has its answer, in one session.
    assert_eq!(ended, BTreeSet::from([flow]));
    assert_eq!(player.sitter.log().matches("INFO attached").count(), 1);
    let starts: Vec<String> = fleet.record.count("start").into_keys().collect();
    assert_eq!(starts, [format!("{flow}.1.1@p1")]);
    let ran = std::fs::read_dir(fleet.dir()).unwrap().flatten();
    assert!(!ran.into_iter().any(|entry| entry.file_name().to_string_lossy().ends_with(".ran")));
    assert!(player.sitter.is_running());
    assert_eq!(
        player.sitter.log().matches("the player is up").count(),
        1,
        "{}",
        player.sitter.log_tail()
    );
}

#[test]
fn a_conductor_of_an_earlier_term_is_not_obeyed() {
    let fleet = Fleet::new("p1").players_off().start();
    let body = |flow| v1::JobBody {
        job: Some(v1::JobId { flow, slot: 1, job: 1 }),
        name: "job".to_owned(),
        score: "work".to_owned(),
        audience: "mallory".to_owned(),
        params: [("seconds".to_owned(), "0".to_owned())].into(),
        unit: None,
        seal: bytes::Bytes::new(),
    };
    let newer = Impostor::start(&fleet, 7);
    newer.enqueue(order(1, &body(1)));
    let player = fleet.player("p1");
    player.set("conductors", &format!("[\"{}\"]", newer.address));
    player.sitter.start();
    newer.wait_for_end(1);
    player.sitter.kill();

    let older = Impostor::start(&fleet, 6);
    older.enqueue(order(2, &body(2)));
    player.set("conductors", &format!("[\"{}\"]", older.address));
    player.sitter.start();
    let refusal = older.wait_for(|report| match &report.kind {
        Some(v1::report::Kind::Refused(refusal)) => Some(refusal.clone()),
        _ => None,
    });
    assert_eq!((refusal.reason(), refusal.term), (v1::refusal::Reason::StaleTerm, 7));
    assert_eq!(fleet.record.of("start").len(), 1);
}

/// A job and an order for it, whose number is that of its flow.
fn order(number: u64, body: &v1::JobBody) -> [Kind; 2] {
    let body = body.encode_to_vec();
    let digest = Sha256::digest(&body).to_vec();
    let job = Some(v1::JobId { flow: number, slot: 1, job: 1 });
    let key = Some(v1::AttemptKey { store_id: STORE.to_vec().into(), job, attempt: 1 });
    [
        Kind::Job(v1::JobPart {
            digest: digest.clone().into(),
            body: body.into(),
            signature: Vec::new().into(),
        }),
        Kind::Order(v1::Order { number, key, job_digest: digest.into(), ..v1::Order::default() }),
    ]
}

const STORE: [u8; 16] = [9; 16];

/// A server for players that says what it is told to say, once in each session.
struct Impostor {
    address: String,
    reports: Mutex<mpsc::Receiver<v1::Report>>,
    shared: Arc<Shared>,
    // Ends everything when dropped.
    _runtime: Runtime,
}

struct Shared {
    term: u64,
    queue: Mutex<Vec<[Kind; 2]>>,
    reports: Mutex<mpsc::Sender<v1::Report>>,
}

impl Impostor {
    fn start(fleet: &Fleet, term: u64) -> Self {
        let (reports, received) = mpsc::channel();
        let shared =
            Arc::new(Shared { term, queue: Mutex::default(), reports: Mutex::new(reports) });
        let ca = fleet.dir().join("ca");
        let files = TlsFiles {
            ca: ca.join("ca.pem"),
            cert: ca.join("conductor/conductor.e2e.test.pem"),
            key: ca.join("conductor/conductor.e2e.test.key"),
            crl: None,
        };
        let tls = Door::new(acceptance(&files, &HostName::new(DOMAIN).unwrap()).unwrap());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let service = PlayersServer::new(Service(Arc::clone(&shared)));
        runtime.spawn(async move {
            let incoming = incoming(listener, tls, Limits::default());
            Server::builder().add_service(service).serve_with_incoming(incoming).await
        });
        Self { address, reports: Mutex::new(received), shared, _runtime: runtime }
    }

    fn enqueue(&self, batch: [Kind; 2]) {
        self.shared.queue.lock().unwrap().push(batch);
    }

    fn wait_for<T>(&self, mut wanted: impl FnMut(&v1::Report) -> Option<T>) -> T {
        let reports = self.reports.lock().unwrap();
        eventually("a report", || reports.try_iter().find_map(|report| wanted(&report)))
    }

    fn wait_for_end(&self, flow: u64) {
        self.wait_for(|report| {
            let job = report.key.as_ref()?.job.as_ref()?;
            let ended = matches!(report.kind, Some(v1::report::Kind::Ended(_)));
            (ended && job.flow == flow).then_some(())
        });
    }
}

struct Service(Arc<Shared>);

#[tonic::async_trait]
impl Players for Service {
    type AttachStream = ReceiverStream<Result<v1::ToPlayers, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::FromPlayers>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let mut incoming = request.into_inner();
        let first = incoming.message().await?.unwrap();
        let player = first.frames[0].player.clone();
        let (frames, stream) = tokio::sync::mpsc::channel(64);
        let shared = Arc::clone(&self.0);
        let frame = move |frame| {
            let frames = vec![v1::ToPlayer { player: player.clone(), frame: Some(frame) }];
            Ok(v1::ToPlayers { frames })
        };
        let term = shared.term;
        let command = move |kind| {
            let command = v1::Command { store_id: STORE.to_vec().into(), term, kind: Some(kind) };
            to_player::Frame::Command(command.encode_to_vec().into())
        };
        tokio::spawn(async move {
            let welcome = v1::Welcome {
                protocol: 1,
                version: "evil".to_owned(),
                store_id: STORE.to_vec().into(),
                term: shared.term,
                come_back_within_ms: 0,
                names_sources: false,
            };
            let opening =
                [to_player::Frame::Welcome(welcome), command(Kind::Hello(v1::Hello::default()))];
            for opening in opening {
                let _ = frames.send(frame(opening)).await;
            }
            let batches = shared.queue.lock().unwrap().clone();
            for kind in batches.into_iter().flatten() {
                let _ = frames.send(frame(command(kind))).await;
            }
            // Nobody counts reports that come when the test is over.
            while let Some(Ok(batch)) = incoming.next().await {
                for frame in batch.frames {
                    if let Some(from_player::Frame::Report(bytes)) = frame.frame {
                        let report = v1::Report::decode(bytes).unwrap();
                        let _ = shared.reports.lock().unwrap().send(report);
                    }
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}
