//! `orc logs`: what a task wrote and writes, attempt by attempt, or what an instance of a service writes:
//! the two are told apart by the id's first letter. A task's standard output goes to standard output, its
//! standard error and what is said about it to standard error.

mod follow;
mod gathered;
mod many;
mod whole;

use orchestra_client::{Attempts, Client, Exit};
use orchestra_model::ids::Reference;

use crate::{
    console::{Answer, Screen, Streamed, unwritten},
    error::Failure,
    program::Program,
    service::logs::{Wanted, instance, tell},
    verb::Verb,
    view::{json::List, task::attempt},
    words::{self, ids::only},
};
use follow::Following;
use many::Many;

/// `orc logs`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orc logs 42 -fb -w 'fe[1-6]'\n  orc logs 42@fe7 --whole >output"
)]
pub(crate) struct Logs {
    /// A task: 42@db3, 42.1.2@db3, 42/NAME@db3; with -f also a flow, slot or job: a line at a time,
    /// with the host before it; or an instance of a service: web/3, web@fe1
    #[arg(value_name = "ID")]
    id: String,
    /// With -f: only on these hosts
    #[arg(short = 'w', long = "on", value_name = "HOSTS")]
    hosts: Option<String>,
    /// With -f: once a second what several wrote since, gathered by identical text
    #[arg(short = 'b', long)]
    gather: bool,
    /// Of a task: all of each output that its host keeps, and not only the first and the last of it
    #[arg(long)]
    whole: bool,
    #[command(flatten)]
    wanted: Wanted,
}

impl Verb for Logs {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        if let Some(instance) = instance(&self.id) {
            let instance = instance?;
            if self.hosts.is_some() {
                return Err(Failure::usage("-w is for a flow or job that is followed"));
            }
            if self.whole {
                return Err(Failure::usage("--whole is for a task: the log of a service is whole"));
            }
            if self.gather {
                return Err(Failure::usage("-b is for a flow or job that is followed"));
            }
            return program
                .ask(async |client, console| tell(&instance, &self.wanted, client, console).await);
        }
        let follow = self.wanted.is_followed_alone();
        if !follow && !self.wanted.is_default() {
            let what = format!("{:?} is a task, which is told as a whole, or with -f", self.id);
            return Err(
                Failure::usage(what).hint("these flags are for services: orc logs NAME/3 --tail 9")
            );
        }
        if follow && program.console.answers_in_json() {
            return Err(Failure::usage("following a task with --json: what it writes has no end")
                .hint("orc wait --jsonl tells of ends; orc logs --json has outputs afterwards"));
        }
        let reference = only(&self.id, "orc logs takes one task, like 42.1.2@db3")?;
        if self.gather && (!follow || reference.host.is_some()) {
            return Err(Failure::usage("-b is for a flow or job that is followed")
                .hint("orc logs 42 -fb; what was written so far: getstatus 42 -b"));
        }
        let hosts = match self.hosts {
            Some(_) if !follow || reference.host.is_some() => {
                return Err(Failure::usage("-w is for a flow or job that is followed")
                    .hint("orc logs 42 -f -w 'fe[1-6]'"));
            }
            Some(hosts) => words::hosts(&[hosts])?,
            None => String::new(),
        };
        if self.whole && (reference.host.is_none() || program.console.answers_in_json()) {
            return Err(Failure::usage("--whole is for one task, and as text")
                .hint("orc logs 42@fe7 --whole >output"));
        }
        if follow && reference.host.is_none() {
            return program.ask(async |client, console| {
                console.stream(&mut Many::new(client, &reference, &hosts, self.gather)).await?;
                Ok(Exit::Ok)
            });
        }
        if reference.host.is_none() {
            return Err(Failure::usage(format!("{:?}: logs are of one host", self.id))
                .hint(format!("orc logs {0}@HOST; orc logs {0} -f follows all of them", self.id)));
        }
        program.ask(async |client, console| {
            let (reference, whole, exit) = (&reference, self.whole, Exit::Ok);
            let mut told = Told { client, reference, follow, whole, exit };
            console.stream(&mut told).await?;
            Ok(told.exit)
        })
    }
}

/// Attempts as they come. A person is shown each on both outputs in turn, and those that run as well.
struct Told<'a> {
    client: &'a mut Client,
    reference: &'a Reference,
    follow: bool,
    whole: bool,
    /// What the program ends with.
    exit: Exit,
}

impl Streamed for Told<'_> {
    async fn text(&mut self, screen: &mut Screen) -> Result<(), Failure> {
        let (follow, whole) = (self.follow, self.whole);
        let mut following = Following::new(self.client, self.reference, follow, whole);
        self.exit = following.tell(screen).await?;
        Ok(())
    }

    async fn json(&mut self, out: &mut Answer) -> Result<(), Failure> {
        let mut logs: Attempts = self.client.logs(self.reference).await?;
        let mut list = List::begin(out, "attempts").map_err(unwritten)?;
        while let Some(log) = logs.next_item().await? {
            list.add(&attempt::Attempt::from(&log)).map_err(unwritten)?;
        }
        list.end().map_err(unwritten)
    }
}

impl Streamed for Many<'_> {
    async fn text(&mut self, screen: &mut Screen) -> Result<(), Failure> {
        self.tell(screen).await
    }

    async fn json(&mut self, _: &mut Answer) -> Result<(), Failure> {
        Err(Failure::usage("following many tasks with --json"))
    }
}
