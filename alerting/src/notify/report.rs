//! The answer to a question that was asked at its time, as people read it: the first rows as a table, where to ask again, and a file with all.
//!
//! Made by whoever asks, anew for each attempt, and given to notifiers within a notification. Invariants: a table is lines of text of a
//! bounded width without characters that are not seen; a file is whole, or there is none. Not here: what is escaped for
//! whom, how the file was written (text in it that begins like a formula is led by `'`).

use super::text::{one_line, truncated};

/// Rows that are shown; the file has all of them.
pub const ROWS_MAX: usize = 20;
/// Bytes of a file. As Base64 it still fits into the 10 MB that mail servers take.
pub const FILE_BYTES_MAX: usize = 6 << 20;
/// Characters of a cell.
const CELL_CHARS_MAX: usize = 40;
/// Characters of a line, which is as wide as a window of Slack, or as a page.
const LINE_CHARS_MAX: usize = 160;
/// Characters of a title.
const TITLE_CHARS_MAX: usize = 200;
/// Characters of a reason; that of a plan that fails may be long.
const REASON_CHARS_MAX: usize = 500;

/// An answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What was asked, for people.
    pub title: String,
    /// As of when, as those read it who are told.
    pub time: String,
    /// Where the question can be asked again.
    pub link: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The first rows, [`ROWS_MAX`] at most.
    pub rows: Vec<Vec<String>>,
    /// How many rows there are; none if the answer was not read to its end.
    pub count: Option<u64>,
    /// All rows.
    pub file: Option<File>,
    /// Why there is no file, if somebody would look for one.
    pub lacks_file: Option<String>,
    /// Why there is no answer, if there is none: that is told instead.
    pub failure: Option<String>,
    /// Was it tried for so long that what can be told of it is told, without what fails?
    pub is_late: bool,
}

/// A file.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Its name: of the characters a-z 0-9 _ - and a point.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("File").field("name", &self.name).field("bytes", &self.bytes.len()).finish()
    }
}

impl Report {
    /// The same without its file, and why.
    #[must_use]
    pub fn without_file(&self, why: &str) -> Self {
        Self { file: None, lacks_file: Some(why.to_owned()), ..self.clone() }
    }

    /// In one line: `Costs of a team, as of 2026-11-23 08:00 Europe/Berlin`.
    #[must_use]
    pub fn headline(&self) -> String {
        format!("{}, as of {}", truncated(one_line(&self.title).trim_end_matches('.'), TITLE_CHARS_MAX), self.time)
    }

    /// Names and rows, aligned, as many as there is room for, each line passed through a function; and how many rows they are.
    #[must_use]
    pub fn table(&self, chars_max: usize, escape: impl Fn(&str) -> String) -> (String, usize) {
        let cell = |text: &String| truncated(&one_line(text), CELL_CHARS_MAX);
        let names: Vec<String> = self.columns.iter().map(cell).collect();
        let rows: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
        let column = |nth: usize| rows.iter().filter_map(move |row| row.get(nth));
        let layout = names.iter().enumerate().map(|(nth, name)| {
            let width = column(nth).chain([name]).map(|text| text.chars().count()).max().unwrap_or_default();
            // Numbers are read from their end.
            let is_number = column(nth).all(|text| text.is_empty() || text.parse::<f64>().is_ok());
            (width, is_number && !rows.is_empty())
        });
        let layout: Vec<(usize, bool)> = layout.collect();
        let line = |cells: &[String]| {
            let cells = cells.iter().zip(&layout).map(|(text, (width, is_number))| match is_number {
                true => format!("{text:>width$}"),
                false => format!("{text:<width$}"),
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            escape(&truncated(line.trim_end(), LINE_CHARS_MAX))
        };
        let rule: Vec<String> = layout.iter().map(|(width, _)| "-".repeat(*width)).collect();
        let mut table = [line(&names), line(&rule)].join("\n");
        let (mut chars, mut shown) = (table.chars().count(), 0);
        for row in &rows {
            let line = line(row);
            let line_chars = line.chars().count() + 1;
            if chars + line_chars > chars_max {
                break;
            }
            chars += line_chars;
            shown += 1;
            table.push('\n');
            table.push_str(&line);
        }
        (table, shown)
    }

    /// How much of the answer is shown, and where the rest is; or why there is none.
    #[must_use]
    pub fn words(&self, shown: usize) -> String {
        if let Some(why) = &self.failure {
            return format!("There is no answer: {}", truncated(&one_line(why), REASON_CHARS_MAX));
        }
        let rows = match (self.count, shown) {
            (Some(0), _) => "There are no rows.".to_owned(),
            (Some(1), 1) => "There is one row.".to_owned(),
            (Some(count), shown) if count == shown as u64 => format!("There are {count} rows."),
            (Some(count), shown) => format!("These are the first {shown} of {count} rows."),
            (None, shown) => format!("These are the first {shown} rows."),
        };
        match &self.lacks_file {
            Some(why) => format!("{rows} There is no file: {}.", truncated(&one_line(why), REASON_CHARS_MAX)),
            None => rows,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(rows: &[[&str; 2]]) -> Report {
        Report {
            title: "Costs\nof teams.".to_owned(),
            time: "2026-11-23T07:00:00Z".to_owned(),
            columns: ["team", "cost"].map(str::to_owned).to_vec(),
            rows: rows.iter().map(|row| row.map(str::to_owned).to_vec()).collect(),
            count: Some(rows.len() as u64),
            ..Report::default()
        }
    }

    #[test]
    fn a_table_is_aligned_and_numbers_end_together() {
        let told = report(&[["payments", "120.50"], ["a\nb", "7"], ["", ""]]);
        let (table, shown) = told.table(1_000, str::to_owned);
        assert_eq!(table, "team        cost\n--------  ------\npayments  120.50\na b            7\n");
        assert_eq!((shown, told.words(shown).as_str()), (3, "There are 3 rows."));
        assert_eq!(told.headline(), "Costs of teams, as of 2026-11-23T07:00:00Z");
        let none = report(&[]);
        assert_eq!(none.table(1_000, str::to_owned), ("team  cost\n----  ----".to_owned(), 0));
        assert_eq!(none.words(0), "There are no rows.");
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let wide = "x".repeat(500);
        let rows = [[wide.as_str(), "1"]; 20];
        let told = Report { count: Some(900), ..report(&rows) };
        let (table, shown) = told.table(300, |line| line.replace('x', "&amp;"));
        assert!(table.chars().count() <= 300 && shown < 3, "{table}");
        assert!(told.words(shown).contains(" of 900 rows"), "{}", told.words(shown));
        let large = Report { count: None, ..told.without_file("it is larger than\n6 MiB") };
        assert_eq!(large.words(20), "These are the first 20 rows. There is no file: it is larger than 6 MiB.");
        let failed = Report { failure: Some("timeout\nof a query".to_owned()), ..told };
        assert_eq!(failed.words(0), "There is no answer: timeout of a query");
    }
}
