//! The embedded store: one SQLite database in the state directory.
//!
//! `orchestra.db` is in WAL mode with `synchronous=FULL`, so that a commit is one sync of the log
//! and survives a crash of the machine. A batch of any length is one transaction.
//!
//! Any SQLite program may read it while the conductor runs (`views.sql` has what people ask for),
//! and back it up: `sqlite3 orchestra.db ".backup FILE"`. To restore, stop the conductor, remove
//! `orchestra.db-wal` and `orchestra.db-shm`, which belong to the database that is replaced, and
//! copy the backup over `orchestra.db` with mode 0600. `PRAGMA integrity_check` reads all of it;
//! opening does not, because that takes minutes for a large one.
//!
//! The files are watched (`guard`): where one of them is moved, removed, replaced or cut, nothing
//! more is told, and what was stored is brought to safety (`rescue`).
//!
//! **What is erased.** Deleted contents are overwritten (`secure_delete`), but former contents
//! stay in the log until it starts over: after 16 MiB of writing, at the next [`Store::tidy`], or
//! when the store is closed or opened. Backups, and what a file system or a disk keeps of blocks
//! that are freed or overwritten, are beyond its reach.

mod body;
mod dir;
mod guard;
mod read;
mod rescue;
mod schema;
mod space;
mod sweep;
mod write;

#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use orchestra_model::{
    delivery::{ProofKeyId, StoreId, Term},
    record::Op,
};
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior, config::DbConfig,
    ffi, params,
};

use self::{
    dir::{IfNone, StateDir},
    guard::{Guard, Trouble},
    read::SqliteReaders,
    rescue::rescue,
    schema::{OLDEST, VERSION},
    sweep::{note_orphans, sweep},
    write::{apply, int, put_meta},
};
use crate::{CommitError, Kept, OpenError, ReadError, Readers, Store, StoreIdentity, term_above};

/// `Orch` in ASCII: tells `file` and us whose database it is.
const APPLICATION: i32 = 0x4f72_6368;

/// How long a commit waits for another program, an operator's, that holds the write lock.
/// Whoever waits for that commit is answered within five seconds all the same.
const WRITE_TIMEOUT: Duration = Duration::from_secs(3);
/// The log is brought into the database after so many pages (16 MiB): rarely enough that pages
/// written again and again are moved once, often enough that opening after a crash is quick.
const CHECKPOINT_PAGES: u32 = 4_096;
/// So many pages while sweeping, where what counts is that each step is short.
const SWEEP_CHECKPOINT_PAGES: u32 = 512;
/// What a burst leaves of the log is cut to this (64 MiB).
const LOG_BYTES: u32 = 64 << 20;
/// Pages kept by the writer (32 MiB): the leaves that some thousand tasks and players are on.
const CACHE_KIB: i32 = 32 << 10;

/// The embedded store.
#[derive(Debug)]
pub struct SqliteStore {
    // Before `dir`, so that it is closed before the lock is given up.
    db: Connection,
    identity: StoreIdentity,
    readers: SqliteReaders,
    guard: Guard,
    ended: Option<Ended>,
    /// Scratch space for encoding.
    buffer: Vec<u8>,
    dir: StateDir,
}

/// Why every later commit fails.
#[derive(Clone, Debug)]
enum Ended {
    Fenced {
        stored: Term,
    },
    Broken,
    /// Its files are not where they belong, and what was committed is in safety.
    Displaced {
        file: PathBuf,
        kept: Kept,
    },
    /// They are not, and it is not: the next call tries again.
    Stranded(Trouble),
}

impl SqliteStore {
    /// Opens the store in `state_dir` and raises its term. Fails where there is none.
    ///
    /// The directory is locked for this process as long as the store lives.
    pub fn open(state_dir: &Path) -> Result<Self, OpenError> {
        Self::open_if(state_dir, IfNone::Fail)
    }

    /// Opens the store in `state_dir`, and makes directory and store first where there never was
    /// one. A store that is missing is not replaced.
    pub fn open_or_make(state_dir: &Path) -> Result<Self, OpenError> {
        Self::open_if(state_dir, IfNone::Make)
    }

