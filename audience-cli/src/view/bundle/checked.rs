//! Whether bundles are as they were published.

use std::io;

use orchestra_bundle::{DamagedBundle, StoredBundle, Verified};
use orchestra_model::{ByteSize, chain};
use serde::Serialize;

use super::named;
use crate::view::{Output, Page, Style, one_line};

/// Bundles that were verified.
pub(crate) struct Checked {
    pub(crate) bundles: Vec<Judged>,
    /// Those of which nothing could be read.
    pub(crate) damaged: Vec<DamagedBundle>,
}

/// One bundle, and what was found out.
pub(crate) struct Judged {
    pub(crate) bundle: StoredBundle,
    pub(crate) verified: Verified,
    /// Why it would not be taken: too few have signed it, or the place does not allow it.
    pub(crate) refused: Option<String>,
}

impl Judged {
    fn is_well(&self) -> bool {
        self.verified.wrong == 0 && self.refused.is_none()
    }

    /// What is wrong, a line each.
    fn problems(&self) -> Vec<String> {
        let mut said = problem_lines(&self.verified);
        said.extend(self.refused.clone());
        said
    }
}

impl Checked {
    pub(crate) fn is_well(&self) -> bool {
        self.damaged.is_empty() && self.bundles.iter().all(Judged::is_well)
    }
}

/// What is wrong with a bundle, in one text.
pub(crate) fn problems(verified: &Verified) -> String {
    problem_lines(verified).join("; ")
}

fn problem_lines(verified: &Verified) -> Vec<String> {
    let mut lines: Vec<String> = verified.problems.iter().map(ToString::to_string).collect();
    let rest = verified.wrong - verified.problems.len();
    if rest > 0 {
        lines.push(format!("and {rest} more problems"));
    }
    lines
}

impl Output for Checked {
    fn noun(&self) -> &'static str {
        "verified"
    }

    fn json(self) -> impl Serialize {
        let of = |judged: Judged| OfJudged {
            id: judged.bundle.id.to_string(),
            name: Some(judged.bundle.name().to_string()),
            serial: Some(judged.bundle.serial().get()),
            ok: judged.is_well(),
            problems: judged.problems(),
            wrong: judged.verified.wrong,
            publishers: judged.verified.publishers.iter().map(ToString::to_string).collect(),
        };
        let damaged = |damaged: DamagedBundle| OfJudged {
            id: damaged.id.to_string(),
            name: None,
            serial: None,
            ok: false,
            problems: vec![chain(&damaged.why)],
            wrong: 1,
            publishers: Vec::new(),
        };
        let judged = self.bundles.into_iter().map(of);
        judged.chain(self.damaged.into_iter().map(damaged)).collect::<Vec<_>>()
    }

    fn text(self, out: &mut dyn Page, style: Style) -> io::Result<()> {
        for judged in &self.bundles {
            let state = if judged.is_well() { "ok" } else { "wrong" };
            let size = ByteSize(judged.bundle.seal.statement.content_bytes).rounded();
            let signed = match judged.verified.publishers.len() {
                0 => "signed by nobody".to_owned(),
                1 => "signed by 1".to_owned(),
                count => format!("signed by {count}"),
            };
            let named = named(&judged.bundle);
            match judged.is_well() {
                true => writeln!(out, "{state} {named}: {size}, {signed}")?,
                false => writeln!(out, "{} {named}", style.warning(state))?,
            }
            judged.problems().iter().try_for_each(|it| writeln!(out, "  {}", one_line(it)))?;
        }
        for DamagedBundle { id, why } in &self.damaged {
            writeln!(out, "{} {id}", style.warning("wrong"))?;
            writeln!(out, "  {}", one_line(&chain(why)))?;
        }
        Ok(())
    }

    fn remark(&self) -> Option<String> {
        (self.bundles.is_empty() && self.damaged.is_empty()).then(|| "no bundles".to_owned())
    }
}

#[derive(Serialize)]
struct OfJudged {
    id: String,
    name: Option<String>,
    serial: Option<u64>,
    ok: bool,
    problems: Vec<String>,
    wrong: usize,
    /// Whose signatures are good.
    publishers: Vec<String>,
}
