//! Which labels series are sent with: those they have, without some and with some more.
//!
//! Called by [`Sink`](super::sink::Sink) for each series before anything else is done with it, so a series is known by the labels it
//! is sent with. Prometheus adds its external labels when it sends, and blocks lack them; with the label that names a replica, an
//! import would take part in the election of replicas, and lose.

use anyhow::{Context, Result, ensure};

/// What is taken off and added.
#[derive(Debug, Default)]
pub(super) struct Relabel {
    drop: Vec<String>,
    add: Vec<(String, String)>,
}

impl Relabel {
    /// Reads names that are dropped, and `NAME=VALUE` of what is added.
    ///
    /// # Errors
    /// If something to be added is no label, or is dropped or added elsewhere.
    pub(super) fn parse(drop: &[String], add: &[String]) -> Result<Self> {
        let mut read = Self { drop: drop.to_vec(), add: Vec::with_capacity(add.len()) };
        for text in add {
            let label = text.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty());
            let (name, value) = label.with_context(|| format!("--label {text} is no label: write NAME=VALUE"))?;
            ensure!(
                !read.drops(name),
                "--label {text} adds what --drop-label drops: name other labels to drop with --drop-label"
            );
            ensure!(read.add.iter().all(|(known, _)| known != name), "--label {name} is given twice");
            read.add.push((name.to_owned(), value.to_owned()));
        }
        Ok(read)
    }

    /// Changes the labels of a series: as Prometheus, which leaves a label be that a series has of its own. They are in order of their
    /// names then, each once.
    pub(super) fn apply<'a>(&'a self, labels: &mut Vec<(&'a str, &'a str)>) {
        labels.retain(|(name, _)| !self.drops(name));
        for (name, value) in &self.add {
            if labels.iter().all(|(known, _)| known != name) {
                labels.push((name, value));
            }
        }
        labels.sort_unstable();
        // The same name with another value stays: it is the server that says what is wrong with that.
        labels.dedup();
    }

    fn drops(&self, name: &str) -> bool {
        self.drop.iter().any(|drop| drop == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(drop: &[&str], add: &[&str]) -> Result<Relabel> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Relabel::parse(&owned(drop), &owned(add))
    }

    #[test]
    fn labels_are_dropped_and_added_and_in_order_then() {
        let relabel = parse(&["__replica__", "pod"], &["zone=a=b", "cluster=eu"]).unwrap();
        let mut labels = vec![("__name__", "up"), ("__replica__", "0"), ("job", "x"), ("job", "x"), ("zone", "own")];
        relabel.apply(&mut labels);
        assert_eq!(labels, [("__name__", "up"), ("cluster", "eu"), ("job", "x"), ("zone", "own")]);
        let mut labels = vec![("pod", "1"), ("b", "2"), ("a", "3")];
        relabel.apply(&mut labels);
        assert_eq!(labels, [("a", "3"), ("b", "2"), ("cluster", "eu"), ("zone", "a=b")]);
    }

    #[test]
    fn what_is_no_label_is_refused() {
        for (add, why) in [
            (&["cluster"][..], "write NAME=VALUE"),
            (&["=eu"], "write NAME=VALUE"),
            (&["cluster="], "write NAME=VALUE"),
            (&["__replica__=0"], "adds what --drop-label drops"),
            (&["a=1", "a=2"], "twice"),
        ] {
            let error = parse(&["__replica__"], add).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
