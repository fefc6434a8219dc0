//! Specs, parameters, ids and scores.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use orchestra_model::{
    flow::{FlowSpec, JobSpec, OnDoomed, Scope, SequenceOnFailure, SlotSpec, Stragglers},
    ids::{FlowId, JobId},
    limits,
    names::{FlowName, JobName, ParamKey, ScoreName, ServiceName},
    params::Params,
    quantity::Quantity,
    score::{HeldScore, Interface, ParamKind, ParamSpec, ScoreHash, ScoreOffer, ScoreSpec},
    service::{RecipeJob, RecipeStep},
    start::{After, NeededEnd, Start},
    time::{Millis, Timestamp},
};

use crate::{
    audience::text,
    invalid::{InField, Invalid},
    service::{unit_job_from_wire, unit_job_to_wire},
    v1,
};

/// 0 on the wire is "never" for moments.
pub(crate) fn moment(ms: u64) -> Option<Timestamp> {
    (ms != 0).then_some(Timestamp(ms))
}

/// "Never" is 0 on the wire.
pub(crate) fn moment_ms(at: Option<Timestamp>) -> u64 {
    at.map_or(0, |at| at.0)
}

pub(crate) fn length(ms: Option<u64>, field: &'static str) -> Result<Option<Millis>, Invalid> {
    match ms {
        Some(ms) if ms > limits::DURATION_MS => Err(Invalid::field(field)),
        ms => Ok(ms.map(Millis)),
    }
}

impl From<Quantity> for v1::Quantity {
    fn from(quantity: Quantity) -> Self {
        use v1::quantity::Amount;
        let amount = match quantity {
            Quantity::Count(n) => Amount::Count(n),
            Quantity::Percent(p) => Amount::Percent(p.into()),
        };
        Self { amount: Some(amount) }
    }
}

impl TryFrom<&v1::Quantity> for Quantity {
    type Error = Invalid;

    fn try_from(quantity: &v1::Quantity) -> Result<Self, Invalid> {
        use v1::quantity::Amount;
        match quantity.amount.in_field("Quantity.amount")? {
            Amount::Count(n) => Ok(Quantity::Count(n)),
            Amount::Percent(p) => match u8::try_from(p) {
                Ok(p) if p <= 100 => Ok(Quantity::Percent(p)),
                _ => Err(Invalid::field("Quantity.percent")),
            },
        }
    }
}

impl From<JobId> for v1::JobId {
    fn from(id: JobId) -> Self {
        Self { flow: id.flow.0, slot: id.slot.into(), job: id.job.into() }
    }
}

impl TryFrom<&v1::JobId> for JobId {
    type Error = Invalid;

    fn try_from(id: &v1::JobId) -> Result<Self, Invalid> {
        let place = |n: u32| u16::try_from(n).ok().filter(|n| *n > 0);
        Ok(JobId {
            flow: Some(FlowId(id.flow))
                .filter(|id| *id > FlowId(0) && *id <= FlowId::MAX)
                .in_field("JobId.flow")?,
            slot: place(id.slot).in_field("JobId.slot")?,
            job: place(id.job).in_field("JobId.job")?,
        })
    }
}

impl From<Scope> for v1::Scope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::All => v1::Scope::All,
            Scope::One => v1::Scope::One,
        }
    }
}

impl From<v1::Scope> for Scope {
    fn from(scope: v1::Scope) -> Self {
        match scope {
            v1::Scope::One => Scope::One,
            v1::Scope::All | v1::Scope::Unspecified => Scope::All,
        }
    }
}

impl From<&FlowSpec> for v1::FlowSpec {
    fn from(spec: &FlowSpec) -> Self {
        let jobs =
            |slot: &SlotSpec| v1::SlotSpec { jobs: slot.jobs.iter().map(Into::into).collect() };
        Self {
            name: spec.name.as_ref().map(ToString::to_string).unwrap_or_default(),
            slots: spec.slots.iter().map(jobs).collect(),
            start: (!spec.start.is_now()).then(|| spec.start.into()),
        }
    }
}

impl From<Start> for v1::Start {
    fn from(start: Start) -> Self {
        Self {
            at_ms: moment_ms(start.at),
            after: start.after.map_or(0, |after| after.flow.0),
            end: start.after.map(|after| after.end.to_string()).unwrap_or_default(),
        }
    }
}

