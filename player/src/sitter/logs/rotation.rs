//! Reading on from a full file to the next one, so that every byte is read once.
//!
//! A launcher that begins the next file first copies the beginning of a line there, then cuts it
//! off the full file. A reader may come between the two steps, and a launcher may be killed there.

use std::io;

use orchestra_model::service::LogPlace;

use super::on_disk::LogDir;

/// Longest beginning of a line that is copied, in bytes.
const LINE_BYTES: u64 = 64 << 10;

impl LogDir {
    /// Returns where to go on after the end of a file that another one follows; `None` if that does
    /// not show yet.
    pub(super) fn after(&self, file: u64, len: u64, next: u64) -> io::Result<Option<LogPlace>> {
        let place = |offset| Some(LogPlace { file: next, offset });
        let from = len.saturating_sub(LINE_BYTES);
        let late = self.read(LogPlace { file, offset: from }, (len - from) as usize)?;
        let Some(late) = late else { return Ok(place(0)) };
        let Some(end) = late.iter().rposition(|byte| *byte == b'\n') else { return Ok(place(0)) };
        let line = &late[end + 1..];
        let copy = self.read(LogPlace { file: next, offset: 0 }, line.len())?.unwrap_or_default();
        Ok(match line.strip_prefix(&copy[..]) {
            Some([]) => place(line.len() as u64),
            Some(_) => None,
            None => place(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use orchestra_model::service::{LogQuery, LogRuns, LogStream};
    use orchestra_units::RunId;

    use crate::sitter::{
        logs::{LogDir, Reading, Step},
        stream::Stream,
    };

    const QUERY: LogQuery = LogQuery {
        stream: LogStream::Stdout,
        runs: LogRuns::All,
        tail: None,
        since: None,
        from: None,
        follow: true,
    };

    fn reading(path: &Path, query: &LogQuery) -> Reading {
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
        let dir = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).unwrap();
        Reading::new(LogDir::new(dir, Stream::Stdout), query, RunId::default()).unwrap()
    }

    /// Reads all that there is for now.
    fn read(reading: &mut Reading) -> String {
        let mut text = String::new();
        loop {
            match reading.step(4, RunId::default()).unwrap() {
                Step::Chunk(chunk) => text += std::str::from_utf8(&chunk.bytes).unwrap(),
                Step::More => {}
                Step::Idle | Step::All => return text,
                Step::Gone => panic!("gone"),
            }
        }
    }

    /// The first and the second file at each moment of a rotation.
    const MOMENTS: [(&str, Option<&str>); 5] = [
        ("one\ntwo\nthr", None),
        ("one\ntwo\nthr", Some("")),
        ("one\ntwo\nthr", Some("thr")),
        ("one\ntwo\n", Some("thr")),
        ("one\ntwo\n", Some("three\nfour\n")),
    ];

    fn show(path: &Path, moment: usize) {
        let (first, second) = MOMENTS[moment];
        fs::write(path.join("out.1"), first).unwrap();
        if let Some(second) = second {
            fs::write(path.join("out.2"), second).unwrap();
        }
    }

    #[test]
    fn whoever_reads_during_a_rotation_gets_each_byte_once() {
        // The bits say at which of the moments the reader reads.
        for moments in 0..1_u32 << MOMENTS.len() {
            let temp = tempfile::tempdir().unwrap();
            let mut reading = reading(temp.path(), &QUERY);
            let mut text = String::new();
            for moment in 0..MOMENTS.len() {
                show(temp.path(), moment);
                if moments & 1 << moment != 0 {
                    text += &read(&mut reading);
                }
            }
            text += &read(&mut reading);
            assert_eq!(text, "one\ntwo\nthree\nfour\n", "{moments:b}");
        }
    }

    #[test]
    fn a_line_that_a_killed_launcher_left_in_both_is_read_once() {
        let temp = tempfile::tempdir().unwrap();
        show(temp.path(), 2);
        fs::write(temp.path().join("out.2"), "three\n").unwrap();
        let query = LogQuery { follow: false, ..QUERY };
        assert_eq!(read(&mut reading(temp.path(), &query)), "one\ntwo\nthree\n");
        // A next file that does not begin with the end of the full one.
        fs::write(temp.path().join("out.2"), "tree\n").unwrap();
        assert_eq!(read(&mut reading(temp.path(), &query)), "one\ntwo\nthrtree\n");
    }

    #[test]
    fn a_log_that_was_begun_anew_is_read_from_its_beginning() {
        let temp = tempfile::tempdir().unwrap();
        show(temp.path(), 0);
        let mut reading = reading(temp.path(), &QUERY);
        assert_eq!(read(&mut reading), "one\ntwo\nthr");
        fs::write(temp.path().join("out.1"), "anew\n").unwrap();
        assert_eq!(read(&mut reading), "anew\n");
    }

    #[test]
    fn what_was_removed_before_it_was_read_is_told() {
        let temp = tempfile::tempdir().unwrap();
        show(temp.path(), 4);
        let mut reading = reading(temp.path(), &QUERY);
        assert_eq!(read(&mut reading), "one\ntwo\nthree\nfour\n");
        fs::remove_file(temp.path().join("out.1")).unwrap();
        fs::remove_file(temp.path().join("out.2")).unwrap();
        fs::write(temp.path().join("out.9"), "nine\n").unwrap();
        let step = loop {
            match reading.step(100, RunId::default()).unwrap() {
                Step::More => {}
                step => break step,
            }
        };
        let Step::Chunk(chunk) = step else { panic!("{step:?}") };
        assert_eq!((&chunk.bytes[..], chunk.gap), (&b"nine\n"[..], true));
    }
}
