//! Calls of a client, without a network between, to an engine whose tables are empty.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that meets the unexpected fails")]

mod questions;
mod statements;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arrow::{array::RecordBatch, datatypes::Schema};
use arrow_flight::{
    Action, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, Ticket, decode::FlightRecordBatchStream,
    flight_service_client::FlightServiceClient, sql::ProstMessageExt,
};
use axum::{Router, http::HeaderMap};
use futures::{TryStreamExt, stream};
use prost::Message;
use query::{Catalog, Config, Engine, Random};
use storage::Clock;
use tonic::{Code, Request, Status};

use crate::{Guard, Refused, Server, User};

/// Lets in whoever has a name, but for the one who only writes.
struct Door;

impl Guard for Door {
    fn admit(&self, headers: &HeaderMap) -> Result<User, Refused> {
        match self.secret(headers).as_deref() {
            None => Err(Refused::Unknown("who are you?".to_owned())),
            Some("writer") => Err(Refused::Forbidden("you only write".to_owned())),
            Some(name) => Ok(Some(name.into())),
        }
    }

    fn secret(&self, headers: &HeaderMap) -> Option<String> {
        headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ").map(str::to_owned)
    }
}

pub(super) fn server() -> Server {
    let registry = prometheus::Registry::new();
    let clock = Clock::new(|| 1_795_305_600_000_000);
    let engine = Engine::new(Config::default(), Catalog::empty(schemas::all()), clock, &registry).unwrap();
    let next = AtomicU64::new(1);
    let random = Random::new(move || u128::from(next.fetch_add(1, Ordering::Relaxed)));
    Server::new(engine, Arc::new(Door), random, &registry).unwrap()
}

/// A client with a name.
#[derive(Clone)]
pub(super) struct Client {
    calls: FlightServiceClient<Router>,
    name: &'static str,
}

impl Client {
    pub(super) fn of(server: &Server, name: &'static str) -> Self {
        Self { calls: FlightServiceClient::new(server.router()), name }
    }

    fn says<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if !self.name.is_empty() {
            request.metadata_mut().insert("authorization", format!("Bearer {}", self.name).parse().unwrap());
        }
        request
    }

    pub(super) async fn info(&mut self, command: &impl ProstMessageExt) -> Result<FlightInfo, Status> {
        let request = self.says(described(command));
        Ok(self.calls.get_flight_info(request).await?.into_inner())
    }

    pub(super) async fn schema(&mut self, command: &impl ProstMessageExt) -> Result<Schema, Status> {
        let request = self.says(described(command));
        Ok(Schema::try_from(self.calls.get_schema(request).await?.into_inner()).unwrap())
    }

    pub(super) async fn rows(&mut self, ticket: Ticket) -> Result<Vec<RecordBatch>, Status> {
        let request = self.says(ticket);
        let messages = self.calls.do_get(request).await?.into_inner();
        let rows = FlightRecordBatchStream::new_from_flight_data(messages.map_err(Into::into));
        Ok(rows.try_collect().await?)
    }

    /// Both calls: what columns were told, and the rows.
    pub(super) async fn ask(
        &mut self,
        command: &impl ProstMessageExt,
    ) -> Result<(Option<Schema>, Vec<RecordBatch>), Status> {
        let info = self.info(command).await?;
        let ticket = ticket(&info);
        let schema = (!info.schema.is_empty()).then(|| info.try_decode_schema().unwrap());
        Ok((schema, self.rows(ticket).await?))
    }

    pub(super) async fn act(&mut self, action: &str, body: Vec<u8>) -> Result<Vec<u8>, Status> {
        let request = self.says(Action { r#type: action.to_owned(), body: body.into() });
        let mut results = self.calls.do_action(request).await?.into_inner();
        Ok(results.message().await?.map(|result| result.body.to_vec()).unwrap_or_default())
    }

    pub(super) async fn put(&mut self, messages: Vec<FlightData>) -> Result<(), Status> {
        let request = self.says(stream::iter(messages));
        let mut results = self.calls.do_put(request).await?.into_inner();
        while results.message().await?.is_some() {}
        Ok(())
    }
}

pub(super) fn described(command: &impl ProstMessageExt) -> FlightDescriptor {
    FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
}

pub(super) fn ticket(info: &FlightInfo) -> Ticket {
    assert!(info.endpoint[0].location.is_empty(), "rows are where they were asked for");
    info.endpoint[0].ticket.clone().unwrap()
}

#[tokio::test]
async fn every_call_shows_who_it_is_and_a_handshake_gives_the_token_back() {
    let server = server();
    let nobody = Client::of(&server, "").info(&arrow_flight::sql::CommandGetCatalogs {}).await.unwrap_err();
    assert_eq!((nobody.code(), nobody.message()), (Code::Unauthenticated, "who are you?"));
    let writer = Client::of(&server, "writer").info(&arrow_flight::sql::CommandGetCatalogs {}).await.unwrap_err();
    assert_eq!((writer.code(), writer.message()), (Code::PermissionDenied, "you only write"));

    let mut anna = Client::of(&server, "anna");
    // A client that says nothing before it has its answer.
    let request = anna.says(stream::pending::<HandshakeRequest>());
    let mut shaken = anna.calls.handshake(request).await.unwrap();
    assert_eq!(shaken.metadata().get("authorization").unwrap(), "Bearer anna");
    assert_eq!(shaken.get_mut().message().await.unwrap().unwrap().payload, "anna");
    let request = Client::of(&server, "").says(stream::iter([HandshakeRequest::default()]));
    assert_eq!(anna.calls.handshake(request).await.unwrap_err().code(), Code::Unauthenticated);
}
