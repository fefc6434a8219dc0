//! Deployments built in few words.

use std::collections::BTreeMap;

use orchestra_model::{
    HostSet,
    deployment::{Constraint, Deployment, Deployments},
    names::{AppName, DeploymentName, EnvType, EnvValue},
};

/// Built by what is said of it.
#[derive(Clone, Debug)]
pub(crate) struct Built(pub(crate) Deployment);

pub(crate) fn deployment(name: &str) -> Built {
    Built(Deployment {
        name: DeploymentName::new(name).unwrap(),
        apps: BTreeMap::new(),
        envs: BTreeMap::new(),
        constraints: BTreeMap::new(),
    })
}

impl Built {
    pub(crate) fn app(mut self, name: &str, hosts: &str) -> Self {
        self.0.apps.insert(app(name), set(hosts));
        self
    }

    pub(crate) fn env(mut self, env_type: &str, value: &str, hosts: &str) -> Self {
        let values = self.0.envs.entry(EnvType::new(env_type).unwrap()).or_default();
        values.insert(EnvValue::new(value).unwrap(), set(hosts));
        self
    }

    pub(crate) fn limit(mut self, env_type: &str, name: &str, limit: &str) -> Self {
        self.constraint(env_type).concurrency.insert(app(name), limit.parse().unwrap());
        self
    }

    pub(crate) fn sequence(mut self, env_type: &str, apps: &str) -> Self {
        self.constraint(env_type).sequence.push(apps.split_whitespace().map(app).collect());
        self
    }

    pub(crate) fn constraint(&mut self, env_type: &str) -> &mut Constraint {
        self.0.constraints.entry(EnvType::new(env_type).unwrap()).or_default()
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        self.0.problems().iter().map(ToString::to_string).collect()
    }
}

pub(crate) fn app(name: &str) -> AppName {
    AppName::new(name).unwrap()
}

pub(crate) fn set(hosts: &str) -> HostSet {
    HostSet::parse_plain(hosts).unwrap()
}

pub(crate) fn all(built: &[&Built]) -> Deployments {
    Deployments::new(built.iter().map(|built| built.0.clone())).unwrap()
}
