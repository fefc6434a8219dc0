//! The export of the record of who did what: each line as JSON, to a file or a socket, once it is on
//! disk. And the newest line in the log, every hour: who keeps the log elsewhere can show that a tail
//! was cut (`orc audit verify --head`).
//!
//! A thread of its own looks every second whether there are more lines, so that nobody waits for whom
//! lines go to. How far it came is in `state_dir/audit.exported`, written after the lines: a crash in
//! between has some lines exported twice, by whose numbers a reader tells that, and none left out. While
//! lines cannot be exported that is told, and they are exported later; what was removed meanwhile,
//! because it had been kept long enough, is not.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::{fs::OpenOptionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use orchestra_model::{
    Timestamp,
    audit::{AuditJson, AuditRecord},
};
use orchestra_store::{Reader, Readers};
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use crate::{
    config::ExportTarget,
    driver::{Handle, Request},
    reload::Reloader,
    whole_file::write_whole,
};

/// How often it is looked whether there are more lines.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a socket may take to take lines before it counts as broken.
const PATIENCE: Duration = Duration::from_secs(5);
/// Lines that are exported at once.
const PAGE: usize = 500;
/// Name of the file in the state directory that says how far it came.
const CURSOR: &str = "audit.exported";
/// How often the newest line is logged.
const HOUR: Duration = Duration::from_secs(3_600);
/// How long a stop waits until the last lines are exported.
const STOP: Duration = Duration::from_secs(2);

/// The export, as others have it. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Export(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Set to have the target opened anew.
    reopen: AtomicBool,
    /// Why lines cannot be exported, if so.
    trouble: Mutex<Option<String>>,
}

/// The thread that exports, until this is dropped.
pub(crate) struct Exporting {
    _stop: Sender<()>,
    ended: oneshot::Receiver<()>,
}

impl Export {
    /// Has the target opened anew, as after a rotation of logs.
    pub(crate) fn reopen(&self) {
        self.0.reopen.store(true, Ordering::Relaxed);
    }

    /// Returns why lines cannot be exported, if so.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins to export to whatever the configuration in force says.
    pub(crate) fn start(
        &self,
        state_dir: &Path,
        readers: Arc<dyn Readers>,
        reloader: Reloader,
    ) -> io::Result<Exporting> {
        let exporter = Exporter {
            shared: self.clone(),
            cursor: state_dir.join(CURSOR),
            readers,
            open: None,
            exported: None,
        };
        let (stop, stopped) = channel();
        let (end, ended) = oneshot::channel();
        thread::Builder::new().name("audit-export".to_owned()).spawn(move || {
            exporter.run(&stopped, || reloader.shared().audit_export);
            // Whoever waits may be gone.
            let _ = end.send(());
        })?;
        Ok(Exporting { _stop: stop, ended })
    }

    fn note(&self, outcome: Result<(), String>) {
        let mut trouble = self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match (&outcome, &*trouble) {
            (Err(why), None) => {
                tracing::error!(why, "lines of the audit cannot be exported; will try again");
            }
            (Ok(()), Some(_)) => tracing::info!("lines of the audit are exported again"),
            _ => {}
        }
        *trouble = outcome.err();
    }
}

impl Exporting {
    /// Has the last lines exported, and waits until they are, for a bounded time.
    pub(crate) async fn finish(self) {
        let Self { _stop: stop, ended } = self;
        drop(stop);
        if timeout(STOP, ended).await.is_err() {
            tracing::warn!("the last lines of the audit were not exported; the next start does it");
        }
    }
}

/// Where lines go to.
enum Open {
    File(File),
    Socket(UnixStream),
}

struct Exporter {
    shared: Export,
    cursor: PathBuf,
    readers: Arc<dyn Readers>,
    /// What is open, and from which target.
    open: Option<(ExportTarget, Open)>,
    /// The newest line that was exported; `None` until that was read.
    exported: Option<u64>,
}

impl Exporter {
    fn run(mut self, stopped: &Receiver<()>, target: impl Fn() -> Option<ExportTarget>) {
        loop {
            let stops = stopped.recv_timeout(PERIOD) != Err(RecvTimeoutError::Timeout);
            let outcome = match target() {
                Some(target) => self.export(&target),
                None => {
                    self.open = None;
                    Ok(())
                }
            };
            if outcome.is_err() {
                self.open = None;
            }
            let shared = self.shared.clone();
            shared.note(outcome);
            if stops {
                return;
            }
        }
    }

