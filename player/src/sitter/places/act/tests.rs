use std::{collections::BTreeSet, os::unix::fs::PermissionsExt as _};

use orchestra_model::{
    Asker, BundleName, FlowId, JobId, Params,
    bundle::{BundleId, BundleSerial, BundleStatement, PlaceRecord},
    delivery::StoreId,
    names::JobName,
};

use super::*;
use crate::{
    config::Config,
    sitter::{places::errand::receive, users::Users},
};

/// A host with the place `site`, which takes the bundles that it pins, and a depot.
struct Host {
    temp: tempfile::TempDir,
    config: Config,
    places: LocalPlaces,
    /// Attempts that have not ended.
    live: BTreeSet<AttemptKey>,
}

fn release(serial: u64) -> BundleRelease {
    BundleRelease { serial: BundleSerial::new(serial).unwrap(), id: BundleId([serial as u8; 32]) }
}

fn attempt(number: u32) -> AttemptKey {
    let job = JobId { flow: FlowId(number.into()), slot: 1, job: 1 };
    AttemptKey { store: StoreId([1; 16]), job, attempt: 1 }
}

fn seal(serial: u64) -> Seal {
    let BundleRelease { serial, id } = release(serial);
    Seal::unsigned(BundleStatement {
        domain: HostName::new("d").unwrap(),
        name: BundleName::new("site").unwrap(),
        serial,
        expires: None,
        id,
        manifest_bytes: 1,
        entries: 1,
        content_bytes: 1,
        size: 1,
    })
}

fn part(serial: u64) -> JobPart {
    let pairs = [("bundle".to_owned(), format!("site@{serial}"))];
    JobPart {
        job: attempt(1).job,
        name: JobName::new("x").unwrap(),
        score: orchestra_model::ScoreName::new("@deliver").unwrap(),
        audience: Asker::Local,
        params: Params::from_pairs(pairs).unwrap(),
        unit: None,
        seal: Some(seal(serial).into()),
    }
}

impl Host {
    fn new() -> Host {
        let temp = tempfile::tempdir().unwrap();
        for name in ["own/places.d", "own/scores", "own/spool", "srv", "depot"] {
            fs::create_dir_all(temp.path().join(name)).unwrap();
        }
        let text = "conductors = ['c:1']\nconductor_name = 'c'\ndomain = 'd'\nscores_dir = 'scores'\n\
                    places_dir = 'places.d'\nspool_dir = 'spool'\ntask_user = 'self'\n\
                    depot_dir = '../depot'\nagent_user = 'self'\n[tls]\nca = 'ca'\ncert = 'cert'\n\
                    key = 'key'\n";
        let config = Config::parse(&temp.path().join("own/player.toml"), text).unwrap();
        let pins: Vec<String> = (1..9).map(|serial| format!("'{}'", release(serial).id)).collect();
        let path = temp.path().join("srv/site");
        let file = format!("pins = [{}]\npath = '{}'\nkeep = 1\n", pins.join(", "), path.display());
        fs::write(temp.path().join("own/places.d/site.toml"), file).unwrap();
        for serial in 1..9 {
            let bundle = temp.path().join("depot").join(release(serial).id.to_string());
            fs::create_dir(&bundle).unwrap();
            fs::write(bundle.join("manifest"), "m").unwrap();
            fs::write(bundle.join("content"), "c").unwrap();
        }
        let mut host = Host { temp, config, places: LocalPlaces::default(), live: BTreeSet::new() };
        host.scan();
        host
    }

    /// As a sitter does that begins.
    fn scan(&mut self) {
        self.places =
            LocalPlaces::scan(&self.config, &mut Users::default(), &LocalPlaces::default());
    }

    fn judge(&self, what: BuiltIn, serial: u64, key: AttemptKey) -> Result<Change, Refusal> {
        self.places.judge(what, &part(serial), key, &self.ground(&|key| self.live.contains(&key)))
    }

    fn ground<'a>(&'a self, is_live: &'a dyn Fn(AttemptKey) -> bool) -> Ground<'a> {
        Ground {
            is_live,
            domain: &self.config.domain,
            depot: &self.config.depot_dir,
            now: Timestamp(1),
        }
    }

    fn begin(&mut self, change: &Change, key: AttemptKey) -> Result<Errand, Refusal> {
        let mut places = std::mem::take(&mut self.places);
        let live = |key| self.live.contains(&key);
        let begun = places.begin(change, key, &self.ground(&live));
        self.places = places;
        let socket = begun?;
        self.live.insert(key);
        Ok(receive(socket).unwrap().unwrap().0)
    }

    fn end(&mut self, key: AttemptKey, went_well: bool) {
        assert!(self.places.ended(key, BuiltIn::Deliver, went_well));
        self.live.remove(&key);
    }

    fn record(&self) -> PlaceRecord {
        let text = fs::read_to_string(self.temp.path().join("srv/site/.orchestra")).unwrap();
        PlaceRecord::decode(&text).unwrap()
    }

    fn deliver(&mut self, serial: u64, number: u32) {
        let change = self.judge(BuiltIn::Deliver, serial, attempt(number)).unwrap();
        self.begin(&change, attempt(number)).unwrap();
        self.end(attempt(number), true);
    }
}

