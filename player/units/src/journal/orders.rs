//! What an order asks for, in bytes.

use orchestra_model::{
    Asker, ByteSize, Millis, Params, ScoreName, ServiceName,
    journal::{ByteReader, push_bytes},
    limits,
    service::{
        AtMostOne, Instance, MilliCores, Ordinal, Placement, ReadyRule, ReadySign, ReloadRule,
        Resources, RestartRule, RestartWhen, ServiceVersion, StopRule, UnitOrder, Upkeep, Wanted,
        is_message,
    },
};

use super::{
    codec::{push_hash, read_hash, read_moment},
    health::{push_health, push_probe, read_health, read_probe},
    process::{self, push_ports, read_ports},
};

pub(super) fn push_order(out: &mut Vec<u8>, order: &UnitOrder) {
    push_bytes(out, order.service.as_str().as_bytes());
    out.extend(order.version.0.to_le_bytes());
    out.extend(order.instance.ordinal.0.to_le_bytes());
    out.extend(order.instance.placement.0.to_le_bytes());
    out.push(match order.wanted {
        Wanted::Running => 1,
        Wanted::Restarted => 2,
        Wanted::Stopped => 3,
        Wanted::Gone => 4,
        Wanted::Signalled(_) => 5,
        Wanted::Healthy => 6,
        Wanted::Younger(_) => 7,
    });
    if let Wanted::Signalled(signal) = order.wanted {
        out.extend(signal.to_le_bytes());
    }
    if let Wanted::Younger(age) = order.wanted {
        out.extend(age.0.to_le_bytes());
    }
    push_bytes(out, order.score.as_str().as_bytes());
    push_hash(out, order.score_hash);
    push_bytes(out, order.audience.as_str().as_bytes());
    push_params(out, &order.params);
    push_upkeep(out, &order.upkeep);
    out.extend(order.healthy_for.0.to_le_bytes());
    out.extend(order.deadline.0.to_le_bytes());
}

pub(super) fn read_order(reader: &mut ByteReader<'_>) -> Option<UnitOrder> {
    Some(UnitOrder {
        service: ServiceName::new(reader.text(limits::NAME_BYTES)?).ok()?,
        version: ServiceVersion(reader.u64()?),
        instance: Instance {
            ordinal: Ordinal(reader.u32()?),
            placement: Placement(read_moment(reader)?),
        },
        wanted: match reader.u8()? {
            1 => Wanted::Running,
            2 => Wanted::Restarted,
            3 => Wanted::Stopped,
            4 => Wanted::Gone,
            5 => Wanted::Signalled(read_signal(reader)?),
            6 => Wanted::Healthy,
            7 => Wanted::Younger(Millis(reader.u64()?)),
            _ => return None,
        },
        score: ScoreName::new(reader.text(limits::NAME_BYTES)?).ok()?,
        score_hash: read_hash(reader)?,
        audience: Asker::from_word(reader.text(limits::NAME_BYTES)?).ok()?,
        params: read_params(reader)?,
        upkeep: read_upkeep(reader)?,
        healthy_for: Millis(reader.u64()?),
        deadline: Millis(reader.u64()?),
    })
}

fn push_params(out: &mut Vec<u8>, params: &Params) {
    out.extend((params.iter().count() as u32).to_le_bytes());
    for (key, value) in params.iter() {
        push_bytes(out, key.as_str().as_bytes());
        push_bytes(out, value.as_bytes());
    }
}

fn read_params(reader: &mut ByteReader<'_>) -> Option<Params> {
    let count = reader.u32()? as usize;
    if count > limits::PARAMS {
        return None;
    }
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        let key = reader.text(limits::PARAMS_BYTES)?;
        pairs.push((key, reader.text(limits::PARAM_VALUE_BYTES)?));
    }
    Params::from_pairs(pairs).ok()
}

fn push_upkeep(out: &mut Vec<u8>, upkeep: &Upkeep) {
    let RestartRule { when, first, max_delay, attempts, window, stable_after } = upkeep.restart;
    out.push(match when {
        RestartWhen::Always => 1,
        RestartWhen::OnFailure => 2,
        RestartWhen::Never => 3,
    });
    out.push(attempts.is_some().into());
    out.extend(attempts.unwrap_or(0).to_le_bytes());
    for length in [first, max_delay, window, stable_after, upkeep.ready.deadline] {
        out.extend(length.0.to_le_bytes());
    }
    match &upkeep.ready.sign {
        ReadySign::Started => out.push(1),
        ReadySign::Notify => out.push(2),
        ReadySign::Fd(fd) => {
            out.push(3);
            out.extend(fd.to_le_bytes());
        }
        ReadySign::Probe(probe) => {
            out.push(4);
            push_probe(out, probe);
        }
    }
    push_stop(out, &upkeep.stop);
    push_resources(out, upkeep.resources.as_ref());
    push_health(out, upkeep.health.as_ref());
    out.push(upkeep.linked_to.is_some().into());
    upkeep.linked_to.iter().for_each(|name| push_bytes(out, name.as_str().as_bytes()));
    out.extend(upkeep.reload.map_or(0, |reload| reload.signal).to_le_bytes());
    push_ports(out, &upkeep.ports);
    process::push_process(out, &upkeep.process);
    push_at_most_one(out, upkeep.at_most_one);
    out.push(upkeep.require_same_score.into());
    out.push(upkeep.keep_secrets.into());
}

