//! The shell: takes what is typed, asks, and shows.
//!
//! Called by `sql` when people sit at both ends: stdin and stdout are terminals. Ctrl-C ends a question and never the shell; an error
//! is told, with its place in the statement, and the shell goes on. What is decided is in pure functions of the modules beside this one;
//! here they are joined with a terminal.

use std::{
    fs::File,
    io::{self, Read as _, Write},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result, anyhow, ensure};
use rustyline::{CompletionType, Editor, error::ReadlineError, history::FileHistory};

use super::{
    STATEMENT_BYTES_MAX, Way,
    ask::{Asker, Rows, Stop, reason, told_of},
    commands::{self, Command},
    complete::{Aid, Names},
    history,
    layout::{Grid, counted},
    output::{self, Expanded, Shape, Shown},
    statement,
    terminal::{self, Pager, Screen, clean, clean_line, duration},
};
use crate::{app, config};

const PROMPT: &str = "streamgauge> ";
/// What is completed: columns with their tables, functions, and metrics that have had samples of late.
const NAMES: &str = "\
    SELECT kind, name, part FROM (\
    SELECT 'column' AS kind, table_name AS name, column_name AS part, ordinal_position AS place \
    FROM information_schema.columns WHERE table_schema = 'public' UNION ALL \
    SELECT DISTINCT 'function' AS kind, routine_name AS name, '' AS part, 0 AS place \
    FROM information_schema.routines WHERE NOT starts_with(routine_name, 'pg_') UNION ALL \
    SELECT DISTINCT 'metric' AS kind, metric AS name, '' AS part, 0 AS place FROM series WHERE day >= current_date() - INTERVAL '1 day') \
    ORDER BY kind, name, place LIMIT 20000";
const TABLES: &str = "SELECT table_name AS \"table\", table_type AS \"type\", coalesce(comment, '') AS \"about\" \
                      FROM information_schema.tables WHERE table_schema = 'public' ORDER BY table_name";

/// Takes statements and commands until somebody leaves.
///
/// # Errors
/// If the terminal cannot be used, or the command line names nothing that could be asked.
pub(super) fn run(way: Way) -> Result<()> {
    let shape = Shape::from(way.format);
    let asked = way.asked()?;
    let asker = Arc::new(Asker::new(way)?);
    let stop = asker.stop_at_ctrl_c()?;
    let names = Arc::default();
    let mut typing = Typing::begin(Arc::clone(&names), asker.secrets())?;
    let mut shell = Shell {
        asker,
        stop,
        names,
        learning: None,
        shape,
        expanded: Expanded::Auto,
        pager: Pager::of(config::variable("PAGER"), config::variable("LESS")),
        is_timed: true,
        file: None,
        screen: None,
    };
    writeln!(
        io::stdout(),
        "streamgauge {}, {}. A statement ends with ; and \\? says what else there is.",
        env!("CARGO_PKG_VERSION"),
        clean_line(&asked)
    )?;
    loop {
        // Before anything is typed: Ctrl-C counts from the moment a line is entered.
        shell.stop.begin();
        shell.learn();
        let Some(typed) = typing.next()? else { return Ok(()) };
        shell.screen = typing.screen();
        if shell.take(&typed) == Taken::Leaves {
            return Ok(());
        }
    }
}

/// What became of something that was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Done,
    Failed,
    Leaves,
}

/// The line editor, and what was typed before.
struct Typing {
    editor: Editor<Aid, FileHistory>,
    history: Option<PathBuf>,
    secrets: Vec<String>,
}

impl Typing {
    fn begin(names: Arc<OnceLock<Names>>, secrets: Vec<String>) -> Result<Self> {
        let config = rustyline::Config::builder()
            .max_history_size(history::ENTRIES_MAX)?
            .history_ignore_dups(true)?
            .completion_type(CompletionType::List)
            .build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(Aid { names }));
        let file = history::file(config::variable("XDG_STATE_HOME"), config::variable("HOME"));
        let history = file.and_then(|file| match history::prepare(&file) {
            Ok(()) => Some(file),
            Err(error) => {
                tell(&reason(&error));
                None
            }
        });
        if let Some(file) = &history
            && file.exists()
            && let Err(error) = editor.load_history(file)
        {
            tell(&format!("history cannot be read file={}: {error}", file.display()));
        }
        Ok(Self { editor, history, secrets })
    }

    /// What is typed next; none if nothing will be.
    fn next(&mut self) -> Result<Option<String>> {
        loop {
            match self.editor.readline(PROMPT) {
                Ok(typed) => {
                    self.keep(&typed);
                    return Ok(Some(typed));
                }
                Err(ReadlineError::Eof) => return Ok(None),
                // Ctrl-C drops what was typed.
                Err(ReadlineError::Interrupted | ReadlineError::Signal(_)) => {}
                Err(error) => return Err(error).context("the terminal cannot be read"),
            }
        }
    }

    fn keep(&mut self, typed: &str) {
        if !history::is_kept(typed, &self.secrets) || !self.editor.add_history_entry(typed.trim_end()).unwrap_or(false)
        {
            return;
        }
        if let Some(file) = &self.history
            && let Err(error) = self.editor.append_history(file)
        {
            tell(&format!("history is not kept any longer file={}: {error}", file.display()));
            self.history = None;
        }
    }

    fn screen(&mut self) -> Option<Screen> {
        let (columns, lines) = self.editor.dimensions()?;
        Some(Screen { columns: usize::from(columns), lines: usize::from(lines) })
    }
}

