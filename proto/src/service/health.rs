//! Probes and rules of health.

use orchestra_model::{
    ScoreName,
    service::{HealthRule, HttpPath, OpenTarget, PortName, Probe, SocketName, Target},
};

use super::unit::bounded;
use crate::{
    invalid::{InField, Invalid},
    v1,
};

impl From<&HealthRule> for v1::HealthRule {
    fn from(rule: &HealthRule) -> Self {
        Self {
            probe: Some((&rule.probe).into()),
            every_ms: rule.every.0,
            timeout_ms: rule.timeout.0,
            fall: rule.fall,
            rise: rule.rise,
        }
    }
}

/// Bounds beyond those of lengths are checked with the whole upkeep.
impl TryFrom<&v1::HealthRule> for HealthRule {
    type Error = Invalid;

    fn try_from(rule: &v1::HealthRule) -> Result<Self, Invalid> {
        Ok(HealthRule {
            probe: rule.probe.as_ref().in_field("HealthRule.probe")?.try_into()?,
            every: bounded(rule.every_ms, "HealthRule.every_ms")?,
            timeout: bounded(rule.timeout_ms, "HealthRule.timeout_ms")?,
            fall: rule.fall,
            rise: rule.rise,
        })
    }
}

impl From<&Probe> for v1::HealthProbe {
    fn from(probe: &Probe) -> Self {
        use v1::health_probe::Target as Wire;
        let (target, http_path) = match probe {
            Probe::Tcp(target) => (target, None),
            Probe::Http(target, path) => (target, Some(path.as_str().to_owned())),
            Probe::Score(score) => {
                let target = Some(Wire::Score(score.as_str().to_owned()));
                return Self { target, http_path: None };
            }
        };
        let target = match target {
            Target::Port(port) => Wire::Port(u32::from(*port)),
            Target::Named(name) => Wire::PortName(name.as_str().to_owned()),
            Target::Unix(name) => Wire::Socket(name.as_str().to_owned()),
            Target::Open(open) => Wire::Open(open.as_str().to_owned()),
        };
        Self { target: Some(target), http_path }
    }
}

impl TryFrom<&v1::HealthProbe> for Probe {
    type Error = Invalid;

    fn try_from(probe: &v1::HealthProbe) -> Result<Self, Invalid> {
        use v1::health_probe::Target as Wire;
        let target = match probe.target.as_ref().in_field("HealthProbe.target")? {
            Wire::Port(port) => Target::Port(u16::try_from(*port).in_field("HealthProbe.port")?),
            Wire::PortName(name) => {
                Target::Named(PortName::new(name).in_field("HealthProbe.port_name")?)
            }
            Wire::Socket(name) => {
                Target::Unix(SocketName::new(name).in_field("HealthProbe.socket")?)
            }
            Wire::Open(text) => Target::Open(OpenTarget::new(text).in_field("HealthProbe.open")?),
            Wire::Score(_) if probe.http_path.is_some() => {
                return Err(Invalid::field("HealthProbe.http_path"));
            }
            Wire::Score(name) => {
                return Ok(Probe::Score(ScoreName::new(name).in_field("HealthProbe.score")?));
            }
        };
        Ok(match &probe.http_path {
            None => Probe::Tcp(target),
            Some(path) => {
                Probe::Http(target, HttpPath::new(path).in_field("HealthProbe.http_path")?)
            }
        })
    }
}
