//! Files of places, which say what a place takes:
//!
//! ```toml
//! name = "site"                      # the one name whose bundles it takes
//! publishers = ["ed25519-0c1f…"]     # or: pins = ["sha256-3f29…"]
//! threshold = 1                      # how many of the publishers have to have signed
//! min_serial = 40
//! max_size = "2GiB"                  # of all files together, with their holes
//! max_files = 50000                  # files, directories and links
//! executable = false                 # whether files may be executable
//! symlinks = "none"                  # or "inside": links to entries of the same bundle
//! xattrs = []                        # extended attributes that there may be: user.NAME
//! ```
//!
//! On a host, where it is NAME.toml in the directory of places, it says more, and has to have a path:
//!
//! ```toml
//! path = "/srv/site"                 # the directory that the place is
//! owner = "www"                      # to whom what is unpacked belongs
//! keep = 3                           # how many releases are kept beside the active one
//! rollback = true                    # whether an earlier release may be activated
//! ```

use std::{
    collections::BTreeSet,
    fmt::Display,
    path::{Component, Path, PathBuf},
    str::FromStr,
};

use orchestra_model::{
    BundleName, ByteSize,
    bundle::{BundleId, BundlePlace, BundleSerial, InstalledPlace, PlaceTrust, PublisherKey},
    limits,
};

use crate::{Fields, Problems, settings};

/// Most pins, and most publishers, of one place.
const MOST: usize = 64;

/// How large a bundle may be where its place does not say.
const MAX_SIZE: ByteSize = ByteSize(10 << 30);

/// How many entries a bundle may have where its place does not say.
const MAX_FILES: u64 = 100_000;

/// How many releases are kept beside the active one where the place does not say.
const KEEP: u32 = 3;

/// Reads what the file of a place takes, wherever that file is. `name` is the name that it takes where
/// the file names none.
pub fn parse(text: &str, name: Option<&BundleName>) -> Result<BundlePlace, Problems> {
    settings(text, |fields, problems| {
        let takes = read(fields, name, problems);
        read_host(fields, problems);
        takes
    })
}

/// Reads the file of a place on a host.
pub fn parse_installed(text: &str, name: &BundleName) -> Result<InstalledPlace, Problems> {
    settings(text, |fields, problems| {
        let takes = read(fields, Some(name), problems);
        let OnHost { path, owner, keep, rollback } = read_host(fields, problems);
        fields.needed("path", problems);
        Some(InstalledPlace { takes: takes?, path: path?, owner, keep, rollback })
    })
}

/// What a file says of the host that it is for.
struct OnHost {
    path: Option<PathBuf>,
    owner: Option<String>,
    keep: u32,
    rollback: bool,
}

fn read_host(fields: &mut Fields<'_>, problems: &mut Problems) -> OnHost {
    let path = fields.text("path", problems);
    if path.is_some_and(|path| !is_plain(path)) {
        let most = limits::PLACE_PATH_BYTES;
        let rule = format_args!("expected an absolute path without . and .., at most {most} bytes");
        fields.note("path", rule, problems);
    }
    let owner = fields.text("owner", problems);
    if owner.is_some_and(|owner| owner.is_empty() || owner.len() > limits::NAME_BYTES) {
        fields.note("owner", "expected the name of a user", problems);
    }
    OnHost {
        path: path.map(PathBuf::from),
        owner: owner.map(str::to_owned),
        keep: fields.whole("keep", 1..=limits::PLACE_RELEASES, problems).unwrap_or(KEEP),
        rollback: fields.yes_or_no("rollback", problems).unwrap_or(true),
    }
}

/// Whether a path is absolute and says by itself where it leads, links apart.
fn is_plain(path: &str) -> bool {
    let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    path.len() <= limits::PLACE_PATH_BYTES
        && path.starts_with('/')
        && Path::new(path).components().all(plain)
        && !path.split('/').any(|part| part == ".")
}

