//! The supervisor: from the first daemon to the last process.
//!
//! It has one thread and one loop. It starts the conductor, then all players at once, waits until
//! they are attached, then runs the command or says that it is ready. It ends when the command
//! does, when its parent does, or when it is told to. Then it stops the conductor, scores, players,
//! and all that is left.

use std::{
    ffi::OsString,
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    pin::pin,
    process::Command,
    time::Duration,
};

use rustix::{
    process::{Signal, WaitStatus, getpid, set_child_subreaper, setsid},
    stdio::{dup2_stderr, dup2_stdout},
};
use tokio::{
    net::TcpSocket,
    time::{Instant, sleep_until},
};

use super::{
    attach,
    cgroup::Cgroup,
    daemons::{Daemons, Death, HOPELESS},
    fleet::Fleet,
    furnish::{Plan, furnish},
    place::{Place, programs},
    process::{self, Process, code_of, reap, signal_child, this_program},
    record::{self, READY, Record, Role},
    signals::{Event, Signals},
};
use crate::{console::narrate, error::Failure, program::runtime};

/// How long daemons, and the command, may take after TERM.
const GRACE: Duration = Duration::from_secs(5);

/// `orc sandbox supervise`, which only `run` and `start` call.
#[derive(Debug, clap::Args)]
pub(crate) struct Supervise {
    #[command(flatten)]
    fleet: Fleet,
    /// The directory goes with the sandbox.
    #[arg(long)]
    temporary: bool,
    /// The process without which there is no sandbox; without it, the sandbox goes on by itself
    /// once it has told on standard output that it is ready.
    #[arg(long)]
    parent: Option<i32>,
    /// What to run in it.
    #[arg(last = true)]
    command: Vec<OsString>,
}

impl Supervise {
    pub(super) fn run(self) -> Result<u8, Failure> {
        runtime()?.block_on(async {
            let mut supervisor = Supervisor::new(self)?;
            let outcome = supervisor.live().await;
            let ended = supervisor.end().await;
            let code = outcome?;
            ended.map(|()| code)
        })
    }
}

struct Supervisor {
    args: Supervise,
    place: Place,
    address: SocketAddr,
    /// The sockets are bound and never listen, so that the ports stay ours while their daemons are
    /// away: the conductor's, and the relays' in the order of players.
    _ports: Vec<TcpSocket>,
    /// Where relays listen, in the order of players; none without relays.
    relays: Vec<SocketAddr>,
    cgroup: Option<Cgroup>,
    daemons: Daemons,
    record: Record,
    signals: Signals,
    command: Option<Process>,
}

impl Supervisor {
    fn new(args: Supervise) -> Result<Self, Failure> {
        let what = "starting the sandbox's supervisor";
        let failed = |error: io::Error| Failure::broken(what).because(error);
        let signals = Signals::new().map_err(failed)?;
        match args.parent {
            Some(parent) => process::end_with(parent, Signal::TERM).map_err(failed)?,
            // The sandbox leaves the session and terminal of the process that started it.
            None => drop(setsid().map_err(|error| failed(error.into()))?),
        }
        set_child_subreaper(Some(getpid())).map_err(|error| failed(error.into()))?;

        let directory = args.fleet.dir.as_deref();
        let directory = directory
            .ok_or_else(|| Failure::usage("the supervisor needs the sandbox's directory"))?;
        let place = Place::at(directory)?;
        let (port, address) = reserve().map_err(failed)?;
        let players = &args.fleet.players;
        let me = Process::of(getpid().as_raw_nonzero().get());
        let me = me.ok_or_else(|| Failure::broken(format!("{what}: /proc does not tell of it")))?;
        let cgroup = Cgroup::make(players, me);
        let mut record = Record::new(me, args.temporary, address);
        record.players = players.len();
        record.cgroup = cgroup.as_ref().map(|cgroup| cgroup.root().to_owned());
        let of_relays = if args.fleet.relays { players.len() } else { 0 };
        let reserved: io::Result<Vec<_>> = (0..of_relays).map(|_| reserve()).collect();
        let (mut ports, relays): (Vec<TcpSocket>, Vec<SocketAddr>) =
            reserved.map_err(failed)?.into_iter().unzip();
        ports.push(port);
        let daemons = Daemons::new(&place, &args.fleet)?;
        Ok(Self {
            args,
            place,
            address,
            _ports: ports,
            relays,
            cgroup,
            daemons,
            record,
            signals,
            command: None,
        })
    }

