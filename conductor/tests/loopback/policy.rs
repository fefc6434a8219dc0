//! Who may do what: a policy in force, asked by every call.

use std::{collections::BTreeSet, fs};

use bytes::{Buf as _, BufMut as _, Bytes};
use orchestra_certs::Role;
use orchestra_model::{
    Params,
    audit::Verb,
    bundle::{BundleId, BundleSerial, BundleStatement, Seal},
    policy::{Concern, Right},
    service::{Recipe, ServiceSpec},
};
use orchestra_proto::{encode_service, v1};
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::{
    Code, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};
use v1::change_service_request::Verb as OfService;

use crate::harness::{Audience, Conductor, DOMAIN, Place, id, job, request, soon, watch_ends};

/// Messages as they are on the wire.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = from.remaining();
        Ok(Some(from.copy_to_bytes(length)))
    }
}

/// Makes a call by its name, and waits for the first message of its answer.
async fn call(channel: &Channel, name: &str, request: &Bytes) -> Result<(), Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path = format!("/orchestra.v1.Audience/{name}").parse().unwrap();
    let request = tonic::Request::new(request.clone());
    let answer = grpc.server_streaming(request, path, Raw).await?;
    answer.into_inner().message().await.map(drop)
}

impl Place {
    /// Has a policy in force from the next start or reload on.
    fn govern(&self, policy: &str) {
        let config = fs::read_to_string(self.path("conductor.toml")).unwrap();
        self.write("conductor.toml", &config.replace("policy = \"open\"\n", ""));
        self.write("policy.toml", policy);
    }
}

const ROOT: &str = "[[rule]]\nname = \"root\"\nwho = [\"alice\"]\nmay = [\"admin\"]\n\
                    scores = [\"*\"]\nservices = [\"*\"]\nbundles = [\"*\"]\nhosts = \"*\"\n";

/// A rule that gives rights everywhere.
fn rule(who: &str, may: &[Right]) -> String {
    let concerns = |of: &[Concern]| may.iter().any(|right| of.contains(&right.concern()));
    let words: Vec<&str> = may.iter().map(|right| right.as_str()).collect();
    let mut text = format!("[[rule]]\nname = \"{who}\"\nwho = [\"{who}\"]\nmay = {words:?}\n");
    if concerns(&[Concern::Scores, Concern::ScoresOfServices, Concern::Output]) {
        text.push_str("scores = [\"*\"]\n");
    }
    if concerns(&[Concern::Services, Concern::ScoresOfServices, Concern::Output]) {
        text.push_str("services = [\"*\"]\n");
    }
    if concerns(&[Concern::Bundles]) {
        text.push_str("bundles = [\"*\"]\n");
    }
    let is_of_hosts =
        |right: &&Right| !matches!(right.concern(), Concern::Conductor | Concern::Bundles);
    if may.iter().any(|right| is_of_hosts(&right)) {
        text.push_str("hosts = \"*\"\n");
    }
    text
}

fn web() -> ServiceSpec {
    ServiceSpec::new("web".parse().unwrap(), "run-web".parse().unwrap(), "db1")
}

