//! Cuts a string into statements, and tells those that are answered here from those that ask.
//!
//! Invariant: the list of what is answered here is closed. A statement that begins otherwise goes to the engine if it can be a query, and
//! is refused if it cannot.

use std::ops::Range;

use crate::failure::Failure;

/// What a statement is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing.
    Empty,
    /// For the engine; with the word that its end is told by.
    Query(&'static str),
    /// `SHOW` of a setting.
    Show(String),
    /// `SET`, with what follows.
    Set {
        name: String,
        value: Option<String>,
    },
    /// `SET` of what has no meaning here.
    Ignored(&'static str),
    /// `RESET`; all of them without a name.
    Reset(Option<String>),
    Begin(&'static str),
    Commit,
    Rollback,
    /// `SAVEPOINT`, or `RELEASE` of one.
    Savepoint(&'static str),
    /// `ROLLBACK TO` a savepoint, from which on all is well again.
    RollbackTo,
    /// `DISCARD`.
    Discard {
        tag: String,
        is_all: bool,
    },
    /// `DEALLOCATE`; all of them without a name.
    Deallocate(Option<String>),
    /// `COPY (query) TO STDOUT`.
    Copy(Copy),
}

/// A query whose answer is copied out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Copy {
    /// Where the query is in the statement.
    pub query: Range<usize>,
    pub is_csv: bool,
    pub has_header: bool,
    pub delimiter: u8,
    pub null: String,
}

/// Places of the statements of a text, without what separates them.
pub(crate) fn statements(text: &str) -> Vec<Range<usize>> {
    let (mut found, mut begin) = (Vec::new(), 0);
    for (at, token) in tokens(text) {
        if token == ";" {
            found.push(begin..at);
            begin = at + 1;
        }
    }
    found.push(begin..text.len());
    found.retain(|range| tokens(&text[range.clone()]).next().is_some());
    found
}

/// What a statement is.
///
/// # Errors
/// If it is refused.
pub(crate) fn kind(text: &str) -> Result<Kind, Failure> {
    let tokens: Vec<(usize, &str)> = tokens(text).take(64).collect();
    let words: Vec<String> = tokens.iter().map(|(_, token)| token.to_ascii_uppercase()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let of = |at: usize| tokens.get(at).map(|(_, token)| plain(token));
    Ok(match words.as_slice() {
        [] => Kind::Empty,
        ["SHOW", "TABLES" | "COLUMNS" | "FULL" | "EXTENDED", ..] | ["DESCRIBE" | "DESC", ..] => Kind::Query("SHOW"),
        ["SELECT" | "WITH" | "VALUES" | "TABLE" | "(", ..] => Kind::Query("SELECT"),
        ["EXPLAIN", ..] => Kind::Query("EXPLAIN"),
        ["SHOW", "TIME", "ZONE"] => Kind::Show("timezone".to_owned()),
        ["SHOW", "TRANSACTION", "ISOLATION", "LEVEL"] => Kind::Show("transaction_isolation".to_owned()),
        ["SHOW", "SESSION", "AUTHORIZATION"] => Kind::Show("session_authorization".to_owned()),
        ["SHOW", ..] => Kind::Show(joined(&tokens[1..])),
        ["SET", "SESSION", "CHARACTERISTICS", ..] | ["SET", "TRANSACTION" | "CONSTRAINTS", ..] => Kind::Ignored("SET"),
        ["SET", "SESSION" | "LOCAL", "TIME", "ZONE", ..] => setting("timezone", &tokens[4..]),
        ["SET", "TIME", "ZONE", ..] => setting("timezone", &tokens[3..]),
        ["SET", "NAMES", ..] => setting("client_encoding", &tokens[2..]),
        ["SET", "ROLE", ..] | ["SET", "SESSION" | "LOCAL", "ROLE" | "AUTHORIZATION", ..] => {
            return Err(Failure::new("0A000", "who asks is who logged in: another role cannot be taken"));
        }
        ["SET", "SESSION" | "LOCAL", ..] => assigned(&tokens[2..])?,
        ["SET", ..] => assigned(&tokens[1..])?,
        ["RESET", "ALL"] => Kind::Reset(None),
        ["RESET", "TIME", "ZONE"] => Kind::Reset(Some("timezone".to_owned())),
        ["RESET", ..] => Kind::Reset(Some(joined(&tokens[1..]))),
        ["BEGIN", ..] => Kind::Begin("BEGIN"),
        ["START", "TRANSACTION", ..] => Kind::Begin("START TRANSACTION"),
        ["COMMIT" | "END", rest @ ..] if !rest.contains(&"PREPARED") => Kind::Commit,
        ["ROLLBACK", "TO", ..] | ["ROLLBACK", "WORK" | "TRANSACTION", "TO", ..] => Kind::RollbackTo,
        ["ROLLBACK" | "ABORT", rest @ ..] if !rest.contains(&"PREPARED") => Kind::Rollback,
        ["SAVEPOINT", _] => Kind::Savepoint("SAVEPOINT"),
        ["RELEASE", _] | ["RELEASE", "SAVEPOINT", _] => Kind::Savepoint("RELEASE"),
        ["DISCARD", what @ ("ALL" | "PLANS" | "SEQUENCES" | "TEMP" | "TEMPORARY")] => {
            Kind::Discard { tag: format!("DISCARD {what}"), is_all: *what == "ALL" }
        }
        ["DEALLOCATE", "PREPARE", "ALL"] | ["DEALLOCATE", "ALL"] => Kind::Deallocate(None),
        ["DEALLOCATE", "PREPARE", _] => Kind::Deallocate(of(2)),
        ["DEALLOCATE", _] => Kind::Deallocate(of(1)),
        ["COPY", ..] => copy(text)?,
        [first, ..] => return Err(refused(first)),
    })
}

/// Statements that change something are told by their own code, on which drivers act.
fn refused(first: &str) -> Failure {
    const WRITE: [&str; 22] = [
        "INSERT", "UPDATE", "DELETE", "MERGE", "CREATE", "DROP", "ALTER", "TRUNCATE", "GRANT", "REVOKE", "COMMENT",
        "VACUUM", "ANALYZE", "REINDEX", "CLUSTER", "REFRESH", "LOCK", "CALL", "DO", "IMPORT", "SECURITY", "REASSIGN",
    ];
    const OTHER: [&str; 12] = [
        "DECLARE",
        "FETCH",
        "MOVE",
        "CLOSE",
        "LISTEN",
        "NOTIFY",
        "UNLISTEN",
        "PREPARE",
        "EXECUTE",
        "SAVEPOINT",
        "RELEASE",
        "ROLLBACK",
    ];
    if WRITE.contains(&first) {
        return Failure::new(
            "25006",
            format!("queries only read: {first} is refused; send SELECT, SHOW, DESCRIBE or EXPLAIN"),
        );
    }
    if OTHER.contains(&first) || ["COMMIT", "END", "ABORT", "CHECKPOINT", "LOAD"].contains(&first) {
        return Failure::new("0A000", format!("{first} is not answered here; send SELECT, SHOW, DESCRIBE or EXPLAIN"));
    }
    let failure =
        Failure::new("42601", format!("syntax error at or near \"{first}\": send SELECT, SHOW, DESCRIBE or EXPLAIN"));
    Failure { position: Some(1), ..failure }
}

/// `name = value` or `name TO value`.
fn assigned(tokens: &[(usize, &str)]) -> Result<Kind, Failure> {
    let at = tokens.iter().position(|(_, token)| *token == "=" || token.eq_ignore_ascii_case("to"));
    let Some(at) = at.filter(|at| *at > 0) else {
        return Err(Failure::new("42601", "SET takes a name, = or TO, and a value"));
    };
    Ok(setting(&joined(&tokens[..at]), &tokens[at + 1..]))
}

fn setting(name: &str, value: &[(usize, &str)]) -> Kind {
    let value = match value {
        [(_, word)] if word.eq_ignore_ascii_case("default") => None,
        tokens => Some(tokens.iter().map(|(_, token)| plain(token)).collect::<Vec<_>>().join("").replace(',', ", ")),
    };
    Kind::Set { name: name.to_ascii_lowercase(), value }
}

/// A name of several parts, as settings of extensions have.
fn joined(tokens: &[(usize, &str)]) -> String {
    tokens.iter().map(|(_, token)| plain(token)).collect::<String>().to_ascii_lowercase()
}

/// A token without its quotes.
fn plain(token: &str) -> String {
    for quote in ['\'', '"'] {
        if let Some(inner) = token.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner.replace(&format!("{quote}{quote}"), &quote.to_string());
        }
    }
    token.to_owned()
}

fn copy(text: &str) -> Result<Kind, Failure> {
    let refused = |message: &str| Failure::new("0A000", message);
    let all: Vec<(usize, &str)> = tokens(text).collect();
    if all.get(1).is_none_or(|(_, token)| *token != "(") {
        return Err(refused("only COPY (query) TO STDOUT is answered here"));
    }
    let mut depth = 0_usize;
    let close = all.iter().position(|(_, token)| {
        match *token {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            _ => return false,
        }
        depth == 0
    });
    let close = close.ok_or_else(|| Failure::new("42601", "COPY lacks a closing bracket"))?;
    let rest: Vec<String> = all[close + 1..].iter().map(|(_, token)| token.to_ascii_uppercase()).collect();
    if rest.len() < 2 || rest[0] != "TO" || rest[1] != "STDOUT" {
        return Err(refused("only COPY (query) TO STDOUT is answered here: files and programs cannot be written"));
    }
    let mut copy =
        Copy { query: all[1].0 + 1..all[close].0, is_csv: false, has_header: false, delimiter: 0, null: String::new() };
    let mut null = None;
    let mut options = all[close + 3..].iter().map(|(_, token)| *token).peekable();
    while let Some(option) = options.next() {
        match option.to_ascii_uppercase().as_str() {
            "WITH" | "(" | ")" | "," | "AS" | "FORMAT" => {}
            "CSV" => copy.is_csv = true,
            "TEXT" => copy.is_csv = false,
            "HEADER" => {
                let says = |words: [&str; 4], next: &str| words.iter().any(|word| next.eq_ignore_ascii_case(word));
                let no = options.next_if(|next| says(["false", "off", "0", "no"], next));
                let _ = options.next_if(|next| says(["true", "on", "1", "yes"], next));
                copy.has_header = no.is_none();
            }
            name @ ("DELIMITER" | "NULL" | "ENCODING") => {
                options.next_if(|next| next.eq_ignore_ascii_case("as"));
                let value = options.next().map(plain).unwrap_or_default();
                match name {
                    "DELIMITER" if value == "\\t" || value == "E'\\t'" => copy.delimiter = b'\t',
                    "DELIMITER" if value.len() == 1 => copy.delimiter = value.as_bytes()[0],
                    "DELIMITER" => return Err(Failure::new("22023", "the delimiter of COPY is one byte")),
                    "NULL" => null = Some(value),
                    _ if value.eq_ignore_ascii_case("utf8") || value.eq_ignore_ascii_case("utf-8") => {}
                    _ => return Err(refused("COPY is in UTF8 only")),
                }
            }
            other => {
                return Err(refused(&format!("COPY takes FORMAT text or csv, HEADER, DELIMITER, NULL: not {other}")));
            }
        }
    }
    if copy.delimiter == 0 {
        copy.delimiter = if copy.is_csv { b',' } else { b'\t' };
    }
    copy.null = null.unwrap_or_else(|| if copy.is_csv { String::new() } else { "\\N".to_owned() });
    Ok(Kind::Copy(copy))
}

/// Words, quoted texts and signs, with their places; comments and space are left out.
fn tokens(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        at = skipped(text, at);
        let end = at + token(&text[at..]);
        let found = (at < end).then(|| (at, &text[at..end]));
        at = end;
        found
    })
}