fn read(
    fields: &mut Fields<'_>,
    default_name: Option<&BundleName>,
    problems: &mut Problems,
) -> Option<BundlePlace> {
    let named = fields.parsed("name", problems);
    if default_name.is_none() {
        fields.needed("name", problems);
    }
    let trust = trust(fields, problems);
    let min_serial = fields.parsed("min_serial", problems).unwrap_or(BundleSerial::FIRST);
    let sizes = ByteSize(0)..=ByteSize(limits::BUNDLE_SIZE_BYTES);
    let max_size = fields.within("max_size", sizes, problems).unwrap_or(MAX_SIZE);
    let counts = 0..=limits::BUNDLE_ENTRIES as u64;
    let max_entries = fields.whole("max_files", counts, problems).unwrap_or(MAX_FILES);
    let executable = fields.yes_or_no("executable", problems).unwrap_or(false);
    let links = match fields.text("symlinks", problems) {
        None | Some("none") => false,
        Some("inside") => true,
        Some(_) => {
            fields.note("symlinks", "expected \"none\" or \"inside\"", problems);
            false
        }
    };
    let xattrs = xattrs(fields, problems);
    let name = named.or_else(|| default_name.cloned())?;
    let trust = trust?;
    Some(BundlePlace { name, trust, min_serial, max_size, max_entries, executable, links, xattrs })
}

