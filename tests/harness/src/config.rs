//! The configuration of daemons that tests start.

use std::{collections::BTreeMap, fmt::Debug, fs, io, path::Path};

/// Who is who in a test.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// The conductor's name, as in its certificate.
    pub conductor: &'a str,
    /// The domain of all certificates.
    pub domain: &'a str,
}

/// The text of a `conductor.toml` or a `player.toml`.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Values as they stand in TOML, by key.
    keys: BTreeMap<String, String>,
    /// Likewise, of the table `tls`.
    tls: BTreeMap<String, String>,
    tables: String,
}

impl Config {
    /// Of a conductor that listens on `listen`, which is `ADDRESS:PORT`, keeps its store in
    /// `state_dir`, and lets every audience do everything.
    pub fn of_conductor(names: Names<'_>, listen: &str, state_dir: &Path) -> Self {
        let config = Self::default().with("listen", listen).with("state_dir", state_dir);
        let config = config.with("name", names.conductor).with("domain", names.domain);
        config.with("policy", "open")
    }

    /// Of a player that attaches to the conductor at `conductor`, which is `ADDRESS:PORT`. Agent and
    /// tasks run as the user who starts it.
    pub fn of_player(names: Names<'_>, conductor: &str, scores_dir: &Path, spool: &Path) -> Self {
        let config = Self::default().with("conductors", [conductor]).with("domain", names.domain);
        let config = config.with("conductor_name", names.conductor).with("scores_dir", scores_dir);
        config.with("spool_dir", spool).with("agent_user", "self").with("task_user", "self")
    }

    /// With the files of its certificate. What is relative is looked for beside the configuration.
    #[must_use]
    pub fn tls(mut self, ca: impl Debug, cert: impl Debug, key: impl Debug) -> Self {
        let files = [("ca", toml(ca)), ("cert", toml(cert)), ("key", toml(key))];
        self.tls.extend(files.map(|(key, value)| (key.to_owned(), value)));
        self
    }

    /// With a key more, or in place of what it was.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Debug) -> Self {
        self.set(key, toml(value));
        self
    }

    /// With these tables, as they stand in TOML, at its end. What is before the first header belongs
    /// to `tls`.
    #[must_use]
    pub fn tables(mut self, text: &str) -> Self {
        text.clone_into(&mut self.tables);
        self
    }

    /// Without a key.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.keys.remove(key);
        self
    }

    /// Sets a key to a value as it stands in TOML.
    pub fn set(&mut self, key: &str, toml: impl Into<String>) {
        self.keys.insert(key.to_owned(), toml.into());
    }

    /// Its text.
    pub fn text(&self) -> String {
        let lines = |keys: &BTreeMap<String, String>| {
            keys.iter().map(|(key, value)| format!("{key} = {value}\n")).collect::<String>()
        };
        format!("{}[tls]\n{}{}", lines(&self.keys), lines(&self.tls), self.tables)
    }

    /// Writes it, over what is there. Fails as writing a file does.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        fs::write(path, self.text())
    }
}

/// A packaged sample of a configuration, with every key that stands in a comment: `#key = value`.
pub fn uncommented(sample: &str) -> String {
    let is_key = |line: &&str| line.starts_with(|c: char| c.is_ascii_lowercase() || c == '[');
    let line = |line| str::strip_prefix(line, "#").filter(is_key).unwrap_or(line);
    sample.lines().map(line).fold(String::new(), |text, line| text + line + "\n")
}

/// A value in TOML. Text, paths, numbers and lists of these are written there as `Debug` writes them,
/// as long as their characters are printable.
fn toml(value: impl Debug) -> String {
    format!("{value:?}")
}
