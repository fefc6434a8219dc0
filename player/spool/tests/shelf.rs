//! The shelf of outputs: its stories, and a random life beside a list that knows nothing but what was done.

use orchestra_model::{
    FlowId, JobId, Millis, Timestamp,
    chance::Chance,
    delivery::{AttemptKey, StoreId},
    service::LogStream,
};
use orchestra_spool::shelf::{KeptStream, LEAST_BYTES, OUTPUTS, Shelf, Shelved};

const KIB: u64 = 1 << 10;

fn output(number: u64) -> KeptStream {
    let job = JobId { flow: FlowId(number / 2 + 1), slot: 1, job: 1 };
    let stream = if number.is_multiple_of(2) { LogStream::Stdout } else { LogStream::Stderr };
    KeptStream { attempt: AttemptKey { store: StoreId([7; 16]), job, attempt: 1 }, stream }
}

fn at(second: u64) -> Timestamp {
    Timestamp(second * 1_000)
}

fn numbers(gone: &[Shelved]) -> Vec<u64> {
    let number = |output: &KeptStream| {
        (output.attempt.job.flow.0 - 1) * 2 + u64::from(output.stream == LogStream::Stderr)
    };
    gone.iter().map(|(_, output)| number(output)).collect()
}

#[test]
fn an_output_is_kept_for_its_time_and_no_longer() {
    let mut shelf = Shelf::new(Millis::seconds(10), 100 * KIB);
    assert_eq!(shelf.next_deadline(), None);
    assert_eq!(shelf.put(output(1), at(100), 20 * KIB), []);
    assert_eq!(shelf.put(output(2), at(105), 20 * KIB), []);
    assert_eq!(shelf.next_deadline(), Some(at(110)));
    assert_eq!(shelf.expire(Timestamp(109_999)), []);
    assert_eq!(shelf.find(output(1)), Some(at(100)));
    assert_eq!(numbers(&shelf.expire(at(110))), [1]);
    assert_eq!((shelf.find(output(1)), shelf.find(output(2))), (None, Some(at(105))));
    assert_eq!(numbers(&shelf.expire(at(1_000))), [2]);
    assert_eq!(shelf.held(), (0, 0));
}

#[test]
fn the_oldest_make_room_for_what_comes() {
    let mut shelf = Shelf::new(Millis::days(1), 100 * KIB);
    for number in 0..4 {
        assert_eq!(shelf.put(output(number), at(number), 25 * KIB), []);
    }
    assert_eq!(numbers(&shelf.put(output(4), at(4), 26 * KIB)), [0, 1]);
    assert_eq!(shelf.held(), (3, 76 * KIB));
    // What is larger than all that may be kept costs the others nothing.
    assert_eq!(numbers(&shelf.put(output(5), at(5), 101 * KIB)), [5]);
    assert_eq!(shelf.held(), (3, 76 * KIB));
    // What is as large as the budget is kept, and nothing beside it.
    assert_eq!(numbers(&shelf.put(output(6), at(6), 100 * KIB)), [2, 3, 4]);
    shelf.audit();
}

#[test]
fn a_full_disk_takes_the_older_half() {
    let mut shelf = Shelf::new(Millis::days(1), 1_000 * KIB);
    for number in 0..4 {
        shelf.put(output(number), at(number), 100 * KIB);
    }
    assert_eq!(numbers(&shelf.make_room()), [0, 1]);
    assert_eq!(numbers(&shelf.make_room()), [2]);
    assert_eq!(numbers(&shelf.make_room()), [3]);
    assert_eq!(shelf.make_room(), []);
}

#[test]
fn where_nothing_is_to_be_kept_nothing_is() {
    for mut shelf in [Shelf::new(Millis(0), 100 * KIB), Shelf::new(Millis::days(1), 0)] {
        assert_eq!(numbers(&shelf.put(output(1), at(1), KIB)), [1]);
        assert_eq!((shelf.held(), shelf.find(output(1))), ((0, 0), None));
    }
}

#[test]
fn many_small_outputs_have_a_bound() {
    let mut shelf = Shelf::new(Millis::days(1), 10 * LEAST_BYTES);
    let gone: Vec<u64> =
        (0..12).flat_map(|number| numbers(&shelf.put(output(number), at(number), 1))).collect();
    assert_eq!(gone, [0, 1]);
    let mut shelf = Shelf::new(Millis::days(1), u64::MAX / 2);
    let most = OUTPUTS as u64;
    let gone: Vec<u64> = (0..most + 3)
        .flat_map(|number| numbers(&shelf.put(output(number), at(number), 1)))
        .collect();
    assert_eq!(gone, [0, 1, 2]);
}