/// Where the next token is.
fn skipped(text: &str, mut at: usize) -> usize {
    loop {
        let rest = &text[at..];
        let space = rest.len() - rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\0').len();
        if space > 0 {
            at += space;
        } else if rest.starts_with("--") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            at += comment(rest);
        } else {
            return at;
        }
    }
}

/// How long a comment is, in which there may be others.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    let bytes = text.as_bytes();
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// How long the token at the begin is.
fn token(text: &str) -> usize {
    let Some(first) = text.chars().next() else { return 0 };
    match first {
        '\'' => quoted(text, '\'', false),
        '"' => quoted(text, '"', false),
        'e' | 'E' if text[1..].starts_with('\'') => 1 + quoted(&text[1..], '\'', true),
        '$' => dollar(text),
        c if c.is_alphanumeric() || c == '_' => {
            let end = |c: char| !(c.is_alphanumeric() || "_.$".contains(c));
            text.find(end).unwrap_or(text.len())
        }
        c => c.len_utf8(),
    }
}

fn quoted(text: &str, quote: char, has_escapes: bool) -> usize {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if has_escapes && c == '\\' {
            chars.next();
        } else if c == quote && chars.next_if(|(_, next)| *next == quote).is_none() {
            return at + 1;
        }
    }
    text.len()
}

