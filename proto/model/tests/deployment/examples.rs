//! What follows from deployments, by example.

use std::collections::BTreeSet;

use orchestra_model::{
    HostName, Quantity,
    deployment::{Cell, CellKey, Deployments, HostConflict, ServiceCell},
    limits,
    names::{DeploymentName, EnvType, GroupName, ServiceName},
};

use crate::built::{Built, all, deployment, set};

fn example() -> Built {
    deployment("example")
        .app("frontend", "fe[1-6].east,fe[1-6].west")
        .app("backend", "be[1-5].east,be[1-5].west")
        .env("cluster", "east", "fe[1-6].east,be[1-5].east")
        .env("cluster", "west", "fe[1-6].west,be[1-5].west")
        .limit("cluster", "frontend", "50%")
        .limit("cluster", "backend", "1")
        .sequence("cluster", "backend frontend")
}

/// A cell a line: `example cluster east backend 1 be[1-5].east (5)`, with its predecessors.
fn cells(deployments: &Deployments) -> Vec<String> {
    let cells = deployments.cells();
    let line = |cell: &Cell| {
        let key = cell.key.of_app().unwrap();
        let limit = cell.limit.map_or_else(|| "-".to_owned(), |limit| limit.to_string());
        let mut line = format!(
            "{} {} {} {} {limit} {}",
            key.deployment,
            key.env_type,
            key.env_value,
            key.app,
            cell.hosts.counted()
        );
        for id in &cell.predecessors {
            line += &format!(" after {}", cells[*id].key.name());
        }
        line
    };
    cells.as_slice().iter().map(line).collect()
}

#[test]
fn cells_are_what_a_limited_app_has_in_each_environment() {
    assert_eq!(
        cells(&all(&[&example()])),
        [
            "example cluster east backend 1 be[1-5].east (5)",
            "example cluster east frontend 3 fe[1-6].east (6) after backend",
            "example cluster west backend 1 be[1-5].west (5)",
            "example cluster west frontend 3 fe[1-6].west (6) after backend",
        ]
    );
}

#[test]
fn a_cell_is_found_by_its_name_and_by_its_hosts() {
    let deployments = all(&[&example()]);
    let cells = deployments.cells();
    for (id, cell) in cells.iter() {
        assert_eq!(cells.find(&cell.key), Some(id));
        for host in &cell.hosts {
            assert!(cells.of_host(host).contains(&id));
        }
    }
    let key = &cells.as_slice()[0].key;
    assert_eq!(key.to_string(), "backend in cluster east of example");
    let mut elsewhere = key.of_app().unwrap().clone();
    elsewhere.deployment = DeploymentName::new("other").unwrap();
    assert_eq!(cells.find(&CellKey::App(elsewhere)), None);
    assert_eq!(cells.by_host().map(|(_, cells)| cells.len()).sum::<usize>(), 22);
}

#[test]
fn overlaps_and_several_deployments_add_up() {
    let racks = deployment("racks")
        .app("any", "fe[1-2].east,db1")
        .app("web", "fe1.east")
        .env("rack", "r1", "fe[1-2].east")
        .env("rack", "r2", "fe2.east,db1")
        .env("power", "a", "fe[1-2].east,db1")
        .limit("rack", "any", "1")
        .limit("power", "any", "34%")
        .sequence("power", "web any");
    let deployments = all(&[&example(), &racks]);
    let cells = deployments.cells();
    let of = |host: &str| -> Vec<String> {
        let ids = cells.of_host(&HostName::new(host).unwrap());
        let name = |key: &CellKey| format!("{} {}", key.of_app().unwrap().env_value, key.name());
        ids.iter().map(|id| name(&cells[*id].key)).collect()
    };
    assert_eq!(of("fe1.east"), ["east frontend", "a any", "a web", "r1 any"]);
    assert_eq!(of("fe2.east"), ["east frontend", "a any", "r1 any", "r2 any"]);
    assert_eq!(of("db1"), ["a any", "r2 any"]);
    assert!(of("db2").is_empty());
    let web = cells.as_slice().iter().find(|cell| cell.key.name() == "web").unwrap();
    assert_eq!(web.limit, None);
    assert_eq!(deployments.app(&GroupName::new("any").unwrap()), Some(set("fe[1-2].east,db1")));
    assert_eq!(deployments.app(&GroupName::new("nobody").unwrap()), None);
    assert_eq!(deployments.hosts().len(), 23);
    assert_eq!(deployments.apps().len(), 4);
}

