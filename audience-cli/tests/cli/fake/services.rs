//! What the conductor answers of services.

use orchestra_model::{
    Asker, HostName, Timestamp,
    bundle::{BundleRegister, Seal},
};
use orchestra_proto::{decode_service, v1};
use tonic::{Response, Status};

use super::{
    Tables,
    service::{Pages, pages},
};

pub(super) fn apply(
    tables: &mut Tables,
    request: v1::ApplyServicesRequest,
) -> Result<Response<v1::ServicesChanged>, Status> {
    let names = names(&request);
    tables.applied.push(request);
    let answer = answer(tables)?.into_inner();
    let of = |name| v1::ServiceChanged { name, ..answer.clone() };
    Ok(Response::new(v1::ServicesChanged { services: names.into_iter().map(of).collect() }))
}

/// What the specs of a request are called.
fn names(request: &v1::ApplyServicesRequest) -> Vec<String> {
    let specs = request.specs.iter().map(|spec| decode_service(spec).unwrap());
    specs.map(|spec| spec.name.to_string()).collect()
}

pub(super) fn change(
    tables: &mut Tables,
    request: v1::ChangeServiceRequest,
) -> Result<Response<v1::ServiceChanged>, Status> {
    tables.service_changes.push(request);
    answer(tables)
}

pub(super) fn register_bundle(
    register: &mut BundleRegister,
    request: v1::RegisterBundleRequest,
) -> Result<Response<v1::RegisterBundleResponse>, Status> {
    let v1::RegisterBundleRequest { seal, source } = request;
    let seal = Seal::decode(&seal).unwrap();
    let source = HostName::new(&source).ok();
    let domain = seal.statement.domain.clone();
    let at = Timestamp(1_763_712_000_000);
    let done = register.register(&seal, source, &domain, &Asker::Local, at);
    let done = done.map_err(|why| Status::failed_precondition(why.to_string()))?;
    let bundle = Some((&done.bundle).into());
    Ok(Response::new(v1::RegisterBundleResponse { bundle, unchanged: done.unchanged }))
}

pub(super) fn plan(
    tables: &mut Tables,
    request: v1::ApplyServicesRequest,
) -> Result<Response<v1::ServicePlans>, Status> {
    let count = request.specs.len();
    tables.planned_services.push(request);
    match tables.refusals.pop_front() {
        Some(refusal) => Err(refusal),
        None => {
            let services = vec![tables.service_plan.clone(); count];
            Ok(Response::new(v1::ServicePlans { services }))
        }
    }
}

fn answer(tables: &mut Tables) -> Result<Response<v1::ServiceChanged>, Status> {
    match tables.refusals.pop_front() {
        Some(refusal) => Err(refusal),
        None => Ok(Response::new(tables.service_changed.clone())),
    }
}

/// Services; one that is asked for by name stands otherwise the next time, where tables say so.
pub(super) fn list(
    tables: &mut Tables,
    name: &str,
) -> Result<Response<Pages<v1::ServicePage>>, Status> {
    if let Some(refusal) = tables.refusals.pop_front() {
        return Err(refusal);
    }
    let found =
        tables.services.iter().filter(|it| name.is_empty() || it.record.name.as_str() == name);
    let services: Vec<v1::ServiceStatus> = found.map(Into::into).collect();
    if services.is_empty() && !name.is_empty() {
        return Err(Status::not_found(format!("there is no service {name}")));
    }
    if let Some(next) = tables.services_then.pop_front() {
        tables.services = vec![next];
    }
    Ok(pages(vec![Ok(v1::ServicePage { services })]))
}

pub(super) fn versions(
    tables: &Tables,
    name: &str,
) -> Result<Response<Pages<v1::VersionPage>>, Status> {
    if tables.services.iter().all(|it| it.record.name.as_str() != name) {
        return Err(Status::not_found(format!("there is no service {name}")));
    }
    Ok(pages(vec![Ok(v1::VersionPage { versions: tables.versions.clone() })]))
}
