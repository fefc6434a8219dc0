//! Ids: a flow is `42`, its second slot `42.2`, a job `42.1.2`, a task `42.1.2@db3`, an attempt
//! `42.1.2@db3#2`. Counting starts at 1.

use std::{fmt, str::FromStr};

use crate::{
    names::{HostName, InvalidName, JobName},
    whole,
};

/// The number of a flow: grows, at most 2^53 so that every JSON reader keeps it whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct FlowId(pub u64);

impl FlowId {
    /// The largest id.
    pub const MAX: FlowId = FlowId(1 << 53);

    /// The next id.
    #[must_use]
    pub fn next(self) -> FlowId {
        FlowId(self.0 + 1)
    }
}

impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A job by its place: slot and job count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId {
    pub flow: FlowId,
    /// The slot in the flow, from 1.
    pub slot: u16,
    /// The job in the slot, from 1.
    pub job: u16,
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.flow, self.slot, self.job)
    }
}

/// One job on one player.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    pub job: JobId,
    pub host: HostName,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.job, self.host)
    }
}

/// What a person writes to name a flow or a part of one: `42`, `last`, `42.1`, `42.1.2`,
/// `42/pkg1`, and any of these with `@db3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The flow; `None` is `last`, the newest of this audience.
    pub flow: Option<FlowId>,
    /// Which part of it.
    pub part: FlowPart,
    /// Which host, after `@`.
    pub host: Option<HostName>,
}

/// A part of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowPart {
    /// All of it.
    Flow,
    /// One slot, from 1.
    Slot(u16),
    /// One job by place, both from 1.
    Job(u16, u16),
    /// One job by name.
    Named(JobName),
}

/// Why a text is not a [`Reference`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// A number is missing, zero, or too large.
    #[error("id {0:?}: not a number from 1 on, written without leading zeros")]
    Number(String),
    /// More than three numbers.
    #[error("id {0:?}: an id is FLOW, FLOW.SLOT, FLOW.SLOT.JOB or FLOW/NAME")]
    Parts(String),
    /// A host or job name is wrong.
    #[error("id with a bad name")]
    Name(#[source] InvalidName),
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let (place, host) = match text.split_once('@') {
            Some((place, host)) => {
                // As in host sets: names of hosts are the same in upper case.
                let host = HostName::new(&host.to_ascii_lowercase());
                (place, Some(host.map_err(InvalidReference::Name)?))
            }
            None => (text, None),
        };
        let number = |digits: &str| -> Result<u64, InvalidReference> {
            let number = whole(digits).filter(|n| *n >= 1);
            number.ok_or_else(|| InvalidReference::Number(digits.chars().take(40).collect()))
        };
        let flow = |digits: &str| match digits {
            "last" => Ok(None),
            _ => match FlowId(number(digits)?) {
                id if id <= FlowId::MAX => Ok(Some(id)),
                _ => Err(InvalidReference::Number(digits.to_owned())),
            },
        };
        let small = |digits: &str| {
            u16::try_from(number(digits)?).map_err(|_| InvalidReference::Number(digits.to_owned()))
        };
        let (id, part) = if let Some((id, name)) = place.split_once('/') {
            (flow(id)?, FlowPart::Named(JobName::new(name).map_err(InvalidReference::Name)?))
        } else {
            let parts: Vec<&str> = place.split('.').collect();
            match parts[..] {
                [id] => (flow(id)?, FlowPart::Flow),
                [id, slot] => (flow(id)?, FlowPart::Slot(small(slot)?)),
                [id, slot, job] => (flow(id)?, FlowPart::Job(small(slot)?, small(job)?)),
                _ => return Err(InvalidReference::Parts(text.chars().take(40).collect())),
            }
        };
        Ok(Reference { flow: id, part, host })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Reference, InvalidReference> {
        text.parse()
    }

    #[test]
    fn every_form_of_contracts_is_read() {
        let host = Some(HostName::new("db3").unwrap());
        let flow = Some(FlowId(42));
        assert_eq!(parse("42"), Ok(Reference { flow, part: FlowPart::Flow, host: None }));
        assert_eq!(parse("last"), Ok(Reference { flow: None, part: FlowPart::Flow, host: None }));
        assert_eq!(parse("42.1"), Ok(Reference { flow, part: FlowPart::Slot(1), host: None }));
        assert_eq!(
            parse("42.1.2@db3"),
            Ok(Reference { flow, part: FlowPart::Job(1, 2), host: host.clone() })
        );
        let pkg1 = FlowPart::Named(JobName::new("pkg1").unwrap());
        assert_eq!(parse("42/pkg1@db3"), Ok(Reference { flow, part: pkg1, host: host.clone() }));
        for text in ["last@db3", "last@DB3"] {
            let host = host.clone();
            assert_eq!(parse(text), Ok(Reference { flow: None, part: FlowPart::Flow, host }));
        }
    }

    #[test]
    fn what_is_not_an_id_is_refused() {
        for bad in [
            "",
            "0",
            "+1",
            "-1",
            "-0",
            "01",
            "1.01",
            "1.1.02",
            "01/x",
            "1.0",
            "1.2.3.4",
            "1.70000",
            "1/",
            "1/../x",
            "1@",
            "1@a[1-2]",
            "99999999999999999999",
            "9007199254740993",
            "x",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
