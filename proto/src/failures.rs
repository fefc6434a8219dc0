//! What did not end ok of a flow, folded.

use orchestra_model::{TaskState, failures::FailureGroup};

use crate::{
    audience::{exit_signal, text},
    invalid::{InField as _, Invalid},
    v1,
};

impl From<&FailureGroup> for v1::FailureGroup {
    fn from(group: &FailureGroup) -> Self {
        let FailureGroup { job, state, exit, signal, detail, hosts, tasks } = group;
        Self {
            job: Some((*job).into()),
            state: state.to_string(),
            exit: *exit,
            signal: signal.map(i32::unsigned_abs),
            detail: text(detail.as_ref()),
            hosts: hosts.to_string(),
            tasks: *tasks,
        }
    }
}

impl TryFrom<v1::FailureGroup> for FailureGroup {
    type Error = Invalid;

    fn try_from(group: v1::FailureGroup) -> Result<Self, Invalid> {
        let v1::FailureGroup { job, state, exit, signal, detail, hosts, tasks } = group;
        let (exit, signal) = exit_signal(exit, signal, "FailureGroup.signal")?;
        Ok(Self {
            job: job.as_ref().in_field("FailureGroup.job")?.try_into()?,
            state: TaskState::from_word(&state).in_field("FailureGroup.state")?,
            exit,
            signal,
            detail: (!detail.is_empty()).then(|| detail.into()),
            hosts: hosts.into(),
            tasks,
        })
    }
}