#[test]
fn an_app_of_two_deployments_is_one_group() {
    let one = deployment("one").app("web", "a[1-2]").app("all-of-it", "a1");
    let two = deployment("two").app("web", "a[2-3]");
    let web = all(&[&one, &two]).app(&GroupName::new("web").unwrap());
    assert_eq!(web, Some(set("a[1-3]")));
}

#[test]
fn hosts_without_a_limit_are_told() {
    let deployments =
        all(&[&example().app("db", "db[1-3]").env("cluster", "north", "be1.east,fe9,fe1.east")]);
    // fe9 is in no app, db in no environment; both may be targets.
    let hosts = set("db[1-3],fe9,fe1.east,unheard-of");
    let left = deployments.cells().unthrottled(&hosts);
    assert_eq!(left, set("db[1-3],fe9,unheard-of"));
    // An order alone holds nobody back by number.
    let ordered =
        deployment("d").app("a", "a1").app("b", "b1").env("e", "v", "a1,b1").sequence("e", "a b");
    assert_eq!(all(&[&ordered]).cells().unthrottled(&set("a1,b1")), set("a1,b1"));
}

#[test]
fn an_order_holds_where_its_middle_is_missing() {
    let chain = deployment("d")
        .app("a", "a[1-2]")
        .app("b", "b2")
        .app("c", "c[1-2]")
        .env("e", "one", "a1,c1")
        .env("e", "two", "a2,b2,c2")
        .sequence("e", "a b c");
    assert_eq!(
        cells(&all(&[&chain])),
        [
            "d e one a - a1 (1)",
            "d e one c - c1 (1) after a",
            "d e two a - a2 (1)",
            "d e two b - b2 (1) after a",
            "d e two c - c2 (1) after a after b",
        ]
    );
}

#[test]
fn everything_that_is_wrong_is_found() {
    let wrong = deployment("d")
        .app("frontend", "fe[1-2]")
        .app("backend", "be1")
        .app("nobody", "")
        .env("cluster", "east", "fe[1-2],be1")
        .env("cluster", "west", "fe1")
        .env("cluster", "north", "")
        .limit("cluster", "backend", "1")
        .limit("cluster", "frontend", "0%")
        .limit("cluster", "frontent", "1")
        .sequence("cluster", "backend frontend backend")
        .sequence("cluster", "backend")
        .sequence("cluster", "db backend")
        .limit("clutser", "frontend", "1")
        .limit("power", "backend", "0");
    let mut wrong = wrong;
    wrong.constraint("rack");
    wrong.0.envs.entry(EnvType::new("rack").unwrap()).or_default();
    assert_eq!(
        wrong.problems(),
        [
            "app nobody: it has no hosts",
            "envs cluster, north: it has no hosts",
            "envs rack: it has no environments",
            "constraints cluster, concurrency: frontend is 0, so nothing could ever start; leave it \
             out for all at once",
            "constraints cluster, concurrency: there is no app frontent; did you mean frontend?",
            "constraints cluster, concurrency: backend has no hosts in west, so its limit holds \
             nothing there",
            "constraints cluster, sequence: list 2 names less than two apps, so it orders nothing",
            "constraints cluster, sequence: there is no app db",
            "constraints cluster, sequence: a circle, backend before frontend before backend",
            "constraints clutser: envs has no clutser; did you mean cluster?",
            "constraints power: envs has no power",
            "constraints power, concurrency: backend is 0, so nothing could ever start; leave it \
             out for all at once",
            "constraints rack: there is neither concurrency nor sequence; leave it out",
        ]
    );
    assert_eq!(deployment("d").problems(), ["it has no apps"]);
    let error = Deployments::new([deployment("d").0]).unwrap_err();
    assert_eq!(error.to_string(), "d, it has no apps");
    let twice = Deployments::new([example().0, example().0]).unwrap_err();
    assert_eq!(twice.to_string(), "example, there are two deployments of this name");
}