    /// Exports all lines that are there and were not exported.
    fn export(&mut self, target: &ExportTarget) -> Result<(), String> {
        let failed = |error: io::Error| format!("{}: {error}", path_of(target).display());
        if self.shared.0.reopen.swap(false, Ordering::Relaxed)
            || self.open.as_ref().is_some_and(|(of, _)| of != target)
        {
            self.open = None;
        }
        if self.open.is_none() {
            self.open = Some((target.clone(), open(target).map_err(failed)?));
        }
        let mut after = match self.exported {
            Some(exported) => exported,
            None => read_cursor(&self.cursor)?,
        };
        loop {
            let lines = self.read(after)?;
            if let (Some((_, open)), Some(last)) = (&mut self.open, lines.last()) {
                write(open, &lines).map_err(failed)?;
                after = last.number;
                write_cursor(&self.cursor, after)?;
            }
            self.exported = Some(after);
            if lines.len() < PAGE {
                return Ok(());
            }
        }
    }

    fn read(&self, after: u64) -> Result<Vec<AuditRecord>, String> {
        let read = |reader: &dyn Reader| {
            // A store that was restored has fewer lines than were exported.
            let head = reader.audit_head()?;
            reader.audit_after(after.min(head.number), PAGE)
        };
        let lines = self.readers.open().and_then(|reader| read(&*reader));
        lines.map_err(|error| orchestra_model::chain(&error))
    }
}

fn path_of(target: &ExportTarget) -> &Path {
    match target {
        ExportTarget::File(path) | ExportTarget::Socket(path) => path,
    }
}

/// Opens a target. A file is made if there is none; a line that was cut by a crash is ended first.
fn open(target: &ExportTarget) -> io::Result<Open> {
    match target {
        ExportTarget::Socket(path) => {
            let socket = UnixStream::connect(path)?;
            socket.set_write_timeout(Some(PATIENCE))?;
            Ok(Open::Socket(socket))
        }
        ExportTarget::File(path) => {
            let mut options = OpenOptions::new();
            // Nobody who waits at the other end of a pipe may hold this up.
            options.read(true).append(true).create(true).mode(0o640);
            options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
            let mut file = options.open(path)?;
            if !file.metadata()?.is_file() {
                return Err(io::Error::other("it is no file; name a socket as unix:PATH"));
            }
            if file.seek(SeekFrom::End(0))? > 0 {
                let mut last = [0];
                file.seek(SeekFrom::End(-1))?;
                file.read_exact(&mut last)?;
                if last != *b"\n" {
                    file.write_all(b"\n")?;
                }
            }
            Ok(Open::File(file))
        }
    }
}

fn write(open: &mut Open, lines: &[AuditRecord]) -> io::Result<()> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, &AuditJson::new(line, moment(line.at)))?;
        text.push(b'\n');
    }
    match open {
        Open::File(file) => {
            file.write_all(&text)?;
            file.sync_data()
        }
        Open::Socket(socket) => socket.write_all(&text),
    }
}

/// Returns a moment as RFC 3339, to the millisecond.
fn moment(at: Timestamp) -> String {
    let second = at.to_utc();
    format!("{}.{:03}Z", second.trim_end_matches('Z'), at.0 % 1_000)
}

/// Returns the number of the newest line that was exported; 0 if none was.
fn read_cursor(path: &Path) -> Result<u64, String> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let wrong = |_| {
        let path = path.display();
        format!("{path} does not hold a number; remove it to have all lines exported again")
    };
    text.trim().parse().map_err(wrong)
}

fn write_cursor(path: &Path, number: u64) -> Result<(), String> {
    write_whole(path, &format!("{number}\n"))
        .map_err(|(path, error)| format!("{}: {error}", path.display()))
}

