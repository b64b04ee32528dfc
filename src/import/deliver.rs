//! Sends requests to a server, several at once, and again when it was too busy or not there.
//!
//! Called by [`Sink`](super::sink::Sink). Two requests that have a series in common are never under way together, so the samples of a
//! series arrive in their order. Invariants: as many requests wait as are under way, no more; a request is answered, or the import
//! ends with the reason. What was refused is an answer: a request that is sent again unchanged is refused again. Nothing counts as
//! written unless the answer says how much was, as every server of remote write 2.0 does: whatever else answers with success (an older
//! server, a proxy, a page for people) has stored nothing.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use storage::Clock;
use ureq::http::HeaderMap;

use super::encode::Counts;
use crate::client;

/// Longest time to wait for an answer. A server that syncs to a slow disk answers in seconds.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(120);
/// First pause after a failure; it doubles with each.
const PAUSE_MS_MIN: u64 = 500;
/// Longest pause, also of those a server asks for.
const PAUSE_MS_MAX: u64 = 30_000;
/// So long a request is tried. A server that is started anew and reads its log back is there again by then.
const TRY_US_MAX: i64 = 15 * 60 * 1_000_000;
/// Longest text of an answer that is read.
const TEXT_BYTES_MAX: u64 = 64 << 10;
/// What is to be done about a server that leaves a request to another replica.
const REPLICA: &str = "the server takes these samples from another replica of an HA pair: what is imported carries the label of \
                       its replica and takes part in their election; take that label off with --drop-label NAME, the name that \
                       the server's setting remote_write.ha.replica_label has";
/// How often the sender of a wait is told that time goes by.
const TICK: Duration = Duration::from_millis(200);

/// Where requests go.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) agent: ureq::Agent,
    /// Address without who asks.
    pub(super) base: String,
    /// Who asks, as a header has it.
    pub(super) authorization: Option<String>,
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Event {
    /// It was answered; what was in it, what was written of that, and what the server said if that is not all.
    Answered { number: u64, sent: Counts, written: Counts, said: Option<String> },
    /// It is going to be sent again.
    Again { reason: String, pause_ms: u64 },
    /// It cannot be sent, nor can any other.
    Failed(anyhow::Error),
}

struct Job {
    number: u64,
    message: Vec<u8>,
    counts: Counts,
}

/// Requests under way.
pub(super) struct Deliver {
    jobs: Option<SyncSender<Job>>,
    events: Receiver<Event>,
    workers: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    under_way: Vec<(u64, Vec<u64>)>,
    at_once: usize,
    next: u64,
}

impl Deliver {
    /// Starts so many threads that send.
    ///
    /// # Errors
    /// If the system gives no threads.
    pub(super) fn start(target: &Target, at_once: usize, clock: &Clock) -> Result<Self> {
        let (jobs, taken) = mpsc::sync_channel::<Job>(at_once);
        let (events, received) = mpsc::sync_channel(at_once * 4);
        let (taken, stop) = (Arc::new(Mutex::new(taken)), Arc::new(AtomicBool::new(false)));
        let mut workers = Vec::with_capacity(at_once);
        for _ in 0..at_once {
            let (taken, events) = (Arc::clone(&taken), events.clone());
            let worker = Worker { target: target.clone(), clock: clock.clone(), stop: Arc::clone(&stop) };
            let work = move || {
                // Poisoned only if another worker panicked, and then there is nothing more to do.
                while let Some(job) = taken.lock().ok().and_then(|taken| taken.recv().ok()) {
                    if events.send(worker.send(&job, &events)).is_err() {
                        break;
                    }
                }
            };
            let started = thread::Builder::new().name("import".into()).spawn(work);
            workers.push(started.context("the system gives no thread")?);
        }
        Ok(Self { jobs: Some(jobs), events: received, workers, stop, under_way: Vec::new(), at_once, next: 0 })
    }

    /// May a request with these series go now?
    pub(super) fn may_send(&self, series: &[u64]) -> bool {
        // Both sorted.
        let clashes = |other: &Vec<u64>| series.iter().any(|one| other.binary_search(one).is_ok());
        self.under_way.len() < self.at_once && !self.under_way.iter().any(|(_, other)| clashes(other))
    }

    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Hands on a request that may go, with its series in order, and says its number.
    ///
    /// # Errors
    /// If the threads are gone.
    pub(super) fn send(&mut self, message: Vec<u8>, series: Vec<u64>, counts: Counts) -> Result<u64> {
        let number = self.next;
        self.next += 1;
        self.under_way.push((number, series));
        let job = Job { number, message, counts };
        let jobs = self.jobs.as_ref().context("sending has ended")?;
        jobs.send(job).map_err(|_| anyhow!("the threads that send are gone"))?;
        Ok(number)
    }

