//! Where a service is placed: what is read, what is shown, what is refused.

use orchestra_model::{
    names::{LabelKey, LabelValue},
    service::{AbsenceRule, Labels, Layout, PlaceRule, ServiceSpec, Spread},
    time::Millis,
};

use super::{Values, parse, plain, show};
use crate::Format;

fn value(text: &str) -> LabelValue {
    LabelValue::new(text).unwrap()
}

fn placed(layout: Layout, require: &[(&str, &str)], spread: Spread) -> ServiceSpec {
    let label = |(key, of): &(&str, &str)| (LabelKey::new(key).unwrap(), value(of));
    let require: Labels = require.iter().map(label).collect();
    let place = Some(PlaceRule { layout, require, spread });
    ServiceSpec { on: String::new(), place, ..plain() }
}

fn read(place: &str) -> Result<ServiceSpec, String> {
    let text = format!("service: web\nscore: serve-web\nplace: {place}\n");
    parse(&text, Format::Yaml).map_err(|problems| problems.in_one_line())
}

#[test]
fn a_place_is_read_and_shown_and_read_again() {
    let zones = Layout::Zones([(value("east"), 3), (value("2"), 0)].into());
    for (text, spec) in [
        ("{count: 4}", placed(Layout::Count(4), &[], Spread::Zone)),
        ("{zones: {east: 3, 2: 0}, per_host: 1, spread: host}", placed(zones, &[], Spread::Host)),
        (
            "{count: 1, require: {disk: ssd, rack: 7}, spread: pack}",
            placed(Layout::Count(1), &[("disk", "ssd"), ("rack", "7")], Spread::Pack),
        ),
    ] {
        assert_eq!(read(text).as_ref(), Ok(&spec), "{text}");
        let shown = show(&spec, Values::Told);
        assert_eq!(parse(&shown, Format::Yaml).unwrap(), spec, "{shown}");
    }
}

#[test]
fn a_place_that_makes_no_sense_is_told_with_its_field() {
    for (text, problem) in [
        ("3", "place: expected a table of fields, found a number"),
        ("three", "place: it is a table: {count: 3} or {zones: {east: 2, west: 1}}"),
        ("{}", "place: it says not how many: give count or zones"),
        ("{count: 1, zones: {east: 1}}", "place: count and zones exclude each other"),
        ("{count: -1}", "place: count: expected a whole number"),
        ("{count: 100001}", "place.count: it is more than 100000 instances"),
        ("{zones: 3}", "place.zones: it is a table of names and values"),
        ("{zones: {}}", "place.zones: it names no zone"),
        ("{zones: {east: many}}", "place.zones.east: expected a whole number"),
        ("{zones: {east/1: 1}}", "line 3: place.zones: label value \"east/1\""),
        (
            "{count: 1, require: {disk: [ssd]}}",
            "place.require.disk: expected a value, found a list",
        ),
        ("{zones: {east: 1}, require: {zone: east}}", "place.require: zone: place.zones says"),
        ("{count: 1, per_host: 2}", "place: per_host: it is 1"),
        ("{count: 1, spread: rack}", "place: spread: it is zone, host or pack"),
        ("{replicas: 3}", "count"),
        ("{count: 1, machines: {class: m5}}", "not offered yet"),
    ] {
        let said = read(text).unwrap_err();
        assert!(said.contains(problem), "{text}: {said}");
    }
    let both = "service: web\nscore: serve-web\non: '@web'\nplace: {count: 1}\n";
    let said = parse(both, Format::Yaml).unwrap_err().in_one_line();
    assert!(said.contains("on: place says where it is; leave on or place out"), "{said}");
    let linked = "service: web\nscore: serve-web\nlinked_to: db\nplace: {count: 1}\n";
    let said = parse(linked, Format::Yaml).unwrap_err().in_one_line();
    assert!(said.contains("linked_to: it is placed by itself"), "{said}");
}

#[test]
fn what_is_done_for_absent_instances_is_read_and_shown_and_read_again() {
    for (text, replace_after) in
        [("never", None), ("0s", Some(Millis(0))), ("1h30m", Some(Millis::minutes(90)))]
    {
        let written = format!("{{count: 1}}\nabsent: {{replace_after: {text}}}");
        let absent = AbsenceRule { replace_after };
        let spec = ServiceSpec { absent, ..placed(Layout::Count(1), &[], Spread::Zone) };
        assert_eq!(read(&written).as_ref(), Ok(&spec), "{text}");
        let shown = show(&spec, Values::Told);
        assert!(shown.contains(&format!("replace_after: {text}\n")), "{shown}");
        assert_eq!(parse(&shown, Format::Yaml).unwrap(), spec, "{shown}");
    }
    for (text, problem) in [
        ("never", "absent: it is a table: {replace_after: 5m} or {replace_after: never}"),
        ("{replace_after: soon}", "absent: replace_after: \"soon\": expected a duration"),
        ("{replace_after: soon}", "; or never"),
        ("{lost_after: 5m}", "replace_after"),
    ] {
        let said = read(&format!("{{count: 1}}\nabsent: {text}")).unwrap_err();
        assert!(said.contains(problem), "{text}: {said}");
    }
    let named = "service: web\nscore: serve-web\non: '@web'\nabsent: {replace_after: never}\n";
    let said = parse(named, Format::Yaml).unwrap_err().in_one_line();
    assert!(said.contains("absent: only a service with place is brought up elsewhere"), "{said}");
}

#[test]
fn more_instances_for_a_version_are_a_number() {
    let spec = |rest: &str| format!("service: web\nscore: serve-web\n{rest}update: {{surge: 1}}\n");
    let read = parse(&spec("place: {count: 2}\n"), Format::Yaml).unwrap();
    assert_eq!(read.update.surge, 1);
    assert_eq!(parse(&show(&read, Values::Told), Format::Yaml).unwrap(), read);
    let refused = parse(&spec("on: '@web'\n"), Format::Yaml).unwrap_err().to_string();
    assert!(refused.contains("update.surge: only a service with place"), "{refused}");
}
