//! Vitals: what sitters send, and what people are told.

use orchestra_model::{
    ByteSize, HostName, Millis, ServiceName, limits,
    service::{MilliCores, Ordinal},
    vitals::{
        BATCH, Filled, HighestShares, HostUsage, HostVitals, Permille, TalliedUnit, UnitUsage,
        UnitVitals, VitalsBatch, VitalsSample,
    },
};

use crate::{
    invalid::{InField, Invalid},
    v1,
};

/// One KiB.
const KIB: u64 = 1 << 10;

fn permille(share: Option<u32>, field: &'static str) -> Result<Option<Permille>, Invalid> {
    let read = |share| u16::try_from(share).ok().map(Permille).filter(|it| *it <= Permille::ALL);
    share.map(|share| read(share).in_field(field)).transpose()
}

fn permille_to_wire(share: Option<Permille>) -> Option<u32> {
    share.map(|share| share.0.into())
}

fn filled(used: Option<v1::BytesUsed>) -> Option<Filled> {
    used.map(|used| Filled { used: ByteSize(used.used), total: ByteSize(used.total) })
}

fn filled_to_wire(filled: Option<Filled>) -> Option<v1::BytesUsed> {
    filled.map(|filled| v1::BytesUsed { used: filled.used.0, total: filled.total.0 })
}

impl From<&HostVitals> for v1::HostVitals {
    fn from(vitals: &HostVitals) -> Self {
        Self {
            cpu_permille: permille_to_wire(vitals.cpu),
            cores: vitals.cores,
            load_hundredths: vitals.load,
            memory: filled_to_wire(vitals.memory),
            swap: filled_to_wire(vitals.swap),
            disk: filled_to_wire(vitals.disk),
            cpu_pressure_permille: permille_to_wire(vitals.cpu_pressure),
            memory_pressure_permille: permille_to_wire(vitals.memory_pressure),
            io_pressure_permille: permille_to_wire(vitals.io_pressure),
        }
    }
}

impl TryFrom<&v1::HostVitals> for HostVitals {
    type Error = Invalid;

    fn try_from(vitals: &v1::HostVitals) -> Result<Self, Invalid> {
        Ok(HostVitals {
            cpu: permille(vitals.cpu_permille, "HostVitals.cpu_permille")?,
            cores: vitals.cores,
            load: vitals.load_hundredths,
            memory: filled(vitals.memory),
            swap: filled(vitals.swap),
            disk: filled(vitals.disk),
            cpu_pressure: permille(
                vitals.cpu_pressure_permille,
                "HostVitals.cpu_pressure_permille",
            )?,
            memory_pressure: permille(
                vitals.memory_pressure_permille,
                "HostVitals.memory_pressure_permille",
            )?,
            io_pressure: permille(vitals.io_pressure_permille, "HostVitals.io_pressure_permille")?,
        })
    }
}

fn unit_to_wire(number: u32, vitals: &UnitVitals) -> v1::UnitVitals {
    v1::UnitVitals {
        unit: number,
        cpu_millicores: vitals.cpu.map(|cpu| cpu.0),
        throttled_permille: permille_to_wire(vitals.throttled),
        memory_kib: vitals.memory.map(|size| size.0 / KIB),
        memory_peak_kib: vitals.memory_peak.map(|size| size.0 / KIB),
        processes: vitals.processes,
    }
}

fn unit_from_wire(vitals: &v1::UnitVitals) -> Result<UnitVitals, Invalid> {
    let size = |kib: u64| ByteSize(kib.saturating_mul(KIB));
    Ok(UnitVitals {
        cpu: vitals.cpu_millicores.map(MilliCores),
        throttled: permille(vitals.throttled_permille, "UnitVitals.throttled_permille")?,
        memory: vitals.memory_kib.map(size),
        memory_peak: vitals.memory_peak_kib.map(size),
        processes: vitals.processes,
    })
}

