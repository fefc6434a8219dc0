//! Ports of a service by name, and what stands for them and for the instance in its texts.

use std::{borrow::Cow, collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use super::{Ordinal, upkeep::InvalidUpkeep};
use crate::{
    names::{HostName, ParamKey},
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

    /// Whether each port that a text speaks of is one of these.
    pub(super) fn check_text(&self, text: &str) -> Result<(), InvalidPort> {
        words(text).try_for_each(|word| match word {
            Word::Port(name) if !self.knows(&name) => Err(InvalidPort::Unknown(name)),
            _ => Ok(()),
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

    /// Parameters of an instance on this player: each value as [`Ports::fill`] has it.
    pub fn fill_params(
        &self,
        params: &Params,
        ordinal: Ordinal,
        player: &HostName,
    ) -> Result<Params, Unfilled> {
        let fill = |(key, value)| Ok((key, self.fill(value, ordinal, player)?));
        let pairs = params.iter().map(fill).collect::<Result<Vec<(&ParamKey, _)>, _>>();
        let pairs = pairs.map_err(Unfilled::Port)?;
        Params::from_pairs(pairs.into_iter().map(|(key, value)| (key.as_str(), value)))
            .map_err(Unfilled::Params)
    }
}

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
    /// The value of this parameter, in probes.
    Param(ParamKey),
}

/// The words of a text, in turn.
pub(super) fn words(mut rest: &str) -> impl Iterator<Item = Word<'_>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some((word, after)) = leading(rest) {
            rest = after;
            return Some(word);
        }
        // From the second byte on: what begins here stands for nothing.
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let next = rest[first..].find('{').map_or(rest.len(), |at| first + at);
        let (plain, after) = rest.split_at(next);
        rest = after;
        Some(Word::Plain(plain))
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
            ("ä{ß{ordinal}", "ä{ß7"),
            ("", ""),
        ] {
            assert_eq!(fill(text), Ok(filled.to_owned()), "{text}");
        }
        let unknown = InvalidPort::Unknown(PortName::new("ftp").unwrap());
        assert_eq!(fill("{port.ftp}"), Err(unknown.clone()));
        assert_eq!(ports.check_text("x{port.ftp}"), Err(unknown));
        assert_eq!(ports.check_text("{port.http}{port.x y}"), Ok(()));
    }
}
