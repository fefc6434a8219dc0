//! A conductor of a few tables, and running a program against it.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orchestra_ca::{Ca, Terms};
use orchestra_certs::{Door, Limits, Role, Subject, acceptance, incoming};
use orchestra_model::{
    HostName,
    bundle::{BundleRegister, PlacesReport},
    ledger::CellStatus,
    relay::FetchStatus,
    service::{FleetZones, ServiceStatus, Stranger},
    status::{ConductorStatus, FlowStatus, PlayerStatus, TaskStatus},
    vitals::HostUsage,
};
use orchestra_proto::{Planned, v1};
use tokio::sync::oneshot;
use tonic::Status;

mod service;
mod services;
mod terminal;

use service::Service;
pub(crate) use service::unknown_hosts;
pub(crate) use terminal::Terminal;

/// What the conductor knows, and what it is to do next.
#[derive(Default)]
pub(crate) struct Tables {
    pub(crate) flows: BTreeMap<u64, FlowStatus>,
    pub(crate) tasks: BTreeMap<u64, Vec<TaskStatus>>,
    pub(crate) players: Vec<PlayerStatus>,
    pub(crate) vitals: Vec<HostUsage>,
    /// It is of the first release.
    pub(crate) is_old: bool,
    pub(crate) bundles: BundleRegister,
    /// What players told of their places.
    pub(crate) places: Vec<(HostName, PlacesReport)>,
    /// Bundles that are fetched.
    pub(crate) fetches: Vec<FetchStatus>,
    /// What was asked of vitals.
    pub(crate) vitals_asked: Vec<v1::ListVitalsRequest>,
    pub(crate) logs: Vec<v1::AttemptLog>,
    /// How many of these there are at each further look; none left: all.
    pub(crate) logs_then: VecDeque<usize>,
    pub(crate) status: Option<ConductorStatus>,
    pub(crate) cells: Vec<CellStatus>,
    pub(crate) deployments: Vec<v1::Deployment>,
    pub(crate) groups: Vec<v1::Group>,
    /// What each reload tells of files of services.
    pub(crate) file_outcomes: Vec<v1::FileOutcome>,
    pub(crate) reloads: Vec<v1::ReloadRequest>,
    pub(crate) audit: Vec<v1::AuditLine>,
    /// What was asked of the record of who did what.
    pub(crate) audit_asked: Vec<v1::ListAuditRequest>,
    /// What comes of a look whether the record is whole.
    pub(crate) verified: v1::VerifyAuditResponse,
    /// The rules in force.
    pub(crate) policy: Vec<v1::PolicyRule>,
    /// What is said of a right, and what was asked of it.
    pub(crate) right: v1::CheckRightResponse,
    pub(crate) rights_asked: Vec<v1::CheckRightRequest>,
    pub(crate) differences: Vec<v1::PolicyDifference>,
    pub(crate) services: Vec<ServiceStatus>,
    /// How they stand after each further look; none left: as they stood last.
    pub(crate) services_then: VecDeque<ServiceStatus>,
    pub(crate) versions: Vec<v1::ServiceVersion>,
    /// What was asked of services, and what came of it.
    pub(crate) applied: Vec<v1::ApplyServicesRequest>,
    pub(crate) planned_services: Vec<v1::ApplyServicesRequest>,
    pub(crate) service_plan: v1::ServicePlan,
    pub(crate) strangers: Vec<Stranger>,
    /// The fleet by zones.
    pub(crate) zones: FleetZones,
    /// What was released of it.
    pub(crate) released_brakes: Vec<String>,
    pub(crate) service_changes: Vec<v1::ChangeServiceRequest>,
    pub(crate) service_changed: v1::ServiceChanged,
    /// What each reading of a log brings; none left: nothing.
    pub(crate) log_reads: VecDeque<Vec<Result<v1::LogChunk, Status>>>,
    /// Whose logs were asked for, and which part of them.
    pub(crate) log_asked: Vec<v1::ReadLogsRequest>,
    /// What each following of output brings; none left: nothing.
    pub(crate) followed: VecDeque<Vec<Result<v1::OutputPart, Status>>>,
    pub(crate) follow_asked: Vec<v1::FollowOutputRequest>,
    pub(crate) planned: Planned,
    pub(crate) explained: v1::ExplainResponse,
    /// What the next submission is answered with beside the flow.
    pub(crate) warnings: Vec<String>,
    /// Requests as they came.
    pub(crate) plans: Vec<v1::PlanRequest>,
    pub(crate) explains: Vec<v1::ExplainRequest>,
    pub(crate) promotes: Vec<v1::PromoteRequest>,
    pub(crate) retries: Vec<v1::RetryRequest>,
    /// Why flows were cancelled, players drained and hosts released.
    pub(crate) reasons: Vec<String>,
    /// The flow that a retry goes on as.
    pub(crate) retried: u64,
    /// Every submission as it came.
    pub(crate) submitted: Vec<v1::SubmitRequest>,
    /// What submissions fail with, one after the other, before one is accepted.
    pub(crate) refusals: VecDeque<Status>,
    /// What lists of tasks tell; none left: all tasks that are asked for.
    pub(crate) task_lists: VecDeque<Vec<Result<v1::TaskPage, Status>>>,
    /// What each call of `watch` tells; none left: the flow's present status, then silence.
    pub(crate) watches: VecDeque<Vec<Result<v1::WatchEvent, Status>>>,
    /// Who watched, and from when on.
    pub(crate) watched: Vec<v1::WatchRequest>,
}