    /// Returns whether there is a store in `state_dir`, which can be opened as far as its files tell.
    /// With `may_make` it is no error that there never was one. Opens, locks and changes nothing, so
    /// a conductor may have it open meanwhile.
    pub fn look(state_dir: &Path, may_make: bool) -> Result<bool, OpenError> {
        dir::look(state_dir, if may_make { IfNone::Make } else { IfNone::Fail })
    }

    fn open_if(state_dir: &Path, if_none: IfNone) -> Result<Self, OpenError> {
        let dir = StateDir::claim(state_dir, if_none, make)?;
        let path = dir.database();
        let failed = |attempted| {
            let path = &path;
            move |error| not_opened(error, attempted, path)
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut db =
            Connection::open_with_flags(&path, flags).map_err(failed("open the database"))?;
        db.busy_timeout(WRITE_TIMEOUT).map_err(failed("open the database"))?;
        let header = Header::read(&db).map_err(failed("read the header"))?;
        header.check(&path)?;
        configure(&db).map_err(failed("set up the database"))?;
        let identity = begin(&mut db, header.version).map_err(failed("raise the term"))?;
        let guard = Guard::new(&path).map_err(|source| OpenError::Files {
            attempted: "watch over",
            path: path.clone(),
            source,
        })?;
        let readers = SqliteReaders::new(path, guard.database().clone());
        Ok(Self { db, identity, readers, guard, ended: None, buffer: Vec::new(), dir })
    }

    /// Runs `work` in a transaction of this term. What cannot be tried again ends the writer.
    fn transact<T>(
        &mut self,
        work: impl FnOnce(&Connection, &mut Vec<u8>) -> rusqlite::Result<T>,
    ) -> Result<T, CommitError> {
        self.check_alive()?;
        let ours = self.identity.term;
        let run = || -> Result<T, CommitError> {
            let transaction = (self.db.transaction_with_behavior(TransactionBehavior::Immediate))
                .map_err(classify)?;
            let stored = stored_term(&transaction).map_err(classify)?;
            if stored != ours {
                return Err(CommitError::Fenced { ours, stored });
            }
            let done = work(&transaction, &mut self.buffer).map_err(classify)?;
            transaction.commit().map_err(classify)?;
            Ok(done)
        };
        let result = run().map_err(|error| space::told(error, self.dir.path()));
        // What was committed before is as much in danger as this.
        self.watch()?;
        match &result {
            Err(CommitError::Fenced { stored, .. }) => {
                self.ended = Some(Ended::Fenced { stored: *stored });
            }
            Err(CommitError::Broken(_)) => self.ended = Some(Ended::Broken),
            Ok(_) | Err(_) => {}
        }
        result
    }

    /// Sets after how many pages a commit brings the log into the database.
    fn checkpoint_after(&self, pages: u32) -> Result<(), CommitError> {
        self.db.pragma_update(None, "wal_autocheckpoint", pages).map_err(classify)
    }

    /// Whether the files are where they belong. Where they are not, this writer is at its end, and
    /// what was stored is brought to safety.
    fn watch(&mut self) -> Result<(), CommitError> {
        let db = &self.db;
        match self.guard.look(|| is_sound(db)) {
            Ok(()) => Ok(()),
            Err(trouble) => Err(self.rescue(trouble)),
        }
    }

    /// Brings what was stored to safety, and remembers whether it is.
    fn rescue(&mut self, trouble: Trouble) -> CommitError {
        self.readers.close();
        let error = rescue(&self.db, &self.guard, self.dir.path(), &trouble);
        self.ended = Some(match &error {
            CommitError::Displaced { file, kept } => {
                Ended::Displaced { file: file.clone(), kept: kept.clone() }
            }
            _ => Ended::Stranded(trouble),
        });
        error
    }

    fn check_alive(&mut self) -> Result<(), CommitError> {
        match &self.ended {
            None => Ok(()),
            Some(Ended::Fenced { stored }) => {
                Err(CommitError::Fenced { ours: self.identity.term, stored: *stored })
            }
            Some(Ended::Broken) => Err(CommitError::Broken("an earlier commit failed".into())),
            Some(Ended::Displaced { file, kept }) => {
                Err(CommitError::Displaced { file: file.clone(), kept: kept.clone() })
            }
            Some(Ended::Stranded(trouble)) => {
                let trouble = trouble.clone();
                Err(self.rescue(trouble))
            }
        }
    }
}

impl Drop for SqliteStore {
    /// Leaves no idle reader behind, so that closing the writer, as the last one, brings the log
    /// into the database.
    fn drop(&mut self) {
        self.readers.close();
    }
}

impl Store for SqliteStore {
    fn identity(&self) -> StoreIdentity {
        self.identity
    }

