//! Bounds of what one name of the audience, and all together, may have under way, so that nobody
//! takes the memory or the processors that others need. This is one layer around the whole server,
//! like [`access`](super::access).
//!
//! ```text
//! call ─▶ a place ─▶ the request, whole ─▶ answer's place ─▶ turn ─▶ handler ─▶ answer, read to its end
//!         refused     by BODY_WITHIN, of      └── waited for, TURN_WITHIN ──┘   └── keeps its place ──┘
//!                     bounded size, out of
//!                     a budget of bytes
//! ```
//!
//! Each bound is far above honest use. A call that meets a bound waits for a while if it may be
//! lifted by others that end, and is then refused as RESOURCE_EXHAUSTED. The text says what there
//! is too much of and what to do about it; the log tells it at a bounded rate. The bounds of one
//! name are below those of all, so that one name cannot use those up.
//!
//! Players are bounded where their streams are (`lines/stream/counts.rs`).

mod account;
mod body;
mod calls;
#[cfg(test)]
mod tests;

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use orchestra_certs::{Identity, Lines, Peer, Role};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Status, body::Body, codegen::http};
use tower_layer::Layer;
use tower_service::Service;

use self::{
    account::{Accounts, Kept, Places},
    body::{Held, Whole, collect},
    calls::Call,
};

/// How long a request may take to come completely, including the wait for its room.
const BODY_WITHIN: Duration = Duration::from_secs(30);
/// How long a call waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(30);

/// Wraps a server with [`Bounds`].
#[derive(Clone, Debug)]
pub(crate) struct BoundsLayer {
    accounts: Accounts,
    refusals: Lines,
}

impl BoundsLayer {
    pub(crate) fn new() -> Self {
        let refusals = Lines::new(|calls| {
            tracing::warn!(calls, "further calls were refused within a second");
        });
        Self { accounts: Accounts::default(), refusals }
    }
}

impl<S> Layer<S> for BoundsLayer {
    type Service = Bounds<S>;

    fn layer(&self, inner: S) -> Bounds<S> {
        Bounds { inner, bounds: self.clone() }
    }
}

/// Lets through calls that are within the bounds.
#[derive(Clone, Debug)]
pub(crate) struct Bounds<S> {
    inner: S,
    bounds: BoundsLayer,
}

type Answer<B> = http::Response<Held<B>>;
type Answered<B, E> = Pin<Box<dyn Future<Output = Result<Answer<B>, E>> + Send>>;

impl<S, B> Service<http::Request<Body>> for Bounds<S>
where
    S: Service<http::Request<Body>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Default + Send + 'static,
{
    type Response = Answer<B>;
    type Error = S::Error;
    type Future = Answered<B, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        // This uses the service that was polled ready, and leaves a clone in its place.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let bounds = self.bounds.clone();
        let peer = request.extensions().get::<Peer>().cloned();
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            let admitted = match &peer {
                Some(Peer { identity, surplus: Some(most), .. }) => {
                    Err(surplus(identity.name(), *most))
                }
                Some(Peer { identity, outgoing, .. }) if identity.role() == Role::Audience => {
                    let admitted = bounds.admit(identity, request).await;
                    admitted
                        .map(|(request, kept, turn)| (request, kept, turn, Some(outgoing.clone())))
                }
                _ => Ok((request, Kept::default(), Turn::default(), None)),
            };
            match admitted {
                Ok((request, kept, turn, outgoing)) => {
                    let answer = inner.call(request).await;
                    turn.give_back();
                    answer.map(|answer| answer.map(|body| Held::new(body, kept, outgoing)))
                }
                Err(status) => {
                    let who = peer.map(|peer| peer.identity.subject.to_string());
                    let reason = status.message();
                    bounds.refusals.write(|| tracing::warn!(who, path, reason, "call refused"));
                    Ok(status.into_http())
                }
            }
        })
    }
}

impl BoundsLayer {
    /// Returns the complete request, with its turn and the places that it keeps until its answer
    /// was read.
    async fn admit(
        &self,
        who: &Identity,
        request: http::Request<Body>,
    ) -> Result<(http::Request<Body>, Kept, Turn), Status> {
        let name = who.name();
        let call = Call::at(request.uri().path());
        let account = self.accounts.of(who);
        let mut kept = account.enter(name, call)?;
        let (mut parts, body) = request.into_parts();
        let deadline = Instant::now() + BODY_WITHIN;
        let collected = collect(body, call, |bytes| account.room(bytes));
        let (message, room) = timeout_at(deadline, collected).await.unwrap_or_else(|_| {
            Err(Status::resource_exhausted(format!(
                "the request was not here within {BODY_WITHIN:?}: either it came too slowly, or \
                 {name} has too much under way at once; send less at once"
            )))
        })?;
        let places = timeout(TURN_WITHIN, account.places(call)).await.map_err(|_| {
            Status::resource_exhausted(format!(
                "the call waited {TURN_WITHIN:?} for others, mostly of {name}: read answers to their \
                 end, and ask less at once"
            ))
        })?;
        let Places { answer, settling, work } = places;
        // The room stays taken, because the handler's message uses the bytes of the request.
        (kept.answer, kept.settling, kept.room) = (answer, settling, room);
        let turn = Turn(Arc::new(Mutex::new(work)));
        parts.extensions.insert(turn.clone());
        Ok((http::Request::from_parts(parts, Body::new(Whole::of(message))), kept, turn))
    }
}

/// Returns the answer on a connection beyond the most that a name may have.
fn surplus(name: &str, most: usize) -> Status {
    Status::resource_exhausted(format!(
        "{name} has {most} connections, the most that one name may have: end some, or give each \
         program a certificate of its own"
    ))
}

/// A turn for work that takes a processor's time, or much memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turn(Arc<Mutex<Option<account::Work>>>);

impl Turn {
    /// Returns the turn of a call; an empty one if the call needs none.
    pub(crate) fn of<T>(request: &tonic::Request<T>) -> Turn {
        request.extensions().get().cloned().unwrap_or_default()
    }

    /// Gives the turn to the next call, because what is left of this one is small.
    pub(crate) fn give_back(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
