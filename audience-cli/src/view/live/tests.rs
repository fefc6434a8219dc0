use orchestra_model::{
    ids::{FlowId, JobId},
    names::{FlowName, JobName, ScoreName},
    state::{FlowState, JobState, TaskState, WaitReason},
    status::{AbsentTasks, CanaryStatus, Counts, Due, FlowStatus, JobAbsence, JobStatus},
    time::{Millis, Timestamp},
};

use super::*;
use crate::view::{Style, samples};

/// A picture that owns what it shows.
struct Scene {
    flow: FlowStatus,
    waits: Vec<Wait>,
    failures: Vec<Fold>,
    pace: Pace,
    note: Option<String>,
}

/// A minute and forty seconds after the submission.
const NOW: Timestamp = Timestamp(samples::SUBMITTED.0 + 100_000);

impl Scene {
    fn of(slots: Vec<Vec<JobStatus>>) -> Self {
        let flow = FlowStatus { slots, ..samples::running() };
        let (waits, failures) = (Vec::new(), Vec::new());
        Self { flow, waits, failures, pace: Pace::default(), note: None }
    }

    fn rows(&self, width: usize, height: usize, glyphs: Glyphs) -> Vec<String> {
        let Self { flow, waits, failures, pace, note } = self;
        let picture = Picture { flow, waits, failures, pace, note: note.as_deref(), now: NOW };
        let rows = layout(&picture, Frame { width, height, glyphs });
        assert!(rows.len() <= height, "{} rows of {height}", rows.len());
        let rendered = rows.iter().map(|row| row.render(width, Style::default()));
        rendered
            .map(|(line, columns)| {
                assert!(columns <= width, "{columns} columns of {width}: {line}");
                line.trim_end().to_owned()
            })
            .collect()
    }

    /// Compares with the file of this name. A terminal's last row is the prompt's.
    #[track_caller]
    fn looks_like(&self, name: &str) {
        for (width, height) in [(80, 24), (200, 50)] {
            let text = self.rows(width, height - 1, Glyphs::Blocks).join("\n") + "\n";
            crate::view::samples::compare(&format!("live/{name}-{width}x{height}.txt"), &text);
        }
        // It fits everywhere, also where there is hardly any room.
        for (width, height) in [(0, 0), (1, 1), (10, 3), (20, 5), (40, 12), (500, 200)] {
            self.rows(width, height, Glyphs::Ascii);
        }
    }
}

fn job(place: (u16, u16), name: &str, state: JobState, each: &[(TaskState, u32)]) -> JobStatus {
    let mut counts = Counts::default();
    each.iter().for_each(|(state, n)| counts.set(*state, *n));
    JobStatus {
        id: JobId { flow: FlowId(42), slot: place.0, job: place.1 },
        name: JobName::new(name).unwrap(),
        score: ScoreName::new("restart-apache").unwrap(),
        state,
        counts,
        canary: None,
        absence: None,
        waiting: Default::default(),
        ..samples::running().slots[1][0].clone()
    }
}

fn wait(place: (u16, u16), reason: WaitReason, hosts: &str, dead: bool, text: &str) -> Wait {
    Wait {
        job: Some(JobId { flow: FlowId(42), slot: place.0, job: place.1 }),
        reason: Some(reason),
        hosts: hosts.to_owned(),
        dead,
        text: text.to_owned(),
    }
}

fn fold(place: (u16, u16), state: TaskState, hosts: &str, tasks: usize, why: &str) -> Fold {
    Fold {
        job: JobId { flow: FlowId(42), slot: place.0, job: place.1 },
        state,
        why: why.to_owned(),
        hosts: hosts.to_owned(),
        tasks,
    }
}

/// A pace of so many ends in each of the last ten seconds.
fn pace(flow: &FlowStatus, each_second: u32) -> Pace {
    let mut pace = Pace::default();
    let mut before = flow.clone();
    let counts = before.slots.iter_mut().flatten().find(|job| job.state == JobState::Running);
    if let Some(job) = counts {
        let back = (each_second * 10).min(job.counts.get(TaskState::Ok));
        job.counts.shift_many(TaskState::Ok, TaskState::Waiting, back);
    }
    pace.note(&before, Timestamp(NOW.0 - 10_000));
    pace.note(flow, NOW);
    pace
}

