//! `orc candidates`: what may come for the last word of a command line, asked of the conductor. It is for
//! the scripts of shells, so it says nothing where anything is wrong, and waits for nobody.

use std::{collections::BTreeSet, path::Path};

use clap::Command;
use orchestra_client::{
    Client,
    config::{ClientSettings, Connection, Environment},
};
use orchestra_model::{flow_filter::FlowFilter, time::Millis};
use tokio::time::timeout;

use super::place::{Place, find};
use crate::{console::print, error::Failure, manual::programs, program::runtime};

/// Most candidates that are told: nobody reads more.
const MOST: usize = 1_000;
/// Most flows that are told, the newest.
const FLOWS: u32 = 50;
/// What separates the hosts of an expression.
const SEPARATORS: [char; 6] = [',', '!', '&', '^', ' ', '\n'];
/// Verbs for which only flows that have not ended matter.
const OF_LIVING: [&str; 5] = ["cancel", "pause", "resume", "promote", "wait"];

/// `orc candidates`.
#[derive(Debug, clap::Args)]
pub(crate) struct Candidates {
    /// How long to wait for the conductor
    #[arg(long, value_name = "DURATION", default_value = "100ms")]
    within: Millis,
    /// The words of the command line, from the program's name to the one that is written
    #[arg(last = true, value_name = "WORD")]
    words: Vec<String>,
}

/// What names are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Hosts,
    Scores,
    Flows { living: bool },
    Deployments,
    Services,
}

impl Candidates {
    pub(in crate::manual) fn run(self, environment: &Environment) -> Result<u8, Failure> {
        let text = self.names(environment).unwrap_or_default();
        print(&text).map(|()| 0)
    }

    /// Returns a line for each candidate; `None` where there are none, or nobody tells in time.
    fn names(&self, environment: &Environment) -> Option<String> {
        let (program, words) = self.words.split_first()?;
        let name = Path::new(program).file_name()?.to_str()?;
        let mut program = programs().into_iter().find(|program| program.get_name() == name)?;
        program.build();
        let (kind, head, begin) = wanted(&program, words)?;
        let settings = ClientSettings { connect_timeout: self.within, ..ClientSettings::default() };
        let connection = Connection::resolve(&settings, environment).ok()?;
        let runtime = runtime().ok()?;
        let asked = runtime
            .block_on(async { timeout(self.within.to_std(), ask(kind, &begin, connection)).await });
        // A name may still be looked up.
        runtime.shutdown_background();
        let names = asked.ok()?.ok()?;
        // No name of ours has anything in it that a shell or a terminal obeys.
        let is_plain = |name: &&String| name.bytes().all(|byte| byte.is_ascii_graphic());
        Some(names.iter().filter(is_plain).map(|name| format!("{head}{name}\n")).collect())
    }
}

/// Returns what names are wanted for the last word, what of it comes before such a name, and how the name
/// begins.
fn wanted(program: &Command, words: &[String]) -> Option<(Kind, String, String)> {
    let place = find(program, words)?;
    let kind = kind(program.get_name(), &place)?;
    // A word that the shell was given in quotes comes with the first of them.
    let written = place.written.trim_start_matches(['\'', '"']);
    let at = match kind {
        Kind::Hosts => written.rfind(SEPARATORS).map_or(0, |at| at + 1),
        _ => 0,
    };
    let (head, begin) = written.split_at(at);
    if head.matches('[').count() > head.matches(']').count() || begin.contains('[') {
        return None;
    }
    // What comes before the value in its word, as in `--on=fe`.
    let word = words.last()?.trim_start_matches(['\'', '"']);
    let before = word.strip_suffix(written).unwrap_or_default();
    Some((kind, format!("{before}{head}"), begin.to_owned()))
}

