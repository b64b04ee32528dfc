//! Statements in what was typed: where one ends, and which place of one is at fault.
//!
//! Called by `shell` and `complete`. Pure. Knows of SQL only what hides a semicolon: quotes, dollars and comments. Not here: whether
//! it is a statement at all, which whoever is asked says.

use std::mem;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::terminal::clean_line;

/// Characters before the place of an error that are shown, and characters in all.
const BEFORE_MAX: usize = 60;
const SHOWN_MAX: usize = 100;

/// What was typed, cut at semicolons.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cut<'a> {
    /// Statements that end, without their semicolons; none is empty.
    pub(super) whole: Vec<&'a str>,
    /// What follows the last of them: empty, or the beginning of another one.
    pub(super) rest: &'a str,
    /// Does the text end within quotes or a comment?
    pub(super) is_open: bool,
}

/// Cuts what was typed into statements.
pub(super) fn cut(text: &str) -> Cut<'_> {
    let (mut whole, mut begin, mut at, mut is_open) = (Vec::new(), 0, 0, false);
    // Is there anything but blanks and comments since `begin`?
    let mut says_something = false;
    while at < text.len() {
        let (end, kind) = token(text, at);
        match kind {
            Kind::End => {
                if says_something {
                    whole.push(text[begin..at].trim());
                }
                (begin, says_something) = (end, false);
            }
            Kind::Open { is_comment } => {
                is_open = true;
                says_something |= !is_comment;
            }
            Kind::Word => says_something = true,
            Kind::Blank => {}
        }
        at = end;
    }
    let rest = if says_something || is_open { text[begin..].trim() } else { "" };
    Cut { whole, rest, is_open }
}

/// May what was typed be taken, or does it go on in the next line?
pub(super) fn is_complete(text: &str) -> bool {
    let typed = text.trim();
    if typed.starts_with('\\') || super::commands::is_bare_word(typed) {
        return true;
    }
    cut(text).rest.is_empty()
}

/// What a text says, as it would be typed: commands of a line each, and statements, the last of which may lack its semicolon.
pub(super) fn typed(text: &str) -> Vec<String> {
    let (mut all, mut begun) = (Vec::new(), String::new());
    for line in text.lines() {
        // Within a statement a line is a part of it, whatever it looks like.
        begun.push_str(line);
        begun.push('\n');
        if begun.trim().is_empty() {
            begun.clear();
        } else if is_complete(&begun) {
            all.push(mem::take(&mut begun));
        }
    }
    if !begun.trim().is_empty() {
        all.push(format!("{begun};"));
    }
    all
}

/// The line of a statement that is at fault, and under it a mark. Line and column are counted from 1, the latter in characters.
pub(super) fn marked(statement: &str, line: u64, column: u64) -> Option<String> {
    let index = |number: u64| usize::try_from(number).ok()?.checked_sub(1);
    let text = statement.lines().nth(index(line)?)?;
    let column = index(column)?;
    let length = text.chars().count();
    // One after the last is where something is missing.
    if column > length {
        return None;
    }
    let from = column.saturating_sub(BEFORE_MAX);
    // A character stays one, so that the mark stays under it.
    let shown: String =
        text.chars().skip(from).take(SHOWN_MAX).map(|c| if c.width().is_none() { ' ' } else { c }).collect();
    let shown = clean_line(&shown);
    let before: String = shown.chars().take(column - from).collect();
    let (head, tail) = (format!("LINE {line}: "), if from + SHOWN_MAX < length { "…" } else { "" });
    let head = if from > 0 { format!("{head}…") } else { head };
    let mark = " ".repeat(head.width() + before.width());
    Some(format!("{head}{shown}{tail}\n{mark}^"))
}

enum Kind {
    Word,
    Blank,
    End,
    /// Goes on past the end of the text.
    Open {
        is_comment: bool,
    },
}

/// Where the token at a place ends, and what it is. All that matters is ASCII, so both places are between characters.
fn token(text: &str, at: usize) -> (usize, Kind) {
    let bytes = text.as_bytes();
    let rest = &text[at..];
    let until = |found: Option<usize>, kind: Kind, is_comment: bool| match found {
        Some(end) => (end, kind),
        None => (text.len(), Kind::Open { is_comment }),
    };
    match bytes[at] {
        b';' => (at + 1, Kind::End),
        b'\'' => until(quoted(bytes, at, is_escaped(bytes, at)), Kind::Word, false),
        b'"' => until(quoted(bytes, at, false), Kind::Word, false),
        b'-' if rest.starts_with("--") => (rest.find('\n').map_or(text.len(), |end| at + end + 1), Kind::Blank),
        b'/' if rest.starts_with("/*") => until(comment(bytes, at), Kind::Blank, true),
        b'$' => match tag(rest).filter(|_| !continues_a_word(bytes, at)) {
            Some(tag) => {
                let body = at + tag.len();
                until(text[body..].find(tag).map(|end| body + end + tag.len()), Kind::Word, false)
            }
            None => (at + 1, Kind::Word),
        },
        byte if byte.is_ascii_whitespace() => (at + 1, Kind::Blank),
        _ => (at + rest.chars().next().map_or(1, char::len_utf8), Kind::Word),
    }
}