    fn commit(&mut self, batch: &[Op]) -> Result<(), CommitError> {
        if batch.is_empty() {
            return self.check_alive();
        }
        self.transact(|db, buffer| batch.iter().try_for_each(|op| apply(db, op, buffer)))
    }

    fn raise_term(&mut self, seen: Term, key: ProofKeyId) -> Result<Term, CommitError> {
        let term = term_above(self.identity.term, seen);
        self.transact(|db, _| {
            put_meta(db, "term", int(term.0))?;
            put_proof_key(db, key)
        })?;
        self.identity.term = term;
        Ok(term)
    }

    fn proof_key(&self) -> Result<Option<ProofKeyId>, ReadError> {
        let find = "SELECT value FROM meta WHERE key = 'proof_key'";
        let id = self.db.query_row(find, [], |row| row.get(0)).optional();
        let id = id.map_err(|error| ReadError::Failed { table: "meta", source: error.into() })?;
        Ok(id.map(ProofKeyId))
    }

    fn set_proof_key(&mut self, key: ProofKeyId) -> Result<(), CommitError> {
        self.transact(|db, _| put_proof_key(db, key))
    }

    fn sweep(&mut self, limit: usize) -> Result<bool, CommitError> {
        self.check_alive()?;
        self.checkpoint_after(SWEEP_CHECKPOINT_PAGES)?;
        let swept = self.transact(|db, _| sweep(db, limit));
        self.checkpoint_after(CHECKPOINT_PAGES)?;
        swept
    }

    fn tidy(&mut self) -> Result<bool, CommitError> {
        self.check_alive()?;
        self.watch()?;
        // Without a timeout: a reader shall not hold up the writer.
        self.db.busy_timeout(Duration::ZERO).map_err(classify)?;
        let busy =
            self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
        self.db.busy_timeout(WRITE_TIMEOUT).map_err(classify)?;
        match busy.map_err(classify).map_err(|error| space::told(error, self.dir.path())) {
            Ok(busy) => Ok(!busy),
            Err(CommitError::Busy(_)) => Ok(false),
            Err(error) => {
                if !error.is_retryable() {
                    self.ended = Some(Ended::Broken);
                }
                Err(error)
            }
        }
    }

    fn readers(&self) -> Arc<dyn Readers> {
        Arc::new(self.readers.clone())
    }
}

/// What a database says of itself.
struct Header {
    application: i32,
    version: i32,
    tables: i64,
}

impl Header {
    fn read(db: &Connection) -> rusqlite::Result<Self> {
        let pragma = |name| db.pragma_query_value(None, name, |row| row.get(0));
        Ok(Self {
            application: pragma("application_id")?,
            version: pragma("user_version")?,
            tables: db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?,
        })
    }

