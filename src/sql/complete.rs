//! Completion: words of SQL, functions, tables, columns, metrics and commands.
//!
//! Called by the line editor. [`Names`] are asked for once, while the first statement is typed; until they are there, words of SQL are
//! all that is known. Not here: what a statement means; a guess that is wrong costs a keystroke.

use std::{
    collections::HashSet,
    sync::{Arc, OnceLock},
};

use rustyline::{
    Context, Helper,
    completion::Completer,
    highlight::Highlighter,
    hint::Hinter,
    validate::{ValidationContext, ValidationResult, Validator},
};

use super::{
    commands,
    output::{Expanded, Shape},
    statement,
};

/// Words of SQL that are completed.
const WORDS: [&str; 66] = [
    "ALL",
    "AND",
    "AS",
    "ASC",
    "AVG",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "COALESCE",
    "COUNT",
    "CROSS",
    "CURRENT_DATE",
    "DATE_BIN",
    "DATE_TRUNC",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "FALSE",
    "FILTER",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "ILIKE",
    "IN",
    "INNER",
    "INTERSECT",
    "INTERVAL",
    "IS",
    "JOIN",
    "LATERAL",
    "LEFT",
    "LIKE",
    "LIMIT",
    "MAX",
    "MIN",
    "NOT",
    "NULL",
    "NULLS",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "RIGHT",
    "SELECT",
    "SHOW",
    "SUM",
    "TABLES",
    "THEN",
    "TIMESTAMP",
    "TRUE",
    "UNION",
    "USING",
    "VALUES",
    "WHEN",
    "WHERE",
    "WITH",
];
/// Words that a table follows.
const BEFORE_TABLES: [&str; 3] = ["FROM", "JOIN", "DESCRIBE"];
/// Words that the name of a metric follows, in quotes; and what may stand between them.
const BEFORE_METRICS: [&str; 3] = ["metric", "promql", "promql_instant"];
const BETWEEN: [&str; 4] = ["NOT", "IN", "LIKE", "ILIKE"];

/// Tables and their columns, functions and metrics.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    tables: Vec<(String, Vec<String>)>,
    functions: Vec<String>,
    metrics: Vec<String>,
}

impl Names {
    /// Of rows that say of what kind a name is: a `column`, whose table comes first, a table's in a row; a `function`; or a `metric`.
    pub(super) fn of(rows: impl IntoIterator<Item = [String; 3]>) -> Self {
        let mut names = Self::default();
        for [kind, name, column] in rows {
            match (kind.as_str(), names.tables.last_mut()) {
                ("column", Some((last, columns))) if *last == name => columns.push(column),
                ("column", _) => names.tables.push((name, vec![column])),
                ("function", _) => names.functions.push(name),
                _ => names.metrics.push(name),
            }
        }
        names
    }

    fn tables(&self) -> impl Iterator<Item = &str> {
        self.tables.iter().map(|(table, _)| table.as_str())
    }

    fn columns(&self, table: &str) -> Option<&[String]> {
        self.tables.iter().find(|(name, _)| name.eq_ignore_ascii_case(table)).map(|(_, columns)| columns.as_slice())
    }
}

