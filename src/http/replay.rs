//! `POST /api/v1/rules/backtest` and `POST /api/v1/rules/replay`: what rules would have done.
//!
//! Merged by `alerting`. A backtest takes files that are not in force and writes nothing. A replay takes the rules in force, or some of
//! them, and writes changes of alerts into `alerts` under the name of its run. An answer is lines of JSON: how far it is, each firing, and
//! at the end all that came of it. One at a time; whoever hangs up ends it.

use std::{sync::Arc, time::Duration};

use alerting::replay::Replayed;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use futures::stream;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tracing::info;

use super::refusal;
use crate::{
    app,
    glue::{
        replay::{self, Asked, Ended, File, News, Routing},
        service::Service,
    },
    times,
};

/// Longest body of a backtest: files with rules, of which the largest that was seen has 1.2 MB.
const BODY_BYTES_MAX: usize = 32 << 20;
/// Longest body that says which rules in force: names of groups and rules.
const OF_RUN_BYTES_MAX: usize = 1 << 20;
/// Lines that wait for whoever reads them.
const LINES_MAX: usize = 64;
/// How long somebody may take nothing of an answer.
const TAKES_MAX: Duration = Duration::from_secs(60);
/// Longest name of a run.
const RUN_BYTES_MAX: usize = 100;

/// A backtest as it is asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backtest {
    /// From when on: RFC 3339, or seconds since 1970.
    pub from: String,
    /// Until when, and without it.
    pub to: String,
    /// Files with rules.
    pub files: Vec<File>,
    /// Are fields that are not known passed over?
    #[serde(default)]
    pub ignore_unknown_fields: bool,
}

/// A replay as it is asked for.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OfRun {
    /// From when on: RFC 3339, or seconds since 1970.
    pub from: String,
    /// Until when, and without it.
    pub to: String,
    /// Only groups of these names; none said are all.
    pub groups: Vec<String>,
    /// Only rules of these names.
    pub rules: Vec<String>,
    /// Name of the run; one is made if none is said.
    pub run: String,
}

/// What the endpoints work on.
#[derive(Clone)]
struct Replays {
    service: Service,
    /// One at a time: it asks as much as a person with many dashboards.
    turn: Arc<Semaphore>,
}

/// Routes of backtests and replays.
pub fn router(service: Service) -> Router {
    Router::new()
        .route("/api/v1/rules/backtest", post(backtest))
        .route("/api/v1/rules/replay", post(of_run).layer(DefaultBodyLimit::max(OF_RUN_BYTES_MAX)))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Replays { service, turn: Arc::new(Semaphore::new(1)) })
}

type Refusal = Box<Response>;

fn bad(reason: impl Into<String>) -> Refusal {
    Box::new(refusal(StatusCode::BAD_REQUEST, "bad_data", reason))
}

fn read<T: for<'a> Deserialize<'a>>(body: Result<Bytes, BytesRejection>) -> Result<T, Refusal> {
    let body = body.map_err(|error| bad(error.body_text()))?;
    serde_json::from_slice(&body).map_err(|error| bad(format!("the body is not what is asked for: {error}")))
}

fn ms(name: &str, text: &str) -> Result<i64, Refusal> {
    times::parse(text).map_err(|reason| bad(format!("invalid {name:?}: {reason}")))
}

async fn backtest(State(replays): State<Replays>, body: Result<Bytes, BytesRejection>) -> Response {
    let turn = match replays.turn() {
        Ok(turn) => turn,
        Err(refused) => return *refused,
    };
    let reading = replays.clone();
    // Rules of the longest body take a while to read. The turn goes along: they are read on if whoever asked hangs up.
    let work = move || (reading.backtest(body), turn);
    match tokio::task::spawn_blocking(work).await {
        Ok((Ok(asked), turn)) => replays.begin(asked, None, turn),
        Ok((Err(refused), _)) => *refused,
        Err(_) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal", "a defect of the server"),
    }
}

async fn of_run(State(replays): State<Replays>, body: Result<Bytes, BytesRejection>) -> Response {
    let turn = match replays.turn() {
        Ok(turn) => turn,
        Err(refused) => return *refused,
    };
    match replays.of_run(body).await {
        Ok((asked, run)) => replays.begin(asked, Some(run), turn),
        Err(refused) => *refused,
    }
}

impl Replays {
    fn asked(&self, groups: Vec<Replayed>, (from_ms, to_ms): (i64, i64)) -> Asked {
        let parts = self.service.rules().parts();
        Asked {
            groups,
            from_ms,
            to_ms,
            query_offset_ms: parts.settings.query_offset_ms,
            external_labels: parts.settings.external_labels.clone(),
            external_url: parts.external_url.clone(),
        }
    }

    /// The turn, if nobody else has it.
    fn turn(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        Arc::clone(&self.turn).try_acquire_owned().map_err(|_| {
            let reason = "rules are being replayed already, one replay at a time: ask again when it has ended";
            Box::new(refusal(StatusCode::TOO_MANY_REQUESTS, "unavailable", reason))
        })
    }

