//! Actions: statements are prepared and closed, and queries canceled.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use arrow_flight::{
    Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo,
    sql::{
        ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest,
        ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, Command, ProstMessageExt,
    },
};
use bytes::Bytes;
use prost::Message;
use tokio::time::Instant;
use tonic::Status;

use super::{Prepared, Question, Service, command, handle};
use crate::{User, failure, wire};

/// Actions that are taken, each with what it does.
pub(super) const KNOWN: [(&str, &str); 4] = [
    ("CreatePreparedStatement", "Prepares a query; gives a handle, its columns and its parameters."),
    ("ClosePreparedStatement", "Forgets a prepared query."),
    ("CancelFlightInfo", "Ends a query, or forgets its ticket."),
    ("CancelQuery", "The same, as it was asked before there was CancelFlightInfo."),
];

impl Service {
    /// Does what an action says; gives its result, if it has one.
    pub(super) async fn act(&self, user: User, action: Action) -> Result<Option<Bytes>, Status> {
        let body = &action.body;
        match action.r#type.as_str() {
            "CreatePreparedStatement" => {
                let result = self.create(user, unpacked(body)?).await?;
                Ok(Some(result.as_any().encode_to_vec().into()))
            }
            "ClosePreparedStatement" => {
                let asked: ActionClosePreparedStatementRequest = unpacked(body)?;
                // One that is gone already is as closed as it can be.
                let handle = handle(&asked.prepared_statement_handle)?;
                self.0.statements.prepared.take(handle, (&user, Instant::now()));
                Ok(None)
            }
            "CancelFlightInfo" => {
                let asked = CancelFlightInfoRequest::decode(&**body).map_err(failure::unreadable)?;
                self.cancel(&user, asked.info.as_ref())?;
                let result = CancelFlightInfoResult { status: CancelStatus::Cancelled as i32 };
                Ok(Some(result.encode_to_vec().into()))
            }
            "CancelQuery" => {
                let asked: ActionCancelQueryRequest = unpacked(body)?;
                let info = FlightInfo::decode(&*asked.info).map_err(failure::unreadable)?;
                self.cancel(&user, Some(&info))?;
                // The numbers of both results mean the same.
                let result = ActionCancelQueryResult { result: CancelStatus::Cancelled as i32 };
                Ok(Some(result.as_any().encode_to_vec().into()))
            }
            "BeginTransaction" | "EndTransaction" | "BeginSavepoint" | "EndSavepoint" => {
                Err(failure::no_transactions())
            }
            other => Err(failure::absent(&format!("action {other:?} is"))),
        }
    }

    async fn create(
        &self,
        user: User,
        asked: ActionCreatePreparedStatementRequest,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        if asked.transaction_id.is_some_and(|id| !id.is_empty()) {
            return Err(failure::no_transactions());
        }
        let described = self.0.engine.describe(&asked.query, &[]).await.map_err(|error| failure::status(&error))?;
        // What planning cannot tell is a text, as it is over the PostgreSQL protocol.
        let types = described.parameters.iter().map(|found| found.as_ref().map_or(DataType::Utf8, wire::plain_type));
        let places = types.enumerate().map(|(at, found)| Field::new(format!("${}", at + 1), found, true));
        let places = Schema::new(places.collect::<Vec<_>>());
        let schema = wire::plain_schema(&described.schema);
        let result = ActionCreatePreparedStatementResult {
            prepared_statement_handle: Bytes::new(),
            dataset_schema: wire::schema_bytes(&schema)?,
            parameter_schema: if places.fields().is_empty() { Bytes::new() } else { wire::schema_bytes(&places)? },
        };
        let handle = self.0.random.bits();
        let question = Question { text: asked.query.into(), values: Arc::from([]) };
        self.keep(handle, user, Prepared { question, schema });
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle.to_be_bytes().to_vec().into(),
            ..result
        })
    }

    /// Ends a query whose rows are under way, or takes back the ticket of one that has not begun.
    fn cancel(&self, user: &User, info: Option<&FlightInfo>) -> Result<(), Status> {
        let ticket = info.and_then(|info| info.endpoint.first()).and_then(|endpoint| endpoint.ticket.as_ref());
        let ticket = ticket.ok_or_else(|| failure::unreadable("no ticket of a query in it"))?;
        let Command::TicketStatementQuery(ticket) = command(&ticket.ticket)? else {
            return Err(Status::invalid_argument("only queries are canceled: this ticket is of something else"));
        };
        let (handle, statements) = (handle(&ticket.statement_handle)?, &self.0.statements);
        let is_met = statements.running.cancel(handle, user)
            || statements.tickets.take(handle, (user, Instant::now())).is_some();
        if !is_met {
            return Err(Status::not_found("no query of this ticket is running: it has ended, or was never begun"));
        }
        self.0.meter.canceled();
        Ok(())
    }
}

fn unpacked<M: ProstMessageExt>(body: &[u8]) -> Result<M, Status> {
    let any = Any::decode(body).map_err(failure::unreadable)?;
    let message = any.unpack().map_err(failure::unreadable)?;
    message.ok_or_else(|| failure::unreadable(format!("expected {} found {:?}", M::type_url(), any.type_url)))
}