#[test]
fn the_demo() {
    use TaskState::{Failed, Ok, Running, Waiting};
    let web = [(Waiting, 40), (Running, 50), (Ok, 10)];
    let mut scene = Scene::of(vec![
        vec![
            job((1, 1), "pkg1", JobState::Ok, &[(Ok, 9), (Failed, 1)]),
            job((1, 2), "pkg2", JobState::Ok, &[(Ok, 6)]),
        ],
        vec![job((2, 1), "web", JobState::Running, &web)],
    ]);
    scene.flow.slots[1][0].waiting = [(WaitReason::Window, 40)].into();
    scene.failures = vec![fold((1, 1), Failed, "db3 (1)", 1, "exit 100: E: Unable to fetch pkg1")];
    scene.pace = pace(&scene.flow, 1);
    scene.looks_like("demo");
}

#[test]
fn three_slots_with_failures() {
    use TaskState::{Failed, Ok, Running, TimedOut, Waiting};
    let mut scene = Scene::of(vec![
        vec![job((1, 1), "drain", JobState::Ok, &[(Ok, 4)])],
        vec![
            job((2, 1), "database", JobState::Doomed, &[(Ok, 3), (Failed, 4), (Running, 3)]),
            job(
                (2, 2),
                "a-very-long-name-of-a-job",
                JobState::Running,
                &[(Ok, 300), (TimedOut, 1), (Running, 20), (Waiting, 79)],
            ),
        ],
        vec![
            job((3, 1), "web", JobState::Pending, &[(Waiting, 100)]),
            job((3, 2), "cache", JobState::Pending, &[(Waiting, 12)]),
        ],
    ]);
    scene.flow.summary.state = FlowState::Doomed;
    scene.flow.slots[1][1].waiting = [(WaitReason::Window, 75), (WaitReason::PlayerBusy, 4)].into();
    scene.failures = vec![
        fold((2, 1), Failed, "db[7,9,13] (3)", 3, "exit 1: Connection refused"),
        fold((2, 1), Failed, "db4 (1)", 1, "exit 28: write /var/lib/db: no space left on device"),
        fold((2, 2), TimedOut, "app17.east (1)", 1, ""),
    ];
    scene.looks_like("failures");
}

#[test]
fn stalled() {
    use TaskState::{Ok, Waiting};
    let web = [(Ok, 30), (Waiting, 70)];
    let mut scene = Scene::of(vec![vec![job((1, 1), "web", JobState::Running, &web)]]);
    scene.flow.summary.state = FlowState::Stalled;
    let full = "web in cluster east of shop is full: fe3 failed in 41.1.1";
    scene.flow.stalled = vec![full.into()];
    scene.flow.slots[0][0].waiting = [(WaitReason::Cell, 70)].into();
    scene.waits = vec![wait(
        (1, 1),
        WaitReason::Cell,
        "fe[31-100] (70)",
        true,
        "web in cluster east of shop is full (1 of 1): fe3 has counted as down since 3h ago, it \
         failed in 41.1.1; orc ledger release fe3 frees it, orc retry 41 gives it a further attempt",
    )];
    scene.looks_like("stalled");
}

#[test]
fn a_canary_that_waits_for_somebody() {
    use TaskState::{Ok, Waiting};
    let web = [(Ok, 3), (Waiting, 97)];
    let mut scene = Scene::of(vec![vec![job((1, 1), "web", JobState::Running, &web)]]);
    let job = &mut scene.flow.slots[0][0];
    job.waiting = [(WaitReason::Canary, 97)].into();
    job.canary = Some(CanaryStatus { tasks: 3, ok: 3, until: None });
    scene.waits = vec![wait(
        (1, 1),
        WaitReason::Canary,
        "fe[4-100] (97)",
        true,
        "3 of its 3 canary tasks are ok; orc promote 42 --job web",
    )];
    scene.looks_like("canary");
}

