//! A line, with the test in place of the driver.

use std::sync::Arc;

use bytes::Bytes;
use orchestra_certs::{Outgoing, Role, Subject};
use orchestra_model::delivery::Term;
use orchestra_proto::{
    PROTOCOL,
    v1::{self, from_player::Frame},
};
use tokio_stream::StreamExt as _;

use super::{
    session::tests::{STORE, db1, driver, from_db1, player, snapshot},
    *,
};
use crate::driver::{Attached, FromSession};

/// Bytes whose count of references tells whether they are still held.
struct Counted(Vec<u8>, #[expect(dead_code, reason = "it is counted")] Arc<()>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Returns a stream of one message, which does not end.
fn incoming(message: v1::FromPlayers) -> impl Messages + 'static {
    tokio_stream::once(Ok(message)).chain(tokio_stream::pending())
}

#[tokio::test]
async fn what_a_player_said_of_itself_is_gone_once_it_is_let_in() {
    let (handle, mut driver) = driver();
    let (_stop, stopping) = watch::channel(false);
    let lines = PlayerLines::new(
        handle,
        STORE,
        Proofs::default(),
        session::tests::tables(),
        Patience::default(),
        stopping.clone(),
    );
    let count = Arc::new(());
    let snapshot = Bytes::from_owner(Counted(snapshot(), Arc::clone(&count)));
    let attach = v1::Attach { protocol: PROTOCOL, snapshot, ..Default::default() };
    let incoming = incoming(v1::FromPlayers { frames: vec![from_db1(Frame::Attach(attach))] });
    let domain = HostName::new("example").unwrap();
    let subject = Subject::new(Role::Player, "db1").unwrap();
    let identity = orchestra_certs::Identity { domain, subject };
    let address = ([127, 0, 0, 1], 1).into();
    let peer = Peer {
        identity,
        address,
        serial: Arc::from("1"),
        surplus: None,
        outgoing: Outgoing::default(),
    };
    let counted = lines.counts.enter(&db1()).unwrap();
    let stream = PlayerStream::new(peer, db1(), incoming, stopping, counted);
    let (answer, answered) = oneshot::channel();
    let session = tokio::spawn(lines.serve(stream, answer));

    let Some(FromSession::Attached(attach, reply)) = driver.recv().await else { panic!() };
    assert_eq!(attach.snapshot.scores[0].name.as_str(), "hello");
    drop(attach);
    reply.send(Attached::Welcome(player(), Header { store: STORE, term: Term(1) })).unwrap();
    let _frames = answered.await.unwrap().unwrap();
    assert!(!session.is_finished());
    assert_eq!(Arc::strong_count(&count), 1, "somebody keeps the snapshot's bytes");
}
