//! What no bundle can hold, told at once and with its path.

use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::{PermissionsExt as _, symlink},
        net::UnixListener,
    },
};

use orchestra_bundle::{DepotError, Publication};
use orchestra_model::bundle::BundleSerial;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::world::{World, names_in, publication, told};

#[test]
fn all_that_is_no_file_is_told_at_once() {
    let world = World::new();
    world.write("fine", "x");
    mknodat(CWD, world.source().join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _socket = UnixListener::bind(world.source().join("socket")).unwrap();
    let lends = world.write("sub/setuid", "x");
    fs::set_permissions(lends, Permissions::from_mode(0o4755)).unwrap();
    let refused = told(&world.publish().unwrap_err());
    for line in [
        "fifo: it is a FIFO, and no file",
        "socket: it is a socket, and no file",
        "sub/setuid: it is setuid or setgid, and no bundle hands on rights",
    ] {
        assert!(refused.lines().any(|it| it == line), "{refused}");
    }
    // Nothing was left behind.
    assert_eq!(names_in(world.depot().path()), [""; 0]);
}

#[test]
fn a_link_that_leads_elsewhere_is_refused_before_anything_is_read() {
    for (target, why) in [
        ("/etc/passwd", "leads to an absolute path"),
        ("../x", "leads out of the bundle"),
        ("nothing", "leads to something that is not in the bundle"),
        ("l", "leads in a circle"),
    ] {
        let world = World::new();
        world.hole("large", 1 << 40);
        symlink(target, world.source().join("l")).unwrap();
        let refused = told(&world.publish().unwrap_err());
        assert!(refused.starts_with("l: ") && refused.contains(why), "{refused}");
    }
}

#[test]
fn many_problems_are_counted_and_some_told() {
    let world = World::new();
    for n in 0..30 {
        let path = world.source().join(format!("fifo{n:02}"));
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).unwrap();
    }
    let refused = told(&world.publish().unwrap_err());
    assert_eq!(refused.lines().count(), 21);
    assert!(refused.ends_with("and 10 more"), "{refused}");
}

#[test]
fn a_source_or_a_depot_that_is_not_there_is_told() {
    let world = World::new();
    fs::remove_dir(world.source()).unwrap();
    let refused = told(&world.publish().unwrap_err());
    assert!(refused.starts_with("reading the directory /"), "{refused}");
    let world = World::new();
    fs::write(world.path("depot"), "a file").unwrap();
    let refused = told(&world.publish().unwrap_err());
    assert!(refused.starts_with("writing to the depot "), "{refused}");
}

#[test]
fn the_last_serial_has_no_next_one() {
    let world = World::new();
    let serial = Some(BundleSerial::new(1 << 48).unwrap());
    world.publish_by(&Publication { serial, ..publication() }, &[]).unwrap();
    assert!(matches!(world.publish(), Err(DepotError::Serial(_))));
}
