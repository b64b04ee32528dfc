//! `/api/v1/status/tsdb`, as Prometheus has it: how many series there are, and of what.
//!
//! Called by [`router`](super::router). What Prometheus calls its head, the last hours in memory, are here the days that the last
//! three hours touch, as series are noted by the day.
//!
//! Spec: <https://prometheus.io/docs/prometheus/latest/querying/api/#tsdb-stats>

use std::ops::Range;

use arrow::{
    array::AsArray,
    compute::{max, min},
    datatypes::TimestampMicrosecondType,
};
use axum::{
    Json, Router,
    extract::{RawQuery, State},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use storage::View;

use super::{failure, params::Params};
use crate::{Engine, Error, ErrorKind, Result, index::Counts};

/// Entries of a list if nothing is said, and at most.
const LIMIT: usize = 10;
const LIMIT_MAX: usize = 10_000;
/// What is looked at, microseconds: as much as the head of a Prometheus has, at most.
const RECENT_US: i64 = 3 * 3_600_000_000;

/// Routes of what the store is made of.
pub(super) fn router() -> Router<Engine> {
    Router::new().route("/api/v1/status/tsdb", get(status))
}

async fn status(State(engine): State<Engine>, RawQuery(url): RawQuery) -> Response {
    let answer = async {
        let limit = limit(&Params::of_url(url.as_deref()))?;
        let now_us = engine.now_us();
        let times_us = now_us - RECENT_US..now_us + 1;
        let view = std::sync::Arc::clone(engine.table(schemas::samples()).view());
        let counts = engine.counts(times_us.clone(), limit).await?;
        let body = json!({ "status": "success", "data": data(&counts, &view, &times_us) });
        Ok(Json(body).into_response())
    };
    answer.await.unwrap_or_else(|error: Error| failure(&error.at(None)))
}

fn limit(params: &Params) -> Result<usize> {
    let bad = |what: String| Error::new(ErrorKind::Invalid, what);
    let Some(text) = params.get("limit") else { return Ok(LIMIT) };
    match text.parse::<usize>() {
        Ok(limit @ 1..=LIMIT_MAX) => Ok(limit),
        Ok(1..) => Err(bad(format!("limit must not exceed {LIMIT_MAX}"))),
        _ => Err(bad("limit must be a positive number".to_owned())),
    }
}

fn data(counts: &Counts, view: &View, times_us: &Range<i64>) -> Value {
    let list = |list: &[(String, u64)]| -> Value {
        list.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
    };
    let Parts { count, times_us } = Parts::of(view, times_us);
    json!({
        "headStats": {
            "numSeries": counts.series,
            "numLabelPairs": counts.pairs,
            "chunkCount": count,
            // Without samples as there: the least is the greatest number that there is.
            "minTime": times_us.map_or(i64::MAX, |times| times.0.div_euclid(1000)),
            "maxTime": times_us.map_or(i64::MIN, |times| times.1.div_euclid(1000)),
        },
        "seriesCountByMetricName": list(&counts.by_metric),
        "labelValueCountByLabelName": list(&counts.values),
        "memoryInBytesByLabelName": list(&counts.bytes),
        "seriesCountByLabelValuePair": list(&counts.by_pair),
    })
}

/// Files and runs of rows that hold samples of a time, which is what we have for chunks.
struct Parts {
    count: usize,
    /// First and last sample in them.
    times_us: Option<(i64, i64)>,
}

impl Parts {
    fn of(view: &View, wanted_us: &Range<i64>) -> Self {
        let time = view.dataset.time;
        let in_files = view.files.iter().filter_map(|file| file.times_us(view.dataset));
        let in_head = view.head.iter().filter_map(|rows| {
            let times = rows.batch.column_by_name(time)?.as_primitive_opt::<TimestampMicrosecondType>()?;
            Some((min(times)?, max(times)?))
        });
        let touched =
            in_files.chain(in_head).filter(|(first, last)| *first < wanted_us.end && *last >= wanted_us.start);
        touched.fold(Self { count: 0, times_us: None }, |parts, (first, last)| {
            let (least, greatest) = parts.times_us.unwrap_or((first, last));
            Self { count: parts.count + 1, times_us: Some((least.min(first), greatest.max(last))) }
        })
    }
}
