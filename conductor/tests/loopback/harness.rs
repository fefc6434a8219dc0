//! What tests are made of: a place with certificates and configuration, a conductor in it, and
//! whoever talks to it.

mod audience;
mod conductor;
mod player;
mod verbs;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use hyper_util::rt::TokioIo;

use orchestra_ca::{Ca, Terms};
use orchestra_certs::{Expected, Role, Subject, TlsFiles, client_config};
use orchestra_harness::{Config, Names};
pub(crate) use orchestra_harness::{
    PATIENCE,
    asynchronous::{eventually, soon},
};
use orchestra_model::HostName;
use orchestra_proto::v1;
use prost::Message as _;
use rustls::ClientConfig;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

pub(crate) use audience::{
    Audience, count, id, job, one_of, percent, request, request_in_one_slot, watch_ends,
    with_params,
};
pub(crate) use conductor::{Conductor, Embedded, RunsAs};
pub(crate) use player::{Player, Session, Stream, score};
pub(crate) use verbs::retry;

/// The domain of all certificates here.
pub(crate) const DOMAIN: &str = "loopback.test";
/// The conductor's name.
pub(crate) const CONDUCTOR: &str = "conductor.loopback.test";

/// A conductor, somebody who asks it, and the one player of its fleet, `db1`, which is not attached.
pub(crate) async fn one_player() -> (Place, Conductor, Audience, Player) {
    let place = Place::new("db1\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let player = Player::new(&place, &conductor.address, "db1").await;
    (place, conductor, alice, player)
}

/// A directory with an authority, a configuration, and room for a store.
pub(crate) struct Place {
    // Last to go.
    dir: TempDir,
    pub(crate) ca: Ca,
}

impl Place {
    /// A place whose players file has this text.
    pub(crate) fn new(players: &str) -> Place {
        let dir = tempfile::Builder::new().prefix("orchestra-loopback-").tempdir().unwrap();
        let ca = Ca::init(&dir.path().join("ca"), &HostName::new(DOMAIN).unwrap()).unwrap();
        let place = Place { dir, ca };
        place.issue(Role::Conductor, CONDUCTOR);
        place.issue(Role::Audience, "alice");
        place.write("players", players);
        place.configure("");
        place
    }

    /// A path in the place.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file of the configuration.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Writes `conductor.toml` with these tables at its end.
    pub(crate) fn configure(&self, tables: &str) {
        self.configure_with("127.0.0.1:0", CONDUCTOR, tables);
    }

    /// Configures a conductor with another address and name.
    pub(crate) fn configure_with(&self, listen: &str, name: &str, tables: &str) {
        let names = Names { conductor: name, domain: DOMAIN };
        let own = |ending: &str| format!("ca/conductor/{CONDUCTOR}.{ending}");
        let config = Config::of_conductor(names, listen, &self.path("state"))
            .tls("ca/ca.pem", own("pem"), own("key"))
            .tables(tables);
        self.write("conductor.toml", &config.text());
    }

    /// Makes a certificate where there is none yet.
    pub(crate) fn issue(&self, role: Role, name: &str) -> TlsFiles {
        let subject = Subject::new(role, name).unwrap();
        let files = self.ca.files(&subject);
        if !files.cert.exists() {
            let issued = self.ca.issue(&subject, &Terms::default()).unwrap();
            self.ca.save(&[issued], false).unwrap();
        }
        files
    }

    /// A connection to the conductor, with a certificate of this role and name.
    pub(crate) async fn connect(&self, address: &str, role: Role, name: &str) -> Channel {
        self.try_connect(address, role, name).await.unwrap()
    }

    /// Connects, to be read a few bytes at a time: what is not read is not even on its way.
    pub(crate) async fn connect_narrow(&self, address: &str, role: Role, name: &str) -> Channel {
        const WINDOW: u32 = 4_096;
        let tls = self.client_config(role, name);
        let stream = orchestra_certs::connect(address, tls, PATIENCE).await.unwrap();
        let once = Mutex::new(Some(TokioIo::new(stream)));
        let connector = tower::service_fn(move |_| {
            let stream = once.lock().unwrap().take();
            async move { stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)) }
        });
        Endpoint::from_shared(format!("http://{address}"))
            .unwrap()
            .initial_stream_window_size(WINDOW)
            .connect_with_connector(connector)
            .await
            .unwrap()
    }

    /// Connects where it may fail.
    pub(crate) async fn try_connect(
        &self,
        address: &str,
        role: Role,
        name: &str,
    ) -> Result<Channel, orchestra_certs::ConnectError> {
        orchestra_certs::channel(address, self.client_config(role, name), PATIENCE).await
    }

    /// The TLS of somebody who expects our conductor.
    pub(crate) fn client_config(&self, role: Role, name: &str) -> Arc<ClientConfig> {
        let files = self.issue(role, name);
        let host = |name| HostName::new(name).unwrap();
        let expected = Expected { domain: host(DOMAIN), conductor_name: host(CONDUCTOR) };
        client_config(&files, &expected).unwrap()
    }
}

/// A copy of a directory without directories in it, as a backup makes it.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// An encoded end: exit code 0 is success.
pub(crate) fn exited(code: i32) -> v1::AttemptEnd {
    v1::AttemptEnd {
        outcome: Some(v1::attempt_end::Outcome::Exited(code)),
        started_at_ms: 1_700_000_000_000,
        ended_at_ms: 1_700_000_000_001,
        stdout: Some(v1::Output { head: "done\n".into(), bytes: 5, ..Default::default() }),
        ..Default::default()
    }
}

/// A report that an order's attempt ended.
pub(crate) fn ended(order: &v1::Order, end: &v1::AttemptEnd) -> v1::Report {
    let kind = v1::report::Kind::Ended(end.encode_to_vec().into());
    v1::Report { key: order.key.clone(), order: order.number, kind: Some(kind) }
}

/// A report that an order's attempt runs.
pub(crate) fn started(order: &v1::Order) -> v1::Report {
    let kind = v1::report::Kind::Started(v1::Started { at_ms: 1_700_000_000_000 });
    v1::Report { key: order.key.clone(), order: order.number, kind: Some(kind) }
}

/// A report that an order was not started.
pub(crate) fn refused(order: &v1::Order, reason: v1::refusal::Reason, detail: &str) -> v1::Report {
    let refusal =
        v1::Refusal { reason: reason.into(), detail: detail.to_owned(), ..Default::default() };
    let kind = v1::report::Kind::Refused(refusal);
    v1::Report { key: order.key.clone(), order: order.number, kind: Some(kind) }
}
