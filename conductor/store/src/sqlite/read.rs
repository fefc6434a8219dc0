//! Readers: connections of their own, each in a read transaction that keeps one moment.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use orchestra_model::{
    Asker, FlowId, FlowState, HostName, JobId, Params, Timestamp,
    audit::{AuditMark, AuditRecord},
    bundle::RegisteredBundle,
    delivery::{RequestId, Term},
    proof::Mac,
    record::{
        EndRecord, FlowRecord, HoldRecord, InForce, JobRecord, PlayerRecord, Recovered, TaskRecord,
    },
    service::{Brakes, PlacementRecord, ServiceRecord, VersionRecord},
};
use prost::Message;
use rusqlite::{Connection, OpenFlags, Row, params};

use super::{
    body::{
        AuditBody, BrakesBody, BundleBody, EndBody, FlowBody, HoldBody, HostsBody, InForceBody,
        JobBody, ParamsBody, PlacementBody, PlayerBody, ServiceBody, SpecBody, TaskBody,
        Unreadable, VersionBody, decode,
    },
    guard::Watched,
    write::{BUNDLE_KEYS, int},
};
use crate::{ReadError, Reader, Readers, pieces};

/// How many connections are kept for later: opening one takes some hundred microseconds.
const IDLE: usize = 4;

/// In WAL mode a reader waits only while another process recovers or removes the log.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes readers, and keeps a few connections for the next ones. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct SqliteReaders {
    database: PathBuf,
    /// What that was when the writer opened it: nobody is told of what lies there instead.
    watched: Watched,
    /// `None` once the writer is gone: connections are closed as they come back.
    idle: Arc<Mutex<Option<Vec<Connection>>>>,
}

impl SqliteReaders {
    pub(super) fn new(database: PathBuf, watched: Watched) -> Self {
        Self { database, watched, idle: Arc::new(Mutex::new(Some(Vec::new()))) }
    }

    /// Closes what is idle, and from now on whatever comes back.
    pub(super) fn close(&self) {
        self.lock().take();
    }

    fn take(&self) -> Option<Connection> {
        self.lock().as_mut()?.pop()
    }

    fn give_back(&self, db: Connection) {
        if let Some(idle) = self.lock().as_mut().filter(|idle| idle.len() < IDLE) {
            idle.push(db);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<Connection>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(&self.database, flags)?;
        db.busy_timeout(READ_TIMEOUT)?;
        db.pragma_update(None, "trusted_schema", false)?;
        db.set_prepared_statement_cache_capacity(32);
        Ok(db)
    }

    /// A connection in a transaction, which sees the moment of its first read: that is now.
    fn begin(&self) -> rusqlite::Result<Connection> {
        let db = match self.take() {
            Some(db) => db,
            None => self.connect()?,
        };
        db.execute_batch("BEGIN")?;
        db.prepare_cached("SELECT value FROM meta WHERE key = 'term'")?
            .query_row([], |_| Ok(()))?;
        Ok(db)
    }
}

impl Readers for SqliteReaders {
    fn open(&self) -> Result<Box<dyn Reader>, ReadError> {
        if !self.watched.is_there() {
            return Err(ReadError::Displaced(self.database.clone()));
        }
        let db = self.begin().map_err(failed("meta"))?;
        Ok(Box::new(SqliteReader { db: Some(db), home: self.clone() }))
    }
}

struct SqliteReader {
    /// Taken by `drop` alone.
    db: Option<Connection>,
    home: SqliteReaders,
}

impl Drop for SqliteReader {
    fn drop(&mut self) {
        if let Some(db) = self.db.take()
            && db.execute_batch("ROLLBACK").is_ok()
        {
            self.home.give_back(db);
        }
    }
}

fn failed(table: &'static str) -> impl FnOnce(rusqlite::Error) -> ReadError {
    move |source| ReadError::Failed { table, source: Box::new(source) }
}

/// A row of a table, with its key, for errors that say where.
struct Place<K> {
    table: &'static str,
    key: K,
}

impl<K: fmt::Display> Place<K> {
    fn error(&self, unreadable: Unreadable) -> ReadError {
        let (table, key) = (self.table, self.key.to_string());
        match unreadable {
            Unreadable::Newer(version) => ReadError::Newer { table, key, version },
            Unreadable::Corrupt(problem) => ReadError::Corrupt { table, key, problem },
        }
    }

