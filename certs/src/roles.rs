//! The one table of which role may call what. RPCs that are not in it are denied to everybody.

use crate::identity::Role;

const PLAYER: &[Role] = &[Role::Player];
const AUDIENCE: &[Role] = &[Role::Audience];

/// Every RPC by its path, with the roles that may call it.
pub const TABLE: &[(&str, &[Role])] = &[
    ("/orchestra.v1.Players/Attach", PLAYER),
    ("/orchestra.v1.Audience/Submit", AUDIENCE),
    ("/orchestra.v1.Audience/GetFlow", AUDIENCE),
    ("/orchestra.v1.Audience/ListTasks", AUDIENCE),
    ("/orchestra.v1.Audience/ListFailures", AUDIENCE),
    ("/orchestra.v1.Audience/ListFlows", AUDIENCE),
    ("/orchestra.v1.Audience/Watch", AUDIENCE),
    ("/orchestra.v1.Audience/Plan", AUDIENCE),
    ("/orchestra.v1.Audience/Explain", AUDIENCE),
    ("/orchestra.v1.Audience/Pause", AUDIENCE),
    ("/orchestra.v1.Audience/Resume", AUDIENCE),
    ("/orchestra.v1.Audience/Promote", AUDIENCE),
    ("/orchestra.v1.Audience/Retry", AUDIENCE),
    ("/orchestra.v1.Audience/Cancel", AUDIENCE),
    ("/orchestra.v1.Audience/Drain", AUDIENCE),
    ("/orchestra.v1.Audience/Undrain", AUDIENCE),
    ("/orchestra.v1.Audience/ListLedger", AUDIENCE),
    ("/orchestra.v1.Audience/ReleaseHolds", AUDIENCE),
    ("/orchestra.v1.Audience/ListDeployments", AUDIENCE),
    ("/orchestra.v1.Audience/ListPlayers", AUDIENCE),
    ("/orchestra.v1.Audience/ListScores", AUDIENCE),
    ("/orchestra.v1.Audience/ListPlaces", AUDIENCE),
    ("/orchestra.v1.Audience/RegisterBundle", AUDIENCE),
    ("/orchestra.v1.Audience/ListBundles", AUDIENCE),
    ("/orchestra.v1.Audience/ListFetches", AUDIENCE),
    ("/orchestra.v1.Audience/GetLogs", AUDIENCE),
    ("/orchestra.v1.Audience/Status", AUDIENCE),
    ("/orchestra.v1.Audience/Reload", AUDIENCE),
    ("/orchestra.v1.Audience/Recover", AUDIENCE),
    ("/orchestra.v1.Audience/PlanRecover", AUDIENCE),
    ("/orchestra.v1.Audience/ReleasePlayers", AUDIENCE),
    ("/orchestra.v1.Audience/ResolveHosts", AUDIENCE),
    ("/orchestra.v1.Audience/ListGroups", AUDIENCE),
    ("/orchestra.v1.Audience/ListAudit", AUDIENCE),
    ("/orchestra.v1.Audience/VerifyAudit", AUDIENCE),
    ("/orchestra.v1.Audience/WhoAmI", AUDIENCE),
    ("/orchestra.v1.Audience/ListPolicy", AUDIENCE),
    ("/orchestra.v1.Audience/CheckRight", AUDIENCE),
    ("/orchestra.v1.Audience/DiffPolicy", AUDIENCE),
    ("/orchestra.v1.Audience/ApplyServices", AUDIENCE),
    ("/orchestra.v1.Audience/PlanServices", AUDIENCE),
    ("/orchestra.v1.Audience/ChangeService", AUDIENCE),
    ("/orchestra.v1.Audience/ListStrangers", AUDIENCE),
    ("/orchestra.v1.Audience/ListZones", AUDIENCE),
    ("/orchestra.v1.Audience/ReleaseBrake", AUDIENCE),
    ("/orchestra.v1.Audience/ListServices", AUDIENCE),
    ("/orchestra.v1.Audience/ListVersions", AUDIENCE),
    ("/orchestra.v1.Audience/ReadLogs", AUDIENCE),
    ("/orchestra.v1.Audience/FollowOutput", AUDIENCE),
    ("/orchestra.v1.Audience/ListVitals", AUDIENCE),
];

/// Who may fetch bundles from a relay. It has no calls, and a relay calls nobody.
pub const FETCHES_FROM_RELAYS: &[Role] = PLAYER;

/// Whether `role` may call the RPC at `path` (`/PACKAGE.SERVICE/METHOD`, compared exactly).
pub fn allows(path: &str, role: Role) -> bool {
    TABLE.iter().any(|(known, roles)| *known == path && roles.contains(&role))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn nothing_is_allowed_that_is_not_in_the_table() {
        assert!(allows("/orchestra.v1.Players/Attach", Role::Player));
        assert!(allows("/orchestra.v1.Audience/Submit", Role::Audience));
        assert!(!allows("/orchestra.v1.Players/Attach", Role::Audience));
        assert!(!allows("/orchestra.v1.Audience/Submit", Role::Player));
        for (path, _) in TABLE {
            assert!(!allows(path, Role::Conductor), "{path}");
            assert!(!allows(path, Role::Relay), "{path}");
        }
        for path in [
            "",
            "/",
            "/orchestra.v1.Audience/",
            "/orchestra.v1.Audience/submit",
            "//orchestra.v1.Audience/Submit",
        ] {
            assert!(!allows(path, Role::Audience), "{path:?}");
        }
    }

    #[test]
    fn the_table_and_the_protocol_name_the_same_calls() {
        let files = FileDescriptorSet::decode(orchestra_proto::FILE_DESCRIPTOR_SET).unwrap();
        let mut declared = BTreeSet::new();
        for file in files.file {
            for service in &file.service {
                for method in &service.method {
                    declared.insert(format!(
                        "/{}.{}/{}",
                        file.package(),
                        service.name(),
                        method.name()
                    ));
                }
            }
        }
        let listed: BTreeSet<String> = TABLE.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(listed.len(), TABLE.len(), "a call is listed twice");
        let unlisted: Vec<_> = declared.difference(&listed).collect();
        assert!(unlisted.is_empty(), "calls without a role: {unlisted:?}");
        let unknown: Vec<_> = listed.difference(&declared).collect();
        assert!(unknown.is_empty(), "roles for calls that do not exist: {unknown:?}");
    }
}
