//! `services.d`: files of services, each read against the fleet that it is about.
//!
//! If anything is wrong in any file, all problems are told and no file counts. `orchestra-document`
//! reads a file, and the fleet resolves its hosts. `orchestra-service` decides whether a file is
//! news, and to whom its service belongs.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use orchestra_document::{
    Problems,
    service::{FILE_BYTES, parse},
};
use orchestra_model::{HostSet, ServiceName, chain};
use orchestra_proto::encode_service;
use orchestra_service::FiledService;
use sha2::{Digest as _, Sha256};

use super::{
    Fleet,
    files::{Document, read_documents},
};

/// The directory, below that of the configuration.
pub(crate) const DIRECTORY: &str = "services.d";

/// Reads all services of a configuration, in the order of their files. A missing directory counts
/// as empty.
pub(super) fn load(directory: &Path, fleet: &mut Fleet) -> Result<Vec<FiledService>, Problems> {
    let mut problems = Problems::default();
    let files = read_documents(directory, DIRECTORY, FILE_BYTES, &mut problems);
    let mut services = Vec::new();
    let mut known: BTreeMap<ServiceName, Arc<str>> = BTreeMap::new();
    if let Some(files) = &files {
        fleet.note_files(DIRECTORY, files);
    }
    for file in files.unwrap_or_default() {
        let service = match read(&file, fleet) {
            Ok(service) => service,
            Err(wrong) => {
                problems.take_in(&file.name, wrong);
                continue;
            }
        };
        let name = service.spec.name.clone();
        match known.get(&name) {
            Some(first) => problems
                .add(&file.name, format_args!("there is a service {name} in {first} already")),
            None => drop(known.insert(name, Arc::clone(&service.file))),
        }
        services.push(service);
    }
    problems.into_result().map(|()| services)
}

fn read(file: &Document, fleet: &Fleet) -> Result<FiledService, Problems> {
    let spec = parse(&file.text, file.format)?;
    let mut problems = Problems::default();
    let hosts = match HostSet::parse(&spec.on, fleet) {
        // A linked service is where the other one is, and a placed one is where there is room.
        _ if spec.upkeep.linked_to.is_some() || spec.place.is_some() => HostSet::default(),
        Ok(hosts) if hosts.is_empty() => {
            problems.add("on", "its host set is empty");
            hosts
        }
        Ok(hosts) => hosts,
        Err(error) => {
            problems.add("on", chain(&error));
            HostSet::default()
        }
    };
    problems.into_result()?;
    // The text was parsed just now, so this does not fail.
    let meaning = file.format.parse(&file.text).map(|tree| tree.canonical()).unwrap_or_default();
    Ok(FiledService {
        file: file.name.as_str().into(),
        spec_bytes: encode_service(&spec).into(),
        spec,
        content: Sha256::digest(meaning).into(),
        hosts,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Reads these files of services in a fleet of four players.
    fn read_files(files: &[(&str, &str)]) -> Result<Vec<FiledService>, String> {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("players"), "db[1-4] app=db\n").unwrap();
        fs::create_dir(place.path().join(DIRECTORY)).unwrap();
        for (name, text) in files {
            fs::write(place.path().join(DIRECTORY).join(name), text).unwrap();
        }
        let fleet = Fleet::load(place.path()).map_err(|error| chain(&error))?;
        Ok(fleet.services().to_vec())
    }

    #[test]
    fn each_file_is_a_service_whatever_its_format() {
        let services = read_files(&[
            ("web.yaml", "# ours\nservice: web\nscore: run-web\non: '@app=db'\n"),
            ("api.json", r#"{"score": "run-api", "service": "api", "on": "db1"}"#),
            ("cron.toml", "service = 'cron'\nscore = 'run-cron'\non = 'db[2-3]'\n"),
            (".web.yaml.swp", "no"),
            ("README", "no"),
        ])
        .unwrap();
        let told: Vec<_> = services
            .iter()
            .map(|it| format!("{} {} {}", it.file, it.spec.name, it.hosts))
            .collect();
        let expected = [
            "services.d/api.json api db1",
            "services.d/cron.toml cron db[2-3]",
            "services.d/web.yaml web db[1-4]",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_says_the_same_has_the_same_content() {
        let content = |name: &str, text: &str| read_files(&[(name, text)]).unwrap()[0].content;
        let yaml = content("a.yaml", "service: web\nscore: w\non: db1\nparams: {a: '1', b: x}\n");
        let json =
            r#"{"on": "db1", "params": {"b": "x", "a": "1"}, "score": "w", "service": "web"}"#;
        assert_eq!(content("b.json", json), yaml, "order, format and name are no content");
        let other = content("a.yaml", "service: web\nscore: w\non: db1\nparams: {a: '2', b: x}\n");
        assert_ne!(other, yaml, "a value is");
        let moved =
            content("a.yaml", "service: web\nscore: w\non: db1\nparams: {a: '1x', b: ''}\n");
        assert_ne!(moved, yaml);
    }

    #[test]
    fn all_that_is_wrong_in_any_file_is_told() {
        let told = read_files(&[
            ("a.yaml", "service: web\nscore: run-web\non: nobody\n"),
            ("b.yaml", "service: api\nscroe: run-api\non: db1\n"),
            ("c.yaml", "service: dns\nscore: d\non: db1\n"),
            ("d.yaml", "service: dns\nscore: d\non: db2\n"),
            ("e.yaml", "service: none\nscore: d\non: '@app=db!db[1-4]'\n"),
        ])
        .unwrap_err();
        for expected in [
            "services.d/a.yaml: on: ",
            "services.d/b.yaml: line 2: unknown field \"scroe\"",
            "services.d/d.yaml: there is a service dns in services.d/c.yaml already",
            "services.d/e.yaml: on: its host set is empty",
        ] {
            assert!(told.contains(expected), "{told}");
        }
    }
}