    /// Decodes the body in a column of a row, and makes what it is wanted for.
    fn read<M: Message + Default, T>(
        &self,
        row: &Row<'_>,
        column: usize,
        make: impl FnOnce(M) -> Result<T, Unreadable>,
    ) -> Result<T, ReadError> {
        let body = row.get_ref(column).map_err(failed(self.table))?;
        let body =
            body.as_blob().map_err(|error| self.error(Unreadable::Corrupt(error.to_string())))?;
        decode(body).and_then(make).map_err(|unreadable| self.error(unreadable))
    }
}

/// A key in a column of a row.
fn key<T: TryFrom<i64>>(table: &'static str, row: &Row<'_>, column: usize) -> Result<T, ReadError> {
    let number: i64 = row.get(column).map_err(failed(table))?;
    T::try_from(number).map_err(|_| ReadError::Corrupt {
        table,
        key: number.to_string(),
        problem: "a number of its key is out of range".to_owned(),
    })
}

fn audit_from(row: &Row<'_>) -> Result<AuditRecord, ReadError> {
    let number = key("audit", row, 0)?;
    Place { table: "audit", key: number }.read(row, 1, |body: AuditBody| body.into_record(number))
}

fn flow_from(row: &Row<'_>) -> Result<FlowRecord, ReadError> {
    let id = FlowId(key("flows", row, 0)?);
    Place { table: "flows", key: id }.read(row, 1, |body: FlowBody| body.into_record(id))
}

fn task_from(row: &Row<'_>, job: JobId) -> Result<TaskRecord, ReadError> {
    let index = key("tasks", row, 0)?;
    Place { table: "tasks", key: format_args!("{job}[{index}]") }
        .read(row, 1, |body: TaskBody| body.into_record(job, index))
}

fn end_from(row: &Row<'_>, job: JobId, host: &HostName) -> Result<EndRecord, ReadError> {
    let attempt = key("ends", row, 0)?;
    Place { table: "ends", key: format_args!("{job}@{host}#{attempt}") }.read(
        row,
        1,
        |body: EndBody| body.into_record(job, host.clone(), attempt),
    )
}

impl SqliteReader {
    /// Reads every row that a query about a flow's pieces finds, unless the flow is pruned.
    fn pieces<T>(
        &self,
        flow: FlowId,
        table: &'static str,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> Result<T, ReadError>,
    ) -> Result<Vec<T>, ReadError> {
        if self.is_pruned(flow)? {
            return Ok(Vec::new());
        }
        self.all(table, sql, params, read)
    }

    /// A text of a job that is kept in pieces.
    fn text_of(
        &self,
        table: &'static str,
        sql: &str,
        job: JobId,
    ) -> Result<Option<String>, ReadError> {
        let key_of = params![int(job.flow.0), job.slot, job.job];
        let pieces = self.pieces(job.flow, table, sql, key_of, |row| {
            let piece: u32 = key(table, row, 0)?;
            let place = Place { table, key: format_args!("{job}[{piece}]") };
            Ok((piece, place.read(row, 1, |body: HostsBody| Ok(body.text))?))
        })?;
        Ok(pieces::in_order(table, job, pieces)?.map(|pieces| pieces.concat()))
    }

    /// Whether a flow's pieces only wait to be swept.
    fn is_pruned(&self, flow: FlowId) -> Result<bool, ReadError> {
        let note = "SELECT 1 FROM pruned WHERE flow = ?1";
        Ok(self.first("pruned", note, [int(flow.0)], |_| Ok(()))?.is_some())
    }

