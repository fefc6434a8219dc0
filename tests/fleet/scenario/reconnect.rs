//! The conductor is killed while a flow runs, and started again: how long until all are back, and
//! everything that ended meanwhile is known; and whether somebody who submits meanwhile is served.
//!
//! Attempts are set to end while it is down, so that what is waited for is delivery. Each round has
//! players that have not lost a conductor before: to one that comes back to a conductor that is
//! lost again soon, it is all one outage.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustls::ClientConfig;
use tokio::{runtime::Builder, task::spawn_blocking, time::sleep};

use crate::{
    args::Args,
    audience::{Audience, Submitted, Wanted},
    crowd::Crowd,
    delay::Delay,
    figures::{Report, Samples},
    scenario::{attach, checked},
    stage::{PATIENCE, Stage},
    trouble::{During as _, Result, Trouble},
    usage::Spent,
};

/// How often somebody submits meanwhile.
const EVERY: Duration = Duration::from_millis(100);

pub(super) async fn run(args: &Args) -> Result<Report> {
    let mut stage = Stage::set(args, "reconnect", args.players).await?;
    let bare = attach::attach_bare(&stage).await?;
    let (mut flows, mut traces) = (Vec::new(), vec![Vec::new(); args.players]);
    let (mut ready, mut back, mut reconciled, mut served) = (vec![], vec![], vec![], vec![]);
    let mut spent = None;
    for _ in 0..args.rounds() {
        let crowd = stage.crowd(4, Delay::None).await?;
        crowd.lift_dialling();
        let round = round(args, &mut stage, &crowd).await?;
        ready.push(round.ready);
        back.push(round.back);
        reconciled.push(round.reconciled);
        served.extend(round.served);
        flows.extend(round.flows);
        spent = Some(round.spent);
        for (all, new) in traces.iter_mut().zip(crowd.take_traces()?) {
            all.extend(new);
        }
        crowd.stop().await?;
    }
    let mut report = Report::new("reconnect", args.players);
    report.number("down_s", "the conductor is down for, s", args.down().as_secs_f64());
    report.rounds("ready_s", "restart until it listens, s", &Samples::new(ready));
    report.rounds("back_s", "restart until all are attached, s", &Samples::new(back));
    report.rounds("reconciled_s", "restart until all is known, s", &Samples::new(reconciled));
    let at_least = args.players as f64 / bare.rate;
    report.number("bare_s", "a bare server lets them in within, s", at_least);
    report.latencies("served_ms", "submissions meanwhile, ms", &Samples::new(served));
    if let Some(spent) = spent {
        spent.tell(&mut report);
    }
    stage.restart()?;
    checked(&mut report, stage.check_executed(&flows, &traces).await?);
    Ok(report)
}

struct Round {
    /// All from the start of the new process, in seconds.
    ready: f64,
    back: f64,
    reconciled: f64,
    /// In milliseconds each.
    served: Vec<f64>,
    flows: Vec<Submitted>,
    spent: Spent,
}

async fn round(args: &Args, stage: &mut Stage<'_>, crowd: &Crowd) -> Result<Round> {
    let acknowledged = &crowd.common.acknowledged;
    let players = args.players as u64;
    let before = acknowledged.count();
    let down = args.down();
    // All of them run when the conductor dies, and have ended when it is back.
    let sent_within = args.moment() * 2;
    crowd.set_delay(Delay::Between(sent_within + down / 4, sent_within + down / 2));
    let flow = stage.audience().await?.submit(&Wanted::on(&stage.targets, args.players)).await?;
    sleep(sent_within).await;
    let own = stage.own_conductor()?;
    own.0.kill();
    sleep(down).await;
    crowd.set_delay(Delay::None);

    let begin = Instant::now();
    stage.restart()?;
    let ready = begin.elapsed().as_secs_f64();
    let usage = stage.usage()?;
    let over = Arc::new(AtomicBool::new(false));
    let (address, tls, hosts) = (stage.address(), stage.audience_config(), stage.hosts.clone());
    let others = {
        let over = Arc::clone(&over);
        let alone = Builder::new_current_thread().enable_all().build();
        let alone = alone.during("starting the audience's runtime")?;
        // Beside the players' thread: what they cost each other is not the conductor's time.
        spawn_blocking(move || alone.block_on(submit_meanwhile(address, tls, hosts, over)))
    };
    let back = crowd.attached(PATIENCE).await?;
    // Once all of its ends are on disk, and not before.
    let reconciled = stage.audience().await?.ended(&flow, PATIENCE).await;
    over.store(true, Ordering::Relaxed);
    let reconciled = reconciled?.max(back);
    let others = others.await.map_err(|error| Trouble::new(error.to_string()))?;
    let (mut flows, served) = others?;
    let spent = usage.since(stage.pid())?;
    let all = before + players + flows.len() as u64;
    acknowledged.reach(all, PATIENCE, "ends on disk").await?;
    flows.push(flow);
    let seconds = |moment: Instant| (moment - begin).as_secs_f64();
    let (back, reconciled) = (seconds(back), seconds(reconciled));
    Ok(Round { ready, back, reconciled, served, flows, spent })
}

/// Submits small flows, each over a connection of its own as `submitjob` does; returns them, and
/// how long each took to be answered.
async fn submit_meanwhile(
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    hosts: orchestra_model::HostSet,
    over: Arc<AtomicBool>,
) -> Result<(Vec<Submitted>, Vec<f64>)> {
    let (mut flows, mut served) = (Vec::new(), Vec::new());
    for host in hosts.iter().cycle() {
        let begin = Instant::now();
        let mut audience = connect(address, &tls, begin).await?;
        flows.push(audience.submit(&Wanted::on(host.as_str(), 1)).await?);
        served.push(1e3 * begin.elapsed().as_secs_f64());
        if over.load(Ordering::Relaxed) {
            break;
        }
        sleep(EVERY).await;
    }
    Ok((flows, served))
}

/// Connects as `submitjob` does, which comes again soon when it is sent away.
async fn connect(address: SocketAddr, tls: &Arc<ClientConfig>, begin: Instant) -> Result<Audience> {
    const PAUSE: Duration = Duration::from_millis(50);
    loop {
        match Audience::connect(address, Arc::clone(tls)).await {
            Err(_) if begin.elapsed() < PATIENCE => sleep(PAUSE).await,
            done => return done,
        }
    }
}
