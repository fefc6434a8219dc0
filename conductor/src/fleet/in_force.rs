//! A limit in force is lifted only if an operator allows it. It is not lifted by a file that has
//! vanished, a directory that is empty because nothing is mounted there, or a link that leads
//! nowhere. The store remembers what is in force, so this holds at a start as well.
//!
//! What never was in force is not missed.

use std::{collections::BTreeMap, fmt, sync::Arc};

use orchestra_certs::{RevocationList, x509};
use orchestra_model::{
    names::DeploymentName,
    record::{DeploymentInForce, InForce, ListEdition},
};

use super::{Fleet, deployments::DIRECTORY};

/// The limits in force that a fleet would lift, as a clause for each file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lifted(Vec<String>);

impl fmt::Display for Lifted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "limits that are in force would be lifted: {}", self.0.join("; "))
    }
}

impl Fleet {
    /// Adds the revocation lists that `conductor.toml` names, one of each CA.
    pub(crate) fn revoking<'a>(self, lists: impl Iterator<Item = &'a RevocationList>) -> Self {
        Self { lists: lists.map(|list| list.edition().clone()).collect(), ..self }
    }

    /// Returns what is to be remembered of this fleet once it is in force.
    pub(crate) fn in_force(&self) -> InForce {
        let cells = self.deployments.cells();
        let deployment = |(name, file): (&DeploymentName, &Arc<str>)| {
            let cells = u32::try_from(cells.of_deployment(name).len()).unwrap_or(u32::MAX);
            (name.clone(), DeploymentInForce { file: file.clone(), cells })
        };
        InForce {
            deployments: self.files.deployments.iter().map(deployment).collect(),
            groups: u32::try_from(self.groups.len()).unwrap_or(u32::MAX),
            revokes: !self.lists.is_empty(),
            lists: self.lists.clone(),
            words: self.groups_and_labels().filter(|(_, hosts)| hosts.len() > 1).collect(),
            files: self.digests.clone(),
        }
    }

    /// Returns which limits in force this fleet would lift; `None` if none.
    pub(crate) fn lifts(&self, before: &InForce) -> Option<Lifted> {
        let now = self.in_force();
        let mut clauses = Vec::new();
        if !before.deployments.is_empty() && now.deployments.is_empty() {
            let names = before.deployments.keys().map(DeploymentName::as_str);
            clauses.push(self.all_gone(&deployments(&names.collect::<Vec<_>>())));
        } else {
            clauses.extend(self.some_gone(before, &now));
        }
        if before.groups > 0 && now.groups == 0 {
            let groups = match before.groups {
                1 => "1 group".to_owned(),
                n => format!("{n} groups"),
            };
            clauses.push(match self.files.has_groups {
                false => format!("groups.toml, which had {groups}, is not there"),
                true => format!("groups.toml, which had {groups}, has none any more"),
            });
        }
        if before.revokes && !now.revokes {
            clauses.push(
                "conductor.toml names no revocation list (tls.crl) any more, and everybody on it \
                 would be let in again"
                    .to_owned(),
            );
        }
        clauses.extend(now.lists.iter().filter_map(|list| older(list, &before.lists)));
        (!clauses.is_empty()).then_some(Lifted(clauses))
    }

    fn all_gone(&self, deployments: &str) -> String {
        match self.files.has_directory {
            false => format!("{DIRECTORY} is not there, and with it {deployments}"),
            true => format!("{DIRECTORY} is empty, without {deployments}"),
        }
    }

    /// Returns a clause for each file that lacks something.
    fn some_gone(&self, before: &InForce, now: &InForce) -> Vec<String> {
        let mut gone: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut clauses = Vec::new();
        for (name, was) in &before.deployments {
            match now.deployments.get(name) {
                None => gone.entry(&*was.file).or_default().push(name.as_str()),
                Some(is) if was.cells > 0 && is.cells == 0 => clauses
                    .push(format!("deployment {name} of {} has no constraint any more", is.file)),
                Some(_) => {}
            }
        }
        clauses.extend(gone.into_iter().map(|(file, names)| {
            let is_there = self.files.deployments.values().any(|known| &**known == file);
            let deployments = deployments(&names);
            match is_there {
                false => format!("{file} is not there, and with it {deployments}"),
                true => format!("{file} lacks {deployments}"),
            }
        }));
        clauses
    }
}

/// Returns a clause if a revocation list is older than the edition that was in force.
fn older(list: &ListEdition, before: &[ListEdition]) -> Option<String> {
    let in_force = before.iter().find(|in_force| list.is_older_than(in_force))?;
    Some(format!(
        "the revocation list of {:?} was made at {}, before the one that was in force, which was made \
         at {}: who was revoked in between would be let in again",
        list.ca,
        x509::moment(list.made),
        x509::moment(in_force.made),
    ))
}

