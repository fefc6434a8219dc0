//! What a unit uses, for all views.

use orchestra_model::{
    ByteSize,
    service::MilliCores,
    vitals::{Permille, UnitUsage},
};
use serde::Serialize;

/// What a unit uses, in JSON. What is not known is `null`.
#[derive(Serialize)]
pub(crate) struct OfUsage {
    /// How long ago the sample was taken.
    age_ms: u64,
    cpu_millicores: Option<u32>,
    /// The highest mean of ten seconds within the last ten minutes.
    cpu_highest_millicores: Option<u32>,
    cpu_limit_millicores: Option<u32>,
    /// For how much of the last minute it was held back.
    throttled_permille: Option<u16>,
    memory_bytes: Option<u64>,
    /// The most memory that its run had.
    memory_peak_bytes: Option<u64>,
    memory_limit_bytes: Option<u64>,
    processes: Option<u32>,
}

impl From<&UnitUsage> for OfUsage {
    fn from(usage: &UnitUsage) -> Self {
        let bytes = |size: Option<ByteSize>| size.map(|size| size.0);
        let cores = |cores: Option<MilliCores>| cores.map(|cores| cores.0);
        Self {
            age_ms: usage.age.0,
            cpu_millicores: cores(usage.now.cpu),
            cpu_highest_millicores: cores(usage.cpu_highest),
            cpu_limit_millicores: cores(usage.cpu_limit),
            throttled_permille: permille(usage.now.throttled),
            memory_bytes: bytes(usage.now.memory),
            memory_peak_bytes: bytes(usage.now.memory_peak),
            memory_limit_bytes: bytes(usage.memory_limit),
            processes: usage.now.processes,
        }
    }
}

/// A share in JSON.
pub(crate) fn permille(share: Option<Permille>) -> Option<u16> {
    share.map(|share| share.0)
}

/// `uses cpu 0.25 (highest 0.3), memory 30.1MiB (peak 40.2MiB)`: of several units from the least to
/// the most. Empty where nothing is known.
pub(crate) fn used(usages: &[&UnitUsage]) -> String {
    let cpu = amount(
        "cpu",
        usages.iter().map(|usage| usage.now.cpu),
        ("highest", usages.iter().filter_map(|usage| usage.cpu_highest).max()),
        MilliCores::to_string,
    );
    let memory = amount(
        "memory",
        usages.iter().map(|usage| usage.now.memory),
        ("peak", usages.iter().filter_map(|usage| usage.now.memory_peak).max()),
        |size| size.rounded().to_string(),
    );
    let both: Vec<String> = [cpu, memory].into_iter().flatten().collect();
    if both.is_empty() { String::new() } else { format!("uses {}", both.join(", ")) }
}

/// `memory 30.1MiB to 40.2MiB (peak 50.3MiB)`.
fn amount<T: Ord + Copy>(
    what: &str,
    now: impl Iterator<Item = Option<T>> + Clone,
    (word, most): (&str, Option<T>),
    show: impl Fn(&T) -> String,
) -> Option<String> {
    let known = now.flatten();
    let (least, greatest) = (known.clone().min()?, known.max()?);
    let range = match (show(&least), show(&greatest)) {
        (one, other) if one == other => one,
        (one, other) => format!("{one} to {other}"),
    };
    let most = most.map_or_else(String::new, |most| format!(" ({word} {})", show(&most)));
    Some(format!("{what} {range}{most}"))
}

/// Says how much units are held back by their limit of processors, and how many. `held back by
/// resources.cpu, 0.5, for 95% of the last minute`.
pub(crate) fn held_back(usages: &[&UnitUsage]) -> Option<String> {
    let throttled: Vec<_> = usages.iter().filter(|usage| usage.is_throttled()).collect();
    let most = throttled.iter().max_by_key(|usage| usage.now.throttled)?;
    let share = most.now.throttled?;
    let limit = most.cpu_limit.map_or_else(String::new, |limit| format!(", {limit},"));
    let of = match (throttled.len(), usages.len()) {
        (_, 1) => String::new(),
        (some, all) => format!("{some} of {all} "),
    };
    Some(format!("{of}held back by resources.cpu{limit} for {share} of the last minute"))
}

#[cfg(test)]
pub(super) mod tests {
    use orchestra_model::{ServiceName, service::Ordinal, time::Millis, vitals::UnitVitals};

    use super::*;

    /// A unit of `web`, of so many thousandths of a processor and MiB.
    pub(crate) fn usage(ordinal: u32, cpu: u32, memory: u64) -> UnitUsage {
        UnitUsage {
            service: ServiceName::new("web").unwrap(),
            ordinal: Ordinal(ordinal),
            age: Millis(4_000),
            now: UnitVitals {
                cpu: Some(MilliCores(cpu)),
                throttled: None,
                memory: Some(ByteSize(memory << 20)),
                memory_peak: Some(ByteSize((memory + 10) << 20)),
                processes: Some(3),
            },
            cpu_highest: Some(MilliCores(cpu + 50)),
            memory_limit: Some(ByteSize(64 << 20)),
            cpu_limit: Some(MilliCores(500)),
        }
    }

    #[test]
    fn what_is_used_is_told_from_the_least_to_the_most() {
        let (one, other) = (usage(1, 250, 30), usage(2, 100, 50));
        assert_eq!(used(&[&one]), "uses cpu 0.25 (highest 0.3), memory 30.0MiB (peak 40.0MiB)");
        assert_eq!(
            used(&[&one, &other]),
            "uses cpu 0.1 to 0.25 (highest 0.3), memory 30.0MiB to 50.0MiB (peak 60.0MiB)"
        );
        let bare = UnitUsage { now: UnitVitals::default(), ..one };
        assert_eq!(used(&[&bare]), "", "what is not known is not 0");
        assert_eq!(used(&[]), "");
    }

    #[test]
    fn who_is_held_back_is_told() {
        let free = usage(1, 250, 30);
        let mut held = usage(2, 500, 30);
        held.now.throttled = Some(Permille(950));
        assert_eq!(held_back(&[&free]), None);
        let text = "held back by resources.cpu, 0.5, for 95% of the last minute";
        assert_eq!(held_back(&[&held]).as_deref(), Some(text));
        assert_eq!(held_back(&[&free, &held]), Some(format!("1 of 2 {text}")));
    }
}
