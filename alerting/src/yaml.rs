//! YAML as a tree in which everything has its place.
//!
//! Read by `rules` and `testing`, whose files allow what no derived structure does: a field that is a list or a map, unknown fields that are
//! refused or not as the user says, numbers that are wanted as they were written (a label `1.10` is not `1.1`).
//!
//! Invariants: only the first document is read; anchors, aliases and merge keys are resolved, and an alias has the place where it is used;
//! scalars are texts as written, only what is null is not; a key that comes twice is an error; what an alias bomb grows to is bounded by the
//! parser. Not here: what the fields mean.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, de};
use serde_saphyr::{Location, Spanned, options::NonFiniteFloatPolicy};

use crate::{Error, Result};

/// Line and column, both from 1.
pub(crate) type Place = (u64, u64);

/// A part of a document and where it stands.
#[derive(Debug)]
pub(crate) struct Node {
    pub place: Place,
    pub kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Null,
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Place, Node)>),
}

/// A mapping whose fields are taken one by one; what is left is not known.
pub(crate) struct Fields<'n> {
    pub place: Place,
    left: Vec<(&'n str, Place, &'n Node)>,
    known: Vec<&'static str>,
}

/// Reads the first document.
pub(crate) fn read(text: &str) -> Result<Node> {
    let text = first_document(text);
    // A document of comments alone is not one to the parser.
    if text.lines().all(|line| line.trim().is_empty() || line.starts_with("---") || line.trim_start().starts_with('#'))
    {
        return Ok(Node { place: (1, 1), kind: Kind::Null });
    }
    let mut options = serde_saphyr::Options::default();
    // A label may be called `.nan`, and its text is what counts.
    options.non_finite_float_policy = NonFiniteFloatPolicy::PassThrough;
    if let Some(budget) = &mut options.budget {
        // Of the largest file that is read, 16 MiB, all can be short: `- a` is two words in four bytes.
        (budget.max_nodes, budget.max_events) = (8 << 20, 16 << 20);
    }
    let read: Spanned<Raw> = serde_saphyr::from_str_with_options(text, options).map_err(|error| wrong(&error))?;
    Ok(node(text, read))
}

/// The text up to where the second document begins. Three dashes at the start of a line begin one wherever they are, even in a block of text.
fn first_document(text: &str) -> &str {
    let (mut at, mut has_begun) = (0, false);
    for line in text.split_inclusive('\n') {
        let is_mark = |mark| {
            line.strip_prefix(mark).is_some_and(|rest: &str| rest.trim_start().len() < rest.len() || rest.is_empty())
        };
        if has_begun && (is_mark("---") || is_mark("...")) {
            return &text[..at];
        }
        let bare = line.trim();
        has_begun |= is_mark("---") || !(bare.is_empty() || bare.starts_with('#') || line.starts_with('%'));
        at += line.len();
    }
    text
}

fn wrong(error: &serde_saphyr::Error) -> Error {
    let error = error.without_snippet();
    let text = match error {
        serde_saphyr::Error::DuplicateMappingKey { key, .. } => {
            format!("key `{}` is given twice", key.as_deref().unwrap_or("?"))
        }
        other => {
            let text = other.to_string();
            // The place is printed once, in front.
            text.split(" at line ").next().unwrap_or(&text).lines().next().unwrap_or_default().to_owned()
        }
    };
    let place = error.location().filter(|at| *at != Location::UNKNOWN);
    let error = Error::invalid(format!("not the YAML that is wanted: {text}"));
    match place {
        Some(at) => error.at(at.line(), at.column()),
        None => error,
    }
}

/// What serde gives; a scalar that looks like a number or a truth value is read again where it stands.
enum Raw {
    Null,
    Typed(String),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn place(at: Location) -> Place {
    (at.line(), at.column())
}

fn node(text: &str, read: Spanned<Raw>) -> Node {
    let kind = match read.value {
        Raw::Null => Kind::Null,
        Raw::Text(value) => Kind::Text(value),
        Raw::Typed(shown) => Kind::Text(written(text, read.defined).map_or(shown, str::to_owned)),
        Raw::List(items) => Kind::List(items.into_iter().map(|item| node(text, item)).collect()),
        Raw::Map(pairs) => {
            let pair = |(key, value): (Spanned<String>, _)| {
                let value = node(text, value);
                let known = key.referenced != Location::UNKNOWN;
                (key.value, if known { place(key.referenced) } else { value.place }, value)
            };
            Kind::Map(pairs.into_iter().map(pair).collect())
        }
    };
    Node { place: place(read.referenced), kind }
}

/// A scalar as it is written.
fn written(text: &str, at: Location) -> Option<&str> {
    let (start, length) = (at.span().byte_offset()?, at.span().byte_len()?);
    let start = usize::try_from(start).ok()?;
    Some(text.get(start..start.checked_add(usize::try_from(length).ok()?)?)?.trim())
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut pairs: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(pair) = pairs.next_entry()? {
            map.push(pair);
        }
        Ok(Raw::Map(map))
    }
}

impl Node {
    /// An error at this place.
    pub(crate) fn wrong(&self, message: impl Into<String>) -> Error {
        Error::invalid(message).at(self.place.0, self.place.1)
    }

