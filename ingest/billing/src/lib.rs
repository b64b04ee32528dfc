//! Reads billing exports and turns each line into a row of the dataset `costs`.
//!
//! Called by loads of deliveries. Knows FOCUS, the exports of AWS, Azure, Google Cloud and Oracle Cloud, and lines written by hand, in CSV,
//! lines of JSON and Parquet, compressed with gzip or not; and the manifests that say which files a delivery has. Hands on batches of rows
//! and a report of what became of the file. Finds the mandatory tags of such rows by rules, and checks whether files that call themselves
//! FOCUS follow it.
//!
//! Invariants: money is never a float; the sum of `x_DeliveredCost` is that of the file, to the last digit that is kept, and what rounding
//! took is told; a bad row costs its neighbours nothing. Not here: where files come from, and where rows go.

mod aws;
mod azure;
mod batch;
mod check;
mod columns;
mod csv;
pub mod decimal;
mod detect;
mod error;
mod extras;
mod focus;
mod gcp;
mod json;
mod jsonl;
mod lookup;
mod manifest;
mod manual;
mod mapping;
mod nested;
mod oci;
mod options;
mod reader;
mod record;
mod report;
mod row;
mod sink;
pub mod tags;
#[cfg(test)]
mod testing;
mod time;

pub use self::{
    check::{
        Conformance, KEYS_MAX, Level, Rule, Sample, Version, Violation, check_focus, check_focus_parquet, focus_rules,
    },
    detect::{Container, Delivery, Format},
    error::{Error, ErrorKind, Result},
    manifest::{Manifest, ManifestFile, read_manifest},
    options::{AzurePart, Options},
    reader::{Reader, detect},
    report::{Counted, Finding, REJECT_TEXT_BYTES_MAX, REJECTS_MAX, Reject, Report, Totals},
    row::Adjustment,
    tags::{TagRules, Tags},
};