/// Pins or publishers, and not both: a bundle that is pinned needs nobody's signature.
fn trust(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<PlaceTrust> {
    let has_publishers = fields.is_given("publishers");
    let pins: Option<BTreeSet<BundleId>> = distinct(fields, "pins", problems);
    let keys: Option<BTreeSet<PublisherKey>> = distinct(fields, "publishers", problems);
    let most = keys.as_ref().map_or(limits::BUNDLE_SIGNATURES, BTreeSet::len);
    let threshold = fields.whole("threshold", 1..=most.min(limits::BUNDLE_SIGNATURES), problems);
    match (fields.is_given("pins"), has_publishers) {
        (true, true) => {
            fields.note("pins", "a place has pins or publishers, and not both", problems);
            None
        }
        (false, false) => {
            let needed = "publishers is missing: a place has publishers, or pins";
            problems.add("", needed);
            None
        }
        (true, false) => {
            if fields.is_given("threshold") {
                fields.note("threshold", "it is of publishers, and there are none", problems);
            }
            pins.map(PlaceTrust::Pins)
        }
        (false, true) => {
            let threshold = threshold.unwrap_or(1);
            keys.map(|keys| PlaceTrust::Publishers { keys, threshold })
        }
    }
}

/// A list of values of which none comes twice; at least one.
fn distinct<T>(
    fields: &mut Fields<'_>,
    name: &'static str,
    problems: &mut Problems,
) -> Option<BTreeSet<T>>
where
    T: FromStr<Err: Display> + Ord,
{
    let texts = fields.texts(name, problems)?;
    if texts.is_empty() || texts.len() > MOST {
        fields.note(name, format_args!("expected 1 to {MOST} of them"), problems);
        return None;
    }
    let mut values = BTreeSet::new();
    for text in texts {
        match text.parse() {
            Ok(value) => {
                if !values.insert(value) {
                    fields.note(name, format_args!("{text} comes twice"), problems);
                }
            }
            Err(error) => fields.note(name, error, problems),
        }
    }
    Some(values)
}

fn xattrs(fields: &mut Fields<'_>, problems: &mut Problems) -> BTreeSet<Box<[u8]>> {
    let names = fields.texts("xattrs", problems).unwrap_or_default();
    let is_ours = |name: &String| name.strip_prefix("user.").is_some_and(|own| !own.is_empty());
    if !names.iter().all(is_ours) {
        fields.note("xattrs", "each is user. and a name: others carry rights", problems);
    }
    names.into_iter().map(|name| name.into_bytes().into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ed25519-0000000000000000000000000000000000000000000000000000000000000001";
    const OTHER: &str = "ed25519-0000000000000000000000000000000000000000000000000000000000000002";
    const PIN: &str = "sha256-0000000000000000000000000000000000000000000000000000000000000003";

    #[test]
    fn a_place_is_careful_where_it_says_nothing() {
        let name = BundleName::new("site").unwrap();
        let place = parse(&format!("publishers = ['{KEY}']"), Some(&name)).unwrap();
        assert_eq!(place.name, name);
        let keys = BTreeSet::from([KEY.parse().unwrap()]);
        assert_eq!(place.trust, PlaceTrust::Publishers { keys, threshold: 1 });
        assert!(!place.executable && !place.links && place.xattrs.is_empty());
        assert_eq!((place.max_size, place.max_entries), (MAX_SIZE, MAX_FILES));
        assert_eq!(place.min_serial, BundleSerial::FIRST);
    }

    #[test]
    fn every_key_is_read() {
        let text = format!(
            "name = 'site'\npublishers = ['{KEY}', '{OTHER}']\nthreshold = 2\nmin_serial = 40\n\
             max_size = '2GiB'\nmax_files = 5\nexecutable = true\nsymlinks = 'inside'\n\
             xattrs = ['user.a']\n"
        );
        let place = parse(&text, None).unwrap();
        let keys = BTreeSet::from([KEY.parse().unwrap(), OTHER.parse().unwrap()]);
        let wanted = BundlePlace {
            name: BundleName::new("site").unwrap(),
            trust: PlaceTrust::Publishers { keys, threshold: 2 },
            min_serial: BundleSerial::new(40).unwrap(),
            max_size: ByteSize(2 << 30),
            max_entries: 5,
            executable: true,
            links: true,
            xattrs: BTreeSet::from([(*b"user.a").into()]),
        };
        assert_eq!(place, wanted);
        let pinned = parse(&format!("name = 'x'\npins = ['{PIN}']"), None).unwrap();
        assert_eq!(pinned.trust, PlaceTrust::Pins(BTreeSet::from([PIN.parse().unwrap()])));
    }

    #[test]
    fn a_place_on_a_host_says_where_it_is() {
        let name = BundleName::new("site").unwrap();
        let least = format!("publishers = ['{KEY}']\npath = '/srv/site'\n");
        let place = parse_installed(&least, &name).unwrap();
        assert_eq!((place.path, place.owner), (PathBuf::from("/srv/site"), None));
        assert_eq!((place.keep, place.rollback), (KEEP, true));
        let all = format!("{least}owner = 'www'\nkeep = 64\nrollback = false\n");
        let place = parse_installed(&all, &name).unwrap();
        assert_eq!((place.owner.as_deref(), place.keep, place.rollback), (Some("www"), 64, false));
        // What it takes can be asked on another machine.
        assert_eq!(parse(&all, Some(&name)).unwrap(), place.takes);
    }

    #[test]
    fn what_is_wrong_on_a_host_is_told() {
        let name = BundleName::new("site").unwrap();
        let long = format!("path = '/{}'", "x".repeat(limits::PLACE_PATH_BYTES));
        for (more, said) in [
            ("", "path is missing"),
            ("path = 'srv/site'", "expected an absolute path"),
            ("path = '/srv/../site'", "expected an absolute path"),
            ("path = '/srv/./site'", "expected an absolute path"),
            (&long, "at most 512 bytes"),
            ("path = '/x'\nowner = ''", "expected the name of a user"),
            ("path = '/x'\nkeep = 0", "expected a whole number from 1 to 64"),
            ("path = '/x'\nrollback = 'no'", "rollback: "),
            ("pathh = '/x'", "did you mean path?"),
        ] {
            let text = format!("publishers = ['{KEY}']\n{more}\n");
            let problems = parse_installed(&text, &name).unwrap_err().to_string();
            assert!(problems.contains(said), "{more}: {problems}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, said) in [
            (String::new(), "publishers is missing: a place has publishers, or pins"),
            (String::new(), "name is missing"),
            (format!("publishers = ['{KEY}']\npins = ['{PIN}']"), "and not both"),
            (format!("publishers = ['{KEY}', '{KEY}']"), "comes twice"),
            ("publishers = []".to_owned(), "expected 1 to 64 of them"),
            ("publishers = ['x']".to_owned(), "expected ed25519- and 64 hexadecimal digits"),
            (
                format!("publishers = ['{KEY}']\nthreshold = 2"),
                "expected a whole number from 1 to 1",
            ),
            (
                format!("publishers = ['{KEY}']\nthreshold = 0"),
                "expected a whole number from 1 to 1",
            ),
            (format!("pins = ['{PIN}']\nthreshold = 1"), "it is of publishers, and there are none"),
            ("min_serial = 0".to_owned(), "expected a serial"),
            ("symlinks = 'all'".to_owned(), "expected \"none\" or \"inside\""),
            ("xattrs = ['security.capability']".to_owned(), "others carry rights"),
            ("executable = 'yes'".to_owned(), "executable: "),
            ("max_size = '2PiB'".to_owned(), "max_size: "),
            ("name = 'Site'".to_owned(), "bundle name"),
            ("publisher = ['x']".to_owned(), "did you mean publishers?"),
        ] {
            let problems = parse(&text, None).unwrap_err().to_string();
            assert!(problems.contains(said), "{text:?}: {problems}");
        }
    }
}
