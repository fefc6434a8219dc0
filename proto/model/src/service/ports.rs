//! Ports of a service by name, and what stands for them and for the instance in its texts.

use std::{borrow::Cow, collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use super::{Ordinal, upkeep::InvalidUpkeep};
use crate::{
    names::{HostName, ParamKey},
    nearest::nearest,
    params::{InvalidParams, Params},
    whole,
};

/// Longest name of a port, in bytes.
pub const PORT_NAME_BYTES: usize = 32;
/// Most ports of a service.
pub const PORTS: usize = 16;
/// What follows a number to say that each instance has a port of its own.
const BY_ORDINAL: &str = "+{ordinal}";

/// What a service calls one of its ports: a letter, then letters, digits and `-`, in lower case, at most
/// [`PORT_NAME_BYTES`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortName(Arc<str>);

/// Which port an instance has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRule {
    /// The port, from 1; where there is one for each instance, that of an ordinal 0, also from 1.
    pub number: u16,
    /// Whether the instance's ordinal is added to it.
    pub by_ordinal: bool,
}

/// The ports of a service, by name; at most [`PORTS`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports(BTreeMap<PortName, PortRule>);

/// Why there is no such port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidPort {
    /// Its name is none.
    Name,
    /// It is no port.
    Rule,
    /// The service has none of this name.
    Unknown(PortName),
    /// Its number would be too high for this instance.
    TooHigh(PortName, Ordinal),
}

impl fmt::Display for InvalidPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => write!(
                f,
                "expected the name of a port: a letter, then letters, digits and -, in lower case, \
                 at most {PORT_NAME_BYTES} bytes"
            ),
            Self::Rule => {
                write!(
                    f,
                    "expected a port from 1 to 65535, or one for each instance: \"8000{BY_ORDINAL}\""
                )
            }
            Self::Unknown(name) => write!(f, "{{port.{name}}}: ports names no {name}"),
            Self::TooHigh(name, ordinal) => {
                write!(f, "port {name} of instance {ordinal} would be above 65535")
            }
        }
    }
}

impl std::error::Error for InvalidPort {}

impl PortName {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, InvalidPort> {
        let is_known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let is_name = name.len() <= PORT_NAME_BYTES
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(is_known);
        if is_name { Ok(PortName(name.into())) } else { Err(InvalidPort::Name) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PortRule {
    /// The port of an instance; `None` where there is none so high.
    pub fn of(self, ordinal: Ordinal) -> Option<u16> {
        match self.by_ordinal {
            true => self.number.checked_add(u16::try_from(ordinal.0).ok()?),
            false => Some(self.number),
        }
    }
}

/// Reads `8080`, or `8000+{ordinal}`.
impl FromStr for PortRule {
    type Err = InvalidPort;

    fn from_str(text: &str) -> Result<Self, InvalidPort> {
        let before = text.strip_suffix(BY_ORDINAL);
        let number = before.unwrap_or(text);
        let number = whole(number).filter(|number| *number > 0);
        let rule = number.map(|number| PortRule { number, by_ordinal: before.is_some() });
        rule.ok_or(InvalidPort::Rule)
    }
}

impl fmt::Display for PortRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.number, if self.by_ordinal { BY_ORDINAL } else { "" })
    }
}

impl FromIterator<(PortName, PortRule)> for Ports {
    fn from_iter<I: IntoIterator<Item = (PortName, PortRule)>>(ports: I) -> Self {
        Ports(ports.into_iter().collect())
    }
}

impl Ports {
    /// The ports, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&PortName, PortRule)> {
        self.0.iter().map(|(name, rule)| (name, *rule))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The port of this name that an instance has.
    pub fn of(&self, name: &PortName, ordinal: Ordinal) -> Result<u16, InvalidPort> {
        let rule = self.0.get(name).ok_or_else(|| InvalidPort::Unknown(name.clone()))?;
        rule.of(ordinal).ok_or_else(|| InvalidPort::TooHigh(name.clone(), ordinal))
    }

    pub(super) fn knows(&self, name: &PortName) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn check(&self) -> Result<(), InvalidUpkeep> {
        let wrong = |problem| Err(InvalidUpkeep { field: "ports", problem });
        if self.0.len() > PORTS {
            return wrong("there are more than 16");
        }
        if self.0.values().any(|rule| rule.number == 0) {
            return wrong("no port is 0");
        }
        Ok(())
    }

