//! Who is named to whom, case by case.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

use orchestra_model::{HostName, Millis, Timestamp, bundle::BundleId};
use orchestra_spread::{Asking, Spread, bounds};

const BUNDLE: BundleId = BundleId([7; 32]);
const LARGE: u64 = 64 << 20;
const SMALL: u64 = 1_024;

fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

/// Asks for `h{n}`, whose copies are at `c1`.
struct Ask<'a> {
    spread: &'a mut Spread,
    bytes: u64,
    serves: bool,
    is_stalled: bool,
    faulty: &'a [&'a str],
    copies: &'a [&'a str],
}

impl<'a> Ask<'a> {
    fn of(spread: &'a mut Spread) -> Self {
        Self { spread, bytes: LARGE, serves: true, is_stalled: false, faulty: &[], copies: &["c1"] }
    }

    fn by(self, name: &str) -> String {
        let names = |names: &[&str]| names.iter().map(|name| host(name)).collect::<Vec<_>>();
        let (faulty, copies) = (names(self.faulty), names(self.copies));
        let asking = Asking {
            host: &host(name),
            serves: self.serves,
            is_stalled: self.is_stalled,
            faulty: &faulty,
            bytes: self.bytes,
            hosts: 8,
            copies: &copies,
        };
        let named = self.spread.ask(Timestamp(1), BUNDLE, asking);
        self.spread.audit().unwrap();
        named.iter().map(HostName::as_str).collect::<Vec<_>>().join(" ")
    }
}

fn ask(spread: &mut Spread, name: &str) -> String {
    Ask::of(spread).by(name)
}

#[test]
fn a_large_bundle_goes_along_a_row() {
    let mut spread = Spread::default();
    let named: Vec<String> = (1..=6).map(|n| ask(&mut spread, &format!("h{n}"))).collect();
    assert_eq!(
        named,
        ["c1", "h1 c1", "h2 h1 c1", "h3 h2 h1 c1", "h4 h3 h2 h1 c1", "h5 h4 h3 h2 c1"]
    );
    // Who asks again is told the same.
    assert_eq!(ask(&mut spread, "h3"), "h2 h1 c1");
}

#[test]
fn a_small_bundle_goes_along_a_tree() {
    let mut spread = Spread::default();
    let named: Vec<String> = (1..=6)
        .map(|n| Ask { bytes: SMALL, ..Ask::of(&mut spread) }.by(&format!("h{n}")))
        .collect();
    assert_eq!(named, ["c1", "c1", "c1", "h1 c1", "h1 c1", "h1 c1"]);
}

#[test]
fn a_host_without_a_relay_serves_nobody_and_stops_no_row() {
    let mut spread = Spread::default();
    assert_eq!(Ask { serves: false, ..Ask::of(&mut spread) }.by("leaf1"), "c1");
    assert_eq!(ask(&mut spread, "h1"), "c1");
    assert_eq!(ask(&mut spread, "h2"), "h1 c1");
    for n in 2..=4 {
        let told = Ask { serves: false, ..Ask::of(&mut spread) }.by(&format!("leaf{n}"));
        assert_eq!(told, "h1 c1", "leaf{n}");
    }
    // It serves four at most.
    assert_eq!(Ask { serves: false, ..Ask::of(&mut spread) }.by("leaf5"), "h2 h1 c1");
    assert_eq!(ask(&mut spread, "h3"), "h2 h1 c1");
}

#[test]
fn a_host_is_told_of_nobody_who_may_wait_for_it() {
    let mut spread = Spread::default();
    (1..=4).for_each(|n| drop(ask(&mut spread, &format!("h{n}"))));
    // The first one was killed, and asks again: all others are behind it.
    spread.detached(Timestamp(2), &host("h1"));
    assert_eq!(ask(&mut spread, "h5"), "c1");
    assert_eq!(ask(&mut spread, "h6"), "h4 h3 h2 c1");
    assert_eq!(ask(&mut spread, "h1"), "c1");
    assert_eq!(ask(&mut spread, "h2"), "h1 c1");
}

