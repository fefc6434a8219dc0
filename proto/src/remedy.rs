//! How the texts of this protocol spell what would help: as commands of its tool, `orc`.

use orchestra_model::advice::{Advice, Remedy};

/// A text as it stands in messages, with a command for each remedy.
pub fn spelt(text: &Advice) -> String {
    text.spelt(|remedy| format!("`{}`", command(remedy)))
}

fn command(remedy: &Remedy) -> String {
    match remedy {
        Remedy::Cancel(flow) => format!("orc cancel {flow}"),
        Remedy::Abandon(flow) => format!("orc cancel {flow} --abandon"),
        Remedy::Resume(flow) => format!("orc resume {flow}"),
        Remedy::Retry(flow) => format!("orc retry {flow}"),
        Remedy::RetryTheirFlow => "orc retry".to_owned(),
        Remedy::Promote(flow, job) => format!("orc promote {flow} --job {job}"),
        Remedy::Undrain(host) => format!("orc undrain {host}"),
        Remedy::Recover => "orc conductor recover".to_owned(),
        Remedy::ReleasePlayers => "orc players release".to_owned(),
        Remedy::ReleaseCells(hosts) => format!("orc ledger release {hosts} --reason WHY"),
        Remedy::RestartService(service) => format!("orc service restart {service}"),
        Remedy::ListGroups => "orc groups".to_owned(),
        Remedy::ListScores => "orc scores".to_owned(),
        Remedy::ListRights => "orc whoami".to_owned(),
        Remedy::RegisterBundle(name, serial) => format!("orc bundle register {name}@{serial}"),
    }
}

#[cfg(test)]
mod tests {
    use orchestra_model::{
        BundleName, FlowId, HostName, HostSet, JobName, ServiceName, bundle::BundleSerial,
    };

    use super::*;

    #[test]
    fn every_remedy_is_a_command() {
        let flow = FlowId(7);
        let host = HostName::new("fe1").unwrap();
        let commands = [
            (Remedy::Cancel(flow), "`orc cancel 7`"),
            (Remedy::Abandon(flow), "`orc cancel 7 --abandon`"),
            (Remedy::Resume(flow), "`orc resume 7`"),
            (Remedy::Retry(flow), "`orc retry 7`"),
            (Remedy::RetryTheirFlow, "`orc retry`"),
            (Remedy::Promote(flow, JobName::new("web").unwrap()), "`orc promote 7 --job web`"),
            (Remedy::Undrain(host), "`orc undrain fe1`"),
            (Remedy::Recover, "`orc conductor recover`"),
            (Remedy::ReleasePlayers, "`orc players release`"),
            (
                Remedy::ReleaseCells(HostSet::parse_plain("fe[1-2]").unwrap()),
                "`orc ledger release fe[1-2] --reason WHY`",
            ),
            (Remedy::RestartService(ServiceName::new("web").unwrap()), "`orc service restart web`"),
            (Remedy::ListGroups, "`orc groups`"),
            (Remedy::ListScores, "`orc scores`"),
            (Remedy::ListRights, "`orc whoami`"),
            (
                Remedy::RegisterBundle(BundleName::new("site").unwrap(), BundleSerial::FIRST),
                "`orc bundle register site@1`",
            ),
        ];
        for (remedy, command) in commands {
            assert_eq!(
                spelt(&Advice::from("mend it: ").name(remedy)),
                format!("mend it: {command}")
            );
        }
    }
}
