//! What was found between this machine and a conductor.

use std::{fmt, io};

use serde::Serialize;

use super::{Output, Page, Style, one_line};

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Ok,
    /// It works, and somebody should know.
    Note,
    Wrong,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Wrong => "wrong",
        }
    }
}

/// Everything that was looked at, in that order.
#[derive(Debug, Default)]
pub(crate) struct Diagnosis(Vec<Found>);

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Found {
    state: Verdict,
    what: String,
    mend: Option<String>,
}

impl Diagnosis {
    /// Adds something that is in order.
    pub(crate) fn ok(&mut self, what: String) {
        self.add(Verdict::Ok, what);
    }

    /// Adds something that somebody should know, with what mends it.
    pub(crate) fn note(&mut self, what: impl Into<String>, mend: Option<&str>) {
        self.add(Verdict::Note, what.into());
        mend.into_iter().for_each(|mend| self.mend(mend));
    }

    /// Adds something that is wrong, with what mends it.
    pub(crate) fn wrong(&mut self, what: String, mend: Option<&str>) {
        self.add(Verdict::Wrong, what);
        mend.into_iter().for_each(|mend| self.mend(mend));
    }

    /// Adds something.
    pub(crate) fn add(&mut self, state: Verdict, what: String) {
        self.0.push(Found { state, what, mend: None });
    }

    /// Says what mends what was added last.
    pub(crate) fn mend(&mut self, how: &str) {
        if let Some(last) = self.0.last_mut() {
            last.mend = Some(how.to_owned());
        }
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_in_order(&self) -> bool {
        self.0.iter().all(|found| found.state != Verdict::Wrong)
    }

    /// Its lines, each with how it stands.
    fn lines(&self) -> impl Iterator<Item = (Verdict, String)> {
        self.0.iter().flat_map(|found| {
            let Found { state, what, mend } = found;
            let what = what.lines().map(one_line).enumerate().map(|(number, line)| {
                let word = if number == 0 { state.as_str() } else { "" };
                (*state, format!("{word:<7}{line}"))
            });
            let mend = mend.iter().map(|mend| (*state, format!("       mend: {}", one_line(mend))));
            what.chain(mend).collect::<Vec<_>>()
        })
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines().try_for_each(|(_, line)| writeln!(f, "{line}"))
    }
}

#[derive(Serialize)]
struct OfDiagnosis<'a> {
    in_order: bool,
    findings: &'a [Found],
}

impl Output for &Diagnosis {
    fn noun(&self) -> &'static str {
        "doctor"
    }

    fn json(self) -> impl Serialize {
        OfDiagnosis { in_order: self.is_in_order(), findings: &self.0 }
    }

    fn text(self, out: &mut dyn Page, style: Style) -> io::Result<()> {
        self.lines().try_for_each(|(state, line)| match state {
            Verdict::Ok => writeln!(out, "{line}"),
            Verdict::Note | Verdict::Wrong => writeln!(out, "{}", style.warning(&line)),
        })
    }
}