/// Logs the newest line every hour. Ends when the conductor does.
pub(crate) async fn tell_head(driver: Handle) {
    loop {
        let (reply, head) = oneshot::channel();
        if driver.requests.send(Request::AuditHead(reply)).await.is_err() {
            return;
        }
        match head.await {
            Ok(Ok(head)) => {
                let link = head.link.map(|link| orchestra_model::hex(&link.0)).unwrap_or_default();
                tracing::info!(number = head.number, %link, "the newest line of the audit");
            }
            // The store cannot be written; there is another hour.
            Ok(Err(_)) => {}
            Err(_) => return,
        }
        sleep(HOUR).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader},
        os::unix::net::UnixListener,
    };

    use orchestra_model::{
        audit::{Asker, AuditEntry, Deed, Object, Verb},
        delivery::StoreId,
        record::{Op, Record},
    };
    use orchestra_store::{MemoryDisk, MemoryStore, Store as _};
    use tempfile::TempDir;

    use super::*;

    struct Bench {
        dir: TempDir,
        store: MemoryStore,
        last: u64,
    }

    impl Bench {
        fn new() -> Self {
            let store = MemoryDisk::new(StoreId([1; 16])).open();
            Self { dir: TempDir::new().unwrap(), store, last: 0 }
        }

        fn write(&mut self, lines: u64) {
            let line = |number| {
                let deed = Deed::Done(Verb::Reload);
                let entry = AuditEntry::new(Asker::Local, deed, Object::Conductor, "a \"b\"\nc");
                let line = AuditRecord { number, at: Timestamp(1_250), entry, link: None };
                Op::Put(Record::Audit(line))
            };
            let batch: Vec<Op> = (self.last + 1..=self.last + lines).map(line).collect();
            self.last += lines;
            self.store.commit(&batch).unwrap();
        }

        fn exporter(&self) -> Exporter {
            Exporter {
                shared: Export::default(),
                cursor: self.dir.path().join(CURSOR),
                readers: self.store.readers(),
                open: None,
                exported: None,
            }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }
    }

    fn numbers(text: &str) -> Vec<u64> {
        let read = |line: &str| {
            let rest = line.strip_prefix("{\"number\":").unwrap();
            assert!(line.ends_with('}'), "{line}");
            rest.split(',').next().unwrap().parse().unwrap()
        };
        text.lines().map(read).collect()
    }

    #[test]
    fn lines_go_to_a_file_once_and_to_another_after_a_rotation() {
        let mut bench = Bench::new();
        let path = bench.path("audit.jsonl");
        let target = ExportTarget::File(path.clone());
        let mut exporter = bench.exporter();
        bench.write(1_200);
        exporter.export(&target).unwrap();
        exporter.export(&target).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(numbers(&text), (1..=1_200).collect::<Vec<_>>());
        assert!(text.contains(r#""at":"1970-01-01T00:00:01.250Z""#), "{text}");
        fs::rename(&path, bench.path("old")).unwrap();
        bench.write(1);
        exporter.shared.reopen();
        exporter.export(&target).unwrap();
        assert_eq!(numbers(&fs::read_to_string(&path).unwrap()), [1_201]);
        // Another process goes on, and ends the line that a crash has cut.
        let mut torn = OpenOptions::new().append(true).open(&path).unwrap();
        torn.write_all(b"{\"number\":1202").unwrap();
        bench.write(1);
        bench.exporter().export(&target).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 3);
        assert_eq!(numbers(text.lines().next_back().unwrap()), [1_202]);
    }

    #[test]
    fn lines_go_to_a_socket_and_wait_while_nobody_listens() {
        let mut bench = Bench::new();
        let path = bench.path("socket");
        let target = ExportTarget::Socket(path.clone());
        let mut exporter = bench.exporter();
        bench.write(2);
        assert!(exporter.export(&target).unwrap_err().contains("socket"));
        let listener = UnixListener::bind(&path).unwrap();
        exporter.export(&target).unwrap();
        let mut lines = BufReader::new(listener.accept().unwrap().0).lines();
        let mut next = || numbers(&lines.next().unwrap().unwrap());
        assert_eq!((next(), next()), (vec![1], vec![2]));
    }

    #[test]
    fn what_is_no_file_is_told() {
        let bench = Bench::new();
        let told = bench.exporter().export(&ExportTarget::File("/dev/null".into())).unwrap_err();
        assert!(told.contains("unix:PATH"), "{told}");
        fs::write(bench.path(CURSOR), "x").unwrap();
        let target = ExportTarget::File(bench.path("audit.jsonl"));
        let told = bench.exporter().export(&target).unwrap_err();
        assert!(told.contains("does not hold a number"), "{told}");
    }
}
