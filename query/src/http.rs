//! `POST` and `GET /api/v1/sql`, in [`saved`] queries with a name, and, in [`series`], what is asked about series and labels, in [`expression`], about PromQL as
//! text, and in [`promql`], in PromQL.
//!
//! Called by the binary, which merges [`router`] under its own authentication and limits. Takes SQL as the body of a `POST`
//! (plain text, a form, or `{"query": …, "format": …}` as `application/json`) or as `?query=` of a `GET`; answers in the format that
//! is asked for by `format=`, by the body or by `Accept`, JSON otherwise.
//!
//! The status line is sent with the first rows, so a query that fails before has a status that says so and a body
//! `{"status":"error","errorType":…,"error":…}`, with `fault` where it is known what is wrong (`unknown_column`) and `position` where
//! the text is at fault. A query that fails later cuts the body off without its proper end, in every format: a client sees a broken
//! transfer, never a short answer.
//!
//! Invariants: rows are sent as they come and never collected; a client that goes away drops the body, and with it the query.

mod exemplars;
mod expression;
mod federate;
mod metadata;
mod params;
mod promql;
mod queries;
mod read;
mod rules;
mod saved;
mod series;
mod targets;
mod tsdb;

use std::io;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{
        DefaultBodyLimit, Query, State,
        rejection::{BytesRejection, QueryRejection},
    },
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::get,
};
use datafusion::execution::SendableRecordBatchStream;
use futures::{Stream, StreamExt};
use serde::{Deserialize, Serialize};

use promql::write;
pub use rules::{RulesAsked, no_such_group};

use crate::{
    Answer, Engine, Error, ErrorKind, Fault, Position, Result,
    format::{Encoder, Format},
    gate::TEXT_BYTES_MAX,
};

/// Longest body: a text as long as allowed, every character of it escaped by JSON.
const BODY_BYTES_MAX: usize = 2 * TEXT_BYTES_MAX + 1024;
/// What Prometheus answers to a query that was ended; it has no name.
const CANCELED: u16 = 499;
/// Seconds after which a client that met an overload may try again; a query of a dashboard is done by then.
const RETRY_AFTER_S: &str = "2";

pub(crate) use params::time_ms;
pub use params::{Asked, duration_ms};
pub use promql::{check_range, json};

/// Routes of SQL, series and labels.
pub fn router(engine: Engine) -> Router {
    Router::new()
        .route("/api/v1/sql", get(by_url).post(by_body))
        .route("/api/v1/sql/{name}", get(saved::run))
        .merge(series::router())
        .merge(expression::router())
        .merge(promql::router())
        .merge(exemplars::router())
        .merge(federate::router())
        .merge(metadata::router())
        .merge(targets::router())
        .merge(queries::router())
        .merge(tsdb::router())
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(map_response(too_large))
        .merge(read::router())
        .with_state(engine)
}

/// A body that is too large is refused before anybody looks at it, and not in the words of this API.
async fn too_large(response: Response) -> Response {
    if response.status() != StatusCode::PAYLOAD_TOO_LARGE {
        return response;
    }
    let error = format!("body is too large; ask for less at once bytes_max={BODY_BYTES_MAX}");
    let body = Failure { status: "error", error_type: "bad_data", error, fault: Some(Fault::TooLarge), position: None };
    (StatusCode::PAYLOAD_TOO_LARGE, axum::Json(body)).into_response()
}

/// What may be said in the URL.
#[derive(Debug, Deserialize)]
struct Params {
    query: Option<String>,
    format: Option<String>,
}

/// A JSON body.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedSql {
    query: String,
    format: Option<String>,
}

async fn by_url(
    State(engine): State<Engine>,
    params: Result<Query<Params>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let params = match params {
        Ok(Query(params)) => params,
        Err(error) => return failure(&Error::new(ErrorKind::Invalid, error.body_text())),
    };
    // Without a question it says what can be asked.
    let Some(query) = params.query else { return saved::list(&engine) };
    answer(&engine, &query, params.format.as_deref(), &headers).await.unwrap_or_else(|error| failure(&error))
}

async fn by_body(
    State(engine): State<Engine>,
    params: Result<Query<Params>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let params = match params {
        Ok(Query(params)) => params,
        Err(error) => return failure(&Error::new(ErrorKind::Invalid, error.body_text())),
    };
    let asked = match body.map_err(|e| Error::new(ErrorKind::Invalid, e.body_text())).and_then(|b| asked(&headers, &b))
    {
        Ok(asked) => asked,
        Err(error) => return failure(&error),
    };
    let format = params.format.or(asked.format);
    answer(&engine, &asked.query, format.as_deref(), &headers).await.unwrap_or_else(|error| failure(&error))
}

