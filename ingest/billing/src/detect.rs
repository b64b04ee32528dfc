//! Tells what a file is from its header.
//!
//! Called when a file is opened. Each format has columns without which it is none; a file that has all of those of one format is of it.
//! Nothing is guessed from names of files, which customers choose.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    record::Header,
};

/// Whose columns a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// FOCUS 1.0 to 1.4.
    Focus,
    /// AWS Cost and Usage Report, legacy and 2.0.
    Aws,
    /// Azure cost details of any agreement.
    Azure,
    /// Google Cloud's export to `BigQuery`, standard or detailed.
    Gcp,
    /// Oracle Cloud cost report.
    Oci,
    /// Lines written by hand.
    Manual,
}

/// How the records of a file are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// Comma-separated values.
    Csv,
    /// An object of JSON in each line.
    JsonLines,
    /// Parquet.
    Parquet,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Whose columns it has.
    pub format: Format,
    /// How they are written.
    pub container: Container,
}

impl Format {
    /// All there are, in the order in which they are tried.
    pub const ALL: [Self; 6] = [Self::Focus, Self::Aws, Self::Azure, Self::Gcp, Self::Oci, Self::Manual];

    /// Its name in settings and tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Focus => "focus",
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Gcp => "gcp",
            Self::Oci => "oci",
            Self::Manual => "manual",
        }
    }

    /// The columns without which a file is none of this format: of each of the lists one.
    fn signature(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Focus => {
                &[&["BilledCost"], &["ChargeCategory", "ChargeType"], &["ChargePeriodStart", "BillingPeriodStart"]]
            }
            Self::Aws => &[
                &["lineItem/UnblendedCost"],
                &["lineItem/LineItemType"],
                &["lineItem/UsageStartDate", "bill/BillingPeriodStartDate"],
            ],
            Self::Azure => &[
                &["CostInBillingCurrency", "PreTaxCost", "Cost"],
                &["Date", "UsageDateTime", "UsageDate"],
                &["MeterCategory", "MeterId"],
            ],
            Self::Gcp => {
                &[&["cost"], &["billing_account_id"], &["usage_start_time"], &["service.description", "service.id"]]
            }
            Self::Oci => &[&["cost/myCost"], &["lineItem/intervalUsageStart"], &["product/service"]],
            Self::Manual => &[
                &["date", "period"],
                &["provider", "vendor"],
                &["service"],
                &["description"],
                &["amount"],
                &["currency"],
            ],
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Focus => "FOCUS",
            Self::Aws => "AWS cost and usage",
            Self::Azure => "Azure cost",
            Self::Gcp => "Google Cloud billing",
            Self::Oci => "Oracle Cloud cost",
            Self::Manual => "manual",
        })
    }
}

/// The format of a header.
pub(crate) fn format(header: &Header, file: &str) -> Result<Format> {
    let lacking = |format: Format| -> Vec<&[&str]> {
        let is_there = |names: &[&str]| names.iter().any(|name| header.find(&crate::record::key(name)).is_some());
        format.signature().iter().copied().filter(|names| !is_there(names)).collect()
    };
    let by_lack = Format::ALL.into_iter().map(|format| (format, lacking(format)));
    // A manual file has nothing else, so that a table that happens to have its columns is not one.
    let manual = 6 + ["every", "until"].iter().filter(|name| header.find(name).is_some()).count();
    let by_lack = by_lack.filter(|(format, _)| *format != Format::Manual || header.names.len() == manual);
    let share = |format: Format, lack: usize| lack * 12 / format.signature().len();
    let Some((nearest, lack)) = by_lack.min_by_key(|(format, lack)| share(*format, lack.len())) else {
        return Err(Error::invalid(format!("{file} has no header")));
    };
    if lack.is_empty() {
        return Ok(nearest);
    }
    let looked_for: Vec<_> = Format::ALL
        .into_iter()
        .map(|format| {
            let names: Vec<_> = format.signature().iter().map(|names| names.join(" or ")).collect();
            format!("{format} ({})", names.join(", "))
        })
        .collect();
    let lack: Vec<_> = lack.iter().map(|names| names.join(" or ")).collect();
    let is_near = lack.len() < nearest.signature().len();
    let guess = if is_near {
        format!("it is nearest to {nearest}, but lacks {}", lack.join(", "))
    } else {
        "it is near to none".to_owned()
    };
    Err(Error::invalid(format!(
        "{file} is no billing export: {guess}; looked for columns of {}",
        looked_for.join("; ")
    )))
}