    /// Checks that what stands in braces in the value of a parameter stands for something: a port of
    /// these, or one of `params` in whose own value no parameter stands.
    pub(super) fn check_value(&self, value: &str, params: &Params) -> Result<(), InvalidValue> {
        words_at(value).try_for_each(|(at, word)| match word {
            Word::Port(name) if !self.knows(&name) => {
                Err(InvalidValue::Port(InvalidPort::Unknown(name)))
            }
            Word::Param(key) => check_named(value, at, key, params),
            Word::Port(_) | Word::Plain(_) | Word::Ordinal | Word::Player => Ok(()),
        })
    }

    /// A text in which `{ordinal}`, `{player}` and `{port.NAME}` stand for what they are of an
    /// instance on this player. Other braces are left as they are.
    pub fn fill<'a>(
        &self,
        text: &'a str,
        ordinal: Ordinal,
        player: &HostName,
    ) -> Result<Cow<'a, str>, InvalidPort> {
        if !text.contains('{') {
            return Ok(Cow::Borrowed(text));
        }
        let mut filled = String::with_capacity(text.len());
        for word in words(text) {
            match word {
                Word::Plain(plain) => filled.push_str(plain),
                Word::Param(key) => filled.push_str(&format!("{{{key}}}")),
                Word::Ordinal => filled.push_str(&ordinal.to_string()),
                Word::Player => filled.push_str(player.as_str()),
                Word::Port(name) => filled.push_str(&self.of(&name, ordinal)?.to_string()),
            }
        }
        Ok(Cow::Owned(filled))
    }

    /// Parameters of an instance on this player: each value as [`Ports::fill`] has it, and `{KEY}`
    /// stands for the value of that parameter, which is filled as well. A value that was put in is
    /// not read again.
    pub fn fill_params(
        &self,
        params: &Params,
        ordinal: Ordinal,
        player: &HostName,
    ) -> Result<Params, Unfilled> {
        let own = |(key, value)| Ok((key, self.fill(value, ordinal, player)?));
        let own = params.iter().map(own).collect::<Result<BTreeMap<_, _>, _>>();
        let own = own.map_err(Unfilled::Port)?;
        let fill = |(key, value)| Ok((key, self.fill_all(value, ordinal, player, &own)?));
        let pairs = params.iter().map(fill).collect::<Result<Vec<(&ParamKey, _)>, _>>();
        let pairs = pairs.map_err(Unfilled::Port)?;
        Params::from_pairs(pairs.into_iter().map(|(key, value)| (key.as_str(), value)))
            .map_err(Unfilled::Params)
    }

    /// A text in which parameters stand for these values as well.
    fn fill_all(
        &self,
        text: &str,
        ordinal: Ordinal,
        player: &HostName,
        values: &BTreeMap<&ParamKey, Cow<'_, str>>,
    ) -> Result<String, InvalidPort> {
        let mut all = String::with_capacity(text.len());
        for word in words(text) {
            match word {
                Word::Plain(plain) => all.push_str(plain),
                Word::Ordinal => all.push_str(&ordinal.to_string()),
                Word::Player => all.push_str(player.as_str()),
                Word::Port(name) => all.push_str(&self.of(&name, ordinal)?.to_string()),
                Word::Param(key) => match values.get(&key) {
                    Some(value) => all.push_str(value),
                    // Such a spec is refused before it gets here.
                    None => all.push_str(&format!("{{{key}}}")),
                },
            }
        }
        Ok(all)
    }
}

/// The parameters that stand in a text.
pub fn params_in(text: &str) -> impl Iterator<Item = ParamKey> {
    words(text).filter_map(|word| match word {
        Word::Param(key) => Some(key),
        _ => None,
    })
}

/// Checks a parameter that stands in the value of another.
fn check_named(value: &str, at: usize, key: ParamKey, params: &Params) -> Result<(), InvalidValue> {
    let at = value.get(..at).map_or(0, |before| before.chars().count()) + 1;
    match params.get(key.as_str()) {
        Some(own) if params_in(own).next().is_none() => Ok(()),
        Some(_) => Err(InvalidValue::Nested { at, key }),
        None => {
            let meant = nearest(key.as_str(), params.iter().map(|(known, _)| known.as_str()));
            let meant = meant.map(str::to_owned);
            Err(InvalidValue::Unknown { at, key, meant })
        }
    }
}

