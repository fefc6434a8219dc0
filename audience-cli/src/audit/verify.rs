//! `orc audit verify`.

use std::path::PathBuf;

use orchestra_client::Exit;
use orchestra_model::{audit::AuditMark, from_hex, proof::Mac};
use serde::Deserialize;

use crate::{error::Failure, input::read_file, program::Program, verb::Verb, view::audit::Report};

/// Longest file that is read, in bytes.
const FILE_BYTES: usize = 1 << 30;

/// `orc audit verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc audit verify\n  orc audit verify --head audit.jsonl")]
pub(crate) struct Verify {
    /// A file whose last line is one that was there, as head or export printed it: shows also a
    /// tail that was cut by who can write the store
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
}

impl Verb for Verify {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let mark = self.head.map(|path| read_mark(&path)).transpose()?;
        program.ask(async |client, console| {
            let report = client.verify_audit(mark).await?;
            let exit = if report.is_whole() { Exit::Ok } else { Exit::NotOk };
            console.answer(Report(report))?;
            Ok(exit)
        })
    }
}

/// What is read of a line.
#[derive(Deserialize)]
struct Line {
    number: u64,
    link: Option<String>,
}

/// Reads the last line of a file.
fn read_mark(path: &std::path::Path) -> Result<AuditMark, Failure> {
    let text = read_file(path, "the audit's head", FILE_BYTES)?;
    last_mark(&text).ok_or_else(|| {
        let what = format!("reading {}", path.display());
        Failure::usage(what)
            .because("its last line is none that `orc audit head` or export printed")
    })
}

fn last_mark(text: &str) -> Option<AuditMark> {
    let last = text.lines().rfind(|line| !line.trim().is_empty())?;
    let Line { number, link } = serde_json::from_str(last).ok()?;
    let link = match link {
        Some(hex) => Some(Mac::from_slice(&from_hex(&hex)?)?),
        None => None,
    };
    Some(AuditMark { number, link })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_an_export_is_a_mark() {
        let link = "00112233445566778899aabbccddeeff";
        let text =
            format!("{{\"number\": 1}}\n{{\"number\": 7, \"link\": \"{link}\", \"x\": 1}}\n\n");
        let mark = last_mark(&text).unwrap();
        assert_eq!((mark.number, mark.link.unwrap().0[15]), (7, 0xff));
        let bare = last_mark("{\"number\": 3, \"link\": null}").unwrap();
        assert_eq!(bare, AuditMark { number: 3, link: None });
        for wrong in ["", "7", "{}", "{\"number\": 1, \"link\": \"00\"}"] {
            assert_eq!(last_mark(wrong), None, "{wrong}");
        }
    }
}
