//! Escapes texts for HTML, JavaScript and queries of URLs, as the functions of the same names in Go do.

use super::format::is_printable;

/// For the text and the quoted attributes of HTML.
pub(super) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\0' => out.push('\u{fffd}'),
            _ => out.push(c),
        }
    }
    out
}

/// For a string of JavaScript.
pub(super) fn js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            _ if is_printable(c) => out.push(c),
            _ => out.push_str(&format!("\\u{:04X}", u32::from(c))),
        }
    }
    out
}

/// For a value in the query of a URL: a space becomes a plus sign.
pub(super) fn query(text: &str) -> String {
    percent(text, |byte| if byte == b' ' { Some('+') } else { None })
}

/// Percent signs for all but letters, digits, `-_.~` and what is kept.
pub(super) fn percent(text: &str, keep: impl Fn(u8) -> Option<char>) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else if let Some(kept) = keep(byte) {
            out.push(kept);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// What [`query`] was made of.
pub(super) fn unescape_query(text: &str) -> Result<String, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
                let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
                    let wrong = &text[text.len() - after.len() - 1..];
                    let wrong: String = wrong.chars().take(3).collect();
                    return Err(format!("invalid URL escape {wrong:?}"));
                };
                out.push(byte);
                rest = &after[2..];
            }
            _ => out.push(*byte),
        }
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}