impl TryFrom<&v1::Start> for Start {
    type Error = Invalid;

    fn try_from(start: &v1::Start) -> Result<Self, Invalid> {
        let after = |flow: u64| {
            let end = NeededEnd::from_word(&start.end).in_field("Start.end")?;
            let flow = Some(FlowId(flow)).filter(|flow| *flow <= FlowId::MAX);
            Ok(After { flow: flow.in_field("Start.after")?, end })
        };
        let after = Some(start.after).filter(|flow| *flow > 0).map(after).transpose()?;
        Ok(Start { at: moment(start.at_ms), after })
    }
}

impl From<&JobSpec> for v1::JobSpec {
    fn from(job: &JobSpec) -> Self {
        Self {
            name: job.name.to_string(),
            score: job.score.to_string(),
            targets: job.targets.clone(),
            scope: v1::Scope::from(job.scope).into(),
            parallel: Some(job.parallel.into()),
            success: job.success.map(Into::into),
            max_failures: job.max_failures.map(Into::into),
            timeout_ms: job.timeout.map(|length| length.0),
            give_up_after_ms: job.give_up_after.map(|length| length.0),
            stragglers: match job.stragglers {
                Stragglers::GiveUp => v1::Stragglers::GiveUp,
                Stragglers::Wait => v1::Stragglers::Wait,
            }
            .into(),
            lost_after_ms: job.lost_after.map(|length| length.0),
            retries: job.retries,
            retry_delay_ms: job.retry_delay.0,
            quorum: (!job.quorum.is_zero()).then(|| job.quorum.into()),
            canary: job.canary.map(Into::into),
            bake_ms: job.bake.map(|length| length.0),
            on_doomed: match job.on_doomed {
                OnDoomed::Finish => v1::OnDoomed::Finish,
                OnDoomed::Cancel => v1::OnDoomed::Cancel,
            }
            .into(),
            sequence_on_failure: match job.sequence_on_failure {
                SequenceOnFailure::Wait => v1::SequenceOnFailure::Wait,
                SequenceOnFailure::Continue => v1::SequenceOnFailure::Continue,
            }
            .into(),
            unthrottled: job.unthrottled,
            unit: job.unit.as_deref().map(unit_job_to_wire),
            tree: job.tree.as_deref().map(Into::into),
            recipe: job.recipe.as_ref().map(|recipe| v1::RecipeJob {
                service: recipe.service.to_string(),
                step: recipe.step.to_string(),
            }),
            only_where_ok: text(job.only_where_ok.as_ref()),
        }
    }
}

impl TryFrom<&v1::FlowSpec> for FlowSpec {
    type Error = Invalid;

    fn try_from(spec: &v1::FlowSpec) -> Result<Self, Invalid> {
        let name = (!spec.name.is_empty()).then(|| FlowName::new(&spec.name));
        let slot = |slot: &v1::SlotSpec| -> Result<SlotSpec, Invalid> {
            Ok(SlotSpec {
                jobs: slot.jobs.iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            })
        };
        Ok(FlowSpec {
            name: name.transpose().in_field("FlowSpec.name")?,
            slots: spec.slots.iter().map(slot).collect::<Result<_, _>>()?,
            start: spec.start.as_ref().map(Start::try_from).transpose()?.unwrap_or_default(),
        })
    }
}

impl TryFrom<&v1::JobSpec> for JobSpec {
    type Error = Invalid;

