//! What the runs of a unit write: files `out.N` and `err.N`, bounded in size and number. They
//! outlive the runs.
//!
//! A full file ends with a whole line; the line that it would break begins the next file. Of each
//! stream the newest files are kept, up to [`STREAM_BYTES`], or less if all logs together would
//! exceed their budget (`logs/budget.rs`). The launcher that writes to a file has it locked;
//! another launcher that finds the newest file locked begins the next one. If the disk is full, the
//! oldest file is removed. What cannot be written even then is dropped and counted, so that no
//! service waits for a disk; once writing goes on, a line says how much is missing.
//!
//! The kernel moves bytes from pipe to file by itself, so a launcher that is killed loses none of
//! them. A mark notes beforehand where a run begins (`logs/marks.rs`), so that each byte has its
//! run.

use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

use orchestra_model::{Timestamp, service::LogPlace};
use orchestra_units::RunId;
use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, Dir, FlockOperation, OFlags},
    io::Errno,
    pipe::SpliceFlags,
};

use crate::sitter::{
    clock::{self, BootMillis},
    logs::{
        budget,
        marks::{self, Mark},
    },
    pipe::{Holds, Pipe, Sink},
    stream::{PRIVATE, Stream},
};

/// Most bytes that are kept of a stream.
const STREAM_BYTES: u64 = 100 << 20;
/// Longest line that is kept in one file, in bytes.
const LINE_BYTES: u64 = 64 << 10;
/// Most bytes that are moved at once.
const MOVED: u64 = 1 << 20;
/// The time after which bytes get a new mark, in milliseconds: marks tell when bytes were written.
const MARKED: u64 = 60_000;
/// The time between two looks at all logs, in milliseconds: a look takes time if there are many
/// logs.
const LOOKS: u64 = 1_000;

/// The files of one stream of a unit.
#[derive(Debug)]
pub(super) struct Log {
    /// The unit's directory.
    dir: Arc<OwnedFd>,
    stem: &'static str,
    /// The newest file; `None` before the first byte.
    open: Option<Open>,
    /// How many bytes could not be written since the last that could.
    dropped: u64,
    /// The run whose bytes come now.
    run: RunId,
    /// The last mark's run, and its time.
    marked: Option<(RunId, Timestamp)>,
    /// When all logs were last looked at, and the largest size of a file since, in bytes.
    looked: Option<(BootMillis, u64)>,
}

#[derive(Debug)]
struct Open {
    file: File,
    number: u64,
    len: u64,
    /// From this length on the file is full. The last move of bytes may go beyond it.
    most: u64,
    /// The number of the oldest file that is kept.
    oldest: u64,
}

impl Log {
    pub(super) fn new(dir: Arc<OwnedFd>, stream: Stream) -> Self {
        let (stem, run) = (stream.stem(), RunId::default());
        Self { dir, stem, open: None, dropped: 0, run, marked: None, looked: None }
    }

    /// Notes that the bytes that come next are of this run.
    pub(super) fn of(&mut self, run: RunId) -> &mut Self {
        self.run = run;
        self
    }

    /// Whether the run that comes now has no mark yet.
    fn is_news(&self) -> bool {
        self.marked.is_none_or(|(run, _)| run != self.run)
    }

    /// Marks the run of the bytes that come next, if the run has no mark yet or the last mark is
    /// old.
    fn mark(&mut self) {
        let at = clock::wall();
        let is_old = |(_, last): (RunId, Timestamp)| at.0.abs_diff(last.0) >= MARKED;
        let Some(Open { number, len, oldest, .. }) = &self.open else { return };
        if self.is_news() || self.marked.is_some_and(is_old) {
            let place = LogPlace { file: *number, offset: *len };
            let mark = Mark { run: self.run, place, at };
            // Without a mark the bytes count as those of the run before, which is better than
            // losing them.
            if marks::note(&self.dir, self.stem, &mark, *oldest).is_ok() {
                self.marked = Some((self.run, at));
            }
        }
    }

