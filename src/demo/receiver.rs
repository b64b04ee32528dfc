//! Who is told in the demo: webhooks on loopback, whose messages are handed on as lines for people.
//!
//! Called before the server starts; runs beside it. Invariant: what nobody reads in time is dropped, since table `notifications` has it all.

use std::{
    net::SocketAddr,
    sync::mpsc::{self, SyncSender},
};

use anyhow::{Context, Result};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::post,
};
use serde::Deserialize;
use tokio::net::TcpListener;

/// Lines that wait to be shown.
const LINES_MAX: usize = 256;
/// Alerts of a message that are shown.
const ALERTS_MAX: usize = 5;

/// A message, as Alertmanager's webhooks have it.
#[derive(Deserialize)]
struct Message {
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
struct Alert {
    status: String,
    labels: Labels,
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Deserialize)]
struct Labels {
    alertname: String,
}

#[derive(Default, Deserialize)]
struct Annotations {
    #[serde(default)]
    summary: String,
}

/// Begins to listen; gives where, and the lines to come.
///
/// # Errors
/// If the system gives no address.
pub(super) async fn listen() -> Result<(SocketAddr, mpsc::Receiver<String>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("the demo's receiver cannot listen")?;
    let address = listener.local_addr()?;
    let (lines, taken) = mpsc::sync_channel(LINES_MAX);
    let router = Router::new().route("/{receiver}", post(tell)).with_state(lines);
    // Ends with the process.
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok((address, taken))
}

async fn tell(
    State(lines): State<SyncSender<String>>,
    Path(receiver): Path<String>,
    Json(message): Json<Message>,
) -> StatusCode {
    for Alert { status, labels, annotations } in message.alerts.into_iter().take(ALERTS_MAX) {
        let line = format!("{receiver} is told: {} {status}. {}", labels.alertname, annotations.summary);
        // Nobody has time to read; it is in the table.
        let _ = lines.try_send(line);
    }
    StatusCode::OK
}
