//! Reading host set expressions: operators, operands, and the ranges inside them.
//!
//! Nothing is expanded here, but the size of everything is found out.

use std::borrow::Cow;

use super::{InvalidHostSet, PlaceInText, digits, foreign};
use crate::{limits, names::InvalidName};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Union,
    Minus,
    And,
    Xor,
}

/// One operand as it is written.
pub(super) enum Operand<'a> {
    /// A name without ranges.
    Name(&'a str),
    /// A name with ranges, and how many names it stands for.
    Pattern(Vec<Piece<'a>>, usize),
    /// What follows an `@`.
    Word(&'a str),
    /// What follows an `@` and has ranges: several words, whose hosts are one operand together.
    Words(Vec<Piece<'a>>),
}

pub(super) enum Piece<'a> {
    Text(&'a str),
    Ranges(Vec<Range>),
}

/// Numbers from `low` to `high`, every `step`th, written with at least `width` digits.
pub(super) struct Range {
    pub(super) low: u64,
    pub(super) high: u64,
    pub(super) step: u64,
    pub(super) width: usize,
}

impl Range {
    /// How many numbers; at least one.
    pub(super) fn len(&self) -> u64 {
        (self.high - self.low) / self.step + 1
    }
}

/// Where in the text an operand is, for errors.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    whole: &'a str,
    start: usize,
    end: usize,
}

impl<'a> Shown<'a> {
    pub(super) fn all(whole: &'a str) -> Self {
        Self { whole, start: 0, end: whole.len() }
    }

    /// Where it starts.
    pub(super) fn at(&self) -> PlaceInText {
        PlaceInText::new(self.whole, self.start)
    }

    pub(super) fn too_many(&self) -> InvalidHostSet {
        InvalidHostSet::TooMany { at: self.at() }
    }

    /// That the operand is not a name, or stands for one that is none.
    pub(super) fn no_name(&self, name: InvalidName) -> InvalidHostSet {
        let operand = &self.whole[self.start..self.end];
        // What is within brackets are ranges: of the rest, the first that no name has is told.
        let mut start = 0;
        for part in operand.split_inclusive(['[', ']', '{', '}']) {
            let text = part.trim_end_matches(['[', ']', '{', '}']);
            let is_range = operand[..start].ends_with(['[', '{']);
            if let Some((at, problem)) = foreign::explain(text).filter(|_| !is_range) {
                // Behind a range, a `-` is a letter like others.
                if start == 0 || at > 0 || !text.starts_with('-') {
                    let at = PlaceInText::new(self.whole, self.start + start + at);
                    return InvalidHostSet::Syntax { at, problem };
                }
            }
            start += part.len();
        }
        InvalidHostSet::Name { at: self.at(), name }
    }

    /// That the word after the `@` is not a name.
    pub(super) fn no_group(&self, name: InvalidName) -> InvalidHostSet {
        if name.text == "*" {
            let problem = "@all is every host".into();
            return InvalidHostSet::Syntax { at: self.at(), problem };
        }
        InvalidHostSet::Name { at: self.at(), name }
    }
}

/// The bytes that a name or a word ends before.
const ENDS: [bool; 256] = {
    let mut ends = [false; 256];
    let mut byte = 0;
    while byte < ends.len() {
        ends[byte] = matches!(byte as u8, b',' | b'!' | b'&' | b'^' | b'[' | b']' | b'{' | b'}')
            || (byte as u8).is_ascii_whitespace();
        byte += 1;
    }
    ends
};

/// Reads operands and operators in turn.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// Where the operator before the present operand stands, if one does.
    operator: Option<usize>,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, operator: None }
    }

    /// Goes to the first operand; `false` where the text is blank.
    pub(super) fn first(&mut self) -> bool {
        self.skip_space();
        self.peek().is_some()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Reads what stands between two operands; `None` at the end of the text. Spaces alone are a
    /// union; spaces around an operator mean nothing.
    pub(super) fn operator(&mut self) -> Option<Operator> {
        self.skip_space();
        let operator = match self.peek()? {
            b',' => Operator::Union,
            b'!' => Operator::Minus,
            b'&' => Operator::And,
            b'^' => Operator::Xor,
            _ => {
                self.operator = None;
                return Some(Operator::Union);
            }
        };
        self.operator = Some(self.at);
        self.at += 1;
        self.skip_space();
        Some(operator)
    }

    /// Reads one operand, up to a space or an operator outside of brackets.
    pub(super) fn operand(&mut self) -> Result<(Operand<'a>, Shown<'a>), InvalidHostSet> {
        let start = self.at;
        let text = self.text_piece();
        if matches!(self.peek(), Some(b'[' | b']' | b'{' | b'}')) {
            let operand = self.pattern(text)?;
            return Ok((operand, self.shown(start)));
        }
        if text.is_empty() {
            return Err(self.missing());
        }
        let operand = text.strip_prefix('@').map_or(Operand::Name(text), Operand::Word);
        Ok((operand, self.shown(start)))
    }

    /// Reads an operand from its first bracket, which comes after `text`.
    fn pattern(&mut self, text: &'a str) -> Result<Operand<'a>, InvalidHostSet> {
        let start = self.at - text.len();
        let word = text.strip_prefix('@');
        let mut pieces = vec![Piece::Text(word.unwrap_or(text))];
        let mut count: usize = 1;
        while let Some(b'[' | b'{') = self.peek() {
            let (ranges, numbers) = self.ranges(start)?;
            count = count.saturating_mul(numbers);
            if count > limits::HOSTSET_HOSTS {
                return Err(self.shown(start).too_many());
            }
            pieces.extend([Piece::Ranges(ranges), Piece::Text(self.text_piece())]);
            // Every range is at least a byte of each name, so their number is bounded too.
            if pieces.len() > 2 * limits::HOST_NAME_BYTES {
                return Err(self.wrong(start, "no name has room for so many ranges"));
            }
        }
        if let Some(b']' | b'}') = self.peek() {
            let problem = "this bracket closes nothing; a range is like [1-6]";
            return Err(self.wrong(self.at, problem));
        }
        Ok(match word {
            Some(_) => Operand::Words(pieces),
            None => Operand::Pattern(pieces, count),
        })
    }

    /// What comes before the next bracket, operator, space, or end.
    fn text_piece(&mut self) -> &'a str {
        let start = self.at;
        let rest = &self.text.as_bytes()[start..];
        let length = rest.iter().position(|byte| ENDS[usize::from(*byte)]);
        self.at += length.unwrap_or(rest.len());
        &self.text[start..self.at]
    }

    /// Reads ranges from their opening bracket to the closing one. Also answers how many numbers
    /// they are.
    fn ranges(&mut self, operand: usize) -> Result<(Vec<Range>, usize), InvalidHostSet> {
        let open = self.at;
        let close = if self.peek() == Some(b'[') { b']' } else { b'}' };
        let mut ranges = Vec::new();
        let mut count: u64 = 0;
        loop {
            self.at += 1;
            let start = self.at;
            while self.peek().is_some_and(|b| b.is_ascii_digit() || matches!(b, b'-' | b'/')) {
                self.at += 1;
            }
            let problem = match self.peek() {
                Some(b',') => None,
                Some(byte) if byte == close => None,
                None => Some("this bracket is never closed"),
                Some(b'[' | b'{') => Some("brackets do not nest"),
                Some(b']' | b'}') => Some("brackets are closed by their own kind: [1-6] or {1-6}"),
                Some(byte) if byte.is_ascii_whitespace() => {
                    Some("brackets hold no spaces; ranges are like [1-3,5]")
                }
                Some(_) => Some("only numbers make a range, like [1-6] or [1-3,5]"),
            };
            if let Some(problem) = problem {
                let at = if self.peek().is_none() { open } else { self.at };
                return Err(self.wrong(at, problem));
            }
            let range =
                range(&self.text[start..self.at]).map_err(|problem| self.wrong(start, problem))?;
            count = count.saturating_add(range.len());
            if count > limits::HOSTSET_HOSTS as u64 {
                return Err(self.shown(operand).too_many());
            }
            ranges.push(range);
            if self.peek() == Some(close) {
                self.at += 1;
                return Ok((ranges, usize::try_from(count).unwrap_or(usize::MAX)));
            }
        }
    }

    /// The operand from `start` to here.
    fn shown(&self, start: usize) -> Shown<'a> {
        Shown { whole: self.text, start, end: self.at }
    }

    /// An error at byte `at`.
    fn wrong(&self, at: usize, problem: impl Into<Cow<'static, str>>) -> InvalidHostSet {
        InvalidHostSet::Syntax { at: PlaceInText::new(self.text, at), problem: problem.into() }
    }

    /// That an operator has nothing on one of its sides.
    fn missing(&self) -> InvalidHostSet {
        let sign = |at: usize| char::from(self.text.as_bytes()[at]);
        match (self.peek(), self.operator) {
            (None, Some(at)) => {
                self.wrong(at, format!("a host set is missing after this `{}`", sign(at)))
            }
            (Some(b'^'), None) => self.wrong(
                self.at,
                "a host set is missing before this `^`; a file of hosts is @file:PATH",
            ),
            (Some(_), _) => self
                .wrong(self.at, format!("a host set is missing before this `{}`", sign(self.at))),
            (None, None) => self.wrong(self.at, "a host set is missing here"),
        }
    }
}

