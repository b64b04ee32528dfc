//! How mail is written: addresses, headers, parts.
//!
//! Called by `email`. Invariant: what is written is lines of ASCII of at most 998 bytes that end with CR and LF.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{File, Mail};
use crate::{Error, Result};

/// Bytes of a line of quoted-printable.
const LINE_BYTES_MAX: usize = 76;
/// Bytes that become a line of Base64 of as many characters.
const BASE64_LINE_BYTES: usize = LINE_BYTES_MAX / 4 * 3;
/// Bytes of text in an encoded word: encoded they are three times as many, and a word has at most 75.
const WORD_BYTES_MAX: usize = 18;
/// Headers that are lists of addresses.
const OF_ADDRESSES: [&str; 6] = ["From", "To", "Cc", "Bcc", "Reply-To", "Sender"];

/// Names with addresses: `Ann <a@b.c>, d@e.f`.
pub(super) fn addresses(text: &str) -> Result<Vec<(String, String)>> {
    let (mut all, mut one, mut is_quoted, mut is_escaped) = (Vec::new(), String::new(), false, false);
    for c in text.chars() {
        match c {
            ',' if !is_quoted => all.push(std::mem::take(&mut one)),
            c => {
                is_quoted ^= c == '"' && !is_escaped;
                one.push(c);
            }
        }
        is_escaped = is_quoted && c == '\\' && !is_escaped;
    }
    all.push(one);
    let all = all.iter().map(|one| one.trim()).filter(|one| !one.is_empty()).map(address);
    let all: Vec<_> = all.collect::<Result<_>>()?;
    if all.is_empty() { Err(Error::invalid("there is no address of mail")) } else { Ok(all) }
}

fn address(text: &str) -> Result<(String, String)> {
    let (name, address) = match text.strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
        Some((name, address)) => (name.trim(), address.trim()),
        None => ("", text),
    };
    let is_one = address.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
    if !is_one || address.chars().any(|c| c.is_whitespace() || c.is_control() || "<>\",".contains(c)) {
        return Err(Error::invalid("that is no address of mail: write `name@host` or `Name <name@host>`"));
    }
    Ok((name.to_owned(), address.to_owned()))
}

/// A header's value as it is written.
pub(super) fn header(name: &str, value: &str) -> String {
    if value.is_ascii() {
        return value.to_owned();
    }
    match OF_ADDRESSES.contains(&name).then(|| addresses(value)) {
        Some(Ok(all)) => {
            let one = |(name, address): &(String, String)| match name.is_ascii() {
                true if name.is_empty() => address.clone(),
                true => format!("{name} <{address}>"),
                false => format!("{} <{address}>", words(name.trim_matches('"'))),
            };
            all.iter().map(one).collect::<Vec<_>>().join(", ")
        }
        _ => words(value),
    }
}

/// Encoded words.
fn words(text: &str) -> String {
    let (mut words, mut word) = (Vec::new(), String::new());
    for c in text.chars() {
        if word.len() + c.len_utf8() > WORD_BYTES_MAX {
            words.push(std::mem::take(&mut word));
        }
        word.push(c);
    }
    words.push(word);
    let encoded = |word: &String| {
        let bytes = word.bytes().map(|byte| match byte {
            b' ' => "_".to_owned(),
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("={byte:02X}"),
        });
        format!("=?utf-8?q?{}?=", bytes.collect::<String>())
    };
    words.iter().map(encoded).collect::<Vec<_>>().join(" ")
}

impl Mail {
    /// The mail as a server takes it after `DATA`, but for lines that begin with a dot, which SMTP doubles.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let mut lines = String::new();
        for (name, value) in &self.headers {
            lines.push_str(&folded(&format!("{name}: {value}")));
            lines.push_str("\r\n");
        }
        let boundary = &self.boundary;
        lines.push_str("MIME-Version: 1.0\r\n");
        // What comes with the text is a part beside the text, which is in parts itself.
        if self.file.is_some() {
            // Not the same at its beginning: some take a line for a boundary that only begins like it.
            lines.push_str(&format!("Content-Type: multipart/mixed; boundary=\"mixed-{boundary}\"\r\n\r\n"));
            lines.push_str(&format!("--mixed-{boundary}\r\n"));
        }
        lines.push_str(&format!("Content-Type: multipart/alternative; boundary=\"{boundary}\"\r\n\r\n"));
        // The best way to read it is the last.
        for (kind, part) in [("plain", &self.text), ("html", &self.html)] {
            let Some(part) = part else { continue };
            lines.push_str(&format!("--{boundary}\r\nContent-Type: text/{kind}; charset=UTF-8\r\n"));
            lines.push_str("Content-Transfer-Encoding: quoted-printable\r\n\r\n");
            lines.push_str(&quoted_printable(part));
            lines.push_str("\r\n");
        }
        lines.push_str(&format!("--{boundary}--\r\n"));
        if let Some(File { name, bytes }) = &self.file {
            lines
                .push_str(&format!("--mixed-{boundary}\r\nContent-Type: text/csv; charset=UTF-8; name=\"{name}\"\r\n"));
            lines.push_str(&format!("Content-Disposition: attachment; filename=\"{name}\"\r\n"));
            lines.push_str("Content-Transfer-Encoding: base64\r\n\r\n");
            for line in bytes.chunks(BASE64_LINE_BYTES) {
                STANDARD.encode_string(line, &mut lines);
                lines.push_str("\r\n");
            }
            lines.push_str(&format!("--mixed-{boundary}--\r\n"));
        }
        lines.into_bytes()
    }
}

