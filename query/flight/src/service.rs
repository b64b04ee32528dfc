//! The calls of Flight, and which commands of Flight SQL each of them takes.
//!
//! Called by tonic behind `door`. Asking is two calls: GetFlightInfo gives the columns and a ticket, DoGet the rows of a ticket. A
//! question in SQL is planned for the first and again for the second, so that a client that never comes back holds no place among the
//! running queries; a question about the server is its own ticket.

mod actions;

use std::{pin::Pin, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest,
    HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
    flight_service_server::FlightService,
    sql::{
        Any, Command, CommandPreparedStatementQuery, CommandStatementQuery, DoPutPreparedStatementResult,
        ProstMessageExt, TicketStatementQuery,
    },
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use prost::Message;
use query::{Answer, Error, ahead};
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    Inner, User, binding, catalog, door, failure,
    meter::Count,
    statements::{Handle, Prepared, Question, Run},
    wire,
};

/// What a call is answered with, bit by bit.
pub(crate) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Answers calls that were let in.
pub(crate) struct Service(pub Arc<Inner>);

/// Rows of a query that are under way.
struct Rows {
    answer: Answer,
    run: Run,
    count: Count,
}

#[async_trait]
impl FlightService for Service {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Answers<FlightData>;
    type DoPutStream = Answers<PutResult>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;
    type DoExchangeStream = Answers<FlightData>;

    async fn handshake(
        &self,
        call: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        door::shaken(&self.0, call.metadata())
    }

    async fn get_flight_info(&self, call: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let (user, descriptor) = (door::user(&call), call.into_inner());
        let (schema, ticket) = match command(&descriptor.cmd)? {
            Command::CommandStatementQuery(asked) => {
                let text = text(asked)?;
                let schema = self.described(&text).await?;
                (Some(schema), self.ticket(user, Question { text: text.into(), values: [].into() }))
            }
            Command::CommandPreparedStatementQuery(asked) => {
                let Prepared { question, schema } = self.prepared(&asked, &user)?;
                // Values may make other columns of it than their absence, so those are told with the rows.
                (Some(schema).filter(|_| question.values.is_empty()), self.ticket(user, question))
            }
            about => (Some(catalog::schema(&about)?), descriptor.cmd.clone()),
        };
        let endpoint = FlightEndpoint::new().with_ticket(Ticket { ticket });
        let mut info = FlightInfo::new().with_endpoint(endpoint).with_descriptor(descriptor).with_ordered(true);
        if let Some(schema) = schema {
            info.schema = wire::schema_bytes(&schema)?;
        }
        Ok(Response::new(info))
    }

    async fn get_schema(&self, call: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let user = door::user(&call);
        let schema = match command(&call.get_ref().cmd)? {
            Command::CommandStatementQuery(asked) => self.described(&text(asked)?).await?,
            Command::CommandPreparedStatementQuery(asked) => self.prepared(&asked, &user)?.schema,
            about => catalog::schema(&about)?,
        };
        Ok(Response::new(SchemaResult { schema: wire::schema_bytes(&schema)? }))
    }

    async fn do_get(&self, call: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let user = door::user(&call);
        match command(&call.get_ref().ticket)? {
            Command::TicketStatementQuery(ticket) => {
                let handle = handle(&ticket.statement_handle)?;
                let question = self.0.statements.tickets.take(handle, (&user, Instant::now()));
                let gone = || Status::not_found("ticket is not known: it is good once and for 5 minutes; ask again");
                self.rows(handle, user, question.ok_or_else(gone)?).await
            }
            Command::CommandPreparedStatementQuery(asked) => {
                let Prepared { question, .. } = self.prepared(&asked, &user)?;
                self.rows(self.0.random.bits(), user, question).await
            }
            about => {
                let batch = catalog::answer(&self.0.engine, about).await?;
                Ok(Response::new(Box::pin(wire::messages(batch.schema(), stream::iter([Ok(batch)])))))
            }
        }
    }

    async fn do_put(&self, call: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        let (user, mut messages) = (door::user(&call), call.into_inner());
        let first = messages.message().await?;
        let descriptor = first.as_ref().and_then(|message| message.flight_descriptor.as_ref());
        let descriptor = descriptor.ok_or_else(|| failure::unreadable("the first one names no command"))?;
        match command(&descriptor.cmd)? {
            Command::CommandPreparedStatementQuery(asked) => {
                let messages = stream::iter(first.map(Ok)).chain(messages);
                let values = binding::receive(messages).await?;
                // Looked up once they are there: meanwhile it may have been closed.
                let mut prepared = self.prepared(&asked, &user)?;
                prepared.question.values = values.into();
                self.keep(handle(&asked.prepared_statement_handle)?, user, prepared);
                let result = DoPutPreparedStatementResult { prepared_statement_handle: None };
                let result = PutResult { app_metadata: result.encode_to_vec().into() };
                Ok(Response::new(Box::pin(stream::iter([Ok(result)]))))
            }
            Command::CommandStatementUpdate(_) | Command::CommandPreparedStatementUpdate(_) => {
                Err(failure::read_only("an update is"))
            }
            Command::CommandStatementIngest(_) => Err(failure::read_only("taking in rows is")),
            other => Err(failure::absent(&format!("{} is", other.type_url()))),
        }
    }

