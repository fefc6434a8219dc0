//! Cells, holds, explanations and plans: what `orc ledger`, `orc explain` and `orc plan` show.

use std::collections::BTreeMap;

use bytes::Bytes;
use orchestra_model::{
    advice::Advice,
    deployment::{AppCell, CellKey},
    hostset::HostSet,
    ids::{FlowId, JobId},
    ledger::{CellStatus, Explanation, Forecast, Holder, ScoreSurvey},
    names::{
        AppName, DeploymentName, EnvType, EnvValue, HostName, JobName, ScoreName, ServiceName,
    },
    quantity::Quantity,
    score::ScoreHash,
    service::{Unready, UnwellUnit},
    state::{TaskState, WaitReason},
    thresholds::ResolvedLimit,
    time::Timestamp,
};

use crate::{
    flow::{moment, moment_ms},
    invalid::{InField, Invalid},
    remedy::spelt,
    v1,
};

/// The answer to `Plan`: what a submission would do, and what is known about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Planned {
    /// What would happen.
    pub forecast: Forecast,
    /// The score of each job on its targets.
    pub scores: Vec<ScoreSurvey>,
    /// Over waves, score versions and deployments, as hex; empty where it would be refused.
    pub digest: String,
    /// Why a submission would be refused now.
    pub refusal: Option<String>,
    /// What each limit that jobs ask for comes to.
    pub limits: Vec<ResolvedLimit>,
    /// A sentence for each limit that asks for nothing, or has no effect.
    pub remarks: Vec<String>,
}

/// How many hosts, beside their folded form.
fn count(hosts: &HostSet) -> u32 {
    u32::try_from(hosts.len()).unwrap_or(u32::MAX)
}

fn hosts(folded: &str, field: &'static str) -> Result<HostSet, Invalid> {
    HostSet::parse_plain(folded).in_field(field)
}

impl From<&CellStatus> for v1::CellStatus {
    fn from(cell: &CellStatus) -> Self {
        let mut wire = Self {
            hosts: cell.hosts,
            limit: cell.limit,
            holders: cell.holders.iter().map(Into::into).collect(),
            waiting: cell.waiting.iter().map(|(flow, hosts)| (flow.0, *hosts)).collect(),
            ..Self::default()
        };
        match &cell.key {
            CellKey::App(AppCell { deployment, env_type, env_value, app }) => {
                wire.deployment = deployment.to_string();
                wire.env_type = env_type.to_string();
                wire.env_value = env_value.to_string();
                wire.app = app.to_string();
            }
            CellKey::Service(service) => wire.service = service.to_string(),
        }
        wire
    }
}

impl TryFrom<v1::CellStatus> for CellStatus {
    type Error = Invalid;

    fn try_from(cell: v1::CellStatus) -> Result<Self, Invalid> {
        let key = match cell.service.as_str() {
            "" => CellKey::App(AppCell {
                deployment: DeploymentName::new(&cell.deployment)
                    .in_field("CellStatus.deployment")?,
                env_type: EnvType::new(&cell.env_type).in_field("CellStatus.env_type")?,
                env_value: EnvValue::new(&cell.env_value).in_field("CellStatus.env_value")?,
                app: AppName::new(&cell.app).in_field("CellStatus.app")?,
            }),
            name => CellKey::Service(ServiceName::new(name).in_field("CellStatus.service")?),
        };
        Ok(CellStatus {
            key,
            hosts: cell.hosts,
            limit: cell.limit,
            holders: cell.holders.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            waiting: cell.waiting.into_iter().map(|(flow, hosts)| (FlowId(flow), hosts)).collect(),
        })
    }
}

impl From<&Holder> for v1::Holder {
    fn from(holder: &Holder) -> Self {
        Self {
            host: holder.host.to_string(),
            jobs: holder.jobs.iter().map(|job| (*job).into()).collect(),
            since_ms: holder.since.0,
            down: holder.down.map(|state| state.to_string()).unwrap_or_default(),
            units: holder.units.iter().map(Into::into).collect(),
            absence: holder.absence.map(Into::into),
        }
    }
}

