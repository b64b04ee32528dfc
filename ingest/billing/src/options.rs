//! What a caller knows of a file that the file does not say itself.

use std::{collections::BTreeMap, ops::Range};

use serde::{Deserialize, Serialize};

use crate::{
    columns::{Text, Time},
    detect::Format,
    error::{Error, Result},
    time::micros,
};

/// What is known of a file.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Scope of the delivery, which becomes `x_Scope`.
    pub scope: String,
    /// Name of the file, which becomes `x_File`, and is in errors.
    pub file: String,
    /// Values of columns, by their name in `costs`, for rows that have none.
    pub assume: BTreeMap<String, String>,
    /// What the file is, if it is not to be found out.
    pub format: Option<Format>,
    /// Billing period of the delivery, microseconds since the epoch, for rows that have none.
    pub period_us: Option<Range<i64>>,
    /// What part of an Azure export the file is of.
    pub azure: AzurePart,
}

/// What part of an Azure export a file is of. Its manifest says so; without one, rows do as far as they can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AzurePart {
    /// Not known.
    #[default]
    Unknown,
    /// Actual costs alone: what covered usage costs is not known.
    Actual,
    /// Actual costs beside amortized ones, which have all but the purchases and refunds of commitments.
    ActualBesideAmortized,
    /// Amortized costs.
    Amortized,
}

/// Values for rows that have none, checked.
#[derive(Debug, Default)]
pub(crate) struct Assumed {
    pub currency: String,
    pub texts: Vec<(Text, String)>,
    pub times: Vec<(Time, i64)>,
}

impl Assumed {
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let mut assumed = Self::default();
        for (name, value) in &options.assume {
            if name == "BillingCurrency" {
                assumed.currency.clone_from(value);
            } else if let Some(column) = Text::ALL.iter().find(|column| column.name() == name) {
                assumed.texts.push((*column, value.clone()));
            } else if let Some(column) = Time::ALL.iter().find(|column| column.name() == name) {
                let us = micros(value)
                    .ok_or_else(|| Error::invalid(format!("{name} cannot be assumed: no time. value={value}")))?;
                assumed.times.push((*column, us));
            } else {
                return Err(Error::invalid(format!(
                    "{name} cannot be assumed: only BillingCurrency, times and texts of FOCUS can, as FOCUS spells them"
                )));
            }
        }
        if let Some(period) = &options.period_us {
            for (column, us) in [(Time::BillingPeriodStart, period.start), (Time::BillingPeriodEnd, period.end)] {
                if !assumed.times.iter().any(|(known, _)| *known == column) {
                    assumed.times.push((column, us));
                }
            }
        }
        Ok(assumed)
    }
}
