//! Why something is where it is.

use std::io;

use orchestra_client::Explained;
use orchestra_model::{
    ledger::Explanation,
    state::{FlowState, WaitReason},
};
use serde::Serialize;

use crate::view::{Output, Page, Style, one_line, when, when_about};

impl Output for &Explained {
    fn noun(&self) -> &'static str {
        "flow"
    }

    fn json(self) -> impl Serialize {
        let explanations = self.explanations.iter().map(OneExplained::from).collect();
        Flow { id: self.flow.0, state: self.state, explanations }
    }

    fn text(self, out: &mut dyn Page, style: Style) -> io::Result<()> {
        write(out, self, style)
    }

    fn remark(&self) -> Option<String> {
        self.explanations.is_empty().then(|| "nothing of it waits".to_owned())
    }
}

/// Writes the flow's state, then a line for each thing that waits.
fn write(out: &mut dyn io::Write, explained: &Explained, style: Style) -> io::Result<()> {
    writeln!(out, "{} {}", explained.flow, style.flow(explained.state))?;
    for explanation in &explained.explanations {
        let Explanation { job, hosts, dead, text, given_up, .. } = explanation;
        let mut text = one_line(&text.to_string());
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

#[derive(Serialize)]
struct Flow {
    id: u64,
    state: FlowState,
    explanations: Vec<OneExplained>,
}

/// An explanation, in JSON.
#[derive(Serialize)]
pub(crate) struct OneExplained {
    job: Option<String>,
    hosts: String,
    count: usize,
    reason: Option<WaitReason>,
    dead: bool,
    text: String,
    given_up_at: Option<String>,
}

impl From<&Explanation> for OneExplained {
    fn from(explanation: &Explanation) -> Self {
        Self {
            job: explanation.job.map(|job| job.to_string()),
            hosts: explanation.hosts.to_string(),
            count: explanation.hosts.len(),
            reason: explanation.reason,
            dead: explanation.dead,
            text: explanation.text.to_string(),
            given_up_at: explanation.given_up.map(when),
        }
    }
}
