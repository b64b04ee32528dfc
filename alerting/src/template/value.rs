//! What templates compute with: the values Go's templates meet in rules and notifications, and nothing else of Go.
//!
//! Callers build the data of a rendering from these; `field` says what their names mean, `format` how they print. Lists and maps know how
//! deep they nest, so that nothing that walks or drops a value can exhaust the stack.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};

use super::time::Time;
use crate::{Error, Labels, Result};

/// How deep lists and maps may nest: data nests four deep, and what walks values calls itself once for each level.
pub(super) const NESTING_MAX: u8 = 32;

/// A value of a template. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub enum Value {
    /// Nothing: prints `<no value>`.
    #[default]
    Nil,
    /// A truth.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number; the value of a sample.
    Float(f64),
    /// A text.
    Text(Arc<str>),
    /// A text that is HTML already.
    Html(Arc<str>),
    /// Values in order.
    List(List),
    /// Values by name; a name that is not there has none.
    Map(Map),
    /// Labels as a rule has them; a name that is not there has the empty text.
    Labels(Labels),
    /// Labels as a notification has them, with methods.
    Kv(Labels),
    /// An instant and the zone it prints in.
    Time(Time),
    /// Nanoseconds.
    Duration(i64),
    /// A thing with named fields.
    Record(Arc<Record>),
}

/// Which list of Go this is: it decides about methods and what errors call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListKind {
    /// `[]interface {}`.
    Any,
    /// `[]string`.
    Texts,
    /// Pairs of a name and a value.
    Pairs,
    /// The alerts of a notification.
    Alerts,
    /// The result of a query.
    Samples,
}

/// Values in order.
#[derive(Debug, Clone)]
pub struct List {
    pub(super) kind: ListKind,
    pub(super) items: Arc<[Value]>,
    depth: u8,
}

/// Values by name.
#[derive(Debug, Clone)]
pub struct Map {
    pub(super) items: Arc<BTreeMap<String, Value>>,
    depth: u8,
}

/// A thing with named fields, as Go's structs are.
#[derive(Debug)]
pub struct Record {
    /// Go's name of the type, for errors.
    pub type_name: &'static str,
    /// The fields in order: name, name in JSON, value.
    pub fields: Vec<(&'static str, &'static str, Value)>,
}

impl Record {
    /// A field's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(known, ..)| *known == name).map(|(.., value)| value)
    }
}

/// A sample of a query's result.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Labels, the metric's name among them.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
}

impl From<Sample> for Value {
    fn from(sample: Sample) -> Self {
        let fields =
            vec![("Labels", "Labels", Self::Labels(sample.labels)), ("Value", "Value", Self::Float(sample.value))];
        Self::Record(Arc::new(Record { type_name: "template.sample", fields }))
    }
}

impl Value {
    /// A text.
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self::Text(text.into())
    }

    /// A list.
    ///
    /// # Errors
    /// If it would nest too deep.
    pub fn list(kind: ListKind, items: Vec<Self>) -> Result<Self> {
        let depth = above(items.iter())?;
        Ok(Self::List(List { kind, items: items.into(), depth }))
    }

    /// A list of texts.
    pub fn texts<T: Into<Arc<str>>>(items: impl IntoIterator<Item = T>) -> Self {
        let items = items.into_iter().map(Self::text).collect();
        Self::List(List { kind: ListKind::Texts, items, depth: 1 })
    }

    /// Values by name.
    ///
    /// # Errors
    /// If it would nest too deep.
    pub fn map(items: BTreeMap<String, Self>) -> Result<Self> {
        let depth = above(items.values())?;
        Ok(Self::Map(Map { items: Arc::new(items), depth }))
    }

    /// Pairs of names and values: records with `Name` and `Value`.
    pub(super) fn pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let pair = |(name, value): (&str, &str)| {
            let fields = vec![("Name", "Name", Self::text(name)), ("Value", "Value", Self::text(value))];
            Self::Record(Arc::new(Record { type_name: "template.Pair", fields }))
        };
        Self::List(List { kind: ListKind::Pairs, items: pairs.map(pair).collect(), depth: 2 })
    }

    /// Go's name of the type.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::Html(_) => "template.HTML",
            Self::List(list) => match list.kind {
                ListKind::Any => "[]interface {}",
                ListKind::Texts => "[]string",
                ListKind::Pairs => "template.Pairs",
                ListKind::Alerts => "template.Alerts",
                ListKind::Samples => "template.queryResult",
            },
            Self::Map(_) => "map[string]interface {}",
            Self::Labels(_) => "map[string]string",
            Self::Kv(_) => "template.KV",
            Self::Time(_) => "time.Time",
            Self::Duration(_) => "time.Duration",
            Self::Record(record) => record.type_name,
        }
    }

    /// Does `if` take it for true?
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(truth) => *truth,
            Self::Int(number) | Self::Duration(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Text(text) | Self::Html(text) => !text.is_empty(),
            Self::List(list) => !list.items.is_empty(),
            Self::Map(map) => !map.items.is_empty(),
            Self::Labels(labels) | Self::Kv(labels) => !labels.is_empty(),
            Self::Time(_) | Self::Record(_) => true,
        }
    }

    /// About how many bytes a function reads or makes with it.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Text(text) | Self::Html(text) => text.len(),
            Self::List(list) => size_of_val(&*list.items),
            Self::Map(map) => map.items.len() * 64,
            Self::Labels(labels) | Self::Kv(labels) => labels.bytes(),
            _ => 0,
        }
    }

    fn depth(&self) -> u8 {
        match self {
            Self::List(list) => list.depth,
            Self::Map(map) => map.depth,
            Self::Labels(_) | Self::Kv(_) => 1,
            Self::Record(record) => {
                record.fields.iter().map(|(.., value)| value.depth()).max().unwrap_or(0).saturating_add(1)
            }
            _ => 0,
        }
    }
}

/// The depth of what holds these.
fn above<'a>(items: impl Iterator<Item = &'a Value>) -> Result<u8> {
    match items.map(Value::depth).max().unwrap_or(0) {
        deep if deep >= NESTING_MAX => {
            Err(Error::invalid(format!("lists and maps nest too deep, levels_max={NESTING_MAX}")))
        }
        depth => Ok(depth + 1),
    }
}

impl TryFrom<&serde_json::Value> for Value {
    type Error = Error;

    fn try_from(json: &serde_json::Value) -> Result<Self> {
        Ok(match json {
            serde_json::Value::Null => Self::Nil,
            serde_json::Value::Bool(truth) => Self::Bool(*truth),
            serde_json::Value::Number(number) => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            serde_json::Value::String(text) => Self::text(text.as_str()),
            serde_json::Value::Array(items) => {
                Self::list(ListKind::Any, items.iter().map(Self::try_from).collect::<Result<_>>()?)?
            }
            serde_json::Value::Object(items) => Self::map(
                items.iter().map(|(name, item)| Ok((name.clone(), item.try_into()?))).collect::<Result<_>>()?,
            )?,
        })
    }
}

impl From<DateTime<Utc>> for Value {
    fn from(instant: DateTime<Utc>) -> Self {
        Self::Time(instant.into())
    }
}