impl TryFrom<v1::Holder> for Holder {
    type Error = Invalid;

    fn try_from(holder: v1::Holder) -> Result<Self, Invalid> {
        Ok(Holder {
            host: HostName::new(&holder.host).in_field("Holder.host")?,
            jobs: holder.jobs.iter().map(JobId::try_from).collect::<Result<_, _>>()?,
            since: Timestamp(holder.since_ms),
            down: match holder.down.as_str() {
                "" => None,
                word => Some(TaskState::from_word(word).in_field("Holder.down")?),
            },
            units: holder.units.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            absence: holder.absence.map(Into::into),
        })
    }
}

impl From<&UnwellUnit> for v1::UnwellUnit {
    fn from(unit: &UnwellUnit) -> Self {
        Self { service: unit.service.to_string(), unready: unit.unready.to_string() }
    }
}

impl TryFrom<v1::UnwellUnit> for UnwellUnit {
    type Error = Invalid;

    fn try_from(unit: v1::UnwellUnit) -> Result<Self, Invalid> {
        Ok(UnwellUnit {
            service: ServiceName::new(&unit.service).in_field("UnwellUnit.service")?,
            unready: Unready::from_word(&unit.unready).in_field("UnwellUnit.unready")?,
        })
    }
}

impl From<&Explanation> for v1::Explanation {
    fn from(explanation: &Explanation) -> Self {
        Self {
            job: explanation.job.map(Into::into),
            hosts: explanation.hosts.to_string(),
            count: count(&explanation.hosts),
            reason: explanation.reason.map(|reason| reason.to_string()).unwrap_or_default(),
            dead: explanation.dead,
            text: spelt(&explanation.text),
            given_up_at_ms: moment_ms(explanation.given_up),
        }
    }
}

impl TryFrom<v1::Explanation> for Explanation {
    type Error = Invalid;

    fn try_from(explanation: v1::Explanation) -> Result<Self, Invalid> {
        Ok(Explanation {
            job: explanation.job.as_ref().map(JobId::try_from).transpose()?,
            hosts: hosts(&explanation.hosts, "Explanation.hosts")?,
            reason: match explanation.reason.as_str() {
                "" => None,
                word => Some(WaitReason::from_word(word).in_field("Explanation.reason")?),
            },
            dead: explanation.dead,
            text: explanation.text.into(),
            given_up: moment(explanation.given_up_at_ms),
        })
    }
}

impl From<&ScoreSurvey> for v1::ScoreSurvey {
    fn from(survey: &ScoreSurvey) -> Self {
        let version = |(hash, hosts): (&ScoreHash, &HostSet)| v1::ScoreVersion {
            hash: Bytes::copy_from_slice(&hash.0),
            hosts: hosts.to_string(),
            count: count(hosts),
        };
        Self {
            job_name: survey.job.to_string(),
            score: survey.score.to_string(),
            versions: survey.versions.iter().map(version).collect(),
            missing: survey.missing.to_string(),
            unheard: survey.unheard.to_string(),
        }
    }
}

impl TryFrom<v1::ScoreSurvey> for ScoreSurvey {
    type Error = Invalid;

    fn try_from(survey: v1::ScoreSurvey) -> Result<Self, Invalid> {
        let version = |version: v1::ScoreVersion| -> Result<_, Invalid> {
            let hash = version.hash[..].try_into().in_field("ScoreVersion.hash")?;
            Ok((ScoreHash(hash), hosts(&version.hosts, "ScoreVersion.hosts")?))
        };
        Ok(ScoreSurvey {
            job: JobName::new(&survey.job_name).in_field("ScoreSurvey.job_name")?,
            score: ScoreName::new(&survey.score).in_field("ScoreSurvey.score")?,
            versions: survey
                .versions
                .into_iter()
                .map(version)
                .collect::<Result<BTreeMap<_, _>, _>>()?,
            missing: hosts(&survey.missing, "ScoreSurvey.missing")?,
            unheard: hosts(&survey.unheard, "ScoreSurvey.unheard")?,
        })
    }
}