/// Why what stands in braces in the value of a parameter stands for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidValue {
    /// It is no port of the service.
    Port(InvalidPort),
    /// There is no parameter of this name.
    Unknown {
        /// Which character of the value its brace is, from 1.
        at: usize,
        key: ParamKey,
        /// The name that may have been meant.
        meant: Option<String>,
    },
    /// Another parameter stands in the value of this one.
    Nested {
        /// Which character of the value its brace is, from 1.
        at: usize,
        key: ParamKey,
    },
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(cause) => cause.fmt(f),
            Self::Unknown { at, key, meant } => {
                write!(f, "{{{key}}} at character {at}: there is no parameter {key}")?;
                if let Some(meant) = meant {
                    write!(f, "; did you mean {meant}?")?;
                }
                write!(f, "; braces that stand for nothing are written \\{{{key}}}")
            }
            Self::Nested { at, key } => write!(
                f,
                "{{{key}}} at character {at}: a parameter stands in the value of {key}, so that it \
                 can stand in no other"
            ),
        }
    }
}

impl std::error::Error for InvalidValue {}

/// Why parameters cannot be those of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfilled {
    /// One speaks of a port that there is not.
    Port(InvalidPort),
    /// They are too long once they are filled.
    Params(InvalidParams),
}

impl fmt::Display for Unfilled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(cause) => cause.fmt(f),
            Self::Params(cause) => cause.fmt(f),
        }
    }
}

impl std::error::Error for Unfilled {}

/// What a text is made of.
pub(super) enum Word<'a> {
    Plain(&'a str),
    Ordinal,
    Player,
    Port(PortName),
    /// The value of this parameter.
    Param(ParamKey),
}

/// The words of a text, in turn.
pub(super) fn words(text: &str) -> impl Iterator<Item = Word<'_>> {
    words_at(text).map(|(_, word)| word)
}

/// The words of a text, each with the byte of the text at which it begins.
fn words_at(text: &str) -> impl Iterator<Item = (usize, Word<'_>)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let at = text.len() - rest.len();
        if let Some((word, after)) = leading(rest) {
            rest = after;
            return Some((at, word));
        }
        // What follows a backslash stands for itself, where it would stand for something else.
        if let Some(quoted) = rest.strip_prefix('\\')
            && let Some((_, after)) = leading(quoted)
        {
            rest = after;
            return Some((at, Word::Plain(&quoted[..quoted.len() - after.len()])));
        }
        // From the second byte on: what begins here stands for nothing.
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let next = rest[first..].find(['{', '\\']).map_or(rest.len(), |at| first + at);
        let (plain, after) = rest.split_at(next);
        rest = after;
        Some((at, Word::Plain(plain)))
    })
}

