//! Why something is where it is.

use std::io;

use orchestra_model::{ledger::Explanation, state::WaitReason};
use serde::Serialize;

use crate::client::Explained;
use crate::view::{
    json,
    style::{Style, one_line, when, when_about},
};

/// Writes the flow's state, then a line for each thing that waits.
pub fn text(out: &mut dyn io::Write, explained: &Explained, style: Style) -> io::Result<()> {
    writeln!(out, "{} {}", explained.flow, style.flow(explained.state))?;
    for explanation in &explained.explanations {
        let Explanation { job, hosts, dead, text, given_up, .. } = explanation;
        let mut text = one_line(text);
        if let Some(at) = given_up {
            text.push_str(&format!(" (that is at {})", when_about(*at)));
        }
        let text = if *dead { style.warning(&text).to_string() } else { text };
        match (job, hosts.is_empty()) {
            (None, _) => writeln!(out, "  {text}")?,
            (Some(job), true) => writeln!(out, "  {job}: {text}")?,
            (Some(job), false) => writeln!(out, "  {job} {}: {text}", hosts.counted())?,
        }
    }
    Ok(())
}

/// The same as a document.
pub fn json(out: &mut dyn io::Write, explained: &Explained) -> io::Result<()> {
    let one = |explanation: &'_ Explanation| One {
        job: explanation.job.map(|job| job.to_string()),
        hosts: explanation.hosts.to_string(),
        count: explanation.hosts.len(),
        reason: explanation.reason,
        dead: explanation.dead,
        text: explanation.text.clone(),
        given_up_at: explanation.given_up.map(when),
    };
    let explanations = explained.explanations.iter().map(one).collect();
    let flow = Flow { id: explained.flow.0, state: explained.state, explanations };
    json::document(out, "flow", &flow)
}

#[derive(Serialize)]
struct Flow {
    id: u64,
    state: orchestra_model::state::FlowState,
    explanations: Vec<One>,
}

#[derive(Serialize)]
struct One {
    job: Option<String>,
    hosts: String,
    count: usize,
    reason: Option<WaitReason>,
    dead: bool,
    text: String,
    given_up_at: Option<String>,
}
