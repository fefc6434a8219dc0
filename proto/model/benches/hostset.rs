//! What it costs to expand and to fold 100,000 names: `make bench-parts BENCH=hostset`.
//!
//! Regular names are what people type; irregular ones are what an inventory says after years. They
//! are the same each time, in no order. A case may take 10 ms, expanding or folding.

#![expect(clippy::unwrap_used, reason = "a benchmark")]

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use orchestra_model::HostSet;

/// Names of each case.
const NAMES: usize = 100_000;

criterion_group! {
    name = hostset;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    targets = irregular, regular
}
criterion_main!(hostset);

/// Names one by one in, ranges out; and ranges in. Beside it what the least would be: the names
/// allocated and sorted by their bytes; and those of a set written one after the other.
fn irregular(criterion: &mut Criterion) {
    let cases = [
        ("gaps", names(|chance| format!("node{}", chance.below(200_000)))),
        (
            "racks",
            names(|chance| {
                let [rack, node, dc] = [500, 1_000, 5].map(|end| chance.below(end));
                format!("r{rack}n{node}.dc{dc}.example.com")
            }),
        ),
        (
            "addresses",
            names(|chance| {
                let [a, b, c] = [256; 3].map(|end| chance.below(end));
                format!("ip-10-{a}-{b}-{c}")
            }),
        ),
        (
            "padded",
            names(|chance| {
                let [number, cluster] = [300_000, 40].map(|end| chance.below(end));
                format!("fe{number:06}.c{cluster}.example.com")
            }),
        ),
        ("hexadecimal", names(|chance| format!("i-{:016x}.compute.internal", chance.next()))),
    ];
    let mut group = criterion.benchmark_group("hostset");
    group.throughput(Throughput::Elements(NAMES as u64));
    for (name, names) in cases {
        let text = names.join("\n");
        let set = HostSet::parse_plain(&text).unwrap();
        let folded = set.to_string();
        assert_eq!(HostSet::parse_plain(&folded).unwrap(), set);
        group.bench_function(BenchmarkId::new("allocate and sort", name), |bench| {
            bench.iter_with_large_drop(|| {
                let mut names: Vec<Arc<str>> = text.lines().map(Arc::from).collect();
                names.sort_unstable();
                names
            });
        });
        group.bench_function(BenchmarkId::new("write names", name), |bench| {
            bench.iter(|| {
                set.iter().fold(String::new(), |mut text, name| {
                    text.push_str(name.as_str());
                    text.push(',');
                    text
                })
            });
        });
        group.bench_function(BenchmarkId::new("expand names", name), |bench| {
            bench.iter_with_large_drop(|| HostSet::parse_plain(&text).unwrap());
        });
        group.bench_function(BenchmarkId::new("expand folded", name), |bench| {
            bench.iter_with_large_drop(|| HostSet::parse_plain(&folded).unwrap());
        });
        group
            .bench_function(BenchmarkId::new("fold", name), |bench| bench.iter(|| set.to_string()));
    }
    group.finish();
}

/// Ranges in, ranges out.
fn regular(criterion: &mut Criterion) {
    let cases = ["fe[1-100000].east.example.com", "r[1-100]n[1-1000].dc3.example.com"];
    let mut group = criterion.benchmark_group("hostset");
    group.throughput(Throughput::Elements(NAMES as u64));
    for text in cases {
        let set = HostSet::parse_plain(text).unwrap();
        assert_eq!((set.len(), &set.to_string()[..]), (NAMES, text));
        group.bench_function(BenchmarkId::new("expand", text), |bench| {
            bench.iter_with_large_drop(|| HostSet::parse_plain(text).unwrap());
        });
        group
            .bench_function(BenchmarkId::new("fold", text), |bench| bench.iter(|| set.to_string()));
    }
    group.finish();
}

/// So many different names, in no order.
fn names(name: impl Fn(&mut Chance) -> String) -> Vec<String> {
    let mut chance = Chance(1);
    let mut seen = BTreeSet::new();
    let mut names = Vec::new();
    while names.len() < NAMES {
        let name = name(&mut chance);
        if seen.insert(name.clone()) {
            names.push(name);
        }
    }
    names
}

/// Numbers that are the same each time (splitmix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
