//! `deployments.d`: files of deployments, read against the fleet that they are about.
//!
//! Whatever is wrong in any of them, all of it is told, and none of them counts. What the files
//! say is `orchestra-document`'s; what only the conductor can know is asked here: that `@NAME` is
//! not a group and an app at once. That their hosts are players, also those that an expression takes
//! away, is asked of the fleet while they are read: a host that is no player would count in
//! percentages and could never act.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use orchestra_document::{
    Format, Problems,
    deployment::{SourceText, parse_all, show},
};
use orchestra_model::{
    Deployments, limits,
    names::{DeploymentName, GroupName},
};
use sha2::{Digest as _, Sha256};

use super::{
    Fleet,
    files::{if_there, read_text},
};

/// The directory, below that of the configuration.
pub(super) const DIRECTORY: &str = "deployments.d";

/// One file.
struct Text {
    /// As people are told: `deployments.d/web.yaml`.
    name: String,
    format: Format,
    text: String,
}

/// Reads all deployments of a configuration into the fleet that they are about. A directory that is
/// not there holds none.
pub(super) fn load(directory: &Path, fleet: &mut Fleet) -> Result<(), Problems> {
    let mut problems = Problems::default();
    let files = read_all(directory, &mut problems);
    fleet.files.has_directory = files.is_some();
    let files = files.unwrap_or_default();
    let sources =
        files.iter().map(|Text { name, format, text }| SourceText { name, format: *format, text });
    let parsed = match parse_all(sources, fleet) {
        Ok(parsed) => parsed,
        Err(wrong) => {
            problems.take_in("", wrong);
            return Err(problems);
        }
    };
    check_groups(&parsed.deployments, fleet, &mut problems);
    problems.into_result()?;
    let file = |(name, file): (DeploymentName, &str)| (name, Arc::from(file));
    fleet.files.deployments = parsed.files.into_iter().map(file).collect();
    fleet.deployments_digest = digest(&parsed.deployments);
    fleet.deployments = Arc::new(parsed.deployments);
    Ok(())
}

/// SHA-256 over what they mean, however it is spelt.
fn digest(deployments: &Deployments) -> [u8; 32] {
    Sha256::digest(show(deployments.iter(), Format::Json)).into()
}

/// The files in the order of their names. What is hidden, or neither YAML, TOML nor JSON by its
/// name, is none of ours: editors and packages leave such things. `None` without the directory.
fn read_all(directory: &Path, problems: &mut Problems) -> Option<Vec<Text>> {
    let directory = directory.join(DIRECTORY);
    let paths = match if_there(&directory, list(&directory)) {
        Ok(paths) => paths?,
        Err(error) => {
            problems.add(DIRECTORY, format_args!("it cannot be read: {error}"));
            return None;
        }
    };
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(format) = Format::of_path(&path).filter(|_| !name.starts_with('.')) else {
            continue;
        };
        let name = format!("{DIRECTORY}/{name}");
        match read_text(&path, limits::DEPLOYMENT_FILE_BYTES as u64) {
            Ok(text) => files.push(Text { name, format, text }),
            Err(error) => problems.add(&name, format_args!("it cannot be read: {error}")),
        }
    }
    Some(files)
}

fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    paths.sort_unstable();
    Ok(paths)
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
