//! The commands of a script.
//!
//! Called by [`super::run`] with the whole text. A command is a line; the lines of its series or expectations follow until an empty
//! one. A line that begins with `#` is empty.

use std::iter::Peekable;
use std::vec::IntoIter;

use super::expect::{Expect, Next, Window};
use super::notation::{self, Item};
use super::{Labels, LoadedSeries, Point, Sample, classic, literal};

/// A command.
#[derive(Debug)]
pub(super) enum Command {
    Clear,
    Load(Vec<LoadedSeries>),
    Eval(Box<Eval>),
}

/// A query and what must come of it.
#[derive(Debug)]
pub(super) struct Eval {
    /// The first being 1.
    pub(super) line: usize,
    pub(super) query: String,
    pub(super) when: When,
    pub(super) expect: Expect,
}

/// When a query is evaluated.
#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    Instant { at_ms: i64 },
    Range { start_ms: i64, end_ms: i64, step_ms: i64 },
}

/// Numbered lines, without the spaces around them.
type Lines<'t> = Peekable<IntoIter<(usize, &'t str)>>;

/// Reads a script; gives commands and their lines.
pub(super) fn read(text: &str) -> Result<Vec<(usize, Command)>, String> {
    let trimmed = text.split('\n').map(str::trim).map(|line| if line.starts_with('#') { "" } else { line });
    let numbered: Vec<_> = (1..).zip(trimmed).collect();
    let (mut lines, mut commands) = (numbered.into_iter().peekable(), Vec::new());
    while let Some((at, line)) = lines.next() {
        let (word, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let rest = rest.trim_start();
        let command = match word.to_ascii_lowercase().as_str() {
            "" => continue,
            "clear" => Command::Clear,
            "load" => Command::Load(load(at, rest, false, &mut lines)?),
            "load_with_nhcb" => Command::Load(load(at, rest, true, &mut lines)?),
            word if word == "eval" || word.starts_with("eval_") => {
                let modifier = word.strip_prefix("eval_").unwrap_or_default();
                Command::Eval(Box::new(eval(at, modifier, rest, &mut lines)?))
            }
            _ => return Err(format!("line {at}: unknown command {line:?}")),
        };
        commands.push((at, command));
    }
    Ok(commands)
}

/// The next line of a block.
fn next<'t>(lines: &mut Lines<'t>) -> Option<(usize, &'t str)> {
    lines.next_if(|(_, line)| !line.is_empty())
}

fn load(at: usize, step: &str, with_custom: bool, lines: &mut Lines<'_>) -> Result<Vec<LoadedSeries>, String> {
    let step_ms = literal::duration_ms(step).map_err(|error| format!("line {at}: {error}"))?;
    let (mut loaded, mut starts): (Vec<LoadedSeries>, _) = (Vec::new(), None);
    while let Some((at, line)) = next(lines) {
        let named = |error| format!("line {at}: {error}");
        if notation::is_starts(line) {
            if starts.is_some() {
                return Err(named("start timestamps follow start timestamps".to_owned()));
            }
            starts = Some(notation::starts(line).map_err(named)?);
            continue;
        }
        let (labels, items) = notation::series(line).map_err(named)?;
        let samples = samples(&labels, items, step_ms, starts.take()).map_err(named)?;
        // A series that is there twice is what it is last.
        loaded.retain(|known| known.labels != labels);
        loaded.push(LoadedSeries { labels, samples });
    }
    if starts.is_some() {
        return Err(format!("line {at}: start timestamps are followed by no samples"));
    }
    loaded.retain(|series| !series.samples.is_empty());
    if with_custom {
        let converted = classic::converted(&loaded).map_err(|error| format!("line {at}: {error}"))?;
        loaded.extend(converted);
    }
    Ok(loaded)
}

/// The samples of a series, from the epoch on.
fn samples(
    labels: &Labels,
    items: Vec<Item>,
    step_ms: i64,
    starts: Option<(Labels, Vec<Option<i64>>)>,
) -> Result<Vec<Sample>, String> {
    if let Some((of, starts)) = &starts {
        if of != labels {
            return Err("the start timestamps before are those of another series".to_owned());
        }
        if starts.len() != items.len() {
            return Err(format!("as many start timestamps as values: starts={} values={}", starts.len(), items.len()));
        }
    }
    let (mut out, mut t_ms) = (Vec::new(), 0);
    for (at, item) in items.into_iter().enumerate() {
        let start_ms = starts.as_ref().and_then(|(_, starts)| starts[at]).map(|relative_ms| t_ms + relative_ms);
        // Zero is how Prometheus says that there is none.
        let start_ms = start_ms.filter(|start_ms| *start_ms != 0);
        match item {
            Item::Gap => {}
            Item::Float(value) => out.push(Sample { t_ms, point: Point::Float(value), start_ms }),
            Item::Histogram(histogram, _) => {
                out.push(Sample { t_ms, point: Point::Histogram(histogram), start_ms });
            }
        }
        t_ms += step_ms;
    }
    Ok(out)
}

fn eval(line: usize, modifier: &str, text: &str, lines: &mut Lines<'_>) -> Result<Eval, String> {
    let named = |error| format!("line {line}: {error}");
    let (when, query) = when(text).map_err(named)?;
    let mut expect = Expect::new(modifier).map_err(named)?;
    if let When::Range { start_ms, end_ms, step_ms } = when {
        expect.window = Some(Window { start_ms, end_ms, step_ms });
    }
    while let Some((at, line)) = next(lines) {
        if expect.read(line).map_err(|error| format!("line {at}: {error}"))? == Next::End {
            break;
        }
    }
    // The times that are expected win, and the query is evaluated at the last.
    let when = match (when, expect.window) {
        (When::Instant { .. }, Some(Window { end_ms, .. })) => When::Instant { at_ms: end_ms },
        (When::Range { .. }, Some(Window { start_ms, end_ms, step_ms })) => When::Range { start_ms, end_ms, step_ms },
        (when, None) => when,
    };
    Ok(Eval { line, query: query.to_owned(), when, expect })
}

/// Reads `instant at 1m query` or `range from 1m to 2m step 10s query`.
fn when(text: &str) -> Result<(When, &str), String> {
    let malformed = || format!("expected `instant at …` or `range from … to … step …` and a query at {text:?}");
    if let Some(([_, "at", at], query)) = words::<3>(text).filter(|(words, _)| words[0] == "instant") {
        return Ok((When::Instant { at_ms: literal::duration_ms(at)? }, query));
    }
    let (words, query) = words::<7>(text).filter(|(words, _)| words[0] == "range").ok_or_else(malformed)?;
    let Window { start_ms, end_ms, step_ms } = Window::read(&words[1..].join(" "))?;
    Ok((When::Range { start_ms, end_ms, step_ms }, query))
}

/// The first words of a text, and what follows, which is not nothing.
fn words<const N: usize>(text: &str) -> Option<([&str; N], &str)> {
    let (mut words, mut rest) = ([""; N], text);
    for word in &mut words {
        let (first, after) = rest.split_once([' ', '\t'])?;
        (*word, rest) = (first, after.trim_start());
    }
    (!rest.is_empty()).then_some((words, rest))
}
