//! Players that fetch from relays, over loopback: through a host in between, past one that lies, after
//! one that ended, and on from where they were.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use orchestra_bundle::{Depot, DepotRoom, StoredBundle, unpack, verify};
use orchestra_certs::{NewestLists, Role, TlsFiles};
use orchestra_depot::{FetchFailure, SourceFault};
use orchestra_model::{
    ByteSize, HostName,
    bundle::{CHUNK_BYTES, Seal},
    relay::{FetchSources, RelayTicket},
};
use player::fetching::{FetchEvent, FetchPlace, NotFetched, fetch};
use relay::{Config, Relay};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::place::{Place, RELAY, host, run};

const CHUNKS: usize = 24;

/// A fetch that goes on, and what it tells.
pub(crate) struct Fetching {
    ended: JoinHandle<Result<StoredBundle, NotFetched>>,
    /// It is wanted as long as this is here.
    sources: mpsc::Sender<FetchSources>,
    events: mpsc::Receiver<FetchEvent>,
}

impl Fetching {
    pub(crate) async fn end(self) -> (Result<StoredBundle, NotFetched>, Vec<FetchEvent>) {
        let Self { ended, sources, mut events } = self;
        let told = async {
            let mut told = Vec::new();
            while let Some(event) = events.recv().await {
                told.push(event);
            }
            told
        };
        let (ended, told) = tokio::join!(ended, told);
        drop(sources);
        (ended.unwrap(), told)
    }

    /// Waits until so much is here.
    async fn progress(&mut self, least: u64) -> ByteSize {
        loop {
            match self.events.recv().await.unwrap() {
                FetchEvent::Progress(progress) if progress.here.0 >= least => return progress.here,
                _ => {}
            }
        }
    }
}

/// The player `name` begins to fetch into this depot.
fn begin(
    place: &Place,
    name: &str,
    depot: &str,
    bundle: &StoredBundle,
    relays: &[(&str, SocketAddr)],
) -> Fetching {
    let ticket = RelayTicket { player: host(name), ..place.ticket(bundle.id) };
    let relays: Vec<(HostName, String)> =
        relays.iter().map(|(name, address)| (host(name), address.to_string())).collect();
    let sources = FetchSources { relays, ticket: place.sign(ticket), hopeless: None };
    let files = place.files(Role::Player, name);
    begin_with(bundle.seal.clone(), sources, into(files, place.path(depot)))
}

/// A depot that has room, of the player with these files.
pub(crate) fn into(files: TlsFiles, depot: PathBuf) -> FetchPlace {
    let (serve_for, in_use) = (Duration::ZERO, BTreeSet::new());
    let room = DepotRoom { most: ByteSize(1 << 30), serve_for, in_use };
    FetchPlace { depot, room, domain: host("example.com"), files, newest: NewestLists::default() }
}

pub(crate) fn begin_with(seal: Seal, sources: FetchSources, into: FetchPlace) -> Fetching {
    let (named, further) = mpsc::channel(4);
    named.try_send(sources).unwrap();
    let (sender, events) = mpsc::channel(64);
    let ended = tokio::spawn(fetch(seal, into, further, sender));
    let sources = named;
    Fetching { ended, sources, events }
}

fn complaints(told: &[FetchEvent]) -> Vec<(String, &SourceFault)> {
    let complaints = told.iter().filter_map(|event| match event {
        FetchEvent::Complaint { source, fault } => Some((source.to_string(), fault)),
        FetchEvent::Ready | FetchEvent::Progress(_) => None,
    });
    complaints.collect()
}

/// Unpacks what has arrived, and compares it with what was published.
pub(crate) fn assert_unpacks(place: &Place, arrived: &StoredBundle) {
    assert_eq!(verify(arrived).unwrap().wrong, 0);
    let target = place.path("unpacked");
    unpack(arrived, &arrived.manifest().unwrap(), &target).unwrap();
    assert!(fs::read(target.join("data")).unwrap() == fs::read(place.path("source/data")).unwrap());
    fs::remove_dir_all(target).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

#[test]
fn a_bundle_passes_through_a_host_that_is_still_fetching_it() {
    let place = Place::new();
    let bundle = place.publish(CHUNKS * CHUNK_BYTES as usize + 77);
    run(async {
        let first = place.relay().await;
        let between = place.relay_with(&place.config_of("fe1", "depot-1")).await;
        let one = begin(&place, "fe1", "depot-1", &bundle, &[(RELAY, first)]);
        let other = begin(&place, "fe2", "depot-2", &bundle, &[("fe1", between), (RELAY, first)]);
        let ((one, told), (other, of_other)) = tokio::join!(one.end(), other.end());
        assert_unpacks(&place, &one.unwrap());
        assert_unpacks(&place, &other.unwrap());
        assert!(complaints(&told).is_empty() && complaints(&of_other).is_empty());
    });
}

#[test]
fn a_flipped_bit_in_a_relays_depot_is_left_and_named_and_never_in_the_place() {
    let place = Place::new();
    let bundle = place.publish(CHUNKS * CHUNK_BYTES as usize);
    copy(&place.path("depot"), &place.path("flipped"));
    let content = place.path("flipped").join(bundle.id.to_string()).join("content");
    let file = fs::File::options().read(true).write(true).open(content).unwrap();
    let mut byte = [0];
    let at = 9 * CHUNK_BYTES + 1_234;
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 8], at).unwrap();
    run(async {
        let good = place.relay().await;
        let bad = place.relay_with(&place.config_of("db2", "flipped")).await;
        // Alone it is the end of the fetch, which says why; the other chunks stay.
        let alone = begin(&place, "fe1", "own", &bundle, &[("db2", bad)]);
        let (ended, told) = alone.end().await;
        let fault = SourceFault::BadChunks { count: 2, last: 9 };
        assert_eq!(complaints(&told), [("db2".to_owned(), &fault)]);
        let Err(NotFetched::Failed(FetchFailure::NoSource(faults))) = ended else {
            panic!("{ended:?}");
        };
        assert_eq!(faults, [(host("db2"), fault)]);

        // Beside another one it is left, and all of the bundle is there.
        for depot in ["own", "other"] {
            let relays = [("db2", bad), (RELAY, good)];
            let (ended, told) = begin(&place, "fe1", depot, &bundle, &relays).end().await;
            assert_unpacks(&place, &ended.unwrap());
            assert!(complaints(&told).iter().all(|(source, _)| source == "db2"), "{told:?}");
        }
    });
}

