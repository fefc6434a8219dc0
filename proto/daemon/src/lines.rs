//! Lines on their way to the log.
//!
//! Whoever logs never waits: not for a disk that hangs, nor for a pipe whose reader has stopped
//! reading. It puts its line into a queue; a thread of the log's own takes what is there, and waits
//! in its stead. A queue that is full takes no more lines until the thread has emptied it, and
//! counts them, so that the gap is in one place, and told there.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use crate::output::{Output, Sink};

/// Most bytes of lines that wait: some ten thousand lines, the log of a busy second.
const ROOM: usize = 2 << 20;

/// Lines that wait for the thread.
pub(crate) struct Lines<S> {
    waiting: Mutex<Waiting<S>>,
    /// There is something for the thread to do.
    came: Condvar,
    /// The thread has written all that it took.
    written: Condvar,
}

struct Waiting<S> {
    lines: Vec<Box<[u8]>>,
    bytes: usize,
    /// Lines that came after those, and found no room.
    refused: u64,
    writer: Writer<S>,
}

enum Writer<S> {
    /// The thread sleeps until something comes.
    Sleeps,
    /// The thread writes, or is about to.
    Writes,
    /// There is no thread: whoever logs writes.
    None(Output<S>),
}

impl<S: Sink> Lines<S> {
    /// Starts the thread. A host that gives us none still has a log; it may then be waited for.
    pub(crate) fn start(output: Output<S>) -> Arc<Self> {
        let (came, written) = (Condvar::new(), Condvar::new());
        let waiting = Waiting { lines: Vec::new(), bytes: 0, refused: 0, writer: Writer::Writes };
        let lines = Arc::new(Self { waiting: Mutex::new(waiting), came, written });
        // Handed over through the queue, for a thread that cannot be made gives nothing back.
        let (hand, taken) = mpsc::sync_channel(1);
        let theirs = Arc::clone(&lines);
        // Its stack is as large as any: signals that come at once are handled one upon the other, on
        // the stack of whichever thread they find.
        let thread = thread::Builder::new().name("log".to_owned());
        let started = thread.spawn(move || {
            if let Ok(output) = taken.recv() {
                theirs.write_all_that_comes(output);
            }
        });
        match started {
            // It waits for it: sending cannot fail.
            Ok(_) => drop(hand.send(output)),
            Err(_) => lines.lock().writer = Writer::None(output),
        }
        lines
    }

    /// Puts a line, which ends with a newline, into the queue.
    pub(crate) fn push(&self, line: &[u8]) {
        let mut waiting = self.lock();
        match &mut waiting.writer {
            Writer::None(output) => return output.line(line),
            Writer::Sleeps => self.came.notify_one(),
            Writer::Writes => {}
        }
        waiting.writer = Writer::Writes;
        let full = !waiting.lines.is_empty() && waiting.bytes + line.len() > ROOM;
        if full || waiting.refused > 0 {
            waiting.refused += 1;
        } else {
            waiting.bytes += line.len();
            waiting.lines.push(line.into());
        }
    }

