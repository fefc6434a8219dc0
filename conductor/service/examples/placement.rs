//! What it costs to choose players for instances, over 10,000 players of ten zones and 50 kinds:
//! `cargo run --release -p orchestra-service --example placement` (`make bench-engine`).
//!
//! Each instance that is chosen is also noted, so that the next one sees it. Processor time of this
//! thread, which other programs on the machine do not lengthen.

#![expect(clippy::print_stdout, reason = "an example")]

use std::{collections::BTreeMap, sync::Arc};

use orchestra_model::{
    HostName, ScoreName, ServiceName,
    names::{LabelKey, LabelValue},
    score::{Offers, ScoreOffer, ScoreSpec},
    service::{Labels, Layout, MilliCores, Need, Ordinal, PlaceRule, PlayerFacts, Room, Spread},
    size::ByteSize,
};
use orchestra_service::placement::{Ground, Wish, choose};

const PLAYERS: u32 = 10_000;
const ZONES: u32 = 10;
const ROLES: u32 = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("placements a second   instances   case");
    for (case, services, count, need, require) in [
        ("one instance of each service", 100_000, 1, 0, false),
        ("the same, with 64MiB reserved", 100_000, 1, 64, false),
        ("the same, on players with a label", 100_000, 1, 64, true),
        ("three instances of each service", 30_000, 3, 64, false),
        ("services as large as the fleet", 10, PLAYERS, 0, false),
    ] {
        let mut ground = ground()?;
        let wishes = (0..services).map(|service| wish(service, count, need, require));
        let wishes = wishes.collect::<Result<Vec<_>, _>>()?;
        let begun = thread_time();
        let mut placed = 0_u32;
        for wish in &wishes {
            for (_, host) in choose(&ground, wish, [], (1..).map(Ordinal)).instances {
                ground.take(&host, &wish.service, Some(wish.need));
                placed += 1;
            }
        }
        let rate = f64::from(placed) / (thread_time() - begun);
        ground.audit()?;
        println!("{rate:>19.0}   {placed:>9}   {case}");
    }
    Ok(())
}

/// The processor time of this thread, in seconds.
fn thread_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    std::time::Duration::try_from(time).unwrap_or_default().as_secs_f64()
}

/// All players, attached, with room for 400 instances of 64 MiB each.
fn ground() -> Result<Ground, Box<dyn std::error::Error>> {
    let mut ground = Ground::default();
    let mut kinds: BTreeMap<(u32, u32), Arc<Labels>> = BTreeMap::new();
    for zone in 0..ZONES {
        for role in 0..ROLES {
            let labels = [("zone", zone), ("role", role)];
            let label = |(key, value): (&str, u32)| {
                Ok::<_, orchestra_model::names::InvalidName>((
                    LabelKey::new(key)?,
                    LabelValue::new(&format!("{key}{value}"))?,
                ))
            };
            let labels = labels.into_iter().map(label).collect::<Result<Labels, _>>()?;
            kinds.insert((zone, role), Arc::new(labels));
        }
    }
    let room = Room { memory: Some(ByteSize(25_600 << 20)), cpu: Some(MilliCores(64_000)) };
    let mut players = BTreeMap::new();
    for n in 0..PLAYERS {
        let labels = Arc::clone(&kinds[&(n % ZONES, n / ZONES % ROLES)]);
        players.insert(HostName::new(&format!("host{n}"))?, PlayerFacts { labels, room });
    }
    let hosts: Vec<HostName> = players.keys().cloned().collect();
    ground.load(players);
    let offer =
        ScoreOffer { name: ScoreName::new("serve")?, hash: None, spec: Ok(ScoreSpec::default()) };
    let offers = Offers::from(vec![offer]);
    for host in &hosts {
        ground.attached(host, Some(&offers), Room::default());
    }
    Ok(ground)
}

fn wish(n: u32, count: u32, need: u64, require: bool) -> Result<Wish, Box<dyn std::error::Error>> {
    let role = (LabelKey::new("role")?, LabelValue::new("role1")?);
    let require = if require { [role].into() } else { Labels::new() };
    let layout = Layout::Count(count);
    Ok(Wish {
        service: ServiceName::new(&format!("service{n}"))?,
        scores: vec![ScoreName::new("serve")?],
        same_scores: Vec::new(),
        rule: PlaceRule { layout: layout.clone(), require, spread: Spread::Zone },
        layout,
        need: Need { memory: ByteSize(need << 20), cpu: 0 },
    })
}
