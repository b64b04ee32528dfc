//! Prometheus remote write 1.0 and 2.0: `POST /api/v1/write` into rows of `samples`, `series`, `histograms`, `exemplars`
//! and `metadata`.
//!
//! Called by the composition root, which merges [`RemoteWrite::router`]; hands one record a request to
//! [`storage::Storage::append`]. A request goes through: headers → body, bounded → room in storage → decompression →
//! decoding → is it this replica's turn? → admission and append under one lock → the ack → the answer. Labels of new series
//! pass the rules on their way into admission.
//!
//! Invariants: the order in which requests are admitted is the order of the log; a 2xx says that every part of the request
//! is durable and visible; memory is reserved before it is taken, and a refusal comes before the work. A deletion of series
//! ([`RemoteWrite::delete`]) stands in the same order.
//! Not here: authentication and TLS (the composition root), forwarding.
//! Specs: <https://prometheus.io/docs/specs/prw/remote_write_spec/>,
//! <https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/>

mod admit;
mod columns;
mod compression;
mod decoded;
mod delete;
mod exemplar;
mod ha;
mod headers;
pub(crate) mod histogram;
mod labels;
mod lateness;
mod metadata;
mod metrics;
mod pool;
mod refused;
mod reject;
mod relabel;
mod report;
mod response;
mod restore;
mod rules;
mod series_index;
mod v1;
mod v2;
mod window;

#[cfg(test)]
mod tests;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderValue, Request as HttpRequest, Response, StatusCode, header},
    response::IntoResponse,
    routing::any,
};
use futures::StreamExt as _;
use parking_lot::Mutex;
use storage::{Ack, Clock, Room, Storage};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use self::{
    admit::{Admission, Admitted, Labels, Limits, Located, Request},
    decoded::{BODY_BYTES_MAX, Decoded, Version},
    ha::ReplicaLabels,
    labels::LabelLimits,
    lateness::Late,
    refused::Refused,
    reject::{Reason, Reject, Rejects},
    relabel::{Action, Relabel, RelabelRule, RuleFault},
    report::{Report, SetAside},
    rules::Rules,
    window::Window,
};
use self::{
    compression::{decoded_len, decompress},
    ha::{Elections, Heard, is_mixed},
    headers::BodyKind,
    lateness::Ages,
    metrics::Metrics,
    pool::{Buffers, Pool},
    response::{Failure, Outcome, respond},
    window::Steady,
};
use crate::{Error, ErrorKind, Result};

/// Settings of remote write.
#[derive(Clone, Debug)]
pub struct Config {
    /// Largest compressed body, bytes.
    pub body_bytes_max: usize,
    /// Largest decompressed body, bytes.
    pub decoded_bytes_max: usize,
    /// Bytes that the bodies of all requests under way may take together, compressed and decompressed.
    pub inflight_bytes_max: usize,
    /// Labels of one series, its name included.
    pub labels_max: usize,
    /// Bytes of a label name.
    pub label_name_bytes_max: usize,
    /// Bytes of a label value.
    pub label_value_bytes_max: usize,
    /// Series known at once; about 200 bytes of memory each.
    pub series_max: usize,
    /// Series of one metric known at once.
    pub series_per_metric_max: usize,
    /// What happens to labels before a series is known.
    pub rules: Rules,
    /// Age up to which samples are accepted, milliseconds; the retention of the datasets.
    pub retention_ms: i64,
    /// How far ahead of the clock a sample may be, milliseconds.
    pub future_ms_max: i64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            body_bytes_max: 32 << 20,
            decoded_bytes_max: 32 << 20,
            inflight_bytes_max: 256 << 20,
            labels_max: 100,
            label_name_bytes_max: 1024,
            label_value_bytes_max: 8192,
            series_max: 10_000_000,
            series_per_metric_max: SERIES_PER_METRIC_MAX,
            rules: Rules::default(),
            retention_ms: 90 * series_index::DAY_MS,
            future_ms_max: 600_000,
        }
    }
}

impl Config {
    /// The part that admission needs.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let labels = LabelLimits {
            labels_max: self.labels_max,
            name_bytes_max: self.label_name_bytes_max,
            value_bytes_max: self.label_value_bytes_max,
        };
        let Self { series_max, series_per_metric_max, retention_ms, future_ms_max, .. } = *self;
        Limits { labels, series_max, series_per_metric_max, retention_ms, future_ms_max }
    }

    fn check(&self) -> Result<()> {
        let invalid = |message: String| Err(Error::new(ErrorKind::Invalid, message));
        let largest = self.body_bytes_max.max(self.decoded_bytes_max);
        if largest > BODY_BYTES_MAX {
            return invalid(format!(
                "remote write bodies cannot be so large: bytes={largest} bytes_max={BODY_BYTES_MAX}"
            ));
        }
        if self.inflight_bytes_max < self.body_bytes_max.saturating_add(self.decoded_bytes_max) {
            let have = self.inflight_bytes_max;
            return invalid(format!(
                "inflight_bytes_max has no room for one request of the largest size: bytes={have}"
            ));
        }
        if self.retention_ms <= 0 || self.future_ms_max < 0 {
            return invalid("remote write has a time window that accepts nothing".into());
        }
        Ok(())
    }
}

