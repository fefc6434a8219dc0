//! The packages: that they are made, what is in them, and that nothing of their samples is live.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    collections::BTreeSet,
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use orchestra_harness::uncommented;

/// The top of the repository.
fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Makes packages of the programs that this test was built with. `None`, said aloud, where the machine
/// lacks a program that makes them.
fn build(kind: &str, needs: &[&str], out: &Path) -> Option<Vec<PathBuf>> {
    for program in needs {
        let found = Command::new(program).arg("--version").output();
        if !found.is_ok_and(|output| output.status.success()) {
            let mut told = std::io::stderr().lock();
            writeln!(told, "skipped: this machine has no {program}").unwrap();
            return None;
        }
    }
    let own = env::current_exe().unwrap();
    let programs = own.ancestors().nth(2).unwrap();
    let mut command = Command::new(repository().join("packaging/build.sh"));
    command.arg(kind).arg(programs).arg(out);
    command.env("DEB_COMPRESSION", "none").env("GZIP_LEVEL", "1");
    let output = command.env("SOURCE_DATE_EPOCH", "1763712000").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().lines().map(PathBuf::from).collect())
}

fn text(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn debs_have_programs_units_users_and_samples_that_are_not_live() {
    let out = tempfile::tempdir().unwrap();
    let needs = ["dpkg-deb", "strip", "objdump", "gzip"];
    let Some(debs) = build("deb", &needs, out.path()) else { return };
    let names = debs.iter().map(|deb| deb.file_name().unwrap().to_str().unwrap());
    let of: Vec<&str> = names.map(|name| name.split('_').next().unwrap()).collect();
    assert_eq!(
        of,
        ["orchestra-conductor", "orchestra-player", "orchestra-relay", "orchestra-audience"]
    );
    let root = out.path().join("root");
    for deb in &debs {
        text(Command::new("dpkg-deb").arg("-x").arg(deb).arg(&root));
        let listed = text(Command::new("dpkg-deb").arg("-c").arg(deb));
        for line in listed.lines() {
            assert!(line.contains(" root/root "), "{line}");
            assert!(!line[1..10].contains(['s', 't']), "setuid or sticky: {line}");
        }
        let kept = text(Command::new("dpkg-deb").arg("-I").arg(deb).arg("conffiles"));
        assert!(kept.lines().count() > 0, "{deb:?}");
        for file in kept.lines() {
            let live = fs::read_to_string(root.join(&file[1..])).unwrap();
            let live: Vec<&str> = live
                .lines()
                .filter(|line| !line.is_empty() && !line.starts_with(['#', '[']))
                .collect();
            assert!(live.is_empty(), "{file}: {live:?}");
        }
    }
    let programs = ["conductor", "player", "relay"].map(|daemon| (daemon, true));
    for (program, unit) in programs.into_iter().chain([("orchestra-certs", false)]) {
        text(Command::new(root.join("usr/bin").join(program)).arg("--version"));
        let unit =
            unit.then(|| root.join(format!("usr/lib/systemd/system/orchestra-{program}.service")));
        assert!(unit.is_none_or(|unit| unit.is_file()), "{program}");
    }
    let pages = fs::read_dir(root.join("usr/share/man/man1")).unwrap().count();
    assert!(pages > 30, "{pages} man pages");
    let completed = root.join("usr/share/zsh/vendor-completions/_orc");
    assert!(fs::read_to_string(completed).unwrap().starts_with("#compdef orc\n"));
    let scores = root.join("usr/share/doc/orchestra-player/examples/scores");
    assert!(scores.join("hello").is_file() && scores.join(".lib/record.sh").is_file());
}

#[test]
fn the_archive_has_what_the_debs_have_and_is_the_same_each_time() {
    let out = tempfile::tempdir().unwrap();
    let needs = ["strip", "objdump", "gzip", "tar"];
    let Some(first) = build("tarball", &needs, out.path()) else { return };
    let bytes = fs::read(&first[0]).unwrap();
    let again = build("tarball", &needs, out.path()).unwrap();
    assert!(bytes == fs::read(&again[0]).unwrap(), "the same programs make the same archive");
    let listed = text(Command::new("tar").arg("-tzf").arg(&first[0]));
    let files: BTreeSet<&str> = listed.lines().collect();
    for file in [
        "./usr/bin/conductor",
        "./usr/bin/player",
        "./usr/bin/relay",
        "./usr/bin/orc",
        "./usr/lib/systemd/system/orchestra-player.service",
        "./usr/lib/sysusers.d/orchestra-conductor.conf",
        "./etc/orchestra/player.toml",
        "./usr/share/doc/orchestra/install.md",
        "./usr/share/doc/orchestra/LICENSE-MIT",
    ] {
        assert!(files.contains(file), "{file} is not in {files:?}");
    }
}

#[test]
fn the_sample_of_the_tools_is_read_once_it_is_live() {
    let sample = fs::read_to_string(repository().join("packaging/etc/audience.toml")).unwrap();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join(".config/orchestra/audience.toml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, uncommented(&sample)).unwrap();
    let own = env::current_exe().unwrap();
    let orc = own.ancestors().nth(2).unwrap().join("orc");
    let output = Command::new(orc).arg("players").env_clear().env("HOME", home.path()).output();
    let told = String::from_utf8(output.unwrap().stderr).unwrap();
    // All of it is understood; the certificates are not there.
    assert!(told.contains("/.config/orchestra/ca.pem") && !told.contains("problem"), "{told}");
}
