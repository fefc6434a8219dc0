//! Tests of the embedded store; what holds for every store is in `contract`.

mod against_memory;
mod contents;
mod crashes;
mod displaced;
mod migration;
mod opening;
mod trouble;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use orchestra_model::{
    FlowId, FlowState, TaskState, Timestamp,
    delivery::{OrderNumber, Term},
    record::{FlowRecord, JobRecord, Op, PlayerRecord, Record, TaskRecord},
};
use tempfile::TempDir;

use super::*;
use crate::{
    MemoryDisk, ReadError,
    contract::{
        self, end_record, flow_record, hold_record, host, job, job_record, params_record,
        player_record, small_flow, task_record,
    },
};

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("state")
    }

    fn database(&self) -> PathBuf {
        self.dir().join(dir::DATABASE)
    }

    fn store(&self) -> SqliteStore {
        SqliteStore::open_or_make(&self.dir()).unwrap()
    }

    fn refusal(&self) -> String {
        SqliteStore::open(&self.dir()).unwrap_err().to_string()
    }

    /// A connection of another program.
    fn stranger(&self) -> Connection {
        Connection::open(self.database()).unwrap()
    }

    /// What a crash would leave right now.
    fn image(&self) -> Place {
        let image = Place::new();
        make_private(&image.dir());
        for name in dir::BESIDE.into_iter().chain([dir::DATABASE]) {
            let copy = image.dir().join(name);
            fs::copy(self.dir().join(name), &copy).unwrap();
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o600)).unwrap();
        }
        image
    }
}

fn make_private(dir: &Path) {
    fs::create_dir(dir).unwrap();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
}

impl contract::Place for Place {
    fn open(&self) -> Box<dyn Store> {
        Box::new(self.store())
    }

    fn take_over(&self) {
        let sql = "UPDATE meta SET value = value + 1 WHERE key = 'term'";
        self.stranger().execute(sql, []).unwrap();
    }
}

#[test]
fn it_keeps_the_contract() {
    contract::check(Place::new);
}
