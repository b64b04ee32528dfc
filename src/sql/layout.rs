//! Rows laid out for people: columns, or a line a value.
//!
//! Called by `output` and `shell`. Numbers stand to the right, nothing (`[null]`) is told apart from an empty text, and every value is
//! clean, wherever the layout goes. Bounded: what does not fit is not taken, and `is_cut` says so.

use std::fmt::Write as _;

use anyhow::Result;
use arrow::{array::RecordBatch, datatypes::Schema};
use query::format::{json_of, text_of};
use unicode_width::UnicodeWidthStr;

use super::terminal::{clean, clean_line};

/// Rows that are laid out; nobody reads more.
const ROWS_MAX: usize = 100_000;
/// Bytes of values that are laid out. They are held several times: as values, as lines, and by a pager.
pub(super) const BYTES_MAX: usize = 64 << 20;
/// What stands between two columns.
const GAP: usize = 3;
/// Columns of a screen that are worth being used for words.
const FOLDED_MIN: usize = 20;
/// What stands where no value is.
const NULL: &str = "[null]";

/// Rows to be laid out.
#[derive(Debug, Default)]
pub(super) struct Grid {
    columns: Vec<Column>,
    rows: Vec<Vec<Option<String>>>,
    bytes: usize,
    /// Were there more rows than are laid out?
    pub(super) is_cut: bool,
}

#[derive(Debug)]
struct Column {
    name: String,
    is_number: bool,
}

impl Grid {
    /// No rows yet.
    pub(super) fn of(schema: &Schema) -> Self {
        let columns = schema.fields().iter().map(|field| (field.name().as_str(), field.data_type().is_numeric()));
        Self::named(columns)
    }

    /// No rows yet, of columns by name; are they numbers?
    pub(super) fn named<'a>(columns: impl IntoIterator<Item = (&'a str, bool)>) -> Self {
        let columns = columns.into_iter().map(|(name, is_number)| Column { name: clean_line(name), is_number });
        Self { columns: columns.collect(), ..Self::default() }
    }

    /// Takes rows, as far as they fit.
    ///
    /// # Errors
    /// If a column is of a type that cannot be shown.
    pub(super) fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let cells = batch.columns().iter().map(|column| json_of(column.as_ref())).collect::<query::Result<Vec<_>>>()?;
        for at in 0..batch.num_rows() {
            self.row(cells.iter().map(|cell| text_of(cell, at)).collect());
            if self.is_cut {
                break;
            }
        }
        Ok(())
    }

    /// Takes a row, if it fits.
    pub(super) fn row(&mut self, values: Vec<Option<String>>) {
        if self.rows.len() >= ROWS_MAX || self.bytes >= BYTES_MAX {
            self.is_cut = true;
            return;
        }
        let values: Vec<_> = values.into_iter().map(|value| value.map(|text| clean(&text))).collect();
        self.bytes += values.iter().flatten().map(String::len).sum::<usize>();
        self.rows.push(values);
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Values of the rows.
    pub(super) fn rows(&self) -> &[Vec<Option<String>>] {
        &self.rows
    }

    /// Breaks texts of the last column between words, so that lines are no wider than a screen, if there is room for some words.
    pub(super) fn fold_last(&mut self, columns: usize) {
        let Some(last) = self.columns.len().checked_sub(1) else { return };
        let values = |nth: usize| self.rows.iter().filter_map(move |row| row[nth].as_deref());
        let width = |nth: usize| values(nth).chain([self.columns[nth].name.as_str()]).map(UnicodeWidthStr::width).max();
        let before: usize = (0..last).filter_map(width).map(|width| width + GAP).sum();
        let room = columns.saturating_sub(before + GAP);
        if room < FOLDED_MIN {
            return;
        }
        for text in self.rows.iter_mut().filter_map(|row| row[last].as_mut()) {
            *text = folded(text, room);
        }
    }

    /// A line a row; several where a value has several.
    pub(super) fn table(&self) -> String {
        let mut widths: Vec<usize> = self.columns.iter().map(|column| column.name.width()).collect();
        for row in &self.rows {
            for (width, value) in widths.iter_mut().zip(row) {
                *width = lines(value).map(UnicodeWidthStr::width).fold(*width, usize::max);
            }
        }
        let mut out = String::new();
        self.line(&mut out, &widths, self.columns.iter().map(|column| column.name.as_str()));
        let rules: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
        let _ = writeln!(out, "{}", rules.join("+"));
        for row in &self.rows {
            let height = row.iter().map(|value| lines(value).count()).max().unwrap_or(1);
            for at in 0..height {
                self.line(&mut out, &widths, row.iter().map(|value| lines(value).nth(at).unwrap_or_default()));
            }
        }
        out
    }

    fn line<'a>(&self, out: &mut String, widths: &[usize], cells: impl Iterator<Item = &'a str>) {
        let begin = out.len();
        for (at, ((cell, width), column)) in cells.zip(widths).zip(&self.columns).enumerate() {
            let gap = " ".repeat(width - cell.width());
            let (before, after) = if column.is_number { (gap.as_str(), "") } else { ("", gap.as_str()) };
            let _ = write!(out, "{} {before}{cell}{after} ", if at > 0 { "|" } else { "" });
        }
        let end = out[begin..].trim_end().len();
        out.truncate(begin + end);
        out.push('\n');
    }

    /// A line a value, for rows that are too wide.
    pub(super) fn records(&self) -> String {
        let width = self.columns.iter().map(|column| column.name.width()).max().unwrap_or_default();
        let mut out = String::new();
        for (number, row) in (1_usize..).zip(&self.rows) {
            let _ = writeln!(out, "-[ {number} ]{}", "-".repeat(width));
            for (column, value) in self.columns.iter().zip(row) {
                for (at, line) in lines(value).enumerate() {
                    let name = if at == 0 { column.name.as_str() } else { "" };
                    let gap = " ".repeat(width - name.width());
                    let _ = writeln!(out, "{}", format!("{name}{gap} | {line}").trim_end());
                }
            }
        }
        out
    }
}

