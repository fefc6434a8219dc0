//! What holds for any service: it can be shown and read again.

use orchestra_model::{
    Quantity, ScoreName, ServiceName,
    params::Params,
    service::{
        AtMostOne, HealthRule, HttpPath, MilliCores, OnUnhealthy, PortName, PortRule, Ports, Probe,
        ProcessRule, ReadyRule, ReadySign, ReloadRule, Resources, RestartRule, RestartWhen,
        ServiceSpec, SocketName, StopRule, Target, Umask, UpdateRule, Upkeep, params_in,
    },
    size::ByteSize,
    time::Millis,
};
use proptest::prelude::*;

use super::{Values, parse, plain, show};
use crate::Format;

fn any_length() -> impl Strategy<Value = Millis> {
    (1_u64..10_000_000).prop_map(Millis)
}

fn any_quantity() -> impl Strategy<Value = Quantity> {
    prop_oneof![(1_u32..10_000).prop_map(Quantity::Count), (1_u8..=100).prop_map(Quantity::Percent)]
}

/// Values that YAML could take for something else, or that end a line.
fn any_value() -> impl Strategy<Value = String> {
    let odd = [
        "",
        " ",
        "null",
        "~",
        "yes",
        "1e5",
        "0x1F",
        "1.10",
        "- a",
        "a: b",
        "#x",
        "'",
        "\"",
        "a\nb",
        "\n",
        " a ",
        "\u{1b}[31m",
        "\u{202e}",
        "\t",
        "|",
        "> x",
        r"\{a}",
        "*a",
        "&a",
        "!t",
    ];
    let any = "[ -~\n\t]{0,20}"
        .prop_filter("a parameter", |text: &String| params_in(text).next().is_none());
    prop_oneof![prop::sample::select(odd.to_vec()).prop_map(str::to_owned), any]
}

fn any_resources() -> impl Strategy<Value = Resources> {
    let memory = prop::option::of((4_u64 << 20..1 << 50).prop_map(ByteSize));
    let processes = prop::option::of(1_u32..1 << 22);
    let reserve = prop::option::of((1_u64..4 << 20).prop_map(ByteSize));
    let cpu = (10_u32..4_096_000).prop_map(|cores| Some(MilliCores(cores)));
    (memory, reserve, cpu, processes, any::<bool>()).prop_map(
        |(memory, reserve, cpu, processes, enforced)| Resources {
            memory,
            reserve,
            cpu,
            processes,
            enforced,
        },
    )
}

/// Some of what there may be, drawn from numbers that were drawn for something else.
fn ports(drawn: Option<u32>) -> Ports {
    let rule =
        |number: u32| PortRule { number: number as u16 + 1, by_ordinal: number.is_multiple_of(2) };
    let name = |number: u32| PortName::new(&format!("p{number}")).unwrap();
    (0..drawn.unwrap_or(0) % 4).map(|number| (name(number), rule(number))).collect()
}

fn process(drawn: Option<u32>, signal: i32) -> ProcessRule {
    ProcessRule {
        nofile: drawn.map(|number| number + 64),
        nice: drawn.map(|number| (number % 40) as i8 - 20),
        oom_score_adj: (signal % 2 == 0).then_some(signal as i16 * 30),
        umask: drawn.and_then(|number| Umask::new(number as u16)),
        state_dir: signal % 3 == 0,
    }
}