/// The end of a quoted text; a doubled quote is one inside.
fn quoted(bytes: &[u8], begin: usize, has_escapes: bool) -> Option<usize> {
    let quote = bytes[begin];
    let mut at = begin + 1;
    while let Some(&byte) = bytes.get(at) {
        at += match byte {
            b'\\' if has_escapes => 2,
            _ if byte == quote && bytes.get(at + 1) == Some(&quote) => 2,
            _ if byte == quote => return Some(at + 1),
            _ => 1,
        };
    }
    None
}

/// Is a quote that of `E'…'`?
fn is_escaped(bytes: &[u8], at: usize) -> bool {
    at > 0 && matches!(bytes[at - 1], b'e' | b'E') && !continues_a_word(bytes, at - 1)
}

fn continues_a_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || matches!(bytes[at - 1], b'_' | b'$'))
}

/// The end of a comment, which may have others inside.
fn comment(bytes: &[u8], begin: usize) -> Option<usize> {
    let (mut at, mut depth) = (begin, 0_usize);
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => (at, depth) = (at + 2, depth + 1),
            b"*/" => {
                (at, depth) = (at + 2, depth - 1);
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at += 1,
        }
    }
    None
}

/// `$$` or `$name$` at the beginning of a text; `$1` and `$name` are parameters.
fn tag(text: &str) -> Option<&str> {
    let end = 1 + text[1..].find('$')?;
    let name = &text[1..end];
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (is_name && !name.starts_with(|c: char| c.is_ascii_digit())).then(|| &text[..=end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_ends_at_a_semicolon_that_nothing_hides() {
        let whole = |text| cut(text).whole;
        assert_eq!(whole("SELECT 1; SELECT 2 ;"), ["SELECT 1", "SELECT 2"]);
        assert_eq!(whole("SELECT ';' AS \"a;b\";"), ["SELECT ';' AS \"a;b\""]);
        assert_eq!(whole("SELECT 'it''s;';"), ["SELECT 'it''s;'"]);
        assert_eq!(whole(r"SELECT '\'; SELECT E'\';';"), [r"SELECT '\'", r"SELECT E'\';'"]);
        assert_eq!(whole("SELECT 1 -- one;\n;"), ["SELECT 1 -- one;"]);
        assert_eq!(whole("SELECT /* a; /* b; */ c; */ 1;"), ["SELECT /* a; /* b; */ c; */ 1"]);
        assert_eq!(whole("SELECT $$;$$, $a$;$$;$a$, a$1;"), ["SELECT $$;$$, $a$;$$;$a$, a$1"]);
        assert_eq!(whole("SELECT 'é;ü', é;"), ["SELECT 'é;ü', é"]);
        assert_eq!(whole(";; -- nothing\n;"), [""; 0]);
    }

    #[test]
    fn what_follows_the_last_semicolon_goes_on() {
        for open in
            ["SELECT 1", "SELECT 1; SELECT", "SELECT ';", "SELECT \";", "SELECT 1; /* ;", "SELECT $$;", "/*/", "E'\\"]
        {
            assert!(!is_complete(open), "{open}");
            assert!(!cut(open).rest.is_empty(), "{open}");
        }
        for done in
            ["", "  \n", "SELECT 1;", "SELECT 1; -- one", "-- one", "SELECT 1; /* one */ \n", "\\d samples", "quit"]
        {
            assert!(is_complete(done), "{done}");
        }
        assert_eq!(cut("SELECT 1; SELECT 2"), Cut { whole: vec!["SELECT 1"], rest: "SELECT 2", is_open: false });
        assert!(cut("SELECT 'a").is_open && !cut("SELECT 'a'").is_open);
    }

    #[test]
    fn a_text_is_taken_as_it_would_be_typed() {
        let text = "-- costs\n\\format csv\n\nSELECT 1,\n\\d 2;\nSELECT 3; SELECT 4\n, 5";
        let typed = typed(text);
        assert_eq!(typed.len(), 4, "{typed:?}");
        assert_eq!(typed[1], "\\format csv\n");
        let whole: Vec<Vec<&str>> = typed.iter().map(|typed| cut(typed).whole).collect();
        assert_eq!(whole[2], ["SELECT 1,\n\\d 2"], "a line within a statement is no command");
        assert_eq!(whole[3], ["SELECT 3", "SELECT 4\n, 5"]);
        assert_eq!(super::typed("SELECT 1 -- one"), ["SELECT 1 -- one\n;"]);
        assert_eq!(super::typed("\n \n"), [""; 0]);
    }

    #[test]
    fn an_error_is_marked_in_its_line() {
        let statement = "SELECT\n  'é漢' , nothing\tFROM samples";
        let marked_at = |line, column| marked(statement, line, column);
        assert_eq!(marked_at(2, 10).unwrap(), "LINE 2:   'é漢' , nothing FROM samples\n                  ^");
        assert_eq!(marked_at(1, 7).unwrap(), "LINE 1: SELECT\n              ^");
        assert_eq!(marked_at(1, 8), None);
        assert_eq!(marked_at(3, 1), None);
        assert_eq!(marked_at(0, 0), None);
        let long = format!("SELECT {}", "x".repeat(1000));
        let shown = marked(&long, 1, 500).unwrap();
        let (line, mark) = shown.split_once('\n').unwrap();
        assert!(line.starts_with("LINE 1: …x") && line.ends_with("x…") && line.chars().count() < 120, "{line}");
        assert_eq!(mark.len(), "LINE 1: ".len() + 1 + BEFORE_MAX + 1);
    }
}