#[test]
fn bounds_hold_before_memory_is_spent() {
    let mut many = deployment("d").app("a", "h[1-100]").app("b", "h[1-100]");
    for n in 0..10_001 {
        many = many.env("e", &format!("v{n}"), "h[1-2]");
    }
    assert_eq!(many.problems(), ["it has too many environments; at most 10000 are allowed"]);

    let mut cells = deployment("d");
    for n in 0..400 {
        cells = cells.app(&format!("a{n}"), "h1").env("e", &format!("v{n}"), "h1");
        cells = cells.limit("e", &format!("a{n}"), "1");
    }
    assert!(cells.problems()[0].starts_with("it has too many cells"), "{:?}", cells.problems());

    let chain: Vec<String> = (0..2_001).map(|n| format!("a{n}")).collect();
    let long = deployment("d").app("a0", "h1").env("e", "v", "h1").sequence("e", &chain.join(" "));
    assert!(long.problems()[0].starts_with("it has too many apps in the sequences"));
}

fn told(conflicts: &[HostConflict]) -> Vec<String> {
    conflicts.iter().map(ToString::to_string).collect()
}

#[test]
fn a_host_in_both_apps_of_a_sequence_is_found_among_the_hosts_of_a_slot() {
    let both = deployment("d")
        .app("a", "x[1-3],a1")
        .app("b", "x[1-3],b1")
        .env("e", "one", "x1,a1,b1")
        .env("e", "two", "x[2-3]")
        .sequence("e", "a b");
    let deployments = all(&[&both]);
    let conflicts = |hosts: &str| told(&deployments.cells().conflicts(&set(hosts)));
    assert_eq!(
        conflicts("x[1-3],a1"),
        ["d puts a before b within each e, and in both are x[1-3] (3)"]
    );
    assert_eq!(conflicts("x2,b1"), ["d puts a before b within each e, and in both are x2 (1)"]);
    assert!(conflicts("a1,b1,elsewhere").is_empty());
    assert!(conflicts("").is_empty());
}

#[test]
fn hosts_in_opposite_roles_are_found() {
    let one = deployment("one")
        .app("front", "h1,h5")
        .app("back", "h2,h6")
        .env("cluster", "east", "h[1-2]")
        .env("cluster", "west", "h[5-6]")
        .sequence("cluster", "back front");
    let two = deployment("two")
        .app("master", "h1")
        .app("slave", "h[2-3]")
        .env("rack", "r1", "h[1-3]")
        .sequence("rack", "master slave");
    let deployments = all(&[&one, &two]);
    let conflicts = |hosts: &str| told(&deployments.cells().conflicts(&set(hosts)));
    assert_eq!(
        conflicts("h[1-6]"),
        ["h1 (front in cluster east of one) waits for h2 (back), \
          h2 (slave in rack r1 of two) waits for h1 (master)"]
    );
    // Without one of the two, all is well; and west has no circle.
    assert!(conflicts("h1,h[3-6]").is_empty());
    assert!(conflicts("h[2-6]").is_empty());
}

