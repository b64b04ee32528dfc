//! As much of templates as tells rules apart: `{{ $labels.x }}`, `{{ $externalLabels.x }}`, `{{ $value }}`. What is more is noted.

use std::{cell::RefCell, collections::BTreeSet};

use alerting::{
    Error, Result,
    query::{About, Ask, Expand},
};

#[derive(Default)]
pub struct Plain {
    /// What it could not expand.
    pub unknown: RefCell<BTreeSet<String>>,
}

impl Expand for Plain {
    fn expand(&self, template: &str, about: &About<'_>, _: Ask<'_>) -> Result<String> {
        let (mut out, mut rest) = (String::new(), template);
        while let Some((before, after)) = rest.split_once("{{") {
            out.push_str(before);
            let (inner, after) = after.split_once("}}").ok_or_else(|| Error::invalid("unclosed action"))?;
            rest = after;
            let inner = inner.trim();
            let text = if let Some(name) = inner.strip_prefix("$labels.").or_else(|| inner.strip_prefix("$.Labels.")) {
                word(name).map(|name| about.labels.get(name).to_owned())
            } else if let Some(name) = inner.strip_prefix("$externalLabels.") {
                word(name).map(|name| about.external_labels.get(name).to_owned())
            } else {
                (inner == "$value").then(|| promql::short(about.value.number()))
            };
            let unknown = || {
                self.unknown.borrow_mut().insert(inner.to_owned());
                Error::invalid(format!("not expanded here: {inner}"))
            };
            out.push_str(&text.ok_or_else(unknown)?);
        }
        out.push_str(rest);
        Ok(out)
    }
}

fn word(text: &str) -> Option<&str> {
    text.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()).then_some(text)
}
