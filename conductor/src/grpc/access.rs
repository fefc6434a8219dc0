//! Only roles to which the role table gives an RPC reach it; the role is in the certificate. This
//! is one layer around the whole server, so that no handler can forget to ask.

use std::{
    future::{Ready, ready},
    pin::Pin,
    task::{Context, Poll},
};

use orchestra_certs::{Lines, Peer, roles::allows};
use tonic::{Status, codegen::http};
use tower_layer::Layer;
use tower_service::Service;

use crate::incidents::Incidents;

/// Most characters of an unknown path that are repeated.
const PATH_CHARS: usize = 200;

/// Wraps a server with [`Access`].
#[derive(Clone, Debug)]
pub(crate) struct AccessLayer(Lines, Incidents);

impl AccessLayer {
    pub(crate) fn new(incidents: Incidents) -> Self {
        let lines = Lines::new(|calls| {
            tracing::warn!(calls, "further calls were refused within a second: their roles");
        });
        Self(lines, incidents)
    }
}

/// Lets through the calls that the role table allows.
#[derive(Clone, Debug)]
pub(crate) struct Access<S> {
    inner: S,
    refusals: Lines,
    incidents: Incidents,
}

impl<S> Layer<S> for AccessLayer {
    type Service = Access<S>;

    fn layer(&self, inner: S) -> Access<S> {
        Access { inner, refusals: self.0.clone(), incidents: self.1.clone() }
    }
}

impl<S, Request, Response> Service<http::Request<Request>> for Access<S>
where
    S: Service<http::Request<Request>, Response = http::Response<Response>>,
    Response: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Request>) -> Self::Future {
        let path = request.uri().path();
        match request.extensions().get::<Peer>() {
            Some(peer) if allows(path, peer.identity.role()) => {
                Either::Through(Box::pin(self.inner.call(request)))
            }
            Some(peer) => {
                let role = peer.identity.role();
                let path: String = path.chars().take(PATH_CHARS).collect();
                self.incidents.call_refused(peer, &path);
                self.refusals.write(|| {
                    tracing::warn!(
                        peer = %peer.identity, address = %peer.address, path,
                        "refused: the role may not call this"
                    );
                });
                let message = format!(
                    "the certificate {} has the role {role}, which may not call {path}",
                    peer.identity
                );
                Either::Refused(ready(Ok(Status::permission_denied(message).into_http())))
            }
            None => {
                let status = Status::unauthenticated("no verified certificate");
                Either::Refused(ready(Ok(status.into_http())))
            }
        }
    }
}

/// The inner service's answer, or ours.
pub(crate) enum Either<A, B> {
    /// It may be called.
    Through(Pin<Box<A>>),
    /// It may not.
    Refused(B),
}

impl<A, B> Future for Either<A, B>
where
    A: Future,
    B: Future<Output = A::Output> + Unpin,
{
    type Output = A::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<A::Output> {
        // `Pin<Box<A>>` and `B` are `Unpin`, so this is too.
        match self.get_mut() {
            Either::Through(inner) => inner.as_mut().poll(cx),
            Either::Refused(answer) => Pin::new(answer).poll(cx),
        }
    }
}