/// What is set, and who is asked.
struct Shell {
    asker: Arc<Asker>,
    stop: Stop,
    names: Arc<OnceLock<Names>>,
    learning: Option<JoinHandle<()>>,
    shape: Shape,
    expanded: Expanded,
    pager: Pager,
    is_timed: bool,
    /// Where the next answer goes instead of the screen.
    file: Option<PathBuf>,
    screen: Option<Screen>,
}

impl Shell {
    /// Asks for names to complete, if they are not known; what fails is tried again with the next statement.
    fn learn(&mut self) {
        if self.names.get().is_some() || self.learning.as_ref().is_some_and(|learning| !learning.is_finished()) {
            return;
        }
        let (asker, names) = (Arc::clone(&self.asker), Arc::clone(&self.names));
        let learn = move || {
            // Whoever asks next is told why there is no answer.
            if let Ok(found) = asker.sql(NAMES).and_then(names_of) {
                let _ = names.set(found);
            }
        };
        self.learning = thread::Builder::new().name("names".to_owned()).spawn(learn).ok();
    }

    /// Does what was typed.
    fn take(&mut self, typed: &str) -> Taken {
        match commands::parse(typed) {
            Ok(Some(Command::Quit)) => return Taken::Leaves,
            Ok(Some(Command::Input(path))) => return self.take_all(&path),
            Ok(Some(command)) => {
                if let Err(error) = self.obey(command) {
                    return self.told(&error, None);
                }
            }
            Ok(None) => {
                for statement in statement::cut(typed).whole {
                    if let Err(error) = self.answer(|asker| asker.sql(statement)) {
                        return self.told(&error, Some(statement));
                    }
                }
            }
            Err(error) => return self.told(&error, None),
        }
        Taken::Done
    }

    /// Does what a file says, as if it was typed, up to the first that fails.
    fn take_all(&mut self, path: &str) -> Taken {
        let path = from_home(path, config::variable("HOME"));
        let text = match text_of(&path) {
            Ok(text) => text,
            Err(error) => return self.told(&error, None),
        };
        for typed in statement::typed(&text) {
            let taken = match commands::parse(&typed) {
                // One that names itself would never end.
                Ok(Some(Command::Input(_))) => self.told(&anyhow!("a file cannot name another one with \\i"), None),
                _ => self.take(&typed),
            };
            if taken != Taken::Done {
                return taken;
            }
        }
        Taken::Done
    }

    fn obey(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Describe(None) => self.list(TABLES, || "there are no tables".to_owned()),
            Command::Describe(Some(table)) => {
                self.list(&columns_of(&table), || format!("there is no table {table}; \\dt lists them"))
            }
            Command::Queries => {
                let begun_us = app::env().clock.now_us();
                let queries = self.asker.queries()?;
                ensure!(queries.len() > 0, "the server has no saved queries; its settings name them under `queries`");
                self.show(output::listed(queries, self.expanded, self.screen), begun_us)
            }
            Command::Run(name, params) => self.answer(|asker| asker.saved(&name, &params)),
            Command::Format(shape) => {
                self.shape = shape.unwrap_or(self.shape);
                let hint = if self.shape == Shape::Parquet && self.file.is_none() {
                    "; name a file with \\o FILE"
                } else {
                    ""
                };
                say(&format!("Rows are shown as {}{hint}.", self.shape.name()))
            }
            Command::Output(None) => {
                self.file = None;
                say("Answers are shown here.")
            }
            Command::Output(Some(path)) => {
                let path = from_home(&path, config::variable("HOME"));
                let told = say(&format!(
                    "The next answer goes into {} as {}.",
                    clean_line(&path.display().to_string()),
                    self.shape.name()
                ));
                self.file = Some(path);
                told
            }
            Command::Expanded(expanded) => {
                let turned = if self.expanded == Expanded::On { Expanded::Off } else { Expanded::On };
                self.expanded = expanded.unwrap_or(turned);
                say(match self.expanded {
                    Expanded::Off => "A line a row.",
                    Expanded::On => "A line a value.",
                    Expanded::Auto => "A line a value, if a few rows are wider than the screen.",
                })
            }
            Command::Timing(is_on) => {
                self.is_timed = is_on.unwrap_or(!self.is_timed);
                say(if self.is_timed { "Times are told." } else { "Times are not told." })
            }
            Command::Help => say(commands::HELP.trim_end()),
            // Done by whoever takes what is typed.
            Command::Quit | Command::Input(_) => Ok(()),
        }
    }

    /// Asks, and puts the answer where answers go.
    fn answer(&mut self, ask: impl for<'a> FnOnce(&'a Asker) -> Result<Rows<'a>>) -> Result<()> {
        let begun_us = app::env().clock.now_us();
        ensure!(
            self.shape != Shape::Parquet || self.file.is_some(),
            "Parquet is for files: name one with \\o FILE, or show rows with \\format table"
        );
        let rows = ask(&self.asker)?;
        let Some(path) = &self.file else {
            return self.show(output::on_screen(rows, self.shape, self.expanded, self.screen)?, begun_us);
        };
        let count = output::to_file(rows, self.shape, self.expanded, path)?;
        let told =
            format!("({} into {}{})", counted(count), clean_line(&path.display().to_string()), self.time(begun_us));
        // A second answer would take the place of the first.
        self.file = None;
        say(&told)
    }

    /// Shows a list that a statement makes; `nothing` is what is said if it is empty.
    fn list(&self, statement: &str, nothing: impl FnOnce() -> String) -> Result<()> {
        let begun_us = app::env().clock.now_us();
        let grid = output::laid_out(self.asker.sql(statement)?)?;
        ensure!(grid.len() > 0, nothing());
        self.show(output::listed(grid, self.expanded, self.screen), begun_us)
    }

    /// Shows an answer, how many rows it has, and how long it took.
    fn show(&self, shown: Shown, begun_us: i64) -> Result<()> {
        let more =
            if shown.is_cut { ", and there are more: \\o FILE with \\format csv or parquet takes all" } else { "" };
        let text = format!("{}({}{more}{})\n", shown.text, counted(shown.rows), self.time(begun_us));
        terminal::show(&text, self.screen, &self.pager, &self.stop)
    }

    fn time(&self, begun_us: i64) -> String {
        if !self.is_timed {
            return String::new();
        }
        format!(", {}", duration(app::env().clock.now_us() - begun_us))
    }

    /// Says why there is no answer, and where in the statement.
    fn told(&self, error: &anyhow::Error, statement: Option<&str>) -> Taken {
        if self.stop.is_asked() {
            // After the `^C` that the terminal shows.
            tell("\nstopped");
        } else {
            tell(&statement.map_or_else(|| reason(error), |statement| told_of(error, statement)));
        }
        Taken::Failed
    }
}

