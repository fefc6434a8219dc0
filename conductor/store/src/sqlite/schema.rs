//! The version of the tables: making them, and bringing those of the previous release up to it.

use rusqlite::{Connection, Result};

/// The version of the tables, which rises with every change that the previous release cannot do
/// without.
pub(super) const VERSION: i32 = 3;
/// The oldest version that can be brought up to it.
pub(super) const OLDEST: i32 = 1;

const TABLES: &str = include_str!("schema/tables.sql");
const VIEWS: &str = include_str!("schema/views.sql");
const AUDIT: &str = include_str!("schema/audit.sql");
const ENDED: &str = include_str!("schema/ended.sql");
const SERVICES: &str = include_str!("schema/services.sql");
const TREES: &str = include_str!("schema/trees.sql");
const FROM_1: &str = include_str!("schema/from_1.sql");
const FROM_2: &str = include_str!("schema/from_2.sql");

/// Makes the tables of a new database.
pub(super) fn create(db: &Connection) -> Result<()> {
    db.execute_batch(TABLES)?;
    add_tables(db)?;
    finish(db)
}

/// Brings tables of an older version, from [`OLDEST`] on, up to [`VERSION`]. That touches no row, but
/// for an index over the flows that is made once: half a second for a million of them. In a transaction, a crash leaves the old version.
pub(super) fn migrate(db: &Connection, version: i32) -> Result<()> {
    add_tables(db)?;
    if version >= VERSION {
        return Ok(());
    }
    if version < 2 {
        db.execute_batch(FROM_1)?;
    }
    db.execute_batch(FROM_2)?;
    drop_views(db)?;
    finish(db)
}

/// Makes the tables, and an index, that the previous release can do without, where they are missing.
fn add_tables(db: &Connection) -> Result<()> {
    db.execute_batch(ENDED)?;
    db.execute_batch(AUDIT)?;
    db.execute_batch(SERVICES)?;
    db.execute_batch(TREES)
}

fn finish(db: &Connection) -> Result<()> {
    db.execute_batch(VIEWS)?;
    db.pragma_update(None, "user_version", VERSION)
}

fn drop_views(db: &Connection) -> Result<()> {
    let mut find = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'view'")?;
    let views = find.query_map([], |row| row.get::<_, String>(0))?;
    for view in views.collect::<Result<Vec<_>>>()? {
        db.execute_batch(&format!("DROP VIEW \"{}\"", view.replace('"', "\"\"")))?;
    }
    Ok(())
}
