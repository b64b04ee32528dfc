//! `import accounts`, `import rates`, `import invoices`: tables that people keep beside their bills.
//!
//! Called by the `import` command. Not here: reading them (`ingest::billing`).

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
};

use anyhow::{Context, Result};
use clap::Args;
use ingest::billing::Replaced;
use schemas::Dataset;

use crate::books::Books;

/// Options of these imports.
#[derive(Debug, Args)]
pub(super) struct Reference {
    /// File of CSV, whose header names the columns; it replaces what its source said before.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What is replaced [default: the name of the file].
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    #[command(flatten)]
    books: Books,
}

impl Reference {
    pub(super) fn run(&self, table: &'static Dataset) -> Result<()> {
        let csv = fs::read(&self.file).with_context(|| format!("{} cannot be read", self.file.display()))?;
        let stem = self.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let source = self.source.clone().unwrap_or(stem);
        let replaced: Replaced = if self.books.are_in_folder() {
            self.books.in_folder(async |loads, _| Ok(loads.replace(table.name, &source, csv.into()).await?))?
        } else {
            self.books.put(&[table.name, &source], csv.as_slice())?
        };
        let mut out = io::stdout().lock();
        writeln!(out, "{}: {} rows of source {source}", table.name, replaced.rows)?;
        if !replaced.ignored.is_empty() {
            writeln!(out, "  note: columns that are not used: {}", replaced.ignored.join(", "))?;
        }
        Ok(())
    }
}