    /// Waits until all that was logged is written, but no longer than that.
    pub(crate) fn flush(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let mut waiting = self.lock();
        while waiting.is_behind() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let woken = self.written.wait_timeout(waiting, left);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn write_all_that_comes(&self, mut output: Output<S>) {
        loop {
            let (lines, refused) = self.take();
            for line in lines {
                output.line(&line);
            }
            if refused > 0 {
                output.lost(refused, "what reads it is too slow");
                if let Err(error) = output.tell_lost() {
                    output.lost(0, error);
                }
            }
        }
    }

    /// Waits for lines, and takes all of them, with the number of those that found no room.
    fn take(&self) -> (Vec<Box<[u8]>>, u64) {
        let mut waiting = self.lock();
        while waiting.lines.is_empty() && waiting.refused == 0 {
            waiting.writer = Writer::Sleeps;
            self.written.notify_all();
            waiting = self.came.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.writer = Writer::Writes;
        waiting.bytes = 0;
        (std::mem::take(&mut waiting.lines), std::mem::take(&mut waiting.refused))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<S>> {
        // A panic while it was held left a queue that is whole: it is changed in single steps.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Waiting<S> {
    /// Whether something is not written yet.
    fn is_behind(&self) -> bool {
        let idle = !matches!(self.writer, Writer::Writes);
        !(idle && self.lines.is_empty() && self.refused == 0)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Says what it is about to write, and writes it when it is told to.
    struct Gated {
        begun: mpsc::Sender<()>,
        go: mpsc::Receiver<()>,
        written: Arc<Mutex<String>>,
    }

    impl Sink for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // The test may have ended.
            let _ = self.begun.send(());
            let _ = self.go.recv();
            self.written.lock().unwrap().push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn wait(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Bench {
        lines: Arc<Lines<Gated>>,
        begun: mpsc::Receiver<()>,
        go: mpsc::Sender<()>,
        written: Arc<Mutex<String>>,
    }

    impl Bench {
        fn new() -> Self {
            let ((begun, has_begun), (go, may_go)) = (mpsc::channel(), mpsc::channel());
            let written = Arc::default();
            let sink = Gated { begun, go: may_go, written: Arc::clone(&written) };
            let lines = Lines::start(Output::new(sink, false));
            Self { lines, begun: has_begun, go, written }
        }

        /// Ends the gate: everything is written from now on.
        fn open(self) -> (Arc<Lines<Gated>>, Arc<Mutex<String>>) {
            (self.lines, self.written)
        }
    }

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn who_logs_never_waits_and_the_gap_is_told_where_it_is() {
        let bench = Bench::new();
        bench.lines.push(b"first\n");
        // Its reader has stopped reading: from here on the thread is stuck.
        bench.begun.recv().unwrap();
        let line = [&[b'x'; 1_023][..], b"\n"].concat();
        let fits = ROOM / line.len();
        for _ in 0..fits + 3 {
            bench.lines.push(&line);
        }
        // Smaller ones would fit: a gap is a gap.
        bench.lines.push(b"lost\n");
        let (lines, written) = bench.open();
        lines.flush(PATIENCE);
        lines.push(b"last\n");
        lines.flush(PATIENCE);
        let written = written.lock().unwrap();
        let told: Vec<&str> = written.lines().filter(|line| !line.starts_with('x')).collect();
        assert_eq!(written.lines().filter(|line| line.starts_with('x')).count(), fits);
        assert_eq!((told[0], told[2]), ("first", "last"));
        assert!(told[1].starts_with(" WARN lines of this log were lost lines=4 "), "{}", told[1]);
        assert!(told[1].ends_with("reason=\"what reads it is too slow\""), "{}", told[1]);
        assert_eq!(told.len(), 3);
    }

    #[test]
    fn a_flush_waits_for_what_was_logged_and_not_for_ever() {
        let bench = Bench::new();
        bench.lines.push(b"a\n");
        bench.begun.recv().unwrap();
        bench.lines.push(b"b\n");
        bench.lines.flush(Duration::from_millis(1));
        assert_eq!(*bench.written.lock().unwrap(), "");
        bench.go.send(()).unwrap();
        bench.begun.recv().unwrap();
        bench.go.send(()).unwrap();
        bench.lines.flush(PATIENCE);
        assert_eq!(*bench.written.lock().unwrap(), "a\nb\n");
        // Nothing is left: it does not wait.
        bench.lines.flush(PATIENCE);
    }

    #[test]
    fn many_threads_lose_nothing_and_mix_nothing() {
        let bench = Bench::new();
        let (lines, written) = bench.open();
        thread::scope(|scope| {
            for name in 0..4 {
                let lines = &lines;
                scope.spawn(move || {
                    for n in 0..500 {
                        lines.push(format!("{name} {n}\n").as_bytes());
                    }
                });
            }
        });
        lines.flush(PATIENCE);
        let written = written.lock().unwrap();
        for name in 0..4 {
            let of_one = written.lines().filter_map(|line| line.strip_prefix(&format!("{name} ")));
            let numbers: Vec<u32> = of_one.map(|n| n.parse().unwrap()).collect();
            assert!(numbers.iter().copied().eq(0..500), "thread {name}");
        }
        assert_eq!(written.lines().count(), 2_000);
    }
}