    /// Runs the sandbox until the command, or something else, ends it. Returns the exit code.
    async fn live(&mut self) -> Result<u8, Failure> {
        let plan = Plan {
            players: self.args.fleet.players.clone(),
            scores: self.args.fleet.scores.clone(),
            deployments: self.args.fleet.deployments.clone(),
            max_tasks: self.args.fleet.max_tasks,
            relays: self.relays.clone(),
        };
        furnish(&self.place, &plan, self.address, self.cgroup.as_ref())?;
        self.daemons.start(Role::Conductor)?;
        self.write_record()?;

        let began = Instant::now();
        let place = self.place.clone();
        let connection = self.place.connection(self.address)?;
        let mut listening = pin!(attach::listening(&place));
        let mut attached = pin!(attach::attached(&place, &connection, &plan.players));
        let mut stage = Stage::Listening;
        loop {
            let boot = async {
                match stage {
                    Stage::Listening => listening.as_mut().await,
                    Stage::Attaching => attached.as_mut().await,
                    Stage::Up => std::future::pending().await,
                }
            };
            let due = self.daemons.next_start();
            let event = self.signals.next(boot, due).await;
            match event {
                Event::Booted(result) => {
                    result?;
                    stage = match stage {
                        Stage::Listening => {
                            self.daemons.start(Role::Relay)?;
                            self.daemons.start(Role::Sitter)?;
                            self.write_record()?;
                            Stage::Attaching
                        }
                        Stage::Attaching | Stage::Up => {
                            self.ready(began)?;
                            Stage::Up
                        }
                    };
                }
                Event::Children => {
                    if let Some(code) = self.children_ended(stage)? {
                        return Ok(code);
                    }
                }
                Event::Due => {
                    self.daemons.start_due()?;
                    self.write_record()?;
                }
                Event::Told(number) => return Ok(code_of(None, Some(number))),
                // The command gets this signal too, and decides.
                Event::Typed(_) if self.command.is_some() => {}
                Event::Typed(number) => return Ok(code_of(None, Some(number))),
            }
        }
    }

    /// Starts the command, if there is one, now that everything runs.
    fn ready(&mut self, began: Instant) -> Result<(), Failure> {
        narrate(format_args!(
            "sandbox: players attached after {:.1} s: {}; in {}",
            began.elapsed().as_secs_f64(),
            self.args.fleet.players.counted(),
            self.place.root().display(),
        ));
        if self.args.command.is_empty() {
            return self.detach();
        }
        let what = "starting the command in the sandbox";
        let failed = |error: io::Error| Failure::broken(what).because(error);
        let path = std::env::var_os("PATH");
        let child = Command::new(this_program()?)
            .args(["sandbox", "within", "--parent", &std::process::id().to_string(), "--"])
            .args(&self.args.command)
            .envs(self.place.variables(self.address, &programs()?, path))
            .spawn()
            .map_err(failed)?;
        let pid = i32::try_from(child.id()).map_err(|error| failed(io::Error::other(error)))?;
        // A child that was not reaped exists, at least as a zombie.
        self.command = Process::of(pid);
        Ok(())
    }

    /// Says that it is ready, and detaches from the process that started it.
    fn detach(&mut self) -> Result<(), Failure> {
        let failed =
            |error: io::Error| Failure::broken("leaving the sandbox to itself").because(error);
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{READY}").and_then(|()| stdout.flush()).map_err(failed)?;
        let log = Place::log(self.place.root()).map_err(failed)?;
        dup2_stdout(&log).map_err(|error| failed(error.into()))?;
        dup2_stderr(&log).map_err(|error| failed(error.into()))
    }

