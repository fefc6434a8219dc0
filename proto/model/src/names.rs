//! Names: strict character sets, checked once. No name ever becomes a path by joining strings,
//! but every name here would survive it: none contains `/`, NUL, or starts with a dot.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use crate::limits;

/// Scores that are part of the player. No file can have such a name.
const BUILT_IN_SCORES: [&str; 2] = ["@deliver", "@activate"];

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} {:?}: {}", .kind, .text, .rule)]
pub struct InvalidName {
    /// What kind of name was wanted: `host name`, `score name`, …
    pub kind: &'static str,
    /// The text, shortened for showing.
    pub text: String,
    /// The rule that it breaks.
    pub rule: &'static str,
}

/// Makes a cheap-to-clone text type whose every value passed `$check`.
macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` against the rule of this kind of name.
            pub fn new(text: &str) -> Result<Self, InvalidName> {
                match $check(text) {
                    Ok(()) => Ok(Self(text.into())),
                    Err(rule) => Err(InvalidName { kind: $kind, text: shortened(text), rule }),
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name_type!(
    /// The name of a host, and so of the player on it: what its certificate says, lower case.
    ///
    /// Dot-separated labels of `[a-z0-9_-]` that start and end with a letter or digit, each of at
    /// most 63 bytes, at most [`limits::HOST_NAME_BYTES`] together (RFC 1123, section 2.1, with
    /// the underscore that real fleets use).
    HostName, "host name", check_host
);
name_type!(
    /// The name of a score: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`, and not `….conf`; or that of one which
    /// is part of every player, `@deliver` or `@activate`.
    ScoreName, "score name", check_score
);
name_type!(
    /// The name of a job, unique in its flow: the character set of a score's name.
    JobName, "job name", check_word
);
name_type!(
    /// The name of a flow, for people: the character set of a score's name.
    FlowName, "flow name", check_word
);
name_type!(
    /// The name of a group of hosts, or the key or value of a player's label.
    GroupName, "group name", check_word
);
name_type!(
    /// The name of a rule of a policy, or of a group of audiences: the character set of a score's
    /// name.
    RuleName, "rule name", check_word
);
name_type!(
    /// The key of a player's label: the character set of a score's name.
    LabelKey, "label key", check_word
);
name_type!(
    /// The value of a player's label, as the zone that it is in: the character set of a score's
    /// name.
    LabelValue, "label value", check_word
);
name_type!(
    /// The name of a deployment: the character set of a score's name, and none of `apps`, `envs`,
    /// `constraints`, which stand below it.
    DeploymentName, "deployment name", check_deployment
);
name_type!(
    /// The name of a service: a letter, then letters, digits, `.`, `_` or `-`, lower case, at most
    /// 64 bytes. No name of a host set's syntax and no id begins like it.
    ServiceName, "service name", check_service
);
name_type!(
    /// The name of a bundle: a letter, then letters, digits, `.`, `_` or `-`, lower case, at most 64
    /// bytes. It does not begin as a bundle's id does, with `sha256-`.
    BundleName, "bundle name", check_bundle
);
name_type!(
    /// The name of a place for bundles on a host: the character set of a bundle's name, for a place
    /// takes the bundles of its own name where its file names no others.
    PlaceName, "place name", check_bundle
);
name_type!(
    /// The name of an application of a deployment, and of the group `@NAME` that its hosts are:
    /// the character set of a score's name, and neither `all` (`@all` is every host) nor `inline`.
    AppName, "app name", check_app
);
name_type!(
    /// A type of environment, like `cluster`: the character set of a score's name.
    EnvType, "environment type", check_word
);
name_type!(
    /// A value of a type of environment, like `east`: the character set of a score's name, and not
    /// `inline`.
    EnvValue, "environment", check_env_value
);
name_type!(
    /// Who asks: the name in an audience certificate.
    AudienceName, "audience name", check_host
);
name_type!(
    /// The key of a parameter: `[A-Za-z_][A-Za-z0-9_]{0,63}`, case kept, and none of the names
    /// that Orchestra sets itself ([`RESERVED_KEYS`]). The score sees it as `ORC_<key>`.
    ParamKey, "parameter", check_key
);

