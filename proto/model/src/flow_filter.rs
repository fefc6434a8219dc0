//! Which flows are meant, where nobody names them one by one.

use crate::{
    names::{HostName, ScoreName},
    state::FlowState,
    status::FlowSummary,
    time::Timestamp,
};

/// Which flows are meant: those that meet every condition. The default has none, and means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowFilter {
    /// Only those that have not ended.
    pub alive: bool,
    /// Who made it, as it is printed: an audience, or `orchestra:keeper`.
    pub by: Option<String>,
    /// Any of these states; empty for any state.
    pub states: Vec<FlowState>,
    /// A part of its name. A flow without a name has none.
    pub name: Option<String>,
    /// Accepted then or later.
    pub since: Option<Timestamp>,
    /// Accepted before.
    pub until: Option<Timestamp>,
    /// A job of it runs this score.
    pub score: Option<ScoreName>,
    /// This host is a target of one of its jobs, the same that runs the score if both are asked for.
    pub host: Option<HostName>,
}

impl FlowFilter {
    /// Returns whether it has no condition.
    pub fn is_any(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether a flow meets every condition that its summary tells of: all but those of score
    /// and host.
    pub fn takes(&self, flow: &FlowSummary) -> bool {
        let name = flow.name.as_ref().map_or("", |name| name.as_str());
        !(self.alive && flow.state.is_final())
            && self.by.as_ref().is_none_or(|by| *by == flow.actor().as_str())
            && (self.states.is_empty() || self.states.contains(&flow.state))
            && self.name.as_ref().is_none_or(|part| name.contains(part.as_str()))
            && self.since.is_none_or(|since| since <= flow.submitted_at)
            && self.until.is_none_or(|until| flow.submitted_at < until)
    }

    /// Returns whether jobs have to be looked at: a condition is about them.
    pub fn asks_of_jobs(&self) -> bool {
        self.score.is_some() || self.host.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{audit::Asker, ids::FlowId, names::FlowName};

    #[test]
    fn every_condition_counts() {
        let flow = FlowSummary {
            id: FlowId(7),
            name: Some(FlowName::new("deploy-7").unwrap()),
            state: FlowState::Running,
            audience: Asker::from_word("alice").unwrap(),
            by_keeper: false,
            submitted_at: Timestamp(1_000),
            ended_at: None,
            absent: 0,
            counts: None,
        };
        let any = FlowFilter::default;
        let text = |text: &str| Some(text.to_owned());
        for (filter, takes) in [
            (any(), true),
            (FlowFilter { alive: true, ..any() }, true),
            (FlowFilter { by: text("alice"), ..any() }, true),
            (FlowFilter { by: text("orchestra:keeper"), ..any() }, false),
            (FlowFilter { states: vec![FlowState::Ok, FlowState::Running], ..any() }, true),
            (FlowFilter { states: vec![FlowState::Ok], ..any() }, false),
            (FlowFilter { name: text("oy-7"), ..any() }, true),
            (FlowFilter { name: text("web"), ..any() }, false),
            (FlowFilter { since: Some(Timestamp(1_000)), ..any() }, true),
            (FlowFilter { since: Some(Timestamp(1_001)), ..any() }, false),
            (FlowFilter { until: Some(Timestamp(1_001)), ..any() }, true),
            (FlowFilter { until: Some(Timestamp(1_000)), ..any() }, false),
            (FlowFilter { by: text("alice"), states: vec![FlowState::Ok], ..any() }, false),
        ] {
            assert_eq!(filter.takes(&flow), takes, "{filter:?}");
        }
        let (ended, made) = (FlowState::Ok, FlowSummary { by_keeper: true, ..flow.clone() });
        assert!(!FlowFilter { alive: true, ..any() }.takes(&FlowSummary { state: ended, ..flow }));
        assert!(FlowFilter { by: text("orchestra:keeper"), ..any() }.takes(&made));
    }
}
