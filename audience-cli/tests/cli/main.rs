//! The three programs as processes, over mutual TLS, against a conductor that says what each test
//! wants it to say.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod bundle;
#[cfg(test)]
mod completion;
#[cfg(test)]
mod deployment;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod fake;
mod follow;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod import;
mod json;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod orc;
#[cfg(test)]
mod place;
#[cfg(test)]
mod plan;
mod policy;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod service;
#[cfg(test)]
mod status;
#[cfg(test)]
mod steer;
#[cfg(test)]
mod submit;
#[cfg(test)]
mod terminal;
#[cfg(test)]
mod top;
#[cfg(test)]
mod values;
#[cfg(test)]
mod wait;