impl From<&ResolvedLimit> for v1::PlanLimit {
    fn from(limit: &ResolvedLimit) -> Self {
        Self {
            job_name: limit.job.to_string(),
            limit: limit.limit.clone(),
            asked: limit.asked.map(Into::into),
            comes_to: limit.comes_to,
            of: limit.of,
        }
    }
}

impl TryFrom<v1::PlanLimit> for ResolvedLimit {
    type Error = Invalid;

    fn try_from(limit: v1::PlanLimit) -> Result<Self, Invalid> {
        Ok(ResolvedLimit {
            job: JobName::new(&limit.job_name).in_field("PlanLimit.job_name")?,
            limit: limit.limit,
            asked: limit.asked.as_ref().map(Quantity::try_from).transpose()?,
            comes_to: limit.comes_to,
            of: limit.of,
        })
    }
}

impl From<&Planned> for v1::PlanResponse {
    fn from(plan: &Planned) -> Self {
        let Forecast { begins, waves, stuck, awaited, absent, drained, free, serving } =
            &plan.forecast;
        let step = |(job, hosts): &(JobName, HostSet)| v1::PlanStep {
            job_name: job.to_string(),
            hosts: hosts.to_string(),
            count: count(hosts),
        };
        let wave = |wave: &Vec<_>| v1::PlanWave { steps: wave.iter().map(step).collect() };
        let stuck_of = |(job, hosts, reason): &(JobName, HostSet, Advice)| v1::PlanStuck {
            job_name: job.to_string(),
            hosts: hosts.to_string(),
            count: count(hosts),
            reason: spelt(reason),
        };
        Self {
            waves: waves.iter().map(wave).collect(),
            stuck: stuck.iter().map(stuck_of).collect(),
            awaited: awaited.iter().map(Into::into).collect(),
            absent: absent.to_string(),
            drained: drained.to_string(),
            free: free.to_string(),
            scores: plan.scores.iter().map(Into::into).collect(),
            digest: plan.digest.clone(),
            refusal: plan.refusal.clone().unwrap_or_default(),
            limits: plan.limits.iter().map(Into::into).collect(),
            remarks: plan.remarks.clone(),
            serving: serving.iter().map(Into::into).collect(),
            begins: begins.clone().unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::PlanResponse> for Planned {
    type Error = Invalid;

    fn try_from(plan: v1::PlanResponse) -> Result<Self, Invalid> {
        let job = |name: &str, field| JobName::new(name).in_field(field);
        let step = |step: v1::PlanStep| -> Result<_, Invalid> {
            let hosts = hosts(&step.hosts, "PlanStep.hosts")?;
            Ok((job(&step.job_name, "PlanStep.job_name")?, hosts))
        };
        let wave = |wave: v1::PlanWave| wave.steps.into_iter().map(step).collect();
        let stuck = |stuck: v1::PlanStuck| -> Result<_, Invalid> {
            let hosts = hosts(&stuck.hosts, "PlanStuck.hosts")?;
            Ok((job(&stuck.job_name, "PlanStuck.job_name")?, hosts, stuck.reason.into()))
        };
        let awaited = plan.awaited.into_iter().map(TryInto::try_into);
        Ok(Planned {
            forecast: Forecast {
                begins: Some(plan.begins).filter(|begins| !begins.is_empty()),
                waves: plan.waves.into_iter().map(wave).collect::<Result<_, Invalid>>()?,
                stuck: plan.stuck.into_iter().map(stuck).collect::<Result<_, Invalid>>()?,
                awaited: awaited.collect::<Result<_, Invalid>>()?,
                absent: hosts(&plan.absent, "PlanResponse.absent")?,
                drained: hosts(&plan.drained, "PlanResponse.drained")?,
                free: hosts(&plan.free, "PlanResponse.free")?,
                serving: (plan.serving.into_iter().map(TryInto::try_into))
                    .collect::<Result<_, Invalid>>()?,
            },
            scores: plan.scores.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            digest: plan.digest,
            refusal: Some(plan.refusal).filter(|refusal| !refusal.is_empty()),
            limits: plan.limits.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            remarks: plan.remarks,
        })
    }
}
