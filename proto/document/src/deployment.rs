//! Files of deployments: `deployments.d/*.{yaml,toml,json}` of the conductor, and what
//! `orc deployment check` reads. What a deployment is, `orchestra_model::deployment` says.
//!
//! A file is a table of deployments by name. The canonical form, which [`show`] writes:
//!
//! ```yaml
//! example-deployment:
//!   apps:                          # required; each is a group @NAME as well
//!     backend: be[1-5].east.example.com,be[1-5].west.example.com
//!     frontend: fe[1-6].east.example.com,fe[1-6].west.example.com
//!   envs:                          # by type, then by value
//!     cluster:
//!       east: be[1-5].east.example.com,fe[1-6].east.example.com
//!       west: be[1-5].west.example.com,fe[1-6].west.example.com
//!   constraints:                   # by type of environment
//!     cluster:
//!       concurrency:               # N or N% of what the app has in one environment
//!         backend: 1
//!         frontend: 50%
//!       sequence:                  # within one environment, each app after those before it
//!         - [backend, frontend]
//! ```
//!
//! Every shape that Pogo's wiki prints is read too, and means the same:
//!
//! ```text
//! HOSTS      a host set, a list of host sets (their union), or {inline: either}
//! NAMED x    {NAME: x, …}, or a list of tables with one name each: [{NAME: x}, …]
//!
//! file                NAMED deployment
//! deployment          apps: NAMED HOSTS    envs: {TYPE: envs}    constraints: {TYPE: constraint}
//! envs                NAMED HOSTS, or {inline: NAMED HOSTS}
//! constraint          concurrency (or app): NAMED quantity       sequence: [[APP, APP, …], …]
//! ```
//!
//! What could be read in more than one way is decided so:
//!
//! - `app:` below a constraint is `concurrency:` by another name; both at once are refused.
//! - `inline` is no name of an app or an environment, and nothing stands beside it: a table with
//!   `inline` and names is refused.
//! - In `[{east: …}, …]` the hosts belong to the name they stand below. A host set beside `east:`
//!   rather than below it is refused, since it would be a guess whose it is.
//! - Each member of a list of host sets is an expression by itself: `[a, "b!c"]` is `a` and (`b`
//!   without `c`).
//! - A sequence is a list within a list even where there is only one.
//! - A name is given once wherever it can be given, in one file and over all files.
//! - A number is what it says: `frontend: 2` is two hosts, whatever a comment beside it claims.
//! - A file without a deployment is refused: it is more likely cut off than meant, and limits
//!   would be gone without a word.
//!
//! `@NAME` and `@KEY=VALUE` in host sets are looked up in the groups that the caller has; a
//! deployment's own apps are not among them, so that no file depends on the order of reading.
//! Whether hosts exist is for the conductor to say.

use std::collections::BTreeMap;

use orchestra_model::{
    deployment::{Deployment, DeploymentProblem, Deployments},
    hostset::Groups,
    limits,
    names::DeploymentName,
};

use crate::{Format, Node, Problems};

mod read;
mod show;
mod table;

pub use show::{Canonical, show};

/// A file's text, and what it is called in problems.
#[derive(Clone, Copy, Debug)]
pub struct SourceText<'a> {
    /// As it is told to people: its path.
    pub name: &'a str,
    /// What it is written in.
    pub format: Format,
    /// All of it.
    pub text: &'a str,
}

/// Reads the deployments of one text, each valid by itself, in the order of writing.
///
/// Fails with everything that is wrong, each with its place.
pub fn parse(text: &str, format: Format, groups: &dyn Groups) -> Result<Vec<Deployment>, Problems> {
    let mut problems = Problems::default();
    let deployments = read(text, format, groups, &mut problems);
    problems.into_result().map(|()| deployments)
}

/// Reads the deployments of a document that is a tree already, each valid by itself.
///
/// Fails with everything that is wrong, each with its place.
pub fn read_tree(tree: &Node, groups: &dyn Groups) -> Result<Vec<Deployment>, Problems> {
    let mut problems = Problems::default();
    let deployments = read::Reader::new(groups, &mut problems).file(tree);
    problems.into_result().map(|()| deployments)
}

/// What all files say together.
#[derive(Debug)]
pub struct Parsed<'a> {
    /// What they say.
    pub deployments: Deployments,
    /// Which of them says it: the name of the [`SourceText`].
    pub files: BTreeMap<DeploymentName, &'a str>,
}

/// Reads all files that hold together: whether names are unique and bounds kept over all of them
/// is known only here.
///
/// Fails with everything that is wrong in any of them, each with its file and place.
pub fn parse_all<'a>(
    sources: impl IntoIterator<Item = SourceText<'a>>,
    groups: &dyn Groups,
) -> Result<Parsed<'a>, Problems> {
    let mut problems = Problems::default();
    let mut files: BTreeMap<DeploymentName, &str> = BTreeMap::new();
    let mut all = Vec::new();
    for source in sources {
        let mut own = Problems::default();
        for deployment in read(source.text, source.format, groups, &mut own) {
            match files.get(&deployment.name) {
                Some(first) => own.add(
                    deployment.name.as_str(),
                    format_args!("there is a deployment of this name in {first} already"),
                ),
                None => {
                    files.insert(deployment.name.clone(), source.name);
                    all.push(deployment);
                }
            }
        }
        problems.take_in(source.name, own);
    }
    problems.into_result()?;
    match Deployments::new(all) {
        Ok(deployments) => Ok(Parsed { deployments, files }),
        Err(wrong) => {
            let mut problems = Problems::default();
            for wrong in wrong.0 {
                let file = files.get(&wrong.deployment).copied().unwrap_or_default();
                problems.add(file, wrong);
            }
            Err(problems)
        }
    }
}

/// What can be read of a text; it is worth something only where no problems were added.
fn read(
    text: &str,
    format: Format,
    groups: &dyn Groups,
    problems: &mut Problems,
) -> Vec<Deployment> {
    if text.len() > limits::DEPLOYMENT_FILE_BYTES {
        let most = limits::DEPLOYMENT_FILE_BYTES;
        problems.add("", format_args!("it is larger than {most} bytes"));
        return Vec::new();
    }
    match format.parse(text) {
        Ok(tree) => read::Reader::new(groups, problems).file(&tree),
        Err(malformed) => {
            problems.add("", format_args!("it is not {}: {malformed}", format.as_str()));
            Vec::new()
        }
    }
}

/// Whether a problem may come from another one, of the text, that is told already: what could not
/// be read looks as if it was not there.
fn may_follow(problem: &DeploymentProblem) -> bool {
    match problem {
        DeploymentProblem::NoApps
        | DeploymentProblem::EmptyApp(_)
        | DeploymentProblem::EmptyEnvType(_)
        | DeploymentProblem::EmptyEnv(..)
        | DeploymentProblem::EmptyConstraint(_)
        | DeploymentProblem::EmptyCell { .. }
        | DeploymentProblem::ShortSequence { .. } => true,
        DeploymentProblem::Duplicate
        | DeploymentProblem::UnknownEnvType { .. }
        | DeploymentProblem::UnknownApp { .. }
        | DeploymentProblem::ZeroLimit(..)
        | DeploymentProblem::Cycle { .. }
        | DeploymentProblem::TooMany { .. } => false,
    }
}

#[cfg(test)]
mod tests;
