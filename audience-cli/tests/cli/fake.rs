//! A conductor of a few tables, and running a program against it.

use std::{
    collections::{BTreeMap, VecDeque},
    io::Read as _,
    path::{Path, PathBuf},
    pin::Pin,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orchestra_ca::{Ca, Terms};
use orchestra_certs::{Limits, Peer, Reloadable, Role, Subject, incoming, roles, server_config};
use orchestra_model::{
    HostName,
    names::JobName,
    status::{ConductorStatus, FlowStatus, PlayerStatus, TaskStatus},
};
use orchestra_proto::v1::{self, audience_server::Audience};
use tokio::sync::oneshot;
use tokio_stream::Stream;
use tonic::{Code, Request, Response, Status, metadata::MetadataMap};

/// What the conductor knows, and what it is to do next.
#[derive(Default)]
pub(crate) struct Tables {
    pub(crate) flows: BTreeMap<u64, FlowStatus>,
    pub(crate) tasks: BTreeMap<u64, Vec<TaskStatus>>,
    pub(crate) players: Vec<PlayerStatus>,
    pub(crate) logs: Vec<v1::AttemptLog>,
    pub(crate) status: Option<ConductorStatus>,
    /// Every submission as it came.
    pub(crate) submitted: Vec<v1::SubmitRequest>,
    /// What submissions fail with, one after the other, before one is accepted.
    pub(crate) refusals: VecDeque<Status>,
    /// What each call of `watch` tells; none left: the flow's present status, then silence.
    pub(crate) watches: VecDeque<Vec<Result<v1::WatchEvent, Status>>>,
    /// How often somebody watched.
    pub(crate) watched: usize,
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

    /// Asserts on the exit code and that standard error says all of these.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, said: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.stdout, "");
        for text in said {
            assert!(self.stderr.contains(text), "{text:?} is not in {self:?}");
        }
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
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
        let tls = Reloadable::new(server_config(&ca.files(&subjects[0]), &domain).unwrap());
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

    /// The same with a player's certificate.
    pub(crate) fn as_player(&self, program: &str, args: &[&str]) -> Ran {
        let certificates = self.directory.path().join("ca/player");
        let mut command = self.command(program, args);
        command
            .env("ORCHESTRA_CERT", certificates.join("db1.pem"))
            .env("ORCHESTRA_KEY", certificates.join("db1.key"));
        ran(&mut command)
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
        other => panic!("no program {other}"),
    };
    let mut command = Command::new(path);
    command.args(args).env_clear().env("HOME", home).stdin(Stdio::null());
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

struct Service(Arc<Mutex<Tables>>);

impl Service {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, flow: Option<v1::FlowRef>) -> Result<FlowStatus, Status> {
        use v1::flow_ref::Flow;
        let tables = self.tables();
        let found = match flow.and_then(|flow| flow.flow) {
            Some(Flow::Id(id)) => tables.flows.get(&id),
            _ => tables.flows.values().next_back(),
        };
        found.cloned().ok_or_else(|| Status::not_found("there is no such flow"))
    }
}

/// What the real one does in a layer.
fn allowed<T>(request: &Request<T>, method: &str) -> Result<(), Status> {
    let peer = request.extensions().get::<Peer>().unwrap();
    let path = format!("/orchestra.v1.Audience/{method}");
    if roles::allows(&path, peer.identity.role()) {
        Ok(())
    } else {
        Err(Status::permission_denied(format!("{} may not call {method}", peer.identity)))
    }
}

pub(crate) fn unknown_hosts() -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert("orchestra-hosts", "unknown".parse().unwrap());
    Status::with_metadata(Code::FailedPrecondition, "job hello: unknown hosts: db9", metadata)
}

type Pages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn pages<T: Send + 'static>(pages: Vec<Result<T, Status>>) -> Response<Pages<T>> {
    Response::new(Box::pin(tokio_stream::iter(pages)))
}

#[tonic::async_trait]
impl Audience for Service {
    type ListTasksStream = Pages<v1::TaskPage>;
    type ListFlowsStream = Pages<v1::FlowPage>;
    type WatchStream = Pages<v1::WatchEvent>;
    type ListPlayersStream = Pages<v1::PlayerPage>;
    type GetLogsStream = Pages<v1::AttemptLog>;

    async fn submit(
        &self,
        request: Request<v1::SubmitRequest>,
    ) -> Result<Response<v1::SubmitResponse>, Status> {
        allowed(&request, "Submit")?;
        let mut tables = self.tables();
        tables.submitted.push(request.into_inner());
        match tables.refusals.pop_front() {
            Some(refusal) => Err(refusal),
            None => Ok(Response::new(v1::SubmitResponse { flow: 42, repeated: false })),
        }
    }

    async fn get_flow(
        &self,
        request: Request<v1::GetFlowRequest>,
    ) -> Result<Response<v1::FlowStatus>, Status> {
        allowed(&request, "GetFlow")?;
        Ok(Response::new((&self.find(request.into_inner().flow)?).into()))
    }

