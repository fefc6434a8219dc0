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
    for program in fs::read_dir(root.join("usr/bin")).unwrap() {
        let name = program.unwrap().file_name().into_string().unwrap();
        let has_page = |section: u8| {
            root.join(format!("usr/share/man/man{section}/{name}.{section}.gz")).is_file()
        };
        assert!(has_page(1) || has_page(8), "{name} has no man page");
    }
    for daemon in ["conductor", "player", "relay"] {
        let page = root.join(format!("usr/share/man/man8/{daemon}.8.gz"));
        let page = text(Command::new("gzip").arg("-dc").arg(page));
        assert!(page.contains(".SH OPTIONS\n.TP\n.B \\-\\-config"), "{page}");
    }
    links_hold(&root.join("usr/share/doc/orchestra-audience"));
    let completed = root.join("usr/share/zsh/vendor-completions/_orc");
    assert!(fs::read_to_string(completed).unwrap().starts_with("#compdef orc\n"));
    let scores = root.join("usr/share/doc/orchestra-player/examples/scores");
    assert!(scores.join("hello").is_file() && scores.join(".lib/record.sh").is_file());
}

/// Each link of a page leads to a page beside it, or away from this machine.
fn links_hold(pages: &Path) {
    let mut links = 0;
    for page in fs::read_dir(pages).unwrap().map(|entry| entry.unwrap().path()) {
        if page.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            let holds = file.is_empty() || link.starts_with("http") || pages.join(file).is_file();
            assert!(holds, "{}: {link}", page.display());
            links += 1;
        }
    }
    assert!(links > 30, "{links} links");
}

/// What container files are made of, and that what they copy is what is built.
#[test]
fn container_files_have_known_instructions_and_copy_what_is_built() {
    for daemon in ["conductor", "player", "relay"] {
        let path = format!("packaging/container/{daemon}.Containerfile");
        let file = fs::read_to_string(repository().join(&path)).unwrap();
        let file = file.replace("\\\n", " ");
        let lines = file.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let lines: Vec<(&str, &str)> = lines.map(|line| line.split_once(' ').unwrap()).collect();
        let known = ["FROM", "COPY", "RUN", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT"];
        for (word, rest) in &lines {
            assert!(known.contains(word) && !rest.trim().is_empty(), "{path}: {word} {rest}");
        }
        assert_eq!(lines[0].0, "FROM", "{path}");
        let copied = format!("--chmod=0755 target/release/{daemon} /usr/bin/{daemon}");
        assert!(lines.contains(&("COPY", &copied)), "{path}");
        let entry = format!("[\"/usr/bin/{daemon}\"]");
        assert_eq!(lines.last(), Some(&("ENTRYPOINT", &*entry)), "{path}");
        for (_, script) in lines.iter().filter(|(word, _)| *word == "RUN") {
            text(Command::new("sh").arg("-nc").arg(script));
        }
    }
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