/// Columns of a table, whose name may be of any case, in quotes, or led by its schema.
fn columns_of(table: &str) -> String {
    let (schema, table) = table.rsplit_once('.').unwrap_or(("public", table));
    let quoted = |name: &str| format!("lower('{}')", name.trim_matches('"').replace('\'', "''"));
    format!(
        "SELECT column_name AS \"column\", data_type AS \"type\", is_nullable AS \"nullable\", coalesce(comment, '') AS \"about\" \
         FROM information_schema.columns WHERE lower(table_schema) = {} AND lower(table_name) = {} ORDER BY ordinal_position",
        quoted(schema),
        quoted(table)
    )
}

fn names_of(answer: Rows<'_>) -> Result<Names> {
    let mut grid = Grid::of(&answer.schema);
    for batch in answer.batches {
        grid.push(&batch?)?;
    }
    let named = grid.rows().iter().filter_map(|row| match row.as_slice() {
        [Some(kind), Some(name), Some(part)] => Some([kind.clone(), name.clone(), part.clone()]),
        _ => None,
    });
    Ok(Names::of(named))
}

/// A path as people write it: `~/` is the home folder.
fn from_home(path: &str, home: Option<String>) -> PathBuf {
    match (path.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    }
}

/// What is in a file, if somebody may have typed it.
fn text_of(path: &Path) -> Result<String> {
    let told = || format!("cannot read {}", path.display());
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(STATEMENT_BYTES_MAX + 1).read_to_string(&mut text))
        .with_context(told)?;
    ensure!(text.len() as u64 <= STATEMENT_BYTES_MAX, "{} is longer than {STATEMENT_BYTES_MAX} bytes", path.display());
    Ok(text)
}

/// Says something that is no answer.
fn say(text: &str) -> Result<()> {
    Ok(writeln!(io::stdout(), "{text}")?)
}

/// Says that something is wrong.
fn tell(text: &str) {
    // There is nobody left to tell that nobody can be told.
    let _ = writeln!(io::stderr(), "{}", clean(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_named_in_any_case_and_is_never_sql() {
        let ends = |table, end: &str| assert!(columns_of(table).contains(end), "{}", columns_of(table));
        ends("Samples", "lower(table_schema) = lower('public') AND lower(table_name) = lower('Samples')");
        ends("information_schema.\"tables\"", "lower('information_schema') AND lower(table_name) = lower('tables')");
        ends("x' OR '1'='1", "lower(table_name) = lower('x'' OR ''1''=''1')");
    }

    #[test]
    fn a_path_may_begin_at_home() {
        let home = || Some("/home/ada".to_owned());
        assert_eq!(from_home("~/x.csv", home()), Path::new("/home/ada/x.csv"));
        assert_eq!(from_home("~x.csv", home()), Path::new("~x.csv"));
        assert_eq!(from_home("~/x.csv", None), Path::new("~/x.csv"));
    }
}
