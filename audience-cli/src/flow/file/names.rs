//! Names of fields that people bring from elsewhere.

use orchestra_document::Foreign::{self, Instead, Renamed};

/// Beside `name` and `slots`.
pub(super) const FLOW: &[Foreign] = &[
    Renamed("job_flow", "slots"),
    Instead("jobs", "jobs are in slots, as in: slots: [{jobs: […]}]"),
    Instead("default_job_timeout", "each job has its own timeout; the default is the score's"),
    Instead("default_retries", "each job has its own retries; the default is 0"),
    Instead("timeout", "each job has its own timeout"),
    Instead("job_timeout", "each job has its own timeout"),
];

/// Beside `jobs`.
pub(super) const SLOT: &[Foreign] = &[
    Instead("slot_id", "slots are numbered by their place"),
    Instead("name", "slots have no names; they are numbered by their place"),
];

/// Beside the fields of a job.
pub(super) const JOB: &[Foreign] = &[
    // Roadrunner's.
    Renamed("job_id", "name"),
    Instead("cmd", "commands are not sent; name an installed score"),
    Renamed("hosts", "targets"),
    Renamed("success_constraint", "success"),
    Renamed("parallelism", "parallel"),
    // Pogo's.
    Instead("command", "commands are not sent; name an installed score"),
    Renamed("target", "targets"),
    Renamed("range", "targets"),
    Renamed("concurrent", "parallel"),
    // A deployment's and a score's, which are no job's.
    Renamed("concurrency", "parallel"),
    Renamed("retry", "retries"),
    Renamed("job_timeout", "timeout"),
    Instead("run_as", "the score's .conf names its user"),
    Renamed("parameters", "params"),
    Renamed("unconstrained", "unthrottled"),
    Instead(
        "constraints",
        "limits per app and environment are the conductor's: orc deployment list",
    ),
    // Ours, said elsewhere.
    Instead("require_same_score", "say it when submitting: submitjob --require-same-score"),
];
