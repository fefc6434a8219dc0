//! Waits until the conductor listens, and until all players are attached.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
    time::Duration,
};

use orchestra_client::{Client, config::Connection};
use orchestra_model::HostSet;
use tokio::time::{Instant, sleep};

use super::place::Place;
use crate::error::Failure;

/// How long the conductor may take until it listens.
const LISTEN: Duration = Duration::from_secs(30);
/// How long players may take until they are attached; each player adds some time to it.
const ATTACH: Duration = Duration::from_secs(60);
const ATTACH_EACH: Duration = Duration::from_millis(500);
/// How often we look. Asking costs the conductor some hundred microseconds.
const LOOK: Duration = Duration::from_millis(20);
/// For how many missing players the log is shown.
const LOGS: usize = 3;
const LOG_LINES: usize = 5;
const LOG_BYTES: u64 = 4 << 10;

/// Waits until the conductor has written where it listens, which it does once it listens.
pub(super) async fn listening(place: &Place) -> Result<(), Failure> {
    let address = place.conductor().join("state/address");
    let deadline = Instant::now() + LISTEN;
    while !address.exists() {
        if Instant::now() > deadline {
            return Err(Failure::broken(format!(
                "starting the sandbox: the conductor does not listen after {LISTEN:?}\n{}",
                tail("conductor", &place.conductor())
            )));
        }
        sleep(LOOK).await;
    }
    Ok(())
}

/// Waits until all of these players are attached.
pub(super) async fn attached(
    place: &Place,
    connection: &Connection,
    players: &HostSet,
) -> Result<(), Failure> {
    let each = u32::try_from(players.len()).unwrap_or(u32::MAX);
    let within = ATTACH + ATTACH_EACH * each;
    let deadline = Instant::now() + within;
    let mut client = Client::connect(connection.clone()).await?;
    loop {
        // A conductor that was killed is started again, so this connects again.
        match client.conductor().await {
            Ok(status) if status.attached as usize >= players.len() => return Ok(()),
            Ok(_) => {}
            Err(_) => drop(client.reconnect(Some(deadline)).await?),
        }
        if Instant::now() > deadline {
            let missing = missing(&mut client, players).await?;
            return Err(Failure::broken(complaint(place, &missing, within)));
        }
        sleep(LOOK).await;
    }
}

async fn missing(client: &mut Client, players: &HostSet) -> Result<HostSet, Failure> {
    let mut attached = Vec::new();
    let mut pages = client.players("", false).await?;
    while let Some(page) = pages.next().await? {
        attached
            .extend(page.into_iter().filter(|player| player.attached).map(|player| player.host));
    }
    Ok(players.minus(&HostSet::from_names(attached)))
}

fn complaint(place: &Place, missing: &HostSet, within: Duration) -> String {
    let mut text = format!(
        "starting the sandbox: after {within:?} these players are not attached: {}",
        missing.counted()
    );
    for host in missing.iter().take(LOGS) {
        text.push('\n');
        text += &tail(host.as_str(), &place.player(host));
    }
    text
}

/// Returns the end of a daemon's log, for a message.
pub(super) fn tail(name: &str, directory: &Path) -> String {
    let path = directory.join("log");
    let text = read_end(&path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LOG_LINES);
    let mut tail = format!("the end of {name}'s log, {}:", path.display());
    for line in &lines[from..] {
        tail += "\n  ";
        tail += line;
    }
    tail
}

fn read_end(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_tail_is_the_last_lines_of_a_log() {
        let directory = tempfile::tempdir().unwrap();
        let text: String = (0..2_000).map(|n| format!("line {n}\n")).collect();
        fs::write(directory.path().join("log"), text).unwrap();
        let tail = tail("db1", directory.path());
        assert!(
            tail.ends_with("\n  line 1995\n  line 1996\n  line 1997\n  line 1998\n  line 1999")
        );
        assert_eq!(tail.lines().count(), 6);
    }

    #[test]
    fn the_missing_are_named_with_their_logs() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::at(directory.path()).unwrap();
        let missing = HostSet::parse_plain("fe[1-9]").unwrap();
        let text = complaint(&place, &missing, Duration::from_secs(60));
        assert!(text.contains("fe[1-9] (9)"), "{text}");
        assert_eq!(text.matches("'s log").count(), LOGS);
    }
}