fn deployments(names: &[&str]) -> String {
    let word = if names.len() == 1 { "deployment" } else { "deployments" };
    format!("{word} {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use orchestra_model::Timestamp;

    use super::*;

    const SHOP: &str = "shop: {apps: {web: 'n[1-8]'}, envs: {site: {main: 'n[1-8]'}}, \
                        constraints: {site: {concurrency: {web: 1}}}}\n";
    const DESK: &str = "desk: {apps: {printer: 'n1'}}\ndock: {apps: {crane: 'n2'}}\n";

    /// Makes a configuration with two files of deployments and a group, and what is in force with
    /// it.
    fn place() -> (tempfile::TempDir, InForce) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path();
        fs::create_dir(path.join(DIRECTORY)).unwrap();
        for (name, text) in [
            ("players", "n[1-8]\n"),
            ("groups.toml", "first = \"n1\"\n"),
            ("deployments.d/shop.yaml", SHOP),
            ("deployments.d/more.yaml", DESK),
        ] {
            fs::write(path.join(name), text).unwrap();
        }
        let in_force = Fleet::load(path).unwrap().in_force();
        (place, in_force)
    }

    /// Returns what is lifted after a change of the files.
    fn lifted(change: impl FnOnce(&Path)) -> Option<String> {
        let (place, in_force) = place();
        change(place.path());
        let lifted = Fleet::load(place.path()).unwrap().lifts(&in_force)?.to_string();
        let lifted = lifted.strip_prefix("limits that are in force would be lifted: ");
        Some(lifted.unwrap().to_owned())
    }

    #[test]
    fn what_stays_or_is_new_lifts_nothing() {
        assert_eq!(lifted(|_| {}), None);
        // A file is renamed, one is spelt differently, one is added: nothing is missing.
        let renamed = |place: &Path| {
            let file = |name: &str| place.join(DIRECTORY).join(name);
            fs::rename(file("shop.yaml"), file("store.yaml")).unwrap();
            fs::write(file("new.toml"), "[new]\napps = {a = \"n3\"}\n").unwrap();
        };
        assert_eq!(lifted(renamed), None);
        let (place, _) = place();
        assert!(Fleet::load(place.path()).unwrap().lifts(&InForce::default()).is_none());
    }

    /// An edition of our CA's revocation list.
    fn edition(number: u8) -> ListEdition {
        let made = Timestamp(u64::from(number) * 1_000);
        let number = Some([number].as_slice().into());
        ListEdition { ca: "CN=ours".into(), key: [4].as_slice().into(), number, made }
    }

    #[test]
    fn a_revocation_list_is_missed_and_so_is_its_later_edition() {
        let (place, in_force) = place();
        let fleet = |lists: &[ListEdition]| Fleet {
            lists: lists.to_vec(),
            ..Fleet::load(place.path()).unwrap()
        };
        let before = fleet(&[edition(2)]).in_force();
        assert_eq!(fleet(&[edition(2)]).lifts(&before), None);
        assert_eq!(fleet(&[edition(3)]).lifts(&before), None);
        let told = fleet(&[]).lifts(&before).unwrap().to_string();
        assert!(told.contains("names no revocation list (tls.crl) any more"), "{told}");
        assert_eq!(fleet(&[edition(2)]).lifts(&in_force), None);
        let told = fleet(&[edition(1)]).lifts(&before).unwrap().to_string();
        assert!(
            told.contains("was made at 1970-01-01T00:00:01Z, before the one that was"),
            "{told}"
        );
        // A new CA counts from 1 again.
        let anew = ListEdition { key: [5].as_slice().into(), ..edition(1) };
        assert_eq!(fleet(&[anew]).lifts(&before), None);
        // An earlier release remembered that there were lists, but not which.
        let former = InForce { lists: Vec::new(), ..before };
        assert_eq!(fleet(&[edition(1)]).lifts(&former), None);
    }

    #[test]
    fn each_way_to_vanish_is_told() {
        let remove =
            |name: &'static str| move |place: &Path| fs::remove_file(place.join(name)).unwrap();
        let write = |name: &'static str, text: &'static str| {
            move |place: &Path| fs::write(place.join(name), text).unwrap()
        };
        for (told, expected) in [
            (
                lifted(|place| fs::remove_dir_all(place.join(DIRECTORY)).unwrap()),
                "deployments.d is not there, and with it deployments desk, dock, shop",
            ),
            (
                lifted(|place| {
                    fs::remove_dir_all(place.join(DIRECTORY)).unwrap();
                    fs::create_dir(place.join(DIRECTORY)).unwrap();
                }),
                "deployments.d is empty, without deployments desk, dock, shop",
            ),
            (
                lifted(remove("deployments.d/more.yaml")),
                "deployments.d/more.yaml is not there, and with it deployments desk, dock",
            ),
            (
                lifted(write("deployments.d/more.yaml", "desk: {apps: {printer: 'n1'}}\n")),
                "deployments.d/more.yaml lacks deployment dock",
            ),
            (
                lifted(write("deployments.d/shop.yaml", "shop: {apps: {web: 'n[1-8]'}}\n")),
                "deployment shop of deployments.d/shop.yaml has no constraint any more",
            ),
            (lifted(remove("groups.toml")), "groups.toml, which had 1 group, is not there"),
            (
                lifted(write("groups.toml", "# moved\n")),
                "groups.toml, which had 1 group, has none any more",
            ),
        ] {
            assert_eq!(told.as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error_and_never_nothing() {
        for (name, expected) in
            [("groups.toml", "groups.toml: "), ("deployments.d", "it is a link that leads nowhere")]
        {
            let (place, _) = place();
            let path = place.path().join(name);
            fs::rename(&path, place.path().join("away")).unwrap();
            std::os::unix::fs::symlink("not-mounted", &path).unwrap();
            let error = orchestra_model::chain(&Fleet::load(place.path()).unwrap_err());
            assert!(error.contains("link that leads nowhere"), "{error}");
            assert!(error.contains(expected), "{error}");
            fs::remove_file(&path).unwrap();
            // A file where a directory is expected, and the other way round.
            match name {
                "groups.toml" => fs::create_dir(&path).unwrap(),
                _ => fs::write(&path, "").unwrap(),
            }
            assert!(Fleet::load(place.path()).is_err(), "{name}");
        }
    }
}