    /// Reaps all children that have ended. Returns an exit code if that ends the sandbox.
    fn children_ended(&mut self, stage: Stage) -> Result<Option<u8>, Failure> {
        while let Some((pid, status)) = reap() {
            if self.command.is_some_and(|command| command.pid == pid) {
                self.command = None;
                return Ok(Some(code_of(status.exit_status(), status.terminating_signal())));
            }
            if let Some(death) = self.daemons.ended(pid, status) {
                self.died(&death, stage)?;
            }
        }
        self.write_record()?;
        Ok(None)
    }

    fn died(&self, death: &Death, stage: Stage) -> Result<(), Failure> {
        let starting = !matches!(stage, Stage::Up);
        if starting && (self.args.fleet.no_restart || death.quick >= HOPELESS) {
            return Err(Failure::broken(format!("starting the sandbox: {}", death.text)));
        }
        // A daemon may be killed on purpose, so its death goes to the log only.
        if let Ok(mut log) = Place::log(self.place.root()) {
            let _ = writeln!(log, "{}", death.text);
        }
        if death.quick == HOPELESS {
            narrate(format_args!("sandbox: {HOPELESS} times in a row: {}", death.text));
        }
        Ok(())
    }

    /// Stops everything in order, then kills all that is left.
    async fn end(&mut self) -> Result<(), Failure> {
        self.daemons.start_no_more();
        if let Some(command) = self.command {
            signal_child(command.pid, Signal::TERM);
            self.until(|supervisor| supervisor.command.is_none()).await;
        }
        // Without the conductor nothing is started any more.
        self.stop(Role::Conductor).await;
        // Scores are killed before their sitters stop: a sitter that stops leaves scores running,
        // and without it they would outlive us if we were killed at that moment.
        let sitters: Vec<Process> = self.daemons.of(Role::Sitter).collect();
        process::kill_below(&sitters, record::is_agent);
        self.stop(Role::Sitter).await;
        self.stop(Role::Relay).await;
        let ended = process::end_children();
        if let Some(cgroup) = self.cgroup.take() {
            cgroup.remove();
        }
        self.record.daemons.clear();
        self.record.cgroup = None;
        let written = self.write_record();
        ended.map_err(|error| Failure::broken("ending the sandbox").because(error))?;
        written
    }

    async fn stop(&mut self, role: Role) {
        self.daemons.stop(role);
        self.until(|supervisor| supervisor.daemons.of(role).next().is_none()).await;
    }

    /// Reaps children until `done` holds, or the time is over.
    async fn until(&mut self, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + GRACE;
        loop {
            while let Some((pid, status)) = reap() {
                self.forget(pid, status);
            }
            if done(self) {
                return;
            }
            tokio::select! {
                _ = self.signals.child.recv() => {}
                () = sleep_until(deadline) => return,
            }
        }
    }

    fn forget(&mut self, pid: i32, status: WaitStatus) {
        self.command = self.command.filter(|command| command.pid != pid);
        self.daemons.ended(pid, status);
    }

    fn write_record(&mut self) -> Result<(), Failure> {
        self.record.daemons = self.daemons.list();
        self.record.write(&self.place).map_err(|error| {
            Failure::broken(format!("writing {}", self.place.record().display())).because(error)
        })
    }
}

/// How far a sandbox has come.
#[derive(Clone, Copy)]
enum Stage {
    /// The conductor is starting.
    Listening,
    /// Players are starting.
    Attaching,
    /// All of them were attached.
    Up,
}

/// Reserves a free port of 127.0.0.1, which the conductor, and nobody else, can listen on: the
/// kernel gives none away that is bound, but lets two share it that both say so, if only one of
/// them listens (socket(7), SO_REUSEADDR).
fn reserve() -> io::Result<(TcpSocket, SocketAddr)> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0).into())?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reserved_port_can_be_listened_on_again_and_again_and_is_given_to_nobody_else() {
        let (held, address) = reserve().unwrap();
        for _ in 0..3 {
            let listener = std::net::TcpListener::bind(address).unwrap();
            let _client = std::net::TcpStream::connect(address).unwrap();
            drop(listener.accept().unwrap());
        }
        // The kernel hands out odd and even ports in turn: a few hundred would meet it by chance.
        let others: Vec<_> = (0..200).map(|_| reserve().unwrap()).collect();
        assert!(others.iter().all(|(_, other)| *other != address));
        drop(held);
    }
}