/// Series of one metric, unless set otherwise. The largest honest ones, histograms of a large Kubernetes fleet, have some
/// hundred thousand; a metric beyond a million has a user or a request in its labels, cannot be queried as a whole any more,
/// and would take the room of all others.
pub const SERIES_PER_METRIC_MAX: usize = 1_000_000;
/// Time a body may take to arrive; senders themselves give up after 30 s.
const BODY_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(60);
/// How often it is tried to look up what is kept, after storage refused appends.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(500);
/// Bodies beyond this are worked on away from the threads that serve everyone.
const INLINE_BYTES_MAX: usize = 1 << 20;
/// Rows take up to so many times the bytes of the message: a sample of 18 bytes becomes one of 36.
const ROOM_PER_BYTE: usize = 2;
/// Bytes of a body that permits are taken for at once.
const BODY_STEP_BYTES: usize = 64 << 10;
/// Bytes that one permit of the in-flight budget stands for; a semaphore counts to 2^32 at most on every platform.
const PERMIT_BYTES: usize = 1024;

/// Remote write of a process. Cheap to clone.
#[derive(Clone)]
pub struct RemoteWrite(Arc<Inner>);

struct Inner {
    config: Config,
    limits: Limits,
    rules: Arc<Rules>,
    storage: Storage,
    clock: Clock,
    steady: Mutex<Steady>,
    elections: Option<Mutex<Elections>>,
    admission: Mutex<Admission>,
    /// Is admission being made anew?
    looking: AtomicBool,
    inflight: Arc<Semaphore>,
    pool: Pool,
    metrics: Metrics,
}

impl RemoteWrite {
    /// Learns from storage which series are known and what was last written of them.
    ///
    /// # Errors
    /// `Invalid` for settings that cannot be, `Corrupt` or `Unavailable` if storage cannot be read.
    pub async fn open(config: Config, storage: Storage, clock: Clock, registry: &prometheus::Registry) -> Result<Self> {
        config.check()?;
        let limits = config.limits();
        let rules = Arc::new(config.rules.clone());
        let metrics = Metrics::register(registry, clock.clone(), limits.series_max)?;
        let window = Window::at(clock.now_ms(), &limits);
        let admission = restore::admission(&storage, limits, Arc::clone(&rules), &window).await?;
        let elections = rules.ha.clone().map(|ha| Mutex::new(Elections::new(ha, config.label_value_bytes_max)));
        metrics.series.set(i64::try_from(admission.series()).unwrap_or(i64::MAX));
        let permits = (config.inflight_bytes_max / PERMIT_BYTES).min(Semaphore::MAX_PERMITS);
        Ok(Self(Arc::new(Inner {
            config,
            limits,
            rules,
            storage,
            clock,
            steady: Mutex::new(Steady::new()),
            elections,
            admission: Mutex::new(admission),
            looking: AtomicBool::new(false),
            inflight: Arc::new(Semaphore::new(permits)),
            pool: Pool::default(),
            metrics,
        })))
    }

    /// Takes a message of version 2.0 from inside this process, as if it had been sent. Returns when it is durable and visible.
    ///
    /// # Errors
    /// As a sender would be told: `Invalid` if it is none, `Overloaded` or `Unavailable` if it cannot be written now.
    pub async fn message(&self, message: &[u8]) -> Result<Report> {
        let too_long = |error| Error::new(ErrorKind::Invalid, "a message cannot be compressed").caused_by(error);
        let body = snap::raw::Encoder::new().compress_vec(message).map_err(too_long)?;
        let kind = BodyKind { version: Version::V2, compression: compression::Compression::Snappy };
        match self.0.write(kind, HttpRequest::new(Body::from(body)), false).await {
            Ok(Outcome::Written(report)) => Ok(*report),
            Ok(Outcome::Failed(failure)) | Err(failure) => Err(failure.into()),
        }
    }

    /// The time of the newest sample that was sent since the start, milliseconds; what rules write does not count.
    #[must_use]
    pub fn newest_ms(&self) -> Option<i64> {
        self.0.metrics.lateness.newest_ms()
    }

    /// How late samples came lately.
    #[must_use]
    pub fn late(&self) -> Late {
        self.0.metrics.lateness.late()
    }

    /// Serves `POST /api/v1/write`.
    pub fn router(&self) -> Router {
        Router::new().route("/api/v1/write", any(handle)).with_state(self.clone())
    }
}

