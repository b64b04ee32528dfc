//! Alerts as JSON, in the order of fields in which Alertmanager has them, written while they are sent.
//!
//! Invariant: of an answer, however long, a piece is in memory as text.

use std::{convert::Infallible, sync::Arc};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures::stream;
use serde::{Serialize, Serializer};

use super::time::Time;
use crate::{Labels, alerts::Alert};

/// Text that is sent at once: some hundred alerts, written in a millisecond.
const PIECE_BYTES: usize = 64 << 10;

/// A receiver.
#[derive(Debug, Serialize)]
pub(super) struct Name<'a> {
    /// Its name.
    pub name: &'a str,
}

/// An alert, and what is known of it at the moment.
#[derive(Debug)]
pub(super) struct Seen {
    /// The alert.
    pub alert: Arc<Alert>,
    /// Of its labels.
    pub fingerprint: u64,
    /// Ids of silences.
    pub silenced: Vec<String>,
    /// Fingerprints of alerts.
    pub inhibited: Vec<u64>,
    /// Names of receivers.
    pub receivers: Vec<Arc<str>>,
}

impl Seen {
    /// Is it kept from everybody?
    pub fn is_suppressed(&self) -> bool {
        !self.silenced.is_empty() || !self.inhibited.is_empty()
    }
}

/// A part of an answer.
pub(super) enum Part {
    /// As it is.
    Text(&'static str),
    /// An alert, and names of the times that mute its group.
    Alert(Arc<Seen>, Arc<[String]>),
    /// The end of a group: its labels and its receiver.
    Group(Labels, Arc<str>),
}

/// An answer, written part by part.
pub(super) fn answer(parts: impl Iterator<Item = Part> + Send + 'static) -> Response {
    let pieces = stream::unfold(parts, |mut parts| async move {
        let mut piece = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4);
        while piece.len() < PIECE_BYTES {
            let Some(part) = parts.next() else { break };
            put(&mut piece, &part);
        }
        (!piece.is_empty()).then(|| (Ok::<_, Infallible>(Bytes::from(piece)), parts))
    });
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], Body::from_stream(pieces)).into_response()
}

/// Alerts with commas between them.
pub(super) fn list(alerts: Vec<Arc<Seen>>, muted: Arc<[String]>) -> impl Iterator<Item = Part> + Send {
    alerts.into_iter().enumerate().flat_map(move |(nth, seen)| {
        let comma = Part::Text(if nth == 0 { "" } else { "," });
        [comma, Part::Alert(seen, Arc::clone(&muted))]
    })
}

fn put(piece: &mut Vec<u8>, part: &Part) {
    match part {
        Part::Text(text) => piece.extend_from_slice(text.as_bytes()),
        Part::Alert(seen, muted) => json(piece, &Gettable::of(seen, muted)),
        Part::Group(labels, receiver) => {
            piece.extend_from_slice(b"],\"labels\":");
            json(piece, labels);
            piece.extend_from_slice(b",\"receiver\":");
            json(piece, &Name { name: receiver });
            piece.push(b'}');
        }
    }
}

fn json(piece: &mut Vec<u8>, value: &impl Serialize) {
    // Texts and lists, written to memory: there is nothing that could fail.
    let _ = serde_json::to_writer(piece, value);
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Gettable<'a> {
    annotations: &'a Labels,
    ends_at: Time,
    fingerprint: Hex,
    receivers: Vec<Name<'a>>,
    starts_at: Time,
    status: Status<'a>,
    updated_at: Time,
    #[serde(rename = "generatorURL", skip_serializing_if = "str::is_empty")]
    generator_url: &'a str,
    labels: &'a Labels,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    inhibited_by: Vec<Hex>,
    muted_by: &'a [String],
    silenced_by: &'a [String],
    state: &'static str,
}

impl<'a> Gettable<'a> {
    fn of(seen: &'a Seen, muted: &'a [String]) -> Self {
        let Seen { alert, fingerprint, silenced, inhibited, receivers } = seen;
        let is_active = muted.is_empty() && !seen.is_suppressed();
        Self {
            annotations: &alert.annotations,
            ends_at: Time(alert.ends_ms),
            fingerprint: Hex(*fingerprint),
            receivers: receivers.iter().map(|name| Name { name }).collect(),
            starts_at: Time(alert.starts_ms),
            status: Status {
                inhibited_by: inhibited.iter().copied().map(Hex).collect(),
                muted_by: muted,
                silenced_by: silenced,
                state: if is_active { "active" } else { "suppressed" },
            },
            updated_at: Time(alert.updated_ms),
            generator_url: &alert.generator_url,
            labels: &alert.labels,
        }
    }
}

/// A fingerprint, as it is written.
struct Hex(u64);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0))
    }
}
