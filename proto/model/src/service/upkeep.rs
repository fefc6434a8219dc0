//! How a sitter looks after a unit: the part of a service's spec that travels to players.

use super::{ports::Ports, process::ProcessRule, resources::Resources};
use crate::{
    names::ServiceName,
    params::Params,
    service::{AtMostOne, HealthRule, Lease, OfInstance, Placement, Probe, Unprobeable},
    time::Millis,
};

/// How a unit is looked after. The default is what a spec means that says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// When the next run follows the last.
    pub restart: RestartRule,
    /// When a run counts as ready.
    pub ready: ReadyRule,
    /// How a run is ended from outside.
    pub stop: StopRule,
    /// How much of its host a run may have; `None`: no limit of its own.
    pub resources: Option<Resources>,
    /// How it is found out whether a run that is ready is healthy; `None`: it is taken for healthy.
    pub health: Option<HealthRule>,
    /// The service that it is linked to: a run begins once a unit of that one is ready on the same
    /// host, and ends before an order ends that unit's run.
    pub linked_to: Option<ServiceName>,
    /// How a run is told of other parameters; `None`: it ends, and the next one has them.
    pub reload: Option<ReloadRule>,
    /// Its ports, by name.
    pub ports: Ports,
    /// What its processes are like.
    pub process: ProcessRule,
    /// That no instance is ever alive twice, and how that is seen to; `None`: it may be.
    pub at_most_one: Option<AtMostOne>,
    /// Whether no run may begin whose score is another than the version's.
    pub require_same_score: bool,
    /// Whether its player keeps parameters that may be secrets on its disk, so that they outlive a
    /// restart of the host.
    pub keep_secrets: bool,
}

/// How a run is told of other parameters: they lie in a file for its user (`ORC_PARAMS_FILE`), which is
/// replaced, and then its first process gets a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReloadRule {
    /// Which, as signal(7) numbers it.
    pub signal: i32,
}

/// When the next run follows the last one, and how long after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartRule {
    /// After which ends.
    pub when: RestartWhen,
    /// Before the first restart; 0 for none, so that no timer is in its way. The second waits up to
    /// 100 ms, and each further one up to twice as long as the last could have, drawn evenly.
    pub first: Millis,
    /// What such a wait grows to.
    pub max_delay: Millis,
    /// Most restarts within `window`; one more and the unit has given up, until a person restarts it.
    /// `None`: no number is too many.
    pub attempts: Option<u32>,
    /// The sliding window in which restarts are counted.
    pub window: Millis,
    /// A run that was up for so long begins the waits anew.
    pub stable_after: Millis,
}

/// After which ends of a run another one follows by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestartWhen {
    /// After every one.
    #[default]
    Always,
    /// After every one but exit code 0.
    OnFailure,
    /// After none.
    Never,
}

impl Default for RestartRule {
    fn default() -> Self {
        Self {
            when: RestartWhen::Always,
            first: Millis(0),
            max_delay: Millis::seconds(60),
            attempts: None,
            window: Millis::minutes(10),
            stable_after: Millis::seconds(10),
        }
    }
}

/// When a run counts as ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyRule {
    /// What says so.
    pub sign: ReadySign,
    /// How long after its start a run that is not ready is ended (cause: `never-ready`), to be
    /// restarted by its rule.
    pub deadline: Millis,
}

/// What says that a run is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ReadySign {
    /// Its process exists.
    #[default]
    Started,
    /// It sent `READY=1` to the socket that `NOTIFY_SOCKET` names (sd_notify(3)).
    Notify,
    /// It wrote a newline to this descriptor, from 3 (s6's readiness notification).
    Fd(u32),
    /// A probe of it succeeded.
    Probe(Probe),
}

impl Default for ReadyRule {
    fn default() -> Self {
        Self { sign: ReadySign::Started, deadline: Millis::minutes(2) }
    }
}

/// How a run is ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopRule {
    /// For how long a run that is ready, and that an order ends, goes on before it gets the signal. Its
    /// unit is told as stopping meanwhile, so that whoever follows its endpoints leaves it in time.
    pub linger: Millis,
    /// What its processes get first.
    pub signal: i32,
    /// How long they have from the signal on, before KILL.
    pub grace: Millis,
}

/// Longest [`StopRule::linger`].
const LONGEST_LINGER: Millis = Millis::minutes(60);

/// SIGTERM, signal(7): the same number on every architecture.
const TERM: i32 = 15;
/// The highest signal that a spec may name: those above are real-time ones of the C library.
const HIGHEST_SIGNAL: i32 = 31;
/// HUP, INT, QUIT, ABRT, USR1, USR2, ALRM, TERM, CONT, TTIN, TTOU and WINCH: what programs take for
/// messages. Not among them are KILL, STOP and TSTP, after which nobody answers, and what the kernel says.
const MESSAGES: [i32; 12] = [1, 2, 3, 6, 10, 12, 14, 15, 18, 21, 22, 28];
/// Highest descriptor that readiness may be told through.
const HIGHEST_FD: u32 = 9;

impl Default for StopRule {
    fn default() -> Self {
        Self { linger: Millis(0), signal: TERM, grace: Millis::seconds(30) }
    }
}

/// Whether a signal of this number may be sent to a run that is to go on: `HUP`, `INT`, `QUIT`, `ABRT`,
/// `USR1`, `USR2`, `ALRM`, `TERM`, `CONT`, `TTIN`, `TTOU` or `WINCH`, as signal(7) numbers them on x86 and
/// ARM.
pub fn is_message(signal: i32) -> bool {
    MESSAGES.contains(&signal)
}