#[test]
fn a_clock_that_was_ahead_makes_nothing_stay() {
    let mut shelf = Shelf::new(Millis::seconds(10), 100 * KIB);
    shelf.put(output(1), at(9_000), KIB);
    shelf.put(output(2), at(105), KIB);
    assert_eq!(numbers(&shelf.expire(at(100))), [1], "nobody knows how old it is");
    assert_eq!(shelf.find(output(2)), Some(at(105)), "a few seconds are no reason");
}

#[test]
fn an_output_lies_there_once() {
    let mut shelf = Shelf::new(Millis::days(1), 100 * KIB);
    shelf.put(output(1), at(1), 20 * KIB);
    assert_eq!(shelf.put(output(1), at(2), 30 * KIB), [(at(1), output(1))]);
    assert_eq!(shelf.held(), (1, 30 * KIB));
    assert_eq!(shelf.remove(output(1)), Some((at(2), output(1))));
    assert_eq!(shelf.remove(output(1)), None);
}

/// What a shelf should hold, told by a list and nothing else.
#[derive(Default)]
struct Reference(Vec<(Timestamp, KeptStream, u64)>);

impl Reference {
    fn bytes(&self) -> u64 {
        self.0.iter().map(|(_, _, bytes)| bytes).sum()
    }

    fn oldest(&mut self) -> Shelved {
        self.0.sort();
        let (at, output, _) = self.0.remove(0);
        (at, output)
    }

    fn take(&mut self, is_meant: impl Fn(&(Timestamp, KeptStream, u64)) -> bool) -> Vec<Shelved> {
        let gone = self.0.iter().filter(|it| is_meant(it)).map(|(at, output, _)| (*at, *output));
        let gone = gone.collect();
        self.0.retain(|it| !is_meant(it));
        gone
    }
}

#[test]
fn whatever_is_put_there_the_shelf_keeps_what_it_should() {
    for seed in 0..200 {
        let mut chance = Chance::new(seed);
        let (keep, budget) = (Millis::seconds(60), 300 * KIB);
        let mut shelf = Shelf::new(keep, budget);
        let mut reference = Reference::default();
        let mut now = at(1_000);
        for step in 0..300 {
            let what = format!("seed {seed}, step {step}");
            let (gone, wanted) = match chance.up_to(9) {
                0..5 => {
                    let (of, bytes) = (output(chance.up_to(30)), chance.up_to(350 * KIB));
                    let mut wanted = reference.take(|(_, other, _)| *other == of);
                    let cost = bytes.max(LEAST_BYTES);
                    if cost > budget {
                        wanted.push((now, of));
                    } else {
                        reference.0.push((now, of, cost));
                        while reference.bytes() > budget {
                            wanted.push(reference.oldest());
                        }
                    }
                    (shelf.put(of, now, bytes), wanted)
                }
                5..8 => {
                    let is_old = |at: &Timestamp| now.since(*at) >= keep || at.since(now) > keep;
                    (shelf.expire(now), reference.take(|(at, ..)| is_old(at)))
                }
                8 => {
                    let (most, mut wanted) = (reference.bytes() / 2, Vec::new());
                    while reference.bytes() > most {
                        wanted.push(reference.oldest());
                    }
                    (shelf.make_room(), wanted)
                }
                _ => {
                    let of = output(chance.up_to(30));
                    let gone: Vec<Shelved> = shelf.remove(of).into_iter().collect();
                    (gone, reference.take(|(_, other, _)| *other == of))
                }
            };
            let sorted = |mut gone: Vec<Shelved>| {
                gone.sort();
                gone
            };
            assert_eq!(sorted(gone), sorted(wanted), "{what}");
            shelf.audit();
            for number in 0..=30 {
                let there = reference.0.iter().find(|(_, of, _)| *of == output(number));
                assert_eq!(shelf.find(output(number)), there.map(|(at, ..)| *at), "{what}");
            }
            let first = reference.0.iter().map(|(at, ..)| at.after(keep)).min();
            assert_eq!(shelf.next_deadline(), first, "{what}");
            // Mostly time goes on; now and then somebody sets the clock.
            now = match chance.up_to(60) {
                0 => Timestamp(now.0.saturating_sub(chance.up_to(600_000))),
                1 => now.after(Millis(chance.up_to(600_000))),
                _ => now.after(Millis(chance.up_to(8_000))),
            };
        }
    }
}