    async fn list_tasks(
        &self,
        request: Request<v1::ListTasksRequest>,
    ) -> Result<Response<Pages<v1::TaskPage>>, Status> {
        let request = request.into_inner();
        let flow = self.find(request.flow)?;
        let named = |task: &TaskStatus| {
            let name = JobName::new(&request.job_name);
            name.is_err()
                || flow
                    .slots
                    .iter()
                    .flatten()
                    .any(|job| job.id == task.job && Ok(&job.name) == name.as_ref())
        };
        let wanted = |task: &&TaskStatus| {
            let host = task.host.as_ref().map_or("", |host| host.as_str());
            (request.slot == 0 || u32::from(task.job.slot) == request.slot)
                && (request.job == 0 || u32::from(task.job.job) == request.job)
                && (request.host.is_empty() || request.host == host)
                && (request.states.is_empty()
                    || request.states.iter().any(|state| state == task.state.as_str()))
                && named(task)
        };
        let tables = self.tables();
        let tasks = tables.tasks.get(&flow.summary.id.0).map_or(&[][..], Vec::as_slice);
        let tasks: Vec<v1::TaskStatus> = tasks
            .iter()
            .filter(wanted)
            .map(|task| match request.ends {
                true => task.into(),
                false => (&TaskStatus { end: None, ..task.clone() }).into(),
            })
            .collect();
        let page = |tasks: &[v1::TaskStatus]| Ok(v1::TaskPage { tasks: tasks.to_vec() });
        Ok(pages(tasks.chunks(1_000).map(page).collect()))
    }

    async fn list_flows(
        &self,
        request: Request<v1::ListFlowsRequest>,
    ) -> Result<Response<Pages<v1::FlowPage>>, Status> {
        let request = request.into_inner();
        let limit = if request.limit == 0 { 20 } else { request.limit as usize };
        let tables = self.tables();
        let flows = tables.flows.values().rev().map(|flow| &flow.summary);
        let flows = flows.filter(|flow| !request.alive || !flow.state.is_final()).take(limit);
        let flows = flows.map(Into::into).collect();
        Ok(pages(vec![Ok(v1::FlowPage { flows })]))
    }

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Pages<v1::WatchEvent>>, Status> {
        use tokio_stream::StreamExt as _;
        use v1::watch_event::Event;
        let flow = self.find(request.into_inner().flow)?;
        let mut tables = self.tables();
        tables.watched += 1;
        if let Some(told) = tables.watches.pop_front() {
            return Ok(pages(told));
        }
        let status = v1::WatchEvent { event: Some(Event::Status((&flow).into())) };
        let silence = tokio_stream::pending();
        Ok(Response::new(Box::pin(tokio_stream::iter([Ok(status)]).chain(silence))))
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelResponse>, Status> {
        let flow = self.find(request.into_inner().flow)?;
        let state = match flow.summary.state {
            state if state.is_final() => state.to_string(),
            _ => "cancelling".to_owned(),
        };
        Ok(Response::new(v1::CancelResponse { flow: flow.summary.id.0, state }))
    }

    async fn list_players(
        &self,
        request: Request<v1::ListPlayersRequest>,
    ) -> Result<Response<Pages<v1::PlayerPage>>, Status> {
        let request = request.into_inner();
        let wanted = |player: &&PlayerStatus| {
            request.hosts.is_empty() || request.hosts == player.host.as_str()
        };
        let player = |player: &PlayerStatus| {
            let mut player: v1::PlayerStatus = player.into();
            if !request.scores {
                player.scores.clear();
            }
            player
        };
        let players = self.tables().players.iter().filter(wanted).map(player).collect();
        Ok(pages(vec![Ok(v1::PlayerPage { players })]))
    }

    async fn get_logs(
        &self,
        _: Request<v1::GetLogsRequest>,
    ) -> Result<Response<Pages<v1::AttemptLog>>, Status> {
        Ok(pages(self.tables().logs.iter().cloned().map(Ok).collect()))
    }

    async fn status(
        &self,
        _: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::ConductorStatus>, Status> {
        let tables = self.tables();
        let status = tables.status.as_ref().ok_or_else(|| Status::unimplemented("no status"))?;
        Ok(Response::new(status.into()))
    }

    async fn reload(
        &self,
        request: Request<v1::ReloadRequest>,
    ) -> Result<Response<v1::ReloadResponse>, Status> {
        if !request.into_inner().allow_removal {
            return Err(Status::failed_precondition("9 of 10 players would be removed"));
        }
        Ok(Response::new(v1::ReloadResponse { players: 1, added: 0, removed: 9 }))
    }

    async fn recover(
        &self,
        _: Request<v1::RecoverRequest>,
    ) -> Result<Response<v1::RecoverResponse>, Status> {
        Ok(Response::new(v1::RecoverResponse { term: 3, next_flow: 1_042 }))
    }

    async fn resolve_hosts(
        &self,
        request: Request<v1::ResolveHostsRequest>,
    ) -> Result<Response<v1::ResolveHostsResponse>, Status> {
        match request.into_inner().hosts.as_str() {
            "@web" => {
                Ok(Response::new(v1::ResolveHostsResponse { hosts: "fe[1-3]".into(), count: 3 }))
            }
            _ => Err(Status::invalid_argument("there is no such group")),
        }
    }
}