/// Returns what names a value is made of.
fn kind(program: &str, place: &Place<'_>) -> Option<Kind> {
    let (verb, flag) = (place.verbs.first().copied(), place.flag.as_deref());
    match (place.value.as_str(), verb, flag) {
        (_, Some("sandbox"), _) | (_, _, Some("request-id")) => None,
        ("HOSTS" | "HOST", ..) => Some(Kind::Hosts),
        ("SCORE", ..) => Some(Kind::Scores),
        ("ID", ..) => {
            let living = program == "orc" && verb.is_some_and(|verb| OF_LIVING.contains(&verb));
            Some(Kind::Flows { living })
        }
        ("NAME", _, Some("deployment")) | ("NAME", Some("deployment"), None) => {
            Some(Kind::Deployments)
        }
        ("NAME", Some("service"), None) => Some(Kind::Services),
        _ => None,
    }
}

/// Asks for names that begin so, in order.
async fn ask(kind: Kind, begin: &str, connection: Connection) -> Result<Vec<String>, Failure> {
    let mut client = Client::connect(connection).await?;
    let mut names = Names { begin, found: Vec::new() };
    match kind {
        Kind::Hosts => hosts(&mut client, &mut names).await?,
        Kind::Scores => {
            let (_, held) = client.scores("", None).await?;
            // A score of several versions is told once for each.
            let held: BTreeSet<String> =
                held.into_iter().map(|held| held.offer.name.to_string()).collect();
            held.into_iter().for_each(|name| names.offer(name));
        }
        Kind::Flows { living } => {
            names.offer("last".to_owned());
            let filter = FlowFilter { alive: living, ..FlowFilter::default() };
            let mut pages = client.flows(&filter, FLOWS).await?;
            while let Some(flow) = pages.next_item().await? {
                names.offer(flow.id.to_string());
            }
        }
        Kind::Deployments => {
            let mut pages = client.deployments(None).await?;
            while let Some(deployment) = pages.next_item().await? {
                names.offer(deployment.name);
            }
        }
        Kind::Services => {
            let mut pages = client.services().await?;
            while let Some(service) = pages.next_item().await? {
                names.offer(service.record.name.to_string());
            }
        }
    }
    Ok(names.found)
}

/// Groups after an `@`, else hosts.
async fn hosts(client: &mut Client, names: &mut Names<'_>) -> Result<(), Failure> {
    if names.begin.starts_with('@') {
        let mut pages = client.groups().await?;
        while let Some(group) = pages.next_item().await? {
            names.offer(format!("@{}", group.name));
        }
        return Ok(());
    }
    let mut pages = client.players("", false).await?;
    while let Some(player) = pages.next_item().await?
        && names.found.len() < MOST
    {
        names.offer(player.host.to_string());
    }
    Ok(())
}

/// Names that begin as the word does.
struct Names<'a> {
    begin: &'a str,
    found: Vec<String>,
}

impl Names<'_> {
    fn offer(&mut self, name: String) {
        if name.starts_with(self.begin) && self.found.len() < MOST {
            self.found.push(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str) -> Option<(Kind, String, String)> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let mut program =
            programs().into_iter().find(|program| program.get_name() == words[0]).unwrap();
        program.build();
        wanted(&program, &words[1..])
    }

    fn is(line: &str, kind: Kind, head: &str, begin: &str) {
        assert_eq!(told(line), Some((kind, head.to_owned(), begin.to_owned())), "{line}");
    }

    #[test]
    fn names_are_wanted_where_definitions_say_so() {
        is("submitjob hello -w fe1,@w", Kind::Hosts, "fe1,", "@w");
        is("submitjob hello -w 'fe[1-6]!f", Kind::Hosts, "fe[1-6]!", "f");
        is("submitjob hello --one-of=@w", Kind::Hosts, "--one-of=", "@w");
        is("submitjob he", Kind::Scores, "", "he");
        is("orc scores he", Kind::Scores, "", "he");
        is("orc cancel ", Kind::Flows { living: true }, "", "");
        is("orc logs 4", Kind::Flows { living: false }, "", "4");
        is("orc deployment show s", Kind::Deployments, "", "s");
        is("orc ledger --deployment s", Kind::Deployments, "", "s");
        is("orc service show w", Kind::Services, "", "w");
        for line in ["submitjob hello -w fe[1-", "submitjob --request-id ", "orc audit --by a"] {
            assert_eq!(told(line), None, "{line}");
        }
    }
}