    fn try_from(job: &v1::JobSpec) -> Result<Self, Invalid> {
        let quantity =
            |quantity: &Option<v1::Quantity>| quantity.as_ref().map(Quantity::try_from).transpose();
        let scope = v1::Scope::try_from(job.scope).in_field("JobSpec.scope")?;
        let stragglers = v1::Stragglers::try_from(job.stragglers).in_field("JobSpec.stragglers")?;
        let on_doomed = v1::OnDoomed::try_from(job.on_doomed).in_field("JobSpec.on_doomed")?;
        let sequence_on_failure = v1::SequenceOnFailure::try_from(job.sequence_on_failure)
            .in_field("JobSpec.sequence_on_failure")?;
        Ok(JobSpec {
            name: JobName::new(&job.name).in_field("JobSpec.name")?,
            score: ScoreName::new(&job.score).in_field("JobSpec.score")?,
            targets: job.targets.clone(),
            scope: scope.into(),
            parallel: quantity(&job.parallel)?.unwrap_or(Quantity::ALL),
            success: quantity(&job.success)?,
            max_failures: quantity(&job.max_failures)?,
            timeout: length(job.timeout_ms, "JobSpec.timeout_ms")?,
            give_up_after: length(job.give_up_after_ms, "JobSpec.give_up_after_ms")?,
            stragglers: match stragglers {
                v1::Stragglers::Wait => Stragglers::Wait,
                v1::Stragglers::GiveUp | v1::Stragglers::Unspecified => Stragglers::GiveUp,
            },
            lost_after: length(job.lost_after_ms, "JobSpec.lost_after_ms")?,
            retries: job.retries,
            retry_delay: length(Some(job.retry_delay_ms), "JobSpec.retry_delay_ms")?
                .unwrap_or_default(),
            quorum: quantity(&job.quorum)?.unwrap_or(Quantity::Count(0)),
            canary: quantity(&job.canary)?,
            bake: length(job.bake_ms, "JobSpec.bake_ms")?,
            on_doomed: match on_doomed {
                v1::OnDoomed::Cancel => OnDoomed::Cancel,
                v1::OnDoomed::Finish | v1::OnDoomed::Unspecified => OnDoomed::Finish,
            },
            sequence_on_failure: match sequence_on_failure {
                v1::SequenceOnFailure::Continue => SequenceOnFailure::Continue,
                v1::SequenceOnFailure::Wait | v1::SequenceOnFailure::Unspecified => {
                    SequenceOnFailure::Wait
                }
            },
            unthrottled: job.unthrottled,
            unit: job.unit.as_ref().map(unit_job_from_wire).transpose()?.map(Arc::new),
            tree: job.tree.as_ref().map(TryInto::try_into).transpose()?.map(Arc::new),
            recipe: job.recipe.as_ref().map(TryInto::try_into).transpose()?,
            only_where_ok: match &*job.only_where_ok {
                "" => None,
                name => Some(JobName::new(name).in_field("JobSpec.only_where_ok")?),
            },
        })
    }
}

impl TryFrom<&v1::RecipeJob> for RecipeJob {
    type Error = Invalid;

    fn try_from(recipe: &v1::RecipeJob) -> Result<Self, Invalid> {
        Ok(RecipeJob {
            service: ServiceName::new(&recipe.service).in_field("RecipeJob.service")?,
            step: RecipeStep::from_word(&recipe.step).in_field("RecipeJob.step")?,
        })
    }
}

/// Spells parameters on the wire.
pub fn params_to_wire(params: &Params) -> BTreeMap<String, String> {
    params.iter().map(|(key, value)| (key.to_string(), value.to_owned())).collect()
}

/// Reads parameters from the wire.
pub fn params_from_wire(values: BTreeMap<String, String>) -> Result<Params, Invalid> {
    Params::from_pairs(values).in_field("JobParams.values")
}

impl From<&ScoreOffer> for v1::ScoreOffer {
    fn from(offer: &ScoreOffer) -> Self {
        use v1::score_offer::State;
        Self {
            name: offer.name.to_string(),
            hash: offer.hash.map_or_else(Bytes::new, |hash| Bytes::copy_from_slice(&hash.0)),
            state: Some(match &offer.spec {
                Ok(spec) => State::Spec(spec.into()),
                Err(reason) => State::Disabled(reason.clone()),
            }),
        }
    }
}

impl From<&HeldScore> for v1::HeldScore {
    fn from(held: &HeldScore) -> Self {
        let HeldScore { offer, hosts, count } = held;
        Self { offer: Some(offer.into()), hosts: hosts.to_string(), count: *count }
    }
}

impl TryFrom<v1::HeldScore> for HeldScore {
    type Error = Invalid;

    fn try_from(held: v1::HeldScore) -> Result<Self, Invalid> {
        let v1::HeldScore { offer, hosts, count } = held;
        let offer = offer.as_ref().in_field("HeldScore.offer")?.try_into()?;
        Ok(Self { offer, hosts: hosts.into(), count })
    }
}

impl TryFrom<&v1::ScoreOffer> for ScoreOffer {
    type Error = Invalid;

