//! Where a scenario plays: a conductor, its players' certificates, and what is checked at the end.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use orchestra_harness::Lifeline;
use orchestra_model::{FlowId, HostSet};
use rustls::ClientConfig;
use tempfile::TempDir;

use crate::{
    args::Args,
    audience::{Audience, Submitted, fleet},
    authority::Authority,
    cells::Cells,
    crowd::{Crowd, Identity, Manner},
    daemon::Conductor,
    delay::Delay,
    sitter::Trace,
    trouble::{During as _, Result, Trouble},
    usage::Usage,
};

/// Longer than anything takes that is only waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// Everything but the players themselves.
pub(crate) struct Stage<'a> {
    pub(crate) args: &'a Args,
    pub(crate) lifeline: Lifeline,
    pub(crate) authority: Authority,
    pub(crate) hosts: HostSet,
    /// The hosts as an expression.
    pub(crate) targets: String,
    pub(crate) identities: Vec<Identity>,
    conductor: Whose,
    audience: Arc<ClientConfig>,
    // Last, so that it goes last.
    dir: Place,
}

enum Whose {
    Ours(Box<Conductor>),
    Named { address: SocketAddr, pid: Option<u32> },
}

enum Place {
    Kept(PathBuf),
    Temporary(TempDir),
}

impl<'a> Stage<'a> {
    /// Issues what certificates there are not yet, and starts the conductor.
    pub(crate) async fn set(args: &'a Args, scenario: &str, players: usize) -> Result<Self> {
        let mut stage = Self::empty(args, scenario, players)?;
        if matches!(stage.conductor, Whose::Ours(_)) {
            stage.restart()?;
        }
        stage.identify()?;
        Ok(stage)
    }

    /// A stage whose conductor does not run, and whose players have no certificates.
    pub(crate) fn empty(args: &'a Args, scenario: &str, players: usize) -> Result<Self> {
        let dir = match &args.dir {
            // The conductor wants it so.
            Some(dir) => Place::Kept(std::path::absolute(dir).during("finding --dir")?),
            None => {
                let made = tempfile::Builder::new().prefix("orchestra-fleet-").tempdir();
                Place::Temporary(made.during("making a directory")?)
            }
        };
        let lifeline = Lifeline::new().during("making a pipe")?;
        let (targets, hosts) = fleet(players)?;
        let (authority, conductor) = match (&args.conductor, &args.conductor_name, &args.ca) {
            (Some(address), Some(name), Some(ca)) => {
                let named = Whose::Named { address: *address, pid: args.pid };
                (Authority::named(ca, name.clone())?, named)
            }
            _ => {
                let authority = Authority::own(&dir.path().join("ca"))?;
                let name = format!("{scenario}-{}", std::process::id());
                let place = dir.path().join("conductors").join(name);
                let program = program(args, "conductor")?;
                let conductor = Conductor::new(program, place, &authority, &targets)?;
                (authority, Whose::Ours(Box::new(conductor)))
            }
        };
        let (identities, audience) = (Vec::new(), authority.audience()?);
        Ok(Self { args, lifeline, authority, hosts, targets, identities, conductor, audience, dir })
    }

    /// Writes deployments that are in force from the conductor's next start on.
    pub(crate) fn constrain(&mut self, cells: Cells) -> Result<()> {
        cells.write(&self.own_conductor()?.0.dir().join("deployments.d"))
    }

    /// Issues what certificates of players there are not yet.
    pub(crate) fn identify(&mut self) -> Result<()> {
        self.identities = self.authority.players(&self.hosts)?;
        Ok(())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match &self.conductor {
            Whose::Ours(conductor) => conductor.address(),
            Whose::Named { address, .. } => *address,
        }
    }

    /// The conductor's process, if it can be looked into.
    pub(crate) fn pid(&self) -> Option<u32> {
        match &self.conductor {
            Whose::Ours(conductor) => conductor.pid(),
            Whose::Named { pid, .. } => *pid,
        }
    }

