//! Waits until a service is ready. While a flow changes it, this follows the flow's events.
//! Otherwise it looks every few seconds, because there are no events of units.

use std::time::Duration;

use orchestra_client::{Awaited, Backoff, Client, Exit, Unheard};
use orchestra_model::{
    ids::FlowId,
    names::ServiceName,
    service::{Goal, ServiceStatus, ServiceVersion},
    time::Millis,
};
use tokio::{
    select,
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep, sleep_until},
};

use super::show::with_hint;
use crate::{
    console::Console,
    error::Failure,
    flow::wait::{Following, From},
    view::{one_line, service::Standing},
};

/// How long after the first look the next one follows, if there is no flow to follow.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between two looks. A look fetches every instance.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long to wait.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Patience {
    /// Stop waiting after this; what was asked for goes on (exit 124)
    #[arg(long, alias = "wait-timeout", value_name = "DURATION")]
    timeout: Option<Millis>,
}

impl Patience {
    /// How long to wait, where `--wait` asks for it.
    pub(super) fn only_with(self, wait: bool) -> Result<Option<Self>, Failure> {
        if !wait && self.timeout.is_some() {
            return Err(Failure::usage("--timeout says how long to wait").hint("add --wait"));
        }
        Ok(wait.then_some(self))
    }

    fn deadline(self) -> Option<Instant> {
        self.timeout.map(|timeout| Instant::now() + timeout.to_std())
    }
}

/// What is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) name: &'a ServiceName,
    /// The version that is awaited; `None`: the newest wanted one.
    pub(super) version: Option<ServiceVersion>,
    /// The flow that was made for it, where whoever waits has just asked for it. It is told to its end,
    /// also where it has ended before the first look: why it failed stands there.
    pub(super) made: Option<FlowId>,
}

/// A service that is waited for.
struct Waiting<'a> {
    wanted: Wanted<'a>,
    seen: ServiceVersion,
    /// From when on flows are told.
    from: From,
    /// What was told last while no flow changed the service.
    told: String,
    /// The flow that was followed to its end.
    followed: Option<FlowId>,
    pause: Duration,
    backoff: Backoff,
}

