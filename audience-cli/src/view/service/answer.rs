//! The answer to something that was asked of a service.

use std::io;

use orchestra_client::ServiceAnswer;
use orchestra_model::service::Move;
use serde::Serialize;

use super::{counted, json::OfWaiting};
use crate::view::{Output, Page, Style, one_line};

/// The answer, and how to tell it.
pub(crate) struct Asked<'a> {
    /// The word for what was done, which is the document's noun too: `applied`.
    pub(crate) what: &'static str,
    pub(crate) answer: &'a ServiceAnswer,
    /// Whether it was asked of strangers.
    pub(crate) of_strangers: bool,
    /// Whether the verb waits for it, so that the person need not be told how to follow it.
    pub(crate) is_followed: bool,
    /// What else a person has to know.
    pub(crate) note: Option<String>,
}

impl Output for Asked<'_> {
    fn noun(&self) -> &'static str {
        self.what
    }

    fn json(self) -> impl Serialize {
        let ServiceAnswer { name, version, unchanged, flow, left_out, waiting, moves, trouble } =
            self.answer;
        OfAnswer {
            service: name,
            version: version.0,
            unchanged: *unchanged,
            flow: flow.map(|flow| flow.0),
            left_out,
            waiting: waiting.iter().map(Into::into).collect(),
            moves: moves.iter().map(|it| OfMove::new(name, it)).collect(),
            trouble: trouble.as_deref(),
        }
    }

    /// `applied web version 7, flow 42`.
    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        let ServiceAnswer { name, version, unchanged, flow, .. } = self.answer;
        let is_plan = !self.answer.moves.is_empty();
        let what = if *unchanged && !is_plan {
            "unchanged".to_owned()
        } else {
            self.what.replace('_', " ")
        };
        match self.of_strangers {
            true => write!(out, "{what} strangers of {}", one_line(name))?,
            false => write!(out, "{what} {} version {version}", one_line(name))?,
        }
        match flow {
            Some(flow) => writeln!(out, ", flow {flow}")?,
            None => writeln!(out)?,
        }
        self.answer.moves.iter().try_for_each(|moved| {
            let OfMove { id, from, to } = OfMove::new(name, moved);
            writeln!(out, "  {} from {from} to {to}", one_line(&id))
        })
    }

    fn remark(&self) -> Option<String> {
        let ServiceAnswer { name, flow, left_out, waiting, trouble, .. } = self.answer;
        let mut lines = Vec::new();
        if let Some(trouble) = trouble {
            lines.push(format!("no flow could be made: {}", one_line(trouble)));
        }
        if !left_out.is_empty() {
            lines.push(format!(
                "left out, and brought up when they can be: {}: they are absent, drained, or of a \
                 release that keeps no services (orc players)",
                counted(left_out)
            ));
        }
        lines.extend(waiting.iter().map(ToString::to_string));
        lines.extend(self.note.clone());
        match flow {
            Some(flow) if !self.is_followed => lines.push(format!("to follow it: orc wait {flow}")),
            None if trouble.is_some() => {
                lines.push(format!("how it stands: orc service show {}", one_line(name)));
            }
            _ => {}
        }
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

#[derive(Serialize)]
struct OfAnswer<'a> {
    service: &'a str,
    version: u64,
    unchanged: bool,
    flow: Option<u64>,
    left_out: &'a str,
    /// Instances for which no player has room.
    waiting: Vec<OfWaiting<'a>>,
    /// What a rebalance moves, or would move.
    moves: Vec<OfMove<'a>>,
    trouble: Option<&'a str>,
}

/// An instance that is begun on another player, and ended on the first once it is ready there.
#[derive(Serialize)]
struct OfMove<'a> {
    id: String,
    from: &'a str,
    to: &'a str,
}

impl<'a> OfMove<'a> {
    fn new(service: &str, moved: &'a Move) -> Self {
        let Move { ordinal, from, to } = moved;
        Self { id: format!("{service}/{ordinal}"), from: from.as_str(), to: to.as_str() }
    }
}
