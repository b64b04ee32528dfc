//! Follows the HTML that a template prints, to know how the next value has to be escaped.
//!
//! Used by `exec` when a mail's body is rendered. Only the text of templates moves the state: values are escaped so that they cannot. What a
//! value must not stand in (a script, a style, an event's handler, a tag's or attribute's name) is an error, which is stricter than Go's
//! `html/template`, and sound.

use super::escape;

/// Attributes whose value is a URL.
const URLS: [&str; 11] = [
    "href",
    "src",
    "action",
    "formaction",
    "cite",
    "background",
    "poster",
    "data",
    "longdesc",
    "manifest",
    "xlink:href",
];
/// Attributes that hold code, or lists that would need a parser of their own.
const CODE: [&str; 3] = ["style", "srcset", "srcdoc"];
/// Elements whose text is not HTML.
const RAW: [&str; 4] = ["script", "style", "textarea", "title"];

/// Where in a document the output stands.
#[derive(Debug, Default, Clone)]
pub(super) struct Html {
    state: State,
}

#[derive(Debug, Default, Clone)]
enum State {
    #[default]
    Text,
    /// After `<`, with what followed so far.
    Open(String),
    Comment(String),
    /// In a tag, outside of its attributes; the element, if its text will be raw.
    Tag(Option<&'static str>),
    Name(Option<&'static str>, String),
    /// After an attribute's name and `=`.
    Equals(Option<&'static str>, String),
    Value {
        raw: Option<&'static str>,
        kind: Kind,
        /// None: the value is not quoted.
        quote: Option<char>,
        seen: Seen,
    },
    /// In the text of such an element, with the end of what was seen.
    Raw(&'static str, String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Url,
    Code,
}

/// How far the value of a URL is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Nothing,
    Begin,
    Query,
}

impl Html {
    /// Moves over text of the template.
    pub(super) fn pass(&mut self, text: &str) {
        for c in text.chars() {
            self.state = std::mem::take(&mut self.state).after(c);
        }
    }

    /// A value as it may be printed here; `is_html` of one that is HTML already.
    pub(super) fn escape(&mut self, value: &str, is_html: bool) -> Result<String, String> {
        if let State::Equals(raw, name) = &self.state {
            self.state = State::Value { raw: *raw, kind: kind(name), quote: None, seen: Seen::Nothing };
        }
        match &self.state {
            State::Text if is_html => {
                self.pass(value);
                Ok(value.to_owned())
            }
            State::Text | State::Raw("textarea" | "title", _) => Ok(text(value)),
            State::Value { kind: Kind::Plain, quote, .. } => Ok(attribute(value, *quote)),
            // Values leave the place in a URL where it is: a scheme may come in parts.
            State::Value { kind: Kind::Url, quote, seen, .. } => Ok(attribute(&url(value, *seen), *quote)),
            State::Value { kind: Kind::Code, .. } => Err("no value may stand in an attribute that is code".into()),
            State::Raw(element, _) => Err(format!("no value may stand in <{element}>")),
            State::Comment(_) => Ok(String::new()),
            _ => Err("no value may stand in the name of a tag or an attribute".into()),
        }
    }
}

/// As `html`, and `+`, which some old readers take for a begin of UTF-7.
fn text(value: &str) -> String {
    escape::html(value).replace('+', "&#43;")
}

fn attribute(value: &str, quote: Option<char>) -> String {
    if quote.is_some() {
        return text(value);
    }
    let mut out = String::new();
    for c in value.chars() {
        if c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '%') {
            out.push(c);
        } else {
            out.push_str(&format!("&#{};", u32::from(c)));
        }
    }
    // Without a value the next attribute would become it.
    if out.is_empty() { "&#xfffd;".into() } else { out }
}

fn url(value: &str, seen: Seen) -> String {
    if seen == Seen::Query {
        return escape::percent(value, |_| None);
    }
    if seen == Seen::Nothing
        && let Some((scheme, _)) = value.split_once(':')
        && !scheme.contains(['/', '?', '#'])
        && !["http", "https", "mailto"].iter().any(|safe| scheme.eq_ignore_ascii_case(safe))
    {
        // Go's word, which is what people search for.
        return "#ZgotmplZ".into();
    }
    let kept = |byte: u8| b"!#$&*+,/:;=?@[]%".contains(&byte).then(|| char::from(byte));
    escape::percent(value, kept)
}

fn kind(name: &str) -> Kind {
    if name.starts_with("on") || CODE.contains(&name) {
        Kind::Code
    } else if URLS.contains(&name) {
        Kind::Url
    } else {
        Kind::Plain
    }
}

impl State {
    fn after(self, c: char) -> Self {
        let small = c.to_ascii_lowercase();
        match self {
            Self::Text if c == '<' => Self::Open(String::new()),
            Self::Text => Self::Text,
            Self::Open(mut name) => {
                if name == "!-" && c == '-' {
                    return Self::Comment(String::new());
                }
                match c {
                    '>' => inside(raw(&name)),
                    '<' => Self::Open(String::new()),
                    _ if name.is_empty() && !(c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?')) => Self::Text,
                    _ if c.is_whitespace() || (c == '/' && !name.is_empty()) => Self::Tag(raw(&name)),
                    _ => {
                        name.push(small);
                        Self::Open(name)
                    }
                }
            }
            Self::Comment(mut end) => {
                end.push(c);
                if end.ends_with("-->") { Self::Text } else { Self::Comment(tail(end, 3)) }
            }
            Self::Tag(raw) => match c {
                '>' => inside(raw),
                _ if c.is_whitespace() || c == '/' => Self::Tag(raw),
                _ => Self::Name(raw, small.into()),
            },
            Self::Name(raw, mut name) => match c {
                '>' => inside(raw),
                '=' => Self::Equals(raw, name.trim_end().to_owned()),
                '/' => Self::Tag(raw),
                _ if !c.is_whitespace() && name.ends_with(' ') => Self::Name(raw, small.into()),
                _ => {
                    name.push(if c.is_whitespace() { ' ' } else { small });
                    Self::Name(raw, name)
                }
            },
            Self::Equals(raw, name) => match c {
                '>' => inside(raw),
                '"' | '\'' => Self::Value { raw, kind: kind(&name), quote: Some(c), seen: Seen::Nothing },
                _ if c.is_whitespace() => Self::Equals(raw, name),
                _ => Self::Value { raw, kind: kind(&name), quote: None, seen: seen(Seen::Nothing, c) },
            },
            Self::Value { raw, quote: Some(quote), .. } if c == quote => Self::Tag(raw),
            Self::Value { raw, quote: None, .. } if c == '>' => inside(raw),
            Self::Value { raw, quote: None, .. } if c.is_whitespace() => Self::Tag(raw),
            Self::Value { raw, kind, quote, seen: before } => Self::Value { raw, kind, quote, seen: seen(before, c) },
            Self::Raw(element, mut end) => {
                end.push(small);
                let closes = end.strip_suffix(element).is_some_and(|before| before.ends_with("</"));
                if closes { Self::Tag(None) } else { Self::Raw(element, tail(end, 12)) }
            }
        }
    }
}

fn seen(before: Seen, c: char) -> Seen {
    if before == Seen::Query || matches!(c, '?' | '#') { Seen::Query } else { Seen::Begin }
}

fn raw(name: &str) -> Option<&'static str> {
    RAW.iter().find(|raw| **raw == name).copied()
}

/// The state after a tag.
fn inside(raw: Option<&'static str>) -> State {
    raw.map_or(State::Text, |element| State::Raw(element, String::new()))
}

/// The last few characters.
fn tail(text: String, length: usize) -> String {
    let skipped = text.chars().count().saturating_sub(length);
    if skipped == 0 { text } else { text.chars().skip(skipped).collect() }
}
