//! Who may call what, from the certificate alone.

use orchestra_certs::Role;
use orchestra_proto::v1::{self, audience_client::AudienceClient, players_client::PlayersClient};
use tonic::Code;

use crate::harness::{Conductor, Place};

#[tokio::test]
async fn a_player_may_not_ask_as_the_audience_does() {
    let place = Place::new("db1\n");
    let conductor = Conductor::start(&place);
    let channel = place.connect(&conductor.address, Role::Player, "db1").await;
    let mut client = AudienceClient::new(channel);
    let refusals = [
        ("Status", client.status(v1::StatusRequest {}).await.err()),
        ("Submit", client.submit(v1::SubmitRequest::default()).await.err()),
        ("Recover", client.recover(v1::RecoverRequest::default()).await.err()),
        ("Reload", client.reload(v1::ReloadRequest::default()).await.err()),
        ("Drain", client.drain(v1::DrainRequest::default()).await.err()),
        ("Retry", client.retry(v1::RetryRequest::default()).await.err()),
        ("ReleaseHolds", client.release_holds(v1::ReleaseHoldsRequest::default()).await.err()),
        ("Watch", client.watch(v1::WatchRequest::default()).await.err()),
        ("GetLogs", client.get_logs(v1::GetLogsRequest::default()).await.err()),
    ];
    for (call, refusal) in refusals {
        let refusal = refusal.expect(call);
        assert_eq!(refusal.code(), Code::PermissionDenied, "{call}");
        assert_eq!(
            refusal.message(),
            format!(
                "the certificate spiffe://loopback.test/player/db1 has the role player, which may \
                 not call /orchestra.v1.Audience/{call}"
            )
        );
    }
    conductor.logged("the role may not call this").await;
}

#[tokio::test]
async fn the_audience_may_not_attach_whatever_its_name() {
    let place = Place::new("db1\n");
    let conductor = Conductor::start(&place);
    for name in ["alice", "db1"] {
        let channel = place.connect(&conductor.address, Role::Audience, name).await;
        let frames = tokio_stream::iter([v1::FromPlayers::default()]);
        let refusal = PlayersClient::new(channel).attach(frames).await.err().unwrap();
        assert_eq!(refusal.code(), Code::PermissionDenied);
        assert!(refusal.message().ends_with("may not call /orchestra.v1.Players/Attach"));
    }
}

#[tokio::test]
async fn a_call_that_does_not_exist_is_nobodys() {
    let place = Place::new("db1\n");
    let conductor = Conductor::start(&place);
    let channel = place.connect(&conductor.address, Role::Audience, "alice").await;
    let mut grpc = tonic::client::Grpc::new(channel);
    for path in ["/orchestra.v1.Audience/Shutdown", "/grpc.reflection.v1.ServerReflection/Info"] {
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<v1::StatusRequest, v1::ConductorStatus>::default();
        let request = tonic::Request::new(v1::StatusRequest {});
        let refusal = grpc.unary(request, path.parse().unwrap(), codec).await.err().unwrap();
        assert_eq!(refusal.code(), Code::PermissionDenied, "{path}");
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_nobody() {
    let place = Place::new("db1\n");
    let other = Place::new("db1\n");
    let conductor = Conductor::start(&place);
    let error = other.try_connect(&conductor.address, Role::Audience, "alice").await.err().unwrap();
    assert!(error.to_string().contains("no TLS connection"), "{error}");
}
