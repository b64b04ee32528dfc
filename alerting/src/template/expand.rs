//! Templates of rules, as Prometheus renders them, for whoever evaluates rules.

use std::cell::RefCell;

use chrono::DateTime;

use super::{Env, Flavour, RuleData, Sample, Set, Value as Shown};
use crate::{
    Result,
    query::{About, Ask, Expand, VALUES, Value},
};

/// Expands the templates of rules.
#[derive(Debug, Clone, Copy, Default)]
pub struct Templates;

/// Checks the syntax of a template of a rule.
///
/// # Errors
/// What is wrong with it, in Go's words.
pub fn check(text: &str) -> Result<()> {
    Set::new(Flavour::Rule).parse("", text)
}

impl Expand for Templates {
    fn expand(&self, template: &str, about: &About<'_>, ask: Ask<'_>) -> Result<String> {
        if !template.contains("{{") {
            return Ok(template.to_owned());
        }
        let ask = RefCell::new(ask);
        let query = |text: &str| -> Result<Vec<Sample>> {
            let found = ask.borrow_mut()(text)?;
            Ok(found
                .samples
                .into_iter()
                .map(|sample| Sample { labels: sample.labels, value: sample.value.number() })
                .collect())
        };
        let env = Env {
            query: Some(&query),
            ..Env::new(DateTime::from_timestamp_millis(about.at_ms).unwrap_or_default(), about.external_url)
        };
        let data = RuleData {
            labels: about.labels.iter().filter(|(name, _)| !name.starts_with(VALUES)).collect(),
            values: about.labels.iter().filter_map(|(name, value)| Some((name.strip_prefix(VALUES)?, value))).collect(),
            external_labels: about.external_labels.clone(),
            external_url: about.external_url.to_owned(),
            value: match about.value {
                Value::Float(value) => Shown::Float(*value),
                Value::Histogram(histogram) => Shown::text(format!("{histogram:?}")),
            },
        };
        Set::new(Flavour::Rule).render_text(template, data.into(), &env)
    }
}
