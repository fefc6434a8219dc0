//! The table, and how much memory it takes.

use std::alloc::System;

use orchestra_model::{
    ByteSize, Millis,
    service::{MilliCores, Ordinal},
    vitals::{Permille, UnitVitals, VitalsSample},
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use super::*;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const SESSION: SessionId = SessionId(1);

fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

fn unit(number: u32, service: &str) -> TalliedUnit {
    TalliedUnit {
        number,
        service: ServiceName::new(service).unwrap(),
        ordinal: Ordinal(number),
        memory_limit: Some(ByteSize(64 << 20)),
        cpu_limit: None,
    }
}

fn sample(cpu: u16, units: &[u32]) -> VitalsSample {
    let vitals = UnitVitals { cpu: Some(MilliCores(cpu.into())), ..UnitVitals::default() };
    VitalsSample {
        age: Millis(2_000),
        host: HostVitals { cpu: Some(Permille(cpu)), ..HostVitals::default() },
        units: units.iter().map(|number| (*number, vitals)).collect(),
    }
}

fn members(names: &[&str]) -> HostSet {
    HostSet::from_names(names.iter().map(|name| host(name)))
}

#[test]
fn what_a_player_told_is_told_of_it_alone_also_when_it_is_away() {
    let (vitals, db1) = (Vitals::default(), host("db1"));
    let batch =
        |cpu| VitalsBatch { units: vec![unit(1, "web")], samples: vec![sample(cpu, &[1, 2])] };
    vitals.take(&db1, SESSION, batch(1));
    vitals.attached(&db1, SESSION, None);
    vitals.take(&db1, SessionId(2), batch(2));
    assert_eq!(vitals.read(std::slice::from_ref(&db1), true)[0].age, None, "nobody has told");
    vitals.take(&db1, SESSION, batch(3));
    let told = |hosts: &[HostName]| vitals.read(hosts, true);
    let [one, other] = &told(&[db1.clone(), host("db2")])[..] else { panic!() };
    assert_eq!((one.attached, one.now.cpu, one.units.len()), (true, Some(Permille(3)), 1));
    assert!(one.age.is_some_and(|age| age >= Millis(2_000)));
    assert_eq!((other.attached, other.age, other.units.len()), (false, None, 0));
    let web = ServiceName::new("web").unwrap();
    assert_eq!(vitals.of_unit(&db1, &web).unwrap().ordinal, Ordinal(1));
    assert_eq!(vitals.of_unit(&host("db2"), &web), None);
    vitals.detached(&db1, SessionId(2), &members(&["db1"]));
    assert!(told(std::slice::from_ref(&db1))[0].attached, "that was another session");
    vitals.detached(&db1, SESSION, &members(&["db1"]));
    let away = &told(std::slice::from_ref(&db1))[0];
    assert_eq!((away.attached, away.now.cpu, away.units.len()), (false, Some(Permille(3)), 1));
    // The numbers of a session end with it.
    vitals.attached(&db1, SessionId(3), None);
    let late = VitalsBatch { units: Vec::new(), samples: vec![sample(9, &[1])] };
    vitals.take(&db1, SessionId(3), late);
    assert_eq!(vitals.of_unit(&db1, &web).unwrap().now.cpu, Some(MilliCores(3)));
}

#[test]
fn of_hosts_that_are_no_players_any_more_nothing_is_kept() {
    let vitals = Vitals::default();
    for name in ["db1", "db2"] {
        vitals.attached(&host(name), SESSION, None);
        let batch = VitalsBatch { units: Vec::new(), samples: vec![sample(1, &[])] };
        vitals.take(&host(name), SESSION, batch);
    }
    vitals.detached(&host("db1"), SESSION, &members(&["db2"]));
    assert_eq!(vitals.lock().hosts.keys().collect::<Vec<_>>(), [&host("db2")]);
}

/// Returns how many bytes `work` keeps allocated: the least of some tries, because other tests may
/// run beside it.
fn kept<T>(work: impl Fn() -> T) -> usize {
    let tries = (0..5).map(|_| {
        let region = Region::new(ALLOCATOR);
        let made = work();
        let change = region.change();
        drop(made);
        change.bytes_allocated.saturating_sub(change.bytes_deallocated)
    });
    tries.min().unwrap()
}

#[test]
fn a_host_takes_two_kibibytes_and_a_unit_one() {
    const HOSTS: usize = 1_000;
    const UNITS: u32 = 1_000;
    let name = |n: usize| host(&format!("a-host-with-a-name-{n}.example.com"));
    let hosts = kept(|| {
        let vitals = Vitals::default();
        for n in 0..HOSTS {
            vitals.attached(&name(n), SESSION, None);
            for _ in 0..70 {
                let batch = VitalsBatch { units: Vec::new(), samples: vec![sample(1, &[])] };
                vitals.take(&name(n), SESSION, batch);
            }
        }
        vitals
    });
    let units = kept(|| {
        let vitals = Vitals::default();
        vitals.attached(&name(0), SESSION, None);
        let numbers: Vec<u32> = (1..=UNITS).collect();
        let told = |number: &u32| unit(*number, &format!("a-service-with-a-name-{number}"));
        let units = numbers.iter().map(told).collect();
        vitals.take(&name(0), SESSION, VitalsBatch { units, samples: vec![sample(1, &numbers)] });
        vitals
    });
    let (of_host, of_unit) = (hosts / HOSTS, units / UNITS as usize);
    println!("a host takes {of_host} bytes, a unit {of_unit}");
    assert!(of_host <= 2 << 10, "{of_host}");
    assert!(of_unit <= 1 << 10, "{of_unit}");
}
