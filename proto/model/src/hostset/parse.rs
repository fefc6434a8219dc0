//! Evaluating host set expressions, in bounded time and memory.
//!
//! One pass from left to right, as [`super::scan`] reads it. What stands to the left of the current
//! operator is a finished set; the operands of a run of `,` or of `!` are collected and worked in
//! together, so that a list of 100,000 names costs one sort. Every operand's size is known before
//! it is expanded.

use super::{
    Groups, HostSet, InvalidHostSet, Resolved, Unknown,
    digits::push_number,
    order,
    scan::{Operand, Operator, Piece, Scanner, Shown},
};
use crate::{
    limits,
    names::{GroupName, HostName},
};

/// Most names that may be made, copied or compared for one expression, duplicates included: well
/// below a second, however the operators are arranged.
const WORK: usize = 4 * limits::HOSTSET_HOSTS;

/// What one `@` word counts for besides its hosts: looking it up may be a walk over a roster.
const LOOK_UP: usize = 1_000;

pub(super) fn resolve(
    text: &str,
    groups: &dyn Groups,
    unknown: Unknown,
) -> Result<Resolved, InvalidHostSet> {
    if text.len() > limits::HOSTSET_BYTES {
        return Err(InvalidHostSet::TooLong { bytes: text.len() });
    }
    let mut scanner = Scanner::new(text);
    let mut value = Evaluation::new(groups, unknown);
    // The first operand joins the empty set.
    let mut next = scanner.first().then_some(Operator::Union);
    while let Some(operator) = next {
        let (operand, shown) = scanner.operand()?;
        value.apply(operator, operand, shown)?;
        next = scanner.operator();
    }
    value.work_in(Shown::all(text))?;
    match unknown == Unknown::Refused && !value.told.unknown.is_empty() {
        true => Err(InvalidHostSet::UnknownHosts(value.told.unknown)),
        false => Ok(Resolved { hosts: value.value, ..value.told }),
    }
}

/// The set so far, and the operands of the current run of one operator.
struct Evaluation<'a> {
    groups: &'a dyn Groups,
    value: HostSet,
    operator: Operator,
    names: Names,
    /// Of looked up sets.
    hosts: Vec<HostName>,
    work: usize,
    unknown: Unknown,
    /// What is to be told beside the hosts.
    told: Resolved,
}

impl<'a> Evaluation<'a> {
    fn new(groups: &'a dyn Groups, unknown: Unknown) -> Self {
        Self {
            groups,
            value: HostSet::default(),
            operator: Operator::Union,
            names: Names::default(),
            hosts: Vec::new(),
            work: 0,
            unknown,
            told: Resolved::default(),
        }
    }

    fn apply(
        &mut self,
        operator: Operator,
        operand: Operand<'_>,
        shown: Shown<'_>,
    ) -> Result<(), InvalidHostSet> {
        let joins =
            operator == self.operator && matches!(operator, Operator::Union | Operator::Minus);
        if !joins {
            self.work_in(shown)?;
        }
        self.operator = operator;
        match operand {
            Operand::Name(name) => {
                self.make_room(1, shown)?;
                self.names.add(name, shown)?;
            }
            Operand::Pattern(pieces, count) => {
                self.make_room(count, shown)?;
                expand(&pieces, &mut |name| self.names.add(name, shown))?;
            }
            Operand::Word(word) => {
                let hosts = self.look_up(word, shown)?;
                self.make_room(hosts.len(), shown)?;
                self.hosts.extend(hosts);
            }
            Operand::Words(pieces) => {
                // `&` and `^` take the hosts of all words as one operand, so they come together.
                let mut hosts: Vec<HostName> = Vec::new();
                expand(&pieces, &mut |word| {
                    let more = self.look_up(word, shown)?;
                    self.charge(more.len(), shown)?;
                    hosts.extend(more);
                    Ok(())
                })?;
                let hosts = HostSet::from_names(hosts);
                self.make_room(hosts.len(), shown)?;
                self.hosts.extend(hosts);
            }
        }
        Ok(())
    }

    /// The hosts of what follows an `@`.
    fn look_up(&mut self, word: &str, shown: Shown<'_>) -> Result<HostSet, InvalidHostSet> {
        self.charge(LOOK_UP, shown)?;
        match look_up(word, self.groups, shown) {
            Err(InvalidHostSet::UnknownGroup { .. } | InvalidHostSet::UnknownLabel { .. })
                if self.unknown == Unknown::LeftOut =>
            {
                self.told.words.insert(word.to_owned());
                Ok(HostSet::default())
            }
            looked_up => looked_up,
        }
    }

    /// Accounts for `count` more operands, and works in those that are there when they get many.
    fn make_room(&mut self, count: usize, shown: Shown<'_>) -> Result<(), InvalidHostSet> {
        self.charge(count, shown)?;
        // Only unions and minuses collect; both may be worked in piecemeal.
        let collected = self.names.len() + self.hosts.len();
        if collected > 0 && collected + count > limits::HOSTSET_HOSTS {
            self.work_in(shown)?;
        }
        Ok(())
    }

