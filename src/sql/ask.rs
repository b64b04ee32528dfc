//! Asks a running server, or a data folder, and can be stopped.
//!
//! Called by `shell`. Rows come in batches of Arrow from either, so that everything else is the same for both. Invariant: a question that
//! is stopped is ended where it is answered: a server ends the query of a client that goes away, and here the stream is dropped.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use arrow::{array::RecordBatch, datatypes::SchemaRef, ipc::reader::StreamReader};
use futures::TryStreamExt;
use parking_lot::Mutex;
use query::Answer;
use serde::Deserialize;
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

use super::{ANSWER_BYTES_MAX, Way, layout::Grid, statement};
use crate::{cli, client::Refused};

/// How often a question to a folder looks whether it is stopped.
const LOOK: Duration = Duration::from_millis(50);
/// What becomes of a question that is stopped.
const STOPPED: &str = "stopped";
/// Longest list of saved queries.
const QUERIES_BYTES_MAX: u64 = 16 << 20;

/// Whether the question under way is to stop, and what stops it.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    is_asked: Arc<AtomicBool>,
    /// What speaks to the server; connections are kept between questions.
    agent: Arc<Mutex<Option<ureq::Agent>>>,
}

impl Stop {
    /// Whatever was stopped is over.
    pub(super) fn begin(&self) {
        self.is_asked.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::Relaxed)
    }

    fn ask(&self) {
        self.is_asked.store(true, Ordering::Relaxed);
        // Closes the connection at once; the next question makes another.
        if let Some(agent) = self.agent.lock().take() {
            agent.shutdown();
        }
    }

    async fn asked(&self) {
        while !self.is_asked() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Whom questions are asked.
pub(super) struct Asker {
    way: Way,
    runtime: Runtime,
    stop: Stop,
}

/// The answer to a question.
pub(super) struct Rows<'a> {
    pub(super) schema: SchemaRef,
    pub(super) batches: Box<dyn Iterator<Item = Result<RecordBatch>> + 'a>,
}

impl Asker {
    /// Asks whom the command line names.
    ///
    /// # Errors
    /// If the system gives no threads.
    pub(super) fn new(way: Way) -> Result<Self> {
        Ok(Self { way, runtime: cli::runtime()?, stop: Stop::default() })
    }

    /// From now on Ctrl-C ends a question, and not the program.
    ///
    /// # Errors
    /// If the system does not hand over the signal.
    pub(super) fn stop_at_ctrl_c(&self) -> Result<Stop> {
        let stop = self.stop.clone();
        let _within = self.runtime.enter();
        // Taken over now and not when the task begins: the line editor puts back after each line what it found before it.
        let mut interrupts = signal(SignalKind::interrupt()).context("Ctrl-C cannot be taken over")?;
        self.runtime.spawn(async move {
            while interrupts.recv().await.is_some() {
                stop.ask();
            }
        });
        Ok(self.stop.clone())
    }

    /// Asks in SQL.
    ///
    /// # Errors
    /// Why there is no answer; what the server said, in its words.
    pub(super) fn sql(&self, statement: &str) -> Result<Rows<'_>> {
        if self.way.folder.is_given() {
            return self.read(statement);
        }
        let agent = self.agent()?;
        let question = serde_json::json!({"query": statement, "format": "arrow"});
        let request = self.way.client.post_by(&agent, "/api/v1/sql")?.header("Content-Type", "application/json");
        self.rows(request.send(question.to_string()))
    }

    /// Asks a saved query.
    ///
    /// # Errors
    /// Why there is no answer; what the server said, in its words.
    pub(super) fn saved(&self, name: &str, params: &[(String, String)]) -> Result<Rows<'_>> {
        self.is_of_a_server()?;
        let mut path = String::from("/api/v1/sql/");
        path.extend(percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC));
        let mut said = form_urlencoded::Serializer::new(String::new());
        said.extend_pairs(params).append_pair("format", "arrow");
        let agent = self.agent()?;
        self.rows(self.way.client.get_by(&agent, &format!("{path}?{}", said.finish()))?.call())
    }

    /// Saved queries: their names, parameters, and what they are about.
    ///
    /// # Errors
    /// Why there is no answer; what the server said, in its words.
    pub(super) fn queries(&self) -> Result<Grid> {
        self.is_of_a_server()?;
        let agent = self.agent()?;
        let body = self.way.client.answered(self.way.client.get_by(&agent, "/api/v1/sql")?.call())?;
        let body = body.into_with_config().limit(QUERIES_BYTES_MAX).reader();
        let list: List = serde_json::from_reader(body).context("the answer is no list of saved queries")?;
        let mut grid = Grid::named([("name", false), ("parameters", false), ("description", false)]);
        for query in list.data {
            let params: Vec<String> = query.params.iter().map(Param::shown).collect();
            grid.row(vec![Some(query.name), Some(params.join(", ")), Some(query.description)]);
        }
        Ok(grid)
    }

    fn is_of_a_server(&self) -> Result<()> {
        ensure!(!self.way.folder.is_given(), "a data folder has no saved queries; ask its server (without --data-dir)");
        Ok(())
    }

    fn agent(&self) -> Result<ureq::Agent> {
        let mut kept = self.stop.agent.lock();
        // Whoever stops says so before the agent is taken away.
        ensure!(!self.stop.is_asked(), STOPPED);
        if let Some(agent) = &*kept {
            return Ok(agent.clone());
        }
        let agent = self.way.client.agent()?;
        *kept = Some(agent.clone());
        Ok(agent)
    }

    fn rows(&self, sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Rows<'_>> {
        let body = self.way.client.answered(sent)?.into_with_config().limit(ANSWER_BYTES_MAX).reader();
        let reader = StreamReader::try_new(body, None).context("the server's answer is no Arrow stream")?;
        let schema = reader.schema();
        let batches = reader.map(|batch| batch.context("the answer broke off"));
        Ok(Rows { schema, batches: Box::new(batches) })
    }

    fn read(&self, statement: &str) -> Result<Rows<'_>> {
        let answer = async { anyhow::Ok(self.way.folder.engine().await?.sql(statement).await?) };
        let Answer { schema, mut stream } = self.unless_stopped(answer)?;
        let mut next = move || self.unless_stopped(async { Ok(stream.try_next().await.map_err(query::Error::from)?) });
        let batches = std::iter::from_fn(move || next().transpose());
        Ok(Rows { schema, batches: Box::new(batches) })
    }

    fn unless_stopped<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.runtime.block_on(async {
            tokio::select! {
                done = work => done,
                () = self.stop.asked() => Err(anyhow!(STOPPED)),
            }
        })
    }

    /// Secrets that the questions carry.
    pub(super) fn secrets(&self) -> Vec<String> {
        // One that cannot be read is in no question.
        self.way.client.token().ok().flatten().into_iter().collect()
    }
}