    /// What is replayed of rules that are not in force. Blocks as long as it takes to read them.
    fn backtest(&self, body: Result<Bytes, BytesRejection>) -> Result<Asked, Refusal> {
        let Backtest { from, to, files, ignore_unknown_fields } = read(body)?;
        let interval_ms = self.service.rules().parts().settings.evaluation_interval_ms;
        let groups = replay::groups(&files, ignore_unknown_fields, interval_ms).map_err(bad)?;
        Ok(self.asked(groups, (ms("from", &from)?, ms("to", &to)?)))
    }

    /// What is replayed of the rules in force, and under which name.
    async fn of_run(&self, body: Result<Bytes, BytesRejection>) -> Result<(Asked, Arc<str>), Refusal> {
        let OfRun { from, to, groups, rules, run } = read(body)?;
        let times_ms = (ms("from", &from)?, ms("to", &to)?);
        let is_in = |names: &[String], name: &str| names.is_empty() || names.iter().any(|of| of == name);
        let mut replayed = Vec::new();
        for mut shown in self.service.rules().shown(false) {
            shown.group.rules.retain(|rule| is_in(&rules, rule.name()));
            if is_in(&groups, &shown.group.name) && !shown.group.rules.is_empty() {
                let (file, group, interval_ms) = (shown.file, shown.group, shown.interval_ms);
                replayed.push(Replayed { file, group, interval_ms });
            }
        }
        if replayed.is_empty() {
            return Err(bad("no rule in force has such a name: `/api/v1/rules` lists them"));
        }
        let run = if run.is_empty() { self.new_name() } else { run };
        if run.len() > RUN_BYTES_MAX || run.chars().any(char::is_control) {
            return Err(bad(format!("the name of a run is a line of at most {RUN_BYTES_MAX} bytes")));
        }
        let known = format!("SELECT 1 AS n FROM alerts WHERE run = '{}' LIMIT 1", run.replace('\'', "''"));
        let engine = &self.service.rules().parts().engine;
        let known = async { engine.sql(&known).await?.collect().await }.await;
        if known.map_err(|error| Box::new(query::failure(&error)))?.iter().any(|rows| rows.num_rows() > 0) {
            let reason = format!("there is a run of this name already: choose another run={run:?}");
            return Err(Box::new(refusal(StatusCode::CONFLICT, "bad_data", reason)));
        }
        Ok((self.asked(replayed, times_ms), run.into()))
    }

    /// A name by the time, and a number, as two may begin in the same second.
    fn new_name(&self) -> String {
        let now = chrono::DateTime::from_timestamp_millis(self.service.rules().parts().clock.now_ms());
        let random = app::env().random.bits() & 0xffff;
        format!("replay-{}-{random:04x}", now.unwrap_or_default().format("%Y%m%dT%H%M%SZ"))
    }

    /// Begins; the answer comes line by line.
    fn begin(&self, asked: Asked, run: Option<Arc<str>>, turn: OwnedSemaphorePermit) -> Response {
        if let Err(error) = asked.check() {
            return *bad(error.to_string());
        }
        let (lines, receiver) = mpsc::channel(LINES_MAX);
        let (service, handle) = (self.service.clone(), Handle::current());
        tokio::task::spawn_blocking(move || work(&service, &handle, (&asked, run), &lines, turn));
        let body = stream::unfold(receiver, |mut receiver| async {
            let line: Bytes = receiver.recv().await?;
            Some((Ok::<_, std::convert::Infallible>(line), receiver))
        });
        let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"))];
        (kind, Body::from_stream(body)).into_response()
    }
}

/// Replays on its own thread, and sends what is told.
fn work(
    service: &Service,
    handle: &Handle,
    (asked, run): (&Asked, Option<Arc<str>>),
    lines: &mpsc::Sender<Bytes>,
    turn: OwnedSemaphorePermit,
) {
    let parts = service.rules().parts();
    let routing = service.manager().look(|look| Routing {
        plan: alerting::alertmanager::Plan::clone(look.plan()),
        silences: look.silences().map(|silence| alerting::silence::Silence::clone(silence)).collect(),
    });
    let run = run.map(|name| replay::Run { name, rules: service.rules(), record: Arc::clone(&parts.record) });
    let mut tell = |news: News| {
        let line: Bytes = format!("{}\n", json!(news)).into();
        handle.block_on(async { matches!(tokio::time::timeout(TAKES_MAX, lines.send(line)).await, Ok(Ok(()))) })
    };
    info!(groups = asked.groups.len(), run = run.as_ref().map(|run| &*run.name), "rules are replayed");
    let done = replay::replay((&parts.engine, handle), asked, Some(routing), run.as_ref(), &mut tell);
    info!(is_done = done.is_ok(), run = run.as_ref().map(|run| &*run.name), "the replay of rules has ended");
    tell(match done {
        Ok(ended) => News::Ended(Box::<Ended>::new(ended)),
        Err(error) => News::Failed(error.to_string()),
    });
    drop(turn);
}
