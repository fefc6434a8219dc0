//! What must be true of a deployment by itself.

use std::collections::{BTreeMap, BTreeSet};

use super::{Constraint, Deployment, DeploymentProblem as Problem, cells::meet, order::Order};
use crate::{
    limits,
    names::{AppName, EnvType},
    nearest::nearest,
};

impl Deployment {
    /// Everything that is wrong with it: its bounds, apps and environments without hosts,
    /// constraints on what does not exist, limits of 0, limits on cells without hosts, and
    /// sequences that go in a circle.
    ///
    /// That a host is in both apps of a sequence is allowed. Whether it does harm depends
    /// on what a job targets, and [`Cells::conflicts`](super::Cells::conflicts) tells.
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        let envs: usize = self.envs.values().map(BTreeMap::len).sum();
        for (what, count, most) in
            [("apps", self.apps.len(), limits::APPS), ("environments", envs, limits::ENVS)]
        {
            if count > most {
                found.push(Problem::TooMany { what, most });
            }
        }
        if self.apps.is_empty() {
            found.push(Problem::NoApps);
        }
        let empty = self.apps.iter().filter(|(_, hosts)| hosts.is_empty());
        found.extend(empty.map(|(app, _)| Problem::EmptyApp(app.clone())));
        for (env_type, values) in &self.envs {
            if values.is_empty() {
                found.push(Problem::EmptyEnvType(env_type.clone()));
            }
            let empty = values.iter().filter(|(_, hosts)| hosts.is_empty());
            found
                .extend(empty.map(|(value, _)| Problem::EmptyEnv(env_type.clone(), value.clone())));
        }
        for (env_type, constraint) in &self.constraints {
            self.check_constraint(env_type, constraint, &mut found);
        }
        found
    }

    fn check_constraint(
        &self,
        env_type: &EnvType,
        constraint: &Constraint,
        found: &mut Vec<Problem>,
    ) {
        if !self.envs.contains_key(env_type) {
            let known = nearest(env_type.as_str(), self.envs.keys().map(EnvType::as_str));
            let meant = known.and_then(|known| self.envs.get_key_value(known));
            let meant = meant.map(|(known, _)| known.clone());
            found.push(Problem::UnknownEnvType { env_type: env_type.clone(), meant });
        }
        if constraint.concurrency.is_empty() && constraint.sequence.is_empty() {
            found.push(Problem::EmptyConstraint(env_type.clone()));
        }
        for (app, limit) in &constraint.concurrency {
            self.check_app(env_type, "concurrency", app, found);
            if limit.is_zero() {
                found.push(Problem::ZeroLimit(env_type.clone(), app.clone()));
            }
        }
        self.check_cells(env_type, constraint, found);
        self.check_sequences(env_type, &constraint.sequence, found);
    }

    fn check_app(
        &self,
        env_type: &EnvType,
        field: &'static str,
        app: &AppName,
        found: &mut Vec<Problem>,
    ) {
        if self.apps.contains_key(app) {
            return;
        }
        let known = nearest(app.as_str(), self.apps.keys().map(AppName::as_str));
        let meant = known.and_then(|known| self.apps.get_key_value(known));
        let meant = meant.map(|(known, _)| known.clone());
        let (env_type, app) = (env_type.clone(), app.clone());
        found.push(Problem::UnknownApp { env_type, field, app, meant });
    }

    /// Cells without hosts, of apps and environments that have some.
    fn check_cells(&self, env_type: &EnvType, constraint: &Constraint, found: &mut Vec<Problem>) {
        let Some(values) = self.envs.get(env_type) else { return };
        let apps = constraint.concurrency.keys().filter_map(|app| self.apps.get_key_value(app));
        let apps: Vec<_> = apps.filter(|(_, hosts)| !hosts.is_empty()).collect();
        let sets: Vec<_> = apps.iter().map(|(_, hosts)| *hosts).collect();
        let meets = match meet(&sets, values.values(), limits::CELL_HOSTS) {
            Ok(meets) => meets,
            Err(too_many) => return found.push(too_many),
        };
        for ((app, _), meets) in apps.into_iter().zip(meets) {
            let empty = values
                .iter()
                .zip(meets)
                .filter(|((_, hosts), meets)| !hosts.is_empty() && meets.is_empty());
            let env_values: Vec<_> = empty.map(|((value, _), _)| value.clone()).collect();
            if !env_values.is_empty() {
                let (env_type, app) = (env_type.clone(), app.clone());
                found.push(Problem::EmptyCell { env_type, app, env_values });
            }
        }
    }

    fn check_sequences(
        &self,
        env_type: &EnvType,
        sequences: &[Vec<AppName>],
        found: &mut Vec<Problem>,
    ) {
        if sequences.iter().map(Vec::len).sum::<usize>() > limits::SEQUENCE_APPS {
            let what = "apps in the sequences of one type of environment";
            found.push(Problem::TooMany { what, most: limits::SEQUENCE_APPS });
            return;
        }
        for (index, sequence) in sequences.iter().enumerate() {
            if sequence.len() < 2 {
                let (env_type, number) = (env_type.clone(), index + 1);
                found.push(Problem::ShortSequence { env_type, number });
            }
        }
        let named: BTreeSet<&AppName> = sequences.iter().flatten().collect();
        for app in named {
            self.check_app(env_type, "sequence", app, found);
        }
        let cycles = Order::of(sequences).cycles().into_iter();
        found.extend(cycles.map(|apps| Problem::Cycle { env_type: env_type.clone(), apps }));
    }
}
