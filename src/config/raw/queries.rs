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
