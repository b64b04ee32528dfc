//! Where an answer goes, and in which form.
//!
//! Called by `shell`. On a screen, as much as somebody may read; into a file, all of it, whole or not at all: it is written under another
//! name beside it, and gets its own when nothing is missing.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use query::format::{Encoder, Format};

use super::{
    ask::Rows,
    layout::{BYTES_MAX, Grid},
    terminal::{Screen, clean},
};
use crate::cli;

/// How rows are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Table,
    Csv,
    Json,
    Ndjson,
    /// In files only.
    Parquet,
}

impl Shape {
    pub(super) const ALL: [Self; 5] = [Self::Table, Self::Csv, Self::Json, Self::Ndjson, Self::Parquet];

    /// The one of a name.
    ///
    /// # Errors
    /// If there is none; which there are.
    pub(super) fn named(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|shape| shape.name().eq_ignore_ascii_case(name));
        found.with_context(|| format!("there is no format {name}; say {}", Self::ALL.map(Self::name).join(", ")))
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Parquet => "parquet",
        }
    }

    fn encoded(self) -> Option<Format> {
        match self {
            Self::Table => None,
            Self::Csv => Some(Format::Csv),
            Self::Json => Some(Format::Json),
            Self::Ndjson => Some(Format::Ndjson),
            Self::Parquet => Some(Format::Parquet),
        }
    }
}

impl From<cli::Format> for Shape {
    fn from(format: cli::Format) -> Self {
        match format {
            cli::Format::Table => Self::Table,
            cli::Format::Csv => Self::Csv,
            cli::Format::Json => Self::Json,
            cli::Format::Ndjson => Self::Ndjson,
        }
    }
}

/// Is a line a row, or a value?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expanded {
    Off,
    On,
    /// A value, of a few rows that are wider than the screen.
    Auto,
}

impl Expanded {
    pub(super) const ALL: [Self; 3] = [Self::Off, Self::On, Self::Auto];

    /// The one of a name.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn named(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|expanded| expanded.name() == name);
        found.with_context(|| format!("say on, off or auto, not {name}"))
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Auto => "auto",
        }
    }
}

/// Text for a screen.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) text: String,
    pub(super) rows: usize,
    /// Were there more than are shown?
    pub(super) is_cut: bool,
}

impl Shown {
    /// Rows that are laid out: in columns, or a line a value.
    pub(super) fn of(grid: &Grid, expanded: Expanded, screen: Option<Screen>) -> Self {
        let text = match expanded {
            Expanded::Off => grid.table(),
            Expanded::On => grid.records(),
            Expanded::Auto => {
                let table = grid.table();
                let is_wide = grid.len() > 0 && screen.is_some_and(|screen| screen.is_narrow_for(&table));
                if is_wide { grid.records() } else { table }
            }
        };
        Self { text, rows: grid.len(), is_cut: grid.is_cut }
    }
}

/// An answer for a screen, clean.
///
/// # Errors
/// Why the answer broke off, or cannot be shown.
pub(super) fn on_screen(answer: Rows<'_>, shape: Shape, expanded: Expanded, screen: Option<Screen>) -> Result<Shown> {
    let Some(format) = shape.encoded() else { return Ok(Shown::of(&laid_out(answer)?, expanded, screen)) };
    ensure!(shape != Shape::Parquet, "Parquet is for files: name one with \\o FILE, or show rows with \\format table");
    let Rows { schema, batches } = answer;
    let (mut encoder, mut bytes) = Encoder::begin(format, &schema)?;
    let (mut rows, mut is_cut) = (0, false);
    for batch in batches {
        if bytes.len() >= BYTES_MAX {
            is_cut = true;
            break;
        }
        let batch = batch?;
        rows += batch.num_rows();
        bytes.append(&mut encoder.rows(&batch)?);
    }
    if !is_cut {
        bytes.append(&mut encoder.finish()?);
    }
    Ok(Shown { text: clean(&String::from_utf8_lossy(&bytes)), rows, is_cut })
}

/// A list of ours, whose last column says what the others are: in lines that fit, if they can be made so.
pub(super) fn listed(mut grid: Grid, expanded: Expanded, screen: Option<Screen>) -> Shown {
    if let Some(Screen { columns, .. }) = screen {
        grid.fold_last(columns);
    }
    Shown::of(&grid, expanded, screen)
}

/// All rows of an answer, as far as they can be laid out.
///
/// # Errors
/// Why the answer broke off, or cannot be shown.
pub(super) fn laid_out(answer: Rows<'_>) -> Result<Grid> {
    let mut grid = Grid::of(&answer.schema);
    for batch in answer.batches {
        grid.push(&batch?)?;
        if grid.is_cut {
            break;
        }
    }
    Ok(grid)
}

