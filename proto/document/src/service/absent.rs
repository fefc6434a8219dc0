//! What is done for instances whose players are away.

use std::str::FromStr;

use orchestra_model::{service::AbsenceRule, time::Millis};

use super::names;
use crate::{Fields, Node, Problems};

/// `{replace_after: 5m}`.
pub(super) fn absent(node: &Node, problems: &mut Problems) -> AbsenceRule {
    let usual = AbsenceRule::default();
    if let Node::Text(_) | Node::Whole(_) = node {
        problems.add("absent", "it is a table: {replace_after: 5m} or {replace_after: never}");
        return usual;
    }
    let Some(mut fields) = Fields::of(node, "absent", problems) else { return usual };
    let after = fields.parsed("replace_after", problems).map(|After(after)| after);
    fields.finish(names::ABSENT, problems);
    AbsenceRule { replace_after: after.unwrap_or(usual.replace_after) }
}

/// `never`, or after how long.
struct After(Option<Millis>);

impl FromStr for After {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(After(None));
        }
        let read = text.parse().map(|length| After(Some(length)));
        read.map_err(|invalid| format!("{invalid}; or never"))
    }
}
