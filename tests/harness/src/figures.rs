//! Numbers of a run: medians, percentiles, and what is printed of them.

use serde_json::{Map, Value, json};

/// Measurements of one kind, in one unit.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Takes them in, in any order.
    pub fn new(samples: impl IntoIterator<Item = f64>) -> Self {
        let mut samples: Vec<f64> = samples.into_iter().collect();
        samples.sort_by(f64::total_cmp);
        Self(samples)
    }

    /// The value that `percent` of them do not exceed; 0 where there are none.
    pub fn percentile(&self, percent: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let place = (percent / 100.0 * self.0.len() as f64).ceil() as usize;
        self.0.get(place.saturating_sub(1).min(last)).copied().unwrap_or(0.0)
    }

    /// The middle one, or the mean of the two.
    pub fn median(&self) -> f64 {
        let half = self.0.len() / 2;
        match (self.0.len() % 2, self.0.get(half), self.0.get(half.wrapping_sub(1))) {
            (0, Some(above), Some(below)) => (above + below) / 2.0,
            (_, middle, _) => middle.copied().unwrap_or(0.0),
        }
    }

    /// The largest.
    pub fn most(&self) -> f64 {
        self.0.last().copied().unwrap_or(0.0)
    }

    /// The smallest.
    pub fn least(&self) -> f64 {
        self.0.first().copied().unwrap_or(0.0)
    }

    /// `{"median", "rounds"}`.
    fn rounds(&self) -> Value {
        json!({ "median": rounded(self.median()), "rounds": self.0.iter().map(|x| rounded(*x)).collect::<Vec<_>>() })
    }

    /// `{"p50", …, "max"}`.
    fn percentiles(&self) -> Value {
        let at = |percent| rounded(self.percentile(percent));
        json!({ "p50": at(50.0), "p90": at(90.0), "p99": at(99.0), "p999": at(99.9), "max": rounded(self.most()) })
    }
}

/// Four digits are more than any of this is worth.
fn rounded(x: f64) -> f64 {
    let scale = 10_f64.powf(3.0 - x.abs().max(1e-12).log10().floor());
    if x == 0.0 { 0.0 } else { (x * scale).round() / scale }
}

/// As people read it.
fn shown(x: f64) -> String {
    match x.abs() {
        x if x >= 1_000.0 => grouped(x.round() as u64),
        x if x >= 100.0 => format!("{x:.0}"),
        x if x >= 10.0 => format!("{x:.1}"),
        x if x >= 1.0 => format!("{x:.2}"),
        x => format!("{x:.4}"),
    }
}

fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What one scenario found: lines for people, and one document for programs.
#[derive(Debug)]
pub struct Report {
    fields: Map<String, Value>,
    lines: Vec<String>,
}

impl Report {
    /// An empty one.
    pub fn new(scenario: &str, players: usize) -> Self {
        let mut fields = Map::new();
        fields.insert("schema".to_owned(), json!(1));
        fields.insert("scenario".to_owned(), json!(scenario));
        fields.insert("players".to_owned(), json!(players));
        Self { fields, lines: vec![format!("{scenario}, {} players", grouped(players as u64))] }
    }

    /// A single number. Names end in their unit.
    pub fn number(&mut self, name: &str, what: &str, value: f64) {
        self.fields.insert(name.to_owned(), json!(rounded(value)));
        self.line(what, &shown(value));
    }

    /// One number a round.
    pub fn rounds(&mut self, name: &str, what: &str, samples: &Samples) {
        self.fields.insert(name.to_owned(), samples.rounds());
        let spread = match samples.0.len() {
            0 | 1 => String::new(),
            rounds => format!(
                "   (median of {rounds}; {} to {})",
                shown(samples.least()),
                shown(samples.most())
            ),
        };
        self.line(what, &format!("{}{spread}", shown(samples.median())));
    }

    /// Latencies.
    pub fn latencies(&mut self, name: &str, what: &str, samples: &Samples) {
        self.fields.insert(name.to_owned(), samples.percentiles());
        let at = |percent| shown(samples.percentile(percent));
        self.line(
            what,
            &format!(
                "p50 {}, p90 {}, p99 {}, p99.9 {}, max {}",
                at(50.0),
                at(90.0),
                at(99.0),
                at(99.9),
                shown(samples.most())
            ),
        );
    }

    /// Something that is no number.
    pub fn text(&mut self, name: &str, what: &str, text: &str) {
        self.fields.insert(name.to_owned(), json!(text));
        self.line(what, text);
    }

    fn line(&mut self, what: &str, text: &str) {
        self.lines.push(format!("  {what:<44} {text}"));
    }

    /// For people.
    pub fn lines(&self) -> String {
        self.lines.join("\n")
    }

    /// For programs, on one line.
    pub fn json(self) -> String {
        Value::Object(self.fields).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let samples = Samples::new((1..=1_000).rev().map(f64::from));
        assert_eq!(samples.percentile(50.0), 500.0);
        assert_eq!(samples.percentile(99.0), 990.0);
        assert_eq!(samples.percentile(100.0), 1_000.0);
        assert_eq!((samples.median(), samples.least(), samples.most()), (500.5, 1.0, 1_000.0));
        assert_eq!(Samples::new([3.0, 1.0, 2.0]).median(), 2.0);
        let none = Samples::default();
        assert_eq!((none.median(), none.percentile(99.0)), (0.0, 0.0));
    }

    #[test]
    fn numbers_are_shown_with_as_many_digits_as_they_are_worth() {
        let texts: Vec<String> =
            [1_234_567.0, 431.2, 12.345, 1.239, 0.012_34].into_iter().map(shown).collect();
        assert_eq!(texts, ["1,234,567", "431", "12.3", "1.24", "0.0123"]);
        assert_eq!((rounded(1_234_567.0), rounded(0.012_345_6)), (1_235_000.0, 0.012_35));
    }
}