    async fn do_action(&self, call: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let (user, action) = (door::user(&call), call.into_inner());
        let results = self.act(user, action).await?.map(|body| Ok(arrow_flight::Result { body }));
        Ok(Response::new(Box::pin(stream::iter(results))))
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        let known = actions::KNOWN
            .map(|(name, about)| Ok(ActionType { r#type: name.to_owned(), description: about.to_owned() }));
        Ok(Response::new(Box::pin(stream::iter(known))))
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(failure::absent("ListFlights is"))
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        Err(failure::absent("PollFlightInfo is"))
    }

    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(failure::absent("DoExchange is"))
    }
}

impl Service {
    /// Columns that a text would give.
    async fn described(&self, text: &str) -> Result<SchemaRef, Status> {
        let described = self.0.engine.describe(text, &[]).await.map_err(|error| failure::status(&error))?;
        if !described.parameters.is_empty() {
            return Err(Status::invalid_argument("a query with parameters has to be prepared, and its values bound"));
        }
        Ok(wire::plain_schema(&described.schema))
    }

    /// A ticket for an answer.
    fn ticket(&self, user: User, question: Question) -> Bytes {
        let (handle, bytes) = (self.0.random.bits(), question.bytes());
        self.0.statements.tickets.put(handle, (user, Instant::now()), (question, bytes));
        let ticket = TicketStatementQuery { statement_handle: handle.to_be_bytes().to_vec().into() };
        ticket.as_any().encode_to_vec().into()
    }

    /// A statement that its owner prepared.
    fn prepared(&self, asked: &CommandPreparedStatementQuery, user: &User) -> Result<Prepared, Status> {
        let prepared = handle(&asked.prepared_statement_handle)
            .ok()
            .and_then(|handle| self.0.statements.prepared.get(handle, (user, Instant::now())));
        prepared.ok_or_else(|| Status::not_found("prepared statement is not known, or no longer: prepare it again"))
    }

    fn keep(&self, handle: Handle, user: User, prepared: Prepared) {
        let bytes = prepared.question.bytes() + size_of_val(&*prepared.schema) * prepared.schema.fields().len();
        self.0.statements.prepared.put(handle, (user, Instant::now()), (prepared, bytes));
    }

    /// Begins to answer a question.
    async fn rows(
        &self,
        handle: Handle,
        user: User,
        question: Question,
    ) -> Result<Response<Answers<FlightData>>, Status> {
        let Inner { engine, meter, statements, .. } = &*self.0;
        let (mut count, run) = (meter.begin(), statements.running.begin(handle, user));
        let answer = tokio::select! {
            biased;
            () = run.canceled() => Err(failure::canceled()),
            answer = engine.sql_with(&question.text, &question.values) => answer.map_err(|error| failure::status(&error)),
        };
        let answer = answer.inspect_err(|status| count.failed(status.code()))?;
        let schema = wire::plain_schema(&answer.schema);
        let rows = Rows { answer, run, count };
        let messages = wire::messages(schema, stream::unfold(Some(rows), Rows::next));
        Ok(Response::new(Box::pin(ahead(engine, messages))))
    }
}

impl Rows {
    async fn next(state: Option<Self>) -> Option<(Result<RecordBatch, Status>, Option<Self>)> {
        let mut rows = state?;
        let next = tokio::select! {
            biased;
            () = rows.run.canceled() => Some(Err(failure::canceled())),
            next = rows.answer.stream.next() => next.map(|batch| batch.map_err(|error| failure::status(&Error::from(error)))),
        };
        match next {
            Some(Ok(batch)) => {
                rows.count.rows(batch.num_rows());
                Some((Ok(batch), Some(rows)))
            }
            Some(Err(status)) => {
                rows.count.failed(status.code());
                Some((Err(status), None))
            }
            None => {
                rows.count.done();
                None
            }
        }
    }
}

/// The command in the bytes of a descriptor or a ticket.
fn command(bytes: &[u8]) -> Result<Command, Status> {
    let any = Any::decode(bytes).map_err(failure::unreadable)?;
    Command::try_from(any).map_err(failure::unreadable)
}

fn text(asked: CommandStatementQuery) -> Result<String, Status> {
    if asked.transaction_id.is_some_and(|id| !id.is_empty()) {
        return Err(failure::no_transactions());
    }
    Ok(asked.query)
}

/// The handle in its bytes.
fn handle(bytes: &[u8]) -> Result<Handle, Status> {
    let bytes = bytes.try_into().map_err(|_| failure::unreadable("a handle of this server has 16 bytes"))?;
    Ok(Handle::from_be_bytes(bytes))
}
