//! A store whose files are moved, removed or replaced while the conductor runs, or are missing when
//! it starts: what was answered is kept, and nothing else is answered.

use std::{fs, os::unix::fs::DirBuilderExt as _};

use crate::harness::{Audience, Conductor, Place, RunsAs, job, request};

/// The last line of the log.
fn last_line(conductor: &Conductor) -> String {
    conductor.log().lines().last().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_store_that_is_moved_away_takes_nothing_more_and_is_put_back() {
    let place = Place::new("db1\n");
    let mut conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let first = alice.submit([job("db1")]).await;
    let (database, away) = (place.path("state/orchestra.db"), place.path("state/gone.db"));
    fs::rename(&database, &away).unwrap();
    assert!(alice.try_submit(request([job("db1")])).await.is_err(), "nobody was answered");
    assert_eq!(conductor.ended().await.code(), Some(1));
    let told = last_line(&conductor);
    assert!(told.contains(database.to_str().unwrap()), "{told}");
    assert!(told.contains(&format!("is in {}", away.display())), "{told}");
    for arguments in [&[][..], &["--new-store"]] {
        let RunsAs::Ended(_, told) = Conductor::try_start(&place, arguments) else {
            panic!("a new store took the place of the one that is missing")
        };
        assert!(told.contains("orchestra.db is missing"), "{told}");
    }
    fs::rename(&away, &database).unwrap();
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    assert_eq!(alice.state(first).await, "running");
}

#[tokio::test]
async fn a_store_that_is_removed_is_saved_also_where_nothing_is_written() {
    for writes in [true, false] {
        let place = Place::new("db1\n");
        let mut conductor = Conductor::start(&place);
        let alice = Audience::new(&place, &conductor.address).await;
        let first = alice.submit([job("db1")]).await;
        fs::remove_file(place.path("state/orchestra.db")).unwrap();
        // Whoever asks the store is not told of another one.
        assert!(alice.try_flow(first + 1).await.is_err());
        if writes {
            assert!(alice.try_submit(request([job("db1")])).await.is_err());
            assert_eq!(conductor.ended().await.code(), Some(1));
        } else {
            conductor.signal(rustix::process::Signal::TERM);
            conductor.ended().await;
        }
        assert!(conductor.log().contains("was saved to"), "{}", conductor.log());
        let saved = fs::read_dir(place.path("state")).unwrap().find_map(|entry| {
            let path = entry.unwrap().path();
            path.file_name()?.to_str()?.starts_with("rescued-").then_some(path)
        });
        assert!(Conductor::start_refused(&place).contains("orchestra.db is missing"));
        fs::rename(saved.unwrap(), place.path("state/orchestra.db")).unwrap();
        for beside in ["orchestra.db-wal", "orchestra.db-shm"] {
            let _ = fs::remove_file(place.path("state").join(beside));
        }
        let conductor = Conductor::start(&place);
        let alice = Audience::new(&place, &conductor.address).await;
        assert_eq!(alice.state(first).await, "running");
    }
}

#[tokio::test]
async fn an_empty_state_directory_is_no_store() {
    let place = Place::new("db1\n");
    fs::DirBuilder::new().mode(0o700).create(place.path("state")).unwrap();
    // The harness asks for a new store in an empty directory; this one is not empty.
    fs::write(place.path("state/lost+found"), "").unwrap();
    let told = Conductor::start_refused(&place);
    assert!(told.contains("there is no store in") && told.contains("--new-store"), "{told}");
}