fn any_upkeep() -> impl Strategy<Value = Upkeep> {
    let when = prop_oneof![
        Just(RestartWhen::Always),
        Just(RestartWhen::OnFailure),
        Just(RestartWhen::Never)
    ];
    let sign = prop_oneof![
        Just(ReadySign::Started),
        Just(ReadySign::Notify),
        (3_u32..10).prop_map(ReadySign::Fd),
        probe().prop_map(ReadySign::Probe),
    ];
    let lengths = prop::array::uniform5(any_length());
    let rest = (
        prop::option::of(0_u32..100),
        1_i32..=31,
        prop::option::of(prop::sample::select(vec![1_i32, 3, 10])),
    );
    let (resources, health) = (prop::option::of(any_resources()), prop::option::of(any_health()));
    (when, sign, lengths, rest, resources, health).prop_map(
        |(when, sign, lengths, (attempts, signal, reload), resources, health)| {
            let [first, max_delay, window, deadline, grace] = lengths;
            let (first, max_delay) = (first.min(max_delay).min(window), max_delay);
            let stable_after = grace;
            Upkeep {
                restart: RestartRule { when, first, max_delay, attempts, window, stable_after },
                ready: ReadyRule { sign, deadline },
                stop: StopRule { linger: Millis(max_delay.0 % 3_600_000), signal, grace },
                resources,
                health,
                linked_to: None,
                reload: reload.map(|signal| ReloadRule { signal }),
                ports: ports(attempts),
                process: process(attempts, signal),
                at_most_one: (signal % 4 < 2).then(|| AtMostOne {
                    lease: (signal % 4 == 0).then(|| Millis(10_000 + deadline.0)),
                }),
                require_same_score: signal % 3 == 0,
                keep_secrets: signal % 5 == 0,
            }
        },
    )
}

fn probe() -> impl Strategy<Value = Probe> {
    let port = (1_u16..).prop_map(Target::Port);
    let socket = "[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,20}";
    let socket = socket.prop_map(|name| Target::Unix(SocketName::new(&name).unwrap()));
    let path = prop::option::of("/[!\"$-~]{0,20}");
    let place = (prop_oneof![port, socket], path).prop_map(|(target, path)| match path {
        None => Probe::Tcp(target),
        Some(path) => Probe::Http(target, HttpPath::new(&path).unwrap()),
    });
    let score = "[a-z][a-z0-9-]{0,20}[a-z0-9]";
    prop_oneof![place, score.prop_map(|name| Probe::Score(ScoreName::new(&name).unwrap()))]
}

fn any_health() -> impl Strategy<Value = HealthRule> {
    let lengths = (100_u64..10_000_000, 10_u64..60_000);
    (probe(), lengths, 1_u32..1_000, 1_u32..1_000).prop_map(
        |(probe, (every, timeout), fall, rise)| {
            let (every, timeout) = (Millis(every.max(timeout)), Millis(timeout));
            HealthRule { probe, every, timeout, fall, rise }
        },
    )
}

fn any_update() -> impl Strategy<Value = UpdateRule> {
    let canary = prop::option::of((any_quantity(), prop::option::of(any_length())));
    (any_quantity(), canary, any_length(), any_quantity(), any::<bool>()).prop_map(
        |(parallel, canary, healthy_for, max_failures, auto_revert)| UpdateRule {
            parallel,
            canary: canary.map(|(canary, _)| canary),
            bake: canary.and_then(|(_, bake)| bake),
            healthy_for,
            deadline: Millis(healthy_for.0 + 3_600_000),
            max_failures,
            auto_revert,
            surge: 0,
        },
    )
}

proptest! {
    #[test]
    fn what_is_shown_is_read_again(
        params in prop::collection::btree_map("[a-z_]{1,8}", any_value(), 0..4),
        budget in prop::option::of(any_quantity()),
        update in any_update(),
        upkeep in any_upkeep(),
        auto_start: bool,
        linked_to in prop::option::of("[a-z]{1,8}"),
    ) {
        let params = Params::from_pairs(params).unwrap();
        let mut spec = ServiceSpec { params, budget, update, upkeep, auto_start, ..plain() };
        if spec.upkeep.health.is_some() && auto_start {
            spec.judgement.on_unhealthy = OnUnhealthy::Restart;
            spec.judgement.panic = spec.budget;
        }
        if let Some(other) = linked_to.filter(|other| spec.name.as_str() != other) {
            spec.on.clear();
            spec.upkeep.linked_to = Some(ServiceName::new(&other).unwrap());
            spec.upkeep.at_most_one = None;
        }
        let text = show(&spec, Values::Told);
        let read = parse(&text, Format::Yaml);
        prop_assert!(read.as_ref() == Ok(&spec), "{text}\n{:?}", read);
    }
}
