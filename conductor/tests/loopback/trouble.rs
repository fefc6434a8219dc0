//! A disk without space, a directory that is somebody else's, a port that is taken.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use orchestra_proto::v1;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tonic::Code;

use crate::harness::{
    Audience, CONDUCTOR, Conductor, Place, Player, ended, eventually, exited, job, request, soon,
};

/// A small file system at a place's `state`.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// `None` where we may not mount: then there is nothing to fill.
    fn mount(place: &Place) -> Option<SmallDisk> {
        let path = place.path("state");
        fs::create_dir(&path).unwrap();
        mount("none", &path, "tmpfs", MountFlags::empty(), Some(c"size=3m,mode=0700")).ok()?;
        Some(SmallDisk { path })
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }

    /// Takes all the space that is left.
    fn fill(&self) {
        use std::io::Write as _;
        let mut file =
            fs::OpenOptions::new().create(true).append(true).open(self.ballast()).unwrap();
        while file.write(&[0; 4_096]).is_ok_and(|n| n > 0) {}
    }

    fn make_space(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Also where a conductor that was killed has not let go yet.
        let _ = unmount(&self.path, UnmountFlags::DETACH);
    }
}

/// Fills the disk and submits until that is noticed. Returns the request that met it, and what was stored.
async fn submit_until_full(alice: &Audience, disk: &SmallDisk) -> (v1::SubmitRequest, Vec<u64>) {
    disk.fill();
    let mut stored = Vec::new();
    let names: Vec<String> = (0..5_000).map(|n| format!("h{n}")).collect();
    loop {
        // Not to be folded, so that it takes space.
        let targets = names.iter().step_by(3).map(String::as_str).collect::<Vec<_>>().join(",");
        let asked = request([job(&targets)]);
        match alice.try_submit(asked.clone()).await {
            Ok(answer) => stored.push(answer.flow),
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                if status.message().starts_with("nothing was changed, try again later: no space") {
                    // A line that the conductor writes by itself, of what it has met, was first.
                    disk.make_space();
                    let is_stored =
                        async || alice.status().await.store_error.is_empty().then_some(());
                    eventually("the store to go on", is_stored).await;
                    disk.fill();
                    continue;
                }
                let id: String =
                    asked.request_id.iter().map(|byte| format!("{byte:02x}")).collect();
                let told = format!("held, not yet taken: no space (request {id})");
                assert_eq!(status.message(), told);
                assert_eq!(status.metadata().get("orchestra-reason").unwrap(), "held");
                return (asked, stored);
            }
        }
    }
}

#[tokio::test]
async fn without_space_it_refuses_what_is_new_answers_what_it_can_and_loses_nothing() {
    let place = Place::new("h[0-4999] db[1-2]\n".replace(' ', "\n").as_str());
    let Some(disk) = SmallDisk::mount(&place) else {
        eprintln!("skipped: no right to mount a file system");
        return;
    };
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut session = Player::new(&place, &conductor.address, "db1").await.attach().await;
    let flow = alice.submit([job("db1"), job("db1")]).await;
    let quiet = alice.submit([job("db2")]).await;
    let order = session.order().await;
    let (met, stored) = submit_until_full(&alice, &disk).await;

    // The status says so, at once, and what is not concerned is told as ever.
    let status = alice.status().await;
    assert!(status.store_error.contains("no space"), "{}", status.store_error);
    assert_eq!(alice.state(quiet).await, "running");
    assert!(alice.players("db1", false).await.unwrap()[0].attached);
    assert!(status.store_held_since_ms > 0);
    // The one that was held is so when it is asked for, or submitted again.
    for held in [
        alice.submitted(&met.request_id).await.unwrap_err(),
        alice.try_submit(met.clone()).await.unwrap_err(),
    ] {
        assert!(held.message().starts_with("held, not yet taken: no space (request "), "{held:?}");
    }
    let unknown = alice.submitted(&[7; 16]).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound, "{unknown:?}");
    // Nothing new is begun.
    for status in [
        alice.try_submit(request([job("db2")])).await.unwrap_err(),
        alice.cancel(quiet).await.unwrap_err(),
        alice.reload(false).await.unwrap_err(),
        alice.recover(true).await.unwrap_err(),
    ] {
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(status.message().starts_with("nothing was changed, try again"), "{status:?}");
        assert_eq!(status.metadata().get("orchestra-reason").unwrap(), "unchanged");
    }
    // A report is taken in, and not acknowledged before it is on disk.
    session.report(&ended(&order, &exited(0)));
    let unsure = eventually("the report to be taken in", async || alice.try_flow(flow).await.err());
    let unsure = unsure.await;
    assert!(unsure.message().starts_with("what happened last is not on disk"), "{unsure:?}");
    let mut watch = alice.watch(flow).await;
    assert_eq!(watch.message().await.unwrap_err().code(), Code::Unavailable);
    let late = Player::new(&place, &conductor.address, "db2").await.attach().await;

    disk.make_space();
    assert_eq!(session.acknowledged().await, order.key.unwrap());
    session.obey().await;
    assert_eq!(alice.verdict(flow).await, "ok");
    let late = tokio::spawn(late.obey_all());
    assert_eq!(alice.verdict(quiet).await, "ok");
    assert_eq!(alice.status().await.store_error, "");
    conductor.logged("the store can be written again").await;
    // The one that was told to try again: it is stored by now, and once.
    let again = alice.try_submit(met.clone()).await.unwrap();
    assert!(again.repeated && !stored.contains(&again.flow));
    assert_eq!(alice.submitted(&met.request_id).await.unwrap(), again.flow);
    late.abort();

    conductor.kill();
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    for flow in stored {
        assert_eq!(alice.state(flow).await, "running");
    }
    assert_eq!(alice.state(flow).await, "ok");
    assert_eq!(alice.try_submit(met).await.unwrap().flow, again.flow);
}

