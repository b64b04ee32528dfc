//! The `billing` command: keeps the books of bills that are loaded.
//!
//! Called by `cli`. Not here: loading new bills, which is `import billing`.

use std::io::{self, Write};

use anyhow::{Context, Result};
use chrono::NaiveDate;
use clap::{Args, Subcommand};
use ingest::billing::Told;

use crate::{books::Books, import::billing::tell};

const EXAMPLES: &str = "\
Examples:
  streamgauge billing reprocess aws-main/2026-10                  decode again what was delivered
  streamgauge billing forget aws-old/2026-10                      an export has another name now
  streamgauge billing close aws-main 2026-10                      this month is final
  streamgauge billing close saas 2026-10 --data-dir ./streamgauge-data

A month is Open until it is over, Closing until it is final, and Closed when every row has its invoice or nothing
changed for `billing.close_after`; what changes afterwards makes it Reopened. `SELECT * FROM billing_periods` shows it.";

/// Options of `streamgauge billing`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Billing {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Decode again what was delivered of a scope, from the bytes that are kept.
    Reprocess {
        /// What is replaced, as `x_Scope` in `costs` has it: EXPORT/PART.
        scope: String,
        #[command(flatten)]
        books: Books,
    },
    /// Take out what is loaded of a scope; its bytes stay in the archive.
    Forget {
        /// What is taken out, as `x_Scope` in `costs` has it: EXPORT/PART.
        scope: String,
        #[command(flatten)]
        books: Books,
    },
    /// Say that the bill of a month is final.
    Close {
        /// The export.
        export: String,
        /// The month, such as 2026-10.
        month: String,
        #[command(flatten)]
        books: Books,
    },
}

impl Billing {
    /// Does it.
    ///
    /// # Errors
    /// Why it could not be done.
    pub fn run(self) -> Result<()> {
        match self.what {
            What::Reprocess { scope, books } => reprocess(&scope, &books),
            What::Forget { scope, books } => forget(&scope, &books),
            What::Close { export, month, books } => close(&export, &month, &books),
        }
    }
}

fn reprocess(scope: &str, books: &Books) -> Result<()> {
    let told: Told = if books.are_in_folder() {
        books.in_folder(async |loads, _| Ok(loads.reprocess(scope, |_| {}).await?.told()))?
    } else {
        let (export, part) = named(scope)?;
        books.post(&[export, part, "reprocess"], "", ())?
    };
    tell(&told)
}

fn forget(scope: &str, books: &Books) -> Result<()> {
    let told: Told = if books.are_in_folder() {
        books.in_folder(async |loads, _| Ok(loads.forget(scope).await?.told()))?
    } else {
        let (export, part) = named(scope)?;
        books.delete(&[export, part, "loaded"])?
    };
    tell(&told)
}

/// The export and the part of a scope.
fn named(scope: &str) -> Result<(&str, &str)> {
    let parts = scope.split_once('/');
    parts.with_context(|| format!("a scope is EXPORT/PART, as `SELECT scope FROM billing_loads` has it scope={scope}"))
}

fn close(export: &str, month: &str, books: &Books) -> Result<()> {
    let first = NaiveDate::parse_from_str(&format!("{month}-01"), "%Y-%m-%d");
    let first = first.with_context(|| format!("no month: write it as 2026-10 month={month}"))?;
    let told: String = if books.are_in_folder() {
        books.in_folder(async |loads, _| Ok(loads.close(export, first).await?.to_string()))?
    } else {
        books.post(&[export, month, "close"], "", ())?
    };
    Ok(writeln!(io::stdout().lock(), "{told}")?)
}
