//! `/federate`, as Prometheus has it: the newest samples of some series in the text format, for another server to scrape.
//!
//! Called by [`router`](super::router). Samples go with their times, under their metrics in order of the names; what a metric is is
//! not told (`untyped`), since it is not known for sure. Histograms with custom buckets are written as classic ones, other native
//! histograms left out: the text format has no words for them. Series that have ended are left out.
//!
//! Spec: <https://prometheus.io/docs/prometheus/latest/federation/>,
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

mod text;

use std::io;

use axum::{
    Router,
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
    routing::get,
};
use promql::{CUSTOM, Histogram, STALE};

use super::{failure, params::Params};
use crate::{
    Engine, Error, ErrorKind, ahead,
    raw::{Raw, RawSeries},
};

use text::{Escaping, Text};

/// Bytes of a part of the answer, about.
const PART_BYTES: usize = 256 << 10;

/// Routes of federation.
pub(super) fn router() -> Router<Engine> {
    Router::new().route("/federate", get(federate))
}

async fn federate(State(engine): State<Engine>, RawQuery(url): RawQuery, headers: HeaderMap) -> Response {
    let answer = async {
        let params = Params::of_url(url.as_deref());
        let selectors = params.selectors()?;
        if selectors.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "no match[] parameter provided"));
        }
        let asked = params.all("match[]").collect::<Vec<_>>().join(" or ");
        let raw = engine.counted("federate", &asked, async |run| {
            let permit = engine.admit().await?;
            let now_ms = engine.now_ms();
            let times_ms = now_ms - engine.config().promql.lookback_ms..now_ms + 1;
            let of_work = engine.clone();
            let work = async move {
                let mut raw = of_work.raw(&selectors, times_ms).await?;
                raw.sort_by_metric();
                Ok(raw)
            };
            let raw: Raw = engine.within(work, permit, None).await?;
            run.add_samples(raw.samples());
            Ok(raw)
        });
        Ok(respond(&engine, raw.await?, Escaping::accepted(&headers)))
    };
    answer.await.unwrap_or_else(|error: Error| failure(&error.at(None)))
}

fn respond(engine: &Engine, raw: Raw, escaping: Escaping) -> Response {
    let parts = futures::stream::iter(Writer { raw, escaping, at: 0, family: None }.map(Ok::<_, io::Error>));
    ([(header::CONTENT_TYPE, escaping.content_type())], Body::from_stream(ahead(engine, parts))).into_response()
}

/// An answer that is being written.
struct Writer {
    raw: Raw,
    escaping: Escaping,
    /// The next series.
    at: usize,
    /// The metric that is being written, and whether its samples are histograms.
    family: Option<(String, bool)>,
}

/// What a series is at last.
enum Newest {
    Float(f64),
    Histogram(Box<Histogram>),
}

impl Iterator for Writer {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut out = Text::new(self.escaping);
        while self.at < self.raw.len() && out.len() < PART_BYTES {
            let series = self.raw.series(self.at);
            self.at += 1;
            if let Some((time_ms, newest)) = newest(&series) {
                write(&mut out, &mut self.family, &series, time_ms, &newest);
            }
        }
        // A part without a byte would end the answer in some clients' eyes.
        if out.len() == 0 { None } else { Some(out.finish()) }
    }
}

/// The last sample of a series, unless it says that the series has ended.
fn newest(series: &RawSeries<'_>) -> Option<(i64, Newest)> {
    let float = series.times_ms.last().copied().zip(series.values.last().copied());
    let histogram = series.histograms().last();
    // Of one time the float holds.
    let (time_ms, newest) = match (float, histogram) {
        (Some((time_ms, value)), other) if other.as_ref().is_none_or(|(of_other, _)| *of_other <= time_ms) => {
            (time_ms, Newest::Float(value))
        }
        (_, Some((time_ms, kept))) => (time_ms, Newest::Histogram(Box::new(kept.into()))),
        _ => return None,
    };
    let bits = match &newest {
        Newest::Float(value) => value.to_bits(),
        Newest::Histogram(histogram) => histogram.sum.to_bits(),
    };
    (bits != STALE).then_some((time_ms, newest))
}

fn write(out: &mut Text, family: &mut Option<(String, bool)>, series: &RawSeries<'_>, time_ms: i64, newest: &Newest) {
    let metric = series.metric();
    let is_histogram = match newest {
        Newest::Float(_) => false,
        Newest::Histogram(histogram) if histogram.schema == CUSTOM => true,
        Newest::Histogram(_) => return,
    };
    if metric.is_empty() {
        return;
    }
    if family.as_ref().is_none_or(|(name, histograms)| name != metric || *histograms != is_histogram) {
        out.family(metric, if is_histogram { "histogram" } else { "untyped" });
        *family = Some((metric.to_owned(), is_histogram));
    }
    match newest {
        Newest::Float(value) => out.sample(series, "", None, (*value, time_ms)),
        Newest::Histogram(histogram) => {
            for (bound, count) in cumulative(histogram) {
                out.sample(series, "_bucket", Some(bound), (count, time_ms));
            }
            out.sample(series, "_bucket", Some(f64::INFINITY), (histogram.count, time_ms));
            out.sample(series, "_sum", None, (histogram.sum, time_ms));
            out.sample(series, "_count", None, (histogram.count, time_ms));
        }
    }
}

/// The custom buckets of a histogram as a classic one has them, but for the last: upper bound, and observations up to it.
fn cumulative(histogram: &Histogram) -> Vec<(f64, f64)> {
    let mut counts = vec![0.0; histogram.custom_values.len()];
    let (mut index, mut all) = (0_i64, histogram.positive.counts.iter());
    for span in &histogram.positive.spans {
        index += i64::from(span.offset);
        for count in all.by_ref().take(span.length as usize) {
            if let Some(bucket) = usize::try_from(index).ok().and_then(|index| counts.get_mut(index)) {
                *bucket = *count;
            }
            index += 1;
        }
    }
    let sum = |sum: &mut f64, count: f64| {
        *sum += count;
        Some(*sum)
    };
    histogram.custom_values.iter().copied().zip(counts.into_iter().scan(0.0, sum)).collect()
}

#[cfg(test)]
mod tests;