    fn try_from(offer: &v1::ScoreOffer) -> Result<Self, Invalid> {
        use v1::score_offer::State;
        let hash = match offer.hash.len() {
            0 => None,
            _ => Some(ScoreHash(offer.hash[..].try_into().in_field("ScoreOffer.hash")?)),
        };
        let spec = match offer.state.as_ref().in_field("ScoreOffer.state")? {
            State::Spec(spec) => Ok(spec.try_into()?),
            State::Disabled(reason) => Err(reason.clone()),
        };
        Ok(ScoreOffer {
            name: ScoreName::new(&offer.name).in_field("ScoreOffer.name")?,
            hash,
            spec,
        })
    }
}

impl From<&ScoreSpec> for v1::ScoreSpec {
    fn from(spec: &ScoreSpec) -> Self {
        Self {
            description: spec.description.clone(),
            pipe: spec.interface == Interface::Pipe,
            timeout_ms: spec.timeout.0,
            user: spec.user.clone().unwrap_or_default(),
            concurrency: spec.concurrency.unwrap_or(0),
            exclusive: spec.exclusive,
            disruptive: spec.disruptive,
            params: spec.params.as_ref().map(|params| v1::ParamSchema {
                params: params.iter().map(|(key, spec)| param_to_wire(key, spec)).collect(),
            }),
        }
    }
}

impl TryFrom<&v1::ScoreSpec> for ScoreSpec {
    type Error = Invalid;

    fn try_from(spec: &v1::ScoreSpec) -> Result<Self, Invalid> {
        let schema = |schema: &v1::ParamSchema| {
            schema.params.iter().map(param_from_wire).collect::<Result<BTreeMap<_, _>, Invalid>>()
        };
        Ok(ScoreSpec {
            description: spec.description.clone(),
            interface: if spec.pipe { Interface::Pipe } else { Interface::Env },
            timeout: length(Some(spec.timeout_ms), "ScoreSpec.timeout_ms")?
                .filter(|timeout| *timeout > Millis(0))
                .in_field("ScoreSpec.timeout_ms")?,
            user: Some(spec.user.clone()).filter(|user| !user.is_empty()),
            concurrency: Some(spec.concurrency).filter(|n| *n > 0),
            exclusive: spec.exclusive,
            disruptive: spec.disruptive,
            params: spec.params.as_ref().map(schema).transpose()?,
        })
    }
}

fn param_to_wire(key: &ParamKey, spec: &ParamSpec) -> v1::ParamSpec {
    let (kind, choices) = match &spec.kind {
        ParamKind::String => ("string", Vec::new()),
        ParamKind::Integer => ("integer", Vec::new()),
        ParamKind::Number => ("number", Vec::new()),
        ParamKind::Boolean => ("boolean", Vec::new()),
        ParamKind::Choice(choices) => ("choice", choices.clone()),
        ParamKind::Host => ("host", Vec::new()),
        ParamKind::Path => ("path", Vec::new()),
    };
    v1::ParamSpec {
        key: key.to_string(),
        r#type: kind.to_owned(),
        choices,
        pattern: spec.pattern.clone().unwrap_or_default(),
        max_length: spec.max_length.unwrap_or(0),
        required: spec.required,
        sensitive: spec.sensitive,
        description: spec.description.clone(),
    }
}

fn param_from_wire(param: &v1::ParamSpec) -> Result<(ParamKey, ParamSpec), Invalid> {
    let kind = match param.r#type.as_str() {
        "string" => ParamKind::String,
        "integer" => ParamKind::Integer,
        "number" => ParamKind::Number,
        "boolean" => ParamKind::Boolean,
        "choice" => ParamKind::Choice(param.choices.clone()),
        "host" => ParamKind::Host,
        "path" => ParamKind::Path,
        _ => return Err(Invalid::field("ParamSpec.type")),
    };
    let spec = ParamSpec {
        kind,
        pattern: Some(param.pattern.clone()).filter(|pattern| !pattern.is_empty()),
        max_length: Some(param.max_length).filter(|n| *n > 0),
        required: param.required,
        sensitive: param.sensitive,
        description: param.description.clone(),
    };
    Ok((ParamKey::new(&param.key).in_field("ParamSpec.key")?, spec))
}
