//! What strangers can do to a listener that has few descriptors. In a program of its own, because
//! the limit is that of the whole process.

mod common;

use std::{fs, net::TcpStream, time::Duration};

use common::{Fleet, Listener};
use orchestra_certs::{Limits, Role};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[tokio::test]
async fn strangers_that_take_every_descriptor_lose_them_again() {
    const STRANGERS: usize = 12;
    let fleet = Fleet::new();
    let client = fleet.client(Role::Audience, "alice");
    // Whoever speaks has the same time.
    let handshake = Duration::from_secs(2);
    let limits = Limits { handshake, ..Limits::default() };
    let mut listener = Listener::with(fleet.server(), limits).await;
    let _silent: Vec<_> =
        (0..STRANGERS).map(|_| TcpStream::connect(&listener.address).unwrap()).collect();
    let open = fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(open + 6), maximum }).unwrap();
    listener.accepts(client).await;
    assert!(listener.log().contains("cannot accept connections"), "{}", listener.log());
}
