//! What people write of a service.

use crate::{
    names::{ParamKey, ScoreName, ServiceName},
    params::Params,
    quantity::Quantity,
    score::BuiltIn,
    service::{
        AbsenceRule, INSTANCES, InvalidPlace, InvalidUpkeep, InvalidValue, Judgement, PlaceRule,
        Recipe, Upkeep,
    },
    time::Millis,
};

/// A service as it is to be. Valid when [`ServiceSpec::check`] passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Its name.
    pub name: ServiceName,
    /// What runs.
    pub score: ScoreName,
    /// Its parameters.
    pub params: Params,
    /// What prepares a host for a version: it has to end well there before the version's first run.
    pub prepare: Option<Recipe>,
    /// What cleans up a host that the service has left.
    pub cleanup: Option<Recipe>,
    /// Where: on each host of this host set expression, and nowhere else. It is resolved anew when
    /// players, groups or deployments change. Empty where it is linked to another service
    /// ([`Upkeep::linked_to`]): then it is exactly where that one is; and where it is placed.
    pub on: String,
    /// Where and how many, if the conductor chooses the players.
    pub place: Option<PlaceRule>,
    /// What is done for an instance whose player is away, if the conductor chooses the players.
    pub absent: AbsenceRule,
    /// How many of its hosts may be without a ready instance by our own motion: the limit of the
    /// service's cell. `None`: as many as `update.parallel`.
    pub budget: Option<Quantity>,
    /// How a version follows another.
    pub update: UpdateRule,
    /// How its units are looked after.
    pub upkeep: Upkeep,
    /// What follows from how its units are.
    pub judgement: Judgement,
    /// A run that is so old is followed by a new one; each run's limit differs from this by up to a
    /// tenth. `None`: none is, however old.
    pub max_age: Option<Millis>,
    /// `false`: applied for the first time it is stopped, until somebody starts it.
    pub auto_start: bool,
}

/// How a version follows another: the limits of the flow that brings it. They mean what they mean in
/// a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdateRule {
    /// How many hosts at once.
    pub parallel: Quantity,
    /// How many go first.
    pub canary: Option<Quantity>,
    /// How long the others wait then.
    pub bake: Option<Millis>,
    /// For how long a unit has to be ready.
    pub healthy_for: Millis,
    /// Within which time after its order it has to be.
    pub deadline: Millis,
    /// Failures tolerated.
    pub max_failures: Quantity,
    /// Whether a version that failed is followed by the one before it.
    pub auto_revert: bool,
    /// How many more instances are begun, and have to be ready, before the first one is ended.
    pub surge: u32,
}

impl Default for UpdateRule {
    fn default() -> Self {
        Self {
            parallel: Quantity::Count(1),
            canary: None,
            bake: None,
            healthy_for: Millis::seconds(10),
            deadline: Millis::minutes(10),
            max_failures: Quantity::Count(0),
            auto_revert: true,
            surge: 0,
        }
    }
}

/// Why a service cannot be as it is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidService {
    /// A limit of `update` or `budget` makes no sense.
    #[error("{field}: {problem}")]
    Limit {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Its upkeep makes no sense.
    #[error("{0}")]
    Upkeep(InvalidUpkeep),
    /// Where it is to be makes no sense.
    #[error("{0}")]
    Place(InvalidPlace),
    /// A parameter speaks of something that there is not.
    #[error("params: {key}: {cause}")]
    Param {
        /// Its key.
        key: ParamKey,
        /// What is wrong with it.
        cause: InvalidValue,
    },
}

impl ServiceSpec {
    /// A service with every rule at its default.
    pub fn new(name: ServiceName, score: ScoreName, on: impl Into<String>) -> Self {
        Self {
            name,
            score,
            params: Params::default(),
            prepare: None,
            cleanup: None,
            on: on.into(),
            place: None,
            absent: AbsenceRule::default(),
            budget: None,
            update: UpdateRule::default(),
            upkeep: Upkeep::default(),
            judgement: Judgement::default(),
            max_age: None,
            auto_start: true,
        }
    }

    /// The scores that run for it on its hosts: its own, then those of its recipes.
    pub fn scores(&self) -> impl Iterator<Item = &ScoreName> {
        let recipes = self.prepare.iter().chain(&self.cleanup);
        std::iter::once(&self.score).chain(recipes.map(|recipe| &recipe.score))
    }