#[tokio::test]
async fn it_stops_without_space_too() {
    let place = Place::new("h[0-4999]\n");
    let Some(disk) = SmallDisk::mount(&place) else {
        eprintln!("skipped: no right to mount a file system");
        return;
    };
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let (met, stored) = submit_until_full(&alice, &disk).await;
    let log = place.path("log");
    assert!(conductor.stop().await.success());
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("what was taken in last is not stored; none of it was answered"), "{log}");
    disk.make_space();
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    // What was held never happened.
    let unknown = alice.submitted(&met.request_id).await.unwrap_err();
    assert!(unknown.message().contains("is not known"), "{unknown:?}");
    for flow in stored {
        assert_eq!(alice.state(flow).await, "running");
    }
}

#[tokio::test]
async fn a_second_conductor_on_a_store_is_refused() {
    let place = Place::new("db1\n");
    let first = Conductor::start(&place);
    let refused = Conductor::start_refused(&place);
    assert!(refused.contains(&format!("is in use by process {}", first.pid())), "{refused}");
    let alice = Audience::new(&place, &first.address).await;
    assert_eq!(alice.status().await.pid, first.pid());
    let address = fs::read_to_string(place.path("state/address")).unwrap();
    assert_eq!(address.trim(), first.address, "the second one did not touch it");
}

#[tokio::test]
async fn what_is_wrong_at_a_start_is_told_with_what_mends_it() {
    let place = Place::new("db1\n");
    assert!(Conductor::start(&place).stop().await.success());
    let mode = |name: &str, mode| {
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let key = format!("ca/conductor/{CONDUCTOR}.key");
    for (name, good, bad, hint) in [
        ("state", 0o700, 0o755, "chmod 700"),
        ("state/orchestra.db", 0o600, 0o640, "chmod 600"),
        (key.as_str(), 0o600, 0o644, "chmod 0600"),
    ] {
        mode(name, bad);
        let refused = Conductor::start_refused(&place);
        assert!(refused.contains(hint), "{refused}");
        mode(name, good);
    }

    fs::rename(place.path("players"), place.path("away")).unwrap();
    let refused = Conductor::start_refused(&place);
    assert!(refused.contains("cannot read") && refused.contains("/players"), "{refused}");
    fs::rename(place.path("away"), place.path("players")).unwrap();

    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let taken_by = TcpListener::bind(taken.unwrap()).unwrap();
    let address = taken_by.local_addr().unwrap().to_string();
    place.configure_with(&address, CONDUCTOR, "");
    let refused = Conductor::start_refused(&place);
    assert!(refused.contains(&format!("cannot listen on {address}")), "{refused}");

    place.configure_with("127.0.0.1:0", "other.loopback.test", "");
    let refused = Conductor::start_refused(&place);
    assert!(
        refused
            .contains(&format!("the certificate is spiffe://loopback.test/conductor/{CONDUCTOR}")),
        "{refused}"
    );
    place.configure("[retention]\nfinished_aeg = \"1d\"\n");
    let refused = Conductor::start_refused(&place);
    assert!(refused.contains("did you mean finished_age?"), "{refused}");
    fs::remove_file(place.path("conductor.toml")).unwrap();
    let refused = Conductor::start_refused(&place);
    assert!(refused.contains("cannot read") && refused.contains("conductor.toml"), "{refused}");

    place.configure("");
    spoil(&place.path("state/orchestra.db"));
    let refused = Conductor::start_refused(&place);
    assert!(refused.contains("the store cannot be opened"), "{refused}");
    soon("nothing that was left behind", async {}).await;
}

fn spoil(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[..100].fill(b'?');
    fs::write(path, bytes).unwrap();
}
