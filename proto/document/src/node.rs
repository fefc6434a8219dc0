//! A document as a tree, whatever its format.

use std::{collections::BTreeSet, fmt, ops::Deref};

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Deepest nesting. Flow files need seven levels.
pub(super) const DEPTH: usize = 16;

/// A value of a document.
///
/// No `Debug`: parameter values may be secrets.
#[derive(Clone, PartialEq, Eq)]
pub enum Node {
    /// Nothing is there.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Whole(i128),
    /// A number with a fraction or exponent, as short as its value can be written. Its own spelling is
    /// lost in two of three formats, so nothing takes it for text.
    Fraction(String),
    /// A number whose plain spelling differs from how it is written, like `0x1F`.
    Spelt(String),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Fields in the order of writing, each name once.
    Map(Vec<(Key, Node)>),
    /// A date or time, which only TOML has.
    Date,
}

impl Node {
    /// What it is, for messages: `a list`.
    pub fn kind(&self) -> &'static str {
        match self {
            Node::Null => "nothing",
            Node::Bool(_) => "true or false",
            Node::Whole(_) | Node::Spelt(_) => "a number",
            Node::Fraction(_) => "a number with a fraction",
            Node::Text(_) => "text",
            Node::List(_) => "a list",
            Node::Map(_) => "a table of fields",
            Node::Date => "a date",
        }
    }
}

impl Node {
    /// A text that is the same for documents that say the same, whatever their format, their order of
    /// fields and their comments, and another one for others. It holds whatever the document does, secrets
    /// too.
    pub fn canonical(&self) -> String {
        let mut text = String::new();
        self.write_canonical(&mut text);
        text
    }

    /// Each value begins with its kind and ends by itself, so that no two trees have one text.
    fn write_canonical(&self, text: &mut String) {
        let (kind, value) = match self {
            Node::Null => ('n', String::new()),
            Node::Bool(value) => ('b', value.to_string()),
            Node::Whole(value) => ('w', value.to_string()),
            Node::Fraction(value) => ('f', value.clone()),
            Node::Spelt(value) => ('s', value.clone()),
            Node::Text(value) => ('t', value.clone()),
            Node::Date => ('d', String::new()),
            Node::List(members) => ('l', members.iter().map(Node::canonical).collect()),
            Node::Map(fields) => {
                let mut fields: Vec<String> = fields
                    .iter()
                    .map(|(name, value)| {
                        Node::Text(name.to_string()).canonical() + &value.canonical()
                    })
                    .collect();
                fields.sort_unstable();
                ('m', fields.concat())
            }
        };
        text.push(kind);
        text.push_str(&value.len().to_string());
        text.push(':');
        text.push_str(&value);
    }
}

/// The name of a field, and where it stands. Two are equal that are the same name.
#[derive(Clone, Debug)]
pub struct Key {
    name: String,
    line: Option<usize>,
}

impl Key {
    /// At a line, from 1 on.
    pub(super) fn at_line(name: &str, line: usize) -> Self {
        Self { name: name.to_owned(), line: Some(line) }
    }

    /// Its line, from 1 on, where the format tells it.
    pub fn line(&self) -> Option<usize> {
        self.line
    }
}

impl From<String> for Key {
    fn from(name: String) -> Self {
        Self { name, line: None }
    }
}

impl Deref for Key {
    type Target = str;

    fn deref(&self) -> &str {
        &self.name
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Key {}

impl PartialEq<str> for Key {
    fn eq(&self, other: &str) -> bool {
        self.name == other
    }
}

/// Reads a [`Node`] at a depth.
#[derive(Clone, Copy)]
pub(super) struct AtDepth(pub(super) usize);

impl<'de> DeserializeSeed<'de> for AtDepth {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl AtDepth {
    fn deeper<E: de::Error>(self) -> Result<AtDepth, E> {
        if self.0 < DEPTH {
            Ok(AtDepth(self.0 + 1))
        } else {
            Err(E::custom(format_args!("nested deeper than {DEPTH} levels")))
        }
    }
}

impl<'de> Visitor<'de> for AtDepth {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Whole(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Whole(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Whole(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Fraction(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Text(value))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let deeper = self.deeper()?;
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element_seed(deeper)? {
            nodes.push(node);
        }
        Ok(Node::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let deeper = self.deeper()?;
        let mut fields = UniqueFields::default();
        while let Some(key) = map.next_key::<String>()? {
            fields.expect::<A::Error>(&key)?;
            let value = map.next_value_seed(deeper)?;
            fields.push(key, value);
        }
        Ok(fields.finish())
    }
}

/// Collects a map's fields and refuses a second one of a name.
#[derive(Default)]
struct UniqueFields {
    fields: Vec<(Key, Node)>,
    seen: BTreeSet<String>,
}

impl UniqueFields {
    /// Called before the value is read, so that the parser's position is that of the key.
    fn expect<E: de::Error>(&mut self, key: &str) -> Result<(), E> {
        if self.seen.insert(key.to_owned()) {
            Ok(())
        } else {
            let shown: String = key.chars().take(80).collect();
            Err(E::custom(format_args!("{shown:?} is given twice")))
        }
    }

    fn push(&mut self, key: String, value: Node) {
        self.fields.push((key.into(), value));
    }

    fn finish(self) -> Node {
        Node::Map(self.fields)
    }
}
