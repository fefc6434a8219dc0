//! Which keys a configuration may have, and what was meant by the others.

use orchestra_model::nearest;

use super::Problem;

/// The fields of `Raw`; a test keeps the two in step.
pub(super) const KEYS: [&str; 17] = [
    "conductors",
    "conductor_name",
    "domain",
    "scores_dir",
    "spool_dir",
    "max_tasks",
    "agent_user",
    "task_user",
    "prober_user",
    "output_max",
    "kill_grace",
    "stop_grace",
    "cgroup",
    "processes_max",
    "max_units",
    "run_dir",
    "tls",
];
/// The fields of `RawTls`.
pub(super) const TLS_KEYS: [&str; 4] = ["ca", "cert", "key", "crl"];

/// Every key that is not known, with the nearest that is.
pub(super) fn unknown_keys(table: &toml::Table) -> Vec<Problem> {
    let tls = table.get("tls").and_then(toml::Value::as_table);
    let top = table.keys().map(|key| ("", key, &KEYS[..]));
    let below = tls.into_iter().flat_map(toml::Table::keys).map(|key| ("tls.", key, &TLS_KEYS[..]));
    top.chain(below)
        .filter(|(_, key, known)| !known.contains(&key.as_str()))
        .map(|(prefix, key, known)| Problem {
            key: format!("{prefix}{key}"),
            what: match nearest(key, known.iter().copied()) {
                Some(meant) => format!("unknown key; did you mean {prefix}{meant}?"),
                None => "unknown key".to_owned(),
            },
        })
        .collect()
}
