//! TOML, with the line of each key.

use std::borrow::Cow;

use toml::{
    Spanned,
    de::{DeTable, DeValue, Error},
};

use crate::node::{DEPTH, Key, Node};

/// Parses one document. The text's size is bounded by the caller.
pub(super) fn parse(text: &str) -> Result<Node, Error> {
    let table = DeTable::parse(text)?;
    Lines::of(text).table(table.get_ref(), 0)
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        let begins = text.match_indices('\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(begins).collect())
    }

    /// The number of the line of a byte, from 1 on.
    fn at(&self, byte: usize) -> usize {
        self.0.partition_point(|begin| *begin <= byte)
    }

    fn table(&self, table: &DeTable<'_>, depth: usize) -> Result<Node, Error> {
        let depth = deeper(depth)?;
        let mut fields = Vec::with_capacity(table.len());
        for (key, value) in table {
            let begin = key.span().start;
            let named = Key::at_line(key.get_ref().as_ref(), self.at(begin));
            fields.push((begin, named, self.value(value, depth)?));
        }
        // The table has them by name, and people read a file from its top.
        fields.sort_by_key(|(begin, ..)| *begin);
        Ok(Node::Map(fields.into_iter().map(|(_, key, node)| (key, node)).collect()))
    }

    fn value(&self, value: &Spanned<DeValue<'_>>, depth: usize) -> Result<Node, Error> {
        Ok(match value.get_ref() {
            DeValue::String(text) => Node::Text(Cow::clone(text).into_owned()),
            DeValue::Integer(integer) => {
                match i128::from_str_radix(integer.as_str(), integer.radix()) {
                    Ok(number) => Node::Whole(number),
                    Err(_) => return Err(error(format_args!("{integer} is no number that fits"))),
                }
            }
            DeValue::Float(float) => match float.as_str().parse::<f64>() {
                Ok(number) => Node::Fraction(number.to_string()),
                Err(_) => return Err(error(format_args!("{float} is no number that fits"))),
            },
            DeValue::Boolean(value) => Node::Bool(*value),
            DeValue::Datetime(_) => Node::Date,
            DeValue::Array(values) => {
                let depth = deeper(depth)?;
                let nodes = values.iter().map(|value| self.value(value, depth));
                Node::List(nodes.collect::<Result<_, _>>()?)
            }
            DeValue::Table(table) => self.table(table, depth)?,
        })
    }
}

fn deeper(depth: usize) -> Result<usize, Error> {
    if depth < DEPTH {
        Ok(depth + 1)
    } else {
        Err(error(format_args!("nested deeper than {DEPTH} levels")))
    }
}

fn error(problem: std::fmt::Arguments<'_>) -> Error {
    serde::de::Error::custom(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_in_the_order_of_writing_with_their_lines() {
        let text = "z = 1\n\n# A comment.\na.b = 2\n[m]\ny = [\n  1,\n]\nx = {c = 1}\n";
        let Ok(Node::Map(fields)) = parse(text) else { panic!() };
        let told: Vec<(&str, Option<usize>)> =
            fields.iter().map(|(key, _)| (&**key, key.line())).collect();
        assert_eq!(told, [("z", Some(1)), ("a", Some(4)), ("m", Some(5))]);
        let Node::Map(inner) = &fields[2].1 else { panic!() };
        let told: Vec<(&str, Option<usize>)> =
            inner.iter().map(|(key, _)| (&**key, key.line())).collect();
        assert_eq!(told, [("y", Some(6)), ("x", Some(9))]);
    }

    #[test]
    fn values_are_what_they_say() {
        let text = "a = 0x1F\nb = 1_000\nc = -5\nd = 1.50\ne = 2026-01-01\nf = 'x'\ng = true\n\
                    h = 18446744073709551615\n";
        let Ok(Node::Map(fields)) = parse(text) else { panic!() };
        let nodes: Vec<Node> = fields.into_iter().map(|(_, node)| node).collect();
        let expected = [
            Node::Whole(31),
            Node::Whole(1_000),
            Node::Whole(-5),
            Node::Fraction("1.5".to_owned()),
            Node::Date,
            Node::Text("x".to_owned()),
            Node::Bool(true),
            Node::Whole(u64::MAX.into()),
        ];
        assert!(nodes == expected);
        let huge = format!("a = {}\n", "9".repeat(60));
        assert!(parse(&huge).err().unwrap().to_string().contains("no number that fits"));
    }
}
