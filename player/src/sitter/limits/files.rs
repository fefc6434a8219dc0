//! What is written into which file of a leaf.

use std::{fs, path::Path};

use orchestra_model::service::{MilliCores, Resources};

use super::{Controller, LimitError};

/// The period in which a run may use its share of processors, in microseconds: the kernel's
/// default.
const PERIOD_US: u64 = 100_000;

/// A file of a leaf, and what it is to hold.
pub(super) struct Setting {
    file: &'static str,
    value: u64,
    /// The period, if the file holds it beside the quota.
    period: Option<u64>,
    /// Whether older kernels, or those without swap, lack the file.
    is_optional: bool,
}

fn setting(file: &'static str, value: u64) -> Setting {
    Setting { file, value, period: None, is_optional: false }
}

fn where_there_is(file: &'static str, value: u64) -> Setting {
    Setting { is_optional: true, ..setting(file, value) }
}

/// Returns how long a run may have processors in each period, in microseconds.
fn quota(MilliCores(cores): MilliCores) -> u64 {
    u64::from(cores) * PERIOD_US / 1_000
}

/// Returns what a controller's files in a leaf of v2 are to hold.
pub(super) fn of_v2(controller: Controller, resources: &Resources) -> Vec<Setting> {
    let Resources { memory, reserve, cpu, processes, enforced: _ } = resources;
    match controller {
        Controller::Memory => {
            let most = memory.map_or_else(Vec::new, |most| {
                vec![
                    setting("memory.max", most.0),
                    // A run beyond its memory is killed, and not swapped out.
                    where_there_is("memory.swap.max", 0),
                    where_there_is("memory.oom.group", 1),
                ]
            });
            let kept = reserve.map(|kept| where_there_is("memory.low", kept.0));
            most.into_iter().chain(kept).collect()
        }
        Controller::Cpu => cpu.map_or_else(Vec::new, |most| {
            vec![Setting { period: Some(PERIOD_US), ..setting("cpu.max", quota(most)) }]
        }),
        Controller::Pids => of_pids(*processes),
    }
}

/// Returns what a controller's files in a leaf of v1 are to hold, in the order of writing.
pub(super) fn of_v1(controller: Controller, resources: &Resources) -> Vec<Setting> {
    let Resources { memory, reserve, cpu, processes, enforced: _ } = resources;
    match controller {
        Controller::Memory => {
            let most = memory.map_or_else(Vec::new, |most| {
                // The kernel refuses a limit of memory and swap that is below that of memory alone.
                let both = where_there_is("memory.memsw.limit_in_bytes", most.0);
                vec![setting("memory.limit_in_bytes", most.0), both]
            });
            let kept = reserve.map(|kept| where_there_is("memory.soft_limit_in_bytes", kept.0));
            most.into_iter().chain(kept).collect()
        }
        Controller::Cpu => cpu.map_or_else(Vec::new, |most| {
            let period = setting("cpu.cfs_period_us", PERIOD_US);
            vec![period, setting("cpu.cfs_quota_us", quota(most))]
        }),
        Controller::Pids => of_pids(*processes),
    }
}

fn of_pids(processes: Option<u32>) -> Vec<Setting> {
    processes.map(|most| setting("pids.max", most.into())).into_iter().collect()
}

/// Writes settings into a leaf.
pub(super) fn write(leaf: &Path, settings: Vec<Setting>) -> Result<(), LimitError> {
    for Setting { file, value, period, is_optional } in settings {
        let file = leaf.join(file);
        if is_optional && !file.exists() {
            continue;
        }
        let text = match period {
            Some(period) => format!("{value} {period}"),
            None => value.to_string(),
        };
        fs::write(&file, text).map_err(|source| LimitError { file, source })?;
    }
    Ok(())
}
