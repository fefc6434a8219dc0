//! What an apply would come to, and units that a store knows nothing of.

use orchestra_model::{
    Asker,
    ids::FlowId,
    names::HostName,
    service::{HostStep, PlannedHosts, ServicePlan, ServiceVersion, Stranger},
};

use crate::{
    invalid::{InField as _, Invalid},
    v1,
};

impl From<&PlannedHosts> for v1::PlannedHosts {
    fn from(planned: &PlannedHosts) -> Self {
        Self {
            step: planned.step.to_string(),
            from: planned.from.map_or(0, |version| version.0),
            first: planned.first,
            hosts: planned.hosts.to_string(),
        }
    }
}

impl TryFrom<v1::PlannedHosts> for PlannedHosts {
    type Error = Invalid;

    fn try_from(planned: v1::PlannedHosts) -> Result<Self, Invalid> {
        Ok(PlannedHosts {
            step: HostStep::from_word(&planned.step).in_field("PlannedHosts.step")?,
            from: (planned.from > 0).then_some(ServiceVersion(planned.from)),
            first: planned.first,
            hosts: super::status::hosts(&planned.hosts, "PlannedHosts.hosts")?,
        })
    }
}

/// A plan without the versions that it is about.
impl From<&ServicePlan> for v1::ServicePlan {
    fn from(plan: &ServicePlan) -> Self {
        Self {
            versions: Vec::new(),
            unchanged: plan.unchanged,
            taken_from: plan.taken_from.as_deref().unwrap_or_default().to_owned(),
            superseded: plan.superseded.map_or(0, |flow| flow.0),
            paused_by: plan.paused_by.as_ref().map(ToString::to_string).unwrap_or_default(),
            steps: plan.steps.iter().map(Into::into).collect(),
            waiting: plan.waiting.iter().map(Into::into).collect(),
            other_score: plan.other_score.to_string(),
            absent: plan.absent.iter().map(Into::into).collect(),
            prepare: plan.prepare.to_string(),
        }
    }
}

impl TryFrom<v1::ServicePlan> for ServicePlan {
    type Error = Invalid;

    fn try_from(plan: v1::ServicePlan) -> Result<Self, Invalid> {
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let by = some(plan.paused_by).map(|by| Asker::from_word(&by));
        Ok(ServicePlan {
            unchanged: plan.unchanged,
            taken_from: some(plan.taken_from).map(Into::into),
            superseded: (plan.superseded > 0).then_some(FlowId(plan.superseded)),
            paused_by: by.transpose().in_field("ServicePlan.paused_by")?,
            steps: plan.steps.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            waiting: plan.waiting.iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            other_score: super::status::hosts(&plan.other_score, "ServicePlan.other_score")?,
            absent: plan.absent.iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            prepare: super::status::hosts(&plan.prepare, "ServicePlan.prepare")?,
        })
    }
}

impl From<&Stranger> for v1::Stranger {
    fn from(stranger: &Stranger) -> Self {
        Self {
            host: stranger.host.to_string(),
            unit: Some((&stranger.report).into()),
            is_known: stranger.is_known,
        }
    }
}

impl TryFrom<v1::Stranger> for Stranger {
    type Error = Invalid;

    fn try_from(stranger: v1::Stranger) -> Result<Self, Invalid> {
        Ok(Stranger {
            host: HostName::new(&stranger.host).in_field("Stranger.host")?,
            report: (&stranger.unit.in_field("Stranger.unit")?).try_into()?,
            is_known: stranger.is_known,
        })
    }
}