/// A text in lines of a width, broken between words; a word that is wider has a line of its own.
fn folded(text: &str, width: usize) -> String {
    let (mut out, mut used) = (String::new(), 0);
    for word in text.split(' ') {
        let wide = word.width();
        let fits = out.is_empty() || used + 1 + wide <= width;
        if !out.is_empty() {
            out.push(if fits { ' ' } else { '\n' });
        }
        out.push_str(word);
        used = if fits && used > 0 { used + 1 + wide } else { wide };
    }
    out
}

/// Lines of a value; an empty one is one line.
fn lines(value: &Option<String>) -> impl Iterator<Item = &str> {
    value.as_deref().unwrap_or(NULL).trim_end_matches('\n').split('\n')
}

/// `1 row`, `2 rows`.
pub(super) fn counted(rows: usize) -> String {
    format!("{rows} {}", if rows == 1 { "row" } else { "rows" })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, Float64Array, Int64Array, StringArray},
        datatypes::{DataType, Field},
    };

    use super::*;

    fn row(values: &[Option<&str>]) -> Vec<Option<String>> {
        values.iter().map(|value| value.map(str::to_owned)).collect()
    }

    #[test]
    fn numbers_stand_to_the_right_and_nothing_is_not_an_empty_text() {
        let columns: [(Field, ArrayRef); 3] = [
            (Field::new("metric", DataType::Utf8, true), Arc::new(StringArray::from(vec![Some("up"), Some(""), None]))),
            (Field::new("n", DataType::Int64, true), Arc::new(Int64Array::from(vec![Some(5), Some(1234), None]))),
            (Field::new("v", DataType::Float64, true), Arc::new(Float64Array::from(vec![0.5, f64::NAN, -1.0]))),
        ];
        let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
        let mut grid = Grid::of(&batch.schema());
        grid.push(&batch).unwrap();
        let expected = [
            " metric |      n |    v",
            "--------+--------+------",
            " up     |      5 |  0.5",
            "        |   1234 |  NaN",
            " [null] | [null] | -1.0",
        ];
        assert_eq!(grid.table().lines().collect::<Vec<_>>(), expected);
        assert!(!grid.is_cut);
        assert_eq!((counted(grid.len()), counted(1)), ("3 rows".into(), "1 row".into()));
    }

    #[test]
    fn values_of_several_lines_and_wide_characters_keep_their_columns() {
        let mut grid = Grid::named([("plan", false), ("x", true)]);
        grid.row(row(&[Some("a\n  漢b\n"), Some("1")]));
        grid.row(row(&[Some("c"), Some("2\n30")]));
        let expected = [" plan  |  x", "-------+----", " a     |  1", "   漢b |", " c     |  2", "       | 30"];
        assert_eq!(grid.table().lines().collect::<Vec<_>>(), expected);
        let expected =
            ["-[ 1 ]----", "plan | a", "     |   漢b", "x    | 1", "-[ 2 ]----", "plan | c", "x    | 2", "     | 30"];
        assert_eq!(grid.records().lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_a_list_says_is_folded_between_words() {
        let mut grid = Grid::named([("column", false), ("about", false)]);
        grid.row(row(&[Some("BilledCost"), Some("What is on the invoice, in the currency of the bill.")]));
        grid.row(row(&[None, Some("x")]));
        let wide = grid.table();
        grid.fold_last(30);
        assert_eq!(grid.table(), wide, "there is no room for words");
        grid.fold_last(40);
        let table = grid.table();
        assert!(table.lines().all(|line| line.len() <= 40) && table.lines().count() == 6, "{table}");
        assert!(table.contains("| What is on the invoice,\n            | in the currency of the\n"), "{table}");
        assert_eq!(folded("a  b", 1), "a\n\nb");
        assert_eq!(folded("", 9), "");
    }

    #[test]
    fn hostile_names_and_values_steer_nothing() {
        let mut grid = Grid::named([("a\u{1b}[2J\n", false)]);
        grid.row(row(&[Some("\u{1b}]0;x\u{7}\rb\u{202e}")]));
        for text in [grid.table(), grid.records()] {
            assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
        }
    }

    #[test]
    fn what_nobody_reads_is_not_held() {
        let mut grid = Grid::named([("x", false)]);
        for _ in 0..=ROWS_MAX {
            assert!(!grid.is_cut);
            grid.row(row(&[Some("")]));
        }
        assert!(grid.is_cut && grid.len() == ROWS_MAX);
    }
}
