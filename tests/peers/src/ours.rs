//! Our own rate: what `fleet` prints of the same work.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use orchestra_harness::trouble::{During as _, Result, Trouble};
use serde_json::Value;

use crate::peer::run;

/// Longer than any scenario takes here.
const LIMIT: Duration = Duration::from_secs(3_600);

/// The emulator's program.
#[derive(Debug)]
pub(crate) struct Fleet(PathBuf);

impl Fleet {
    /// The one in `dir`; beside this program where that is not said.
    pub(crate) fn find(dir: Option<&Path>) -> Result<Self> {
        let own = std::env::current_exe().during("finding this program")?;
        let path = match dir {
            Some(dir) => dir.join("fleet"),
            None => own.with_file_name("fleet"),
        };
        if !path.is_file() {
            let missing = format!("there is no {}: cargo build --release --bins", path.display());
            return Err(Trouble::new(missing));
        }
        Ok(Self(path))
    }

    /// Runs a scenario, and returns what it found. Writes that to a file in `dir`.
    pub(crate) async fn run(
        &self,
        scenario: &str,
        options: &[&str],
        dir: &Path,
    ) -> Result<Document> {
        const WHAT: &str = "reading what fleet found";
        let path = dir.join(scenario);
        let mut fleet = Command::new(&self.0);
        fleet.arg(scenario).arg("--json").args(options);
        run(fleet.stdout(File::create(&path).during(WHAT)?), LIMIT).await?;
        Ok(Document(serde_json::from_slice(&std::fs::read(path).during(WHAT)?).during(WHAT)?))
    }
}

/// What `fleet` printed of one scenario.
#[derive(Debug)]
pub(crate) struct Document(Value);

impl Document {
    /// The number at this place (a JSON pointer).
    pub(crate) fn number(&self, place: &str) -> Result<f64> {
        let number = self.0.pointer(place).and_then(Value::as_f64);
        number.ok_or_else(|| Trouble::new(format!("fleet told no number at {place}: {}", self.0)))
    }
}
