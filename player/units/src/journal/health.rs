//! Probes and rules of health, in bytes.

use orchestra_model::{
    Millis, ScoreName,
    journal::{ByteReader, push_bytes},
    limits,
    service::{
        HealthRule, HttpPath, OpenTarget, PATH_BYTES, PORT_NAME_BYTES, PortName, Probe,
        SOCKET_NAME_BYTES, SocketName, Target,
    },
};

pub(super) fn push_probe(out: &mut Vec<u8>, probe: &Probe) {
    let target = match probe {
        Probe::Tcp(target) | Probe::Http(target, _) => target,
        Probe::Score(name) => {
            out.push(4);
            return push_bytes(out, name.as_str().as_bytes());
        }
    };
    match target {
        Target::Port(port) => {
            out.push(1);
            out.extend(u32::from(*port).to_le_bytes());
        }
        Target::Unix(name) => {
            out.push(2);
            push_bytes(out, name.as_str().as_bytes());
        }
        Target::Named(name) => {
            out.push(3);
            push_bytes(out, name.as_str().as_bytes());
        }
        Target::Open(open) => {
            out.push(5);
            push_bytes(out, open.as_str().as_bytes());
        }
    }
    match probe {
        Probe::Http(_, path) => {
            out.push(2);
            push_bytes(out, path.as_str().as_bytes());
        }
        // A score has returned above.
        Probe::Tcp(_) | Probe::Score(_) => out.push(1),
    }
}

pub(super) fn read_probe(reader: &mut ByteReader<'_>) -> Option<Probe> {
    let target = match reader.u8()? {
        1 => Target::Port(u16::try_from(reader.u32()?).ok()?),
        2 => Target::Unix(SocketName::new(reader.text(SOCKET_NAME_BYTES)?).ok()?),
        3 => Target::Named(PortName::new(reader.text(PORT_NAME_BYTES)?).ok()?),
        5 => Target::Open(OpenTarget::new(reader.text(PATH_BYTES)?).ok()?),
        4 => {
            let name = ScoreName::new(reader.text(limits::NAME_BYTES)?).ok()?;
            return Some(Probe::Score(name));
        }
        _ => return None,
    };
    match reader.u8()? {
        1 => Some(Probe::Tcp(target)),
        2 => Some(Probe::Http(target, HttpPath::new(reader.text(PATH_BYTES)?).ok()?)),
        _ => None,
    }
}

pub(super) fn push_health(out: &mut Vec<u8>, rule: Option<&HealthRule>) {
    out.push(rule.is_some().into());
    let Some(HealthRule { probe, every, timeout, fall, rise }) = rule else { return };
    push_probe(out, probe);
    out.extend(every.0.to_le_bytes());
    out.extend(timeout.0.to_le_bytes());
    out.extend(fall.to_le_bytes());
    out.extend(rise.to_le_bytes());
}

pub(super) fn read_health(reader: &mut ByteReader<'_>) -> Option<Option<HealthRule>> {
    if !reader.bool()? {
        return Some(None);
    }
    let probe = read_probe(reader)?;
    let (every, timeout) = (Millis(reader.u64()?), Millis(reader.u64()?));
    let (fall, rise) = (reader.u32()?, reader.u32()?);
    Some(Some(HealthRule { probe, every, timeout, fall, rise }))
}
