//! Where bills go: a running server, or a data folder without one.
//!
//! Called by the commands that load bills and keep their books. Invariant: nothing is done in both.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use ingest::billing::Loads;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use prometheus::Registry;
use serde::de::DeserializeOwned;
use storage::Clock;
use ureq::AsSendBody;

use crate::{
    app, cli,
    client::Client,
    config::{Config, Overrides},
};

/// Which server, or which folder.
#[derive(Debug, Args)]
pub struct Books {
    /// Work on this data folder, which no server may be using, instead of asking a server.
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    data_dir: Option<PathBuf>,
    /// Settings for the data folder.
    #[arg(long, value_name = "FILE", requires = "data_dir")]
    config: Option<PathBuf>,
    #[command(flatten)]
    client: Client,
}

impl Books {
    /// Those of a server.
    #[must_use]
    pub fn of(client: Client) -> Self {
        Self { data_dir: None, config: None, client }
    }

    /// Is a folder meant, and no server?
    #[must_use]
    pub fn are_in_folder(&self) -> bool {
        self.data_dir.is_some()
    }

    /// Works on the folder's bills; what was written is in files afterwards, whatever came of the work.
    ///
    /// # Errors
    /// If settings or folder cannot be read, or what the work says.
    pub fn in_folder<T>(&self, work: impl AsyncFnOnce(Loads, Clock) -> Result<T>) -> Result<T> {
        let overrides = Overrides { data_dir: self.data_dir.clone(), ..Overrides::default() };
        let config = Config::load(self.config.as_deref(), overrides)?;
        cli::runtime()?.block_on(async {
            let (storage, clock) = app::alone(config.storage, &Registry::new()).await?;
            let loads = Loads::open(config.billing.loads, storage.clone(), clock.clone()).await?;
            let settled = async {
                loads.settle(&config.billing.accounts).await?;
                loads.retag().await
            };
            let done = match settled.await {
                Ok(_) => work(loads, clock).await,
                Err(error) => Err(error.into()),
            };
            storage.close().await.context("what was loaded is in the log, and could not be committed yet")?;
            done
        })
    }

    /// Sends something to the server's endpoints of bills, and gives what it answers.
    ///
    /// # Errors
    /// Why there is no answer, or what the server says when it refuses.
    pub fn post<T: DeserializeOwned>(&self, path: &[&str], query: &str, body: impl AsSendBody) -> Result<T> {
        let path = format!("/api/v1/billing/{}{query}", encoded(path));
        self.answer(self.client.post(&path)?.header("Content-Type", "application/json").send(body))
    }

    /// Takes something out on the server, and gives what it answers.
    ///
    /// # Errors
    /// As [`post`](Self::post).
    pub fn delete<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T> {
        self.answer(self.client.delete(&format!("/api/v1/billing/{}", encoded(path)))?.call())
    }

    /// Puts rows of a reference table on the server, and gives what it answers.
    ///
    /// # Errors
    /// As [`post`](Self::post).
    pub fn put<T: DeserializeOwned>(&self, path: &[&str], body: impl AsSendBody) -> Result<T> {
        let path = format!("/api/v1/reference/{}", encoded(path));
        self.answer(self.client.put(&path)?.header("Content-Type", "text/csv").send(body))
    }

    fn answer<T: DeserializeOwned>(&self, sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<T> {
        #[derive(serde::Deserialize)]
        struct Answer<T> {
            data: T,
        }
        let answer: Answer<T> = self.client.answered(sent)?.read_json().context("the answer is none of ours")?;
        Ok(answer.data)
    }
}

/// Names as parts of a path; what is in them stays in them.
pub fn encoded(names: &[&str]) -> String {
    let names = names.iter().map(|name| utf8_percent_encode(name, NON_ALPHANUMERIC).to_string());
    names.collect::<Vec<_>>().join("/")
}
