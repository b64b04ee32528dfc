//! Reads objects of JSON one level deep, with every number as its own text: tags, credits, and lines of JSON.
//!
//! Called by the mappings for columns that hold JSON, and by `jsonl`. Takes what is not quite JSON too: objects that lost their braces, as
//! Azure writes tags, and the literals of Python that a data frame writes for nested columns.
//!
//! Invariants: a number is never a float. Not here: what a key means.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::record::is_same;

/// Members of an object, in their order.
pub(crate) struct Object<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((Key(key), value)) = map.next_entry()? {
            members.push((key, value));
        }
        Ok(Object(members))
    }
}

/// A key, borrowed where nothing in it is escaped.
#[derive(Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// Members of an object.
pub(crate) fn object(text: &str) -> Option<Object<'_>> {
    serde_json::from_str(text).ok()
}

/// Elements of an array.
pub(crate) fn array(text: &str) -> Option<Vec<&RawValue>> {
    serde_json::from_str(text).ok()
}

/// Text of a value: that of a string, and the JSON of anything else.
pub(crate) fn plain(value: &RawValue) -> Cow<'_, str> {
    let json = value.get();
    if !json.starts_with('"') {
        return Cow::Borrowed(json);
    }
    serde_json::from_str::<Key<'_>>(json).map_or(Cow::Borrowed(json), |text| text.0)
}

/// Text of a value; empty for null.
pub(crate) fn plain_or_null(value: &RawValue) -> Cow<'_, str> {
    if value.get() == "null" { Cow::Borrowed("") } else { plain(value) }
}

/// JSON of what may be a literal of Python: `[{'amount': -5e-06, 'id': None}]`.
pub(crate) fn from_python(text: &str) -> Cow<'_, str> {
    if !text.contains('\'') && !text.contains("None") && !text.contains("True") && !text.contains("False") {
        return Cow::Borrowed(text);
    }
    let mut json = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '\'' || c == '"' {
            rest = string(rest, c, &mut json);
            continue;
        }
        let word =
            [("None", "null"), ("True", "true"), ("False", "false")].into_iter().find(|word| rest.starts_with(word.0));
        let step = word.map_or(c.len_utf8(), |(python, _)| python.len());
        json.push_str(word.map_or_else(|| rest.get(..step).unwrap_or_default(), |(_, json)| json));
        rest = rest.get(step..).unwrap_or_default();
    }
    Cow::Owned(json)
}

/// Writes a string of Python as one of JSON, and tells what follows it.
fn string<'a>(text: &'a str, quote: char, json: &mut String) -> &'a str {
    json.push('"');
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => {
                json.push('"');
                return text.get(at + 1..).unwrap_or_default();
            }
            '\\' => match chars.next() {
                Some((_, '\'')) => json.push('\''),
                Some((_, escaped)) => json.extend(['\\', escaped]),
                None => json.push_str("\\\\"),
            },
            '"' => json.push_str("\\\""),
            c if c < ' ' => json.push(' '),
            c => json.push(c),
        }
    }
    ""
}

/// A text with JSON and what is in it, since neighbouring rows mostly have the same.
#[derive(Debug, Default)]
pub(crate) struct Cached {
    /// Put in front of each key.
    prefix: &'static str,
    text: String,
    /// By key, each once.
    entries: Vec<(String, String)>,
    is_bad: bool,
}

impl Cached {
    pub(crate) fn with_prefix(prefix: &'static str) -> Self {
        Self { prefix, ..Self::default() }
    }

    /// Reads an object of tags, with or without braces, or an array of pairs of a key and a value, or recalls it.
    pub(crate) fn read(&mut self, text: &str) -> Result<(), Unreadable> {
        if !is_same(self.text.as_bytes(), text.as_bytes()) {
            self.text.clear();
            self.text.push_str(text);
            self.entries.clear();
            self.is_bad = !tags(text, &mut self.entries);
            if !self.prefix.is_empty() {
                self.entries.iter_mut().for_each(|(key, _)| key.insert_str(0, self.prefix));
            }
            self.entries.sort_by(|a, b| a.0.cmp(&b.0));
            // Of two values of a key the latter counts, as in JSON.
            self.entries.reverse();
            self.entries.dedup_by(|after, before| after.0 == before.0);
            self.entries.reverse();
        }
        if self.is_bad { Err(Unreadable) } else { Ok(()) }
    }

    /// The value of a key, with the prefix; empty if there is none.
    pub(crate) fn get(&self, key: &str) -> &str {
        self.entries.iter().find(|entry| entry.0 == key).map_or("", |entry| entry.1.as_str())
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// A text is not what it should hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unreadable;

fn tags(text: &str, entries: &mut Vec<(String, String)>) -> bool {
    let text = text.trim();
    let with_braces =
        if text.starts_with(['{', '[']) { Cow::Borrowed(text) } else { Cow::Owned(format!("{{{text}}}")) };
    let json = from_python(&with_braces);
    if json.starts_with('[') {
        return array(&json).is_some_and(|pairs| pairs.into_iter().all(|pair| key_and_value(pair, entries)));
    }
    let Some(Object(members)) = object(&json) else { return false };
    entries.extend(members.into_iter().map(|(key, value)| (key.into_owned(), plain(value).into_owned())));
    true
}

/// `{"key": …, "value": …}`, as BigQuery has labels.
fn key_and_value(pair: &RawValue, entries: &mut Vec<(String, String)>) -> bool {
    let Some(Object(members)) = object(pair.get()) else { return false };
    let of =
        |name: &str| members.iter().find(|(key, _)| key == name).map(|(_, value)| plain_or_null(value).into_owned());
    let Some(key) = of("key") else { return false };
    entries.push((key, of("value").unwrap_or_default()));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(text: &str) -> Option<String> {
        let mut cached = Cached::default();
        cached.read(text).ok()?;
        Some(cached.entries().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn tags_are_read_as_they_are_written() {
        assert_eq!(
            tags(r#"{"b":"2","a":true,"n":null,"x":1.50,"o":{"k":1}}"#).unwrap(),
            r#"a=true b=2 n=null o={"k":1} x=1.50"#
        );
        assert_eq!(tags(r#""tagA": "valueA","tagB": "a \"quote\"""#).unwrap(), r#"tagA=valueA tagB=a "quote""#);
        assert_eq!(tags("[{'key': 'goog-resource-type', 'value': 'it\\'s'}]").unwrap(), "goog-resource-type=it's");
        assert_eq!(tags("[]").unwrap(), "");
        assert_eq!(tags(r#"{"a":"1","a":"0"}"#).unwrap(), "a=0");
        assert_eq!(tags("{broken"), None);
    }

    #[test]
    fn literals_of_python_become_json() {
        let json =
            from_python(r#"[{'name': "it's", 'amount': -5e-06, 'full_name': None, 'ok': True, 'q': 'say "so"'}]"#);
        assert_eq!(json, r#"[{"name": "it's", "amount": -5e-06, "full_name": null, "ok": true, "q": "say \"so\""}]"#);
    }
}
