//! What is asked of `/api/v1/rules`, with Prometheus' parameters.
//!
//! Called by whoever has the rules. A parameter that is wrong is answered as Prometheus does, so that a client learns of its mistake.
//!
//! Spec: <https://prometheus.io/docs/prometheus/latest/querying/api/#rules>

use axum::response::Response;

use super::{
    failure,
    params::{Params, invalid},
};
use crate::{Error, Result, Selector};

/// Rules that are asked for; an empty list is all.
#[derive(Debug, Clone, Default)]
pub struct RulesAsked {
    /// `alert` or `record`.
    pub kind: Option<String>,
    /// Names of rules.
    pub names: Vec<String>,
    /// Names of groups.
    pub groups: Vec<String>,
    /// Files.
    pub files: Vec<String>,
    /// Selectors of labels of rules.
    pub selectors: Vec<Selector>,
    /// Are alerts left out?
    pub exclude_alerts: bool,
    /// Groups at once.
    pub limit: Option<usize>,
    /// From which group on.
    pub token: Option<String>,
}

impl RulesAsked {
    /// Of a request's query.
    ///
    /// # Errors
    /// The answer to what is wrong.
    pub fn of_url(url: Option<&str>) -> Result<Self, Box<Response>> {
        read(&Params::of_url(url)).map_err(|error| Box::new(failure(&error.at(None))))
    }
}

/// The answer to a token of no group.
#[must_use]
pub fn no_such_group(token: &str) -> Response {
    let what = format!("invalid group_next_token '{token}'. were rule groups changed?");
    failure(&invalid("group_next_token", &what).at(None))
}

fn read(params: &Params) -> Result<RulesAsked> {
    let selectors = params.selectors()?;
    let kind = params.get("type").unwrap_or_default().to_lowercase();
    if !["", "alert", "record"].contains(&kind.as_str()) {
        return Err(invalid("type", &format!("not supported value {kind:?}")));
    }
    let exclude_alerts = params.get("exclude_alerts").map(str::to_lowercase);
    if let Some(text) = &exclude_alerts
        && !["1", "t", "true", "0", "f", "false"].contains(&text.as_str())
    {
        let what = format!("error converting exclude_alerts: strconv.ParseBool: parsing {text:?}: invalid syntax");
        return Err(invalid("exclude_alerts", &what));
    }
    let token = params.get("group_next_token");
    let limit = match params.get("group_limit") {
        None if token.is_some() => {
            let needed = "group_limit needs to be present in order to paginate over the groups";
            return Err(invalid("group_next_token", needed));
        }
        None => None,
        Some(text) => match text.parse::<i32>().map(usize::try_from) {
            Ok(Ok(limit)) if limit > 0 => Some(limit),
            Ok(_) => return Err(invalid("group_limit", "group_limit needs to be greater than 0")),
            Err(_) => return Err(no_number(text)),
        },
    };
    let all = |name: &str| params.all(name).map(str::to_owned).collect();
    Ok(RulesAsked {
        kind: Some(kind).filter(|kind| !kind.is_empty()),
        names: all("rule_name[]"),
        groups: all("rule_group[]"),
        files: all("file[]"),
        selectors,
        exclude_alerts: exclude_alerts.is_some_and(|text| ["1", "t", "true"].contains(&text.as_str())),
        limit,
        token: token.map(str::to_owned),
    })
}

fn no_number(text: &str) -> Error {
    let what = format!("group_limit needs to be a valid number: strconv.ParseInt: parsing {text:?}: invalid syntax");
    invalid("group_limit", &what)
}