/// What may stand at a place, and where it begins.
fn candidates(line: &str, place: usize, names: &Names) -> (usize, Vec<String>) {
    let before = line.get(..place).unwrap_or(line);
    if before.trim_start().starts_with('\\') {
        return of_commands(before, names);
    }
    let start = before
        .rfind(|c: char| !is_of_word(c))
        .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
    let (said, typed) = before.split_at(start);
    if statement::cut(before).is_open {
        return in_quotes(before, names);
    }
    let words: Vec<&str> = line.split(|c| !is_of_word(c)).filter(|word| !word.is_empty()).collect();
    let last = said.trim_end().rsplit(|c: char| c.is_whitespace()).next().unwrap_or_default();
    let found: Vec<String> = if let Some(owner) = said.strip_suffix('.') {
        let owner = owner.rsplit(|c| !is_of_word(c)).next().unwrap_or_default();
        let columns = names.columns(meant(owner, &words, names));
        matching(typed, columns.into_iter().flatten().map(String::as_str))
    } else if is_one_of(last, &BEFORE_TABLES) {
        matching(typed, names.tables())
    } else {
        let named: Vec<&[String]> = words.iter().filter_map(|word| names.columns(word)).collect();
        let is_any = named.is_empty() && !typed.is_empty();
        // What is asked for is often typed before where it comes from.
        let any = names.tables.iter().filter(|_| is_any).map(|(_, columns)| columns.as_slice());
        let mut found = matching(typed, named.iter().copied().chain(any).flatten().map(String::as_str));
        if !typed.is_empty() {
            found.append(&mut matching(typed, names.tables()));
            let is_small = typed.chars().all(|c| c.is_lowercase() || !c.is_alphabetic());
            let cased = |word: String| if is_small { word.to_lowercase() } else { word.to_uppercase() };
            let functions = matching(typed, names.functions.iter().map(String::as_str));
            found.extend(functions.into_iter().chain(matching(typed, WORDS.into_iter())).map(cased));
            let mut seen = HashSet::new();
            found.retain(|name| seen.insert(name.to_lowercase()));
        }
        found
    };
    (start, found)
}

/// Names of metrics, where one may stand in quotes.
fn in_quotes(before: &str, names: &Names) -> (usize, Vec<String>) {
    let start = before.len()
        - before.chars().rev().take_while(|c| is_of_word(*c) || *c == ':').map(char::len_utf8).sum::<usize>();
    let is_asked =
        before.rsplit_once('\'').filter(|(said, _)| !said.trim_end().ends_with(',')).is_some_and(|(said, _)| {
            let mut words = said.rsplit(|c| !is_of_word(c)).filter(|word| !word.is_empty());
            words.find(|word| !is_one_of(word, &BETWEEN)).is_some_and(|word| is_one_of(word, &BEFORE_METRICS))
        });
    let metrics = names.metrics.iter().filter(|_| is_asked).map(String::as_str);
    (start, matching(&before[start..], metrics))
}

