//! Go's templates: renders the texts of existing rules and notifications as Prometheus and Alertmanager do.
//!
//! Rules render their labels and annotations here, notifiers what they send. A [`Set`] holds named templates, read once; a rendering takes a
//! [`Value`] and an [`Env`] and gives a text. Templates are written by users and alerts by whoever sends samples, so nothing is trusted: each
//! text, loop, call and query is bounded, and what is too much is an error. An error names file, line and words, as Go does.
//!
//! Not here: a clock (time comes with the [`Env`]), the engine that answers `query`, complex numbers, values that are functions.
//! Spec: <https://pkg.go.dev/text/template>

mod args;
mod ast;
mod builtin;
mod data;
mod escape;
mod exec;
mod expand;
mod field;
mod float;
mod format;
mod html;
mod humanize;
mod layout;
mod lex;
mod literal;
mod money;
mod notification;
mod parse;
mod rule;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod value;

use std::{collections::BTreeMap, sync::Arc};

use ast::Tree;
use chrono::{DateTime, Utc};
pub use data::{AlertData, NotificationData, RuleData};
pub use expand::{Templates, check};
pub use time::{Time, Zone};
pub use value::{List, ListKind, Map, Record, Sample, Value};

use crate::{Error, Result};

/// The templates that notifications have without being configured: our words under the names that users know.
pub const DEFAULT: &str = include_str!("template/default.tmpl");

/// Bytes that one rendering may print unless its [`Env`] says otherwise. The largest body that a receiver takes is half of it.
pub const BYTES_MAX: usize = 1 << 20;

/// Bytes of a text that templates are read from. The default templates of Alertmanager have some 30 KiB.
const TEXT_BYTES_MAX: usize = 4 << 20;

/// Variables of a rule's template, and the fields they are.
const RULE_VARIABLES: [(&str, &str); 5] = [
    ("$labels", "Labels"),
    ("$externalLabels", "ExternalLabels"),
    ("$externalURL", "ExternalURL"),
    ("$value", "Value"),
    ("$values", "Values"),
];

/// Whose functions templates have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// Prometheus': in the labels and annotations of rules.
    Rule,
    /// Alertmanager's: in what is sent.
    Notification,
}

impl Flavour {
    /// How many arguments a function takes; nothing if it is not known.
    fn arity(self, name: &str) -> Option<(usize, usize)> {
        builtin::arity(name).or_else(|| match self {
            Self::Rule => rule::arity(name),
            Self::Notification => notification::arity(name),
        })
    }
}

/// What asks for samples at the time of the rendering.
pub type Query<'a> = dyn Fn(&str) -> Result<Vec<Sample>> + 'a;

/// What surrounds a rendering.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    /// The time: of the evaluation, or of the notification.
    pub now: DateTime<Utc>,
    /// Where this system is reached from outside.
    pub external_url: &'a str,
    /// Answers `query`; without it, that function fails.
    pub query: Option<&'a Query<'a>>,
    /// Is HTML rendered? Then values are escaped for where they stand.
    pub html: bool,
    /// Bytes that may be printed.
    pub bytes_max: usize,
}

impl<'a> Env<'a> {
    /// What most renderings want: no queries, no HTML.
    #[must_use]
    pub fn new(now: DateTime<Utc>, external_url: &'a str) -> Self {
        Self { now, external_url, query: None, html: false, bytes_max: BYTES_MAX }
    }
}

/// Named templates that may call each other. Cheap to clone, so that a text can be read on top of templates that many share.
#[derive(Debug, Clone)]
pub struct Set {
    flavour: Flavour,
    trees: BTreeMap<Box<str>, Arc<Tree>>,
}

impl Set {
    /// A set without templates.
    #[must_use]
    pub fn new(flavour: Flavour) -> Self {
        Self { flavour, trees: BTreeMap::new() }
    }

    /// Reads a text: what stands in it becomes the template `name`, and what it defines, templates of those names. They take the places of
    /// those that were there, unless they are empty.
    ///
    /// # Errors
    /// What is wrong with the text, in Go's words: `template: NAME:LINE: …`. The set is as it was.
    pub fn parse(&mut self, name: &str, text: &str) -> Result<()> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(Error::invalid(format!("template {name:?} is too long, bytes_max={TEXT_BYTES_MAX}")));
        }
        let variables: &[&str] = match self.flavour {
            Flavour::Rule => &RULE_VARIABLES.map(|(variable, _)| variable),
            Flavour::Notification => &[],
        };
        for tree in parse::parse(name, text, variables, &|function| self.flavour.arity(function).is_some())? {
            if !tree.is_empty() || self.trees.get(&tree.name).is_none_or(|known| known.is_empty()) {
                self.trees.insert(tree.name.clone(), Arc::new(tree));
            }
        }
        Ok(())
    }

    /// Is there a template of this name?
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.trees.contains_key(name)
    }

    /// Renders the template `name`.
    ///
    /// # Errors
    /// What failed and where, in Go's words, or which bound was exceeded.
    pub fn render(&self, name: &str, data: Value, env: &Env<'_>) -> Result<String> {
        let Some(tree) = self.tree(name) else {
            return Err(Error::invalid(format!("template: no template {name:?} associated with this set")));
        };
        let variables = match (&data, self.flavour) {
            (Value::Record(record), Flavour::Rule) => RULE_VARIABLES
                .iter()
                .map(|(variable, field)| (*variable, record.get(field).cloned().unwrap_or_default()))
                .collect(),
            (_, Flavour::Rule) => RULE_VARIABLES.iter().map(|(variable, _)| (*variable, Value::Nil)).collect(),
            _ => Vec::new(),
        };
        exec::Run::render(self, tree, data, variables, env)
    }

    /// Renders a text that may call the templates of this set.
    ///
    /// # Errors
    /// As [`Set::parse`] and [`Set::render`].
    pub fn render_text(&self, text: &str, data: Value, env: &Env<'_>) -> Result<String> {
        let mut set = self.clone();
        set.trees.remove("");
        set.parse("", text)?;
        set.render("", data, env)
    }

    fn flavour(&self) -> Flavour {
        self.flavour
    }

    fn tree(&self, name: &str) -> Option<&Tree> {
        self.trees.get(name).map(|tree| &**tree)
    }
}