    /// Refuses a database that is empty, not ours, or not yet ours to read.
    fn check(&self, path: &Path) -> Result<(), OpenError> {
        let path = path.to_owned();
        match self {
            Header { application: 0, version: 0, tables: 0 } => Err(OpenError::Empty { path }),
            Header { application: APPLICATION, version, .. } if *version > VERSION => {
                Err(OpenError::Newer { path, version: *version, known: VERSION })
            }
            Header { application: APPLICATION, version: OLDEST..=VERSION, .. } => Ok(()),
            Header { application, .. } => {
                Err(OpenError::Foreign { path, application: *application })
            }
        }
    }
}

fn configure(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update(None, "page_size", body::PAGE_BYTES as i64)?;
    db.pragma_update_and_check(None, "journal_mode", "wal", |row| {
        match row.get_ref(0)?.as_str()? {
            "wal" => Ok(()),
            other => {
                let reason = format!("the file system does not allow a log: {other}");
                Err(rusqlite::Error::SqliteFailure(
                    ffi::Error::new(ffi::SQLITE_CANTOPEN),
                    Some(reason),
                ))
            }
        }
    })?;
    db.pragma_update(None, "synchronous", "full")?;
    db.pragma_update(None, "secure_delete", true)?;
    db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    db.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    db.pragma_update(None, "cache_size", -CACHE_KIB)?;
    db.pragma_update(None, "cell_size_check", true)?;
    db.pragma_update(None, "trusted_schema", false)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Makes a new store in an empty file. Its first term begins when it is opened.
fn make(path: &Path) -> Result<(), OpenError> {
    let id = StoreId(random()?);
    let fill = || -> rusqlite::Result<()> {
        let mut db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        db.pragma_update(None, "page_size", body::PAGE_BYTES as i64)?;
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        schema::create(&transaction)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction
            .execute("INSERT INTO meta (key, value) VALUES ('store_id', ?1)", params![id.0])?;
        put_meta(&transaction, "term", 0)?;
        transaction.commit()?;
        db.close().map_err(|(_, error)| error)
    };
    fill().map_err(|error| not_opened(error, "make the tables", path))
}

/// Says why a store could not be opened, and what is to be done where that is a lack of space.
fn not_opened(error: rusqlite::Error, attempted: &'static str, path: &Path) -> OpenError {
    let path = path.to_owned();
    let dir = path.parent().unwrap_or(Path::new("."));
    match space::told(classify(error), dir) {
        CommitError::Full(source) => OpenError::Full { path, source },
        CommitError::Busy(source) | CommitError::Broken(source) => {
            OpenError::Database { attempted, path, source }
        }
        CommitError::Fenced { .. }
        | CommitError::Displaced { .. }
        | CommitError::Stranded { .. } => unreachable!("none of these is an error of SQLite's"),
    }
}

/// Brings the tables up to this release, and begins a term.
fn begin(db: &mut Connection, version: i32) -> rusqlite::Result<StoreIdentity> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    schema::migrate(&transaction, version)?;
    note_orphans(&transaction)?;
    let term = term_above(stored_term(&transaction)?, Term(0));
    put_meta(&transaction, "term", int(term.0))?;
    let store = transaction
        .query_row("SELECT value FROM meta WHERE key = 'store_id'", [], |row| row.get(0))
        .map(StoreId)?;
    transaction.commit()?;
    // Id and term into the database itself, with what a crash has left in the log: whatever
    // becomes of the log, no term is given twice. Where a stranger reads, another time will do.
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(StoreIdentity { store, term })
}

fn put_proof_key(db: &Connection, key: ProofKeyId) -> rusqlite::Result<()> {
    db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('proof_key', ?1)", [key.0])?;
    Ok(())
}

/// Whether a database has all of its pages, told by reading all of them.
fn is_sound(db: &Connection) -> bool {
    let check = db.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    check.is_ok_and(|told| told == "ok")
}

fn stored_term(db: &Connection) -> rusqlite::Result<Term> {
    let term: i64 = db
        .prepare_cached("SELECT value FROM meta WHERE key = 'term'")?
        .query_row([], |row| row.get(0))?;
    // Never negative; were it, the fence would close.
    Ok(Term(u64::try_from(term).unwrap_or_default()))
}

fn random() -> Result<[u8; 16], OpenError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| OpenError::Random(error.into()))?;
    Ok(bytes)
}

/// Says what can be done about an error while writing.
///
/// SQLite reports a lack of space in the log and the database as `FULL`, and has undone the
/// transaction. Its small shared index beside the log cannot grow for the same reason alone.
fn classify(error: rusqlite::Error) -> CommitError {
    let extended = error.sqlite_extended_error_code();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => CommitError::Full(error.into()),
        _ if extended == Some(ffi::SQLITE_IOERR_SHMSIZE) => CommitError::Full(error.into()),
        Some(ErrorCode::DatabaseBusy) => CommitError::Busy(error.into()),
        _ => CommitError::Broken(error.into()),
    }
}
