//! One real player runs `true`, as often as it can: through conductor, agent and sitter, with
//! captured output, every attempt durable on both sides. Beside it, the rate at which the same
//! program is spawned by two threads that do nothing else.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use orchestra_harness::{Config, Names};

use crate::{
    args::Args,
    audience::Wanted,
    daemon::Running,
    figures::{Report, Samples},
    stage::{PATIENCE, Stage},
    trouble::{During as _, Result},
};

/// What runs.
const TRUE: &str = "/bin/true";
/// Attempts that run at once.
const MAX_TASKS: u32 = 64;

pub(super) async fn run(args: &Args) -> Result<Report> {
    let mut stage = Stage::set(args, "exec", 1).await?;
    let own = stage.own_conductor().is_ok();
    let (mut with_cgroup, mut without, mut raw) = (Vec::new(), Vec::new(), Vec::new());
    let mut flows = Vec::new();
    let usage = stage.usage()?;
    // A job a task: there is one player.
    let jobs = if args.moment() < Duration::from_secs(1) { 100 } else { 5_000 };
    for _ in 0..args.rounds() {
        raw.push(spawn_rate(args.moment())?);
        for (cgroup, rates) in [("none", &mut without), ("auto", &mut with_cgroup)] {
            let player = start_player(&stage, cgroup)?;
            let mut audience = stage.audience().await?;
            audience.attached(1, PATIENCE).await?;
            if cgroup == "auto" && !has_cgroups(&stage)? {
                player.kill();
                continue;
            }
            let wanted = Wanted { jobs, ..Wanted::on(&stage.targets, 1) };
            let flow = audience.submit(&wanted).await?;
            let ended = audience.watch(flow.id).await?;
            rates.push(jobs as f64 / (ended - flow.at).as_secs_f64());
            flows.push(flow);
            player.kill();
        }
    }
    let spent = usage.since(stage.pid())?;

    let mut report = Report::new("exec", 1);
    let ratio = |rates: &[f64]| Samples::new(rates.iter().zip(&raw).map(|(rate, raw)| rate / raw));
    let (part, part_with_cgroup) = (ratio(&without), ratio(&with_cgroup));
    report.number("tasks", "tasks in a round", jobs as f64);
    report.number("at_once", "of these at once", f64::from(MAX_TASKS));
    report.rounds("rate", "attempts a second, no cgroups", &Samples::new(without));
    let with_cgroup = (!with_cgroup.is_empty()).then(|| Samples::new(with_cgroup));
    match &with_cgroup {
        Some(rates) => report.rounds("cgroup_rate", "attempts a second, a cgroup each", rates),
        None => report.text("cgroup_rate", "attempts a second, a cgroup each", "no cgroups here"),
    }
    report.rounds("raw_rate", "spawns a second, two threads", &Samples::new(raw));
    report.rounds("ratio", "ratio, no cgroups", &part);
    if with_cgroup.is_some() {
        report.rounds("cgroup_ratio", "ratio, with cgroups", &part_with_cgroup);
    }
    spent.tell(&mut report);
    if own {
        stage.restart()?;
    }
    let mut audience = stage.audience().await?;
    let mut tasks = 0;
    for flow in &flows {
        audience.check_told(flow).await?;
        tasks += flow.tasks();
    }
    report.number("checked_tasks", "one verdict each, after kill -9", tasks as f64);
    Ok(report)
}

/// Whether the player that was started last has found cgroups, as its log says.
fn has_cgroups(stage: &Stage<'_>) -> Result<bool> {
    let log = fs::read_to_string(player_dir(stage).join("log")).during("reading its log")?;
    let last = log.lines().rfind(|line| line.contains("the player is up"));
    Ok(last.is_some_and(|line| line.contains("cgroups=true")))
}

fn player_dir(stage: &Stage<'_>) -> PathBuf {
    stage.dir().join(format!("player-{}", process::id()))
}

/// Writes a player's directory, which stays, and starts it.
fn start_player(stage: &Stage<'_>, cgroup: &str) -> Result<Running> {
    const WHAT: &str = "writing the player's directory";
    let dir = player_dir(stage);
    let scores = dir.join("scores");
    fs::create_dir_all(&scores).during(WHAT)?;
    let score = scores.join("true");
    if !score.exists() {
        fs::copy(TRUE, &score).during(WHAT)?;
        fs::set_permissions(&score, fs::Permissions::from_mode(0o755)).during(WHAT)?;
    }
    let authority = &stage.authority;
    let names =
        Names { conductor: authority.conductor.as_str(), domain: authority.domain().as_str() };
    let [ca, cert, key] =
        ["ca.pem", "player/p1.pem", "player/p1.key"].map(|file| authority.path(file));
    let config = dir.join("player.toml");
    Config::of_player(names, &stage.address().to_string(), &scores, &dir.join("spool"))
        .with("max_tasks", MAX_TASKS)
        .with("cgroup", cgroup)
        .tls(ca, cert, key)
        .write(&config)
        .during(WHAT)?;
    let config = config.display().to_string();
    let program = stage.program("player")?;
    Running::start_silent(&program, &["--config", &config], &stage.lifeline, &dir.join("log"))
}

/// How often two threads can spawn and wait for it, a second.
fn spawn_rate(time: Duration) -> Result<f64> {
    let begin = Instant::now();
    let spawned = thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(|| spawn_until(begin + time)));
        threads.into_iter().map(|thread| thread.join().unwrap_or(Ok(0))).sum::<Result<u32>>()
    });
    Ok(f64::from(spawned?) / begin.elapsed().as_secs_f64())
}

fn spawn_until(deadline: Instant) -> Result<u32> {
    let mut spawned = 0;
    while Instant::now() < deadline {
        let mut command = Command::new(Path::new(TRUE));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().during("spawning")?;
        spawned += 1;
    }
    Ok(spawned)
}