#[test]
fn an_absent_and_a_drained_player() {
    use TaskState::{Ok, Running, Waiting};
    let web = [(Ok, 95), (Running, 1), (Waiting, 4)];
    let mut scene = Scene::of(vec![vec![job((1, 1), "web", JobState::Running, &web)]]);
    let job = &mut scene.flow.slots[0][0];
    job.waiting = [(WaitReason::PlayerAbsent, 3), (WaitReason::PlayerDrained, 1)].into();
    let absent = |tasks, hosts: &str| AbsentTasks {
        tasks,
        hosts: hosts.to_owned(),
        since: Some(samples::SUBMITTED),
        given_up: Some(Due { at: NOW, left: Millis::minutes(25) }),
    };
    job.absence = Some(JobAbsence { in_flight: absent(1, "fe9"), waiting: absent(3, "fe[11-13]") });
    scene.looks_like("absent-at-first");
    scene.waits = vec![
        wait(
            (1, 1),
            WaitReason::PlayerAbsent,
            "fe[11-13] (3)",
            false,
            "not attached, the last one since 3m ago; given up as unreachable in 25m",
        ),
        Wait {
            reason: None,
            ..wait(
                (1, 1),
                WaitReason::PlayerAbsent,
                "fe9 (1)",
                false,
                "running, but its player is not attached since 3m ago; lost in 25m unless it comes \
             back; orc cancel 42 --abandon ends the flow without waiting for it",
            )
        },
        wait(
            (1, 1),
            WaitReason::PlayerDrained,
            "fe40 (1)",
            false,
            "fe40 was drained by bob 2d ago: disk is replaced; orc undrain fe40 lets it work again",
        ),
    ];
    scene.looks_like("absent");
    scene.note = Some("waiting for flow 42: the connection was lost; trying again".to_owned());
    scene.looks_like("connection-lost");
}

#[test]
fn five_hundred_and_ten_thousand_hosts() {
    use TaskState::{Failed, Ok, Running, Unreachable, Waiting};
    let small = [(Ok, 361), (Failed, 9), (Running, 25), (Waiting, 105)];
    let mut scene = Scene::of(vec![vec![job((1, 1), "update", JobState::Running, &small)]]);
    scene.flow.slots[0][0].waiting = [(WaitReason::Window, 105)].into();
    scene.flow.slots[0][0].window = 25;
    scene.failures = vec![
        fold((1, 1), Failed, "n[7,13,80-84] (7)", 7, "exit 1: Connection refused"),
        fold((1, 1), Failed, "n[200,311] (2)", 2, "exit 2: dpkg was interrupted"),
    ];
    scene.pace = pace(&scene.flow, 5);
    scene.looks_like("500-hosts");

    let large = [(Ok, 8_120), (Failed, 212), (Unreachable, 3), (Running, 500), (Waiting, 1_165)];
    scene.flow.slots[0][0] = job((1, 1), "update", JobState::Running, &large);
    scene.flow.slots[0][0].waiting = [(WaitReason::Window, 1_165)].into();
    scene.flow.slots[0][0].window = 500;
    let hosts: Vec<String> = (1..90).map(|n| (n * 37).to_string()).collect();
    let many = format!("n[{}] (187)", hosts.join(","));
    scene.failures = vec![
        fold((1, 1), Failed, &many, 187, "exit 1: Connection refused"),
        fold((1, 1), Unreachable, "n[9001-9003] (3)", 3, ""),
    ];
    let kinds = (0..22).map(|n| fold((1, 1), Failed, &format!("n{n} (1)"), 1, "exit 3"));
    scene.failures.extend(kinds);
    scene.pace = pace(&scene.flow, 240);
    scene.looks_like("10000-hosts");
}

#[test]
fn a_flow_of_many_slots_and_jobs() {
    use TaskState::{Ok, Running, Waiting};
    let slot = |n: u16| {
        (1..=20)
            .map(|k| {
                let (state, task) = match (n, k) {
                    (1..30, _) | (30, 1..=4) => (JobState::Ok, Ok),
                    (30, _) => (JobState::Running, Running),
                    _ => (JobState::Pending, Waiting),
                };
                job((n, k), &format!("step-{n}-{k}"), state, &[(task, 10)])
            })
            .collect()
    };
    let mut scene = Scene::of((1..=50).map(slot).collect());
    scene.flow.summary.name = Some(FlowName::new(&"long-name".repeat(7)).unwrap());
    scene.looks_like("many-slots");
}
