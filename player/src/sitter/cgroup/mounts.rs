//! Where hierarchies of cgroups are mounted, and where this process is in them.

use std::path::PathBuf;

use super::Version;
use crate::sitter::limits::OWN_LEAF;

/// A mounted hierarchy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) hierarchy: Hierarchy,
    /// Which part of the hierarchy is mounted.
    root: String,
    pub(super) point: PathBuf,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hierarchy {
    V2,
    /// Its controllers and `name=`, as the mount lists them.
    V1(Vec<String>),
}

/// Reads the cgroup hierarchies out of `/proc/self/mountinfo`.
pub(super) fn mounts(mountinfo: &str) -> Vec<Mount> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (mount, file_system) = line.split_once(" - ")?;
            let mut mount = mount.split(' ').skip(3);
            let (root, point) = (unescaped(mount.next()?), PathBuf::from(unescaped(mount.next()?)));
            let mut file_system = file_system.split(' ');
            let hierarchy = match file_system.next()? {
                "cgroup2" => Hierarchy::V2,
                "cgroup" => {
                    let options = file_system.nth(1)?.split(',').map(str::to_owned);
                    Hierarchy::V1(options.collect())
                }
                _ => return None,
            };
            Some(Mount { hierarchy, root, point })
        })
        .collect()
}

/// Replaces `\040` and the like by the characters that they stand for.
fn unescaped(text: &str) -> String {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(escaped) if *byte == b'\\' => {
                plain.push(escaped);
                rest = &after[3..];
            }
            _ => {
                plain.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// Returns the places below which leaves may be made, best first: where this process is in each
/// useful hierarchy.
pub(super) fn candidates(mounts: &[Mount], own: &str) -> Vec<(PathBuf, String, Version)> {
    const HARMLESS: [&str; 3] = ["pids", "freezer", "name="];
    // Lines are `0::PATH` for v2 and `N:CONTROLLERS:PATH` for v1.
    let own: Vec<(&str, &str)> =
        own.lines().filter_map(|line| line.split_once(':')?.1.split_once(':')).collect();
    let place = |mount: &Mount, path: &str, version| {
        Some((mount.point.clone(), below_mount(mount, path)?, version))
    };
    let v2 = own.iter().filter(|(controllers, _)| controllers.is_empty()).flat_map(|(_, path)| {
        let mounts = mounts.iter().filter(|mount| mount.hierarchy == Hierarchy::V2);
        let path = path.strip_suffix(&format!("/{OWN_LEAF}")).unwrap_or(path);
        mounts.filter_map(move |mount| place(mount, path, Version::V2))
    });
    let v1 = HARMLESS.iter().flat_map(|wanted| {
        own.iter().filter(|(names, _)| names.split(',').any(|name| is(name, wanted))).flat_map(
            move |(_, path)| {
                let mounts = mounts.iter().filter(move |mount| match &mount.hierarchy {
                    Hierarchy::V1(names) => names.iter().any(|name| is(name, wanted)),
                    Hierarchy::V2 => false,
                });
                mounts.filter_map(move |mount| place(mount, path, Version::V1))
            },
        )
    });
    v2.chain(v1).collect()
}

/// Returns where a cgroup's path is below a mount point; `None` if it is not mounted there.
fn below_mount(mount: &Mount, path: &str) -> Option<String> {
    let below = path.strip_prefix(mount.root.trim_end_matches('/'))?;
    let inside = below.is_empty() || below.starts_with('/');
    (inside && !path.contains("/..")).then(|| below.trim_matches('/').to_owned())
}

/// Returns the cgroup in the hierarchy of a controller of v1: at `base` below its mount point, or
/// the cgroup of this process.
pub(super) fn place_of_v1(
    mounts: &[Mount],
    own: &str,
    controller: &str,
    base: Option<&str>,
) -> Option<PathBuf> {
    let is_of = |mount: &&Mount| match &mount.hierarchy {
        Hierarchy::V1(names) => names.iter().any(|name| name == controller),
        Hierarchy::V2 => false,
    };
    let mount = mounts.iter().find(is_of)?;
    let base = match base {
        Some(base) => base.to_owned(),
        None => {
            let own = own.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
            let mut own = own.filter(|(names, _)| names.split(',').any(|name| name == controller));
            below_mount(mount, own.next()?.1)?
        }
    };
    Some(mount.point.join(base))
}

/// Returns whether a controller is the wanted one; `name=` stands for any named hierarchy.
fn is(name: &str, wanted: &str) -> bool {
    if wanted.ends_with('=') { name.starts_with(wanted) } else { name == wanted }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime shared:1 - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/uni\\040fied rw,relatime - cgroup2 cgroup2 rw
";

    fn found(mountinfo: &str, own: &str) -> Vec<(PathBuf, String, Version)> {
        candidates(&mounts(mountinfo), own)
    }

    #[test]
    fn a_hybrid_host_offers_v2_first() {
        let own = "9:name=systemd:/a\n8:pids:/\n0::/system.slice/orchestra-player.service\n";
        let unified = PathBuf::from("/sys/fs/cgroup/uni fied");
        let service = "system.slice/orchestra-player.service".to_owned();
        assert_eq!(
            found(HYBRID, own),
            [
                (unified, service, Version::V2),
                ("/sys/fs/cgroup/pids".into(), String::new(), Version::V1),
                ("/sys/fs/cgroup/systemd".into(), "a".to_owned(), Version::V1),
            ]
        );
    }

    #[test]
    fn a_sitter_in_a_leaf_of_its_own_has_leaves_beside_itself() {
        let own = "0::/system.slice/orchestra-player.service/orchestra-player\n";
        let base = found(HYBRID, own).into_iter().map(|(_, base, _)| base).collect::<Vec<_>>();
        assert_eq!(base, ["system.slice/orchestra-player.service"]);
    }

    #[test]
    fn limits_of_v1_are_where_this_process_is_or_where_the_configuration_says() {
        let both = "1 2 0:3 / /sys/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";
        let mounts = mounts(&format!("{HYBRID}{both}"));
        let own = "8:pids:/a/b\n7:cpu,cpuacct:/\n0::/\n";
        let place = |controller, base| place_of_v1(&mounts, own, controller, base);
        assert_eq!(place("pids", None), Some("/sys/fs/cgroup/pids/a/b".into()));
        assert_eq!(place("pids", Some("c")), Some("/sys/fs/cgroup/pids/c".into()));
        assert_eq!(place("cpu", None), Some("/sys/cpu,cpuacct".into()));
        assert_eq!(place("memory", None), None);
    }

    #[test]
    fn a_container_sees_its_own_part_alone() {
        let mountinfo = "1 2 0:3 /docker/x /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        let place = |base: &str| vec![("/sys/fs/cgroup".into(), base.to_owned(), Version::V2)];
        assert_eq!(found(mountinfo, "0::/docker/x/y\n"), place("y"));
        assert_eq!(found(mountinfo, "0::/docker/x\n"), place(""));
        for outside in ["0::/docker/xy\n", "0::/docker\n", "0::/../x\n", ""] {
            assert_eq!(found(mountinfo, outside), [], "{outside}");
        }
    }
}