    /// Moves bytes from the pipe into the newest file.
    fn fill(&mut self, pipe: &Pipe) -> Result<usize, Errno> {
        self.say_what_is_missing()?;
        let Open { file, len, most, .. } = self.ready()?;
        let mut place = *len;
        let room = most.saturating_sub(*len).clamp(LINE_BYTES, MOVED) as usize;
        let flags = SpliceFlags::NONBLOCK;
        let moved = rustix::pipe::splice(pipe, None, &*file, Some(&mut place), room, flags)?;
        *len += moved as u64;
        Ok(moved)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Open { file, len, .. } = self.ready()?;
        file.write_all_at(bytes, *len)?;
        *len += bytes.len() as u64;
        Ok(())
    }

    /// Writes lines that the run has not written. A line that the run has not ended yet is broken
    /// there. What cannot be written is dropped.
    pub(super) fn note(&mut self, lines: &[u8]) {
        if self.say_what_is_missing().is_ok() && self.begin_line().is_ok() {
            let _ = self.write(lines);
        }
    }

    /// Ends the line that was begun, if any.
    fn begin_line(&mut self) -> io::Result<()> {
        let Open { file, len, .. } = self.ready()?;
        let mut last = [b'\n'];
        if let Some(before) = len.checked_sub(1) {
            file.read_exact_at(&mut last, before)?;
        }
        if last == *b"\n" { Ok(()) } else { self.write(b"\n") }
    }

    fn say_what_is_missing(&mut self) -> Result<(), Errno> {
        if self.dropped > 0 {
            let text = format!("\n[{} bytes are missing here: no space]\n", self.dropped);
            let written = self.write(text.as_bytes());
            written.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
            self.dropped = 0;
        }
        Ok(())
    }

    /// Returns a file with room.
    fn ready(&mut self) -> Result<&mut Open, Errno> {
        let open = match self.open.take() {
            Some(open) if open.len < open.most => open,
            Some(full) => match self.rotate(&full) {
                Ok(next) => next,
                Err(error) => {
                    self.open = Some(full);
                    return Err(error);
                }
            },
            None => self.newest()?,
        };
        self.open = Some(open);
        self.mark();
        self.open.as_mut().ok_or(Errno::IO)
    }

    /// Opens the newest file, or the next one if another launcher writes to the newest.
    fn newest(&mut self) -> Result<Open, Errno> {
        let numbers = self.numbers()?;
        let newest = numbers.iter().copied().max().unwrap_or(0);
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if newest > 0
            && let Ok(file) = rustix::fs::openat(&self.dir, self.name(newest), flags, PRIVATE)
            && rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            let len = u64::try_from(rustix::fs::fstat(&file)?.st_size).unwrap_or(0);
            let oldest = numbers.into_iter().min().unwrap_or(newest);
            let most = self.look_at_all();
            let open = Open { file: file.into(), number: newest, len, most, oldest };
            return if len < most { Ok(open) } else { self.rotate(&open) };
        }
        self.begin(newest + 1)
    }

    /// Begins the next file, with the line that the full one would break.
    fn rotate(&mut self, full: &Open) -> Result<Open, Errno> {
        let io = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        let from = full.len.saturating_sub(LINE_BYTES);
        let mut late = vec![0; (full.len - from) as usize];
        full.file.read_exact_at(&mut late, from).map_err(io)?;
        let end = late.iter().rposition(|byte| *byte == b'\n');
        let line = end.map_or(&[][..], |end| &late[end + 1..]);
        let mut next = self.begin(full.number + 1)?;
        next.file.write_all_at(line, 0).map_err(io)?;
        next.len = line.len() as u64;
        // A launcher that is killed before this leaves the line in both files.
        let _ = full.file.set_len(full.len - next.len);
        Ok(next)
    }

    fn begin(&mut self, number: u64) -> Result<Open, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, self.name(number), flags, PRIVATE)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let oldest = self.keep_newest(number)?;
        Ok(Open { file: file.into(), number, len: 0, most: self.look_at_all(), oldest })
    }

    /// Removes the oldest files beyond what is kept of a stream. Returns the oldest that is left.
    fn keep_newest(&self, newest: u64) -> Result<u64, Errno> {
        let mut numbers = self.numbers()?;
        numbers.sort_unstable_by_key(|number| std::cmp::Reverse(*number));
        let (mut kept, mut oldest) = (0, newest);
        for number in numbers {
            let found = rustix::fs::statat(&self.dir, self.name(number), AtFlags::SYMLINK_NOFOLLOW);
            kept += found.map_or(0, |found| u64::try_from(found.st_size).unwrap_or(0));
            if kept < STREAM_BYTES || number == newest {
                oldest = number;
            } else {
                // A file that cannot be removed is tried again with the next file.
                self.remove(number);
            }
        }
        Ok(oldest)
    }

    /// Has all logs keep to their budget, at most once every [`LOOKS`]. Returns how large a file
    /// may become.
    fn look_at_all(&mut self) -> u64 {
        let now = BootMillis::now();
        let (at, before) = match self.looked {
            Some((at, most)) if now.0 < at.0 + LOOKS => return most,
            looked => (now, looked.map_or(budget::MOST_FILE, |(_, most)| most)),
        };
        // If the logs cannot be looked at now, they are with the next file.
        let most = budget::keep(&*self.dir).unwrap_or(before);
        self.looked = Some((at, most));
        most
    }

    /// Makes room on a full disk. Returns whether there was a file to remove.
    fn remove_oldest(&self) -> bool {
        let Some(Open { number: newest, .. }) = &self.open else { return false };
        let oldest = self.numbers().ok().and_then(|numbers| numbers.into_iter().min());
        let Some(oldest) = oldest.filter(|oldest| oldest < newest) else { return false };
        self.remove(oldest)
    }

    /// Removes a file of this log. Returns whether it is gone.
    fn remove(&self, number: u64) -> bool {
        rustix::fs::unlinkat(&self.dir, self.name(number), AtFlags::empty()).is_ok()
    }

    fn numbers(&self) -> Result<Vec<u64>, Errno> {
        let number = |name: &str| name.strip_prefix(self.stem)?.strip_prefix('.')?.parse().ok();
        let names = Dir::read_from(&self.dir)?.filter_map(Result::ok);
        Ok(names.filter_map(|entry| number(entry.file_name().to_str().ok()?)).collect())
    }

    fn name(&self, number: u64) -> String {
        format!("{}.{number}", self.stem)
    }
}