    /// Calls `read` with every row that a query finds.
    fn each(
        &self,
        table: &'static str,
        sql: &str,
        params: impl rusqlite::Params,
        mut read: impl FnMut(&Row<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        // Only a reader in the middle of its drop has none.
        let Some(db) = &self.db else { return Ok(()) };
        let mut statement = db.prepare_cached(sql).map_err(failed(table))?;
        let mut rows = statement.query(params).map_err(failed(table))?;
        while let Some(row) = rows.next().map_err(failed(table))? {
            read(row)?;
        }
        Ok(())
    }

    /// Reads every row that a query finds.
    fn all<T>(
        &self,
        table: &'static str,
        sql: &str,
        params: impl rusqlite::Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T, ReadError>,
    ) -> Result<Vec<T>, ReadError> {
        let mut found = Vec::new();
        self.each(table, sql, params, |row| {
            found.push(read(row)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// Reads the first row that a query finds.
    fn first<T>(
        &self,
        table: &'static str,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> Result<T, ReadError>,
    ) -> Result<Option<T>, ReadError> {
        Ok(self.all(table, sql, params, read)?.into_iter().next())
    }

    /// Reads a mark of the audit, whose number and link are values of these names.
    fn audit_mark(&self, number: &str, link: &str) -> Result<AuditMark, ReadError> {
        let sql = "SELECT value FROM meta WHERE key = ?1";
        let number = self.first("meta", sql, [number], |row| key("meta", row, 0))?;
        let link = self.first("meta", sql, [link], |row| {
            let bytes: Vec<u8> = row.get(0).map_err(failed("meta"))?;
            let corrupt = || ReadError::Corrupt {
                table: "meta",
                key: link.to_owned(),
                problem: format!("a link of {} bytes", bytes.len()),
            };
            Mac::from_slice(&bytes).ok_or_else(corrupt)
        })?;
        Ok(AuditMark { number: number.unwrap_or_default(), link })
    }
}

impl Reader for SqliteReader {
    fn next_flow(&self) -> Result<FlowId, ReadError> {
        let sql = "SELECT value FROM meta WHERE key = 'next_flow'";
        let next = self.first("meta", sql, [], |row| key("meta", row, 0).map(FlowId))?;
        Ok(next.unwrap_or(FlowId(1)))
    }

    fn recovered(&self) -> Result<Recovered, ReadError> {
        let meta = |name: &str| {
            let sql = "SELECT value FROM meta WHERE key = ?1";
            self.first("meta", sql, [name], |row| key("meta", row, 0))
        };
        let term = Term(meta("recovered")?.unwrap_or_default());
        // Version 1 did not say so.
        let half_known = meta("half_known")?.map(FlowId);
        Ok(match (term, half_known) {
            (Term(0), _) => Recovered::default(),
            (term, Some(half_known)) => Recovered { term, half_known },
            (term, None) => Recovered { term, half_known: self.next_flow()? },
        })
    }

    fn in_force(&self) -> Result<InForce, ReadError> {
        let sql = "SELECT value FROM meta WHERE key = 'in_force'";
        let found = self.first("meta", sql, [], |row| {
            Place { table: "meta", key: "in_force" }.read(row, 0, InForceBody::into_record)
        })?;
        Ok(found.unwrap_or_default())
    }

    fn brakes(&self) -> Result<Brakes, ReadError> {
        let sql = "SELECT value FROM meta WHERE key = 'brakes'";
        let found = self.first("meta", sql, [], |row| {
            Place { table: "meta", key: "brakes" }.read(row, 0, BrakesBody::into_record)
        })?;
        Ok(found.unwrap_or_default())
    }

    fn bundles(&self) -> Result<Vec<RegisteredBundle>, ReadError> {
        // `0` is the character after `/`.
        let sql = "SELECT key, value FROM meta WHERE key > ?1 AND key < 'bundle0'";
        self.all("meta", sql, [BUNDLE_KEYS], |row| {
            let key: String = row.get(0).map_err(failed("meta"))?;
            Place { table: "meta", key }.read(row, 1, BundleBody::into_record)
        })
    }

    fn audit_head(&self) -> Result<AuditMark, ReadError> {
        self.audit_mark("last_audit", "last_audit_link")
    }

    fn audit_base(&self) -> Result<AuditMark, ReadError> {
        self.audit_mark("audit_base", "audit_base_link")
    }

    fn oldest_audit(&self, limit: usize) -> Result<Vec<(u64, Timestamp)>, ReadError> {
        let sql = "SELECT number, at FROM audit ORDER BY number LIMIT ?1";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.all("audit", sql, [limit], |row| {
            Ok((key("audit", row, 0)?, Timestamp(key("audit", row, 1)?)))
        })
    }

    fn audit(&self, limit: usize, before: Option<u64>) -> Result<Vec<AuditRecord>, ReadError> {
        let sql = "SELECT number, body FROM audit WHERE number < ?1 ORDER BY number DESC LIMIT ?2";
        let before = before.map_or(i64::MAX, int);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.all("audit", sql, params![before, limit], audit_from)
    }

    fn audit_after(&self, after: u64, limit: usize) -> Result<Vec<AuditRecord>, ReadError> {
        let sql = "SELECT number, body FROM audit WHERE number > ?1 ORDER BY number LIMIT ?2";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.all("audit", sql, params![int(after), limit], audit_from)
    }

    fn services(&self) -> Result<Vec<ServiceRecord>, ReadError> {
        self.all("services", "SELECT name, body FROM services ORDER BY name", [], |row| {
            let name: String = row.get(0).map_err(failed("services"))?;
            Place { table: "services", key: &name }
                .read(row, 1, |body: ServiceBody| body.into_record(&name))
        })
    }

    fn versions(&self) -> Result<Vec<VersionRecord>, ReadError> {
        let sql = "SELECT service, version, body FROM versions ORDER BY service, version";
        self.all("versions", sql, [], |row| {
            let service: String = row.get(0).map_err(failed("versions"))?;
            let version = key("versions", row, 1)?;
            Place { table: "versions", key: &service }
                .read(row, 2, |body: VersionBody| body.into_record(&service, version))
        })
    }

    fn placements(&self) -> Result<Vec<PlacementRecord>, ReadError> {
        let sql = "SELECT service, host, body FROM placements ORDER BY service, host";
        self.all("placements", sql, [], |row| {
            let service: String = row.get(0).map_err(failed("placements"))?;
            let host: String = row.get(1).map_err(failed("placements"))?;
            Place { table: "placements", key: &service }
                .read(row, 2, |body: PlacementBody| body.into_record(&service, &host))
        })
    }

    fn players(&self) -> Result<Vec<PlayerRecord>, ReadError> {
        self.all("players", "SELECT host, body FROM players ORDER BY host", [], |row| {
            let host: String = row.get(0).map_err(failed("players"))?;
            Place { table: "players", key: &host }
                .read(row, 1, |body: PlayerBody| body.into_record(&host))
        })
    }

    fn holds(&self) -> Result<Vec<HoldRecord>, ReadError> {
        self.all("holds", "SELECT host, body FROM holds ORDER BY host", [], |row| {
            let host: String = row.get(0).map_err(failed("holds"))?;
            Place { table: "holds", key: &host }
                .read(row, 1, |body: HoldBody| body.into_record(&host))
        })
    }

    fn live_flows(&self) -> Result<Vec<FlowRecord>, ReadError> {
        let sql = "SELECT id, body FROM flows WHERE alive = 1 ORDER BY id";
        self.all("flows", sql, [], flow_from)
    }

    fn flow(&self, flow: FlowId) -> Result<Option<FlowRecord>, ReadError> {
        self.first("flows", "SELECT id, body FROM flows WHERE id = ?1", [int(flow.0)], flow_from)
    }

    fn flows(
        &self,
        limit: usize,
        before: Option<FlowId>,
        only_alive: bool,
    ) -> Result<Vec<FlowRecord>, ReadError> {
        let sql = if only_alive {
            "SELECT id, body FROM flows WHERE alive = 1 AND id < ?1 ORDER BY id DESC LIMIT ?2"
        } else {
            "SELECT id, body FROM flows WHERE id < ?1 ORDER BY id DESC LIMIT ?2"
        };
        let before = before.map_or(i64::MAX, |flow| int(flow.0));
        self.all("flows", sql, params![before, int(limit as u64)], flow_from)
    }

    fn ended_by(&self, moment: Timestamp, limit: usize) -> Result<Vec<FlowId>, ReadError> {
        let sql = "SELECT id FROM flows WHERE alive = 0 AND ended_at <= ?1 \
                   ORDER BY ended_at, id LIMIT ?2";
        let params = params![int(moment.0), int(limit as u64)];
        self.all("flows", sql, params, |row| key("flows", row, 0).map(FlowId))
    }

    fn ended_before_the_last(&self, kept: usize, limit: usize) -> Result<Vec<FlowId>, ReadError> {
        let sql = "SELECT id FROM flows WHERE alive = 0 \
                   ORDER BY ended_at DESC, id DESC LIMIT ?1 OFFSET ?2";
        let params = params![int(limit as u64), int(kept as u64)];
        self.all("flows", sql, params, |row| key("flows", row, 0).map(FlowId))
    }

    fn newest_of(&self, audience: &Asker) -> Result<Option<FlowId>, ReadError> {
        let sql = "SELECT id FROM flows WHERE audience = ?1 ORDER BY id DESC LIMIT 1";
        self.first("flows", sql, [audience.as_str()], |row| key("flows", row, 0).map(FlowId))
    }

    fn request(&self, audience: &Asker, request: RequestId) -> Result<Option<FlowId>, ReadError> {
        let sql = "SELECT id FROM flows WHERE audience = ?1 AND request = ?2 ORDER BY id LIMIT 1";
        self.first("flows", sql, params![audience.as_str(), request.0], |row| {
            key("flows", row, 0).map(FlowId)
        })
    }

    fn requests(&self) -> Result<Vec<(Asker, RequestId, FlowId, FlowState)>, ReadError> {
        self.all("flows", "SELECT id, body FROM flows ORDER BY id", [], |row| {
            flow_from(row).map(|flow| (flow.audience, flow.request, flow.id, flow.state))
        })
    }

    fn spec(&self, flow: FlowId) -> Result<Option<Vec<u8>>, ReadError> {
        let sql = "SELECT piece, body FROM spec WHERE flow = ?1 ORDER BY piece";
        let pieces = self.pieces(flow, "spec", sql, [int(flow.0)], |row| {
            let piece: u32 = key("spec", row, 0)?;
            let place = Place { table: "spec", key: format_args!("{flow}[{piece}]") };
            Ok((piece, place.read(row, 1, |body: SpecBody| Ok(body.bytes))?))
        })?;
        Ok(pieces::in_order("spec", flow, pieces)?.map(|pieces| pieces.concat()))
    }

    fn jobs(&self, flow: FlowId) -> Result<Vec<JobRecord>, ReadError> {
        let sql = "SELECT slot, job, body FROM jobs WHERE flow = ?1 ORDER BY slot, job";
        self.pieces(flow, "jobs", sql, [int(flow.0)], |row| {
            let id = JobId { flow, slot: key("jobs", row, 0)?, job: key("jobs", row, 1)? };
            Place { table: "jobs", key: id }.read(row, 2, |body: JobBody| body.into_record(id))
        })
    }

    fn job(&self, job: JobId) -> Result<Option<JobRecord>, ReadError> {
        let sql = "SELECT body FROM jobs WHERE flow = ?1 AND slot = ?2 AND job = ?3";
        let found = self.pieces(
            job.flow,
            "jobs",
            sql,
            params![int(job.flow.0), job.slot, job.job],
            |row| {
                Place { table: "jobs", key: job }
                    .read(row, 0, |body: JobBody| body.into_record(job))
            },
        )?;
        Ok(found.into_iter().next())
    }

    fn targets(&self, job: JobId) -> Result<Option<String>, ReadError> {
        let sql = "SELECT piece, body FROM targets WHERE flow = ?1 AND slot = ?2 AND job = ?3
                   ORDER BY piece";
        self.text_of("targets", sql, job)
    }

    fn tree(&self, job: JobId) -> Result<Option<String>, ReadError> {
        let sql = "SELECT piece, body FROM trees WHERE flow = ?1 AND slot = ?2 AND job = ?3
                   ORDER BY piece";
        self.text_of("trees", sql, job)
    }

    fn params(&self, job: JobId) -> Result<Option<Params>, ReadError> {
        let sql = "SELECT body FROM params WHERE flow = ?1 AND slot = ?2 AND job = ?3";
        let key = params![int(job.flow.0), job.slot, job.job];
        let found = self.pieces(job.flow, "params", sql, key, |row| {
            Place { table: "params", key: job }.read(row, 0, ParamsBody::into_params)
        })?;
        Ok(found.into_iter().next())
    }

    fn tasks(
        &self,
        job: JobId,
        after: Option<u32>,
        limit: usize,
    ) -> Result<Vec<TaskRecord>, ReadError> {
        let sql = "SELECT idx, body FROM tasks
                   WHERE flow = ?1 AND slot = ?2 AND job = ?3 AND idx > ?4 ORDER BY idx LIMIT ?5";
        let after = after.map_or(-1, i64::from);
        let params = params![int(job.flow.0), job.slot, job.job, after, int(limit as u64)];
        self.pieces(job.flow, "tasks", sql, params, |row| task_from(row, job))
    }

    fn task_by_host(&self, job: JobId, host: &HostName) -> Result<Option<TaskRecord>, ReadError> {
        let sql = "SELECT idx, body FROM tasks
                   WHERE flow = ?1 AND slot = ?2 AND job = ?3 AND host = ?4 ORDER BY idx LIMIT 1";
        let params = params![int(job.flow.0), job.slot, job.job, host.as_str()];
        let found = self.pieces(job.flow, "tasks", sql, params, |row| task_from(row, job))?;
        Ok(found.into_iter().next())
    }

    fn ends(&self, job: JobId, host: &HostName) -> Result<Vec<EndRecord>, ReadError> {
        let sql = "SELECT attempt, body FROM ends
                   WHERE flow = ?1 AND slot = ?2 AND job = ?3 AND host = ?4 ORDER BY attempt";
        let params = params![int(job.flow.0), job.slot, job.job, host.as_str()];
        self.pieces(job.flow, "ends", sql, params, |row| end_from(row, job, host))
    }

    fn end(
        &self,
        job: JobId,
        host: &HostName,
        attempt: u32,
    ) -> Result<Option<EndRecord>, ReadError> {
        let sql = "SELECT attempt, body FROM ends
                   WHERE flow = ?1 AND slot = ?2 AND job = ?3 AND host = ?4 AND attempt = ?5";
        let params = params![int(job.flow.0), job.slot, job.job, host.as_str(), attempt];
        let found = self.pieces(job.flow, "ends", sql, params, |row| end_from(row, job, host))?;
        Ok(found.into_iter().next())
    }

    /// One query for all, which the database answers a page at a time.
    fn each_task(&self, job: JobId, each: &mut dyn FnMut(TaskRecord)) -> Result<(), ReadError> {
        if self.is_pruned(job.flow)? {
            return Ok(());
        }
        let sql = "SELECT idx, body FROM tasks WHERE flow = ?1 AND slot = ?2 AND job = ?3
                   ORDER BY idx";
        self.each("tasks", sql, params![int(job.flow.0), job.slot, job.job], |row| {
            each(task_from(row, job)?);
            Ok(())
        })
    }
}
