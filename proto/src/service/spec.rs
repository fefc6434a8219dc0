//! What people write of a service.

use orchestra_model::{
    limits,
    names::{ScoreName, ServiceName},
    quantity::Quantity,
    service::{AbsenceRule, Judgement, OnUnhealthy, Recipe, ServiceSpec, UpdateRule},
};
use prost::Message;

use super::unit::bounded;
use crate::{
    flow::{length, params_from_wire, params_to_wire},
    invalid::{InField, Invalid},
    v1,
    wire::check_fields,
};

/// Spells a spec, once, by whoever applies it.
pub fn encode_service(spec: &ServiceSpec) -> Vec<u8> {
    v1::ServiceSpec::from(spec).encode_to_vec()
}

/// Reads what [`encode_service`] made; all that a service has to be is checked.
pub fn decode_service(bytes: &[u8]) -> Result<ServiceSpec, Invalid> {
    if bytes.len() > limits::SERVICE_SPEC_BYTES {
        return Err(Invalid::field("ServiceSpec"));
    }
    check_fields("ServiceSpec", bytes)?;
    let spec = v1::ServiceSpec::decode(bytes).in_field("ServiceSpec")?;
    (&spec).try_into()
}

impl From<&ServiceSpec> for v1::ServiceSpec {
    fn from(spec: &ServiceSpec) -> Self {
        let UpdateRule {
            parallel,
            canary,
            bake,
            healthy_for,
            deadline,
            max_failures,
            auto_revert,
            surge,
        } = spec.update;
        Self {
            name: spec.name.to_string(),
            score: spec.score.to_string(),
            params: params_to_wire(&spec.params),
            prepare: spec.prepare.as_ref().map(Into::into),
            cleanup: spec.cleanup.as_ref().map(Into::into),
            on: spec.on.clone(),
            place: spec.place.as_ref().map(Into::into),
            absent: (spec.absent != AbsenceRule::default()).then(|| v1::AbsenceRule {
                replace_after_ms: spec.absent.replace_after.map(|length| length.0),
            }),
            budget: spec.budget.map(Into::into),
            update: Some(v1::UpdateRule {
                parallel: Some(parallel.into()),
                canary: canary.map(Into::into),
                bake_ms: bake.map(|length| length.0),
                healthy_for_ms: healthy_for.0,
                deadline_ms: deadline.0,
                max_failures: Some(max_failures.into()),
                auto_revert,
                surge,
            }),
            upkeep: Some((&spec.upkeep).into()),
            starts_stopped: !spec.auto_start,
            max_age_ms: spec.max_age.map(|length| length.0),
            judgement: (spec.judgement != Judgement::default()).then(|| spec.judgement.into()),
        }
    }
}

impl From<&Recipe> for v1::Recipe {
    fn from(recipe: &Recipe) -> Self {
        Self { score: recipe.score.to_string(), params: params_to_wire(&recipe.params) }
    }
}

impl TryFrom<&v1::Recipe> for Recipe {
    type Error = Invalid;

    fn try_from(recipe: &v1::Recipe) -> Result<Self, Invalid> {
        Ok(Recipe {
            score: ScoreName::new(&recipe.score).in_field("Recipe.score")?,
            params: params_from_wire(recipe.params.clone())?,
        })
    }
}

impl From<Judgement> for v1::Judgement {
    fn from(judgement: Judgement) -> Self {
        Self {
            on_unhealthy: judgement.on_unhealthy.to_string(),
            panic: judgement.panic.map(Into::into),
        }
    }
}

impl TryFrom<&v1::Judgement> for Judgement {
    type Error = Invalid;

    fn try_from(judgement: &v1::Judgement) -> Result<Self, Invalid> {
        let on_unhealthy = OnUnhealthy::from_word(&judgement.on_unhealthy);
        Ok(Judgement {
            on_unhealthy: on_unhealthy.in_field("Judgement.on_unhealthy")?,
            panic: judgement.panic.as_ref().map(Quantity::try_from).transpose()?,
        })
    }
}

impl TryFrom<&v1::ServiceSpec> for ServiceSpec {
    type Error = Invalid;

    fn try_from(spec: &v1::ServiceSpec) -> Result<Self, Invalid> {
        let quantity =
            |quantity: &Option<v1::Quantity>| quantity.as_ref().map(Quantity::try_from).transpose();
        let update = spec.update.as_ref().in_field("ServiceSpec.update")?;
        if spec.on.len() > limits::HOSTSET_BYTES {
            return Err(Invalid::field("ServiceSpec.on"));
        }
        let spec = ServiceSpec {
            name: ServiceName::new(&spec.name).in_field("ServiceSpec.name")?,
            score: ScoreName::new(&spec.score).in_field("ServiceSpec.score")?,
            params: params_from_wire(spec.params.clone())?,
            prepare: spec.prepare.as_ref().map(TryInto::try_into).transpose()?,
            cleanup: spec.cleanup.as_ref().map(TryInto::try_into).transpose()?,
            on: spec.on.clone(),
            place: spec.place.as_ref().map(TryInto::try_into).transpose()?,
            absent: match &spec.absent {
                Some(rule) => AbsenceRule {
                    replace_after: length(rule.replace_after_ms, "AbsenceRule.replace_after_ms")?,
                },
                None => AbsenceRule::default(),
            },
            budget: quantity(&spec.budget)?,
            update: UpdateRule {
                parallel: quantity(&update.parallel)?.in_field("UpdateRule.parallel")?,
                canary: quantity(&update.canary)?,
                bake: length(update.bake_ms, "UpdateRule.bake_ms")?,
                healthy_for: bounded(update.healthy_for_ms, "UpdateRule.healthy_for_ms")?,
                deadline: bounded(update.deadline_ms, "UpdateRule.deadline_ms")?,
                max_failures: quantity(&update.max_failures)?
                    .in_field("UpdateRule.max_failures")?,
                auto_revert: update.auto_revert,
                surge: update.surge,
            },
            upkeep: spec.upkeep.as_ref().in_field("ServiceSpec.upkeep")?.try_into()?,
            judgement: match &spec.judgement {
                Some(judgement) => judgement.try_into()?,
                None => Judgement::default(),
            },
            max_age: length(spec.max_age_ms, "ServiceSpec.max_age_ms")?,
            auto_start: !spec.starts_stopped,
        };
        spec.check().in_field("ServiceSpec")?;
        Ok(spec)
    }
}
