//! `orc explain` of services: why an instance is not where or as it is to be.

use std::collections::BTreeMap;

use orchestra_client::{Client, Exit, ServiceInstance};
use orchestra_model::{
    HostSet,
    ids::{FlowPart, Reference},
    names::ServiceName,
    service::Obstacle,
};

use super::show::find;
use crate::{console::Console, error::Failure, view::service::ExplainedService};

/// Tells what keeps an instance of a service, or each of them, from being where and as it is to be,
/// with what the flows say that are to change it.
pub(crate) async fn tell(
    name: &ServiceName,
    of: Option<&ServiceInstance>,
    client: &mut Client,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let status = find(name, client).await?;
    let meant = ExplainedService::is_meant(&status, of);
    if of.is_some() && meant.is_empty() {
        let what = format!("asking for an instance of service {name}: it has none like that");
        return Err(Failure::new(Exit::NoSuchFlow, what).hint(format!("orc service show {name}")));
    }
    let mut flows = BTreeMap::new();
    for hindered in &status.hindered {
        let hosts = hindered.hosts.intersection(&meant);
        if let (Some(flow), false) = (hindered.by.flow(), hosts.is_empty()) {
            let host = only(&hosts).filter(|_| matches!(hindered.by, Obstacle::Flow(_)));
            let reference =
                Reference { flow: Some(flow), part: FlowPart::Flow, host: host.cloned() };
            let told = client.explain(&reference).await?.explanations;
            flows.entry(flow).or_insert_with(Vec::new).extend(told);
        }
    }
    console.answer(ExplainedService { status: &status, of, flows: &flows })?;
    Ok(Exit::Ok)
}

/// The only host, if there is one alone: then a flow explains that one.
fn only(hosts: &HostSet) -> Option<&orchestra_model::names::HostName> {
    hosts.iter().next().filter(|_| hosts.len() == 1)
}
