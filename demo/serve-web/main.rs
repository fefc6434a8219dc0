//! A sample service: a small HTTP server on the socket `web.sock` of its run directory (`ORC_RUN_DIR`),
//! and at a port of 127.0.0.1 where it has parameter `port`.
//!
//! ```text
//! GET  /              web/3 version 2 run 5
//! GET  /healthz       200, or 503 once it was told to be unhealthy
//! POST /trouble/WHAT  does wrong what services do: crash, fork, hang, leak, unhealthy, or none again
//! ```
//!
//! It says `READY=1` to `NOTIFY_SOCKET` once it listens (sd_notify(3)), writes a line for each request,
//! and ends with its first signal.

use std::{
    env, fs,
    io::{self, BufRead as _, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener},
    os::unix::net::{UnixDatagram, UnixListener},
    path::Path,
    process::{Command, ExitCode},
    sync::Mutex,
    thread,
    time::Duration,
};

/// Longest request line that is read, in bytes.
const LINE_BYTES: u64 = 4_096;
/// Most header lines that are read.
const HEADERS: usize = 100;
/// How long a caller may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a leak takes at a time, in bytes, and how often.
const LEAK: (usize, Duration) = (4 << 20, Duration::from_millis(20));

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    /// It ends at once, with exit code 1.
    Crash,
    /// It leaves a process behind that outlives it.
    Fork,
    /// It answers nobody any more.
    Hang,
    /// It takes more and more memory.
    Leak,
    /// It answers, and says that it is not well.
    Unhealthy,
}

impl Trouble {
    fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "none" => Self::None,
            "crash" => Self::Crash,
            "fork" => Self::Fork,
            "hang" => Self::Hang,
            "leak" => Self::Leak,
            "unhealthy" => Self::Unhealthy,
            _ => return None,
        })
    }

    /// Does what can be done at once.
    fn begin(self) -> io::Result<()> {
        match self {
            Self::Crash => {
                say("it cannot go on");
                std::process::exit(1);
            }
            Self::Fork => Command::new("sleep").arg("3600").spawn().map(drop),
            Self::Leak => thread::Builder::new().spawn(leak).map(drop),
            Self::None | Self::Hang | Self::Unhealthy => Ok(()),
        }
    }
}

/// What the server knows of itself.
struct Server {
    /// `web/3 version 2 run 5`
    name: String,
    trouble: Mutex<Trouble>,
}

impl Server {
    fn trouble(&self) -> Trouble {
        *self.trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Answers one caller.
    fn serve(&self, stream: &mut (impl Read + Write)) -> io::Result<()> {
        let mut reader = BufReader::new(&mut *stream);
        let mut line = String::new();
        reader.by_ref().take(LINE_BYTES).read_line(&mut line)?;
        let mut header = String::new();
        for _ in 0..HEADERS {
            header.clear();
            reader.by_ref().take(LINE_BYTES).read_line(&mut header)?;
            if header.trim_end().is_empty() {
                break;
            }
        }
        let (status, text) = self.answer(line.trim_end())?;
        say(&format!("{status} {}", line.trim_end().escape_debug()));
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{text}",
            text.len()
        )?;
        stream.flush()
    }

    /// The status and text for a request line.
    fn answer(&self, line: &str) -> io::Result<(&'static str, String)> {
        let mut words = line.split(' ');
        let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        Ok(match (method, path, path.strip_prefix("/trouble/")) {
            ("GET", "/", _) => ("200 OK", format!("{}\n", self.name)),
            ("GET", "/healthz", _) => match self.trouble() {
                Trouble::Unhealthy => ("503 Service Unavailable", "it is not well\n".to_owned()),
                _ => ("200 OK", "ok\n".to_owned()),
            },
            ("POST", _, Some(word)) => match Trouble::from_word(word) {
                Some(trouble) => {
                    *self.trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
                        trouble;
                    trouble.begin()?;
                    ("200 OK", format!("{word}\n"))
                }
                None => ("404 Not Found", format!("there is no trouble {word:?}\n")),
            },
            _ => ("404 Not Found", "GET /, GET /healthz or POST /trouble/WHAT\n".to_owned()),
        })
    }

    /// Answers callers one after the other, until it is told to hang.
    fn accept<S: Read + Write>(&self, mut next: impl FnMut() -> io::Result<S>) {
        loop {
            while self.trouble() == Trouble::Hang {
                thread::park();
            }
            // One caller that leaves early is no trouble of ours.
            let served = next().and_then(|mut stream| self.serve(&mut stream));
            if let Err(error) = served {
                say(&format!("a caller: {error}"));
            }
        }
    }
}

fn leak() {
    let (bytes, pause) = LEAK;
    let mut held = Vec::new();
    loop {
        held.push(vec![1_u8; bytes]);
        thread::sleep(pause);
    }
}

/// Writes a line to standard output. Nobody waits for a log that cannot be written.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn run() -> Result<(), String> {
    let set = |key: &str| env::var(key).map_err(|_| format!("{key} is not set: it is a score"));
    let name =
        format!("{} version {} run {}", set("ORC_INSTANCE")?, set("ORC_VERSION")?, set("ORC_RUN")?);
    let trouble = env::var("ORC_trouble").ok().and_then(|word| Trouble::from_word(&word));
    let trouble = trouble.unwrap_or(Trouble::None);
    trouble.begin().map_err(|error| format!("making trouble: {error}"))?;
    let server = Server { name, trouble: Mutex::new(trouble) };
    let socket = Path::new(&set("ORC_RUN_DIR")?).join("web.sock");
    // A run before this one may have left its socket.
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket);
    let listener =
        listener.map_err(|error| format!("listening at {}: {error}", socket.display()))?;
    let tcp = match env::var("ORC_port") {
        Err(_) => None,
        Ok(port) => {
            let number = port.parse().map_err(|_| format!("port {port:?} is none"))?;
            let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, number));
            Some(bound.map_err(|error| format!("listening at port {number}: {error}"))?)
        }
    };
    say(&format!("{} listens at {}", server.name, socket.display()));
    if let Ok(notify) = env::var("NOTIFY_SOCKET") {
        let told = UnixDatagram::unbound().and_then(|socket| socket.send_to(b"READY=1", notify));
        told.map_err(|error| format!("saying that it is ready: {error}"))?;
    }
    thread::scope(|scope| {
        if let Some(tcp) = &tcp {
            scope.spawn(|| {
                server.accept(|| {
                    let (stream, _) = tcp.accept()?;
                    stream.set_read_timeout(Some(PATIENCE))?;
                    Ok(stream)
                });
            });
        }
        server.accept(|| {
            let (stream, _) = listener.accept()?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(stream)
        });
    });
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(io::stderr(), "error: {why}");
            ExitCode::FAILURE
        }
    }
}
