//! What is told of fetches, and who is named.

use orchestra_ca::{Ca, Terms};
use orchestra_certs::{Credentials, Role, Subject};
use orchestra_model::{
    JobId,
    delivery::{AttemptKey, StoreId},
};

use super::*;

const BUNDLE: BundleId = BundleId([7; 32]);

fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

fn report(stage: FetchStage, here: u64) -> FetchReport {
    let job = JobId { flow: FlowId(9), slot: 1, job: 1 };
    FetchReport {
        attempt: AttemptKey { store: StoreId([1; 16]), job, attempt: 1 },
        bundle: BUNDLE,
        stage,
        here: ByteSize(here),
        source: Some(host("b1")),
        wants_sources: false,
        is_stalled: false,
        faulty: Vec::new(),
        left: String::new(),
    }
}

#[test]
fn how_fast_a_bundle_comes_is_told_until_a_while_after_its_end() {
    let mut table = Table::default();
    let at = |ms: u64| Timestamp(1_000_000 + ms);
    let fe1 = host("fe1");
    let mut say = |stage, here, ms| {
        table.note(&fe1, report(stage, here), Some(ByteSize(10_000)), at(ms));
        let [told] = &table.told[&fe1][..] else { panic!("one bundle") };
        (told.here.0, told.rate, told.time_left().map(|left| left.0))
    };
    assert_eq!(say(FetchStage::Fetching, 0, 0), (0, 0, None));
    assert_eq!(say(FetchStage::Fetching, 2_000, 1_000), (2_000, 2_000, Some(4_000)));
    // Two reports that come together say nothing of the rate.
    assert_eq!(say(FetchStage::Fetching, 2_100, 1_010), (2_100, 2_000, Some(3_950)));
    assert!(
        is_news(&table.told[&fe1][0], at(61_009)) && !is_news(&table.told[&fe1][0], at(61_010))
    );
    let mut say = |stage, here, ms| {
        table.note(&fe1, report(stage, here), None, at(ms));
        let [told] = &table.told[&fe1][..] else { panic!("one bundle") };
        (told.here.0, told.rate, told.time_left().map(|left| left.0))
    };
    assert_eq!(say(FetchStage::Arrived, 0, 2_000), (10_000, 0, None));
    let told = table.told[&fe1][0].clone();
    assert!(is_news(&told, at(2_000 + ENDED.0 - 1)) && !is_news(&told, at(2_000 + ENDED.0)));
}

#[test]
fn an_old_session_that_ends_late_takes_nobody_away() {
    let (_, fleet) = watch::channel(Arc::default());
    let fetches = Fetches::new(fleet, || None, Clock::start());
    let address: IpAddr = "10.0.0.1".parse().unwrap();
    fetches.attached(&host("fe1"), SessionId(1), address);
    fetches.attached(&host("fe1"), SessionId(2), address);
    fetches.detached(&host("fe1"), SessionId(1));
    assert!(fetches.lock().sessions.contains_key(&host("fe1")));
    fetches.detached(&host("fe1"), SessionId(2));
    assert!(fetches.lock().sessions.is_empty());
}

#[test]
fn a_player_that_asks_without_end_is_not_answered_without_end() {
    let mut table = Table::default();
    let (fe1, fe2) = (host("fe1"), host("fe2"));
    let at = |ms: u64| Timestamp(1_000_000 + ms);
    let answered = (0..1_000).filter(|n| table.may_answer(&fe1, at(*n))).count();
    assert_eq!(answered, 100);
    assert!(table.may_answer(&fe2, at(1_000)));
    assert!(!table.may_answer(&fe1, at(9_999)) && table.may_answer(&fe1, at(10_000)));
}

#[test]
fn what_a_player_says_is_harmless_to_show() {
    let mut table = Table::default();
    let hostile =
        FetchReport { left: "b1: \x1b[2Jgone\r\n".to_owned(), ..report(FetchStage::Fetching, 1) };
    table.note(&host("fe1"), hostile, None, Timestamp(1));
    assert_eq!(table.told[&host("fe1")][0].left, "b1: [2Jgone");
}

#[tokio::test(start_paused = true)]
async fn a_ticket_is_of_the_time_that_this_machine_tells_now() {
    let directory = tempfile::tempdir().unwrap();
    let domain = host("example.com");
    let ca = Ca::init(&directory.path().join("ca"), &domain).unwrap();
    let subject = Subject::new(Role::Conductor, "c.example.com").unwrap();
    ca.save(&[ca.issue(&subject, &Terms::default()).unwrap()], true).unwrap();
    let credentials = Credentials::load(&ca.files(&subject), &domain).unwrap();
    let signer = credentials.ticket_signer().unwrap();
    let (_, fleet) = watch::channel(Arc::default());
    let fetches = Fetches::new(fleet, move || Some(signer.clone()), Clock::start());
    // The machine's clock was set back since, or stood still for the conductor alone.
    tokio::time::advance(std::time::Duration::from_secs(7_200)).await;
    let fetchable =
        Fetchable { flow: FlowId(9), content: ByteSize(1), tasks: 1, copies: vec![host("b1")] };
    let asked = report(FetchStage::Fetching, 0);
    let named = fetches.name_sources(&host("fe1"), asked, &fetchable).unwrap();
    let RelayTicket { made, expires, .. } = named.ticket.ticket;
    assert!(Clock::wall().since(made) < Millis::minutes(5), "{made:?}");
    assert!(made.since(Clock::wall()) == Millis(0) && expires == made.after(TICKET_LASTS));
}