/// What a text begins with that stands for something else, and what follows it.
fn leading(text: &str) -> Option<(Word<'_>, &str)> {
    let (inner, after) = text.strip_prefix('{')?.split_once('}')?;
    let word = match inner {
        "ordinal" => Word::Ordinal,
        "player" => Word::Player,
        _ => match inner.strip_prefix("port.") {
            Some(name) => Word::Port(PortName::new(name).ok()?),
            None => Word::Param(ParamKey::new(inner).ok()?),
        },
    };
    Some((word, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(all: &[(&str, &str)]) -> Ports {
        all.iter()
            .map(|(name, rule)| (PortName::new(name).unwrap(), rule.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_port_is_one_number_or_one_for_each_instance() {
        for text in ["8080", "1", "65535", "8000+{ordinal}"] {
            assert_eq!(text.parse::<PortRule>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "0",
            "65536",
            "-1",
            "+1",
            "{ordinal}",
            "80{ordinal}",
            "8000 + {ordinal}",
            "0+{ordinal}",
        ] {
            assert_eq!(bad.parse::<PortRule>(), Err(InvalidPort::Rule), "{bad}");
        }
        let rule: PortRule = "65530+{ordinal}".parse().unwrap();
        let of = |ordinal| rule.of(Ordinal(ordinal));
        assert_eq!((of(5), of(6), of(u32::MAX)), (Some(65_535), None, None));
        for bad in ["", "Http", "1a", "a_b", "a.b", "-a", &"a".repeat(33)] {
            assert_eq!(PortName::new(bad), Err(InvalidPort::Name), "{bad}");
        }
    }

    #[test]
    fn what_stands_for_something_is_replaced_and_nothing_else() {
        let ports = ports(&[("http", "8000+{ordinal}"), ("admin", "9")]);
        let player = HostName::new("db1").unwrap();
        let fill = |text| ports.fill(text, Ordinal(7), &player).map(Cow::into_owned);
        for (text, filled) in [
            ("plain", "plain"),
            ("{ordinal}", "7"),
            ("web-{ordinal}.{player}:{port.http}/{port.admin}", "web-7.db1:8007/9"),
            ("{{ordinal}}", "{7}"),
            ("{\"a\": {}}", "{\"a\": {}}"),
            ("{Ordinal} {port} {port.} {PORT.http}", "{Ordinal} {port} {port.} {PORT.http}"),
            ("{ordinal", "{ordinal"),
            (r"\{ordinal} \\{ordinal} \{\} \x", r"{ordinal} \{ordinal} \{\} \x"),
            ("ä{ß{ordinal}", "ä{ß7"),
            ("", ""),
        ] {
            assert_eq!(fill(text), Ok(filled.to_owned()), "{text}");
        }
        let unknown = InvalidPort::Unknown(PortName::new("ftp").unwrap());
        assert_eq!(fill("{port.ftp}"), Err(unknown.clone()));
        let check = |text| ports.check_value(text, &Params::default());
        assert_eq!(check("x{port.ftp}"), Err(InvalidValue::Port(unknown)));
        assert_eq!(check("{port.http}{port.x y}"), Ok(()));
    }

    fn params(pairs: &[(&str, &str)]) -> Params {
        Params::from_pairs(pairs.iter().copied()).unwrap()
    }

    #[test]
    fn parameters_stand_in_others_and_are_read_once() {
        let ports = ports(&[("http", "8000+{ordinal}")]);
        let player = HostName::new("db1").unwrap();
        let given = params(&[
            ("at", "{name}:{port.http}/{name}"),
            ("literal", r"\{name} {} {"),
            ("name", "web-{ordinal}"),
            ("quoted", "<{literal}>"),
        ]);
        let filled = ports.fill_params(&given, Ordinal(3), &player).unwrap();
        for (key, value) in [
            ("at", "web-3:8003/web-3"),
            ("literal", "{name} {} {"),
            ("name", "web-3"),
            ("quoted", "<{name} {} {>"),
        ] {
            assert_eq!(filled.get(key), Some(value), "{key}");
        }
        for (_, value) in given.iter() {
            assert_eq!(ports.check_value(value, &given), Ok(()), "{value}");
        }
        assert!(
            params_in(given.get("at").unwrap()).map(|key| key.to_string()).eq(["name", "name"])
        );
        // What grows beyond the bounds of parameters is refused.
        let long = "x".repeat(crate::limits::PARAM_VALUE_BYTES);
        let given = params(&[("a", &long), ("b", "{a}{a}")]);
        let refused = ports.fill_params(&given, Ordinal(3), &player).unwrap_err();
        assert!(matches!(refused, Unfilled::Params(_)), "{refused:?}");
    }

    #[test]
    fn what_stands_for_no_parameter_is_refused_with_its_place() {
        let given = params(&[("a", "ä{nmae}"), ("name", "x"), ("b", "{name}"), ("c", "{b}")]);
        let said = |key: &str| {
            let value = given.get(key).unwrap();
            Ports::default().check_value(value, &given).unwrap_err().to_string()
        };
        assert_eq!(
            said("a"),
            "{nmae} at character 2: there is no parameter nmae; did you mean name?; braces that \
             stand for nothing are written \\{nmae}"
        );
        assert_eq!(
            said("c"),
            "{b} at character 1: a parameter stands in the value of b, so that it can stand in no \
             other"
        );
        // Itself too.
        let given = params(&[("a", "{a}")]);
        assert!(Ports::default().check_value("{a}", &given).is_err());
    }
}