#[test]
fn a_circle_of_three_is_found_among_those_around_it() {
    let ring = |name: &str, first: &str, second: &str| {
        deployment(name)
            .app("first", first)
            .app("second", second)
            .env("e", "v", &format!("{first},{second}"))
            .sequence("e", "first second")
    };
    let deployments = all(&[
        // g0 waits for nobody, and is looked at before h1.
        &ring("d1", "g0,h1", "h2,h0"),
        &ring("d2", "h2", "h3"),
        &ring("d3", "h3", "h1"),
        &ring("d4", "h0", "g[1-9]"),
    ]);
    let conflicts = deployments.cells().conflicts(&set("h[0-3],g[0-9]"));
    let [HostConflict::Circle(steps)] = conflicts.as_slice() else { panic!("{conflicts:?}") };
    let hosts: BTreeSet<&str> = steps.iter().map(|step| step.host.as_str()).collect();
    assert_eq!(hosts, BTreeSet::from(["h1", "h2", "h3"]));
    assert_eq!(steps.len(), 3);
    for (step, next) in steps.iter().zip(steps.iter().cycle().skip(1)) {
        let cells = deployments.cells();
        let waits_for = &cells[cells.find(&step.waits_for).unwrap()];
        assert!(waits_for.hosts.contains(&next.host));
        assert!(cells[cells.find(&step.waits_in).unwrap()].hosts.contains(&step.host));
    }
}

fn service(name: &str, hosts: &str, limit: Quantity) -> (ServiceName, ServiceCell) {
    (ServiceName::new(name).unwrap(), ServiceCell { hosts: set(hosts), limit })
}

#[test]
fn a_service_is_a_cell_beside_those_of_deployments() {
    let of_files = all(&[&example()]);
    let services = [
        service("web", "be[1-5].east,x1", Quantity::Percent(50)),
        service("nowhere", "", Quantity::Count(1)),
        service("cache", "x[1-2]", Quantity::Count(2)),
    ];
    let both = of_files.with_services(services).unwrap();
    let told: Vec<String> = both.cells().as_slice()[4..]
        .iter()
        .map(|cell| format!("{}: {:?} of {}", cell.key, cell.limit, cell.hosts))
        .collect();
    assert_eq!(
        told,
        ["service/cache: Some(2) of x[1-2]", "service/web: Some(3) of be[1-5].east,x1"]
    );
    assert_eq!(both.cells().as_slice()[..4], *of_files.cells().as_slice());
    for (id, cell) in both.cells().iter() {
        assert_eq!(both.cells().find(&cell.key), Some(id));
        let is_in = |host: &HostName| both.cells().of_host(host).contains(&id);
        assert!(cell.hosts.iter().all(is_in), "{}", cell.key);
    }
    let example = DeploymentName::new("example").unwrap();
    assert_eq!(both.cells().of_deployment(&example).len(), 4);
    assert_eq!(both.cells().unthrottled(&set("be1.east,x[1-3]")), set("x3"));
    assert_eq!((both.len(), both.services().len()), (1, 3));
    assert_ne!(both, of_files);
    // The next ones take the place of these.
    assert_eq!(both.with_services([]).unwrap(), of_files);
}

#[test]
fn services_add_no_conflicts() {
    let ring = |name: &str, first: &str, second: &str| {
        deployment(name)
            .app("first", first)
            .app("second", second)
            .env("e", "v", &format!("{first},{second}"))
            .sequence("e", "first second")
    };
    let calm = all(&[&ring("d1", "h1", "h2")]);
    let circle = all(&[&ring("d1", "h1", "h2"), &ring("d2", "h2", "h1")]);
    for (of_files, conflicts) in [(calm, 0), (circle, 1)] {
        let both = of_files.with_services([service("web", "h[1-3]", Quantity::Count(1))]).unwrap();
        assert_eq!(both.cells().may_conflict(), conflicts > 0);
        assert_eq!(both.cells().conflicts(&set("h[1-3]")).len(), conflicts);
    }
}

#[test]
fn services_are_within_the_bounds_of_all_cells() {
    let none = Deployments::default();
    let web = || service("web", "h1", Quantity::Count(1));
    let twice = none.with_services([web(), web()]).unwrap_err();
    assert_eq!(twice.to_string(), "there are two services web");
    let many = (0..=limits::CELLS).map(|n| service(&format!("s{n}"), "h1", Quantity::Count(1)));
    let wrong = none.with_services(many).unwrap_err().to_string();
    assert!(wrong.starts_with("service s"), "{wrong}");
    assert!(wrong.contains("it has too many cells"), "{wrong}");
}