    fn found(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Text(_) => "a text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "keys and values",
        }
    }

    pub(crate) fn text(&self) -> Result<&str> {
        match &self.kind {
            Kind::Text(text) => Ok(text),
            Kind::Null => Ok(""),
            _ => Err(self.wrong(format!("expected a text, found {}", self.found()))),
        }
    }

    pub(crate) fn list(&self) -> Result<&[Self]> {
        match &self.kind {
            Kind::List(items) => Ok(items),
            Kind::Null => Ok(&[]),
            _ => Err(self.wrong(format!("expected a list, found {}", self.found()))),
        }
    }

    pub(crate) fn fields(&self) -> Result<Fields<'_>> {
        let left = match &self.kind {
            Kind::Map(pairs) => pairs.iter().map(|(key, place, value)| (key.as_str(), *place, value)).collect(),
            Kind::Null => Vec::new(),
            _ => return Err(self.wrong(format!("expected keys and values, found {}", self.found()))),
        };
        Ok(Fields { place: self.place, left, known: Vec::new() })
    }

    /// Names with texts, each with the place of the name.
    pub(crate) fn texts(&self) -> Result<Vec<(&str, Place, &str)>> {
        self.fields()?.left.into_iter().map(|(key, place, value)| Ok((key, place, value.text()?))).collect()
    }

    /// Names with texts.
    pub(crate) fn map(&self) -> Result<BTreeMap<String, String>> {
        Ok(self.texts()?.into_iter().map(|(key, _, value)| (key.to_owned(), value.to_owned())).collect())
    }

    pub(crate) fn truth(&self) -> Result<bool> {
        match self.text()? {
            "true" | "True" | "TRUE" => Ok(true),
            "false" | "False" | "FALSE" | "" => Ok(false),
            other => Err(self.wrong(format!("expected true or false, found `{other}`"))),
        }
    }

    pub(crate) fn whole(&self) -> Result<i64> {
        let text = self.text()?;
        text.parse().map_err(|_| self.wrong(format!("expected a whole number, found `{text}`")))
    }

    pub(crate) fn duration_ms(&self) -> Result<i64> {
        promql::parse_duration(self.text()?).map_err(|error| self.wrong(error.to_string()))
    }

    /// One of some words.
    pub(crate) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T> {
        let text = self.text()?;
        let known = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        let found = words.iter().find(|(word, _)| *word == text);
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| self.wrong(format!("`{text}` is not known here; write one of {}", known())))
    }
}

impl<'n> Fields<'n> {
    /// The value of a field, if it is there and not null.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<&'n Node> {
        self.known.push(key);
        let at = self.left.iter().position(|(known, ..)| *known == key)?;
        let (_, _, value) = self.left.swap_remove(at);
        (!matches!(value.kind, Kind::Null)).then_some(value)
    }

    /// The value of a field, read; what is not there is what it is by default.
    pub(crate) fn read<T: Default>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&'n Node) -> Result<T>,
    ) -> Result<T> {
        self.take(key).map_or_else(|| Ok(T::default()), read)
    }

    /// The text of a field, empty if it is not there.
    pub(crate) fn text(&mut self, key: &'static str) -> Result<String> {
        self.read(key, |node| node.text().map(str::to_owned))
    }

    /// All fields were taken.
    ///
    /// # Errors
    /// Some were not, and are not to be ignored.
    pub(crate) fn finish(mut self, ignores_unknown: bool) -> Result<()> {
        self.left.sort_by_key(|(_, place, _)| *place);
        match self.left.first() {
            Some((key, (line, column), _)) if !ignores_unknown => {
                let message = format!("unknown field `{key}`; fields here are {}", self.known.join(", "));
                Err(Error::invalid(message).at(*line, *column))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_as_written_and_have_their_places() {
        let root = read("a: 1.10\nb: [0x1F, yes, 'x', ~, 2.9999999999999996, NaN, .inf, 1e3]\nc: 007\n").unwrap();
        let Kind::Map(pairs) = &root.kind else { panic!() };
        assert_eq!((pairs[0].0.as_str(), pairs[0].1, pairs[0].2.place), ("a", (1, 1), (1, 4)));
        assert_eq!(pairs[0].2.text().unwrap(), "1.10");
        let texts: Vec<&str> = pairs[1].2.list().unwrap().iter().map(|item| item.text().unwrap()).collect();
        assert_eq!(texts, ["0x1F", "yes", "x", "", "2.9999999999999996", "NaN", ".inf", "1e3"]);
        assert_eq!(pairs[2].2.text().unwrap(), "007");
    }

    #[test]
    fn aliases_have_the_place_of_use_and_merges_are_resolved() {
        let root = read("x: &base {k: 1.50}\ny: *base\nz:\n  <<: *base\n  m: 2\n5: é\n").unwrap();
        let Kind::Map(pairs) = &root.kind else { panic!() };
        assert_eq!(pairs[1].2.place, (2, 4));
        assert_eq!(pairs[1].2.map().unwrap()["k"], "1.50");
        let merged = pairs[2].2.map().unwrap();
        assert_eq!((merged["k"].as_str(), merged["m"].as_str()), ("1.50", "2"));
        assert_eq!((pairs[3].0.as_str(), pairs[3].2.text().unwrap()), ("5", "é"));
    }

    #[test]
    fn only_the_first_document_is_read() {
        assert_eq!(read("# c\n---\na: |\n  x\n---\nb: [\n").unwrap().map().unwrap()["a"], "x\n");
        assert!(matches!(read("").unwrap().kind, Kind::Null));
        assert!(matches!(read("# c\n---\n# d\n").unwrap().kind, Kind::Null));
        assert_eq!(
            read("a: 1\na: 2\n").unwrap_err().to_string(),
            "2:1: not the YAML that is wanted: key `a` is given twice"
        );
    }
}
