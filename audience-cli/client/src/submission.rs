//! What is submitted, and under which conditions.

use orchestra_model::{delivery::RequestId, flow::FlowSpec, params::Params};

/// A flow, and the parameters of those of its jobs that have some.
#[derive(Debug)]
pub struct Submission {
    /// Checked by whoever made it.
    pub spec: FlowSpec,
    /// By slot and job, each counted from 1.
    pub params: Vec<(u32, u32, Params)>,
}

/// A submission, and the conditions that it is made under.
#[derive(Debug)]
pub struct Wanted {
    /// The flow.
    pub submission: Submission,
    /// The conductor refuses it unless all targets offer one version of their score.
    pub require_same_score: bool,
    /// The conductor leaves out names that nobody knows, instead of refusing them.
    pub allow_unknown: bool,
    /// The conductor refuses it unless a plan made now has this digest.
    pub if_plan: Option<String>,
    /// The request's id, where an earlier request is made again.
    pub request: Option<RequestId>,
}
