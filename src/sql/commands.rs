//! What the shell itself is told, in lines that begin with a backslash.
//!
//! Called by `shell` and `complete`. Pure: text becomes a command, or the reason why it is none.

use anyhow::{Context, Result, bail, ensure};

use super::output::{Expanded, Shape};

/// What `\?` prints.
pub(super) const HELP: &str = "\
A statement ends with ; and may go over several lines. Ctrl-C ends a query, Ctrl-D the shell; Tab completes, Ctrl-R looks back.
A line that begins with a blank is not kept in the history.

  \\d [TABLE]              tables, or the columns of one
  \\dt                     tables
  \\dq                     saved queries of the server
  \\run NAME [PARAM=VALUE] ask a saved query; 'quotes' hold blanks together
  \\format [FORMAT]        how rows are shown: table, csv, json, ndjson, parquet
  \\o [FILE]               the next answer goes into FILE, whole or not at all; without FILE it does not
  \\i FILE                 do what FILE says, up to the first error
  \\x [on|off|auto]        a line a value: on for all rows, auto for a few that are wider than the screen
  \\timing [on|off]        say how long an answer took
  \\?                      this
  \\q                      leave
";

/// Names of commands, as they are completed.
pub(super) const NAMES: [&str; 11] =
    ["\\?", "\\d", "\\dq", "\\dt", "\\format", "\\i", "\\o", "\\q", "\\run", "\\timing", "\\x"];

/// What the shell is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Say what tables there are, or what columns one has.
    Describe(Option<String>),
    /// Say what saved queries there are.
    Queries,
    /// Ask a saved query with parameters.
    Run(String, Vec<(String, String)>),
    /// Say how rows are shown, or show them so.
    Format(Option<Shape>),
    /// Where the next answer goes: the screen, or a file.
    Output(Option<String>),
    /// Do what a file says.
    Input(String),
    /// Turn a line a value on, off, or around.
    Expanded(Option<Expanded>),
    /// Turn times on, off, or around.
    Timing(Option<bool>),
    Help,
    Quit,
}

/// Words that people say without a backslash.
pub(super) fn is_bare_word(text: &str) -> bool {
    bare(text).is_some()
}

fn bare(text: &str) -> Option<Command> {
    match text.trim_end_matches(';').trim_end().to_ascii_lowercase().as_str() {
        "quit" | "exit" => Some(Command::Quit),
        "help" => Some(Command::Help),
        _ => None,
    }
}

/// What a line tells the shell; none if it is SQL.
///
/// # Errors
/// If there is no such command, or it is told something that it does not take.
pub(super) fn parse(line: &str) -> Result<Option<Command>> {
    let line = line.trim();
    if !line.starts_with('\\') {
        return Ok(bare(line));
    }
    let words = words(line.trim_end_matches(';'))?;
    let (name, told) = words.split_first().map_or(("\\", &[][..]), |(name, told)| (name.as_str(), told));
    let one = || {
        ensure!(told.len() <= 1, "{name} takes one word at most; \\? says what there is");
        Ok(told.first().cloned())
    };
    Ok(Some(match name {
        "\\d" | "\\d+" => Command::Describe(one()?),
        "\\dt" | "\\dt+" => Command::Describe(None),
        "\\dq" => Command::Queries,
        "\\run" => {
            let Some((query, params)) = told.split_first() else {
                bail!("\\run takes the name of a query; \\dq lists them")
            };
            Command::Run(query.clone(), params.iter().map(|param| pair(param)).collect::<Result<_>>()?)
        }
        "\\format" => Command::Format(one()?.map(|name| Shape::named(&name)).transpose()?),
        "\\o" => Command::Output(one()?),
        "\\i" => Command::Input(one()?.context("\\i takes the name of a file")?),
        "\\x" => Command::Expanded(one()?.map(|name| Expanded::named(&name)).transpose()?),
        "\\timing" => Command::Timing(switch(one()?)?),
        "\\?" | "\\h" | "\\help" => Command::Help,
        "\\q" | "\\quit" => Command::Quit,
        _ => bail!("there is no command {name}; \\? says what there is"),
    }))
}

fn switch(word: Option<String>) -> Result<Option<bool>> {
    match word.as_deref() {
        None => Ok(None),
        Some("on") => Ok(Some(true)),
        Some("off") => Ok(Some(false)),
        Some(other) => bail!("say on or off, not {other}"),
    }
}

fn pair(param: &str) -> Result<(String, String)> {
    match param.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => bail!("write parameters as NAME=VALUE, not {param}"),
    }
}

/// Words of a line; blanks within `'…'` are part of a word, and `''` in there is a quote.
fn words(line: &str) -> Result<Vec<String>> {
    let (mut words, mut word, mut is_quoted) = (Vec::new(), None::<String>, false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' if is_quoted && chars.peek() == Some(&'\'') => {
                chars.next();
                word.get_or_insert_default().push('\'');
            }
            '\'' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            c if c.is_whitespace() && !is_quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    ensure!(!is_quoted, "a quote is not closed");
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str) -> Command {
        parse(line).unwrap().unwrap()
    }

    #[test]
    fn lines_with_a_backslash_are_commands() {
        assert_eq!(told("\\d"), Command::Describe(None));
        assert_eq!(told("  \\d Samples; "), Command::Describe(Some("Samples".into())));
        assert_eq!(told("\\dt"), Command::Describe(None));
        assert_eq!(told("\\format csv"), Command::Format(Some(Shape::Csv)));
        assert_eq!(told("\\o 'my costs.parquet'"), Command::Output(Some("my costs.parquet".into())));
        assert_eq!(told("\\o"), Command::Output(None));
        assert_eq!(told("\\timing off"), Command::Timing(Some(false)));
        assert_eq!((told("\\x"), told("\\x auto")), (Command::Expanded(None), Command::Expanded(Some(Expanded::Auto))));
        assert_eq!(told("\\i 'month end.sql'"), Command::Input("month end.sql".into()));
        let params = vec![("team".to_owned(), "it's us".to_owned()), ("most".to_owned(), String::new())];
        assert_eq!(told("\\run by_team team='it''s us' most="), Command::Run("by_team".into(), params));
        assert_eq!((told("\\q"), told("quit;"), told("EXIT")), (Command::Quit, Command::Quit, Command::Quit));
        assert_eq!((told("\\?"), told("help")), (Command::Help, Command::Help));
        assert_eq!(parse("SELECT '\\d'").unwrap(), None);
    }

    #[test]
    fn what_is_no_command_is_told_with_a_way_out() {
        for (line, reason) in [
            ("\\drop samples", "\\?"),
            ("\\", "\\?"),
            ("\\d a b", "one word"),
            ("\\format xml", "table, csv"),
            ("\\timing maybe", "on or off"),
            ("\\x maybe", "on, off or auto"),
            ("\\i", "name of a file"),
            ("\\run", "\\dq"),
            ("\\run q =1", "NAME=VALUE"),
            ("\\o 'a", "not closed"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(reason), "{line}: {error}");
        }
    }

    #[test]
    fn the_help_tells_of_every_command() {
        for name in NAMES {
            assert!(HELP.contains(&format!("\n  {name} ")), "{name}");
        }
    }
}