/// What of an upkeep makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", .field, .problem)]
pub struct InvalidUpkeep {
    /// The field: `restart.attempts`.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl Upkeep {
    /// Checks what no single field's type does.
    pub fn check(&self) -> Result<(), InvalidUpkeep> {
        let wrong = |field, problem| Err(InvalidUpkeep { field, problem });
        let Self {
            restart,
            ready,
            stop,
            resources,
            health,
            linked_to: _,
            reload,
            ports,
            process,
            at_most_one,
            require_same_score: _,
            keep_secrets: _,
        } = self;
        if restart.window == Millis(0) && restart.attempts.is_some() {
            return wrong("restart.window", "it is 0, so that no number of restarts is too many");
        }
        if restart.attempts.is_some() && restart.first > restart.window {
            return wrong(
                "restart.first",
                "it is longer than restart.window, so that attempts never count",
            );
        }
        if restart.first > restart.max_delay {
            return wrong("restart.first", "it is longer than restart.max_delay");
        }
        if ready.deadline == Millis(0) {
            return wrong("ready.deadline", "it is 0, so that no run could ever be ready");
        }
        if matches!(ready.sign, ReadySign::Fd(fd) if !(3..=HIGHEST_FD).contains(&fd)) {
            return wrong("ready.fd", "a descriptor from 3 to 9 is expected");
        }
        if let ReadySign::Probe(probe) = &ready.sign {
            probe.check("ready", ports)?;
        }
        if !(1..=HIGHEST_SIGNAL).contains(&stop.signal) {
            return wrong("stop.signal", "no signal of this number may be sent");
        }
        if stop.linger > LONGEST_LINGER {
            return wrong("stop.linger", "it is longer than an hour");
        }
        if reload.is_some_and(|reload| !is_message(reload.signal)) {
            return wrong("reload.signal", "no program takes it for a message; HUP is usual");
        }
        resources.as_ref().map_or(Ok(()), Resources::check)?;
        ports.check()?;
        process.check()?;
        at_most_one.map_or(Ok(()), AtMostOne::check)?;
        let Some(health) = health else { return Ok(()) };
        health.check()?;
        health.probe.check("health", ports)
    }

    /// Checks that what stands in braces in its probes stands for something.
    pub(super) fn check_words(&self, params: &Params) -> Result<(), InvalidUpkeep> {
        if let ReadySign::Probe(probe) = &self.ready.sign {
            probe.check_words("ready", &self.ports, params)?;
        }
        match &self.health {
            Some(health) => health.probe.check_words("health", &self.ports, params),
            None => Ok(()),
        }
    }

    /// Returns how long a run may go on without a renewal; `None`: for ever.
    pub fn lease(&self) -> Option<Millis> {
        self.at_most_one?.lease
    }

    /// Returns the lease that each unit of a service of this name needs, if it needs one. Its placement
    /// is 0.
    pub fn as_lease(&self, service: &ServiceName) -> Option<Lease> {
        let (service, placement) = (service.clone(), Placement::default());
        Some(Lease { service, placement, length: self.lease()?, grace: self.stop.grace })
    }

    /// The upkeep of one instance, with its values in its probes. Each of its ports has to be there.
    pub fn of(&self, instance: OfInstance<'_>) -> Result<Upkeep, Unprobeable> {
        let ordinal = instance.ordinal;
        self.ports.iter().try_for_each(|(name, _)| self.ports.of(name, ordinal).map(drop))?;
        let mut own = self.clone();
        if let ReadySign::Probe(probe) = &self.ready.sign {
            own.ready.sign = ReadySign::Probe(probe.of(&self.ports, instance)?);
        }
        if let (Some(own), Some(health)) = (&mut own.health, &self.health) {
            own.probe = health.probe.of(&self.ports, instance)?;
        }
        Ok(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_could_never_count_is_refused() {
        let attempts = |first, window| {
            let (first, window) = (Millis(first), Millis(window));
            let restart = RestartRule { first, window, attempts: Some(3), ..Default::default() };
            Upkeep { restart, ..Upkeep::default() }.check().map_err(|invalid| invalid.field)
        };
        assert_eq!(Upkeep::default().check(), Ok(()));
        assert_eq!(attempts(0, 60_000), Ok(()));
        assert_eq!(attempts(0, 0), Err("restart.window"));
        assert_eq!(attempts(2_000, 1_000), Err("restart.first"));
    }

    #[test]
    fn readiness_and_stop_name_what_exists() {
        let ready = |sign| Upkeep {
            ready: ReadyRule { sign, ..ReadyRule::default() },
            ..Upkeep::default()
        };
        assert_eq!(ready(ReadySign::Fd(3)).check(), Ok(()));
        for fd in [0, 2, 10] {
            assert!(ready(ReadySign::Fd(fd)).check().is_err(), "{fd}");
        }
        let stop = |signal| Upkeep {
            stop: StopRule { signal, ..StopRule::default() },
            ..Upkeep::default()
        };
        assert_eq!(stop(2).check(), Ok(()));
        for signal in [0, -1, 32, 64] {
            assert!(stop(signal).check().is_err(), "{signal}");
        }
        let reload = |signal| Upkeep { reload: Some(ReloadRule { signal }), ..Upkeep::default() };
        assert_eq!(reload(1).check(), Ok(()));
        for signal in [0, 9, 11, 19, 20, 32, -1] {
            assert!(reload(signal).check().is_err(), "{signal}");
        }
    }
}