/// The table that a name before a point means: itself, or the one that it stands for in this statement.
fn meant<'a>(owner: &'a str, words: &[&'a str], names: &Names) -> &'a str {
    if names.columns(owner).is_some() {
        return owner;
    }
    let is_named = |pair: &&[&str]| pair[1].eq_ignore_ascii_case(owner);
    let named: Vec<&str> = words.iter().copied().filter(|word| !word.eq_ignore_ascii_case("as")).collect();
    let found = named.windows(2).filter(is_named).find(|pair| names.columns(pair[0]).is_some()).map(|pair| pair[0]);
    found.unwrap_or(owner)
}

fn of_commands(before: &str, names: &Names) -> (usize, Vec<String>) {
    let start =
        before.rfind(char::is_whitespace).map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
    let (said, typed) = before.split_at(start);
    let found = match said.trim() {
        "" => matching(typed, commands::NAMES.into_iter()),
        "\\d" | "\\d+" => matching(typed, names.tables()),
        "\\format" => matching(typed, Shape::ALL.into_iter().map(Shape::name)),
        "\\timing" => matching(typed, ["on", "off"].into_iter()),
        "\\x" => matching(typed, Expanded::ALL.into_iter().map(Expanded::name)),
        _ => Vec::new(),
    };
    (start, found)
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_one_of(word: &str, words: &[&str]) -> bool {
    words.iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// Names that begin as typed, in any case, once each.
fn matching<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let begins = |name: &&str| name.get(..typed.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(typed));
    let mut found: Vec<String> = names.filter(begins).map(str::to_owned).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// What helps while a statement is typed.
#[derive(Debug, Default)]
pub(super) struct Aid {
    /// Filled in when they are known.
    pub(super) names: Arc<OnceLock<Names>>,
}

impl Completer for Aid {
    type Candidate = String;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let none = Names::default();
        Ok(candidates(line, pos, self.names.get().unwrap_or(&none)))
    }
}

impl Validator for Aid {
    fn validate(&self, typed: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let is_complete = statement::is_complete(typed.input());
        Ok(if is_complete { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Hinter for Aid {
    type Hint = String;
}

impl Highlighter for Aid {}

impl Helper for Aid {}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let rows = [
            ["column", "costs", "BilledCost"],
            ["column", "costs", "ServiceName"],
            ["column", "samples", "metric"],
            ["column", "samples", "ts"],
            ["function", "max", ""],
            ["function", "time_bucket", ""],
            ["metric", "job:up:sum", ""],
            ["metric", "node_load1", ""],
        ];
        Names::of(rows.map(|row| row.map(str::to_owned)))
    }

    /// What is found where `|` stands.
    fn found(marked: &str) -> Vec<String> {
        let place = marked.find('|').unwrap();
        let line = marked.replace('|', "");
        let (start, found) = candidates(&line, place, &names());
        assert!(start <= place && line.is_char_boundary(start));
        found
    }

    #[test]
    fn words_of_sql_come_as_they_are_typed() {
        assert_eq!(found("SEL|"), ["SELECT"]);
        assert_eq!(found("sel|"), ["select"]);
        assert_eq!(found("SELECT 1 ORD| x"), ["ORDER"]);
        assert_eq!(found("|"), [""; 0]);
    }

    #[test]
    fn tables_follow_from_and_columns_are_those_of_the_tables_of_the_statement() {
        assert_eq!(found("SELECT * FROM |"), ["costs", "samples"]);
        assert_eq!(found("select * from S|"), ["samples"]);
        assert_eq!(found("SELECT bi| FROM costs"), ["BilledCost"]);
        assert_eq!(found("SELECT | FROM samples"), ["metric", "ts"]);
        assert_eq!(found("SELECT m| FROM samples"), ["metric", "max", "min"]);
        assert_eq!(found("SELECT bil| FROM samples"), [""; 0]);
        assert_eq!(found("SELECT bil|"), ["BilledCost"]);
    }

    #[test]
    fn a_point_asks_for_columns_of_a_table_or_of_what_stands_for_it() {
        assert_eq!(found("SELECT costs.| FROM costs"), ["BilledCost", "ServiceName"]);
        assert_eq!(found("SELECT c.S| FROM costs AS c"), ["ServiceName"]);
        assert_eq!(found("SELECT c.s|, s.ts FROM costs c JOIN samples s"), ["ServiceName"]);
        assert_eq!(found("SELECT x.| FROM costs c"), [""; 0]);
    }

    #[test]
    fn nothing_is_completed_within_quotes() {
        assert_eq!(found("SELECT * FROM samples WHERE metric = 'm|"), [""; 0]);
        assert_eq!(
            found("SELECT 'é' AS é, t| FROM samples"),
            ["ts", "time_bucket", "tables", "then", "timestamp", "true"]
        );
    }

    #[test]
    fn functions_are_completed_once() {
        assert_eq!(found("SELECT time_b|"), ["time_bucket"]);
        assert_eq!((found("SELECT MA|"), found("SELECT ma|")), (vec!["MAX".to_owned()], vec!["max".to_owned()]));
    }

    #[test]
    fn metrics_are_completed_where_one_may_stand() {
        assert_eq!(found("SELECT * FROM metrics WHERE metric = '|"), ["job:up:sum", "node_load1"]);
        assert_eq!(found("SELECT * FROM metrics m WHERE m.metric NOT IN ('NODE|"), ["node_load1"]);
        assert_eq!(found("SELECT * FROM promql('sum by (job) (rate(job:u|"), ["job:up:sum"]);
        assert_eq!(found("SELECT * FROM metrics WHERE labels['job'] = 'n|"), [""; 0]);
        assert_eq!(found("SELECT metric, 'é n|"), [""; 0]);
    }

    #[test]
    fn commands_and_what_they_take_are_completed() {
        assert_eq!(found("\\t|"), ["\\timing"]);
        assert_eq!(found("\\d co|"), ["costs"]);
        assert_eq!(found("\\format p|"), ["parquet"]);
        assert_eq!((found("\\timing o|"), found("\\x a|")), (vec!["off".into(), "on".into()], vec!["auto".into()]));
        assert_eq!(found("\\o s|"), [""; 0]);
    }

    #[test]
    fn words_are_sorted_and_known_once() {
        assert!(WORDS.is_sorted());
    }
}
