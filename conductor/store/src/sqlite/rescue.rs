//! What is done for records whose files are no longer where they belong: nothing more is taken,
//! and what was taken is brought to where somebody can find it.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, config::DbConfig};

use super::{
    dir::{PRIVATE_FILE, RESCUED},
    guard::{Guard, Trouble},
};
use crate::{CommitError, Kept};

/// Saves what can be saved, and says where it is. What comes back may be asked for again where it
/// says so: the database is held open until then.
pub(super) fn rescue(
    db: &Connection,
    guard: &Guard,
    state_dir: &Path,
    trouble: &Trouble,
) -> CommitError {
    match trouble {
        Trouble::Damaged(file) => {
            // The log may be all that is left of some records, and closing would empty it.
            let _ = db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
            CommitError::Displaced { file: file.clone(), kept: Kept::Remains }
        }
        Trouble::Displaced(file) => match keep(db, guard, state_dir, file) {
            Ok(kept) => CommitError::Displaced { file: file.clone(), kept },
            Err(source) => CommitError::Stranded { file: file.clone(), source },
        },
    }
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

fn keep(db: &Connection, guard: &Guard, state_dir: &Path, file: &Path) -> Result<Kept, Cause> {
    let is_whole = empty_log(db)?;
    let database = guard.database();
    if database.is_there() {
        // Something beside it is displaced. With all of the log in the database, whatever lies
        // there now has nothing to do with it, and would be taken for its log.
        if !is_whole {
            return Err("a reader holds the log; it is tried again".into());
        }
        set_aside(file)?;
        return Ok(Kept::At(database.path.clone()));
    }
    match database.whereabouts() {
        Some(path) if is_whole => Ok(Kept::At(path)),
        Some(_) => Err("a reader holds the log; it is tried again".into()),
        None => save(db, state_dir).map(Kept::Rescued),
    }
}

/// Brings all of the log into the open file; false where a reader is in the way.
fn empty_log(db: &Connection) -> Result<bool, Cause> {
    let busy = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
    Ok(!busy?)
}

/// Writes a whole copy of what is open, with its log, and makes it durable.
fn save(db: &Connection, state_dir: &Path) -> Result<PathBuf, Cause> {
    let path = state_dir.join(format!("{RESCUED}{}.db", seconds()));
    let saved = write_copy(db, &path);
    if saved.is_err() {
        // What there is of it is nothing; and it shall not take the space that it lacks.
        let _ = fs::remove_file(&path);
    }
    saved.map(|()| path)
}

fn write_copy(db: &Connection, path: &Path) -> Result<(), Cause> {
    // SQLite takes an empty file for the copy, which keeps its mode.
    let file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE_FILE).open(path)?;
    let text = path.to_str().ok_or("the state directory's name is not UTF-8")?;
    db.execute("VACUUM INTO ?1", [text])?;
    file.sync_all()?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// Renames a file of somebody else that lies where our log should be; it is no error if none does.
fn set_aside(file: &Path) -> io::Result<()> {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".foreign-{}", seconds()));
    match fs::rename(file, name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
