//! Writes HTML: markup that stands in our source, and texts that come from anywhere.
//!
//! Used by all parts of the page. Invariant: what is no literal of ours is escaped, whatever it is and wherever it stands, because nothing
//! else can be written: [`Html::put`] takes markup as `&'static str` and escapes each value, [`Html::add`] takes what was written so.
//! Values stand between tags, or inside attributes in double quotes; both are safe with the same five characters escaped. A URL that is
//! not ours goes through [`is_link`] first, because `javascript:` needs none of them.

use std::fmt::{self, Display, Write};

/// HTML that is whole and escaped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Html(String);

impl Html {
    /// Markup with values; see [`Html::put`].
    pub(super) fn of(markup: &'static str, values: &[&dyn Display]) -> Self {
        let mut html = Self::default();
        html.put(markup, values);
        html
    }

    /// Writes markup, and in it for each `{}` the next value, escaped.
    pub(super) fn put(&mut self, markup: &'static str, values: &[&dyn Display]) -> &mut Self {
        let mut values = values.iter();
        for (at, part) in markup.split("{}").enumerate() {
            if at > 0 {
                let value = values.next();
                debug_assert!(value.is_some(), "a value is missing: {markup}");
                // Writing to a string cannot fail.
                let _ = value.map(|value| write!(Escaped(&mut self.0), "{value}"));
            }
            self.0.push_str(part);
        }
        debug_assert!(values.next().is_none(), "a value has no place: {markup}");
        self
    }

    /// Writes what is HTML already.
    pub(super) fn add(&mut self, html: &Self) -> &mut Self {
        self.0.push_str(&html.0);
        self
    }

    /// The text, to be sent.
    pub(super) fn into_text(self) -> String {
        self.0
    }
}

/// Takes texts and writes them so that they are texts to whoever reads HTML.
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // No text in HTML, and what turns the direction of writing makes names look like others.
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => self.0.push('\u{fffd}'),
                c if c.is_control() && !matches!(c, '\n' | '\t') => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

/// Is this a place on the web, and not something that a browser would run?
pub(super) fn is_link(url: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| {
        url.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme)) && url.len() > scheme.len()
    })
}

/// A page of ours with parameters.
pub(super) fn href(path: &str, parameters: &[(&str, &str)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    format!("{path}?{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What somebody may call a label.
    const HOSTILE: &str = "</td><script>alert('1')</script>\" onload=\"x&amp;\u{202e}\0\u{1b}";

    #[test]
    fn no_value_ends_the_place_it_stands_in() {
        let html = Html::of("<td title=\"{}\">{}</td>", &[&HOSTILE, &HOSTILE]).into_text();
        let escaped = "&lt;/td&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot; onload=&quot;x&amp;amp;\u{fffd}\u{fffd}\u{fffd}";
        assert_eq!(html, format!("<td title=\"{escaped}\">{escaped}</td>"));
    }

    #[test]
    fn places_in_values_are_no_places() {
        let mut html = Html::of("<p>{} {}", &[&"{}", &7]);
        html.put("</p>", &[]);
        let mut whole = Html::default();
        whole.add(&html).put("{}", &[&"<"]);
        assert_eq!(whole.into_text(), "<p>{} 7</p>&lt;");
    }

    #[test]
    fn only_places_on_the_web_are_links() {
        for url in ["http://a.test/x?y=1", "HTTPS://a.test"] {
            assert!(is_link(url), "{url}");
        }
        for url in ["", "javascript:alert(1)", " http://a.test", "data:text/html,x", "//a.test", "https://", "httpß"] {
            assert!(!is_link(url), "{url}");
        }
    }

    #[test]
    fn parameters_of_a_link_stay_one_value_each() {
        assert_eq!(href("graph", &[("g0.expr", "a{b=\"c&d\"} + 1")]), "graph?g0.expr=a%7Bb%3D%22c%26d%22%7D+%2B+1");
    }
}