#[test]
fn a_fetch_goes_on_with_the_next_source_when_a_relay_ends() {
    let place = Place::new();
    let bundle = place.publish(CHUNKS * CHUNK_BYTES as usize);
    copy(&place.path("depot"), &place.path("copied"));
    run(async {
        let good = place.relay().await;
        let rate = Some(ByteSize(8 * CHUNK_BYTES));
        let config = Config { serve_rate: rate, ..place.config_of("db2", "copied") };
        let slow = Relay::start(&config).await.unwrap();
        let address = slow.address();
        let slow = tokio::spawn(slow.run());
        let relays = [("db2", address), (RELAY, good)];
        let mut fetching = begin(&place, "fe1", "own", &bundle, &relays);
        fetching.progress(CHUNK_BYTES).await;
        slow.abort();
        let (ended, told) = fetching.end().await;
        assert_unpacks(&place, &ended.unwrap());
        assert!(complaints(&told).is_empty(), "whoever ends has not lied");
    });
}

#[test]
fn the_next_fetch_goes_on_from_what_has_arrived() {
    let place = Place::new();
    let bundle = place.publish(CHUNKS * CHUNK_BYTES as usize);
    run(async {
        let rate = Some(ByteSize(8 * CHUNK_BYTES));
        let slow = place.relay_with(&Config { serve_rate: rate, ..place.config() }).await;
        let mut fetching = begin(&place, "fe1", "own", &bundle, &[(RELAY, slow)]);
        let before = fetching.progress(2 * CHUNK_BYTES).await;
        // Nobody wants it any more.
        let Fetching { ended, sources, events } = fetching;
        drop((sources, events));
        let ended = ended.await.unwrap();
        assert!(matches!(ended, Err(NotFetched::Unwanted)), "{ended:?}");
        let arriving = Depot::at(&place.path("own")).receive(&bundle.seal).unwrap();
        let here = u64::from(arriving.here().count()) * CHUNK_BYTES;
        assert!(here >= before.0, "{here} of {before}");
        drop(arriving);

        let fast = place.relay_with(&place.config_of("db2", "depot")).await;
        let (ended, _) = begin(&place, "fe1", "own", &bundle, &[("db2", fast)]).end().await;
        assert_unpacks(&place, &ended.unwrap());
        // What is whole is asked of nobody.
        let (ended, _) = begin(&place, "fe1", "own", &bundle, &[]).end().await;
        assert_eq!(ended.unwrap().id, bundle.id);
    });
}

#[test]
fn a_wrong_manifest_is_named_and_the_right_one_fetched() {
    let place = Place::new();
    let bundle = place.publish(3 * CHUNK_BYTES as usize);
    copy(&place.path("depot"), &place.path("forged"));
    let manifest = place.path("forged").join(bundle.id.to_string()).join("manifest");
    let mut bytes = fs::read(&manifest).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&manifest, bytes).unwrap();
    run(async {
        let bad = place.relay_with(&place.config_of("db2", "forged")).await;
        let alone = begin(&place, "fe1", "own", &bundle, &[("db2", bad)]);
        let (ended, told) = alone.end().await;
        let Err(NotFetched::Failed(FetchFailure::NoSource(_))) = ended else { panic!("{ended:?}") };
        assert_eq!(complaints(&told), [("db2".to_owned(), &SourceFault::WrongManifest)]);
        let relays = [("db2", bad), (RELAY, place.relay().await)];
        let (ended, _) = begin(&place, "fe1", "own", &bundle, &relays).end().await;
        assert_unpacks(&place, &ended.unwrap());
    });
}

#[test]
fn who_accepts_and_says_nothing_is_passed_over_and_so_is_who_is_not_there() {
    let place = Place::new();
    let bundle = place.publish(3 * CHUNK_BYTES as usize);
    run(async {
        let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gone = {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        let relays =
            [("db3", gone), ("db2", mute.local_addr().unwrap()), (RELAY, place.relay().await)];
        let (ended, told) = begin(&place, "fe1", "own", &bundle, &relays).end().await;
        assert_unpacks(&place, &ended.unwrap());
        assert!(complaints(&told).is_empty(), "silence is no lie");
    });
}

#[test]
fn a_depot_without_room_says_so_with_the_figures() {
    let place = Place::new();
    let bundle = place.publish(3 * CHUNK_BYTES as usize);
    run(async {
        let relays = vec![(host(RELAY), place.relay().await.to_string())];
        let sources =
            FetchSources { relays, ticket: place.sign(place.ticket(bundle.id)), hopeless: None };
        let mut narrow = into(place.files(Role::Player, "fe1"), place.path("own"));
        narrow.room.most = ByteSize(512 << 10);
        let (ended, _) = begin_with(bundle.seal.clone(), sources, narrow).end().await;
        let why = orchestra_model::chain(&ended.unwrap_err());
        assert!(why.contains("are to come, 0B are in use"), "{why}");
        assert!(why.ends_with("and the depot may have 512KiB (depot_max)"), "{why}");
    });
}