/// Writes an answer into a file, which takes the place of one that is there. Says how many rows.
///
/// # Errors
/// Why the answer broke off, or the file cannot be written; then there is none, or the one before.
pub(super) fn to_file(answer: Rows<'_>, shape: Shape, expanded: Expanded, path: &Path) -> Result<usize> {
    let told = || format!("cannot write {}", path.display());
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        bail!("{} is no file that could be replaced", path.display());
    }
    let part = Part::beside(path)?;
    let mut out = BufWriter::new(File::create_new(&part.0).with_context(told)?);
    let rows = match shape.encoded() {
        Some(format) => encode(answer, format, &mut out)?,
        None => {
            let grid = laid_out(answer)?;
            ensure!(!grid.is_cut, "the answer is too long for a table; \\format csv or parquet takes it");
            out.write_all(Shown::of(&grid, expanded, None).text.as_bytes()).with_context(told)?;
            grid.len()
        }
    };
    out.into_inner()
        .map_err(std::io::IntoInnerError::into_error)
        .and_then(|file| file.sync_all())
        .with_context(told)?;
    fs::rename(&part.0, path).with_context(told)?;
    Ok(rows)
}

fn encode(answer: Rows<'_>, format: Format, out: &mut impl Write) -> Result<usize> {
    let (mut encoder, begun) = Encoder::begin(format, &answer.schema)?;
    let told = "the file cannot be written";
    out.write_all(&begun).context(told)?;
    let mut rows = 0;
    for batch in answer.batches {
        let batch = batch?;
        rows += batch.num_rows();
        out.write_all(&encoder.rows(&batch)?).context(told)?;
    }
    out.write_all(&encoder.finish()?).context(told)?;
    Ok(rows)
}

/// A file that is not whole; goes away by itself unless it was renamed.
struct Part(PathBuf);

impl Part {
    fn beside(path: &Path) -> Result<Self> {
        let name = path.file_name().with_context(|| format!("{} names no file", path.display()))?;
        Ok(Self(path.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()))))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use anyhow::anyhow;
    use arrow::{
        array::{Array as _, RecordBatch, StringArray},
        datatypes::{DataType, Field, Schema},
    };
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    /// An answer of one column, which breaks off or does not.
    fn answer(values: &[&str], breaks_off: bool) -> Rows<'static> {
        let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Utf8, true)]));
        let column = Arc::new(StringArray::from(values.to_vec()));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap();
        let end = breaks_off.then(|| Err(anyhow!("the answer broke off")));
        Rows { schema, batches: Box::new(std::iter::once(Ok(batch)).chain(end)) }
    }

    #[test]
    fn a_screen_shows_each_format_clean() {
        let hostile = ["a", "\u{1b}[2J"];
        let shown = |shape| on_screen(answer(&hostile, false), shape, Expanded::Auto, None).unwrap();
        for shape in [Shape::Table, Shape::Csv, Shape::Json, Shape::Ndjson] {
            let Shown { text, rows, is_cut } = shown(shape);
            assert!((rows, is_cut) == (2, false) && text.ends_with('\n'), "{text:?}");
            assert!(!text.contains('\u{1b}') && text.contains("[2J"), "{text:?}");
        }
        assert_eq!(shown(Shape::Csv).text, "x\na\n\u{fffd}[2J\n");
        let refused = on_screen(answer(&[], false), Shape::Parquet, Expanded::Off, None).unwrap_err().to_string();
        assert!(refused.contains("\\o FILE"), "{refused}");
        assert!(on_screen(answer(&["a"], true), Shape::Csv, Expanded::Off, None).is_err());
    }

    #[test]
    fn a_file_holds_a_whole_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.out");
        for shape in Shape::ALL {
            assert_eq!(to_file(answer(&["a", "b"], false), shape, Expanded::Auto, &path).unwrap(), 2);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
            if shape != Shape::Parquet {
                let text = fs::read_to_string(&path).unwrap();
                assert!(text.contains('a') && text.contains('b'), "{text}");
            }
        }
        let mut reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap().build().unwrap();
        let batch = reader.next().unwrap().unwrap();
        assert_eq!((batch.num_rows(), batch.column(0).null_count()), (2, 0));
    }

    #[test]
    fn an_answer_that_breaks_off_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        fs::write(&path, "before").unwrap();
        for shape in Shape::ALL {
            assert!(to_file(answer(&["a"], true), shape, Expanded::Off, &path).is_err());
            assert_eq!(fs::read_to_string(&path).unwrap(), "before");
        }
        assert!(
            to_file(answer(&[], false), Shape::Csv, Expanded::Off, folder.path()).is_err(),
            "a folder is not replaced"
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_few_rows_that_are_wider_than_the_screen_are_a_line_a_value() {
        let values = ["a", &"b".repeat(50)];
        let shown = |expanded, lines| {
            let screen = Some(Screen { columns: 40, lines });
            on_screen(answer(&values, false), Shape::Table, expanded, screen).unwrap().text
        };
        let is_expanded = |text: String| text.starts_with("-[ 1 ]");
        assert!(is_expanded(shown(Expanded::Auto, 10)) && is_expanded(shown(Expanded::On, 10)));
        assert!(!is_expanded(shown(Expanded::Off, 10)));
        assert!(!is_expanded(shown(Expanded::Auto, 4)), "more lines than the screen has are for a pager");
        let narrow = Some(Screen { columns: 60, lines: 10 });
        let fits = on_screen(answer(&values, false), Shape::Table, Expanded::Auto, narrow).unwrap().text;
        assert!(!is_expanded(fits));
    }

    #[test]
    fn formats_have_names() {
        for shape in Shape::ALL {
            assert_eq!(Shape::named(&shape.name().to_uppercase()).unwrap(), shape);
        }
        assert!(Shape::named("xml").unwrap_err().to_string().contains("table, csv"));
    }
}
