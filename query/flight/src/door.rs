//! Lets calls in, each by itself: every one of them says who sends it.
//!
//! A handshake is one more call that shows a token, and what it gives back is that token: there are no sessions, so a token that is
//! taken away opens nothing from that moment on.

use std::sync::Arc;

use arrow_flight::HandshakeResponse;
use tonic::{
    Request, Response, Status,
    metadata::{MetadataMap, MetadataValue},
    service::Interceptor,
};

use crate::{Inner, Refused, User, service::Answers};

/// Name of the header that shows a token, of a call and of the answer to a handshake.
const AUTHORIZATION: &str = "authorization";
/// What clients of a server that is open have to show from then on.
const ANYBODY: &str = "anybody";

/// Stands before all calls.
#[derive(Clone)]
pub(crate) struct Door(pub Arc<Inner>);

/// Who was let in, beside a call.
#[derive(Clone)]
struct Admitted(User);

impl Interceptor for Door {
    fn call(&mut self, mut call: Request<()>) -> Result<Request<()>, Status> {
        let refused = match self.0.guard.admit(call.metadata().as_ref()) {
            Ok(user) => {
                call.extensions_mut().insert(Admitted(user));
                return Ok(call);
            }
            Err(refused) => refused,
        };
        self.0.meter.denied();
        Err(match refused {
            Refused::Unknown(reason) => Status::unauthenticated(reason),
            Refused::Forbidden(reason) => Status::permission_denied(reason),
        })
    }
}

/// Who sends a call that was let in.
pub(crate) fn user<T>(call: &Request<T>) -> User {
    call.extensions().get::<Admitted>().and_then(|admitted| admitted.0.clone())
}

/// Answers a handshake, without waiting for what else the client has to say: some wait for the answer first.
pub(crate) fn shaken(server: &Inner, headers: &MetadataMap) -> Result<Response<Answers<HandshakeResponse>>, Status> {
    let secret = server.guard.secret(headers.as_ref()).unwrap_or_else(|| ANYBODY.to_owned());
    let bearer = MetadataValue::try_from(format!("Bearer {secret}"));
    let bearer = bearer.map_err(|_| Status::unauthenticated("a token has characters that no header can have"))?;
    let answer = HandshakeResponse { protocol_version: 0, payload: secret.into() };
    let mut response = Response::new(Box::pin(futures::stream::iter([Ok(answer)])) as Answers<_>);
    response.metadata_mut().insert(AUTHORIZATION, bearer);
    Ok(response)
}
