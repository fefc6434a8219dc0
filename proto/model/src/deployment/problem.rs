//! What can be wrong with deployments.

use std::fmt;

use crate::names::{AppName, DeploymentName, EnvType, EnvValue, ServiceName};

/// Something wrong with one deployment.
///
/// Its text begins with the place within the deployment, as those of a file's problems do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeploymentProblem {
    /// Another one has the same name.
    Duplicate,
    /// It has no apps.
    NoApps,
    /// An app has no hosts.
    EmptyApp(AppName),
    /// A type has no environments.
    EmptyEnvType(EnvType),
    /// An environment has no hosts.
    EmptyEnv(EnvType, EnvValue),
    /// Constraints for a type of environment that it does not have.
    UnknownEnvType {
        /// The type.
        env_type: EnvType,
        /// The one that was probably meant.
        meant: Option<EnvType>,
    },
    /// Constraints that say nothing.
    EmptyConstraint(EnvType),
    /// A constraint on an app that it does not have.
    UnknownApp {
        /// The constraint's type of environment.
        env_type: EnvType,
        /// `concurrency` or `sequence`.
        field: &'static str,
        /// The app.
        app: AppName,
        /// The one that was probably meant.
        meant: Option<AppName>,
    },
    /// A limit of 0 or 0 %: nothing could ever start.
    ZeroLimit(EnvType, AppName),
    /// A limit on an app that has no host in some environments of the type.
    EmptyCell {
        /// The constraint's type of environment.
        env_type: EnvType,
        /// The app.
        app: AppName,
        /// Where it has none.
        env_values: Vec<EnvValue>,
    },
    /// A sequence of less than two apps.
    ShortSequence {
        /// The constraint's type of environment.
        env_type: EnvType,
        /// Which sequence, from 1.
        number: usize,
    },
    /// Sequences that put an app before itself.
    Cycle {
        /// The constraint's type of environment.
        env_type: EnvType,
        /// Each comes before the next, the last before the first.
        apps: Vec<AppName>,
    },
    /// More of something than its bound.
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        most: usize,
    },
}

impl fmt::Display for DeploymentProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate => f.write_str("there are two deployments of this name"),
            Self::NoApps => f.write_str("it has no apps"),
            Self::EmptyApp(app) => write!(f, "app {app}: it has no hosts"),
            Self::EmptyEnvType(env_type) => write!(f, "envs {env_type}: it has no environments"),
            Self::EmptyEnv(env_type, value) => {
                write!(f, "envs {env_type}, {value}: it has no hosts")
            }
            Self::UnknownEnvType { env_type, meant } => {
                write!(f, "constraints {env_type}: envs has no {env_type}")?;
                did_you_mean(f, meant.as_ref())
            }
            Self::EmptyConstraint(env_type) => write!(
                f,
                "constraints {env_type}: there is neither concurrency nor sequence; leave it out"
            ),
            Self::UnknownApp { env_type, field, app, meant } => {
                write!(f, "constraints {env_type}, {field}: there is no app {app}")?;
                did_you_mean(f, meant.as_ref())
            }
            Self::ZeroLimit(env_type, app) => write!(
                f,
                "constraints {env_type}, concurrency: {app} is 0, so nothing could ever start; \
                 leave it out for all at once"
            ),
            Self::EmptyCell { env_type, app, env_values } => {
                write!(f, "constraints {env_type}, concurrency: {app} has no hosts in ")?;
                for (n, value) in env_values.iter().take(SHOWN).enumerate() {
                    write!(f, "{}{value}", if n == 0 { "" } else { ", " })?;
                }
                if env_values.len() > SHOWN {
                    write!(f, " and {} more", env_values.len() - SHOWN)?;
                }
                f.write_str(", so its limit holds nothing there")
            }
            Self::ShortSequence { env_type, number } => write!(
                f,
                "constraints {env_type}, sequence: list {number} names less than two apps, so it \
                 orders nothing"
            ),
            Self::Cycle { env_type, apps } => {
                write!(f, "constraints {env_type}, sequence: a circle, ")?;
                for app in apps {
                    write!(f, "{app} before ")?;
                }
                apps.first().map_or(Ok(()), |first| write!(f, "{first}"))
            }
            Self::TooMany { what, most } => {
                write!(f, "it has too many {what}; at most {most} are allowed")
            }
        }
    }
}

/// Most names that one problem lists.
const SHOWN: usize = 10;

fn did_you_mean(f: &mut fmt::Formatter<'_>, meant: Option<&impl fmt::Display>) -> fmt::Result {
    meant.map_or(Ok(()), |meant| write!(f, "; did you mean {meant}?"))
}

/// Something wrong with a deployment, and which.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}, {}", .deployment, .problem)]
pub struct InvalidDeployment {
    /// The deployment.
    pub deployment: DeploymentName,
    /// What is wrong with it.
    pub problem: DeploymentProblem,
}

impl InvalidDeployment {
    pub(super) fn new(deployment: &DeploymentName, problem: DeploymentProblem) -> Self {
        Self { deployment: deployment.clone(), problem }
    }
}

/// A service whose hosts make no cell.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct InvalidServiceCell {
    pub service: ServiceName,
    /// What is wrong: there are two of it, or there is no room for more cells.
    pub problem: DeploymentProblem,
}

impl fmt::Display for InvalidServiceCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            DeploymentProblem::Duplicate => write!(f, "there are two services {}", self.service),
            problem => write!(f, "service {}, {problem}", self.service),
        }
    }
}

/// Everything that is wrong with some deployments; at least one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct InvalidDeployments(pub Vec<InvalidDeployment>);

impl fmt::Display for InvalidDeployments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, wrong) in self.0.iter().enumerate() {
            write!(f, "{}{wrong}", if n == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}
