//! A data folder that is asked by a command instead of a server.
//!
//! Called by `sql` and `promql`. Invariant: the folder is only read, whether or not a server runs on it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use prometheus::Registry;
use query::{Catalog, Engine};
use schemas::Dataset;
use storage::View;

use crate::{
    app,
    config::{Config, Overrides},
};

/// Which folder, if one is asked.
#[derive(Debug, Args)]
pub struct Folder {
    /// Read this data folder instead of asking a server.
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    data_dir: Option<PathBuf>,
    /// Settings for reading a data folder: those of its server, if its tables are in a bucket (tenant, memory, limits).
    #[arg(long, value_name = "FILE", requires = "data_dir")]
    config: Option<PathBuf>,
}

impl Folder {
    /// Is a folder asked, and no server?
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.data_dir.is_some()
    }

    /// The folder, if one is asked.
    #[must_use]
    pub fn data_dir(&self) -> Option<&Path> {
        self.data_dir.as_deref()
    }

    /// The settings that the folder is read with.
    ///
    /// # Errors
    /// If they are wrong, or no folder is named.
    pub fn settings(&self) -> Result<Config> {
        let data_dir = self.data_dir.clone().context("no data folder is named")?;
        Config::load(self.config.as_deref(), Overrides { data_dir: Some(data_dir), ..Overrides::default() })
    }

    /// What answers questions about the folder as it is now.
    ///
    /// # Errors
    /// If settings or folder cannot be read.
    pub async fn engine(&self) -> Result<Engine> {
        let config = self.settings()?;
        let data_dir = config.storage.data_dir.clone();
        let datasets = schemas::all();
        let (store, views) = storage::open_read_only(&config.storage, datasets.clone(), &app::env())
            .await
            .with_context(|| format!("the data folder cannot be read data_dir={}", data_dir.display()))?;
        let view = move |dataset: &&'static Dataset| {
            let found = views.iter().find(|view| view.dataset.name == dataset.name);
            found.map_or_else(|| Arc::new(View::empty(dataset)), Arc::clone)
        };
        let views = Arc::new(move |datasets: &[&'static Dataset]| datasets.iter().map(&view).collect());
        let catalog = Catalog { store, datasets, views };
        // Without a folder to spill to, because this one is only read.
        let limits = query::Config { spill_dir: None, ..config.query };
        Ok(Engine::new(limits, catalog, app::env().clock, &Registry::new())?)
    }
}

/// An error of a query with its place. Its causes are in its message already.
pub fn told(error: query::Error) -> anyhow::Error {
    match error.position {
        Some(at) => anyhow!("{error} line={} column={}", at.line, at.column),
        None => anyhow!("{error}"),
    }
}
