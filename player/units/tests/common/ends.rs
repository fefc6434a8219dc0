//! How the tables of restarts, of the engine and of the sitter, write an end of a run.

use orchestra_model::service::RunEnd;

/// An end of a run, as the tables have it: an exit code, a signal, or a letter.
pub(crate) fn spelled(end: &RunEnd) -> String {
    match end {
        RunEnd::Exited(code) => code.to_string(),
        RunEnd::Signalled(signal) => signal.to_string(),
        RunEnd::OutOfMemory(_) => "m".to_owned(),
        RunEnd::Watchdog => "w".to_owned(),
        RunEnd::NeverReady => "n".to_owned(),
        RunEnd::Asked => "a".to_owned(),
        RunEnd::HostRestarted => "h".to_owned(),
        RunEnd::Unknown => "?".to_owned(),
        RunEnd::Linked => panic!("it is linked to none"),
        RunEnd::LeaseRanOut => panic!("it has no lease"),
        RunEnd::NotSpawned(why) => panic!("{why}"),
    }
}