/// Spells what a sitter sends of vitals at once.
pub fn batch_to_wire(batch: &VitalsBatch) -> v1::Vitals {
    let unit = |unit: &TalliedUnit| v1::TalliedUnit {
        number: unit.number,
        service: unit.service.to_string(),
        ordinal: unit.ordinal.0,
        memory_limit_bytes: unit.memory_limit.map(|size| size.0),
        cpu_limit_millicores: unit.cpu_limit.map(|cpu| cpu.0),
    };
    let sample = |sample: &VitalsSample| v1::VitalsSample {
        age_ms: u32::try_from(sample.age.0).unwrap_or(u32::MAX),
        host: Some((&sample.host).into()),
        units: sample.units.iter().map(|(number, unit)| unit_to_wire(*number, unit)).collect(),
    };
    v1::Vitals {
        units: batch.units.iter().map(unit).collect(),
        samples: batch.samples.iter().map(sample).collect(),
    }
}

/// Reads what a player sent of vitals.
pub fn batch_from_wire(batch: &v1::Vitals) -> Result<VitalsBatch, Invalid> {
    let is_number = |number: &u32| (1..=limits::UNITS).contains(&(*number as usize));
    let unit = |unit: &v1::TalliedUnit| -> Result<TalliedUnit, Invalid> {
        Ok(TalliedUnit {
            number: Some(unit.number).filter(is_number).in_field("TalliedUnit.number")?,
            service: ServiceName::new(&unit.service).in_field("TalliedUnit.service")?,
            ordinal: Ordinal(unit.ordinal),
            memory_limit: unit.memory_limit_bytes.map(ByteSize),
            cpu_limit: unit.cpu_limit_millicores.map(MilliCores),
        })
    };
    let sample = |sample: &v1::VitalsSample| -> Result<VitalsSample, Invalid> {
        let of_unit = |unit: &v1::UnitVitals| -> Result<(u32, UnitVitals), Invalid> {
            let number = Some(unit.unit).filter(is_number).in_field("UnitVitals.unit")?;
            Ok((number, unit_from_wire(unit)?))
        };
        if sample.units.len() > limits::UNITS {
            return Err(Invalid::field("VitalsSample.units"));
        }
        Ok(VitalsSample {
            age: Millis(sample.age_ms.into()),
            host: sample.host.as_ref().in_field("VitalsSample.host")?.try_into()?,
            units: sample.units.iter().map(of_unit).collect::<Result<_, _>>()?,
        })
    };
    if batch.samples.len() > BATCH {
        return Err(Invalid::field("Vitals.samples"));
    }
    if batch.units.len() > limits::UNITS {
        return Err(Invalid::field("Vitals.units"));
    }
    Ok(VitalsBatch {
        units: batch.units.iter().map(unit).collect::<Result<_, _>>()?,
        samples: batch.samples.iter().map(sample).collect::<Result<_, _>>()?,
    })
}

impl From<&UnitUsage> for v1::UnitUsage {
    fn from(usage: &UnitUsage) -> Self {
        Self {
            service: usage.service.to_string(),
            ordinal: usage.ordinal.0,
            age_ms: usage.age.0,
            now: Some(unit_to_wire(0, &usage.now)),
            cpu_highest_millicores: usage.cpu_highest.map(|cpu| cpu.0),
            memory_limit_bytes: usage.memory_limit.map(|size| size.0),
            cpu_limit_millicores: usage.cpu_limit.map(|cpu| cpu.0),
        }
    }
}

impl TryFrom<&v1::UnitUsage> for UnitUsage {
    type Error = Invalid;

    fn try_from(usage: &v1::UnitUsage) -> Result<Self, Invalid> {
        Ok(UnitUsage {
            service: ServiceName::new(&usage.service).in_field("UnitUsage.service")?,
            ordinal: Ordinal(usage.ordinal),
            age: Millis(usage.age_ms),
            now: unit_from_wire(usage.now.as_ref().in_field("UnitUsage.now")?)?,
            cpu_highest: usage.cpu_highest_millicores.map(MilliCores),
            memory_limit: usage.memory_limit_bytes.map(ByteSize),
            cpu_limit: usage.cpu_limit_millicores.map(MilliCores),
        })
    }
}