/// Waits until these services are ready, each with the version that is named or the one that is wanted,
/// and tells what came of it. The exit code is the worst of theirs.
pub(super) async fn until_ready(
    services: &[Wanted<'_>],
    from: From,
    patience: Patience,
    client: &mut Client,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let deadline = patience.deadline();
    let mut interrupts = signal(SignalKind::interrupt())
        .map_err(|error| Failure::broken("listening for Ctrl-C").because(error))?;
    let (mut exit, mut over) = (Exit::Ok, Vec::new());
    for (nth, wanted) in services.iter().enumerate() {
        let name = wanted.name;
        let mut waiting = Waiting::new(*wanted, from);
        let (stopped, how) = select! {
            looked = waiting.until_over(client, console) => {
                let (status, awaited) = looked?;
                let (own, said) = verdict(&status, waiting.version(), &awaited)?;
                console.narrate(format_args!("{name} version {} {said}", waiting.version()));
                if own == Exit::NotOk {
                    console.narrate(format_args!("what happened: orc service show {name}"));
                }
                exit = exit.worse(own);
                over.push(status);
                continue;
            }
            () = reached(deadline) => (Exit::WaitTimeout, "is still not over"),
            _ = interrupts.recv() => (Exit::NotOver, "goes on"),
        };
        let left: Vec<&str> = services[nth..].iter().map(|wanted| wanted.name.as_str()).collect();
        let left = left.join(" ");
        console
            .narrate(format_args!("service {name} {how}; to wait again: orc service wait {left}"));
        return Ok(exit.worse(stopped));
    }
    console.answer_each(over.iter().map(Standing).collect(), "waited_for")?;
    Ok(exit)
}

async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

impl<'a> Waiting<'a> {
    fn new(wanted: Wanted<'a>, from: From) -> Self {
        Self {
            wanted,
            seen: ServiceVersion(0),
            from,
            told: String::new(),
            followed: None,
            pause: FIRST_PAUSE,
            backoff: Backoff::new(),
        }
    }

    fn version(&self) -> ServiceVersion {
        self.wanted.version.unwrap_or(self.seen)
    }

    /// Looks and follows until there is nothing to wait for.
    async fn until_over(
        &mut self,
        client: &mut Client,
        console: &mut Console,
    ) -> Result<(ServiceStatus, Awaited), Failure> {
        if let Some(made) = self.wanted.made {
            self.follow(made, client, console).await?;
        }
        loop {
            let status = self.look(client, console).await?;
            self.seen = self.seen.max(status.record.version);
            match Awaited::of(&status, self.version()) {
                Awaited::NotYet => self.wait(&status, client, console).await?,
                over => return Ok((status, over)),
            }
        }
    }

    /// Returns the service's status, over as many connections as it takes.
    async fn look(
        &mut self,
        client: &mut Client,
        console: &Console,
    ) -> Result<ServiceStatus, Failure> {
        loop {
            match client.service(self.wanted.name).await {
                Ok(status) => {
                    self.backoff = Backoff::new();
                    return Ok(status);
                }
                Err(Unheard::Lost(why)) => console.narrate(format_args!("{why}; trying again")),
                Err(Unheard::Refused(failure)) => return Err(with_hint(failure)),
            }
            self.backoff.pause(None).await;
            if let Some(older) = client.reconnect(None).await? {
                console.narrate(older);
            }
        }
    }

    /// Waits for something to change.
    async fn wait(
        &mut self,
        status: &ServiceStatus,
        client: &mut Client,
        console: &mut Console,
    ) -> Result<(), Failure> {
        let next = status.flow().filter(|flow| self.followed != Some(*flow));
        let Some(flow) = next else {
            self.tell(status, console);
            sleep(self.pause).await;
            self.pause = (self.pause + FIRST_PAUSE).min(LONGEST_PAUSE);
            return Ok(());
        };
        self.follow(flow, client, console).await
    }

    /// Tells what becomes of a flow until it has ended.
    async fn follow(
        &mut self,
        flow: FlowId,
        client: &mut Client,
        console: &mut Console,
    ) -> Result<(), Failure> {
        let mut following = Following::new(Some(flow), self.from, false, console);
        match following.until_end(client, console).await {
            // A flow that was pruned has ended.
            Err(failure) if failure.exit != Exit::NoSuchFlow => return Err(failure),
            _ => {}
        }
        self.followed = Some(flow);
        self.pause = FIRST_PAUSE;
        Ok(())
    }

    /// Tells once what is awaited while no flow changes the service.
    fn tell(&mut self, status: &ServiceStatus, console: &Console) {
        let name = self.wanted.name;
        let line = match &status.record.paused_by {
            Some(by) => format!("{name} is paused by {by}; to go on: orc service resume {name}"),
            None => format!("{name} is not ready everywhere yet"),
        };
        if status.flow().is_none() && line != self.told {
            console.narrate(&line);
            self.told = line;
        }
    }
}

/// Returns the exit code, and what is said of the version.
fn verdict(
    status: &ServiceStatus,
    version: ServiceVersion,
    awaited: &Awaited,
) -> Result<(Exit, String), Failure> {
    Ok(match awaited {
        Awaited::Ready => (Exit::Ok, format!("is ready on {}", status.record.hosts.counted())),
        Awaited::NotYet => (Exit::NotOver, "is not over".to_owned()),
        Awaited::Reverted(now) => (Exit::NotOk, format!("was given up for version {now}")),
        Awaited::Superseded(now) => (Exit::Cancelled, format!("is superseded by version {now}")),
        Awaited::NotWanted(Goal::Stopped) => (Exit::NotOk, "is stopped".to_owned()),
        Awaited::NotWanted(_) => (Exit::NotOk, "was removed".to_owned()),
        Awaited::Failed(hosts) => {
            let trouble = status.trouble.as_deref().map(one_line);
            let why = trouble.map_or_else(String::new, |trouble| format!(": {trouble}"));
            (Exit::NotOk, format!("is not ready on {}, and stays so{why}", hosts.counted()))
        }
        Awaited::NoRoom(waiting) => {
            let waiting: Vec<String> = waiting.iter().map(ToString::to_string).collect();
            let waiting = waiting.join("; ");
            let told = match status.record.hosts.is_empty() {
                true => format!("is nowhere: {waiting}"),
                false => format!("is ready on {}, and {waiting}", status.record.hosts.counted()),
            };
            (Exit::NotOk, told)
        }
        Awaited::Unreachable(hosts) => {
            (Exit::Unreachable, format!("is ready but on {}, out of reach", hosts.counted()))
        }
        Awaited::NoSuchVersion => {
            let (name, last) = (&status.record.name, status.record.last_version);
            let what = format!("waiting for service {name}: there is no version {version}");
            return Err(Failure::new(Exit::NoSuchFlow, format!("{what}, the last is {last}")));
        }
    })
}
