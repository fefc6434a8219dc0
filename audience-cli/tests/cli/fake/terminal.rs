//! A terminal as a person has one: a pty with a program on it, and what its screen shows.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::OwnedFd,
    process::{Child, Command},
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

/// How long a screen may take to show something, on a machine that is very busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A terminal with a program.
pub(crate) struct Terminal {
    ours: OwnedFd,
    child: Child,
    screen: Arc<(Mutex<vt100::Parser>, Condvar)>,
}

/// Both ends of a terminal: ours, and the program's. Where this machine has none, as in a chroot without
/// `/dev/pts`, says so aloud.
fn open_pair() -> Option<(OwnedFd, OwnedFd)> {
    let open = || {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let ours = openpt(flags)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let theirs = ioctl_tiocgptpeer(&ours, flags)?;
        Ok((ours, theirs))
    };
    match open() {
        Ok(pair) => Some(pair),
        Err(Errno::NODEV | Errno::NOENT) => {
            let mut told = io::stderr().lock();
            writeln!(told, "skipped: this machine has no terminals: nothing is at /dev/pts")
                .unwrap();
            None
        }
        Err(error) => panic!("opening a terminal: {error}"),
    }
}

impl Terminal {
    /// Starts a program on a terminal of this size, in columns and rows, where this machine has terminals.
    pub(crate) fn start(mut command: Command, (width, height): (u16, u16)) -> Option<Self> {
        let (ours, theirs) = open_pair()?;
        tcsetwinsize(&ours, size(width, height)).unwrap();
        command.env("TERM", "xterm").env("LC_ALL", "C.UTF-8");
        let output = || theirs.try_clone().unwrap();
        command.stdin(output()).stdout(output()).stderr(output());
        let child = command.spawn().unwrap();
        // It has copies of the other end, and keeps the terminal open for as long as it lives.
        drop(command);
        drop(theirs);
        let parser = vt100::Parser::new(height, width, 1_000);
        let screen = Arc::new((Mutex::new(parser), Condvar::new()));
        let (shown, mut file) = (Arc::clone(&screen), File::from(ours.try_clone().unwrap()));
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            // An error is the end: nobody has the other end open any more.
            while let Ok(count @ 1..) = file.read(&mut bytes) {
                shown.0.lock().unwrap().process(&bytes[..count]);
                shown.1.notify_all();
            }
        });
        Some(Self { ours, child, screen })
    }

    /// Waits until the screen shows this, and returns all of it.
    #[track_caller]
    pub(crate) fn shows(&self, text: &str) -> String {
        let (parser, changed) = &*self.screen;
        let lacks = |parser: &mut vt100::Parser| !parser.screen().contents().contains(text);
        let (parser, waited) =
            changed.wait_timeout_while(parser.lock().unwrap(), PATIENCE, lacks).unwrap();
        let contents = parser.screen().contents();
        assert!(!waited.timed_out(), "{text:?} is not in\n{contents}");
        contents
    }

    /// Gives the terminal another size, as a window does.
    pub(crate) fn resize(&self, width: u16, height: u16) {
        self.screen.0.lock().unwrap().screen_mut().set_size(height, width);
        tcsetwinsize(&self.ours, size(width, height)).unwrap();
        self.signal(Signal::WINCH);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the program, and returns its exit code.
    pub(crate) fn finish(mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Terminal {
    /// Ends the program where a test ends before it does, so that a test that fails leaves nothing.
    fn drop(&mut self) {
        // It may have ended, and was waited for then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(width: u16, height: u16) -> Winsize {
    Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 }
}
