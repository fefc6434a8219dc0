//! Services over all players: from apply until each unit is told to be ready and each flow has ended,
//! with every result on disk, where the services name their hosts and where the conductor chooses them;
//! and beside it, as many tasks of jobs in the same run. Then the conductor is started anew over what it
//! has: nothing is to be ordered. At last a player is lost whose instance is wanted elsewhere at once.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::{
    args::Args,
    audience::{Audience, Submitted, Wanted},
    crowd::Crowd,
    figures::{Report, Samples},
    scenario::checked,
    stage::{PATIENCE, Stage},
    trouble::{During as _, Result, Trouble},
};

/// Services that are applied at once, and jobs beside them.
const SERVICES: usize = 10;
/// As many as there are jobs on a player at once.
const MAX_TASKS: u32 = 32;

pub(super) async fn run(args: &Args) -> Result<Report> {
    let mut stage = Stage::set(args, "services", args.players).await?;
    let crowd = stage.crowd(MAX_TASKS, args.delay).await?;
    let audience = stage.audience().await?;
    let all = SERVICES * args.players;
    let (mut flows, mut ready, mut placed, mut tasks) = (vec![], vec![], vec![], vec![]);
    // One more before those that count.
    for round in 0..=args.rounds() {
        let acknowledged = &crowd.common.acknowledged;
        let before = acknowledged.count();
        let begin = Instant::now();
        let jobs = submit_jobs(&audience, &stage.targets, args.players).await?;
        acknowledged.reach(before + all as u64, PATIENCE, "ends of jobs").await?;
        let of_jobs = begin.elapsed();

        let before = acknowledged.count();
        let begin = Instant::now();
        let applied = apply(&audience, &Where::On(&stage.targets), args.players, round).await?;
        acknowledged.reach(before + all as u64, PATIENCE, "ends of units' tasks").await?;
        let of_units = begin.elapsed();
        check_ready(&audience, &Where::On(&stage.targets), round, args.players).await?;

        let before = acknowledged.count();
        let begin = Instant::now();
        let chosen = apply(&audience, &Where::Chosen, args.players, round).await?;
        acknowledged.reach(before + all as u64, PATIENCE, "ends of placed units' tasks").await?;
        let of_placed = begin.elapsed();
        check_ready(&audience, &Where::Chosen, round, args.players).await?;
        flows.extend(jobs.into_iter().chain(applied).chain(chosen));
        if round > 0 {
            ready.push(of_units.as_secs_f64());
            placed.push(of_placed.as_secs_f64());
            tasks.push(of_jobs.as_secs_f64());
        }
    }
    let mut report = Report::new("services", args.players);
    report.number("units", "units applied at once", all as f64);
    report.rounds("ready_s", "apply to all ready, s", &Samples::new(ready));
    report.rounds("placed_s", "the same, hosts chosen, s", &Samples::new(placed));
    report.rounds("tasks_s", "as many tasks of jobs, s", &Samples::new(tasks));
    let restarted = restart(&mut stage, args.players).await?;
    report.number("instances", "instances at the restart", restarted.instances as f64);
    report.number("listens_s", "restart until it listens, s", restarted.listens);
    report.number("back_s", "restart until all are attached, s", restarted.back);
    // What was ordered since is found among these, and belongs to none of the flows.
    let traces = crowd.take_traces()?;
    report.number(
        "replaced_s",
        "a player lost until ready elsewhere, s",
        lose(&stage, &crowd).await?,
    );
    crowd.take_traces()?;
    checked(&mut report, stage.check_traces(crowd, &flows, &traces).await?);
    Ok(report)
}

/// A restart of the conductor, in seconds.
struct Restarted {
    instances: usize,
    listens: f64,
    back: f64,
}

/// Starts the conductor anew, and waits until all players are back. Fails if a flow lives then: nothing has
/// changed.
async fn restart(stage: &mut Stage<'_>, players: usize) -> Result<Restarted> {
    let mut before = stage.audience().await?;
    let instances = before.instances().await?;
    let begin = Instant::now();
    stage.restart()?;
    let listens = begin.elapsed().as_secs_f64();
    let mut audience = stage.audience().await?;
    audience.attached(u32::try_from(players).unwrap_or(u32::MAX), PATIENCE).await?;
    let back = begin.elapsed().as_secs_f64();
    match audience.flows_alive().await? {
        0 => Ok(Restarted { instances, listens, back }),
        flows => Err(Trouble::new(format!("{flows} flows were made, and nothing had changed"))),
    }
}

/// Loses the player of a service's only instance; returns how long it takes until it is ready on another
/// one, in seconds.
async fn lose(stage: &Stage<'_>, crowd: &Crowd) -> Result<f64> {
    const NAME: &str = "single";
    let mut audience = stage.audience().await?;
    audience.place(NAME, 1).await?;
    let first = ready_but_on(&mut audience, NAME, "").await?;
    let place = stage.hosts.iter().position(|host| host.as_str() == first);
    let begin = Instant::now();
    crowd.lose(place.unwrap_or_default());
    ready_but_on(&mut audience, NAME, &first).await?;
    Ok(begin.elapsed().as_secs_f64())
}

/// Waits until a service is ready on another host than one; returns which.
async fn ready_but_on(audience: &mut Audience, name: &str, but: &str) -> Result<String> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(host) = audience.ready(name).await?.into_iter().find(|host| host != but) {
            return Ok(host);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Err(Trouble::new(format!("{name} is ready on no other host than {but:?}")))
}

/// Where services are to be.
enum Where<'a> {
    /// On these hosts.
    On(&'a str),
    /// On as many that the conductor chooses.
    Chosen,
}

/// Submits as many flows as there are services, each a job on every player.
async fn submit_jobs(audience: &Audience, targets: &str, players: usize) -> Result<Vec<Submitted>> {
    let mut submissions = JoinSet::new();
    for _ in 0..SERVICES {
        let (mut audience, wanted) = (audience.clone(), Wanted::on(targets, players));
        submissions.spawn(async move { audience.submit(&wanted).await });
    }
    all(submissions).await
}

/// Applies services that are new.
async fn apply(
    audience: &Audience,
    place: &Where<'_>,
    players: usize,
    round: usize,
) -> Result<Vec<Submitted>> {
    let mut applications = JoinSet::new();
    for number in 0..SERVICES {
        let (mut audience, name) = (audience.clone(), name(place, round, number));
        let targets = match place {
            Where::On(targets) => Some((*targets).to_owned()),
            Where::Chosen => None,
        };
        applications.spawn(async move {
            match targets {
                Some(targets) => audience.apply(&name, &targets, players).await,
                None => audience.place(&name, players).await,
            }
        });
    }
    all(applications).await
}

fn name(place: &Where<'_>, round: usize, number: usize) -> String {
    match place {
        Where::On(_) => format!("s{round}-{number}"),
        Where::Chosen => format!("p{round}-{number}"),
    }
}

async fn all(mut work: JoinSet<Result<Submitted>>) -> Result<Vec<Submitted>> {
    let mut flows = Vec::new();
    while let Some(done) = work.join_next().await {
        flows.push(done.during("asking the conductor")??);
    }
    Ok(flows)
}

/// Fails where the conductor does not tell that all units are ready.
async fn check_ready(
    audience: &Audience,
    place: &Where<'_>,
    round: usize,
    players: usize,
) -> Result<()> {
    for number in 0..SERVICES {
        let name = name(place, round, number);
        let ready = audience.clone().ready(&name).await?.len();
        if ready != players {
            return Err(Trouble::new(format!("{name} is ready on {ready} of {players} players")));
        }
    }
    Ok(())
}