    /// How many of its hosts may be without a ready instance by our own motion.
    pub fn budget(&self) -> Quantity {
        self.budget.unwrap_or(self.update.parallel)
    }

    /// Checks what no single field can.
    pub fn check(&self) -> Result<(), InvalidService> {
        let wrong = |field, problem| Err(InvalidService::Limit { field, problem });
        let update = &self.update;
        let recipes = [("prepare", &self.prepare), ("cleanup", &self.cleanup)];
        let recipes = recipes.into_iter().filter_map(|(at, it)| Some((at, &it.as_ref()?.score)));
        for (field, score) in [("score", &self.score)].into_iter().chain(recipes) {
            if BuiltIn::of(score).is_some() {
                return wrong(field, "a service has installed scores alone, and this is built in");
            }
        }
        if let Some(place) = &self.place {
            if self.upkeep.linked_to.is_some() {
                return wrong("linked_to", "it is placed by itself; leave linked_to or place out");
            }
            if !self.on.is_empty() {
                return wrong("on", "place says where it is; leave on or place out");
            }
            place.check().map_err(InvalidService::Place)?;
        }
        if self.place.is_none() && self.absent != AbsenceRule::default() {
            return wrong(
                "absent",
                "only a service with place is brought up elsewhere; leave absent out",
            );
        }
        if update.surge > 0 && self.place.is_none() {
            return wrong(
                "update.surge",
                "only a service with place has players for more instances",
            );
        }
        if update.surge > INSTANCES {
            return wrong("update.surge", "it is more than 100,000");
        }
        if self.upkeep.at_most_one.is_some() && self.upkeep.linked_to.is_some() {
            return wrong("at_most_one", "it is not offered yet for a service that is linked");
        }
        if self.upkeep.at_most_one.is_some() && update.surge > 0 {
            return wrong(
                "update.surge",
                "with at_most_one no more instances than ever may be alive",
            );
        }
        let is_somewhere = !self.on.is_empty() || self.place.is_some();
        match (&self.upkeep.linked_to, !is_somewhere) {
            (Some(other), _) if *other == self.name => {
                return wrong("linked_to", "it is linked to itself");
            }
            (Some(_), false) => {
                return wrong(
                    "on",
                    "it is where the service is that it is linked to; leave on out",
                );
            }
            (None, true) => return wrong("on", "it is empty, so that it would be nowhere"),
            (Some(_), true) | (None, false) => {}
        }
        if self.budget.is_some_and(Quantity::is_zero) {
            return wrong("budget", "it is 0, so that nothing could ever change");
        }
        if update.parallel.is_zero() {
            return wrong("update.parallel", "it is 0, so that nothing could ever change");
        }
        if update.canary.is_some_and(Quantity::is_zero) {
            return wrong("update.canary", "it is 0; leave it out to go without one");
        }
        if update.bake.is_some() && update.canary.is_none() {
            return wrong("update.bake", "it has no canary to wait after");
        }
        if update.deadline <= update.healthy_for {
            return wrong(
                "update.deadline",
                "it is not longer than update.healthy_for, so that no task could be ok",
            );
        }
        if update.deadline <= self.upkeep.stop.linger {
            return wrong(
                "stop.linger",
                "it is not shorter than update.deadline, so that no update could be over in time",
            );
        }
        if self.max_age.is_some_and(|max_age| max_age.0 / 2 < update.healthy_for.0) {
            return wrong(
                "max_age",
                "it is less than twice update.healthy_for, so that a run could be old before it counts",
            );
        }
        if self.judgement.acts_on_health() && self.upkeep.health.is_none() {
            return wrong("on_unhealthy", "nothing says that a unit is unhealthy: it needs health");
        }
        if self.judgement.panic.is_some_and(Quantity::is_zero) {
            return wrong("panic", "it is 0; to believe each unit, however many turn: panic: off");
        }
        self.upkeep.check().map_err(InvalidService::Upkeep)?;
        self.upkeep.check_words(&self.params).map_err(InvalidService::Upkeep)?;
        self.params.iter().try_for_each(|(key, value)| {
            let wrong = |cause| InvalidService::Param { key: key.clone(), cause };
            self.upkeep.ports.check_value(value, &self.params).map_err(wrong)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{Labels, Layout, OnUnhealthy, Spread, StopRule};

    #[test]
    fn limits_that_contradict_themselves_are_refused() {
        let spec = || {
            let name = ServiceName::new("web").unwrap();
            ServiceSpec::new(name, ScoreName::new("run-web").unwrap(), "@web")
        };
        let field = |spec: ServiceSpec| match spec.check() {
            Ok(()) => None,
            Err(InvalidService::Limit { field, .. }) => Some(field),
            Err(InvalidService::Upkeep(invalid)) => Some(invalid.field),
            Err(InvalidService::Place(invalid)) => Some(invalid.field),
            Err(InvalidService::Param { .. }) => Some("params"),
        };
        let updated = |update| ServiceSpec { update, ..spec() };
        let update = UpdateRule::default();
        assert_eq!(field(spec()), None);
        let built_in = ScoreName::new("@deliver").unwrap();
        assert_eq!(field(ServiceSpec { score: built_in.clone(), ..spec() }), Some("score"));
        let recipe = Some(Recipe { score: built_in, params: Params::default() });
        let (prepare, cleanup) = (recipe.clone(), recipe);
        assert_eq!(field(ServiceSpec { prepare, ..spec() }), Some("prepare"));
        assert_eq!(field(ServiceSpec { cleanup, ..spec() }), Some("cleanup"));
        assert_eq!(spec().budget(), Quantity::Count(1), "the default is update.parallel");
        let none = Some(Quantity::Percent(0));
        assert_eq!(field(ServiceSpec { budget: none, ..spec() }), Some("budget"));
        assert_eq!(field(updated(UpdateRule { canary: none, ..update })), Some("update.canary"));
        let bake = Some(Millis(1));
        assert_eq!(field(updated(UpdateRule { bake, ..update })), Some("update.bake"));
        let linked = |on: &str, other: &str| {
            let upkeep = Upkeep { linked_to: ServiceName::new(other).ok(), ..Upkeep::default() };
            field(ServiceSpec { on: on.into(), upkeep, ..spec() })
        };
        assert_eq!((linked("", "db"), linked("@web", "db")), (None, Some("on")));
        assert_eq!(linked("", "web"), Some("linked_to"));
        assert_eq!(field(ServiceSpec { on: String::new(), ..spec() }), Some("on"));
        let usual = Judgement::default();
        let judgement = Judgement { on_unhealthy: OnUnhealthy::Restart, ..usual };
        assert_eq!(field(ServiceSpec { judgement, ..spec() }), Some("on_unhealthy"));
        let judgement = Judgement { panic: Some(Quantity::Percent(0)), ..usual };
        assert_eq!(field(ServiceSpec { judgement, ..spec() }), Some("panic"));
        let place = |count| {
            let layout = Layout::Count(count);
            Some(PlaceRule { layout, require: Labels::new(), spread: Spread::Zone })
        };
        let placed =
            |on: &str, count| field(ServiceSpec { on: on.into(), place: place(count), ..spec() });
        assert_eq!((placed("", 2), placed("@web", 2)), (None, Some("on")));
        assert_eq!(placed("", u32::MAX), Some("place.count"));
        let absent = AbsenceRule { replace_after: None };
        assert_eq!(field(ServiceSpec { absent, ..spec() }), Some("absent"));
        assert_eq!(field(updated(UpdateRule { surge: 1, ..update })), Some("update.surge"));
        let (on, place) = (String::new(), place(2));
        let surge = UpdateRule { surge: 1, ..update };
        assert_eq!(field(ServiceSpec { on, place, absent, update: surge, ..spec() }), None);
        let max_age = Some(Millis(update.healthy_for.0 * 2 - 1));
        assert_eq!(field(ServiceSpec { max_age, ..spec() }), Some("max_age"));
        let max_age = Some(Millis(update.healthy_for.0 * 2));
        assert_eq!(field(ServiceSpec { max_age, ..spec() }), None);
        let linger = |linger| {
            let stop = StopRule { linger, ..StopRule::default() };
            field(ServiceSpec { upkeep: Upkeep { stop, ..Upkeep::default() }, ..spec() })
        };
        assert_eq!(linger(update.deadline), Some("stop.linger"));
        assert_eq!(linger(Millis(update.deadline.0 - 1)), None);
        let deadline = update.healthy_for;
        assert_eq!(field(updated(UpdateRule { deadline, ..update })), Some("update.deadline"));
    }
}
