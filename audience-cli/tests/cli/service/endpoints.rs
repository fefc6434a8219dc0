//! `orc service endpoints`.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
};

use orchestra_model::{
    Quantity::Count,
    service::{PortName, Ports, ServiceSpec, ServiceVersion, Suspicion, UnitState, Unready},
};
use orchestra_proto::v1;
use serde_json::json;

use super::{AT, absent, ready, unwell, version, with};
use crate::fake::Fake;

/// A version with these ports.
fn with_ports(number: u64, ports: &[(&str, &str)]) -> v1::ServiceVersion {
    let told = version(number, Count(1), &[]);
    let mut spec = ServiceSpec::try_from(told.spec.as_ref().unwrap()).unwrap();
    let port = |(name, rule): &(&str, &str)| (PortName::new(name).unwrap(), rule.parse().unwrap());
    spec.upkeep.ports = ports.iter().map(port).collect::<Ports>();
    v1::ServiceVersion { spec: Some((&spec).into()), ..told }
}

#[test]
fn ports_of_instances_that_are_ready_are_told() {
    let fake = Fake::start();
    let mut status = ready(6);
    // One is of the version before, and one each is not ready, away, and of no reliable health.
    status.instances[1].report.as_mut().unwrap().version = ServiceVersion(6);
    status.instances[2] = unwell(3, UnitState::Unhealthy, Unready::NotReady);
    status.instances[3] = absent(4);
    status.instances[4].report.as_mut().unwrap().flapping = true;
    status.instances[5].attached = false;
    fake.tables().services = vec![status];
    let newest = [("http", "8000+{ordinal}"), ("admin", "9000")];
    fake.tables().versions = vec![with_ports(6, &[("http", "80")]), with_ports(7, &newest)];
    fake.run("orc service endpoints web").is(
        0,
        "web/1 admin db1:9000\nweb/1 http db1:8001\nweb/2 http db2:80\n",
        "",
    );
    let told = fake.run("orc service endpoints web --json").json();
    assert_eq!(told["endpoints"].as_array().unwrap().len(), 3);
    assert_eq!(
        told["endpoints"][1],
        json!({"id": "web/1", "host": "db1", "name": "http", "port": 8001, "version": 7})
    );
    fake.run("orc service endpoints other").fails(8, &["there is no service other"]);
}

#[test]
fn units_that_are_unhealthy_together_stay() {
    let fake = Fake::start();
    let unhealthy = |n| unwell(n, UnitState::Unhealthy, Unready::NotReady);
    let mut status = with(3, vec![unhealthy(1), unhealthy(2)]);
    fake.tables().versions = vec![with_ports(7, &[("http", "80")])];
    fake.tables().services = vec![status.clone()];
    fake.run("orc service endpoints web").is(0, "web/3 http db3:80\n", "");
    let suspicion = Suspicion { at: AT, failed: 2, of: 3, tried: None };
    status.record.judged.suspicion = Some(suspicion);
    fake.tables().services = vec![status];
    let all = "web/1 http db1:80\nweb/2 http db2:80\nweb/3 http db3:80\n";
    fake.run("orc service endpoints web").is(0, all, "");
}

#[test]
fn why_there_are_none_is_told() {
    let fake = Fake::start();
    fake.tables().services = vec![ready(1)];
    fake.tables().versions = vec![version(7, Count(1), &[])];
    fake.run("orc service endpoints web").is(0, "", "no version of it has ports\n");
    fake.tables().versions = vec![with_ports(7, &[("http", "80")])];
    fake.tables().services[0].instances[0].attached = false;
    fake.run("orc service endpoints web").is(0, "", "no instance is ready that has ports\n");
    assert_eq!(fake.run("orc service endpoints web --json").json()["endpoints"], json!([]));
}

/// A tool that is killed when it is dropped.
struct Following(Child);

impl Drop for Following {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_comes_and_goes_is_told_to_those_who_follow_it() {
    let fake = Fake::start();
    fake.tables().services = vec![ready(2)];
    fake.tables().versions = vec![with_ports(7, &[("http", "80")])];
    let follow = |further: &[&str]| {
        let words = [&["service", "endpoints", "web", "--watch"], further].concat();
        let child = fake.command("orc", &words).stdout(Stdio::piped()).spawn().unwrap();
        let mut child = Following(child);
        let lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map(Result::unwrap);
        (child, lines)
    };
    let ((_text, mut lines), (_json, mut documents)) = (follow(&[]), follow(&["--json"]));
    let mut next = || lines.next().unwrap();
    let mut all = || {
        let document: serde_json::Value = serde_json::from_str(&documents.next().unwrap()).unwrap();
        crate::schema::check(&document);
        document["endpoints"].as_array().unwrap().len()
    };
    assert_eq!([next(), next()], ["+ web/1 http db1:80", "+ web/2 http db2:80"]);
    assert_eq!(all(), 2);
    fake.tables().services[0].instances[0].report.as_mut().unwrap().state = UnitState::Stopping;
    assert_eq!((next(), all()), ("- web/1 http db1:80".to_owned(), 1));
    fake.tables().services = vec![ready(3)];
    assert_eq!([next(), next()], ["+ web/1 http db1:80", "+ web/3 http db3:80"]);
    assert_eq!(all(), 3);
}
