//! Which flows a list is to have.

use orchestra_model::{
    flow_filter::FlowFilter,
    names::{HostName, ScoreName},
    state::FlowState,
    time::Timestamp,
};

use crate::{
    audience::{optional_name, text},
    invalid::{InField, Invalid},
    v1,
};

impl v1::ListFlowsRequest {
    /// Asks for at most so many of the flows that pass; 0 is the conductor's own limit.
    pub fn of(filter: &FlowFilter, limit: u32) -> Self {
        let FlowFilter { alive, by, states, name, since, until, score, host } = filter;
        Self {
            limit,
            alive: *alive,
            by: text(by.as_ref()),
            states: states.iter().map(ToString::to_string).collect(),
            name: text(name.as_ref()),
            since_ms: since.map(|at| at.0),
            until_ms: until.map(|at| at.0),
            score: text(score.as_ref()),
            host: text(host.as_ref()),
        }
    }
}

impl TryFrom<v1::ListFlowsRequest> for FlowFilter {
    type Error = Invalid;

    fn try_from(request: v1::ListFlowsRequest) -> Result<Self, Invalid> {
        let v1::ListFlowsRequest {
            limit: _,
            alive,
            by,
            states,
            name,
            since_ms,
            until_ms,
            score,
            host,
        } = request;
        let state = |word: &String| FlowState::from_word(word).in_field("ListFlowsRequest.states");
        Ok(FlowFilter {
            alive,
            by: Some(by).filter(|by| !by.is_empty()),
            states: states.iter().map(state).collect::<Result<_, _>>()?,
            name: Some(name).filter(|name| !name.is_empty()),
            since: since_ms.map(Timestamp),
            until: until_ms.map(Timestamp),
            score: optional_name(&score, ScoreName::new, "ListFlowsRequest.score")?,
            host: optional_name(&host, HostName::new, "ListFlowsRequest.host")?,
        })
    }
}
