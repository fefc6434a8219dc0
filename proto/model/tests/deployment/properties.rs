//! What holds for any deployments, against the definition in its plainest form.

use std::collections::BTreeSet;

use orchestra_model::{
    HostName, HostSet, Quantity,
    deployment::{AppCell, CellKey, Deployment, HostConflict},
    names::AppName,
};
use proptest::prelude::*;

use crate::built::{Built, all, deployment};

fn some_hosts() -> impl Strategy<Value = BTreeSet<u8>> {
    prop::collection::btree_set(0_u8..12, 1..8)
}

/// Two types of environment, four apps, orders and limits as chance has it.
fn any_deployment(name: &'static str) -> impl Strategy<Value = Built> {
    let apps = prop::collection::vec(some_hosts(), 4);
    let envs = prop::collection::vec(some_hosts(), 4);
    let limits = prop::collection::vec((0_usize..2, 0_usize..4, 1_u8..=100), 0..4);
    let pairs = prop::collection::vec((0_usize..2, 0_usize..4, 0_usize..4), 0..4);
    (apps, envs, limits, pairs).prop_map(move |(apps, envs, limits, pairs)| {
        let hosts = |hosts: &BTreeSet<u8>| {
            hosts.iter().map(|n| format!("h{n}")).collect::<Vec<_>>().join(",")
        };
        let mut built = deployment(name);
        for (n, own) in apps.iter().enumerate() {
            built = built.app(&format!("a{n}"), &hosts(own));
        }
        for (n, own) in envs.iter().enumerate() {
            built = built.env(&format!("e{}", n % 2), &format!("v{}", n / 2), &hosts(own));
        }
        for (env_type, app, percent) in limits {
            let meets = |n: usize| !apps[app].is_disjoint(&envs[n]);
            if meets(env_type) && meets(env_type + 2) {
                built = built.limit(
                    &format!("e{env_type}"),
                    &format!("a{app}"),
                    &format!("{percent}%"),
                );
            }
        }
        for (env_type, a, b) in pairs {
            if a != b {
                let (a, b) = (a.min(b), a.max(b));
                // The two types order apps in opposite ways, so that circles of hosts come up.
                let (a, b) = if env_type == 0 { (a, b) } else { (b, a) };
                built = built.sequence(&format!("e{env_type}"), &format!("a{a} a{b}"));
            }
        }
        built
    })
}

/// Who waits for whom, straight from the definition.
fn waits(deployments: &[&Deployment], hosts: &HostSet) -> BTreeSet<(HostName, HostName)> {
    let mut waits = BTreeSet::new();
    for deployment in deployments {
        for (env_type, constraint) in &deployment.constraints {
            let mut before: BTreeSet<(&AppName, &AppName)> = BTreeSet::new();
            for list in &constraint.sequence {
                before.extend(list.windows(2).map(|pair| (&pair[0], &pair[1])));
            }
            for _ in 0..8 {
                let found: Vec<_> = before
                    .iter()
                    .flat_map(|(a, b)| {
                        before.iter().filter(move |(c, _)| b == c).map(move |(_, d)| (*a, *d))
                    })
                    .collect();
                before.extend(found);
            }
            for env in deployment.envs[env_type].values() {
                for (first, second) in &before {
                    for x in deployment.apps[*second].intersection(env).intersection(hosts) {
                        for y in deployment.apps[*first].intersection(env).intersection(hosts) {
                            waits.insert((x.clone(), y));
                        }
                    }
                }
            }
        }
    }
    waits
}

proptest! {
    #[test]
    fn cells_are_those_of_the_definition(one in any_deployment("one"), two in any_deployment("two")) {
        let deployments = all(&[&one, &two]);
        let cells = deployments.cells();
        let mut expected = 0;
        for deployment in deployments.iter() {
            for (env_type, constraint) in &deployment.constraints {
                for (value, env) in &deployment.envs[env_type] {
                    for app in constraint.apps() {
                        let hosts = deployment.apps[app].intersection(env);
                        if hosts.is_empty() {
                            continue;
                        }
                        expected += 1;
                        let key = CellKey::App(AppCell {
                            deployment: deployment.name.clone(),
                            env_type: env_type.clone(),
                            env_value: value.clone(),
                            app: app.clone(),
                        });
                        let cell = &cells[cells.find(&key).unwrap()];
                        let total = u32::try_from(hosts.len()).unwrap();
                        let limit = constraint.concurrency.get(app).map(|limit: &Quantity| limit.window_of(total));
                        prop_assert_eq!(cell.limit, limit);
                        prop_assert_eq!(&cell.hosts, &hosts);
                    }
                }
            }
        }
        prop_assert_eq!(cells.as_slice().len(), expected);
        prop_assert!(cells.as_slice().is_sorted_by(|a, b| a.key < b.key));
        let of_each = deployments.iter().flat_map(|own| cells.of_deployment(&own.name));
        prop_assert!(of_each.eq(cells.as_slice()));
        for (id, cell) in cells.iter() {
            prop_assert!(cell.predecessors.is_sorted() && !cell.predecessors.contains(&id));
        }
        for (host, ids) in cells.by_host() {
            prop_assert!(ids.is_sorted() && !ids.is_empty());
            for (id, cell) in cells.iter() {
                prop_assert_eq!(ids.contains(&id), cell.hosts.contains(host));
            }
        }
    }

    #[test]
    fn conflicts_are_told_exactly_where_somebody_would_wait_for_ever(
        one in any_deployment("one"),
        two in any_deployment("two"),
        hosts in some_hosts(),
    ) {
        let deployments = all(&[&one, &two]);
        let hosts: HostSet = hosts.iter().map(|n| HostName::new(&format!("h{n}")).unwrap()).collect();
        let waits = waits(&[&one.0, &two.0], &hosts);
        let both: BTreeSet<&HostName> = waits.iter().filter(|(x, y)| x == y).map(|(x, _)| x).collect();
        let mut left: BTreeSet<&HostName> = hosts.iter().filter(|host| !both.contains(host)).collect();
        loop {
            let able: Vec<&HostName> = left
                .iter()
                .filter(|x| !waits.iter().any(|(a, b)| a == **x && left.contains(b)))
                .copied()
                .collect();
            if able.is_empty() {
                break;
            }
            left.retain(|host| !able.contains(host));
        }
        let conflicts = deployments.cells().conflicts(&hosts);
        let mut told = BTreeSet::new();
        let mut circles = 0;
        for conflict in &conflicts {
            match conflict {
                HostConflict::InBoth { hosts, .. } => told.extend(hosts.iter()),
                HostConflict::Circle(steps) => {
                    circles += 1;
                    prop_assert!(steps.len() >= 2);
                    let next = steps.iter().cycle().skip(1);
                    for (step, next) in steps.iter().zip(next) {
                        prop_assert!(waits.contains(&(step.host.clone(), next.host.clone())));
                        prop_assert!(left.contains(&step.host));
                    }
                }
            }
        }
        prop_assert_eq!(told, both);
        prop_assert_eq!(circles, usize::from(!left.is_empty()));
    }
}
