//! Instances whose players are away.

use orchestra_model::{
    names::HostName,
    service::{InstanceAbsence, PlannedAbsence, Replacing, ReplacingWait},
    time::Timestamp,
};

use crate::{
    invalid::{InField as _, Invalid},
    v1::{self, replacing::What},
};

impl From<&InstanceAbsence> for v1::InstanceAbsence {
    fn from(absence: &InstanceAbsence) -> Self {
        Self { since_ms: absence.since.0, replacing: absence.replacing.as_ref().map(Into::into) }
    }
}

impl TryFrom<&v1::InstanceAbsence> for InstanceAbsence {
    type Error = Invalid;

    fn try_from(absence: &v1::InstanceAbsence) -> Result<Self, Invalid> {
        Ok(InstanceAbsence {
            since: Timestamp(absence.since_ms),
            replacing: absence.replacing.as_ref().map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<&Replacing> for v1::Replacing {
    fn from(replacing: &Replacing) -> Self {
        let what = match replacing {
            Replacing::At(at) => What::AtMs(at.0),
            Replacing::Waits(why) => What::Waits(why.to_string()),
            Replacing::By(host) => What::By(host.to_string()),
            Replacing::Never => What::Never(v1::Empty {}),
        };
        Self { what: Some(what) }
    }
}

impl TryFrom<&v1::Replacing> for Replacing {
    type Error = Invalid;

    fn try_from(replacing: &v1::Replacing) -> Result<Self, Invalid> {
        Ok(match replacing.what.as_ref().in_field("Replacing.what")? {
            What::AtMs(at) => Replacing::At(Timestamp(*at)),
            What::Waits(word) => {
                Replacing::Waits(ReplacingWait::from_word(word).in_field("Replacing.waits")?)
            }
            What::By(host) => Replacing::By(HostName::new(host).in_field("Replacing.by")?),
            What::Never(_) => Replacing::Never,
        })
    }
}

impl From<&PlannedAbsence> for v1::PlannedAbsence {
    fn from(planned: &PlannedAbsence) -> Self {
        Self { hosts: planned.hosts.to_string(), replacing: Some((&planned.replacing).into()) }
    }
}

impl TryFrom<&v1::PlannedAbsence> for PlannedAbsence {
    type Error = Invalid;

    fn try_from(planned: &v1::PlannedAbsence) -> Result<Self, Invalid> {
        let replacing = planned.replacing.as_ref().in_field("PlannedAbsence.replacing")?;
        Ok(PlannedAbsence {
            hosts: super::status::hosts(&planned.hosts, "PlannedAbsence.hosts")?,
            replacing: replacing.try_into()?,
        })
    }
}
