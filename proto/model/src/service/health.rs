//! Health: what is asked of a run from outside, how often, and how many answers make a verdict.

use std::{fmt, str::FromStr, sync::Arc};

use super::{InvalidPort, Ordinal, PortName, Ports, ports::Word, ports::words};
use crate::{
    names::{HostName, ParamKey, ScoreName},
    params::Params,
    service::InvalidUpkeep,
    time::Millis,
    whole,
};

/// Longest name of a socket in a run directory, in bytes: its whole path has to fit into the 107 that
/// an address of a UNIX socket has.
pub const SOCKET_NAME_BYTES: usize = 64;
/// Longest path that is asked for, in bytes.
pub const PATH_BYTES: usize = 256;
/// Most answers in a row that a verdict may need.
const MOST_IN_A_ROW: u32 = 1_000;
/// The least that may lie between two probes of a unit.
const LEAST_EVERY: Millis = Millis(100);
/// The least and the most that a probe may take.
const TIMEOUTS: (Millis, Millis) = (Millis(10), Millis::seconds(60));

/// How it is found out whether a run that is ready is healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthRule {
    /// What is asked.
    pub probe: Probe,
    /// How much time lies between two probes.
    pub every: Millis,
    /// How long a probe may take; what takes longer has failed.
    pub timeout: Millis,
    /// After so many failures in a row the unit is unhealthy.
    pub fall: u32,
    /// After so many successes in a row it is healthy again.
    pub rise: u32,
}

impl HealthRule {
    /// The usual rule for a probe.
    pub fn new(probe: Probe) -> Self {
        let (every, timeout) = (Millis::seconds(10), Millis::seconds(1));
        Self { probe, every, timeout, fall: 3, rise: 2 }
    }

    pub(super) fn check(&self) -> Result<(), InvalidUpkeep> {
        let wrong = |field, problem| Err(InvalidUpkeep { field, problem });
        if self.every < LEAST_EVERY {
            return wrong("health.every", "it is less than 100ms");
        }
        if !(TIMEOUTS.0..=TIMEOUTS.1).contains(&self.timeout) {
            return wrong("health.timeout", "it is not from 10ms to 1m");
        }
        if self.timeout > self.every {
            return wrong("health.timeout", "it is longer than health.every");
        }
        if !(1..=MOST_IN_A_ROW).contains(&self.fall) {
            return wrong("health.fall", "it is not from 1 to 1000");
        }
        if !(1..=MOST_IN_A_ROW).contains(&self.rise) {
            return wrong("health.rise", "it is not from 1 to 1000");
        }
        Ok(())
    }
}

/// What is asked of a run, on its own host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Something takes connections there.
    Tcp(Target),
    /// A GET of this path is answered there with a status from 200 to 399 (HTTP/1.1).
    Http(Target, HttpPath),
    /// This score, a *check*, run beside it as its user, exits with code 0.
    Score(ScoreName),
}

/// Where something is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// This port of 127.0.0.1, from 1.
    Port(u16),
    /// The port of this name of the service; its sitter puts the number of its instance in its place.
    Named(PortName),
    /// The socket of this name in the run directory of the unit (`ORC_RUN_DIR`).
    Unix(SocketName),
    /// What becomes one of the others once the values of an instance are in it.
    Open(OpenTarget),
}

/// A port, or `unix:` with the name of a socket, in which `{ordinal}`, `{player}`, `{port.NAME}` or
/// `{KEY}`, the value of a parameter, stand for something; at most [`PATH_BYTES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenTarget(Arc<str>);

/// What stands for something in the probes of one instance.
#[derive(Clone, Copy)]
pub struct OfInstance<'a> {
    pub ordinal: Ordinal,
    pub player: &'a HostName,
    /// Its parameters, with what stood for something in them replaced.
    pub params: &'a Params,
    /// Whether a parameter is certainly no secret. Others get into no probe: who answers at a port
    /// may be anybody.
    pub is_open: &'a dyn Fn(&ParamKey) -> bool,
}

/// Why an instance cannot be probed as its service says. No value of a parameter is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unprobeable {
    #[error(transparent)]
    Port(#[from] InvalidPort),
    /// A parameter may be a secret.
    #[error(
        "{{{0}}} stands in ready or health, and may be a secret: the score's .conf has to list {0}, and \
         what stands in its value, without sensitive"
    )]
    Secret(ParamKey),
    /// With the values in it, the text is no place, or no path.
    #[error("{text} in ready or health: with its values in it, it is none: {cause}")]
    Misfit {
        /// As the service says it.
        text: String,
        cause: InvalidProbe,
    },
}