/// A call, a request that reaches what it asks for, and the right that it needs.
type Row = (&'static str, Bytes, Option<Right>);

/// Every call of the audience, about a flow of db1 and the service `web`.
fn rows(flow: u64) -> Vec<Row> {
    let to = |verb| Some(Right::Do(verb));
    let see = Some(Right::See);
    let why = || "a test".to_owned();
    let hosts = || "db1".to_owned();
    let mut rows: Vec<Row> = vec![("WhoAmI", encoded(&v1::WhoAmIRequest {}), None)];
    let mut add = |name, request: Bytes, right| rows.push((name, request, right));
    let submission = request([job("db1")]);
    let plan = v1::PlanRequest { spec: submission.spec.clone(), ..Default::default() };
    add("Plan", encoded(&plan), to(Verb::Submit));
    add("Submit", encoded(&submission), to(Verb::Submit));
    let retry = v1::RetryRequest {
        flow: id(flow),
        request_id: Bytes::from_static(&[7; 16]),
        ..Default::default()
    };
    add("Retry", encoded(&retry), to(Verb::Submit));
    add("Pause", encoded(&v1::PauseRequest { flow: id(flow) }), to(Verb::Pause));
    add("Resume", encoded(&v1::ResumeRequest { flow: id(flow) }), to(Verb::Resume));
    let promote = v1::PromoteRequest { flow: id(flow), ..Default::default() };
    add("Promote", encoded(&promote), to(Verb::Promote));
    for (abandon, verb) in [(false, Verb::Cancel), (true, Verb::Abandon)] {
        let cancel = v1::CancelRequest { flow: id(flow), abandon, reason: String::new() };
        add("Cancel", encoded(&cancel), to(verb));
    }
    let drain = v1::DrainRequest { hosts: hosts(), reason: why() };
    add("Drain", encoded(&drain), to(Verb::Drain));
    add("Undrain", encoded(&v1::UndrainRequest { hosts: hosts() }), to(Verb::Undrain));
    let release = v1::ReleaseHoldsRequest { hosts: hosts(), reason: why() };
    add("ReleaseHolds", encoded(&release), to(Verb::ReleaseHolds));
    let release = v1::ReleasePlayersRequest { hosts: hosts(), reason: why() };
    add("ReleasePlayers", encoded(&release), to(Verb::ReleasePlayers));
    for name in ["GetFlow", "ListTasks", "ListFailures", "Watch", "Explain"] {
        // Of each of these the flow is the first field.
        add(name, encoded(&v1::GetFlowRequest { flow: id(flow) }), see);
    }
    for name in [
        "ListFlows",
        "ListLedger",
        "ListDeployments",
        "ListPlayers",
        "ListScores",
        "ListPlaces",
        "ListFetches",
        "ListVitals",
        "ListGroups",
        "ListStrangers",
        "ListZones",
        "ListServices",
        "Status",
    ] {
        add(name, Bytes::new(), see);
    }
    add("ResolveHosts", encoded(&v1::ResolveHostsRequest { hosts: hosts() }), see);
    add("ListVersions", encoded(&v1::ListVersionsRequest { name: "web".to_owned() }), see);
    let output = Some(Right::ReadOutput);
    let logs = v1::GetLogsRequest { flow: id(flow), host: hosts(), ..Default::default() };
    add("GetLogs", encoded(&logs), output);
    // Whole ends have what was printed.
    let ends = v1::ListTasksRequest { flow: id(flow), ends: true, ..Default::default() };
    add("ListTasks", encoded(&ends), output);
    let follow = v1::FollowOutputRequest { flow: id(flow), ..Default::default() };
    add("FollowOutput", encoded(&follow), output);
    let of_unit = v1::ReadLogsRequest {
        service: "web".to_owned(),
        instance: Some(v1::read_logs_request::Instance::Host(hosts())),
        query: Some(v1::LogQuery {
            stream: v1::log_query::Stream::Stdout.into(),
            ..Default::default()
        }),
    };
    add("ReadLogs", encoded(&of_unit), output);
    let statement = BundleStatement {
        domain: DOMAIN.parse().unwrap(),
        name: "site".parse().unwrap(),
        serial: BundleSerial::FIRST,
        expires: None,
        id: BundleId([7; 32]),
        manifest_bytes: 100,
        entries: 1,
        content_bytes: 0,
        size: 0,
    };
    let seal = Seal::unsigned(statement).encode().into();
    let register = v1::RegisterBundleRequest { seal, source: hosts() };
    add("RegisterBundle", encoded(&register), to(Verb::BundleRegister));
    add("ListBundles", Bytes::new(), see);
    add("ListAudit", Bytes::new(), Some(Right::ReadAudit));
    add("VerifyAudit", Bytes::new(), Some(Right::ReadAudit));
    add("ListPolicy", Bytes::new(), Some(Right::SeePolicy));
    let diff = v1::DiffPolicyRequest { text: ROOT.to_owned() };
    add("DiffPolicy", encoded(&diff), Some(Right::SeePolicy));
    let question = v1::CheckRightRequest {
        who: "alice".to_owned(),
        right: "reload".to_owned(),
        ..Default::default()
    };
    add("CheckRight", encoded(&question), Some(Right::SeePolicy));
    add("Reload", Bytes::new(), to(Verb::Reload));
    add("PlanRecover", Bytes::new(), to(Verb::Recover));
    add("Recover", Bytes::new(), to(Verb::Recover));
    let apply =
        v1::ApplyServicesRequest { specs: vec![encode_service(&web()).into()], take_over: false };
    add("PlanServices", encoded(&apply), to(Verb::ServiceApply));
    add("ApplyServices", encoded(&apply), to(Verb::ServiceApply));
    add(
        "ReleaseBrake",
        encoded(&v1::ReleaseBrakeRequest { on: "fleet".to_owned() }),
        to(Verb::BrakeRelease),
    );
    let empty = v1::Empty {};
    let scale = v1::ServiceScale { count: 1, ..Default::default() };
    for (asked, verb) in [
        (OfService::Restart(String::new()), Verb::ServiceRestart),
        (OfService::Restart(hosts()), Verb::ServiceRestart),
        (OfService::Reload(String::new()), Verb::ServiceReload),
        (
            OfService::Signal(v1::ServiceSignal { signal: 1, ..Default::default() }),
            Verb::ServiceSignal,
        ),
        (OfService::Scale(scale), Verb::ServiceScale),
        (OfService::Rebalance(v1::ServiceRebalance { plan: true }), Verb::ServiceRebalance),
        (OfService::Pause(empty), Verb::ServicePause),
        (OfService::Resume(empty), Verb::ServiceResume),
        (OfService::ReleaseBrake(empty), Verb::BrakeRelease),
        (OfService::Revert(0), Verb::ServiceRevert),
        (OfService::Adopt(String::new()), Verb::ServiceAdopt),
        (OfService::StopStranger(hosts()), Verb::ServiceStopStranger),
        (OfService::DeclareDead(1), Verb::ServiceDeclareDead),
        (OfService::Stop(empty), Verb::ServiceStop),
        (OfService::Start(empty), Verb::ServiceStart),
        (OfService::Remove(empty), Verb::ServiceRemove),
    ] {
        let change = v1::ChangeServiceRequest { name: "web".to_owned(), verb: Some(asked) };
        add("ChangeService", encoded(&change), to(verb));
    }
    rows
}

fn encoded(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

/// The calls that the protocol has.
fn calls() -> BTreeSet<String> {
    let files = FileDescriptorSet::decode(orchestra_proto::FILE_DESCRIPTOR_SET).unwrap();
    let services = files.file.iter().flat_map(|file| &file.service);
    let audience = services.filter(|service| service.name() == "Audience");
    audience.flat_map(|service| &service.method).map(|method| method.name().to_owned()).collect()
}

/// Each call is refused to whoever has every right but the one that it needs, and answered to
/// whoever has that right alone, with sight of what it is about.
#[tokio::test]
async fn every_call_needs_its_right_and_no_other() {
    let place = Place::new("db1\n");
    let mut policy = ROOT.to_owned();
    let all: Vec<Right> = Right::all().collect();
    for right in &all {
        let but: Vec<Right> = all.iter().copied().filter(|other| other != right).collect();
        policy.push_str(&rule(&format!("but-{right}"), &but));
        let mut only = vec![*right];
        // One has to see what something is done to, and the flow is of somebody else.
        if *right != Right::See {
            only.push(Right::See);
        }
        if matches!(right.concern(), Concern::Scores | Concern::Output) {
            only.extend([Right::OthersFlows, Right::Do(Verb::Promote)]);
        }
        let only: BTreeSet<Right> = only.into_iter().collect();
        policy.push_str(&rule(&format!("only-{right}"), &only.into_iter().collect::<Vec<_>>()));
    }
    place.govern(&policy);
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let flow = alice.submit([job("db1")]).await;
    alice.apply(&web()).await.unwrap();
    let rows = rows(flow);
    let told: BTreeSet<String> = rows.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(told, calls(), "each call has a row");
    let needed: BTreeSet<Right> = rows.iter().filter_map(|(_, _, right)| *right).collect();
    let unneeded: Vec<&Right> = all.iter().filter(|right| !needed.contains(right)).collect();
    assert_eq!(unneeded, [&Right::OthersFlows], "each right is needed by a call");
    for (name, request, right) in &rows {
        let Some(right) = right else { continue };
        let who = format!("but-{right}");
        let channel = place.connect(&conductor.address, Role::Audience, &who).await;
        let refused = call(&channel, name, request).await.expect_err(name);
        // What may not be seen does not exist.
        let is_hidden = *right == Right::See && refused.code() == Code::NotFound;
        assert!(refused.code() == Code::PermissionDenied || is_hidden, "{name}: {refused:?}");
        let said = format!("{who} may not {right}");
        assert!(is_hidden || refused.message().starts_with(&said), "{name}: {refused:?}");
    }
    for (name, request, right) in &rows {
        let who = right.map_or_else(|| "nobody".to_owned(), |right| format!("only-{right}"));
        let channel = place.connect(&conductor.address, Role::Audience, &who).await;
        if let Err(why) = call(&channel, name, request).await {
            assert_ne!(why.code(), Code::PermissionDenied, "{name} for {who}: {why:?}");
        }
    }
}

/// A fleet of three players, of which bob may use two, on one score.
async fn shared() -> (Place, Conductor, Audience, Audience) {
    let place = Place::new("db[1-2] app=db\nweb1 app=web\n");
    let bob = "[groups]\ndbas = [\"bob\"]\n[[rule]]\nname = \"dbas\"\nwho = [\"@dbas\"]\n\
               may = [\"operator\", \"drain\"]\nscores = [\"hello\"]\nservices = [\"db-*\"]\n\
               hosts = \"@app=db\"\n";
    place.govern(&format!("{bob}{ROOT}"));
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let bob = Audience::named(&place, &conductor.address, "bob").await;
    (place, conductor, alice, bob)
}

fn denied<T: std::fmt::Debug>(result: Result<T, Status>) -> String {
    let status = result.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    status.message().to_owned()
}

#[tokio::test]
async fn a_submission_is_refused_whole_where_one_host_or_score_is_not_allowed() {
    let (_place, conductor, _alice, bob) = shared().await;
    assert_eq!(
        denied(bob.try_submit(request([job("db1"), job("@all")])).await),
        "bob may not submit hello on hosts that you may not know of: rule dbas allows it on other \
         hosts; `orc whoami` tells what you may do"
    );
    let other = v1::JobSpec { score: "reboot".to_owned(), ..job("db1") };
    let told = denied(bob.try_submit(request([other])).await);
    assert!(told.starts_with("bob may not submit reboot on db1: no rule allows it"), "{told}");
    // Hosts of a tree's root serve.
    let tree = v1::Tree {
        branches: 2,
        root: "web1".to_owned(),
        advance: v1::tree::Advance::Host.into(),
        orphans: v1::tree::Orphans::Adopt.into(),
        ..Default::default()
    };
    let served = v1::JobSpec { tree: Some(tree), ..job("db1") };
    let told = bob.try_submit(request([served])).await.unwrap_err();
    assert!(told.message().contains("not among what you may know of"), "{told}");
    bob.submit([job("@app=db")]).await;
    assert_eq!(
        denied(bob.undrain("db1").await).split(':').next(),
        Some("bob may not undrain on db1")
    );
    bob.drain("db1", "new disk").await.unwrap();
    conductor.logged("denied").await;
}

#[tokio::test]
async fn what_may_not_be_seen_does_not_exist_and_what_others_did_is_not_touched() {
    let (_place, _conductor, alice, bob) = shared().await;
    let hidden = alice.submit([job("db1"), job("web1")]).await;
    let seen = alice.submit([job("db2")]).await;
    let own = bob.submit([job("db[1-2]")]).await;
    assert_eq!(bob.try_flow(hidden).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(bob.cancel(hidden).await.unwrap_err().code(), Code::NotFound);
    bob.try_flow(seen).await.unwrap();
    let told = denied(bob.cancel(seen).await);
    let expected = "bob may not cancel hello in a flow of somebody else on db2: no rule allows it";
    assert!(told.starts_with(expected), "{told}");
    let mut client = bob.client.clone();
    let flows = client.list_flows(v1::ListFlowsRequest::default()).await.unwrap();
    let page = flows.into_inner().message().await.unwrap().unwrap();
    let ids: Vec<u64> = page.flows.iter().map(|flow| flow.id).collect();
    assert_eq!(ids, [own, seen]);
    let players = bob.players("", false).await.unwrap();
    let names: Vec<&str> = players.iter().map(|player| player.host.as_str()).collect();
    assert_eq!(names, ["db1", "db2"]);
    same(bob.players("web1", false).await, bob.players("web9", false).await);
    bob.cancel(own).await.unwrap();
    alice.cancel(seen).await.unwrap();
    // What is told of the whole fleet is told to those who may see all of it.
    let groups = client.list_groups(v1::ListGroupsRequest {}).await.unwrap();
    denied(groups.into_inner().message().await);
    denied(client.status(v1::StatusRequest {}).await);
}

#[tokio::test]
async fn a_service_is_applied_where_and_with_what_one_may_apply() {
    let (place, _conductor, alice, bob) = shared().await;
    let policy = fs::read_to_string(place.path("policy.toml")).unwrap();
    let more = policy.replace("\"drain\"]", "\"service-apply\", \"service-stop\"]");
    place.write("policy.toml", &more);
    alice.reload(false).await.unwrap();
    let spec = |name: &str, score: &str, on: &str| {
        ServiceSpec::new(name.parse().unwrap(), score.parse().unwrap(), on)
    };
    bob.apply(&spec("db-main", "hello", "db1")).await.unwrap();
    denied(bob.apply(&spec("web", "hello", "db1")).await);
    denied(bob.apply(&spec("db-main", "other", "db1")).await);
    let recipe = Recipe { score: "other".parse().unwrap(), params: Params::default() };
    let (prepare, cleanup) = (Some(recipe.clone()), Some(recipe));
    denied(bob.apply(&ServiceSpec { prepare, ..spec("db-main", "hello", "db1") }).await);
    denied(bob.apply(&ServiceSpec { cleanup, ..spec("db-main", "hello", "db1") }).await);
    let (there, nowhere) = ("web1", "web9");
    let [hidden, none] = [there, nowhere].map(|on| spec("db-main", "hello", on));
    same(bob.apply(&hidden).await, bob.apply(&none).await);
    // A new run of some is the service's: what it does elsewhere ends for it.
    let restart = OfService::Restart("db1".to_owned());
    let restart = v1::ChangeServiceRequest { name: "db-main".to_owned(), verb: Some(restart) };
    denied(bob.client.clone().change_service(restart).await);
    // Where it is now counts too.
    alice.apply(&spec("db-wide", "hello", "db1,web1")).await.unwrap();
    let told = denied(bob.apply(&spec("db-wide", "hello", "db1")).await);
    assert!(told.contains("on hosts that you may not know of"), "{told}");
}

/// Fails unless what is hidden, which is called `web1`, is answered as what is not there, `web9`.
fn same<T: std::fmt::Debug>(hidden: Result<T, Status>, none: Result<T, Status>) {
    let (hidden, none) = (hidden.unwrap_err(), none.unwrap_err());
    assert_eq!(hidden.code(), none.code());
    assert_eq!(hidden.message(), none.message().replace("web9", "web1"));
    assert_eq!(hidden.details().len(), none.details().len());
}

/// Whatever somebody asks of hosts of which they may not know, the answer is that of hosts that are not
/// there; and so are groups and labels of such hosts alone.
#[tokio::test]
async fn hosts_of_which_one_may_not_know_are_as_if_they_were_not_there() {
    let (_place, _conductor, _alice, bob) = shared().await;
    for (hidden, none) in [("web1", "web9"), ("db1,web1", "db1,web9"), ("@app=web", "@app=web9")] {
        let submits = async |hosts: &str| bob.try_submit(request([job(hosts)])).await;
        let plans = async |hosts: &str| {
            let v1::SubmitRequest { spec, .. } = request([job(hosts)]);
            let request = v1::PlanRequest { spec, ..Default::default() };
            bob.client.clone().plan(request).await
        };
        let said =
            |status: Status| status.message().replace("web9", "web1").replace("=web1", "=web");
        for [one, other] in [
            [submits(hidden).await.map(drop), submits(none).await.map(drop)],
            [plans(hidden).await.map(drop), plans(none).await.map(drop)],
            [bob.drain(hidden, "x").await.map(drop), bob.drain(none, "x").await.map(drop)],
            [bob.players(hidden, false).await.map(drop), bob.players(none, false).await.map(drop)],
        ] {
            let (one, other) = (one.unwrap_err(), other.unwrap_err());
            assert_eq!(one.code(), other.code());
            assert_eq!(said(one), said(other));
        }
    }
}

/// A flow that waits is judged again when its time comes, over a restart too: by then its submitter may
/// not have it done any more. A right that is back by then was never gone.
#[tokio::test]
async fn a_flow_that_waits_is_judged_again_when_its_time_comes() {
    let (place, conductor, alice, bob) = shared().await;
    let governed = fs::read_to_string(place.path("policy.toml")).unwrap();
    let without =
        governed.replace("\"operator\", \"drain\"", "\"see\", \"cancel\", \"service-stop\"");
    let gates = [alice.submit([job("db1")]).await, alice.submit([job("db1")]).await];
    let third = alice.submit([job("db1")]).await;
    let after = async |flow: u64| {
        let request = request([job("db2")]);
        let start = v1::Start { at_ms: 0, after: flow, end: "ended".to_owned() };
        let spec = v1::FlowSpec::decode(&request.spec[..]).unwrap();
        let spec = v1::FlowSpec { start: Some(start), ..spec }.encode_to_vec().into();
        bob.try_submit(v1::SubmitRequest { spec, ..request }).await.unwrap().flow
    };
    let (kept, gone, late) = (after(gates[0]).await, after(gates[1]).await, after(third).await);
    place.write("policy.toml", &without);
    alice.reload(false).await.unwrap();
    place.write("policy.toml", &governed);
    alice.reload(false).await.unwrap();
    alice.cancel(gates[0]).await.unwrap();
    assert_eq!(alice.state(kept).await, "running");
    place.write("policy.toml", &without);
    alice.reload(false).await.unwrap();
    assert_eq!(alice.state(gone).await, "pending");
    alice.cancel(gates[1]).await.unwrap();
    let told = alice.flow(gone).await;
    assert_eq!(told.cancelled_by, "orchestra:keeper");
    let why = "when its time came bob may not submit hello: no rule allows it";
    assert_eq!(told.cancel_reason, why);
    conductor.kill();
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    alice.cancel(third).await.unwrap();
    assert_eq!(alice.flow(late).await.cancel_reason, why);
}

/// What is open ends when the right to it is taken away, and goes on when another one is.
#[tokio::test]
async fn a_stream_ends_when_the_right_to_it_is_taken_away() {
    let (place, _conductor, alice, bob) = shared().await;
    let flow = bob.submit([job("db1")]).await;
    let mut watch = bob.watch(flow).await;
    soon("the status", watch.message()).await.unwrap();
    let flow_ref = v1::FlowRef { flow: Some(v1::flow_ref::Flow::Id(flow)) };
    let request = v1::FollowOutputRequest { flow: Some(flow_ref), ..Default::default() };
    let mut output = bob.client.clone().follow_output(request).await.unwrap().into_inner();
    let policy = fs::read_to_string(place.path("policy.toml")).unwrap();
    // To read what it prints needs more than to see it.
    place.write(
        "policy.toml",
        &policy.replace("\"operator\", \"drain\"", "\"see\", \"submit\", \"service-stop\""),
    );
    alice.reload(false).await.unwrap();
    let ended = soon("the end of the output", output.message()).await.unwrap_err();
    assert_eq!(ended.code(), Code::PermissionDenied, "{ended:?}");
    alice.cancel(flow).await.unwrap();
    soon("an event", watch.message()).await.unwrap();
    let other = alice.submit([job("db2")]).await;
    let mut watch = bob.watch(other).await;
    soon("the status", watch.message()).await.unwrap();
    place.write("policy.toml", ROOT);
    alice.reload(false).await.unwrap();
    assert_eq!(watch_ends(&mut watch).await.code(), Code::NotFound);
}

#[tokio::test]
async fn whoever_asks_for_a_reload_keeps_the_right_to_unless_they_accept_that() {
    let (place, _conductor, alice, bob) = shared().await;
    let good = fs::read_to_string(place.path("policy.toml")).unwrap();
    place.write("policy.toml", &good.replace("\"alice\"", "\"carol\""));
    let refused = alice.reload(false).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("--allow-lockout accepts that"), "{refused:?}");
    place.write("policy.toml", &good.replace("\"operator\"", "\"operatr\""));
    let refused = alice.reload(false).await.unwrap_err();
    assert!(refused.message().contains("did you mean operator?"), "{refused:?}");
    bob.drain("db1", "the old policy is in force").await.unwrap();
    place.write("policy.toml", &good.replace("\"alice\"", "\"carol\""));
    let mut client = alice.client.clone();
    let accepted = v1::ReloadRequest { allow_lockout: true, ..Default::default() };
    client.reload(accepted).await.unwrap();
    denied(alice.reload(false).await);
}

#[tokio::test]
async fn a_conductor_without_a_policy_does_not_start_unless_that_is_said() {
    let place = Place::new("db1\n");
    place.govern(ROOT);
    fs::remove_file(place.path("policy.toml")).unwrap();
    let told = Conductor::start_refused(&place);
    assert!(told.contains("policy.toml, which says who may do what"), "{told}");
    place.configure("");
    place.write("policy.toml", ROOT);
    let told = Conductor::start_refused(&place);
    assert!(told.contains("says policy = \"open\", and there is"), "{told}");
    place.govern("[[rule]]\nname = \"x\"\n");
    let told = Conductor::start_refused(&place);
    assert!(told.contains("rule 1: may is missing"), "{told}");
}

#[tokio::test]
async fn everybody_is_told_what_they_may_do_and_who_may_see_the_policy_what_others_may() {
    let (_place, _conductor, alice, bob) = shared().await;
    let mut client = bob.client.clone();
    let own = client.who_am_i(v1::WhoAmIRequest {}).await.unwrap().into_inner();
    assert_eq!((own.name.as_str(), own.open, own.rules.len()), ("bob", false, 1));
    assert_eq!(own.rules[0].hosts.as_ref().unwrap().hosts, "db[1-2]");
    let question = |who: &str, hosts: &str| v1::CheckRightRequest {
        who: who.to_owned(),
        right: "submit".to_owned(),
        score: "hello".to_owned(),
        hosts: hosts.to_owned(),
        ..Default::default()
    };
    let answer = client.check_right(question("bob", "db1")).await.unwrap().into_inner();
    assert!(answer.allowed && answer.why.is_empty());
    let answer = client.check_right(question("bob", "")).await.unwrap().into_inner();
    assert_eq!(
        (answer.allowed, answer.why.as_str(), answer.reach.unwrap().hosts.as_str()),
        (
            false,
            "bob may not submit hello on hosts that you may not know of: rule dbas allows it on other \
             hosts",
            "db[1-2]"
        )
    );
    denied(client.check_right(question("alice", "db1")).await);
    let mut client = alice.client.clone();
    assert!(client.check_right(question("alice", "")).await.unwrap().into_inner().allowed);
    let without_score = v1::CheckRightRequest { score: String::new(), ..question("bob", "") };
    let wrong = client.check_right(without_score).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    let diff = v1::DiffPolicyRequest { text: ROOT.to_owned() };
    let mut pages = client.diff_policy(diff).await.unwrap().into_inner();
    let mut lost = BTreeSet::new();
    while let Some(page) = pages.message().await.unwrap() {
        for found in page.differences {
            assert_eq!((found.who.as_str(), found.gained.unwrap().count), ("bob", 0));
            lost.insert(found.right);
        }
    }
    assert!(lost.contains("submit") && lost.contains("see") && lost.contains("drain"), "{lost:?}");
}