fn highest_to_wire(highest: HighestShares) -> v1::HighestShares {
    v1::HighestShares {
        cpu_permille: permille_to_wire(highest.cpu),
        memory_permille: permille_to_wire(highest.memory),
    }
}

fn highest_from_wire(highest: Option<&v1::HighestShares>) -> Result<HighestShares, Invalid> {
    let Some(highest) = highest else { return Ok(HighestShares::default()) };
    Ok(HighestShares {
        cpu: permille(highest.cpu_permille, "HighestShares.cpu_permille")?,
        memory: permille(highest.memory_permille, "HighestShares.memory_permille")?,
    })
}

impl From<&HostUsage> for v1::HostUsage {
    fn from(usage: &HostUsage) -> Self {
        Self {
            host: usage.host.to_string(),
            attached: usage.attached,
            age_ms: usage.age.map(|age| age.0),
            now: Some((&usage.now).into()),
            highest: Some(highest_to_wire(usage.highest)),
            highest_of_day: Some(highest_to_wire(usage.highest_of_day)),
            units: usage.units.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<&v1::HostUsage> for HostUsage {
    type Error = Invalid;

    fn try_from(usage: &v1::HostUsage) -> Result<Self, Invalid> {
        Ok(HostUsage {
            host: HostName::new(&usage.host).in_field("HostUsage.host")?,
            attached: usage.attached,
            age: usage.age_ms.map(Millis),
            now: usage.now.as_ref().in_field("HostUsage.now")?.try_into()?,
            highest: highest_from_wire(usage.highest.as_ref())?,
            highest_of_day: highest_from_wire(usage.highest_of_day.as_ref())?,
            units: usage.units.iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    /// Larger than anything honest.
    fn busiest() -> UnitVitals {
        UnitVitals {
            cpu: Some(MilliCores(4_096_000)),
            throttled: Some(Permille::ALL),
            memory: Some(ByteSize(1 << 50)),
            memory_peak: Some(ByteSize(1 << 50)),
            processes: Some(4 << 20),
        }
    }

    fn sample(units: usize) -> VitalsSample {
        let unit = |number| (u32::try_from(number).unwrap(), busiest());
        VitalsSample {
            age: Millis(50_000),
            host: HostVitals { cpu: Some(Permille(7)), cores: Some(2), ..HostVitals::default() },
            units: (1..=units).map(unit).collect(),
        }
    }

    #[test]
    fn a_unit_takes_forty_bytes_of_a_sample() {
        let bytes = |units| {
            v1::Vitals::encoded_len(&batch_to_wire(&VitalsBatch {
                units: Vec::new(),
                samples: vec![sample(units)],
            }))
        };
        let (none, all) = (bytes(0), bytes(limits::UNITS));
        let of_one = (all - none).div_ceil(limits::UNITS);
        println!("a unit takes at most {of_one} bytes of a sample");
        assert!(of_one <= 40, "{of_one}");
    }

    #[test]
    fn a_batch_is_read_as_it_was_written_and_no_longer_one_is() {
        let unit = TalliedUnit {
            number: 1,
            service: ServiceName::new("web").unwrap(),
            ordinal: Ordinal(3),
            memory_limit: Some(ByteSize(64 << 20)),
            cpu_limit: None,
        };
        let batch = VitalsBatch { units: vec![unit], samples: vec![sample(2); BATCH] };
        let wire = batch_to_wire(&batch);
        assert_eq!(batch_from_wire(&wire).unwrap(), batch);
        let mut long = wire.clone();
        long.samples.push(long.samples[0].clone());
        assert!(batch_from_wire(&long).is_err());
        for number in [0, 4_097] {
            let mut wrong = wire.clone();
            wrong.samples[0].units[0].unit = number;
            assert!(batch_from_wire(&wrong).is_err(), "{number}");
        }
        let mut more = wire;
        more.samples[0].units[0].throttled_permille = Some(1_001);
        assert!(batch_from_wire(&more).is_err());
    }
}
