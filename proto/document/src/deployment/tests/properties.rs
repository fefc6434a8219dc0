//! What holds for any deployment: it can be shown and read again.

use std::collections::{BTreeMap, BTreeSet};

use orchestra_model::{
    HostName, HostSet, Quantity,
    deployment::{Constraint, Deployment},
    hostset::NoGroups,
    names::{AppName, DeploymentName, EnvType, EnvValue},
};
use proptest::prelude::*;

use super::{Format, parse, show};

const FORMATS: [Format; 3] = [Format::Yaml, Format::Toml, Format::Json];

/// Names that formats could take for something else are as likely as others.
fn any_word() -> impl Strategy<Value = String> {
    let odd = [
        "true",
        "false",
        "null",
        "yes",
        "no",
        "on",
        "off",
        "y",
        "n",
        "nan",
        "NaN",
        "inf",
        "1",
        "0",
        "007",
        "0x1F",
        "0o7",
        "0b1",
        "1e5",
        "1.10",
        "1_000",
        "2001-01-01",
        "a.b",
        "a-",
        "x_",
        "E",
        "Null",
        "TRUE",
        "concurrency",
        "app",
        "sequence",
        "hosts",
        "name",
    ];
    prop_oneof![
        1 => prop::sample::select(odd.to_vec()).prop_map(str::to_owned),
        1 => "[A-Za-z0-9][A-Za-z0-9._-]{0,6}",
    ]
    .prop_filter("not a word of the format", |word| {
        AppName::new(word).is_ok() && DeploymentName::new(word).is_ok()
    })
}

fn some_words(most: usize) -> impl Strategy<Value = Vec<String>> {
    prop::collection::btree_set(any_word(), 1..=most)
        .prop_map(|words| words.into_iter().collect::<Vec<_>>())
        .prop_shuffle()
}

fn some_hosts() -> impl Strategy<Value = BTreeSet<String>> {
    prop::collection::btree_set("[ab][0-9]{1,2}(\\.east|\\.west)?|[1-9][0-9]?|0x1f|true|1e5", 1..12)
}

fn any_limit() -> impl Strategy<Value = Quantity> {
    prop_oneof![
        (1_u32..=u32::MAX).prop_map(Quantity::Count),
        (1_u8..=100).prop_map(Quantity::Percent),
    ]
}

prop_compose! {
    /// Valid: limits only where app and environments meet, sequences along one order of apps.
    fn any_deployment()(
        name in any_word(),
        apps in some_words(4),
        types in some_words(3),
        values in some_words(3),
    )(
        name in Just(name),
        app_hosts in prop::collection::vec(some_hosts(), apps.len()),
        value_hosts in prop::collection::vec(some_hosts(), types.len() * values.len()),
        limits in prop::collection::vec(prop::option::of(any_limit()), types.len() * apps.len()),
        sequences in prop::collection::vec(
            prop::collection::vec(prop::sample::subsequence(apps.clone(), 0..=apps.len()), 0..3),
            types.len(),
        ),
        apps in Just(apps),
        types in Just(types),
        values in Just(values),
    ) -> Deployment {
        let hosts = |names: &BTreeSet<String>| -> HostSet {
            names.iter().map(|name| HostName::new(name).unwrap()).collect()
        };
        let apps: BTreeMap<AppName, HostSet> = apps
            .iter()
            .zip(&app_hosts)
            .map(|(app, own)| (AppName::new(app).unwrap(), hosts(own)))
            .collect();
        let mut envs = BTreeMap::new();
        let mut constraints = BTreeMap::new();
        for (n, env_type) in types.iter().enumerate() {
            let env_type = EnvType::new(env_type).unwrap();
            let values: BTreeMap<EnvValue, HostSet> = values
                .iter()
                .zip(&value_hosts[n * values.len()..])
                .map(|(value, own)| (EnvValue::new(value).unwrap(), hosts(own)))
                .collect();
            let mut constraint = Constraint::default();
            for ((app, own), limit) in apps.iter().zip(&limits[n * apps.len()..]) {
                let is_everywhere = values.values().all(|env| !env.intersection(own).is_empty());
                if let Some(limit) = limit && is_everywhere {
                    constraint.concurrency.insert(app.clone(), *limit);
                }
            }
            for list in &sequences[n] {
                let list: Vec<AppName> = list.iter().map(|app| AppName::new(app).unwrap()).collect();
                if list.len() >= 2 && !constraint.sequence.contains(&list) {
                    constraint.sequence.push(list);
                }
            }
            envs.insert(env_type.clone(), values);
            if constraint != Constraint::default() {
                constraints.insert(env_type, constraint);
            }
        }
        Deployment { name: DeploymentName::new(&name).unwrap(), apps, envs, constraints }
    }
}

proptest! {
    // Each case is up to two large deployments in three formats.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_shown_reads_back_as_it_was(
        deployments in prop::collection::vec(any_deployment(), 1..3)
    ) {
        let by_name: BTreeMap<DeploymentName, Deployment> =
            deployments.into_iter().map(|deployment| (deployment.name.clone(), deployment)).collect();
        let deployments: Vec<Deployment> = by_name.into_values().collect();
        for deployment in &deployments {
            prop_assert_eq!(deployment.problems(), []);
        }
        for format in FORMATS {
            let text = show(&deployments, format);
            let read = parse(&text, format, &NoGroups).map_err(|problems| {
                TestCaseError::fail(format!("{text}\n{problems}"))
            })?;
            prop_assert_eq!(&read, &deployments, "{}", text);
            prop_assert_eq!(show(&read, format), text);
        }
    }
}

proptest! {
    #[test]
    fn no_text_does_harm(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "d", "apps", "envs", "constraints", "inline", "e", "v", "app", "concurrency",
                "sequence", ":", ": ", "{", "}", "[", "]", ", ", "\n", "\n  ", "\n    ", "- ", "x1",
                "'x[1-9]'", "50%", "1", "0", "null", "true", "&a ", "*a", "<<", "@g", "!!str ",
            ]),
            0..40,
        )
    ) {
        let text = words.concat();
        for format in FORMATS {
            if let Err(problems) = parse(&text, format, &NoGroups) {
                prop_assert!(!problems.is_empty() && !problems.to_string().is_empty());
            }
        }
    }
}