impl Sink for Log {
    fn take(&mut self, pipe: &Pipe, holds: Holds, chunk: &mut [u8]) -> Result<usize, Errno> {
        // A stream that ends without a byte gets no file and no mark.
        let is_worth_a_file = || match holds {
            Holds::Something => true,
            Holds::Nothing => false,
            Holds::Unknown => pipe.holds_something(),
        };
        if (self.open.is_some() && !self.is_news()) || is_worth_a_file() {
            loop {
                match self.fill(pipe) {
                    Err(Errno::NOSPC | Errno::DQUOT) if self.remove_oldest() => {}
                    Err(error) if !matches!(error, Errno::AGAIN | Errno::INTR) => break,
                    filled => return filled,
                }
            }
        }
        let read = pipe.read(chunk)?;
        if read > 0 && (self.dropped > 0 || self.write(&chunk[..read]).is_err()) {
            self.dropped += read as u64;
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use rustix::{fd::AsFd, fs::Mode};

    use super::*;
    use crate::sitter::stream::make_pipes;

    /// The directory of a unit's log. It is alone: the logs beside it share a budget with it.
    struct Place {
        web: std::path::PathBuf,
        _temp: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Self {
            let temp = tempfile::tempdir().unwrap();
            let web = temp.path().join("web");
            fs::create_dir(&web).unwrap();
            Self { web, _temp: temp }
        }

        fn web(&self) -> &std::path::Path {
            &self.web
        }
    }

    /// A log in a directory, and both ends of the pipe that it reads.
    fn log(path: &std::path::Path) -> (Log, Pipe, File) {
        let dir = rustix::fs::open(path, OFlags::RDONLY, Mode::empty()).unwrap();
        make_pipes(dir.as_fd(), None).unwrap();
        let pipe = Pipe::open(dir.as_fd(), Stream::Stdout).unwrap();
        let writer = Pipe::open_for_the_score(dir.as_fd(), Stream::Stdout.pipe()).unwrap();
        (Log::new(Arc::new(dir), Stream::Stdout), pipe, writer.into())
    }

    fn move_all(log: &mut Log, pipe: &Pipe) {
        pipe.drain(Some(log), Holds::Unknown, &mut [0; 4_096]);
    }

    fn files(path: &std::path::Path) -> Vec<(u64, Vec<u8>)> {
        let entries = fs::read_dir(path).unwrap().map(Result::unwrap);
        let number = |name: &str| name.strip_prefix("out.")?.parse().ok();
        let files = entries.filter_map(|entry| {
            let number = number(entry.file_name().to_str()?)?;
            Some((number, fs::read(entry.path()).unwrap()))
        });
        let mut files: Vec<_> = files.collect();
        files.sort();
        files
    }

    #[test]
    fn files_end_with_a_line_and_the_newest_are_kept() {
        let temp = Place::new();
        let (mut log, pipe, mut writer) = log(temp.web());
        let line = |n: u32| format!("{n:>width$}\n", width = 999 + (n % 7) as usize);
        let lines = 150_000;
        for n in 0..lines {
            writer.write_all(line(n).as_bytes()).unwrap();
            if n % 50 == 0 {
                move_all(&mut log, &pipe);
            }
        }
        move_all(&mut log, &pipe);
        let files = files(temp.web());
        assert_eq!(files.len(), 10);
        for (number, bytes) in &files {
            assert_eq!(bytes.last(), Some(&b'\n'), "{number}");
            assert!(bytes.len() as u64 <= budget::MOST_FILE + MOVED, "{number}");
        }
        let text: Vec<u8> = files.into_iter().flat_map(|(_, bytes)| bytes).collect();
        let text = String::from_utf8(text).unwrap();
        let first: u32 = text.lines().next().unwrap().trim().parse().unwrap();
        let wanted: String = (first..lines).map(line).collect();
        assert!(text == wanted, "nothing is missing between {first} and {lines}");
    }

    #[test]
    fn whoever_finds_the_newest_taken_begins_the_next() {
        let temp = Place::new();
        let (mut first, pipe, mut writer) = log(temp.web());
        writer.write_all(b"one\n").unwrap();
        move_all(&mut first, &pipe);
        let (mut second, pipe, mut writer) = log(temp.web());
        writer.write_all(b"two\n").unwrap();
        move_all(&mut second, &pipe);
        drop(first);
        drop(second);
        let (mut third, pipe, mut writer) = log(temp.web());
        writer.write_all(b"three\n").unwrap();
        move_all(&mut third, &pipe);
        let expected = [(1, b"one\n".to_vec()), (2, b"two\nthree\n".to_vec())];
        assert_eq!(files(temp.web()), expected);
    }

    #[test]
    fn what_the_run_has_not_written_stands_on_lines_of_its_own() {
        let temp = Place::new();
        let (mut log, pipe, mut writer) = log(temp.web());
        log.note(b"check: first\n");
        writer.write_all(b"half a ").unwrap();
        move_all(&mut log, &pipe);
        log.note(b"check: refused\ncheck: by db1\n");
        writer.write_all(b"line\n").unwrap();
        move_all(&mut log, &pipe);
        log.note(b"check: last\n");
        let text = b"check: first\nhalf a \ncheck: refused\ncheck: by db1\nline\ncheck: last\n";
        assert_eq!(files(temp.web()), [(1, text.to_vec())]);
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let temp = Place::new();
        let (mut log, pipe, mut writer) = log(temp.web());
        // A file that takes nothing stands for a full disk.
        let full = File::options().write(true).open("/dev/full").unwrap();
        log.open = Some(Open { file: full, number: 2, len: 0, most: 1 << 20, oldest: 1 });
        fs::write(temp.web().join("out.1"), "old\n").unwrap();
        writer.write_all(b"lost").unwrap();
        move_all(&mut log, &pipe);
        assert_eq!(log.dropped, 4);
        assert_eq!(files(temp.web()), [], "the oldest was to make room");
        log.open = None;
        writer.write_all(b"kept\n").unwrap();
        move_all(&mut log, &pipe);
        let said = b"\n[4 bytes are missing here: no space]\nkept\n".to_vec();
        assert_eq!(files(temp.web()), [(1, said)]);
    }
}