/// Where in a statement an error is: line and column, from 1.
fn place(error: &anyhow::Error) -> Option<(u64, u64)> {
    if let Some(refused) = error.downcast_ref::<Refused>() {
        return refused.place;
    }
    error.downcast_ref::<query::Error>()?.position.map(|at| (at.line, at.column))
}

/// An error of a statement, with its place under it.
pub(super) fn told_of(error: &anyhow::Error, statement: &str) -> String {
    match place(error).and_then(|(line, column)| statement::marked(statement, line, column)) {
        Some(marked) => format!("{}\n{marked}", reason(error)),
        None => reason(error),
    }
}

/// An error in one line. Causes of a query's error are in its message already.
pub(super) fn reason(error: &anyhow::Error) -> String {
    match error.downcast_ref::<query::Error>() {
        Some(error) => error.to_string(),
        None => format!("{error:#}"),
    }
}

/// What `GET /api/v1/sql` says.
#[derive(Deserialize)]
struct List {
    data: Vec<Saved>,
}

#[derive(Deserialize)]
struct Saved {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    params: Vec<Param>,
}

#[derive(Deserialize)]
struct Param {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    default: serde_json::Value,
}

impl Param {
    /// `team text`, `most integer = 10`.
    fn shown(&self) -> String {
        let Self { name, kind, default } = self;
        match default {
            serde_json::Value::Null => format!("{name} {kind}"),
            serde_json::Value::String(default) => format!("{name} {kind} = {default}"),
            default => format!("{name} {kind} = {default}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saved_queries_are_told_with_what_they_take() {
        let text = r#"{"status":"success","data":[{"name":"by_job","language":"sql","description":"Of a job.","params":[
            {"name":"job","type":"text","default":"test","description":""},{"name":"most","type":"integer","default":10},
            {"name":"day","type":"date","default":null}]},{"name":"load"}]}"#;
        let list: List = serde_json::from_str(text).unwrap();
        let shown: Vec<Vec<String>> =
            list.data.iter().map(|query| query.params.iter().map(Param::shown).collect()).collect();
        assert_eq!(shown, [vec!["job text = test", "most integer = 10", "day date"], vec![]]);
    }

    #[test]
    fn an_error_of_a_server_keeps_its_place() {
        let body =
            r#"{"status":"error","errorType":"bad_data","error":"no such column","position":{"line":2,"column":7}}"#;
        let error = crate::client::refused(400, body.as_bytes());
        assert_eq!((place(&error), reason(&error)), (Some((2, 7)), "no such column status=400".to_owned()));
        assert_eq!(place(&crate::client::refused(500, &b"nothing"[..])), None);
        assert_eq!(place(&anyhow!("other")), None);
    }

    #[test]
    fn what_is_stopped_begins_anew() {
        let stop = Stop::default();
        *stop.agent.lock() = Some(ureq::agent());
        assert!(!stop.is_asked());
        stop.ask();
        assert!(stop.is_asked() && stop.agent.lock().is_none());
        stop.begin();
        assert!(!stop.is_asked());
    }
}
