//! Which format a document is in, and reading it.

use std::path::Path;

use serde::de::DeserializeSeed as _;

use crate::{
    node::{AtDepth, Node},
    toml, yaml,
};

/// A format of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 8259.
    Json,
    /// YAML 1.2, where `yes` and `on` are text.
    Yaml,
    /// TOML 1.0.
    Toml,
}

impl Format {
    /// By a file's extension; `None` where it says nothing.
    pub fn of_path(path: &Path) -> Option<Format> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "json" => Some(Format::Json),
            "yaml" | "yml" => Some(Format::Yaml),
            "toml" => Some(Format::Toml),
            _ => None,
        }
    }

    /// By the first line that says something: `{` is JSON, `[` or `key =` is TOML, anything else
    /// is YAML.
    pub fn sniff(text: &str) -> Format {
        let line = text
            .trim_start_matches('\u{feff}')
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty() && !line.starts_with('#'))
            .unwrap_or_default();
        let is_key = |key: &str| {
            !key.is_empty()
                && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        if line.starts_with('{') {
            Format::Json
        } else if line.starts_with('[')
            || line.split_once('=').is_some_and(|(key, _)| is_key(key.trim_end()))
        {
            Format::Toml
        } else {
            Format::Yaml
        }
    }

    /// Its name, for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Json => "JSON",
            Format::Yaml => "YAML",
            Format::Toml => "TOML",
        }
    }

    /// Reads the tree. The text's size is bounded by the caller; depth and repetition are here.
    pub fn parse(self, text: &str) -> Result<Node, Malformed> {
        // The mark that some editors put at the start of a file.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        match self {
            Format::Json => {
                let mut json = serde_json::Deserializer::from_str(text);
                let node = AtDepth(0).deserialize(&mut json)?;
                json.end()?;
                Ok(node)
            }
            Format::Yaml => yaml::parse(text).map_err(|error| Malformed::of_yaml(&error, text)),
            Format::Toml => toml::parse(text).map_err(|error| Malformed::of_toml(&error, text)),
        }
    }
}

/// Why a text is not a document of its format, with line and column where they are known.
#[derive(Debug, thiserror::Error)]
pub struct Malformed {
    text: String,
    /// It holds a second document.
    is_two: bool,
}

impl Malformed {
    fn new(text: String) -> Self {
        Self { text, is_two: false }
    }

    /// Whether the text is of several documents, of which one is read.
    pub fn is_several(&self) -> bool {
        self.is_two
    }
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<serde_json::Error> for Malformed {
    fn from(error: serde_json::Error) -> Self {
        Malformed::new(error.to_string())
    }
}

impl Malformed {
    /// In one line: the library's own text shows the line below.
    fn of_toml(error: &::toml::de::Error, text: &str) -> Self {
        let said = error.message().replace('\n', ", ");
        let before = error.span().and_then(|span| text.get(..span.start));
        Malformed::new(match before {
            Some(before) => {
                let line = before.matches('\n').count() + 1;
                let begin = before.rfind('\n').map_or(0, |at| at + 1);
                let column = before[begin..].chars().count() + 1;
                format!("{said} at line {line}, column {column}")
            }
            None => said,
        })
    }

