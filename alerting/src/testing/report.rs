//! What differs, as text.

use std::fmt::Write as _;

/// What was expected and what was found, as lines; each item has some.
pub(super) struct Shown {
    expected: Vec<Vec<String>>,
    found: Vec<Vec<String>>,
}

impl Shown {
    pub(super) fn new<T>(expected: &[T], found: &[T], lines: impl Fn(&T) -> Vec<String>) -> Self {
        Self { expected: expected.iter().map(&lines).collect(), found: found.iter().map(&lines).collect() }
    }
}

/// A text that says what differs: two lists, or one of lines that begin with `-` (expected, not found) and `+` (found, not expected).
pub(super) fn differs(head: &str, shown: &Shown, as_diff: bool) -> String {
    let mut out = format!("{head}\n");
    let Shown { expected, found } = shown;
    let same = expected.iter().filter(|item| found.contains(item)).count();
    let _ = writeln!(out, "expected {}, got {}, the same {same}", expected.len(), found.len());
    if as_diff {
        diff(&mut out, expected, found);
    } else {
        list(&mut out, "expected", expected);
        list(&mut out, "got", found);
    }
    out.truncate(out.trim_end().len());
    out
}

fn list(out: &mut String, title: &str, items: &[Vec<String>]) {
    let _ = writeln!(out, "{title}:{}", if items.is_empty() { " nothing" } else { "" });
    for (at, item) in items.iter().enumerate() {
        for (line, text) in item.iter().enumerate() {
            let mark = if line == 0 { format!("{:>4}. ", at + 1) } else { " ".repeat(6) };
            let _ = writeln!(out, "{mark}{text}");
        }
    }
}

/// Items that are the same stand once; of the others each that was expected is laid beside the one that was found that it is most like.
fn diff(out: &mut String, expected: &[Vec<String>], found: &[Vec<String>]) {
    let mut left: Vec<&Vec<String>> = found.iter().collect();
    let mut missing = Vec::new();
    for item in expected {
        match left.iter().position(|other| *other == item) {
            Some(at) => marked(out, ' ', left.remove(at)),
            None => missing.push(item),
        }
    }
    for item in missing {
        let alike = |other: &&Vec<String>| other.iter().filter(|line| item.contains(line)).count();
        let nearest = left.iter().enumerate().max_by_key(|(_, other)| alike(other)).map(|(at, _)| at);
        let Some(at) = nearest else {
            marked(out, '-', item);
            continue;
        };
        let other = left.remove(at);
        lines(out, item, other);
    }
    for item in left {
        marked(out, '+', item);
    }
}

fn marked(out: &mut String, mark: char, item: &[String]) {
    for line in item {
        let _ = writeln!(out, "{mark} {line}");
    }
}

/// Lines of both, in their order: those that both have stand once.
fn lines(out: &mut String, expected: &[String], found: &[String]) {
    let mut rest = found;
    for line in expected {
        match rest.iter().position(|other| other == line) {
            Some(at) => {
                marked(out, '+', &rest[..at]);
                marked(out, ' ', std::slice::from_ref(line));
                rest = &rest[at + 1..];
            }
            None => marked(out, '-', std::slice::from_ref(line)),
        }
    }
    marked(out, '+', rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown() -> Shown {
        let item = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Shown {
            expected: vec![item(&["labels:", "  a: 1", "annotations:", "  s: down"]), item(&["x"])],
            found: vec![item(&["x"]), item(&["labels:", "  a: 1", "annotations:", "  s: up", "  t: new"])],
        }
    }

    #[test]
    fn a_difference_lays_alike_items_beside_each_other() {
        let expected = "head
expected 2, got 2, the same 1
  x
  labels:
    a: 1
  annotations:
-   s: down
+   s: up
+   t: new";
        assert_eq!(differs("head", &shown(), true), expected);
    }

    #[test]
    fn lists_have_all_of_both() {
        let text = differs("head", &shown(), false);
        assert!(
            text.contains("expected:\n   1. labels:\n        a: 1\n") && text.contains("got:\n   1. x\n   2. labels:"),
            "{text}"
        );
        let none = Shown { expected: Vec::new(), found: Vec::new() };
        assert!(differs("head", &none, false).ends_with("expected: nothing\ngot: nothing"));
    }
}
