//! Reports as XML that build servers read.

use std::fmt::Write as _;

use super::Report;

/// Reports as JUnit writes them: a suite for each file, a case for each test.
#[must_use]
pub fn junit(reports: &[Report]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for report in reports {
        let file = report.file.display().to_string();
        let failed = report.tests.iter().filter(|test| !test.failures.is_empty()).count();
        let (tests, errors) = (report.tests.len(), report.errors.len());
        let name = escaped(&file);
        let counts = format!("tests=\"{tests}\" failures=\"{failed}\" errors=\"{errors}\"");
        let _ = writeln!(out, "  <testsuite name=\"{name}\" {counts}>");
        for error in &report.errors {
            let message = escaped(error);
            let _ = writeln!(out, "    <testcase name=\"reading\"><error message=\"{message}\"/></testcase>");
        }
        for test in &report.tests {
            let case = escaped(&test.name);
            let _ = write!(out, "    <testcase name=\"{case}\" classname=\"{name}\" line=\"{}\"", test.line);
            if test.failures.is_empty() {
                out.push_str("/>\n");
                continue;
            }
            out.push_str(">\n");
            for failure in &test.failures {
                let message = escaped(failure.lines().next().unwrap_or_default());
                let _ = writeln!(out, "      <failure message=\"{message}\">{}</failure>", escaped(failure));
            }
            out.push_str("    </testcase>\n");
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

/// Text in XML; characters that XML has no place for become a question mark.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push(c),
            c if c < ' ' || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('?'),
            c => out.push(c),
        }
    }
    out
}