fn read_upkeep(reader: &mut ByteReader<'_>) -> Option<Upkeep> {
    let when = match reader.u8()? {
        1 => RestartWhen::Always,
        2 => RestartWhen::OnFailure,
        3 => RestartWhen::Never,
        _ => return None,
    };
    let attempts = match (reader.bool()?, reader.u32()?) {
        (true, most) => Some(most),
        (false, 0) => None,
        (false, _) => return None,
    };
    let mut length = || reader.u64().map(Millis);
    let (first, max_delay, window, stable_after) = (length()?, length()?, length()?, length()?);
    let deadline = length()?;
    let sign = match reader.u8()? {
        1 => ReadySign::Started,
        2 => ReadySign::Notify,
        3 => ReadySign::Fd(reader.u32()?),
        4 => ReadySign::Probe(read_probe(reader)?),
        _ => return None,
    };
    let restart = RestartRule { when, first, max_delay, attempts, window, stable_after };
    let ready = ReadyRule { sign, deadline };
    let (stop, resources) = (read_stop(reader)?, read_resources(reader)?);
    let health = read_health(reader)?;
    let linked_to = match reader.bool()? {
        true => Some(ServiceName::new(reader.text(limits::NAME_BYTES)?).ok()?),
        false => None,
    };
    let reload = match i32::from_le_bytes(reader.array()?) {
        0 => None,
        signal if is_message(signal) => Some(ReloadRule { signal }),
        _ => return None,
    };
    let (ports, process) = (read_ports(reader)?, process::read_process(reader)?);
    let at_most_one = read_at_most_one(reader)?;
    let (require_same_score, keep_secrets) = (reader.bool()?, reader.bool()?);
    Some(Upkeep {
        restart,
        ready,
        stop,
        resources,
        health,
        linked_to,
        reload,
        ports,
        process,
        at_most_one,
        require_same_score,
        keep_secrets,
    })
}

/// Appends 0 for no rule, 1 for one without a lease, and 2 with a lease.
fn push_at_most_one(out: &mut Vec<u8>, rule: Option<AtMostOne>) {
    match rule {
        None => out.push(0),
        Some(AtMostOne { lease: None }) => out.push(1),
        Some(AtMostOne { lease: Some(lease) }) => {
            out.push(2);
            out.extend(lease.0.to_le_bytes());
        }
    }
}

fn read_at_most_one(reader: &mut ByteReader<'_>) -> Option<Option<AtMostOne>> {
    Some(match reader.u8()? {
        0 => None,
        1 => Some(AtMostOne { lease: None }),
        2 => Some(AtMostOne { lease: Some(Millis(reader.u64()?)) }),
        _ => return None,
    })
}

fn read_signal(reader: &mut ByteReader<'_>) -> Option<i32> {
    let signal = i32::from_le_bytes(reader.array()?);
    is_message(signal).then_some(signal)
}

/// Appends, for each limit, whether there is one and its value. Resources without a reserve are
/// spelt as every release reads them.
fn push_resources(out: &mut Vec<u8>, resources: Option<&Resources>) {
    let Some(Resources { memory, reserve, cpu, processes, enforced }) = resources else {
        return out.push(0);
    };
    match reserve {
        None => out.push(1),
        Some(reserve) => {
            out.push(2);
            out.extend(reserve.0.to_le_bytes());
        }
    }
    out.push((*enforced).into());
    for limit in
        [memory.map(|size| size.0), cpu.map(|cores| cores.0.into()), processes.map(Into::into)]
    {
        out.push(limit.is_some().into());
        out.extend(limit.unwrap_or(0).to_le_bytes());
    }
}

fn read_resources(reader: &mut ByteReader<'_>) -> Option<Option<Resources>> {
    let reserve = match reader.u8()? {
        0 => return Some(None),
        1 => None,
        2 => Some(ByteSize(reader.u64()?)),
        _ => return None,
    };
    let enforced = reader.bool()?;
    let mut limit = || match (reader.bool()?, reader.u64()?) {
        (true, most) => Some(Some(most)),
        (false, 0) => Some(None),
        (false, _) => None,
    };
    let (memory, cpu, processes) = (limit()?, limit()?, limit()?);
    let small = |limit: Option<u64>| limit.map(u32::try_from).transpose().ok();
    let (cpu, processes) = (small(cpu)?.map(MilliCores), small(processes)?);
    let memory = memory.map(ByteSize);
    Some(Some(Resources { memory, reserve, cpu, processes, enforced }))
}

pub(super) fn push_stop(out: &mut Vec<u8>, stop: &StopRule) {
    out.extend(stop.signal.to_le_bytes());
    out.extend(stop.grace.0.to_le_bytes());
    out.extend(stop.linger.0.to_le_bytes());
}

pub(super) fn read_stop(reader: &mut ByteReader<'_>) -> Option<StopRule> {
    let signal = i32::from_le_bytes(reader.array()?);
    let (grace, linger) = (Millis(reader.u64()?), Millis(reader.u64()?));
    Some(StopRule { linger, signal, grace })
}