/// What follows `ORC_` in the variables that Orchestra sets itself; refused as parameter keys.
///
/// `SPOOL` marks the processes of an attempt as those of one player, also where several share a
/// machine and their flows share numbers.
pub const RESERVED_KEYS: [&str; 18] = [
    "FLOW",
    "JOB",
    "TASK",
    "ATTEMPT",
    "PLAYER",
    "SCORE",
    "SCORE_DIR",
    "AUDIENCE",
    "SPOOL",
    "SERVICE",
    "INSTANCE",
    "ORDINAL",
    "VERSION",
    "PLACEMENT",
    "RUN",
    "RUN_DIR",
    "PARAMS_FILE",
    "STATE_DIR",
];

/// What Orchestra's own variables of trees begin with, behind `ORC_`; refused as well.
pub const TREE_KEYS: &str = "TREE_";

/// Cuts an unchecked text to what an error message can bear.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 80;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn check_service(text: &str) -> Result<(), &'static str> {
    check_word(text)?;
    if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err("it starts with a letter, in lower case");
    }
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("it has upper-case letters; names of services are lower case");
    }
    Ok(())
}

fn check_bundle(text: &str) -> Result<(), &'static str> {
    check_word(text)?;
    if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err("it starts with a letter, in lower case");
    }
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("it has upper-case letters; names of bundles are lower case");
    }
    if text.starts_with(crate::bundle::HASH_TAG) {
        return Err("it begins like the id of a bundle");
    }
    Ok(())
}

fn check_host(text: &str) -> Result<(), &'static str> {
    if is_host(text.as_bytes()) { Ok(()) } else { explain_host(text) }
}

impl HostName {
    /// A name of a text that [`HostName::is`].
    pub(crate) fn of_checked(text: &str) -> Self {
        debug_assert!(Self::is(text));
        Self(text.into())
    }

    /// Whether a text is the name of a host.
    pub(crate) fn is(text: &str) -> bool {
        is_host(text.as_bytes())
    }
}

/// The rule of a host name, with the part of it that the text breaks.
fn explain_host(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() > limits::HOST_NAME_BYTES {
        return Err("it is longer than 253 bytes");
    }
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("it has upper-case letters; names are lower case");
    }
    for label in text.split('.') {
        let bytes = label.as_bytes();
        let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
            return Err("it has an empty label (two dots in a row, or one at an end)");
        };
        if bytes.len() > 63 {
            return Err("it has a label longer than 63 bytes");
        }
        if !bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_')) {
            return Err("only a-z, 0-9, '-', '_' and '.' are allowed");
        }
        if !first.is_ascii_alphanumeric() || !last.is_ascii_alphanumeric() {
            return Err("each label starts and ends with a letter or digit");
        }
    }
    Ok(())
}

/// Whether these bytes are a host's name, in one pass, for whole fleets of names: without branches on
/// what the bytes are, which nobody can foretell.
fn is_host(name: &[u8]) -> bool {
    const NONE: u8 = 0;
    const ALPHANUMERIC: u8 = 1;
    const DASH: u8 = 2;
    const DOT: u8 = 4;
    const CLASSES: [u8; 256] = {
        let mut classes = [NONE; 256];
        let mut byte = 0;
        while byte < classes.len() {
            classes[byte] = match byte as u8 {
                b'a'..=b'z' | b'0'..=b'9' => ALPHANUMERIC,
                b'-' | b'_' => DASH,
                b'.' => DOT,
                _ => NONE,
            };
            byte += 1;
        }
        classes
    };
    // Before and behind a name is as if there were dots.
    let (mut fits, mut before) = (true, DOT);
    for &byte in name {
        let class = CLASSES[usize::from(byte)];
        fits &=
            class != NONE && (class | before) & DOT == 0 || class + before == DOT + ALPHANUMERIC;
        before = class;
    }
    let labels_fit = || name.split(|byte| *byte == b'.').all(|label| label.len() <= 63);
    fits && before == ALPHANUMERIC
        && (name.len() <= 63 || name.len() <= limits::HOST_NAME_BYTES && labels_fit())
}

fn check_word(text: &str) -> Result<(), &'static str> {
    let Some(first) = text.bytes().next() else {
        return Err("it is empty");
    };
    if text.len() > limits::NAME_BYTES {
        return Err("it is longer than 64 bytes");
    }
    if !first.is_ascii_alphanumeric() {
        return Err("it starts with a letter or digit");
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
        return Err("only letters, digits, '.', '_' and '-' are allowed");
    }
    Ok(())
}

