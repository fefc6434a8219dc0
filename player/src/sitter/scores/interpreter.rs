//! What the kernel starts to run a score: the interpreter that a script's first line names, or the
//! loader that a program names.
//!
//! If it is missing, the kernel says "no such file" as if the score itself were missing. So the
//! scan of scores checks it, and tells its name.

use std::{
    ffi::OsStr,
    fmt,
    fs::{self, File},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

/// How much of a script the kernel reads to find its interpreter (`BINPRM_BUF_SIZE`).
const FIRST_BYTES: usize = 256;
/// Most entries of a program's table that are looked at; common programs have a dozen.
const PROGRAM_HEADERS: u16 = 128;
/// Longest name of a loader (`PATH_MAX`).
const LOADER_BYTES: u64 = 4096;

/// What starts a score.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interpreter {
    path: PathBuf,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The interpreter of a script.
    Script {
        /// Whether its first line ends with a carriage return, as lines of Windows do.
        carriage_return: bool,
    },
    /// The loader of a program.
    Loader,
}

/// Why a score cannot be started.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::sitter) enum Unusable {
    /// The first line ends with a carriage return.
    CarriageReturn(PathBuf),
    /// A script's interpreter is not there.
    NoInterpreter(PathBuf),
    /// A program's loader is not there.
    NoLoader(PathBuf),
    /// What is there is no executable file.
    NotExecutable(PathBuf),
}

/// Finds out what starts a file. `None` if it needs nothing, or if only the kernel knows.
pub(super) fn of(file: &File) -> io::Result<Option<Interpreter>> {
    let mut first = [0; FIRST_BYTES];
    let read = read_up_to(file, &mut first, 0)?;
    let first = first.get(..read).unwrap_or_default();
    if let Some(line) = first.strip_prefix(b"#!") {
        return Ok(of_script(line));
    }
    let path = loader_path(file, first)?;
    Ok(path.map(|path| Interpreter { path, kind: Kind::Loader }))
}

fn of_script(after_mark: &[u8]) -> Option<Interpreter> {
    let line = after_mark.split(|byte| matches!(byte, b'\n' | 0)).next()?;
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let mut words = line.split(blank).filter(|word| !word.is_empty());
    let path = PathBuf::from(OsStr::from_bytes(words.next()?));
    let kind = Kind::Script { carriage_return: line.ends_with(b"\r") };
    Some(Interpreter { path, kind })
}

/// Returns the loader that an ELF file of this machine's byte order asks for.
fn loader_path(file: &File, first: &[u8]) -> io::Result<Option<PathBuf>> {
    /// `PT_INTERP` of `elf.h`.
    const INTERPRETER: u64 = 3;
    let Some(layout) = Layout::of(first) else { return Ok(None) };
    let (Some(table), Some(size), Some(count)) = (
        number(first, layout.table.0, layout.table.1),
        number(first, layout.entry_size, 2),
        number(first, layout.entry_count, 2),
    ) else {
        return Ok(None);
    };
    for n in 0..count.min(u64::from(PROGRAM_HEADERS)) {
        let mut entry = [0; 56];
        let Some(at) = n.checked_mul(size).and_then(|offset| table.checked_add(offset)) else {
            return Ok(None);
        };
        let read = read_up_to(file, &mut entry, at)?;
        let entry = entry.get(..read).unwrap_or_default();
        let field = |(place, bytes)| number(entry, place, bytes);
        if number(entry, 0, 4) != Some(INTERPRETER) {
            continue;
        }
        let (Some(at), Some(length)) = (field(layout.offset), field(layout.length)) else {
            return Ok(None);
        };
        let mut name = vec![0; usize::try_from(length.min(LOADER_BYTES)).unwrap_or(0)];
        let read = read_up_to(file, &mut name, at)?;
        name.truncate(read);
        let name = name.split(|byte| *byte == 0).next().filter(|name| !name.is_empty());
        return Ok(name.map(|name| PathBuf::from(OsStr::from_bytes(name))));
    }
    Ok(None)
}

/// Offset and width of each field that is needed of an ELF header and its table of segments.
struct Layout {
    table: (usize, usize),
    entry_size: usize,
    entry_count: usize,
    offset: (usize, usize),
    length: (usize, usize),
}

impl Layout {
    fn of(first: &[u8]) -> Option<Self> {
        let own_order = if cfg!(target_endian = "little") { 1 } else { 2 };
        match first.get(..6)? {
            [0x7f, b'E', b'L', b'F', 2, order] if *order == own_order => Some(Self {
                table: (32, 8),
                entry_size: 54,
                entry_count: 56,
                offset: (8, 8),
                length: (32, 8),
            }),
            [0x7f, b'E', b'L', b'F', 1, order] if *order == own_order => Some(Self {
                table: (28, 4),
                entry_size: 42,
                entry_count: 44,
                offset: (4, 4),
                length: (16, 4),
            }),
            _ => None,
        }
    }
}

/// Reads a number in this machine's byte order.
fn number(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(width)?)?;
    let mut whole = [0; 8];
    let place = if cfg!(target_endian = "little") { 0 } else { whole.len() - width };
    whole.get_mut(place..place + width)?.copy_from_slice(field);
    Some(u64::from_ne_bytes(whole))
}