async fn handle(
    State(remote_write): State<RemoteWrite>,
    RawQuery(query): RawQuery,
    request: HttpRequest<Body>,
) -> Response<Body> {
    if request.method() != axum::http::Method::POST {
        // Old vmagents ask whether zstd is understood before they send.
        let asks = query.is_some_and(|query| query.split('&').any(|pair| pair == "get_vm_proto_version=1"));
        if request.method() == axum::http::Method::GET && asks {
            return "1".into_response();
        }
        let allow = [(header::ALLOW, HeaderValue::from_static("POST"))];
        return (StatusCode::METHOD_NOT_ALLOWED, allow, "remote write takes POST\n").into_response();
    }
    let inner = &remote_write.0;
    let start_us = inner.clock.now_us();
    let (version, outcome) = match headers::body_kind(request.headers()) {
        Ok(kind) => (Some(kind.version), inner.write(kind, request, true).await.unwrap_or_else(Outcome::Failed)),
        Err(unsupported) => (unsupported.version, Outcome::Failed(Failure::unsupported(unsupported.text))),
    };
    let response = respond(version, &outcome);
    if response.status().is_server_error()
        && let Outcome::Failed(failure) = &outcome
    {
        tracing::warn!(status = failure.status.as_u16(), "remote write failed: {}", failure.text);
    }
    inner.metrics.answered(version, response.status().as_u16());
    inner.metrics.latency.observe_since(start_us);
    response
}

impl Inner {
    /// Writes a request that a sender sent, or one from inside this process.
    async fn write(
        self: &Arc<Self>,
        kind: BodyKind,
        request: HttpRequest<Body>,
        is_sent: bool,
    ) -> Result<Outcome, Failure> {
        let mut buffers = self.pool.take();
        let compressed = self.read_body(request, &mut buffers.body).await?;
        self.metrics.received(buffers.body.len());
        let decoded_len = decoded_len(kind.compression, &buffers.body, self.config.decoded_bytes_max)
            .map_err(Failure::bad_request)?;
        // Not waited for: holding the first permits, requests could wait for each other.
        let decompressed = self.permits(decoded_len).ok_or_else(busy)?;
        let room = self.storage.reserve(decoded_len.saturating_mul(ROOM_PER_BYTE)).await?;
        let (report, ages, ack) = if decoded_len > INLINE_BYTES_MAX {
            let inner = Arc::clone(self);
            let work = move || inner.admit(kind, decoded_len, buffers, room);
            let stopped = |_| Failure::from(Error::new(ErrorKind::Internal, "work on a request broke off"));
            tokio::task::spawn_blocking(work).await.map_err(stopped)??
        } else {
            self.admit(kind, decoded_len, buffers, room)?
        };
        drop((compressed, decompressed));
        self.metrics.rejected(&report);
        self.metrics.refused(&report, self.clock.now_ms());
        if let Some(ack) = ack
            && let Err(error) = ack.done().await
        {
            self.look_again();
            return Err(error.into());
        }
        self.metrics.written(&report);
        if is_sent {
            self.metrics.lateness.observe(&ages);
        }
        Ok(Outcome::Written(Box::new(report)))
    }