fn check_score(text: &str) -> Result<(), &'static str> {
    if BUILT_IN_SCORES.contains(&text) {
        return Ok(());
    }
    check_word(text)?;
    if text.ends_with(".conf") {
        return Err("a name that ends in .conf is a configuration, not a score");
    }
    Ok(())
}

fn check_deployment(text: &str) -> Result<(), &'static str> {
    check_word(text)?;
    if ["apps", "envs", "constraints"].contains(&text) {
        return Err("this belongs below the name of a deployment");
    }
    Ok(())
}

fn check_app(text: &str) -> Result<(), &'static str> {
    if text == "all" {
        return Err("@all is every host there is");
    }
    check_env_value(text)
}

fn check_env_value(text: &str) -> Result<(), &'static str> {
    check_word(text)?;
    if text == "inline" {
        return Err("inline comes before hosts, it is no name");
    }
    Ok(())
}

fn check_key(text: &str) -> Result<(), &'static str> {
    let Some(first) = text.bytes().next() else {
        return Err("it is empty");
    };
    if text.len() > limits::NAME_BYTES {
        return Err("it is longer than 64 bytes");
    }
    if first.is_ascii_digit() || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err("a key is letters, digits and '_', and does not start with a digit");
    }
    if RESERVED_KEYS.contains(&text) || text.starts_with(TREE_KEYS) {
        return Err("Orchestra sets this one itself");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_follow_rfc_1123() {
        for good in ["a", "db1", "fe1.east.example.com", "x--y", "a_b.c"] {
            assert!(HostName::new(good).is_ok(), "{good}");
        }
        let long_label = "a".repeat(64);
        let long = format!("{}.{}", "a.".repeat(126), "bb");
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a",
            "a-",
            "A",
            "a/b",
            "a\0",
            "../a",
            "ä",
            &long_label,
            &long,
        ] {
            assert!(HostName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_quick_rule_of_host_names_is_the_explained_one() {
        let check = |text: &str| {
            assert_eq!(is_host(text.as_bytes()), explain_host(text).is_ok(), "{text:?}");
        };
        let mut texts = vec![String::new()];
        for _ in 0..5 {
            texts.iter().for_each(|text| check(text));
            let longer =
                |text: &String| ["a", "1", "-", "_", ".", "A", "ä"].map(|c| text.clone() + c);
            texts = texts.iter().flat_map(longer).collect();
        }
        for length in [62, 63, 64] {
            let label = "a".repeat(length);
            check(&label);
            check(&format!("{label}.b"));
            check(&format!("b.{label}"));
            check(&format!("{}.{}", "a.".repeat(94), label));
        }
    }

    #[test]
    fn no_name_can_leave_a_directory() {
        for bad in ["../x", ".", "..", "a/b", "a\0b", "", ".hidden", "x y", "-rf", "a\n"] {
            assert!(ScoreName::new(bad).is_err(), "{bad:?}");
            assert!(JobName::new(bad).is_err(), "{bad:?}");
            assert!(HostName::new(bad).is_err(), "{bad:?}");
            assert!(ParamKey::new(bad).is_err(), "{bad:?}");
        }
        assert!(ScoreName::new("load.conf").is_err());
    }

    #[test]
    fn reserved_keys_are_refused_as_they_are_and_only_so() {
        for key in RESERVED_KEYS {
            assert!(ParamKey::new(key).is_err(), "{key}");
            assert!(ParamKey::new(&key.to_lowercase()).is_ok(), "{key}");
        }
        assert!(ParamKey::new("TREE_PARENT").is_err() && ParamKey::new("TREE").is_ok());
    }

    #[test]
    fn words_of_deployment_files_are_no_names_where_they_could_be_confused() {
        for word in ["apps", "envs", "constraints"] {
            assert!(DeploymentName::new(word).is_err() && AppName::new(word).is_ok(), "{word}");
        }
        assert!(AppName::new("all").is_err() && EnvValue::new("all").is_ok());
        assert!(AppName::new("inline").is_err() && EnvValue::new("inline").is_err());
        assert!(EnvType::new("inline").is_ok() && EnvType::new("a b").is_err());
    }

    #[test]
    fn a_long_text_is_shortened_in_the_error() {
        let error = HostName::new(&"ä".repeat(10_000)).unwrap_err();
        assert!(error.to_string().len() < 400);
    }
}