    fn work_in(&mut self, shown: Shown<'_>) -> Result<(), InvalidHostSet> {
        self.charge(self.value.len() + self.names.len() + self.hosts.len(), shown)?;
        let named = std::mem::take(&mut self.names);
        let mut names = named.to_set();
        if self.operator == Operator::Union && named.len() > names.len() {
            self.told.repeated = self.told.repeated.union(&named.repeated());
        }
        if let Some(known) = self.groups.hosts() {
            let unknown = not_among(&names, known);
            if !unknown.is_empty() {
                names = names.minus(&unknown);
                self.told.unknown = self.told.unknown.union(&unknown);
            }
        }
        let hosts = HostSet::from_names(std::mem::take(&mut self.hosts));
        let operands = match (hosts.is_empty(), names.is_empty()) {
            (true, _) => names,
            (_, true) => hosts,
            _ => hosts.union(&names),
        };
        if self.operator == Operator::Minus {
            self.told.vain = self.told.vain.union(&operands.minus(&self.value));
        }
        self.value = match self.operator {
            Operator::Union if self.value.is_empty() => operands,
            Operator::Union => self.value.union(&operands),
            Operator::Minus => self.value.minus(&operands),
            Operator::And => self.value.intersection(&operands),
            Operator::Xor => self.value.symmetric_difference(&operands),
        };
        if self.value.len() > limits::HOSTSET_HOSTS {
            return Err(shown.too_many());
        }
        Ok(())
    }

    fn charge(&mut self, work: usize, shown: Shown<'_>) -> Result<(), InvalidHostSet> {
        self.work = self.work.saturating_add(work);
        if self.work > WORK {
            return Err(InvalidHostSet::TooMuchWork { at: shown.at() });
        }
        Ok(())
    }
}

/// The hosts of `names` that `known` does not have.
fn not_among(names: &HostSet, known: &HostSet) -> HostSet {
    /// Where there are so many times as many known hosts, each name is looked for by itself.
    const FEW: usize = 16;
    match names.len() < known.len() / FEW {
        true => names.unknown(|host| known.contains(host)),
        false => names.minus(known),
    }
}

fn look_up(word: &str, groups: &dyn Groups, shown: Shown<'_>) -> Result<HostSet, InvalidHostSet> {
    if !groups.reachable() {
        return Err(InvalidHostSet::NeedsConductor { at: shown.at() });
    }
    let name = |text: &str| GroupName::new(text).map_err(|wrong| shown.no_group(wrong));
    if word == "all" {
        return Ok(groups.all());
    }
    match word.split_once('=') {
        None => {
            let name = name(word)?;
            groups.group(&name).ok_or_else(|| InvalidHostSet::UnknownGroup { name, at: shown.at() })
        }
        Some((key, value)) => {
            let (key, value) = (name(key)?, name(value)?);
            groups
                .labelled(key.as_str(), value.as_str())
                .ok_or_else(|| InvalidHostSet::UnknownLabel { key, value, at: shown.at() })
        }
    }
}

/// Tells `each` every text that `pieces` stand for, the last range running fastest.
fn expand<F>(pieces: &[Piece<'_>], each: &mut F) -> Result<(), InvalidHostSet>
where
    F: FnMut(&str) -> Result<(), InvalidHostSet>,
{
    expand_from(pieces, &mut String::new(), each)
}

/// Completes what is in `text` in every way. As deep as there are pieces: at most a name's length.
fn expand_from<F>(
    pieces: &[Piece<'_>],
    text: &mut String,
    each: &mut F,
) -> Result<(), InvalidHostSet>
where
    F: FnMut(&str) -> Result<(), InvalidHostSet>,
{
    let length = text.len();
    match pieces.split_first() {
        None => each(text)?,
        Some((Piece::Text(part), rest)) => {
            text.push_str(part);
            expand_from(rest, text, each)?;
            text.truncate(length);
        }
        Some((Piece::Ranges(ranges), rest)) => {
            for range in ranges {
                for step in 0..range.len() {
                    push_number(text, range.low + step * range.step, range.width);
                    expand_from(rest, text, each)?;
                    text.truncate(length);
                }
            }
        }
    }
    Ok(())
}

/// Names of hosts that are still text, one behind the other: they are sorted before each becomes a
/// name of its own, so that those of a set lie in memory in its order.
#[derive(Default)]
struct Names {
    text: String,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Names {
    fn len(&self) -> usize {
        self.ends.len()
    }

    /// Adds a name as it is where it is one already, else lowered.
    fn add(&mut self, name: &str, shown: Shown<'_>) -> Result<(), InvalidHostSet> {
        if HostName::is(name) {
            self.push(name);
        } else {
            let name = HostName::new(&name.to_ascii_lowercase());
            self.push(name.map_err(|wrong| shown.no_name(wrong))?.as_str());
        }
        Ok(())
    }

    fn push(&mut self, name: &str) {
        self.text.push_str(name);
        self.ends.push(self.text.len());
    }

    fn get(&self, place: u32) -> &str {
        let place = place as usize;
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[place]]
    }

    fn to_set(&self) -> HostSet {
        let order = order::in_order(self.len(), |place| self.get(place));
        HostSet(order.into_iter().map(|place| HostName::of_checked(self.get(place))).collect())
    }

    /// Those that are there more than once.
    fn repeated(&self) -> HostSet {
        // Sets are bounded far below 32 bits.
        let mut names: Vec<&str> = (0..self.len() as u32).map(|place| self.get(place)).collect();
        names.sort_unstable();
        let twice = names.windows(2).filter(|pair| pair[0] == pair[1]);
        HostSet::from_names(twice.map(|pair| HostName::of_checked(pair[0])))
    }
}