    /// The library's own words advise whoever calls it, where ours advise whoever wrote the text.
    fn of_yaml(error: &serde_saphyr::Error, text: &str) -> Self {
        use serde_saphyr::{Error, budget::BudgetBreach};
        let place = |location: &serde_saphyr::Location| {
            format!("line {}, column {}", location.line(), location.column())
        };
        let is_two = matches!(
            error,
            Error::MultipleDocuments { .. }
                | Error::Budget { breach: BudgetBreach::Documents { .. }, .. }
        );
        let text = match error {
            Error::DuplicateMappingKey { key, location } => {
                let key = key
                    .as_deref()
                    .map_or_else(|| "a key".to_owned(), |key| format!("the key {key:?}"));
                format!("{key} is given twice at {}", place(location))
            }
            Error::MultipleDocuments { location, .. }
            | Error::Budget { breach: BudgetBreach::Documents { .. }, location } => format!(
                "a second document begins at {}; a file holds one, so leave out what follows the \
                 second `---`, or make it a file of its own",
                place(location)
            ),
            error => {
                let said = error.to_string().trim_end().to_owned();
                let line = error.location().and_then(|location| {
                    text.lines().nth(usize::try_from(location.line()).ok()?.checked_sub(1)?)
                });
                match line.and_then(unquoted_word) {
                    Some(word) => {
                        format!("{said}; YAML wants what begins with @ in quotes: \"{word}\"")
                    }
                    None => said,
                }
            }
        };
        Malformed { text, is_two }
    }
}

/// A value that begins with `@` where YAML has it begin with a letter.
fn unquoted_word(line: &str) -> Option<&str> {
    let begins = |at: usize| {
        let before = line[..at].trim_end();
        before.ends_with([':', '-', ',', '[', '{']) || before.is_empty()
    };
    let (at, _) = line.match_indices('@').find(|(at, _)| begins(*at))?;
    let word = &line[at..];
    let end = word.find(|c: char| c.is_whitespace() || matches!(c, ',' | '}' | ']'));
    Some(&word[..end.unwrap_or(word.len())])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Key;

    fn map(fields: &[(&str, Node)]) -> Node {
        Node::Map(
            fields.iter().map(|(key, node)| (Key::from((*key).to_owned()), node.clone())).collect(),
        )
    }

    fn text(text: &str) -> Node {
        Node::Text(text.to_owned())
    }

    #[test]
    fn three_formats_make_one_tree() {
        let expected = map(&[
            ("a", Node::Whole(5)),
            ("b", text("x")),
            ("c", Node::List(vec![Node::Bool(true), Node::Whole(-1)])),
            ("d", map(&[("e", text("5"))])),
        ]);
        let json = r#"{"a": 5, "b": "x", "c": [true, -1], "d": {"e": "5"}}"#;
        let yaml = "a: 5\nb: x\nc: [true, -1]\nd: {e: '5'}\n";
        let toml = "a = 5\nb = 'x'\nc = [true, -1]\n[d]\ne = '5'\n";
        for (format, source) in [(Format::Json, json), (Format::Yaml, yaml), (Format::Toml, toml)] {
            assert!(format.parse(source).unwrap() == expected, "{format:?}");
            assert_eq!(Format::sniff(source), format);
        }
    }

    #[test]
    fn the_mark_of_an_editor_is_no_part_of_a_document() {
        for (format, source) in
            [(Format::Json, "{\"a\": 5}"), (Format::Yaml, "a: 5\n"), (Format::Toml, "a = 5\n")]
        {
            let marked = format!("\u{feff}{source}");
            assert!(format.parse(&marked).unwrap() == map(&[("a", Node::Whole(5))]), "{format:?}");
            assert_eq!(Format::sniff(&marked), format);
        }
    }

    #[test]
    fn a_key_is_given_once() {
        for (format, source) in [
            (Format::Json, r#"{"a": 1, "a": 2}"#),
            (Format::Yaml, "a: 1\na: 2\n"),
            (Format::Toml, "a = 1\na = 2\n"),
        ] {
            assert!(format.parse(source).is_err(), "{format:?}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(Format::Json.parse(&deep(16)).is_ok());
        assert!(Format::Yaml.parse(&deep(16)).is_ok());
        for n in [19, 1_000, 100_000] {
            assert!(Format::Json.parse(&deep(n)).is_err());
            assert!(Format::Yaml.parse(&deep(n)).is_err());
            assert!(Format::Toml.parse(&format!("a = {}", deep(n))).is_err());
        }
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..9 {
            let alias = format!("*a{}, ", n - 1).repeat(10);
            bomb.push_str(&format!("a{n}: &a{n} [{alias}]\n"));
        }
        assert!(Format::Yaml.parse(&bomb).is_err());
    }

    #[test]
    fn yaml_numbers_keep_their_spelling() {
        let source = "a: 0x1F\nb: 007\nc: 1.10\nd: 12\ne: yes\nf: '12'\ng: +5\n";
        let Node::Map(fields) = Format::Yaml.parse(source).unwrap() else { panic!() };
        let kinds: Vec<&str> = fields.iter().map(|(_, node)| node.kind()).collect();
        assert!(fields[0].1 == Node::Spelt("0x1F".to_owned()));
        assert!(fields[3].1 == Node::Whole(12));
        assert!(fields[4].1 == text("yes"));
        assert!(fields[5].1 == text("12"));
        assert_eq!(kinds[2], "a number with a fraction");
        // Neither may pass as 7 or 5.
        assert!(fields[1].1 != Node::Whole(7) && fields[6].1 != Node::Whole(5));
    }

    #[test]
    fn what_does_not_parse_says_where() {
        let error = |format: Format, source: &str| match format.parse(source) {
            Ok(_) => panic!("{source:?} was taken"),
            Err(error) => error.to_string(),
        };
        assert!(error(Format::Json, "{\"a\": }").contains("line 1 column 7"));
        assert!(error(Format::Yaml, "a: [1, 2\nb: 3\n").contains("line"));
        assert!(error(Format::Toml, "a = \n").contains("line 1"));
        let two = error(Format::Yaml, "---\na: []\n---\nb: 2\n");
        assert!(two.starts_with("a second document begins at line"), "{two}");
        assert!(!two.contains("from_"), "{two}");
        for (source, word) in [
            ("a:\n  - {name: a, targets: @all}\n", "\"@all\""),
            ("a: @frontend\n", "\"@frontend\""),
            ("a:\n- @rack=r7\n", "\"@rack=r7\""),
            ("a: [@x, b]\n", "\"@x\""),
        ] {
            let told = error(Format::Yaml, source);
            let hint = format!("YAML wants what begins with @ in quotes: {word}");
            assert!(told.ends_with(&hint), "{source}: {told}");
        }
        let twice = error(Format::Yaml, "a:\n  b: 1\n  b: 2\n");
        assert_eq!(twice, "the key \"b\" is given twice at line 3, column 3");
        let odd = error(Format::Yaml, "? [x]\n: 1\n? [x]\n: 2\n");
        assert!(!odd.contains("Policy"), "{odd}");
    }
}
