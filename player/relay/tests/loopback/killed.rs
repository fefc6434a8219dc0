//! A process that fetches and is killed, again and again: nothing that it noted is lost, and the bundle
//! is what was published.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use orchestra_bundle::{Depot, StoredBundle};
use orchestra_certs::{Role, TlsFiles};
use orchestra_model::relay::FetchSources;
use orchestra_model::{
    ByteSize,
    bundle::{ArrivalJournal, BundleShape, CHUNK_BYTES, Seal},
    relay::{RelayTicket, SignedTicket},
};
use relay::Config;
use tokio::time::sleep;

use crate::{
    fetched::{assert_unpacks, begin_with, into},
    place::{Place, RELAY, host, run},
};

const CHUNKS: usize = 24;
/// How often the process is killed, and how many further chunks it has noted by then.
const KILLS: u32 = 4;
const NOTED: u32 = 4;
/// Set for a process that fetches: the directory in which it is told what.
const FETCHES: &str = "ORCHESTRA_TEST_FETCHES";
/// Longest wait for a process to get on; none is expected to come near it.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a process that fetches is told, in files of a directory.
struct Told(PathBuf);

impl Told {
    fn write(place: &Place, bundle: &StoredBundle, address: &str) -> Self {
        let told = Self(place.path("told"));
        fs::create_dir(&told.0).unwrap();
        let ticket: RelayTicket = place.ticket(bundle.id);
        fs::write(told.0.join("seal"), bundle.seal.encode()).unwrap();
        fs::write(told.0.join("ticket"), place.sign(ticket).encode()).unwrap();
        let TlsFiles { ca, cert, key, .. } = place.files(Role::Player, "fe1");
        let depot = place.path("own");
        let paths = [ca, cert, key, depot].map(|path| path.display().to_string());
        fs::write(told.0.join("words"), [address.to_owned(), paths.join("\n")].join("\n")).unwrap();
        told
    }

    /// Fetches as it is told, until it is killed.
    async fn fetch(&self) {
        let read = |name| fs::read(self.0.join(name)).unwrap();
        let seal = Seal::decode(&read("seal")).unwrap();
        let ticket = SignedTicket::decode(&read("ticket")).unwrap();
        let words = String::from_utf8(read("words")).unwrap();
        let words: Vec<&str> = words.lines().collect();
        let [address, ca, cert, key, depot] = words[..] else { panic!("{words:?}") };
        let files = TlsFiles { ca: ca.into(), cert: cert.into(), key: key.into(), crl: None };
        let relays = vec![(host(RELAY), address.to_owned())];
        let sources = FetchSources { relays, ticket, hopeless: None };
        let (ended, _) = begin_with(seal, sources, into(files, depot.into())).end().await;
        ended.unwrap();
    }

    /// A process that runs this one test again, and fetches.
    fn fetcher(&self) -> Killed {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "killed::a_process_that_is_killed_loses_nothing_that_it_noted"]);
        command.env(FETCHES, &self.0).stdout(Stdio::null()).stderr(Stdio::null());
        Killed(command.spawn().unwrap())
    }
}

/// A process that is killed when this is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// How many chunks a journal names.
fn noted(journal: &Path, bundle: &StoredBundle) -> u32 {
    let bytes = match fs::read(journal) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return 0,
        Err(error) => panic!("{}: {error}", journal.display()),
    };
    let chunks = BundleShape::of(&bundle.seal.statement).chunks();
    ArrivalJournal::read(&bytes, bundle.id, chunks).map_or(0, |read| read.here().count())
}

#[test]
fn a_process_that_is_killed_loses_nothing_that_it_noted() {
    if let Some(told) = env::var_os(FETCHES) {
        return run(async move { Told(told.into()).fetch().await });
    }
    let place = Place::new();
    let bundle = place.publish(CHUNKS * CHUNK_BYTES as usize);
    let journal = place.path("own/incoming").join(bundle.id.to_string()).join("arrival");
    let whole = place.path("own").join(bundle.id.to_string());
    run(async {
        // 16 chunks a second: the process is killed in the middle.
        let rate = Some(ByteSize(16 * CHUNK_BYTES));
        let relay = place.relay_with(&Config { serve_rate: rate, ..place.config() }).await;
        let told = Told::write(&place, &bundle, &relay.to_string());
        let mut before = 0;
        for _ in 0..KILLS {
            let process = told.fetcher();
            let until = Instant::now() + PATIENCE;
            while noted(&journal, &bundle) < before + NOTED && !whole.exists() {
                sleep(Duration::from_millis(5)).await;
                assert!(Instant::now() < until, "it does not get on");
            }
            drop(process);
            if whole.exists() {
                // It was faster than we are.
                break;
            }
            let named = noted(&journal, &bundle);
            let arriving = Depot::at(&place.path("own")).receive(&bundle.seal).unwrap();
            assert_eq!(arriving.here().count(), named, "all that it noted");
            before = named;
        }
        told.fetch().await;
        let arrived = Depot::at(&place.path("own")).list().unwrap().swap_remove(0).unwrap();
        assert_unpacks(&place, &arrived);
    });
}