pub(crate) struct Fake {
    tables: Arc<Mutex<Tables>>,
    directory: tempfile::TempDir,
    address: String,
    /// Stops the server when dropped.
    _stop: oneshot::Sender<()>,
}

/// What a program did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Asserts on all three at once, so that a failure shows all three.
    #[track_caller]
    pub(crate) fn is(&self, code: i32, stdout: &str, stderr: &str) {
        assert_eq!((self.code, &*self.stdout, &*self.stderr), (code, stdout, stderr));
    }

    /// Without how long ago something was, ` (3h ago)`, which differs from day to day.
    pub(crate) fn without_ages(mut self) -> Self {
        while let Some(end) = self.stdout.find(" ago)") {
            let begin = self.stdout[..end].rfind(" (").unwrap();
            self.stdout.replace_range(begin..end + " ago)".len(), "");
        }
        self
    }

    /// Asserts on the exit code and that standard error says all of these.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, said: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.stdout, "");
        for text in said {
            assert!(self.stderr.contains(text), "{text:?} is not in {self:?}");
        }
    }

    /// The document on standard output, which is as `docs/schema.json` has it.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        let document =
            serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        crate::schema::check(&document);
        document
    }
}

const DOMAIN: &str = "cli.test";
const NAME: &str = "conductor.cli.test";

