//! `deployments.d`: files of deployments, read against the fleet that they are about.
//!
//! Whatever is wrong in any of them, all of it is told, and none of them counts. What the files
//! say is `orchestra-document`'s; what only the conductor can know is asked here: that their hosts
//! are players, and that `@NAME` is not a group and an app at once.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use orchestra_document::{
    Format, Problems,
    deployment::{Source, parse, parse_all, show},
};
use orchestra_model::{
    Deployments, limits,
    names::{DeploymentName, GroupName},
};
use sha2::{Digest as _, Sha256};

use super::Fleet;

/// The directory, below that of the configuration.
pub(super) const DIRECTORY: &str = "deployments.d";

/// One file.
struct Text {
    /// As people are told: `deployments.d/web.yaml`.
    name: String,
    format: Format,
    text: String,
}

/// Reads all deployments of a configuration. A directory that is not there holds none.
pub(super) fn load(directory: &Path, fleet: &Fleet) -> Result<Deployments, Problems> {
    let mut problems = Problems::default();
    let files = read_all(directory, &mut problems);
    let sources =
        files.iter().map(|Text { name, format, text }| Source { name, format: *format, text });
    match parse_all(sources, fleet) {
        Ok(deployments) => {
            check_hosts(&deployments, fleet, &files, &mut problems);
            check_groups(&deployments, fleet, &mut problems);
            problems.into_result().map(|()| deployments)
        }
        Err(wrong) => {
            problems.take_in("", wrong);
            Err(problems)
        }
    }
}

/// SHA-256 over what they mean, however it is spelt.
pub(super) fn digest(deployments: &Deployments) -> [u8; 32] {
    Sha256::digest(show(deployments.iter(), Format::Json)).into()
}

/// The files in the order of their names. What is hidden, or neither YAML, TOML nor JSON by its
/// name, is none of ours: editors and packages leave such things.
fn read_all(directory: &Path, problems: &mut Problems) -> Vec<Text> {
    let paths = match list(&directory.join(DIRECTORY)) {
        Ok(paths) => paths,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            problems.add(DIRECTORY, format_args!("it cannot be read: {error}"));
            return Vec::new();
        }
    };
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(format) = Format::of_path(&path).filter(|_| !name.starts_with('.')) else {
            continue;
        };
        let name = format!("{DIRECTORY}/{name}");
        match read(&path) {
            Ok(text) => files.push(Text { name, format, text }),
            Err(error) => problems.add(&name, format_args!("it cannot be read: {error}")),
        }
    }
    files
}

fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    paths.sort_unstable();
    Ok(paths)
}

/// Reads no more than tells that the file is too large.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let most = limits::DEPLOYMENT_FILE_BYTES as u64 + 1;
    File::open(path)?.take(most).read_to_string(&mut text)?;
    Ok(text)
}

/// A host that is no player would count in percentages and could never act.
fn check_hosts(deployments: &Deployments, fleet: &Fleet, files: &[Text], problems: &mut Problems) {
    let mut found_in: Option<BTreeMap<DeploymentName, &str>> = None;
    for deployment in deployments.iter() {
        let unknown = deployment.hosts().minus(fleet.hosts());
        if unknown.is_empty() {
            continue;
        }
        let found_in = found_in.get_or_insert_with(|| origins(files, fleet));
        let file = found_in.get(&deployment.name).copied().unwrap_or(DIRECTORY);
        let name = &deployment.name;
        problems.add(
            file,
            format_args!("{name}: hosts that the players file does not name: {unknown}"),
        );
    }
}

/// Which deployment is of which file: asked only where something is wrong.
fn origins<'a>(files: &'a [Text], fleet: &Fleet) -> BTreeMap<DeploymentName, &'a str> {
    let mut found_in = BTreeMap::new();
    for Text { name, format, text } in files {
        for deployment in parse(text, *format, fleet).into_iter().flatten() {
            found_in.insert(deployment.name, name.as_str());
        }
    }
    found_in
}

/// `@NAME` names one thing.
fn check_groups(deployments: &Deployments, fleet: &Fleet, problems: &mut Problems) {
    for app in deployments.apps() {
        // Both have the same character set.
        let is_group =
            GroupName::new(app.as_str()).is_ok_and(|group| fleet.groups.contains_key(&group));
        if is_group {
            let whose = deployments.iter().find(|deployment| deployment.apps.contains_key(app));
            let whose = whose.map_or("", |deployment| deployment.name.as_str());
            problems.add(
                "groups.toml",
                format_args!(
                    "{app} is an app of deployment {whose} too, so that @{app} would be either; \
                     rename one of them"
                ),
            );
        }
    }
}
