//! What an administrator asks of a running server: commit recent rows, merge and clean up the tables.
//!
//! Called by the router, under scope `admin`. With `wait=true` an answer comes when the work is done, else at once; work that
//! nobody waits for is done once, however often it is asked for.

use std::sync::Arc;

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::stream;
use serde::Deserialize;
use serde_json::json;
use storage::Storage;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{Shared, refusal, status::starting};

/// Steps of a compaction that wait for a slow reader; beyond, some are not told.
const STEPS_MAX: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wait {
    #[serde(default)]
    wait: bool,
}

type Asked = Result<Query<Wait>, QueryRejection>;

/// What to work on, and whether the caller waits; or the answer that there is nothing to work on.
fn asked(shared: &Shared, query: Asked) -> Result<(Storage, bool), Box<Response>> {
    let Query(Wait { wait }) =
        query.map_err(|error| Box::new(refusal(StatusCode::BAD_REQUEST, "bad_data", error.body_text())))?;
    let open = shared.open.get().ok_or_else(|| Box::new(starting()))?;
    Ok((open.storage.clone(), wait))
}

fn accepted() -> Response {
    (StatusCode::ACCEPTED, Json(json!({"status": "success"}))).into_response()
}

/// Writes recent rows to files.
pub(super) async fn flush(State(shared): State<Shared>, query: Asked) -> Response {
    let (storage, wait) = match asked(&shared, query) {
        Ok(asked) => asked,
        Err(answer) => return *answer,
    };
    if wait {
        return match storage.flush().await {
            Ok(()) => Json(json!({"status": "success"})).into_response(),
            Err(error) => refusal(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.chain()),
        };
    }
    // A flush that is under way takes what came before it; more than one would only queue.
    if let Ok(permit) = Arc::clone(&shared.flushing).try_acquire_owned() {
        tokio::spawn(async move {
            match storage.flush().await {
                Ok(()) => info!("flushed on request"),
                Err(error) => warn!(error = error.chain(), "the requested flush failed"),
            }
            drop(permit);
        });
    }
    accepted()
}

/// Merges and cleans up the tables. Who waits gets a line of JSON a step, and one with the status at the end.
pub(super) async fn compact(State(shared): State<Shared>, query: Asked) -> Response {
    let (storage, wait) = match asked(&shared, query) {
        Ok(asked) => asked,
        Err(answer) => return *answer,
    };
    if wait {
        let (lines, receiver) = mpsc::channel(STEPS_MAX);
        tokio::spawn(tell(storage, lines));
        let body = stream::unfold(receiver, |mut receiver| async {
            let line: Bytes = receiver.recv().await?;
            Some((Ok::<_, std::convert::Infallible>(line), receiver))
        });
        let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"))];
        return (kind, Body::from_stream(body)).into_response();
    }
    if let Ok(permit) = Arc::clone(&shared.compacting).try_acquire_owned() {
        tokio::spawn(async move {
            match storage.compact(|_| {}).await {
                Ok(done) => info!(?done, "compacted on request"),
                Err(error) => warn!(error = error.chain(), "the requested compaction failed"),
            }
            drop(permit);
        });
    }
    accepted()
}

/// Compacts, and writes down what happens. Goes on to the end though nobody may listen any more.
async fn tell(storage: Storage, lines: mpsc::Sender<Bytes>) {
    let done = storage.compact(|step| drop(lines.try_send(line(&json!(step))))).await;
    let last = match done {
        Ok(done) => json!({"status": "success", "data": done}),
        Err(error) => json!({"status": "error", "errorType": "unavailable", "error": error.chain()}),
    };
    let _ = lines.send(line(&last)).await;
}

fn line(value: &serde_json::Value) -> Bytes {
    format!("{value}\n").into()
}
