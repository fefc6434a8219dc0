//! `deployments.d`: files of deployments, read against the fleet that they are about.
//!
//! If anything is wrong in any file, all problems are told and no file counts. `orchestra-document`
//! reads the files. This module checks what only the conductor knows: that `@NAME` is not a group
//! and an app at once. While the files are read, the fleet is asked whether their hosts are
//! players, even those that an expression excludes: a host that is no player would count in
//! percentages and could never act.

use std::{path::Path, sync::Arc};

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
    files::{Document, read_documents},
};

/// The directory, below that of the configuration.
pub(super) const DIRECTORY: &str = "deployments.d";

/// Reads all deployments of a configuration into the fleet that they are about. A missing directory
/// counts as empty.
pub(super) fn load(directory: &Path, fleet: &mut Fleet) -> Result<(), Problems> {
    let mut problems = Problems::default();
    let most = limits::DEPLOYMENT_FILE_BYTES;
    let files = read_documents(directory, DIRECTORY, most, &mut problems);
    fleet.files.has_directory = files.is_some();
    if let Some(files) = &files {
        fleet.note_files(DIRECTORY, files);
    }
    let files = files.unwrap_or_default();
    let sources = files.iter().map(|Document { name, format, text }| SourceText {
        name,
        format: *format,
        text,
    });
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

/// Returns the SHA-256 over the content of deployments, which does not depend on their spelling.
fn digest(deployments: &Deployments) -> [u8; 32] {
    Sha256::digest(show(deployments.iter(), Format::Json)).into()
}

/// Checks that no `@NAME` is a group and an app.
fn check_groups(deployments: &Deployments, fleet: &Fleet, problems: &mut Problems) {
    for app in deployments.apps() {
        // Names of apps and of groups have the same characters.
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