#[test]
fn who_has_everything_serves_whoever_comes() {
    let mut spread = Spread::default();
    (1..=3).for_each(|n| drop(ask(&mut spread, &format!("h{n}"))));
    spread.arrived(Timestamp(2), BUNDLE, &host("h3"));
    spread.audit().unwrap();
    assert_eq!(ask(&mut spread, "h4"), "h3 c1");
    // It cannot be circled: it waits for nobody.
    assert_eq!(Ask { is_stalled: true, ..Ask::of(&mut spread) }.by("h1"), "h3 c1");
    spread.detached(Timestamp(3), &host("h3"));
    assert_eq!(ask(&mut spread, "h5"), "c1");
    spread.attached(&host("h3"));
    assert_eq!(ask(&mut spread, "h6"), "h3 c1");
    // One that lost the bundle asks, and is no source any more.
    assert!(!ask(&mut spread, "h3").contains("h3"));
}

#[test]
fn whoever_gets_nothing_is_told_first_of_those_that_wait_for_nobody() {
    let mut spread = Spread::default();
    (1..=4).for_each(|n| drop(ask(&mut spread, &format!("h{n}"))));
    assert_eq!(Ask { is_stalled: true, ..Ask::of(&mut spread) }.by("h4"), "c1 h3 h2 h1");
}

#[test]
fn what_one_host_says_of_another_moves_itself_and_three_take_it_out() {
    let mut spread = Spread::default();
    (1..=2).for_each(|n| drop(ask(&mut spread, &format!("h{n}"))));
    let faulty = ["h2"];
    for n in 3..=5 {
        let told = Ask { faulty: &faulty, ..Ask::of(&mut spread) }.by(&format!("h{n}"));
        assert!(!told.contains("h2"), "{told}");
        // The same again counts once.
        Ask { faulty: &faulty, ..Ask::of(&mut spread) }.by(&format!("h{n}"));
        let is_named = ask(&mut spread, &format!("x{n}")).contains("h2");
        assert_eq!(is_named, n < 5, "after {} of three", n - 2);
        spread.ended(Timestamp(2), BUNDLE, &host(&format!("x{n}")));
    }
    for n in 6..=9 {
        assert!(!ask(&mut spread, &format!("h{n}")).contains("h2"));
    }
}

#[test]
fn where_nobody_has_it_nobody_is_named() {
    let mut spread = Spread::default();
    assert_eq!(Ask { copies: &[], ..Ask::of(&mut spread) }.by("h1"), "");
    // Somebody who is getting it is better than nobody, and a copy that turns up is told.
    assert_eq!(Ask { copies: &[], ..Ask::of(&mut spread) }.by("h2"), "h1");
    assert_eq!(ask(&mut spread, "h1"), "c1");
    // The copy's own host does not fetch from itself.
    assert_eq!(Ask { copies: &["h9"], ..Ask::of(&mut spread) }.by("h9"), "h2 h1");
}

#[test]
fn several_copies_are_asked_by_turns() {
    let mut spread = Spread::default();
    let copies = ["c1", "c2", "c3"];
    let told: Vec<String> = (0..3)
        .map(|n| Ask { copies: &copies, ..Ask::of(&mut spread) }.by(&format!("h{n}")))
        .collect();
    assert_eq!(told, ["c1 c2", "c2 c3", "c3 c1"]);
    assert_eq!(Ask { copies: &copies, ..Ask::of(&mut spread) }.by("h3"), "h0 c1 c2");
}

#[test]
fn bundles_that_nobody_fetches_are_forgotten() {
    /// How many sources a host is told of a bundle at a moment, in milliseconds.
    fn told(spread: &mut Spread, now: u64, id: u8, name: &str) -> usize {
        let asking = Asking {
            host: &host(name),
            serves: true,
            is_stalled: false,
            faulty: &[],
            bytes: LARGE,
            hosts: 8,
            copies: &[],
        };
        spread.ask(Timestamp(now), BundleId([id; 32]), asking).len()
    }
    let spread = &mut Spread::default();
    told(spread, 0, 1, "h1");
    assert_eq!(told(spread, 0, 1, "h2"), 1);
    let later = bounds::KEPT.0 + 1;
    told(spread, later, 2, "h1");
    // It is still fetched.
    assert_eq!(told(spread, later, 1, "h3"), 2);
    for name in ["h1", "h2", "h3"] {
        spread.ended(Timestamp(later), BundleId([1; 32]), &host(name));
    }
    told(spread, later + Millis::minutes(61).0, 3, "h1");
    // It is another bundle for all that is known: whoever asks is the first again.
    spread.arrived(Timestamp(0), BundleId([1; 32]), &host("h1"));
    assert_eq!(told(spread, later + Millis::minutes(61).0, 1, "h4"), 0);
}
