//! `orc hostset`: here, and without the conductor unless the set has groups or labels.

use std::{
    hash::{BuildHasher as _, RandomState},
    io,
};

use orchestra_client::Exit;
use orchestra_document::check_host_set;
use orchestra_model::{HostName, hostset::HostSet, limits};

use crate::{
    error::Failure,
    input::Inputs,
    program::Program,
    targets::needs_conductor,
    verb::Verb,
    view::hosts::{Form, Resolved},
    words::number,
};

/// `orc hostset`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orc hostset -c '@frontend!@canary'\n  orc hostset --split 3 @web"
)]
pub(crate) struct Hostset {
    /// A host set; several words are one expression. @… is looked up by the conductor
    #[arg(value_name = "HOSTS", required = true)]
    hosts: Vec<String>,
    /// Expand: a host a line
    #[arg(short = 'e', long, group = "form")]
    expand: bool,
    /// Fold (the default)
    #[arg(short = 'f', long, group = "form")]
    fold: bool,
    /// Count
    #[arg(short = 'c', long, group = "form")]
    count: bool,
    /// Only so many of them, by chance
    #[arg(long, value_name = "N", value_parser = number(1..=usize::MAX))]
    pick: Option<usize>,
    /// In so many parts of equal size, a line each, in their order
    #[arg(long, value_name = "N", value_parser = number(1..=usize::MAX), conflicts_with = "form")]
    split: Option<usize>,
}

impl Verb for Hostset {
    /// An empty set is told like any other, and the exit code says that it is empty.
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let set = resolve(&self.expression()?, program)?;
        let set = self.pick.map_or_else(|| Ok(set.clone()), |count| picked(&set, count))?;
        let parts = self.split.map(|count| split(&set, count)).transpose()?;
        let exit = if set.is_empty() { Exit::Hosts } else { Exit::Ok };
        program.console.answer(&Resolved { set, form: self.form(), parts })?;
        Ok(exit)
    }
}

impl Hostset {
    fn expression(&self) -> Result<String, Failure> {
        let mut stdin = io::stdin().lock();
        let mut inputs = Inputs::new(&mut stdin);
        let read = |word: &String| inputs.hosts(word, "the host set", limits::HOSTSET_BYTES);
        let words = self.hosts.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        Ok(words.join(" "))
    }

    fn form(&self) -> Form {
        if self.expand {
            Form::Expanded
        } else if self.count {
            Form::Count
        } else {
            Form::Folded
        }
    }
}

/// Returns so many hosts of a set, by chance.
pub(crate) fn picked(set: &HostSet, count: usize) -> Result<HostSet, Failure> {
    if count > set.len() {
        let what = format!("picking {count} of {} hosts", set.len());
        return Err(Failure::new(Exit::Hosts, what));
    }
    // Each run of a program has a key of its own for hashes, so their order is one of chance.
    let chance = RandomState::new();
    let mut hosts: Vec<&HostName> = set.iter().collect();
    hosts.sort_by_key(|host| chance.hash_one(host.as_str()));
    Ok(HostSet::from_names(hosts.into_iter().take(count).cloned()))
}

/// Returns a set in so many parts, none of which has two hosts more than another.
fn split(set: &HostSet, count: usize) -> Result<Vec<HostSet>, Failure> {
    if count > set.len() {
        let what = format!("splitting {} hosts into {count} parts: one would be empty", set.len());
        return Err(Failure::new(Exit::Hosts, what));
    }
    let hosts = set.as_slice();
    let part = |n: usize| {
        let (from, to) = (n * hosts.len() / count, (n + 1) * hosts.len() / count);
        HostSet::from_names(hosts[from..to].iter().cloned())
    };
    Ok((0..count).map(part).collect())
}

/// The hosts of an expression, from the conductor where only it can know them.
pub(crate) fn resolve(expression: &str, program: &mut Program) -> Result<HostSet, Failure> {
    let wrong = |error| Failure::usage("reading the host set").because(error);
    if !needs_conductor(expression) {
        return HostSet::parse_plain(expression).map_err(wrong);
    }
    check_host_set(expression).map_err(wrong)?;
    let folded = program.ask(async |client, _| Ok(client.resolve(expression).await?))?;
    HostSet::parse_plain(&folded)
        .map_err(|error| Failure::broken("reading the conductor's answer").because(error))
}