impl OpenTarget {
    /// Checks a text.
    pub fn new(text: &str) -> Result<Self, InvalidProbe> {
        let (place, wrong) = match text.strip_prefix("unix:") {
            Some(name) => (name, InvalidProbe::Socket),
            None => (text, InvalidProbe::Port),
        };
        let is_known = |b: u8| match wrong {
            InvalidProbe::Socket => is_of_socket(b),
            _ => b.is_ascii_digit(),
        };
        let plain =
            |word: &Word<'_>| matches!(word, Word::Plain(plain) if !plain.bytes().all(is_known));
        let is_open = words(place).any(|word| !matches!(word, Word::Plain(_)));
        let fits = text.len() <= PATH_BYTES && is_open && !words(place).any(|word| plain(&word));
        if fits { Ok(OpenTarget(text.into())) } else { Err(wrong) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl OfInstance<'_> {
    /// A text with the values of the instance in it. `{KEY}` stays where there is no such parameter.
    fn fill(&self, text: &str, ports: &Ports) -> Result<String, Unprobeable> {
        let mut filled = String::with_capacity(text.len());
        for word in words(text) {
            match word {
                Word::Plain(plain) => filled.push_str(plain),
                Word::Ordinal => filled.push_str(&self.ordinal.to_string()),
                Word::Player => filled.push_str(self.player.as_str()),
                Word::Port(name) => filled.push_str(&ports.of(&name, self.ordinal)?.to_string()),
                Word::Param(key) => match self.params.get(key.as_str()) {
                    None => filled.push_str(&format!("{{{key}}}")),
                    Some(_) if !(self.is_open)(&key) => return Err(Unprobeable::Secret(key)),
                    Some(value) => filled.push_str(value),
                },
            }
        }
        Ok(filled)
    }
}

/// The name of a socket in a run directory: letters, digits, `.`, `_` and `-`, not beginning with a
/// dot, at most [`SOCKET_NAME_BYTES`]. So no path is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketName(Arc<str>);

/// What is asked for over HTTP: from its `/` on, visible ASCII, at most [`PATH_BYTES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpPath(Arc<str>);

impl SocketName {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, InvalidProbe> {
        let is_name = (1..=SOCKET_NAME_BYTES).contains(&name.len())
            && !name.starts_with('.')
            && name.bytes().all(is_of_socket);
        if is_name { Ok(SocketName(name.into())) } else { Err(InvalidProbe::Socket) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_of_socket(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

impl HttpPath {
    /// Checks a path.
    pub fn new(path: &str) -> Result<Self, InvalidProbe> {
        let is_path = path.starts_with('/')
            && path.len() <= PATH_BYTES
            && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        if is_path { Ok(HttpPath(path.into())) } else { Err(InvalidProbe::Path) }
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is no probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProbe {
    /// Its port is none.
    #[error("expected a port from 1 to 65535 of this host, {{port.NAME}}, {{KEY}} or unix:NAME")]
    Port,
    /// Its socket's name is none.
    #[error(
        "expected a name after unix: (letters, digits, . _ -, at most 64 bytes): a socket in \
         ORC_RUN_DIR"
    )]
    Socket,
    /// Its path is none.
    #[error("expected a path from / on, of visible ASCII, at most 256 bytes")]
    Path,
}

impl Probe {
    /// Where it goes; `None`: nowhere, for a check is a process of its own.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Probe::Tcp(target) | Probe::Http(target, _) => Some(target),
            Probe::Score(_) => None,
        }
    }

    /// The score that is run for it.
    pub fn check_score(&self) -> Option<&ScoreName> {
        match self {
            Probe::Score(score) => Some(score),
            Probe::Tcp(_) | Probe::Http(..) => None,
        }
    }

    /// Reads `8080/healthz`, `unix:web.sock:/healthz`, or either without a path, which is then `/`.
    pub fn http(text: &str) -> Result<Self, InvalidProbe> {
        let (target, path) = match (text.strip_prefix("unix:"), text.split_once('/')) {
            (Some(rest), _) => {
                let (name, path) = rest.split_once(':').unwrap_or((rest, "/"));
                (Target::unix(name)?, HttpPath::new(path)?)
            }
            (None, Some((port, _))) => (port.parse()?, HttpPath::new(&text[port.len()..])?),
            (None, None) => (text.parse()?, HttpPath::new("/")?),
        };
        Ok(Probe::Http(target, path))
    }

    pub(super) fn check(&self, field: &'static str, ports: &Ports) -> Result<(), InvalidUpkeep> {
        match self.target() {
            Some(Target::Port(0)) => Err(InvalidUpkeep { field, problem: "no port is 0" }),
            Some(Target::Named(name)) if !ports.knows(name) => {
                Err(InvalidUpkeep { field, problem: "it asks at a port that ports does not name" })
            }
            Some(Target::Port(_) | Target::Named(_) | Target::Unix(_) | Target::Open(_)) | None => {
                Ok(())
            }
        }
    }

    /// Checks that what stands for something in it does: ports and parameters.
    pub(super) fn check_words(
        &self,
        field: &'static str,
        ports: &Ports,
        params: &Params,
    ) -> Result<(), InvalidUpkeep> {
        let wrong = |problem| Err(InvalidUpkeep { field, problem });
        let path = match self {
            Probe::Http(_, path) => path.as_str(),
            Probe::Tcp(_) | Probe::Score(_) => "",
        };
        let is_unknown = |word: Word<'_>| matches!(word, Word::Port(name) if !ports.knows(&name));
        if words(path).any(is_unknown) {
            return wrong("its path names a port that ports does not name");
        }
        let Some(Target::Open(open)) = self.target() else { return Ok(()) };
        if words(open.as_str()).any(is_unknown) {
            return wrong("it asks at a port that ports does not name");
        }
        let is_missing =
            |word: Word<'_>| matches!(word, Word::Param(key) if params.get(key.as_str()).is_none());
        match words(open.as_str()).any(is_missing) {
            true => wrong("what stands in braces is none of params"),
            false => Ok(()),
        }
    }

    /// The probe of one instance: it has the instance's values in the place of what stands for them.
    pub(super) fn of(&self, ports: &Ports, instance: OfInstance<'_>) -> Result<Self, Unprobeable> {
        let target = |target: &Target| match target {
            Target::Named(name) => Ok(Target::Port(ports.of(name, instance.ordinal)?)),
            Target::Open(open) => {
                let filled = instance.fill(open.as_str(), ports)?;
                let read = match filled.strip_prefix("unix:") {
                    Some(name) => SocketName::new(name).map(Target::Unix),
                    None => read_port(&filled).map(Target::Port),
                };
                read.map_err(|cause| misfit(open.as_str(), cause))
            }
            Target::Port(_) | Target::Unix(_) => Ok(target.clone()),
        };
        Ok(match self {
            Probe::Tcp(at) => Probe::Tcp(target(at)?),
            Probe::Http(at, path) => {
                let filled = HttpPath::new(&instance.fill(path.as_str(), ports)?);
                Probe::Http(target(at)?, filled.map_err(|cause| misfit(path.as_str(), cause))?)
            }
            Probe::Score(score) => Probe::Score(score.clone()),
        })
    }
}

fn misfit(text: &str, cause: InvalidProbe) -> Unprobeable {
    Unprobeable::Misfit { text: text.to_owned(), cause }
}

fn read_port(text: &str) -> Result<u16, InvalidProbe> {
    whole(text).filter(|port| *port > 0).ok_or(InvalidProbe::Port)
}

impl Target {
    /// A socket of this name, in which something may stand for something else.
    fn unix(name: &str) -> Result<Self, InvalidProbe> {
        match name.contains('{') {
            true => OpenTarget::new(&format!("unix:{name}")).map(Target::Open),
            false => SocketName::new(name).map(Target::Unix),
        }
    }
}

/// Reads `8080`, `{port.http}` or `unix:web.sock`, or such a text with `{ordinal}`, `{player}` or the
/// `{KEY}` of a parameter in it.
impl FromStr for Target {
    type Err = InvalidProbe;

    fn from_str(text: &str) -> Result<Self, InvalidProbe> {
        if let Some(name) = text.strip_prefix("unix:") {
            return Target::unix(name);
        }
        let named = text.strip_prefix("{port.").and_then(|rest| rest.strip_suffix('}'));
        if let Some(name) = named.and_then(|name| PortName::new(name).ok()) {
            return Ok(Target::Named(name));
        }
        match text.contains('{') {
            true => OpenTarget::new(text).map(Target::Open),
            false => read_port(text).map(Target::Port),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => port.fmt(f),
            Self::Named(name) => write!(f, "{{port.{name}}}"),
            Self::Unix(name) => write!(f, "unix:{}", name.as_str()),
            Self::Open(open) => f.write_str(open.as_str()),
        }
    }
}

/// As people write it, without `tcp`, `http` or `score` before it: `8080`, `unix:web.sock:/healthz`,
/// `check-web`.
impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(target) => target.fmt(f),
            Self::Http(target, path) => {
                let is_socket = match target {
                    Target::Port(_) | Target::Named(_) => false,
                    Target::Unix(_) => true,
                    Target::Open(open) => open.as_str().starts_with("unix:"),
                };
                write!(f, "{target}{}{}", if is_socket { ":" } else { "" }, path.as_str())
            }
            Self::Score(score) => score.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_read_as_they_are_shown() {
        for text in
            ["8080/healthz", "{port.http}/up", "1/", "unix:web.sock:/healthz?deep=1", "unix:a:/"]
        {
            assert_eq!(Probe::http(text).unwrap().to_string(), text);
        }
        for text in ["8080", "65535", "{port.http}", "unix:web.sock"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        assert_eq!(Probe::http("80").unwrap().to_string(), "80/", "a path is not needed");
        assert_eq!(Probe::http("unix:s").unwrap().to_string(), "unix:s:/");
    }

    #[test]
    fn what_leaves_the_host_or_the_run_directory_is_no_probe() {
        for bad in [
            "",
            "0",
            "65536",
            "+80",
            "db1:80",
            "127.0.0.1:80",
            "80 ",
            "unix:",
            "{port.}",
            "{FLOW}",
            "{a b}",
            "x{port}",
            "{port",
            "db1:{port}",
        ] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
        for bad in ["unix:../{name}", "unix:{name}/x", "unix:{na me}"] {
            assert_eq!(bad.parse::<Target>(), Err(InvalidProbe::Socket), "{bad}");
        }
        for bad in ["unix:../x", "unix:a/b", "unix:.hidden", "unix:/run/x"] {
            assert_eq!(bad.parse::<Target>(), Err(InvalidProbe::Socket), "{bad}");
        }
        for bad in ["http://x/", "80/a b", "80/\r\nX: y", "80/a#b", "unix:a:b", "unix:a/b:/"] {
            assert!(Probe::http(bad).is_err(), "{bad}");
        }
        assert!(SocketName::new(&"a".repeat(SOCKET_NAME_BYTES + 1)).is_err());
        assert!(HttpPath::new(&format!("/{}", "a".repeat(PATH_BYTES))).is_err());
    }

    #[test]
    fn what_stands_in_braces_is_replaced_by_the_values_of_an_instance() {
        let params = [("port", "8080"), ("name", "web"), ("bad", "a b/c"), ("password", "geheim")];
        let params = Params::from_pairs(params).unwrap();
        let player = HostName::new("db1").unwrap();
        let is_open = |key: &ParamKey| key.as_str() != "password";
        let instance =
            OfInstance { ordinal: Ordinal(3), player: &player, params: &params, is_open: &is_open };
        let ports: Ports = [(PortName::new("http").unwrap(), "8000+{ordinal}".parse().unwrap())]
            .into_iter()
            .collect();
        let of = |text: &str| Probe::http(text).unwrap().of(&ports, instance);
        for (text, filled) in [
            ("{port}/up", "8080/up"),
            ("80{ordinal}/up", "803/up"),
            ("{port.http}/{player}/{ordinal}", "8003/db1/3"),
            ("1/{name}/{port.http}", "1/web/8003"),
            ("1/{none}/{Name}", "1/{none}/{Name}"),
            ("unix:{name}-{ordinal}.sock:/{name}", "unix:web-3.sock:/web"),
        ] {
            assert_eq!(Probe::http(text).unwrap().to_string(), text);
            assert_eq!(of(text).unwrap().to_string(), filled, "{text}");
        }
        for text in ["{name}/up", "{port}{port}/", "{none}/", "unix:{bad}:/", "1/{bad}"] {
            let why = of(text).unwrap_err();
            assert!(matches!(why, Unprobeable::Misfit { .. }), "{text}: {why}");
            assert!(!why.to_string().contains("a b/c"), "{why}");
        }
        for text in ["{password}/", "1/{password}", "unix:{password}:/"] {
            let why = of(text).unwrap_err();
            assert!(matches!(why, Unprobeable::Secret(_)), "{text}: {why}");
            assert!(!why.to_string().contains("geheim"), "{why}");
        }
    }

    #[test]
    fn rules_that_could_decide_nothing_are_refused() {
        let rule = || HealthRule::new(Probe::Tcp(Target::Port(80)));
        let field = |rule: HealthRule| rule.check().err().map(|invalid| invalid.field);
        assert_eq!(field(rule()), None);
        assert_eq!(field(HealthRule { fall: 0, ..rule() }), Some("health.fall"));
        assert_eq!(field(HealthRule { rise: 0, ..rule() }), Some("health.rise"));
        assert_eq!(field(HealthRule { every: Millis(99), ..rule() }), Some("health.every"));
        let timeout = Millis::seconds(11);
        assert_eq!(field(HealthRule { timeout, ..rule() }), Some("health.timeout"));
        assert_eq!(field(HealthRule { timeout: Millis(0), ..rule() }), Some("health.timeout"));
        let ports = Ports::default();
        let name = PortName::new("http").unwrap();
        for target in [Target::Port(0), Target::Named(name)] {
            let wrong = Probe::Tcp(target).check("health", &ports).unwrap_err();
            assert_eq!(wrong.field, "health");
        }
    }
}
