//! The store's one writer, on a thread of its own: it takes a batch, makes it durable, and says so.
//!
//! The driver gives it everything that was ready as one batch, so that many changes share a commit.
//! Between batches it removes what pruned flows have left behind, and tidies a quiet store.

mod sweeper;
mod tidier;

#[cfg(test)]
mod tests;

use std::{sync::mpsc, thread, time::Instant};

use orchestra_model::{delivery::Term, record::Op};
use orchestra_store::{CommitError, Store};
use tokio::sync::mpsc as tokio_mpsc;

use self::{sweeper::Sweeper, tidier::Tidier};
use crate::proof::{KeyFile, Keys};

/// What the writer is asked.
#[derive(Debug)]
pub(crate) enum Write {
    /// Make these durable, in order.
    Commit(Vec<Op>),
    /// Raise the term above what a player has seen, and renew the proof key with it.
    RaiseTerm(Term),
}

impl Write {
    /// Returns whether it leaves something to sweep.
    fn prunes(&self) -> bool {
        match self {
            Write::Commit(batch) => batch.iter().any(|op| matches!(op, Op::PruneFlow(_))),
            Write::RaiseTerm(_) => false,
        }
    }

    /// Returns whether it erases parameters.
    fn erases(&self) -> bool {
        match self {
            Write::Commit(batch) => batch.iter().any(|op| matches!(op, Op::EraseParams(_))),
            Write::RaiseTerm(_) => false,
        }
    }
}

/// What became of a write. A batch that did not fit on the disk comes back, to be tried again.
#[derive(Debug)]
pub(crate) enum Written {
    /// Everything is on disk.
    Committed,
    /// The term is raised; these are its proof key and the earlier ones.
    Raised(Term, Keys),
    /// The term could not be raised at the moment.
    NotRaised(Box<dyn std::error::Error + Send + Sync>),
    /// It could not be written at the moment, and nothing of it was.
    Full(Vec<Op>, CommitError),
    /// The store is no longer ours, or is broken. The conductor has to stop and recover from the
    /// disk.
    Failed(CommitError),
}

/// The driver's end.
#[derive(Debug)]
pub(crate) struct Writer {
    orders: mpsc::Sender<Write>,
    /// Answers, one for each order, in order.
    pub(crate) done: tokio_mpsc::UnboundedReceiver<Written>,
}

impl Writer {
    /// Starts the thread. It ends when the writer is dropped, after all that it was given.
    pub(crate) fn start(store: Box<dyn Store>, keys: KeyFile) -> std::io::Result<Self> {
        let (orders, incoming) = mpsc::channel();
        let (outgoing, done) = tokio_mpsc::unbounded_channel();
        thread::Builder::new()
            .name("store-writer".to_owned())
            // The store is closed when `run` returns, and `outgoing` after that.
            .spawn(move || run(store, &keys, &incoming, &outgoing))?;
        Ok(Self { orders, done })
    }

    pub(crate) fn send(&self, write: Write) {
        // The thread ends only after a failure, which it has then told.
        let _ = self.orders.send(write);
    }

    /// Has the thread end after all that it was given, and returns when the store is closed.
    pub(crate) async fn close(self) {
        let Self { orders, mut done } = self;
        drop(orders);
        while done.recv().await.is_some() {}
    }
}

fn run(
    mut store: Box<dyn Store>,
    keys: &KeyFile,
    incoming: &mpsc::Receiver<Write>,
    outgoing: &tokio_mpsc::UnboundedSender<Written>,
) {
    let mut sweeper = Sweeper::new();
    let mut tidier = Tidier::new(Instant::now());
    loop {
        let wait = tidier.pause(Instant::now());
        let kept =
            match incoming.recv_timeout(sweeper.pause().map_or(wait, |pause| pause.min(wait))) {
                Ok(write) => {
                    let (prunes, erases) = (write.prunes(), write.erases());
                    let written = carry_out(&mut *store, keys, write);
                    if matches!(written, Written::Committed) {
                        if prunes {
                            sweeper.wake();
                        }
                        if erases {
                            tidier.erased(Instant::now());
                        }
                    }
                    let over = matches!(written, Written::Failed(_));
                    if outgoing.send(written).is_err() || over {
                        return;
                    }
                    if sweeper.is_overdue() {
                        sweeper.step(&mut *store);
                    }
                    match tidier.is_overdue(Instant::now()) {
                        true => tidier.tidied(store.tidy(), Instant::now()),
                        false => Ok(()),
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) if !tidier.pause(Instant::now()).is_zero() => {
                    sweeper.step(&mut *store);
                    Ok(())
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    sweeper.retry();
                    tidier.tidied(store.tidy(), Instant::now())
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return last_look(&mut *store),
            };
        if let Err(error) = kept {
            // This answers no request: it says that the writer ends.
            let _ = outgoing.send(Written::Failed(error));
            return;
        }
    }
}

/// Checks the store before it is closed: a database that was moved away would be lost with this
/// process.
fn last_look(store: &mut dyn Store) {
    if let Err(error) = store.tidy() {
        tracing::error!(error = orchestra_model::chain(&error), "the store was closed");
    }
}

fn carry_out(store: &mut dyn Store, keys: &KeyFile, write: Write) -> Written {
    match write {
        Write::Commit(batch) => match store.commit(&batch) {
            Ok(()) => Written::Committed,
            Err(error) if error.is_retryable() => Written::Full(batch, error),
            Err(error) => Written::Failed(error),
        },
        Write::RaiseTerm(seen) => raise_term(store, keys, seen),
    }
}

/// Records a new term and a new proof key together. If that fails nothing has changed.
fn raise_term(store: &mut dyn Store, file: &KeyFile, seen: Term) -> Written {
    let (keys, id) = match file.renew() {
        Ok(renewed) => renewed,
        Err(error) => return Written::NotRaised(error.into()),
    };
    match store.raise_term(seen, id) {
        Ok(term) => {
            if let Err(error) = file.adopt() {
                // The key is on disk under its other name, where the next start finds it.
                tracing::error!(error = %orchestra_model::chain(&error), "the new proof key was not renamed");
            }
            Written::Raised(term, keys)
        }
        Err(error) if error.is_retryable() => Written::NotRaised(error.into()),
        Err(error) => Written::Failed(error),
    }
}
