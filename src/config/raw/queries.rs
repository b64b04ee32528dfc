//! Saved queries as they are written.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

/// One query.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SavedQuery {
    pub sql: Option<Spanned<String>>,
    pub promql: Option<Spanned<String>>,
    pub description: Option<String>,
    pub params: Option<BTreeMap<String, Spanned<Param>>>,
    pub schedule: Option<Spanned<Schedule>>,
}

/// When a query is asked, and who is told the answer.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    pub at: Option<Spanned<String>>,
    pub days: Option<Vec<Spanned<String>>>,
    pub days_of_month: Option<Vec<Spanned<String>>>,
    pub months: Option<Vec<Spanned<String>>>,
    pub location: Option<Spanned<String>>,
    pub receiver: Option<Spanned<String>>,
    pub parameters: Option<BTreeMap<String, Spanned<serde_json::Value>>>,
}

/// One parameter of a query.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Param {
    #[serde(rename = "type")]
    pub kind: Option<Spanned<String>>,
    pub default: Option<Spanned<serde_json::Value>>,
    pub description: Option<String>,
}
