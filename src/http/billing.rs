//! Bills over HTTP: files are sent one by one, and loaded together when all are there.
//!
//! Merged by `app` with the crates' routers, under scope `write`; whoever takes something back is an administrator. Loads are
//! `ingest::billing`'s. Invariants: what is acknowledged outlives a crash; a load that has begun ends though its client may be gone;
//! a file goes to the disk as it comes.

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{
        DefaultBodyLimit, Path, Query, State,
        rejection::{BytesRejection, QueryRejection},
    },
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{delete, post, put},
};
use chrono::NaiveDate;
use futures::StreamExt as _;
use ingest::{
    Error, ErrorKind,
    billing::{Commit, Loads, REFERENCE_BYTES_MAX, Summary},
};
use serde::Deserialize;
use serde_json::json;
use tracing::{info, warn};

use super::{refusal, tsdb::unavailable};

/// Longest text that says how files are loaded. Values to be assumed for every column of FOCUS take a tenth of it.
const COMMIT_BYTES_MAX: usize = 64 << 10;
/// Longest name of a file, an export or a part.
const NAME_BYTES_MAX: usize = 1_024;
/// Routes of bills.
pub fn router(loads: Loads) -> Router {
    let tables = put(replace).layer(DefaultBodyLimit::max(REFERENCE_BYTES_MAX));
    let tables = Router::new().route("/api/v1/reference/{table}/{source}", tables).with_state(loads.clone());
    Router::new()
        .route("/api/v1/billing/{export}/{part}", post(upload).get(uploaded).delete(discard))
        .route("/api/v1/billing/{export}/{part}/commit", post(commit))
        .route("/api/v1/billing/{export}/{part}/reprocess", post(reprocess))
        .route("/api/v1/billing/{export}/{part}/close", post(close))
        .route("/api/v1/billing/{export}/{part}/loaded", delete(forget))
        .layer(DefaultBodyLimit::max(COMMIT_BYTES_MAX))
        .with_state(loads)
        .merge(tables)
}

/// An export, and a part of it.
type Of = Path<(String, String)>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    file: String,
}

async fn upload(
    State(loads): State<Loads>,
    Path((export, part)): Of,
    named: Result<Query<Named>, QueryRejection>,
    body: Body,
) -> Response {
    let name = match named {
        Ok(Query(Named { file })) if !file.is_empty() => file,
        _ => return bad_data("say which file of the delivery it is: ?file=NAME"),
    };
    if let Some(long) = [&export, &part, &name].into_iter().find(|name| name.len() > NAME_BYTES_MAX) {
        return bad_data(format!(
            "a name has more than {NAME_BYTES_MAX} bytes: {}…",
            long.chars().take(40).collect::<String>()
        ));
    }
    let bytes = body.into_data_stream().map(|chunk| {
        let broke = |error| Error::new(ErrorKind::Invalid, "the body broke off: send the file again").caused_by(error);
        chunk.map_err(broke)
    });
    match loads.upload((export, part), name, bytes).await {
        Ok(uploaded) => done(&uploaded),
        Err(error) => failed(&error),
    }
}

async fn uploaded(State(loads): State<Loads>, Path((export, part)): Of) -> Response {
    match blocking(move || loads.uploaded(&export, &part)).await {
        Ok(files) => done(&files),
        Err(error) => failed(&error),
    }
}

async fn discard(State(loads): State<Loads>, Path((export, part)): Of) -> Response {
    match blocking(move || Ok(loads.discard(&export, &part))).await {
        Ok(true) => StatusCode::NO_CONTENT.into_response(),
        Ok(false) => refusal(StatusCode::NOT_FOUND, "not_found", "nothing was sent for this part"),
        Err(error) => failed(&error),
    }
}

async fn commit(State(loads): State<Loads>, Path((export, part)): Of, body: Result<Bytes, BytesRejection>) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(error) => return bad_data(error.body_text()),
    };
    // Whatever the body calls itself: what is said must not be passed over.
    let asked = if body.is_empty() { Ok(Commit::default()) } else { serde_json::from_slice(&body) };
    let asked = match asked {
        Ok(asked) => asked,
        Err(error) => return bad_data(format!("the body says how to load the files, as JSON: {error}")),
    };
    finish(async move { loads.commit(&export, &part, asked).await }).await
}

async fn reprocess(State(loads): State<Loads>, Path((export, part)): Of) -> Response {
    finish(async move { loads.reprocess(&format!("{export}/{part}"), |_| {}).await }).await
}

async fn forget(State(loads): State<Loads>, Path((export, part)): Of) -> Response {
    finish(async move { loads.forget(&format!("{export}/{part}")).await }).await
}

async fn close(State(loads): State<Loads>, Path((export, month)): Of) -> Response {
    let Ok(first) = NaiveDate::parse_from_str(&format!("{month}-01"), "%Y-%m-%d") else {
        return bad_data(format!("no month: write it as 2026-11 month={month}"));
    };
    answered(async move { Ok(loads.close(&export, first).await?.to_string()) }).await
}

async fn replace(
    State(loads): State<Loads>,
    Path((table, source)): Of,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let csv = match body {
        Ok(csv) => csv,
        Err(error) => return bad_data(error.body_text()),
    };
    answered(async move { loads.replace(&table, &source, csv).await }).await
}

/// A load, to its end though nobody may wait for it.
async fn finish(load: impl Future<Output = ingest::Result<Summary>> + Send + 'static) -> Response {
    answered(async move {
        let summary = load.await;
        match &summary {
            Ok(summary) => {
                let told = summary.told();
                info!(
                    scope = told.scope,
                    revision = told.revision,
                    rows = told.rows,
                    rejects = told.rejects,
                    "bill loaded"
                );
            }
            Err(error) => warn!(%error, "bill not loaded"),
        }
        Ok(summary?.told())
    })
    .await
}

/// Work that goes on to its end though nobody may wait for it, so that what is written and what is known of it agree.
async fn answered<T: serde::Serialize + Send + 'static>(
    work: impl Future<Output = ingest::Result<T>> + Send + 'static,
) -> Response {
    match tokio::spawn(work).await {
        Ok(Ok(data)) => done(&data),
        Ok(Err(error)) => failed(&error),
        Err(_) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the work broke off; the log says more"),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> ingest::Result<T> + Send + 'static) -> ingest::Result<T> {
    let broke = |error| Error::new(ErrorKind::Internal, "the work broke off").caused_by(error);
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(broke(error)))
}

fn done(data: &impl serde::Serialize) -> Response {
    Json(json!({"status": "success", "data": data})).into_response()
}

fn failed(error: &Error) -> Response {
    match error.kind {
        ErrorKind::Invalid | ErrorKind::Corrupt => bad_data(error.to_string()),
        ErrorKind::Internal => refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()),
        ErrorKind::Overloaded | ErrorKind::Unavailable | ErrorKind::Fenced => unavailable(error.to_string()),
    }
}

fn bad_data(reason: impl Into<String>) -> Response {
    refusal(StatusCode::BAD_REQUEST, "bad_data", reason)
}