    /// What happens next; `None` if nothing does for a moment.
    ///
    /// # Errors
    /// If the threads are gone.
    pub(super) fn next(&mut self) -> Result<Option<Event>> {
        match self.events.recv_timeout(TICK) {
            Ok(event) => {
                if let Event::Answered { number, .. } = &event {
                    self.under_way.retain(|(other, _)| other != number);
                }
                Ok(Some(event))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(anyhow!("the threads that send are gone")),
        }
    }

    /// What has happened already.
    pub(super) fn happened(&mut self) -> Option<Event> {
        let event = self.events.try_recv().ok()?;
        if let Event::Answered { number, .. } = &event {
            self.under_way.retain(|(other, _)| other != number);
        }
        Some(event)
    }
}

impl Drop for Deliver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.jobs = None;
        // Whoever waits to tell something must not wait for us.
        while self.events.try_recv().is_ok() {}
        for worker in self.workers.drain(..) {
            while !worker.is_finished() {
                let _ = self.events.recv_timeout(Duration::from_millis(10));
            }
            let _ = worker.join();
        }
    }
}

struct Worker {
    target: Target,
    clock: Clock,
    stop: Arc<AtomicBool>,
}

/// What an attempt came to.
enum Attempt {
    Done(Event),
    Again { reason: String, after_ms: Option<u64> },
}

impl Worker {
    fn send(&self, job: &Job, events: &SyncSender<Event>) -> Event {
        let body = match snap::raw::Encoder::new().compress_vec(&job.message) {
            Ok(body) => body,
            Err(error) => return Event::Failed(anyhow!(error).context("a request cannot be compressed")),
        };
        let (begun_us, mut pause_ms) = (self.clock.now_us(), PAUSE_MS_MIN);
        loop {
            let (reason, after_ms) = match self.attempt(job, &body) {
                Attempt::Done(event) => return event,
                Attempt::Again { reason, after_ms } => (reason, after_ms),
            };
            if self.clock.now_us() - begun_us > TRY_US_MAX {
                return Event::Failed(anyhow!("{reason}; tried for {} min", TRY_US_MAX / 60_000_000));
            }
            let wait_ms = after_ms.unwrap_or(pause_ms).clamp(PAUSE_MS_MIN, PAUSE_MS_MAX);
            pause_ms = (pause_ms * 2).min(PAUSE_MS_MAX);
            // Lost if nobody has time to listen.
            let _ = events.try_send(Event::Again { reason, pause_ms: wait_ms });
            let until_us = self.clock.now_us().saturating_add(i64::try_from(wait_ms * 1000).unwrap_or(i64::MAX));
            while self.clock.now_us() < until_us {
                if self.stop.load(Ordering::Relaxed) {
                    return Event::Failed(anyhow!("stopped"));
                }
                thread::sleep(Duration::from_millis(wait_ms.min(50)));
            }
        }
    }

    fn attempt(&self, job: &Job, body: &[u8]) -> Attempt {
        let base = &self.target.base;
        let mut request = self
            .target
            .agent
            .post(format!("{base}/api/v1/write"))
            .header("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")
            .header("Content-Encoding", "snappy")
            .header("X-Prometheus-Remote-Write-Version", "2.0.0");
        if let Some(authorization) = &self.target.authorization {
            request = request.header("Authorization", authorization);
        }
        let sent = request.config().timeout_global(Some(ANSWER_TIME_MAX)).build().send(body);
        let response = match sent {
            Ok(response) => response,
            Err(error) => {
                return Attempt::Again { reason: format!("no answer from {base}: {error}"), after_ms: None };
            }
        };
        let (head, body) = response.into_parts();
        let status = head.status.as_u16();
        let refused = client::refused(status, std::io::Read::take(body.into_reader(), TEXT_BYTES_MAX));
        match status {
            429 | 500..=599 => Attempt::Again {
                reason: format!("{refused:#}"),
                after_ms: number(&head.headers, "Retry-After").map(|seconds| seconds.saturating_mul(1000)),
            },
            202 => Attempt::Done(Event::Failed(refused.context(REPLICA))),
            200 | 204 | 400 => Attempt::Done(match answered(job, status, &head.headers, &refused) {
                Ok(event) => event,
                Err(error) => Event::Failed(error.context(format!("{base} did not take a request"))),
            }),
            _ => Attempt::Done(Event::Failed(refused.context(format!("{base} takes no requests")))),
        }
    }
}

/// What an answer says, if it is one of remote write 2.0.
fn answered(job: &Job, status: u16, headers: &HeaderMap, refused: &anyhow::Error) -> Result<Event> {
    let header = |kind: &str| number(headers, &format!("X-Prometheus-Remote-Write-{kind}-Written"));
    let written = match (header("Samples"), header("Histograms"), header("Exemplars")) {
        (Some(samples), Some(histograms), Some(exemplars)) => Counts { samples, histograms, exemplars },
        _ => bail!("no remote write 2.0 there: the answer does not say how much was written; it says: {refused:#}"),
    };
    let sent = job.counts;
    let pairs =
        [(written.samples, sent.samples), (written.histograms, sent.histograms), (written.exemplars, sent.exemplars)];
    let believed = if status == 400 { pairs.iter().all(|(a, b)| a <= b) } else { written == sent };
    ensure!(
        believed,
        "the answer does not fit what was sent: is something between us and the server? status={status} sent={sent:?} \
         written={written:?}"
    );
    let said = (status == 400).then(|| format!("{refused:#}"));
    Ok(Event::Answered { number: job.number, sent, written, said })
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}
