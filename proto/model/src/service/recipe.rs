//! What is done on a host beside the units of a service.

use crate::{
    names::{ScoreName, ServiceName},
    params::Params,
    state::kebab_enum,
};

/// A score that prepares a host for a version of a service, or cleans up after the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// What runs.
    pub score: ScoreName,
    /// Its parameters.
    pub params: Params,
}

kebab_enum!(
    /// When a recipe is done on a host.
    RecipeStep {
        /// Before the first run of a version.
        Prepare = "prepare",
        /// After the service has left.
        Cleanup = "cleanup",
    }
);

/// That a job does a recipe of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipeJob {
    /// The service.
    pub service: ServiceName,
    /// Which recipe.
    pub step: RecipeStep,
}