/// `$tag$ … $tag$`, or the number of a parameter.
fn dollar(text: &str) -> usize {
    let name = text[1..].find(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(text.len(), |end| end + 1);
    if !text[name..].starts_with('$') || text[1..].starts_with(|c: char| c.is_ascii_digit()) {
        return name;
    }
    let tag = &text[..=name];
    text[name + 1..].find(tag).map_or(text.len(), |end| name + 1 + end + tag.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_cut_where_they_end_and_nowhere_else() {
        let text = "SELECT ';' ; -- a;b\n SELECT \"x;\"; /* ; /* ; */ */ SELECT $a$;$a$, E'\\';';;";
        let found: Vec<&str> = statements(text).into_iter().map(|range| text[range].trim()).collect();
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(found[0], "SELECT ';'");
        assert!(found[2].ends_with("E'\\';'"));
    }

    #[test]
    fn what_clients_set_is_told_from_what_they_ask() {
        let set = |name: &str, value: &str| Kind::Set { name: name.to_owned(), value: Some(value.to_owned()) };
        assert_eq!(kind("SET extra_float_digits = 3").unwrap(), set("extra_float_digits", "3"));
        assert_eq!(kind("set time zone \"Asia/Shanghai\"").unwrap(), set("timezone", "Asia/Shanghai"));
        assert_eq!(kind("SET search_path TO public, pg_catalog").unwrap(), set("search_path", "public, pg_catalog"));
        assert_eq!(kind("SHOW TRANSACTION ISOLATION LEVEL").unwrap(), Kind::Show("transaction_isolation".to_owned()));
        assert_eq!(kind("/* hi */ (SELECT 1)").unwrap(), Kind::Query("SELECT"));
        assert_eq!(kind("DEALLOCATE \"s1\"").unwrap(), Kind::Deallocate(Some("s1".to_owned())));
        assert_eq!(kind(" -- nothing").unwrap(), Kind::Empty);
    }

    #[test]
    fn everything_else_is_refused_with_a_code() {
        let code = |text: &str| kind(text).unwrap_err().code;
        for text in
            ["INSERT INTO costs VALUES (1)", "drop table costs", "DO $$ BEGIN END $$", "CREATE TABLE t AS SELECT 1"]
        {
            assert_eq!(code(text), "25006", "{text}");
        }
        for text in [
            "DECLARE c CURSOR FOR SELECT 1",
            "PREPARE p AS SELECT 1",
            "COPY costs TO STDOUT",
            "LISTEN x",
            "SET ROLE root",
        ] {
            assert_eq!(code(text), "0A000", "{text}");
        }
        assert_eq!(code("COPY (SELECT 1) TO '/etc/passwd'"), "0A000");
        assert_eq!(code("COPY (SELECT 1) TO PROGRAM 'sh'"), "0A000");
        assert_eq!(code("SELEKT 1"), "42601");
    }

    #[test]
    fn a_copy_says_what_is_asked_and_how_it_is_written() {
        let text = "COPY (SELECT a, (b) FROM t) TO STDOUT WITH (FORMAT csv, HEADER, DELIMITER ';')";
        let Kind::Copy(copy) = kind(text).unwrap() else { panic!("no copy") };
        assert_eq!(&text[copy.query.clone()], "SELECT a, (b) FROM t");
        assert!(copy.is_csv && copy.has_header);
        assert_eq!((copy.delimiter, copy.null.as_str()), (b';', ""));
        let Kind::Copy(plain) = kind("copy ( select 1 ) to stdout").unwrap() else { panic!("no copy") };
        assert_eq!((plain.is_csv, plain.delimiter, plain.null.as_str()), (false, b'\t', "\\N"));
        let Kind::Copy(old) = kind("COPY (SELECT 1) TO STDOUT CSV HEADER").unwrap() else { panic!("no copy") };
        assert!(old.is_csv && old.has_header);
    }
}
