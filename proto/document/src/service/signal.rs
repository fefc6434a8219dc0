//! Signals by name.

use orchestra_model::{service::is_message, whole};

/// Names of the signals from 1 on, as signal(7) numbers them on x86 and ARM.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// A signal as people write it: `TERM`, `SIGTERM` or `15`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signal(pub(super) i32);

impl std::str::FromStr for Signal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let by_name = (1..).zip(NAMES).find(|(_, known)| *known == name);
        if let Some((number, _)) = by_name {
            return Ok(Signal(number));
        }
        whole(text).filter(|number| (1..=31).contains(number)).map(Signal).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            format!("{shown:?}: expected a signal like TERM, or its number from 1 to 31")
        })
    }
}

/// A signal that people may send to a run that is to go on: `HUP`, `SIGHUP` or `1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message(pub i32);

impl std::str::FromStr for Message {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Signal(number) = text.parse()?;
        if is_message(number) {
            return Ok(Message(number));
        }
        let all = (1..).zip(NAMES).filter(|(number, _)| is_message(*number));
        let all = all.map(|(_, name)| name).collect::<Vec<_>>().join(", ");
        Err(format!("{}: no program takes it for a message; expected one of {all}", name(number)))
    }
}

/// The name of a signal, without `SIG`; its number where it has none.
pub(super) fn name(number: i32) -> String {
    let known = (1..).zip(NAMES).find(|(signal, _)| *signal == number);
    known.map_or_else(|| number.to_string(), |(_, name)| name.to_owned())
}
