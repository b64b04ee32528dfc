//! The `upkeep` command: merges, drops and deletes now what the server would in its own time.
//!
//! Called by `cli`. Asks a running server, or opens a data folder that no server has. Says what it does as it goes.

use std::{
    io::{self, BufRead, BufReader, IsTerminal, Write},
    path::PathBuf,
};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use prometheus::Registry;
use serde_json::Value;

use crate::{
    app, cli,
    client::Client,
    config::{Config, Overrides},
    retention,
};

/// Options of `streamgauge upkeep`.
#[derive(Debug, Args)]
pub struct Upkeep {
    /// Do all there is to do and end; a running server does it by itself all the time.
    #[arg(long, required = true)]
    once: bool,
    /// Work on this data folder, which no server may be using, instead of asking a server.
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    data_dir: Option<PathBuf>,
    /// Settings for the data folder (tenant, retention and its rules).
    #[arg(long, value_name = "FILE", requires = "data_dir")]
    config: Option<PathBuf>,
    #[command(flatten)]
    client: Client,
}

impl Upkeep {
    /// Does the work; one line a step on stderr, what it came to on stdout.
    ///
    /// # Errors
    /// Why it could not be done.
    pub fn run(self) -> Result<()> {
        match &self.data_dir {
            Some(data_dir) => {
                let overrides = Overrides { data_dir: Some(data_dir.clone()), ..Overrides::default() };
                cli::runtime()?.block_on(own(Config::load(self.config.as_deref(), overrides)?))
            }
            None => self.ask(),
        }
    }

    fn ask(&self) -> Result<()> {
        let sent = self.client.post("/api/v1/admin/compact?wait=true")?.send_empty();
        let body = self.client.answered(sent)?;
        let mut ended = None;
        for line in BufReader::new(body.into_reader()).lines() {
            let line: Value =
                serde_json::from_str(&line.context("the answer broke off")?).context("no answer of ours")?;
            match line.get("status").and_then(Value::as_str) {
                Some("success") => ended = line.get("data").cloned(),
                Some(_) => {
                    let reason = line.get("error").and_then(Value::as_str).unwrap_or("it does not say why");
                    return Err(anyhow!("the server could not finish: {reason}"));
                }
                None => tell(&line)?,
            }
        }
        report(&ended.context("the answer broke off before the end: the server may have stopped; run it again")?)
    }
}

/// Opens the folder as a server would, without one.
async fn own(config: Config) -> Result<()> {
    let data_dir = &config.storage.data_dir;
    ensure!(data_dir.join("streamgauge.json").exists(), "this is not a data folder data_dir={}", data_dir.display());
    let registry = Registry::new();
    let (storage, clock) = app::alone(config.storage, &registry).await?;
    if !config.retention_rules.is_empty() {
        // Finding series puts nothing on disk.
        let limits = query::Config { spill_dir: None, ..config.query };
        retention::apply(&config.retention_rules, &app::engine(limits, &storage, clock, &registry)?, &storage);
    }
    storage.flush().await.context("recent rows cannot be committed")?;
    let done = storage
        .compact(|step| {
            // Progress that nobody can be told is no reason to stop.
            let _ = serde_json::to_value(step).map_err(Into::into).and_then(|step| tell(&step));
        })
        .await;
    storage.close().await?;
    report(&serde_json::to_value(done?)?)
}

/// One step, for people.
fn tell(step: &Value) -> Result<()> {
    let text = |name: &str| step.get(name).and_then(Value::as_str).unwrap_or_default();
    let count = |name: &str| step.get(name).and_then(Value::as_u64).unwrap_or_default();
    let mut out = io::stderr().lock();
    writeln!(
        out,
        "{} {} {}: {} files into {}, {} left",
        text("work"),
        text("dataset"),
        text("partition"),
        count("files_removed"),
        count("files_added"),
        count("files_left")
    )?;
    Ok(())
}

/// What it came to: for people on a terminal, else as JSON.
fn report(done: &Value) -> Result<()> {
    let count = |name: &str| done.get(name).and_then(Value::as_u64).unwrap_or_default();
    let mut out = io::stdout().lock();
    if !out.is_terminal() {
        return Ok(writeln!(out, "{done}")?);
    }
    writeln!(
        out,
        "{} merges: {} files ({} bytes) became {} ({} bytes); {} rows past their rule gone, {} partitions dropped, {} files \
         deleted",
        count("merges"),
        count("files_removed"),
        count("bytes_removed"),
        count("files_added"),
        count("bytes_added"),
        count("rows_trimmed"),
        count("dropped"),
        count("files_deleted")
    )?;
    Ok(())
}
