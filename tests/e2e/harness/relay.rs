//! A relay between programs and the conductor, that loses what it is told to lose.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

/// Passes bytes on in both directions, until it is told otherwise or dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    to: String,
    /// Of a connection that has brought more bytes than this, no answers are passed on.
    lose_after: AtomicU64,
    ended: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
}

impl Relay {
    /// One that passes on to `to`, and loses nothing yet.
    pub(crate) fn to(to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            to,
            lose_after: AtomicU64::new(u64::MAX),
            ended: AtomicBool::new(false),
            connections: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if accepting.ended.load(Ordering::Relaxed) {
                    return;
                }
                accepting.pass_on(client);
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on, answers are lost on each connection that has brought more than so many bytes.
    pub(crate) fn lose_answers_after(&self, bytes: u64) {
        self.shared.lose_after.store(bytes, Ordering::Relaxed);
    }

    /// Loses nothing on connections from now on, and breaks those that there are.
    pub(crate) fn heal(&self) {
        self.shared.lose_after.store(u64::MAX, Ordering::Relaxed);
        for connection in self.shared.connections.lock().expect("no panic in here").drain(..) {
            // It may be over already.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.heal();
        // Wakes the listener, so that it sees that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn pass_on(self: &Arc<Self>, client: TcpStream) {
        // A conductor that is down is a connection that ends at once.
        let Ok(server) = TcpStream::connect(&self.to) else { return };
        let again = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
        let mut connections = self.connections.lock().expect("no panic in here");
        connections.extend([again(&client), again(&server)]);
        drop(connections);
        let brought = Arc::new(AtomicU64::new(0));
        let (up, down) = ((again(&client), again(&server)), (server, client));
        let (shared, counted) = (Arc::clone(self), Arc::clone(&brought));
        thread::spawn(move || {
            pump(up, |bytes| {
                counted.fetch_add(bytes, Ordering::Relaxed);
                true
            });
        });
        thread::spawn(move || {
            pump(down, |_| {
                brought.load(Ordering::Relaxed) <= shared.lose_after.load(Ordering::Relaxed)
            });
        });
    }
}

/// Passes on what `keep` wants kept, until either end is gone.
fn pump((mut from, mut to): (TcpStream, TcpStream), mut keep: impl FnMut(u64) -> bool) {
    let mut chunk = [0; 16 << 10];
    while let Ok(n @ 1..) = from.read(&mut chunk) {
        if keep(n as u64) && to.write_all(&chunk[..n]).is_err() {
            break;
        }
    }
    // Either may be gone already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