    /// Where to put things.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn program(&self, name: &str) -> Result<PathBuf> {
        program(self.args, name)
    }

    /// Our own conductor, to be killed and started; there is none where one was named.
    pub(crate) fn own_conductor(&mut self) -> Result<(&mut Conductor, &Lifeline)> {
        match &mut self.conductor {
            Whose::Ours(conductor) => Ok((conductor, &self.lifeline)),
            Whose::Named { .. } => {
                Err(Trouble::new("this needs a conductor of its own (without --conductor)"))
            }
        }
    }

    /// Kills the conductor as `kill -9` does and starts it again.
    pub(crate) fn restart(&mut self) -> Result<()> {
        let (conductor, lifeline) = self.own_conductor()?;
        conductor.start(lifeline)
    }

    /// A connection of the audience.
    pub(crate) async fn audience(&self) -> Result<Audience> {
        Audience::connect(self.address(), Arc::clone(&self.audience)).await
    }

    pub(crate) fn audience_config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.audience)
    }

    /// A crowd that is attached.
    pub(crate) async fn crowd(&self, max_tasks: u32, delay: Delay) -> Result<Crowd> {
        self.crowd_of(self.address(), max_tasks, delay).await
    }

    /// Makes a crowd that dials another server.
    pub(crate) async fn crowd_of(
        &self,
        address: SocketAddr,
        max_tasks: u32,
        delay: Delay,
    ) -> Result<Crowd> {
        let manner = Manner { max_tasks, delay, dialling: self.args.dialling };
        let crowd = Crowd::start(&self.identities, address, manner)?;
        crowd.attached(PATIENCE).await?;
        Ok(crowd)
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::now(self.pid())
    }

    /// Ends the crowd, kills the conductor, starts it again, and checks every task of these flows,
    /// which are all that it ran: executed once, one verdict, on disk. Returns how many there were.
    pub(crate) async fn check(&mut self, crowd: Crowd, flows: &[Submitted]) -> Result<usize> {
        // The conductor knows an end before its player is told so.
        let tasks: usize = flows.iter().map(Submitted::tasks).sum();
        crowd.common.acknowledged.reach(tasks as u64, PATIENCE, "ends on disk").await?;
        let traces = crowd.take_traces()?;
        self.check_traces(crowd, flows, &traces).await
    }

    /// Checks a crowd by its traces, and by traces that were taken before.
    pub(crate) async fn check_traces(
        &mut self,
        crowd: Crowd,
        flows: &[Submitted],
        traces: &[Vec<Trace>],
    ) -> Result<usize> {
        crowd.stop().await?;
        if matches!(self.conductor, Whose::Ours(_)) {
            self.restart()?;
        }
        self.check_executed(flows, traces).await
    }

    /// Checks every task of these flows, which are all that `traces` are of.
    pub(crate) async fn check_executed(
        &self,
        flows: &[Submitted],
        traces: &[Vec<Trace>],
    ) -> Result<usize> {
        let mut executed: HashMap<FlowId, Vec<(usize, Trace)>> = HashMap::new();
        for (place, traces) in traces.iter().enumerate() {
            for trace in traces {
                executed.entry(trace.job.flow).or_default().push((place, *trace));
            }
        }
        let mut audience = self.audience().await?;
        for flow in flows {
            let executed = executed.remove(&flow.id).unwrap_or_default();
            audience.check(flow, &self.hosts, &executed).await?;
        }
        match executed.keys().next() {
            Some(flow) => Err(Trouble::new(format!("flow {flow} was executed, and not submitted"))),
            None => Ok(flows.iter().map(Submitted::tasks).sum()),
        }
    }

    /// How much the conductor's store takes on disk, in bytes; 0 where it is not ours.
    pub(crate) fn store_bytes(&self) -> u64 {
        match &self.conductor {
            Whose::Ours(conductor) => conductor.store_bytes(),
            Whose::Named { .. } => 0,
        }
    }
}

impl Place {
    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(dir) => dir.path(),
        }
    }
}

/// A program of the workspace.
fn program(args: &Args, name: &str) -> Result<PathBuf> {
    let dir = match &args.programs {
        Some(dir) => dir.clone(),
        None => {
            let own = std::env::current_exe().during("finding this program")?;
            own.parent().map(Path::to_owned).unwrap_or_default()
        }
    };
    let path = dir.join(name);
    match path.is_file() {
        true => Ok(path),
        false => Err(Trouble::new(format!(
            "{} is not there: `cargo build --release --bins` makes it, or name another place with \
             --programs",
            path.display()
        ))),
    }
}
