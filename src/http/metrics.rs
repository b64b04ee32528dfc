//! Counts and times requests by handler.
//!
//! Called by the `observe` layer of `http`. Invariant: labels are bounded: the handler is the pattern of a route, never a
//! path; methods and status codes are small sets.

use std::{collections::BTreeMap, sync::Arc};

use axum::http::{Method, StatusCode};
use parking_lot::RwLock;
use prometheus::{
    IntCounterVec, IntGauge, Opts, Registry,
    core::{Collector, Desc},
    proto,
};
use storage::{Clock, Latency};

const LATENCY: &str = "streamgauge_http_request_duration_seconds";
const LATENCY_HELP: &str = "Time from a request's headers to those of its answer, by handler.";

/// Counts and times requests. Cheap to clone; clones share the data.
#[derive(Clone)]
pub struct Metrics {
    requests: IntCounterVec,
    in_flight: IntGauge,
    latencies: Latencies,
    clock: Clock,
}

/// A latency distribution for each handler, shown as one metric.
#[derive(Clone)]
struct Latencies {
    desc: Arc<Desc>,
    by_handler: Arc<RwLock<BTreeMap<String, Latency>>>,
}

/// A request that is being answered; counted as in flight until it is dropped.
pub struct Running {
    metrics: Metrics,
    start_us: i64,
}

impl Metrics {
    /// Metrics of HTTP, registered in `registry`.
    ///
    /// # Errors
    /// If they are registered already.
    pub fn register(registry: &Registry, clock: Clock) -> prometheus::Result<Self> {
        let opts =
            Opts::new("streamgauge_http_requests_total", "Requests answered, by handler, method and status code.");
        let requests = IntCounterVec::new(opts, &["handler", "method", "code"])?;
        let in_flight = IntGauge::new("streamgauge_http_requests_in_flight", "Requests being answered.")?;
        let desc = Desc::new(LATENCY.into(), LATENCY_HELP.into(), vec!["handler".into()], Default::default())?;
        let latencies = Latencies { desc: Arc::new(desc), by_handler: Arc::default() };
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(in_flight.clone()))?;
        registry.register(Box::new(latencies.clone()))?;
        Ok(Self { requests, in_flight, latencies, clock })
    }

    /// The clock by which it times.
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Notes that a request came.
    #[must_use]
    pub fn begin(&self) -> Running {
        self.in_flight.inc();
        Running { metrics: self.clone(), start_us: self.clock.now_us() }
    }
}

impl Running {
    /// Notes the answer to a request of `handler`.
    pub fn end(self, handler: &str, method: &Method, code: StatusCode) {
        let Metrics { requests, latencies, clock, .. } = &self.metrics;
        requests.with_label_values(&[handler, method_name(method), code.as_str()]).inc();
        latencies.observe(handler, clock, self.start_us);
    }

    /// Microseconds since it came.
    #[must_use]
    pub fn age_us(&self) -> i64 {
        self.metrics.clock.now_us() - self.start_us
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
    }
}

impl Latencies {
    fn observe(&self, handler: &str, clock: &Clock, start_us: i64) {
        if let Some(latency) = self.by_handler.read().get(handler) {
            return latency.observe_since(start_us);
        }
        // A registry of its own, because each handler's distribution has the same name; `collect` puts them together.
        if let Ok(latency) = Latency::register(&Registry::new(), clock.clone(), LATENCY, LATENCY_HELP) {
            self.by_handler.write().entry(handler.to_owned()).or_insert(latency).observe_since(start_us);
        }
    }
}

impl Collector for Latencies {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let mut whole: Option<proto::MetricFamily> = None;
        for (handler, latency) in self.by_handler.read().iter() {
            for mut family in latency.collect() {
                let mut metrics = family.take_metric();
                for metric in &mut metrics {
                    let mut label = proto::LabelPair::default();
                    label.set_name("handler".into());
                    label.set_value(handler.clone());
                    metric.set_label(vec![label]);
                }
                whole.get_or_insert(family).mut_metric().append(&mut metrics);
            }
        }
        whole.into_iter().collect()
    }
}

/// The method as a label; clients can invent methods.
fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_and_timed_by_handler_in_one_family_each() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry, Clock::new(|| 0)).unwrap();
        let open = metrics.begin();
        metrics.begin().end("/b", &Method::GET, StatusCode::OK);
        metrics.begin().end("/a", &Method::from_bytes(b"BREW").unwrap(), StatusCode::NOT_FOUND);
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        for line in [
            "streamgauge_http_requests_total{code=\"200\",handler=\"/b\",method=\"GET\"} 1",
            "streamgauge_http_requests_total{code=\"404\",handler=\"/a\",method=\"other\"} 1",
            "streamgauge_http_request_duration_seconds_count{handler=\"/a\"} 1",
            "streamgauge_http_request_duration_seconds_count{handler=\"/b\"} 1",
            "streamgauge_http_requests_in_flight 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        let types = text.lines().filter(|line| line.starts_with("# TYPE streamgauge_http_request_duration")).count();
        assert_eq!(types, 1, "{text}");
        drop(open);
    }
}