impl Fake {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let domain = HostName::new(DOMAIN).unwrap();
        let ca = Ca::init(&directory.path().join("ca"), &domain).unwrap();
        let subjects = [(Role::Conductor, NAME), (Role::Audience, "alice"), (Role::Player, "db1")]
            .map(|(role, name)| Subject::new(role, name).unwrap());
        let issued: Vec<_> =
            subjects.iter().map(|subject| ca.issue(subject, &Terms::default()).unwrap()).collect();
        ca.save(&issued, false).unwrap();
        let tls = Door::new(acceptance(&ca.files(&subjects[0]), &domain).unwrap());
        let tables = Arc::new(Mutex::new(Tables::default()));
        let service = v1::audience_server::AudienceServer::new(Service(Arc::clone(&tables)));
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, bound) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                ready.send(listener.local_addr().unwrap()).unwrap();
                let server = tonic::transport::Server::builder().add_service(service);
                let connections = incoming(listener, tls, Limits::default());
                tokio::select! {
                    served = server.serve_with_incoming(connections) => served.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        let address = bound.recv().unwrap().to_string();
        Self { tables, directory, address, _stop: stop }
    }

    pub(crate) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A fake with one flow and its tasks.
    pub(crate) fn with(flow: FlowStatus, tasks: Vec<TaskStatus>) -> Self {
        let fake = Self::start();
        fake.add(flow, tasks);
        fake
    }

    pub(crate) fn add(&self, flow: FlowStatus, tasks: Vec<TaskStatus>) {
        let mut tables = self.tables();
        tables.tasks.insert(flow.summary.id.0, tasks);
        tables.flows.insert(flow.summary.id.0, flow);
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// A program with everything it needs to reach the conductor, as nobody else.
    pub(crate) fn command(&self, program: &str, args: &[&str]) -> Command {
        let certificates = self.directory.path().join("ca");
        let mut command = bare(program, args, self.directory.path());
        command
            .env("ORCHESTRA_CONDUCTOR", &self.address)
            .env("ORCHESTRA_CONDUCTOR_NAME", NAME)
            .env("ORCHESTRA_DOMAIN", DOMAIN)
            .env("ORCHESTRA_CA", certificates.join("ca.pem"))
            .env("ORCHESTRA_CERT", certificates.join("audience/alice.pem"))
            .env("ORCHESTRA_KEY", certificates.join("audience/alice.key"));
        command
    }

    /// Runs a program with a player's certificate.
    pub(crate) fn as_player(&self, program: &str, args: &[&str]) -> Ran {
        let certificates = self.directory.path().join("ca/player");
        let mut command = self.command(program, args);
        command
            .env("ORCHESTRA_CERT", certificates.join("db1.pem"))
            .env("ORCHESTRA_KEY", certificates.join("db1.key"));
        ran(&mut command)
    }

    /// Runs it with its answer going into a file.
    pub(crate) fn run_into(&self, line: &str, answers: File) -> Ran {
        let words: Vec<&str> = line.split(' ').collect();
        ran(self.command(words[0], &words[1..]).stdout(answers))
    }

    /// Runs `submitjob -w db1`, as one string.
    #[track_caller]
    pub(crate) fn run(&self, line: &str) -> Ran {
        let words: Vec<&str> = line.split(' ').collect();
        ran(&mut self.command(words[0], &words[1..]))
    }
}

/// A program without any environment but a home.
pub(crate) fn bare(program: &str, args: &[&str], home: &Path) -> Command {
    let path = match program {
        "submitjob" => env!("CARGO_BIN_EXE_submitjob"),
        "getstatus" => env!("CARGO_BIN_EXE_getstatus"),
        "orc" => env!("CARGO_BIN_EXE_orc"),
        "sh" => "/bin/sh",
        other => panic!("no program {other}"),
    };
    let mut command = Command::new(path);
    command.args(args).env_clear().env("TZ", "UTC").env("HOME", home).stdin(Stdio::null());
    command
}

pub(crate) fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Waits for a program that was spawned with both outputs piped.
pub(crate) fn finished(mut child: Child) -> Ran {
    let (mut stdout, mut stderr) = (String::new(), String::new());
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_string(&mut stdout).unwrap();
    }
    if let Some(mut pipe) = child.stderr.take() {
        pipe.read_to_string(&mut stderr).unwrap();
    }
    Ran { code: child.wait().unwrap().code().unwrap(), stdout, stderr }
}

/// Compares a text with the file of that name among the snapshots. `ORCHESTRA_SNAPSHOTS=write` writes it
/// anew, to be looked at before it is committed.
#[track_caller]
pub(crate) fn snapshot(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var_os("ORCHESTRA_SNAPSHOTS").is_some_and(|it| it == "write") {
        std::fs::write(&path, text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(text, wanted, "{}; ORCHESTRA_SNAPSHOTS=write writes it anew", path.display());
}
