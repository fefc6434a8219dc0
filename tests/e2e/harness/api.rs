//! The audience's API without a tool in between: what a program of somebody else may send.

use std::time::Duration;

use orchestra_certs::{Expected, TlsFiles, channel, client_config};
use orchestra_model::HostName;
use orchestra_proto::v1::audience_client::AudienceClient;
use tonic::transport::Channel;

use super::{
    Fleet,
    fleet::{CONDUCTOR, DOMAIN},
};

/// What the generated code makes of the service.
pub(crate) type Api = AudienceClient<Channel>;

impl Fleet {
    /// Runs calls as alice, and returns what they return.
    pub(crate) fn call<T>(&self, calls: impl AsyncFnOnce(Api) -> T) -> T {
        let ca = self.dir().join("ca");
        let files = TlsFiles {
            ca: ca.join("ca.pem"),
            cert: ca.join("audience/alice.pem"),
            key: ca.join("audience/alice.key"),
            crl: None,
        };
        let name = |text: &str| HostName::new(text).expect("a host name");
        let expected = Expected { domain: name(DOMAIN), conductor_name: name(CONDUCTOR) };
        let config = client_config(&files, &expected).expect("certificates");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let connected = channel(&self.address(), config, Duration::from_secs(10)).await;
            calls(AudienceClient::new(connected.expect("a connection"))).await
        })
    }
}