fn asked(headers: &HeaderMap, body: &[u8]) -> Result<AskedSql> {
    let media = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if media.split(';').next().is_some_and(|m| m.trim().eq_ignore_ascii_case("application/json")) {
        return serde_json::from_slice(body).map_err(|error| {
            Error::new(ErrorKind::Invalid, format!("body is not {{\"query\": …, \"format\": …}}: {error}"))
        });
    }
    let query = std::str::from_utf8(body).map_err(|_| Error::new(ErrorKind::Invalid, "query is not UTF-8"))?;
    // No statement begins so: a form, as Prometheus' API takes it. Whatever else a client calls it is SQL, since curl says
    // form of all `--data`.
    if query.starts_with("query=") {
        let refused = |why: String| Error::new(ErrorKind::Invalid, format!("form cannot be read: {why}"));
        let uri: Uri = format!("/?{query}").parse().map_err(|error| refused(format!("{error}")))?;
        return Query::try_from_uri(&uri).map(|Query(asked)| asked).map_err(|error| refused(error.body_text()));
    }
    Ok(AskedSql { query: query.to_owned(), format: None })
}

async fn answer(engine: &Engine, query: &str, format: Option<&str>, headers: &HeaderMap) -> Result<Response> {
    let format = format_of(format, headers)?;
    answered(engine, engine.sql(query).await?, format, "answer").await
}

/// The format that is asked for, by name or by `Accept`.
fn format_of(name: Option<&str>, headers: &HeaderMap) -> Result<Format> {
    let Some(name) = name else {
        let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
        return Ok(accept.and_then(Format::accepted).unwrap_or(Format::Json));
    };
    Format::named(name).ok_or_else(|| {
        let message = "no such format; use json, ndjson, csv, arrow, parquet or xlsx";
        Error::new(ErrorKind::Invalid, format!("{message} format={name:?}"))
    })
}

/// Writes an answer, which as a file has a name.
async fn answered(engine: &Engine, answer: Answer, format: Format, name: &str) -> Result<Response> {
    let Answer { schema, mut stream } = answer;
    let (mut encoder, mut bytes) = Encoder::begin(format, &schema)?;
    encoder.bounded_by(engine.memory_pool());
    // The first rows decide the status.
    let first = stream.next().await.transpose()?;
    if let Some(batch) = &first {
        bytes.append(&mut encoder.rows(batch)?);
    }
    let rest = first.is_some().then_some(stream);
    let body = Body::from_stream(body(bytes, encoder, rest));
    let mut response =
        ([(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()))], body).into_response();
    if let Some(extension) = format.extension() {
        let attached = format!("attachment; filename=\"{name}.{extension}\"");
        // Names have no characters that a header could not.
        response
            .headers_mut()
            .extend(HeaderValue::from_str(&attached).map(|value| (header::CONTENT_DISPOSITION, value)));
    }
    Ok(response)
}

/// The body: what is written already, then batch by batch, then the end.
fn body(
    begun: Vec<u8>,
    encoder: Encoder,
    rest: Option<SendableRecordBatchStream>,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let begun = futures::stream::once(async move { Ok(Bytes::from(begun)) });
    let rows = futures::stream::try_unfold(Some((encoder, rest)), |state| async move {
        let Some((mut encoder, mut rest)) = state else { return Ok(None) };
        let batch = match &mut rest {
            Some(stream) => stream.next().await.transpose().map_err(Error::from).map_err(cut_off)?,
            None => None,
        };
        match batch {
            Some(batch) => {
                let bytes = encoder.rows(&batch).map_err(cut_off)?;
                Ok(Some((Bytes::from(bytes), Some((encoder, rest)))))
            }
            None if encoder.ends_slowly() => {
                let finish = tokio::task::spawn_blocking(|| encoder.finish());
                let bytes = finish.await.map_err(io::Error::other)?.map_err(cut_off)?;
                Ok(Some((Bytes::from(bytes), None)))
            }
            None => Ok(Some((Bytes::from(encoder.finish().map_err(cut_off)?), None))),
        }
    });
    begun.chain(rows)
}

/// Ends a body that has begun; the server then closes the connection without the proper end.
fn cut_off(error: Error) -> io::Error {
    tracing::info!(error = %error, "query failed after its answer began");
    io::Error::other(error)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure<'a> {
    status: &'a str,
    error_type: &'a str,
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<Fault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
}

/// The answer to a query that failed before it had one.
#[must_use]
pub fn failure(error: &Error) -> Response {
    let canceled = StatusCode::from_u16(CANCELED).unwrap_or(StatusCode::BAD_REQUEST);
    let (status, error_type) = match error.kind {
        ErrorKind::Invalid => (StatusCode::BAD_REQUEST, "bad_data"),
        ErrorKind::Execution => (StatusCode::UNPROCESSABLE_ENTITY, "execution"),
        ErrorKind::Canceled => (canceled, "canceled"),
        ErrorKind::Timeout => (StatusCode::SERVICE_UNAVAILABLE, "timeout"),
        ErrorKind::Overloaded | ErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    };
    let (fault, position) = (error.fault, error.position);
    let body = Failure { status: "error", error_type, error: error.to_string(), fault, position };
    let mut response = (status, axum::Json(body)).into_response();
    if matches!(error.kind, ErrorKind::Overloaded | ErrorKind::Unavailable) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
    }
    response
}

#[cfg(test)]
mod tests;