/// A header in lines that mail takes, broken where there are spaces, or where there have to be some.
fn folded(header: &str) -> String {
    const HARD_BYTES_MAX: usize = 900;
    let (mut folded, mut line_bytes) = (String::new(), 0);
    for (at, word) in header.split(' ').enumerate() {
        if at > 0 {
            let breaks = line_bytes + 1 + word.len() > LINE_BYTES_MAX && line_bytes > 0 && !word.is_empty();
            folded.push_str(if breaks { "\r\n " } else { " " });
            line_bytes = if breaks { 1 } else { line_bytes + 1 };
        }
        for c in word.chars() {
            if line_bytes >= HARD_BYTES_MAX {
                folded.push_str("\r\n ");
                line_bytes = 1;
            }
            folded.push(c);
            line_bytes += c.len_utf8();
        }
    }
    folded
}

fn quoted_printable(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let mut encoded = String::with_capacity(text.len() + text.len() / 8);
    for (at, line) in text.split('\n').enumerate() {
        if at > 0 {
            encoded.push_str("\r\n");
        }
        let (mut bytes, bytes_all) = (0, line.len());
        for (at, byte) in line.bytes().enumerate() {
            let is_last = at + 1 == bytes_all;
            let is_plain = (b'!'..=b'~').contains(&byte) && byte != b'=' || (byte == b' ' || byte == b'\t') && !is_last;
            let wide = if is_plain { 1 } else { 3 };
            // Room for the mark of a line that goes on.
            if bytes + wide > LINE_BYTES_MAX - 1 {
                encoded.push_str("=\r\n");
                bytes = 0;
            }
            match is_plain {
                true => encoded.push(char::from(byte)),
                false => encoded.push_str(&format!("={byte:02X}")),
            }
            bytes += wide;
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let read = |text: &str| addresses(text).unwrap();
        let pair = |name: &str, address: &str| (name.to_owned(), address.to_owned());
        assert_eq!(read("a@b.c"), [pair("", "a@b.c")]);
        assert_eq!(read("A <a@b.c>, d@e.f,"), [pair("A", "a@b.c"), pair("", "d@e.f")]);
        assert_eq!(read(r#""Doe, \"J" <j@b.c>"#), [pair(r#""Doe, \"J""#, "j@b.c")]);
        for wrong in ["", "a", "@b", "a@", "a b@c", "a@b>\r\nRCPT TO:<x@y", "<a@b", ","] {
            assert!(addresses(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_ascii_is_encoded() {
        assert_eq!(header("Subject", "plain"), "plain");
        assert_eq!(header("Subject", "é=?"), "=?utf-8?q?=C3=A9=3D=3F?=");
        assert_eq!(header("To", "Zoë <z@b.c>, a@b.c"), "=?utf-8?q?Zo=C3=AB?= <z@b.c>, a@b.c");
        assert!(words(&"ü".repeat(40)).split(' ').all(|word| word.len() <= 75));
    }

    #[test]
    fn parts_are_quoted_printable() {
        assert_eq!(quoted_printable("a=é \nb\r\nc\t"), "a=3D=C3=A9=20\r\nb\r\nc=09");
        let long = quoted_printable(&"x".repeat(200));
        assert!(long.split("\r\n").all(|line| line.len() <= LINE_BYTES_MAX), "{long}");
        assert_eq!(long.replace("=\r\n", ""), "x".repeat(200));
    }

    #[test]
    fn headers_are_folded() {
        let header = folded(&format!("Subject: {} {}", "word ".repeat(40), "y".repeat(3_000)));
        assert!(header.split("\r\n").all(|line| line.len() < 998));
        assert!(header.split("\r\n").skip(1).all(|line| line.starts_with(' ')));
    }
}