/// Reads `N`, `N-M` or `N-M/STEP`.
fn range(text: &str) -> Result<Range, &'static str> {
    let (span, step) = match text.split_once('/') {
        Some((span, step)) => (span, Some(number(step)?)),
        None => (text, None),
    };
    if span.starts_with('-') {
        return Err(
            "a number is missing before this `-`: ranges are like [1-6], and no number is \
                    below 0",
        );
    }
    let Some((low_text, high_text)) = span.split_once('-') else {
        if step.is_some() {
            return Err("a step belongs to a range, like [1-9/2]");
        }
        let low = number(span)?;
        return Ok(Range { low, high: low, step: 1, width: span.len() });
    };
    let (low, high) = (number(low_text)?, number(high_text)?);
    let padded = |text: &str| digits::padded(text.as_bytes());
    if (padded(low_text) || padded(high_text)) && low_text.len() != high_text.len() {
        return Err("both ends of a padded range have the same number of digits, like [001-100]");
    }
    if low > high {
        return Err("a range runs upwards, like [1-6]");
    }
    match step {
        Some(0) => Err("a step is at least 1"),
        step => Ok(Range { low, high, step: step.unwrap_or(1), width: low_text.len() }),
    }
}

fn number(text: &str) -> Result<u64, &'static str> {
    if text.is_empty() {
        return Err("a number is missing; ranges are like [1-6], [01-10/2] or [1-3,5]");
    }
    if text.len() > digits::MOST {
        return Err("a number in a range has at most 17 digits");
    }
    digits::value(text.as_bytes()).ok_or("ranges are like [1-6], [01-10/2] or [1-3,5]")
}
