//! Ports of a service, and what its processes are like.

use orchestra_model::service::{PortName, PortRule, Ports, ProcessRule, Umask};

use crate::{
    invalid::{InField, Invalid},
    v1,
};

pub(super) fn ports_to_wire(ports: &Ports) -> Vec<v1::Port> {
    let port = |(name, rule): (&PortName, PortRule)| v1::Port {
        name: name.as_str().to_owned(),
        number: u32::from(rule.number),
        by_ordinal: rule.by_ordinal,
    };
    ports.iter().map(port).collect()
}

pub(super) fn ports_from_wire(ports: &[v1::Port]) -> Result<Ports, Invalid> {
    let port = |port: &v1::Port| {
        let name = PortName::new(&port.name).in_field("Port.name")?;
        let number = u16::try_from(port.number).in_field("Port.number")?;
        Ok((name, PortRule { number, by_ordinal: port.by_ordinal }))
    };
    let all = ports.iter().map(port).collect::<Result<Ports, Invalid>>()?;
    match all.iter().count() == ports.len() {
        true => Ok(all),
        false => Err(Invalid::field("Upkeep.ports")),
    }
}

impl From<&ProcessRule> for v1::ProcessRule {
    fn from(rule: &ProcessRule) -> Self {
        let ProcessRule { nofile, nice, oom_score_adj, umask, state_dir } = *rule;
        Self {
            nofile,
            nice: nice.map(i32::from),
            oom_score_adj: oom_score_adj.map(i32::from),
            umask: umask.map(|umask| u32::from(umask.bits())),
            state_dir,
        }
    }
}

impl TryFrom<&v1::ProcessRule> for ProcessRule {
    type Error = Invalid;

    fn try_from(rule: &v1::ProcessRule) -> Result<Self, Invalid> {
        let umask = |bits: u32| {
            let umask = u16::try_from(bits).ok().and_then(Umask::new);
            umask.in_field("ProcessRule.umask")
        };
        Ok(Self {
            nofile: rule.nofile,
            nice: rule.nice.map(i8::try_from).transpose().in_field("ProcessRule.nice")?,
            oom_score_adj: (rule.oom_score_adj.map(i16::try_from).transpose())
                .in_field("ProcessRule.oom_score_adj")?,
            umask: rule.umask.map(umask).transpose()?,
            state_dir: rule.state_dir,
        })
    }
}
