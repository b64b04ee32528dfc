//! Renders the documented settings as the page a user reads, `docs/configuration.md`.
//!
//! Called by the test that keeps the page fresh, which hands in `deploy/streamgauge.yaml`: that this file says what the defaults are, and
//! leaves out nothing, are tests of `config`. It is read line by line, since its comments are what the page is made of: `# …` is a
//! sentence about the setting that follows, `#key: …` a setting that is not set, and `#  …`, with two blanks at least, belongs to an
//! example of the setting before.

use std::{fmt::Write as _, mem, net::SocketAddr};

use super::units::{Memory, Size, Span};

const INTRO: &str = "# Configuration

Generated from `deploy/streamgauge.yaml` by `UPDATE=1 cargo test --release --workspace --lib page_of_settings`; do not edit.

Settings are YAML, in a file that `streamgauge serve --config FILE` names. Every one may be left out, so a file needs only what differs from
the defaults; options of the command line stand over it. `streamgauge check --config FILE` says what is wrong in a file, with line and column,
and what would run. Settings are read at the start; files that they name for tokens, certificates, rules and routes are read again when they
change.

Sizes are written `512KiB`, `64MiB`, `2GiB`; durations `15s`, `5m`, `1h30m`, `90d`. Relative paths are seen from the working directory.
Secrets may be in the environment, where the file says `${VARIABLE}` in their place, or in files of their own.
";

/// One setting as it is documented.
struct Setting {
    /// Its names, the outermost section first.
    path: Vec<String>,
    /// What it is by default; of one that is not set, what it may be. Empty if there are settings in it.
    value: String,
    is_set: bool,
    meaning: String,
    /// Lines of YAML that show what may be in it.
    example: Vec<String>,
}

/// The text of `docs/configuration.md`; `documented` is that of `deploy/streamgauge.yaml`.
#[must_use]
pub fn settings_page(documented: &str) -> String {
    let settings = settings(documented);
    let mut out = INTRO.to_owned();
    let is_section = |setting: &&Setting| setting.path.len() == 1 && setting.value.is_empty();
    let single: Vec<&Setting> = settings.iter().filter(|one| one.path.len() == 1 && !is_section(one)).collect();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "\n## Outside of sections");
    table(&mut out, &single);
    for section in settings.iter().filter(is_section) {
        let inner: Vec<&Setting> =
            settings.iter().filter(|one| one.path.len() > 1 && one.path[0] == section.path[0]).collect();
        let _ = writeln!(out, "\n## {}", section.path[0]);
        if !section.meaning.is_empty() {
            let _ = writeln!(out, "\n{}", prose(&section.meaning));
        }
        table(&mut out, &inner);
    }
    out
}

fn settings(documented: &str) -> Vec<Setting> {
    let (mut found, mut path, mut meaning) = (Vec::<Setting>::new(), Vec::<String>::new(), String::new());
    for line in documented.lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        let comment = text.strip_prefix('#');
        match comment {
            Some("") => {}
            None if text.is_empty() => meaning.clear(),
            Some(example) if example.starts_with("  ") => {
                if let Some(last) = found.last_mut() {
                    last.example.push(format!("{:indent$}{example}", ""));
                }
            }
            Some(sentence) if sentence.starts_with(' ') => meaning.push_str(sentence),
            _ => {
                let Some((key, value)) = comment.unwrap_or(text).split_once(':') else { continue };
                // A section's settings stand two blanks to the right of it.
                path.truncate(indent / 2);
                path.push(key.to_owned());
                found.push(Setting {
                    path: path.clone(),
                    value: value.trim().to_owned(),
                    is_set: comment.is_none(),
                    meaning: mem::take(&mut meaning).trim().to_owned(),
                    example: Vec::new(),
                });
            }
        }
    }
    found
}

/// The settings as a table, and after it the examples of those that have one.
fn table(out: &mut String, settings: &[&Setting]) {
    let _ = writeln!(out, "\n| setting | default | is | meaning |\n|---|---|---|---|");
    for setting in settings {
        let default = match (setting.is_set, setting.value.as_str()) {
            (true, "") => String::new(),
            (true, value) => format!("`{value}`"),
            (false, "") => "not set".to_owned(),
            (false, value) => format!("not set; such as `{value}`"),
        };
        let (key, meaning) = (setting.path.join("."), prose(&setting.meaning).replace('|', "\\|"));
        let _ = writeln!(out, "| `{key}` | {default} | {} | {meaning} |", kind(&setting.value));
    }
    for setting in settings.iter().filter(|setting| !setting.example.is_empty()) {
        let _ = writeln!(out, "\n```yaml");
        for (depth, key) in setting.path.iter().enumerate() {
            let _ = writeln!(out, "{:1$}{key}:", "", 2 * depth);
        }
        let _ = writeln!(out, "{}\n```", setting.example.join("\n"));
    }
}

/// What a value is, and so in which units it is written.
fn kind(value: &str) -> &'static str {
    match value {
        "" => "settings",
        "true" | "false" => "`true` or `false`",
        _ if value.starts_with('[') => "list",
        _ if value.starts_with('{') => "map",
        _ if value.parse::<u64>().is_ok() => "number",
        _ if value.parse::<SocketAddr>().is_ok() => "address",
        _ if Size::parse(value).is_ok() => "size",
        _ if Span::parse(value).is_ok() => "duration",
        _ if Memory::parse(value).is_ok() => "size or share",
        _ => "text",
    }
}

/// A text as Markdown shows it: a tag begins in none of it, but within code, where `<` is itself.
fn prose(text: &str) -> String {
    let escape = |(nth, part): (usize, &str)| if nth % 2 == 0 { part.replace('<', "&lt;") } else { part.to_owned() };
    text.split('`').enumerate().map(escape).collect::<Vec<_>>().join("`")
}
