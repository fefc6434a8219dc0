//! Verbs for an existing service. Each ends well once it is durable.

use orchestra_client::{Client, Exit, ServiceAsk};
use orchestra_model::names::ServiceName;

use crate::{error::Failure, program::Program, view::service::Asked, words::hosts};

/// Asks something of a service, and tells what came of it; `what` is the word for what was done.
pub(crate) fn change(
    name: &ServiceName,
    verb: &ServiceAsk,
    what: &'static str,
    program: &mut Program,
) -> Result<Exit, Failure> {
    program.ask(async |client: &mut Client, console| {
        let asked = client.change_service(name, verb).await;
        let answer = asked.map_err(|failure| may_be_done(failure, name))?;
        let of_strangers = matches!(verb, ServiceAsk::StopStrangers(_));
        let (is_followed, note) = (false, None);
        console.answer(Asked { what, answer: &answer, of_strangers, is_followed, note })?;
        Ok(Exit::Ok)
    })
}

/// The host set expression of `-w`; empty: all hosts of the service.
pub(super) fn on_hosts(expression: Option<String>) -> Result<String, Failure> {
    match expression {
        Some(expression) => hosts(&[expression]),
        None => Ok(String::new()),
    }
}

/// Adds to a failure that it is not known whether what was asked for is done.
pub(super) fn may_be_done(failure: Failure, name: &ServiceName) -> Failure {
    if failure.exit != Exit::Away || failure.remedy().is_some() {
        return failure;
    }
    failure.hint(format!("it may have been done all the same: orc service show {name}"))
}

/// Refuses a verb that ends every run of a service, unless a flag confirms it.
pub(super) fn only_if_meant(is_meant: bool, name: &ServiceName, verb: &str) -> Result<(), Failure> {
    if is_meant {
        return Ok(());
    }
    let what = format!("orc service {verb} ends every run of {name}, and nothing starts it again");
    Err(Failure::usage(what).hint(format!("if that is meant: orc service {verb} {name} --yes")))
}