#[test]
fn what_was_begun_is_on_disk_and_only_what_ended_well_is_there() {
    let mut host = Host::new();
    let change = host.judge(BuiltIn::Deliver, 3, attempt(1)).unwrap();
    let errand = host.begin(&change, attempt(1)).unwrap();
    assert!(matches!(errand, Errand::Deliver { is_active: false, .. }));
    let begun = host.record();
    assert_eq!((begun.highest, begun.kept.len()), (Some(release(3)), 0));
    // A sitter that takes the attempt over knows what it is about.
    host.scan();
    host.end(attempt(1), false);
    let failed = host.record();
    assert_eq!((failed.highest, failed.kept.len(), failed.pending), (Some(release(3)), 0, None));
    let older = host.judge(BuiltIn::Deliver, 2, attempt(2)).unwrap_err();
    assert!(older.to_string().contains("has taken 3 already"), "{older}");
    host.deliver(3, 3);
    assert_eq!(host.record().kept, BTreeSet::from([release(3)]));
    assert!(!host.places.ended(attempt(3), BuiltIn::Deliver, true), "it is over");
}

#[test]
fn a_place_is_changed_by_one_at_a_time() {
    let mut host = Host::new();
    // Both are judged before either begins.
    let first = host.judge(BuiltIn::Deliver, 2, attempt(1)).unwrap();
    let second = host.judge(BuiltIn::Deliver, 1, attempt(2)).unwrap();
    host.begin(&first, attempt(1)).unwrap();
    assert_eq!(
        host.begin(&second, attempt(2)).unwrap_err(),
        Refusal::Bundle(
            "the place site: its serial is 1, and the place has taken 2 already".to_owned()
        )
    );
    assert_eq!(host.judge(BuiltIn::Deliver, 3, attempt(3)).unwrap_err(), Refusal::Busy);
    // The order of what runs, sent again.
    assert!(host.judge(BuiltIn::Deliver, 2, attempt(1)).is_ok());
    // An attempt that nobody knows any more is no hindrance.
    host.live.clear();
    assert!(host.judge(BuiltIn::Deliver, 3, attempt(3)).is_ok());
}

#[test]
fn what_stays_is_said_to_whoever_removes_the_rest() {
    let mut host = Host::new();
    host.deliver(1, 1);
    host.deliver(2, 2);
    assert_eq!(host.record().kept, BTreeSet::from([release(2)]), "keep = 1");
    let current = host.temp.path().join("srv/site/current");
    std::os::unix::fs::symlink(format!("releases/{}", release(2)), current).unwrap();
    host.scan();
    let change = host.judge(BuiltIn::Deliver, 3, attempt(3)).unwrap();
    let Errand::Deliver { stay, .. } = host.begin(&change, attempt(3)).unwrap() else { panic!() };
    assert_eq!(BTreeSet::from_iter(stay), BTreeSet::from([release(2)]));
    host.end(attempt(3), true);
    assert_eq!(host.record().kept, BTreeSet::from([release(2), release(3)]));
    assert!(host.judge(BuiltIn::Activate, 3, attempt(4)).is_ok());
    let gone = host.judge(BuiltIn::Activate, 1, attempt(5)).unwrap_err();
    assert!(gone.to_string().contains("it was not delivered there"), "{gone}");
}

#[test]
fn a_depot_leads_nowhere_else() {
    let mut host = Host::new();
    let depot = host.temp.path().join("depot");
    let bundle = depot.join(release(4).id.to_string());
    let change = host.judge(BuiltIn::Deliver, 4, attempt(1)).unwrap();
    fs::remove_file(bundle.join("content")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", bundle.join("content")).unwrap();
    // It counts as missing, and whatever an agent says of it then, it is not opened.
    assert!(errand::open_bundle(&depot, release(4).id).is_err());
    let refused = host.begin(&change, attempt(1)).unwrap_err();
    assert!(matches!(refused, Refusal::Source(_)), "{refused}");
    fs::remove_dir_all(&bundle).unwrap();
    let refused = host.begin(&change, attempt(1)).unwrap_err();
    assert!(matches!(refused, Refusal::Source(_)), "{refused}");
}

#[test]
fn what_has_begun_is_known_from_the_record_of_its_place() {
    let mut host = Host::new();
    let change = host.judge(BuiltIn::Deliver, 4, attempt(1)).unwrap();
    assert!(host.places.has_not_begun(attempt(1)));
    host.begin(&change, attempt(1)).unwrap();
    assert!(!host.places.has_not_begun(attempt(1)) && host.places.has_not_begun(attempt(2)));
    // Where a place is not in order, nobody knows.
    let disabled = PlaceName::new("disabled").unwrap();
    host.places.entries.insert(disabled, Err("why".to_owned()));
    assert!(!host.places.has_not_begun(attempt(2)));
}

#[test]
fn an_order_has_to_say_what_publishers_say_of_its_very_bundle() {
    let host = Host::new();
    let judge = |part: &JobPart| {
        let refused =
            host.places.judge(BuiltIn::Deliver, part, attempt(1), &host.ground(&|_| false));
        refused.unwrap_err()
    };
    let none = JobPart { seal: None, ..part(1) };
    assert!(matches!(judge(&none), Refusal::Bundle(_)));
    let other = JobPart { seal: part(2).seal, ..part(1) };
    assert!(matches!(judge(&other), Refusal::Bundle(_)));
    let pairs = [("bundle".to_owned(), "site".to_owned())];
    let newest = JobPart { params: Params::from_pairs(pairs).unwrap(), ..part(1) };
    assert!(matches!(judge(&newest), Refusal::Parameters(_)));
}

#[test]
fn a_place_that_others_can_write_by_now_is_not_changed() {
    let mut host = Host::new();
    let change = host.judge(BuiltIn::Deliver, 1, attempt(1)).unwrap();
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(host.temp.path().join("srv"), open).unwrap();
    let refused = host.begin(&change, attempt(1)).unwrap_err();
    assert!(refused.to_string().contains("can be written by its group"), "{refused}");
}