/// Reads until the buffer is full or the file ends. Returns how many bytes were read.
fn read_up_to(file: &File, into: &mut [u8], at: u64) -> io::Result<usize> {
    let mut read = 0;
    while let Some(rest) = into.get_mut(read..).filter(|rest| !rest.is_empty()) {
        // No file is so long, so there is nothing to read.
        let Some(at) = at.checked_add(read as u64).filter(|at| i64::try_from(*at).is_ok()) else {
            return Ok(read);
        };
        match file.read_at(rest, at)? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

impl Interpreter {
    /// Checks whether it can start the score, except for what only the score's user can see.
    pub(super) fn check(&self) -> Result<(), Unusable> {
        let path = || self.path.clone();
        if let Kind::Script { carriage_return: true } = self.kind {
            return Err(Unusable::CarriageReturn(path()));
        }
        // A relative path counts from the root directory, in which attempts begin.
        match fs::metadata(Path::new("/").join(&self.path)) {
            Ok(found) if found.is_file() && found.mode() & 0o111 != 0 => Ok(()),
            Ok(_) => Err(Unusable::NotExecutable(path())),
            Err(error) => match (error.kind(), self.kind) {
                (io::ErrorKind::NotFound | io::ErrorKind::NotADirectory, Kind::Script { .. }) => {
                    Err(Unusable::NoInterpreter(path()))
                }
                (io::ErrorKind::NotFound | io::ErrorKind::NotADirectory, Kind::Loader) => {
                    Err(Unusable::NoLoader(path()))
                }
                // Whether the score's user can reach it shows only when that user starts it.
                _ => Ok(()),
            },
        }
    }
}

impl fmt::Display for Interpreter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Script { .. } => write!(f, "its interpreter is {}", self.path.display()),
            Kind::Loader => write!(f, "its program loader is {}", self.path.display()),
        }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CarriageReturn(path) => {
                // The carriage return ends the path, unless an argument follows the path.
                let path = path.to_string_lossy();
                let path = path.trim_end_matches('\r');
                write!(
                    f,
                    "its first line (#!{path}) ends with a carriage return, which the kernel takes \
                     for a part of it: end its lines as Unix does (sed -i 's/\\r$//' FILE)"
                )
            }
            Self::NoInterpreter(path) => write!(
                f,
                "its interpreter {} is not there: install it, then rescan the scores",
                path.display()
            ),
            Self::NoLoader(path) => write!(
                f,
                "its program loader {} is not there: it was built for another system",
                path.display()
            ),
            Self::NotExecutable(path) => {
                write!(f, "its interpreter {} is not an executable file", path.display())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_bytes(bytes: &[u8]) -> Option<Interpreter> {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        of(&file).unwrap()
    }

    fn why(script: &str) -> String {
        match of_bytes(script.as_bytes()).unwrap().check() {
            Ok(()) => "usable".to_owned(),
            Err(why) => why.to_string(),
        }
    }

    #[test]
    fn a_script_that_nothing_can_run_says_by_name_what_is_missing() {
        assert_eq!(why("#!/bin/sh\n"), "usable");
        assert_eq!(why("#! \t/bin/sh -e\nx"), "usable");
        assert_eq!(why("#!bin/sh"), "usable", "attempts begin in the root directory");
        assert!(
            why("#!/opt/none/python9\n").starts_with("its interpreter /opt/none/python9 is not")
        );
        assert!(why("#!/etc/passwd/x\n").starts_with("its interpreter /etc/passwd/x is not there"));
        assert!(why("#!/etc/passwd\n").starts_with("its interpreter /etc/passwd is not an exec"));
        assert!(why("#!/\n").starts_with("its interpreter / is not an exec"));
        for line in ["#!/bin/sh\r\necho", "#!/usr/bin/env python3\r\n", "#!/bin/sh\r"] {
            let told = why(line);
            assert!(told.contains("ends with a carriage return") && !told.contains('\r'), "{told}");
        }
    }

    #[test]
    fn what_is_no_script_has_no_interpreter() {
        for bytes in
            [&b""[..], b"#", b"#!", b"#!\n", b"#! \t\n", b"echo", b"\x7fELF", b"\x7fELF\x02\x01"]
        {
            assert_eq!(of_bytes(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_program_says_its_loader() {
        let program = File::open(std::env::current_exe().unwrap()).unwrap();
        let Some(found) = of(&program).unwrap() else {
            // This test was linked without a loader.
            return;
        };
        assert_eq!((found.check(), found.kind), (Ok(()), Kind::Loader));
        assert!(found.path.is_absolute(), "{found}");
        let loader = found.path.as_os_str().as_bytes();
        let mut bytes = fs::read(std::env::current_exe().unwrap()).unwrap();
        let at = bytes.windows(loader.len()).position(|window| window == loader).unwrap();
        bytes[at + 1] = b'?';
        let other = of_bytes(&bytes).unwrap().check().unwrap_err().to_string();
        assert!(other.starts_with("its program loader /?"), "{other}");
    }

    #[test]
    fn a_broken_program_is_read_to_no_harm() {
        let mut bytes = fs::read(std::env::current_exe().unwrap()).unwrap();
        bytes.truncate(4096);
        for place in 4..64 {
            for value in [0, 0xff] {
                let mut broken = bytes.clone();
                broken[place] = value;
                of_bytes(&broken);
            }
        }
    }
}
