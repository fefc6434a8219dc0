//! Ports and settings of processes, in bytes.

use orchestra_model::{
    journal::{ByteReader, push_bytes},
    service::{PORT_NAME_BYTES, PORTS, PortName, PortRule, Ports, ProcessRule, Umask},
};

pub(super) fn push_ports(out: &mut Vec<u8>, ports: &Ports) {
    let count = ports.iter().count();
    // At most 16: the order was checked.
    out.push(count as u8);
    for (name, PortRule { number, by_ordinal }) in ports.iter() {
        push_bytes(out, name.as_str().as_bytes());
        out.extend(u32::from(number).to_le_bytes());
        out.push(by_ordinal.into());
    }
}

pub(super) fn read_ports(reader: &mut ByteReader<'_>) -> Option<Ports> {
    let count = reader.u8().filter(|count| usize::from(*count) <= PORTS)?;
    let mut port = || {
        let name = PortName::new(reader.text(PORT_NAME_BYTES)?).ok()?;
        let number = u16::try_from(reader.u32()?).ok()?;
        Some((name, PortRule { number, by_ordinal: reader.bool()? }))
    };
    (0..count).map(|_| port()).collect()
}

pub(super) fn push_process(out: &mut Vec<u8>, rule: &ProcessRule) {
    let ProcessRule { nofile, nice, oom_score_adj, umask, state_dir } = *rule;
    let umask = umask.map(|umask| i64::from(umask.bits()));
    for number in [nofile.map(i64::from), nice.map(i64::from), oom_score_adj.map(i64::from), umask]
    {
        out.push(number.is_some().into());
        out.extend(number.unwrap_or(0).to_le_bytes());
    }
    out.push(state_dir.into());
}

pub(super) fn read_process(reader: &mut ByteReader<'_>) -> Option<ProcessRule> {
    let mut number = || match (reader.bool()?, i64::from_le_bytes(reader.array()?)) {
        (true, number) => Some(Some(number)),
        (false, 0) => Some(None),
        (false, _) => None,
    };
    let (nofile, nice, oom_score_adj, umask) = (number()?, number()?, number()?, number()?);
    let umask = umask.map(u16::try_from).transpose().ok()?;
    Some(ProcessRule {
        nofile: nofile.map(u32::try_from).transpose().ok()?,
        nice: nice.map(i8::try_from).transpose().ok()?,
        oom_score_adj: oom_score_adj.map(i16::try_from).transpose().ok()?,
        umask: match umask {
            Some(bits) => Some(Umask::new(bits)?),
            None => None,
        },
        state_dir: reader.bool()?,
    })
}
