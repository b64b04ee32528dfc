//! Parameters as a form has them, in a body or after the `?` of a URL.

use std::fmt::Write as _;

/// `name=value&…`, with everything escaped that is no letter, digit or one of `-._`.
pub fn form(pairs: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push('&');
        }
        escape(name, &mut out);
        out.push('=');
        escape(value, &mut out);
    }
    out
}

fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'.' | b'_' => out.push(char::from(byte)),
            _ => write!(out, "%{byte:02X}").expect("a text takes what is written"),
        }
    }
}
