//! YAML, with the spelling of its plain scalars.
//!
//! YAML guesses types: `0x1F` becomes 31 and `1.10` becomes 1.1. Where a value is meant as text,
//! that is a surprise. So each scalar is read with its place in the source, and what was guessed
//! is compared with what was written.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{MergeKeyPolicy, NonFiniteFloatPolicy, Spanned, options::DuplicateKeyPolicy};

use crate::node::{AtDepth, DEPTH, Key, Node};

/// Most times that aliases may repeat a node: generous for shared parameters, and no bomb.
const REPLAYED: usize = 200_000;

/// Most nodes: a flow of the largest size that is allowed has fewer.
const NODES: usize = 1_000_000;

/// Parses one document. The text's size is bounded by the caller.
pub(super) fn parse(text: &str) -> Result<Node, serde_saphyr::Error> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            // Two levels more than the tree takes, so that the tree's own message comes first.
            max_depth: DEPTH + 2,
            max_events: 3 * NODES,
            max_nodes: NODES,
            max_documents: 1,
            max_merge_keys: 10_000,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Merge,
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: REPLAYED,
        },
        // `yes`, `no`, `on` and `off` are text: that is what a parameter of that value means.
        strict_booleans: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    let tree: Spanned<Yaml> = serde_saphyr::from_str_with_options(text, options)?;
    Ok(resolve(tree, text))
}

/// A node whose scalars still have their places.
enum Yaml {
    Scalar(Node),
    List(Vec<Spanned<Yaml>>),
    Map(Vec<(Spanned<String>, Spanned<Yaml>)>),
}

/// Replaces numbers that are not written plainly by what is written.
fn resolve(node: Spanned<Yaml>, text: &str) -> Node {
    let span = node.defined.span();
    match node.value {
        Yaml::Scalar(scalar) => {
            let written = || {
                let start = usize::try_from(span.byte_offset()?).ok()?;
                let end = start.checked_add(usize::try_from(span.byte_len()?).ok()?)?;
                text.get(start..end).map(str::trim)
            };
            match scalar {
                Node::Whole(n) => match written() {
                    Some(written) if written != n.to_string() => Node::Spelt(written.to_owned()),
                    _ => Node::Whole(n),
                },
                other => other,
            }
        }
        Yaml::List(nodes) => {
            Node::List(nodes.into_iter().map(|node| resolve(node, text)).collect())
        }
        Yaml::Map(fields) => {
            let field = |(key, node)| (named(key), resolve(node, text));
            Node::Map(fields.into_iter().map(field).collect())
        }
    }
}

fn named(key: Spanned<String>) -> Key {
    match usize::try_from(key.defined.line()) {
        Ok(line) if line > 0 => Key::at_line(&key.value, line),
        _ => key.value.into(),
    }
}

impl<'de> Deserialize<'de> for Yaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalars)
    }
}

/// Scalars as [`AtDepth`] takes them; the parser's budget bounds the depth.
struct Scalars;

macro_rules! as_a_node {
    ($($visit:ident: $type:ty,)+) => {
        $(fn $visit<E: serde::de::Error>(self, value: $type) -> Result<Yaml, E> {
            AtDepth(0).$visit(value).map(Yaml::Scalar)
        })+
    };
}

impl<'de> Visitor<'de> for Scalars {
    type Value = Yaml;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        AtDepth(0).expecting(f)
    }

    as_a_node! {
        visit_bool: bool,
        visit_i64: i64,
        visit_u64: u64,
        visit_f64: f64,
        visit_str: &str,
        visit_string: String,
    }

    fn visit_unit<E>(self) -> Result<Yaml, E> {
        Ok(Yaml::Scalar(Node::Null))
    }

    fn visit_none<E>(self) -> Result<Yaml, E> {
        Ok(Yaml::Scalar(Node::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Yaml, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(Yaml::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Yaml, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            fields.push((key, map.next_value()?));
        }
        Ok(Yaml::Map(fields))
    }
}