    fn permits(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).ok()?;
        Arc::clone(&self.inflight).try_acquire_many_owned(permits).ok()
    }

    /// Reads the body into `body`, which it may not outgrow.
    async fn read_body(&self, request: HttpRequest<Body>, body: &mut Vec<u8>) -> Result<OwnedSemaphorePermit, Failure> {
        let bytes_max = self.config.body_bytes_max;
        let too_large =
            || Failure::bad_request(format!("body is too large, send smaller requests: bytes_max={bytes_max}"));
        let declared =
            request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if declared.is_some_and(|declared: usize| declared > bytes_max) {
            return Err(too_large());
        }
        // Taken as bytes arrive: a sender that only announces a body holds nothing.
        let mut permit = self.permits(0).ok_or_else(busy)?;
        body.clear();
        let mut chunks = request.into_body().into_data_stream();
        let arrived = async {
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk.map_err(|error| Failure::overloaded(format!("body cannot be read: {error}")))?;
                let wanted = body.len() + chunk.len();
                if wanted > bytes_max {
                    return Err(too_large());
                }
                if let Some(lacking) = wanted.checked_sub(permit.num_permits() * PERMIT_BYTES) {
                    permit.merge(self.permits(lacking.max(BODY_STEP_BYTES)).ok_or_else(busy)?);
                }
                body.extend_from_slice(&chunk);
            }
            Ok(permit)
        };
        let late = |_| Failure::overloaded("body took too long to arrive");
        tokio::time::timeout(BODY_TIME_MAX, arrived).await.map_err(late)?
    }

    /// Everything between the body and the ack; does not wait for anything but the lock.
    fn admit(
        self: &Arc<Self>,
        kind: BodyKind,
        decoded_len: usize,
        mut buffers: Buffers,
        room: Room,
    ) -> Result<(Report, Ages, Option<Ack>), Failure> {
        let Buffers { body, decompressed, decoded, located } = &mut buffers;
        let body = decompress(kind.compression, body, decoded_len, decompressed).map_err(Failure::bad_request)?;
        decoded
            .read(kind.version, body)
            .map_err(|error| Failure::bad_request(format!("body cannot be decoded: {error}")))?;
        let request = Request { body, decoded };
        let window = self.window();
        if let Some(elected) = self.begin(request, &window, located) {
            let report = Report::left(request, elected);
            self.pool.put(buffers);
            return Ok((report, Ages::default(), None));
        }
        let ages = Ages::of(request.decoded, window.now_ms);
        let mut labels = Labels::new(request, &self.limits, &self.rules);
        let mut admission = self.admission.lock();
        admission.locate(request, &window, located);
        if located.wants_labels() || located.is_mixed() {
            drop(admission);
            self.leave_out(request, &window, located);
            labels.read(located);
            admission = self.admission.lock();
            admission.locate(request, &window, located);
        }
        if admission.generation != self.storage.generation() {
            drop(admission);
            self.look_again();
            return Err(Failure::overloaded(
                "it is being looked up what is kept of recent requests; send it again in a moment",
            ));
        }
        let generation = admission.generation;
        let Admitted { batches, report } = admission.admit(request, located, &mut labels, &window)?;
        let kept = report.samples_written + report.histograms_written + report.exemplars_written;
        // Without rows it is a barrier: what was a duplicate may be of a request not yet acknowledged.
        let ack = (kept > 0 || !batches.is_empty()).then(|| self.storage.append_in(generation, room, batches));
        self.metrics.series.set(i64::try_from(admission.series()).unwrap_or(i64::MAX));
        drop(admission);
        self.pool.put(buffers);
        Ok((report, ages, ack))
    }

    /// Makes admission anew if storage refused what it had admitted: then it takes for written what is not.
    fn look_again(self: &Arc<Self>) {
        let stale = || self.admission.lock().generation != self.storage.generation();
        if !stale() || self.looking.swap(true, Ordering::AcqRel) {
            return;
        }
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                let window = inner.window();
                let looked = restore::admission(&inner.storage, inner.limits, Arc::clone(&inner.rules), &window).await;
                match looked {
                    Ok(admission) => {
                        *inner.admission.lock() = admission;
                        break tracing::info!("storage takes appends again; what is kept was looked up");
                    }
                    Err(error) if inner.storage.healthy().is_ok() => {
                        tracing::debug!(%error, "what is kept cannot be looked up yet");
                        tokio::time::sleep(LOOK_EVERY).await;
                    }
                    // Storage is closing, or takes no writes until a restart.
                    Err(_) => break,
                }
            }
            inner.looking.store(false, Ordering::Release);
        });
    }

    fn window(&self) -> Window {
        let mut steady = self.steady.lock();
        let clock_ms = self.clock.now_ms();
        Window::between(clock_ms, steady.at(clock_ms), &self.limits)
    }

    /// Begins with a request. Says whose turn it is, if all of it is left to another replica.
    fn begin(&self, request: Request<'_>, window: &Window, located: &mut Located) -> Option<String> {
        let (Some(elections), Some(ha)) = (&self.elections, &self.rules.ha) else {
            located.begin(0);
            return None;
        };
        let heard = self.elections(elections, |elections| elections.hear(request, window.now_ms));
        match heard {
            Heard::Taken(origin) => located.begin(origin),
            Heard::Left(elected) if !is_mixed(ha, request) => return Some(elected),
            Heard::Left(_) => {
                located.begin(0);
                self.leave_out(request, window, located);
            }
        }
        None
    }

    /// Leaves out the series of a mixed request that another replica's turn it is to send.
    fn leave_out(&self, request: Request<'_>, window: &Window, located: &mut Located) {
        if let (Some(elections), Some(ha)) = (&self.elections, &self.rules.ha)
            && is_mixed(ha, request)
        {
            located.leave_out(self.elections(elections, |elections| elections.left_out(request, window.now_ms)));
        }
    }

    fn elections<T>(&self, elections: &Mutex<Elections>, work: impl FnOnce(&mut Elections) -> T) -> T {
        let mut elections = elections.lock();
        let done = work(&mut elections);
        self.metrics.failovers.inc_by(std::mem::take(&mut elections.failovers));
        self.metrics.clusters.set(i64::try_from(elections.clusters()).unwrap_or(i64::MAX));
        done
    }
}

fn busy() -> Failure {
    Failure::overloaded("too many requests are under way, send it again a little later")
}
