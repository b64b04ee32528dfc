//! Groups of a file's text.

use std::collections::BTreeMap;

use super::{Action, Alert, Condition, FILE_BYTES_MAX, Group, LimitMode, NoData, Notify, Options, Rule, Sql};
use crate::{
    Error, Result,
    yaml::{self, Fields, Kind, Node},
};

/// Reads a file; what is wrong with one rule hides nothing of the others.
pub(super) fn groups(text: &str, options: &Options<'_>) -> Result<Vec<Group>, Vec<Error>> {
    read(text, options, Reader::file)
}

/// Reads a group that stands alone.
pub(super) fn group(text: &str, options: &Options<'_>) -> Result<Group, Vec<Error>> {
    read(text, options, Reader::group)
}

fn read<'a, T>(
    text: &str,
    options: &'a Options<'a>,
    read: impl FnOnce(&mut Reader<'a>, &Node) -> Result<T>,
) -> Result<T, Vec<Error>> {
    if text.len() > FILE_BYTES_MAX {
        let size = text.len();
        let message = format!("rule file is too large; split it: bytes={size} max={FILE_BYTES_MAX}");
        return Err(vec![Error::invalid(message)]);
    }
    let root = yaml::read(text).map_err(|error| vec![error])?;
    let mut reader = Reader { options, errors: Vec::new() };
    let found = read(&mut reader, &root);
    match (found, reader.errors) {
        (Ok(found), errors) if errors.is_empty() => Ok(found),
        (Ok(_), errors) => Err(errors),
        (Err(error), mut errors) => {
            errors.push(error);
            Err(errors)
        }
    }
}

struct Reader<'a> {
    options: &'a Options<'a>,
    errors: Vec<Error>,
}

impl Reader<'_> {
    fn file(&mut self, root: &Node) -> Result<Vec<Group>> {
        let mut fields = root.fields()?;
        let groups = fields.read("groups", |node| node.list().map(Some))?.unwrap_or_default();
        fields.finish(self.options.ignores_unknown_fields)?;
        let mut read: Vec<Group> = Vec::new();
        for node in groups {
            match self.group(node) {
                Ok(group) if read.iter().any(|known| known.name == group.name) => {
                    self.errors
                        .push(node.wrong(format!("group {:?}: the name is used twice in this file", group.name)));
                }
                Ok(group) => read.push(group),
                Err(error) => self.errors.push(error),
            }
        }
        Ok(read)
    }

    fn group(&mut self, node: &Node) -> Result<Group> {
        let mut fields = node.fields()?;
        let name = fields.text("name")?;
        if name.is_empty() {
            return Err(node.wrong("group: `name` must be set and not be empty"));
        }
        let within = |error: Error| error.within(format_args!("group {name:?}"));
        let rules = fields.read("rules", |node| node.list().map(Some)).map_err(within)?.unwrap_or_default();
        let mut group = self.head(name.clone(), &mut fields).map_err(within)?;
        group.place = node.place;
        fields.finish(self.options.ignores_unknown_fields).map_err(within)?;
        for (at, node) in rules.iter().enumerate() {
            match self.rule(node) {
                Ok(rule) => group.rules.push(rule),
                Err((called, error)) => {
                    self.errors.push(error.within(format_args!("group {name:?}, rule {}, {called:?}", at + 1)));
                }
            }
        }
        Ok(group)
    }

    fn head(&self, name: String, fields: &mut Fields<'_>) -> Result<Group> {
        let limit = fields
            .take("limit")
            .map(|node| usize::try_from(node.whole()?).map_err(|_| node.wrong("`limit` must not be negative")));
        Ok(Group {
            name,
            place: fields.place,
            interval_ms: fields.take("interval").map(Node::duration_ms).transpose()?.filter(|interval| *interval > 0),
            limit: limit.transpose()?.unwrap_or_default(),
            limit_mode: fields.read("limit_mode", |node| {
                node.word(&[("refuse", LimitMode::Refuse), ("prometheus", LimitMode::Prometheus)])
            })?,
            query_offset_ms: fields.take("query_offset").map(Node::duration_ms).transpose()?,
            labels: fields.read("labels", |node| {
                let labels = labels(node)?;
                self.check_templates(Some(node), &labels)?;
                Ok(labels)
            })?,
            rules: Vec::new(),
        })
    }

    /// What is wrong comes with the name of the rule.
    fn rule(&self, node: &Node) -> Result<Rule, (String, Error)> {
        let mut fields = node.fields().map_err(|error| (String::new(), error))?;
        let record = fields.take("record");
        let alert = fields.take("alert");
        let called = |node: Option<&Node>| node.and_then(|node| node.text().ok()).unwrap_or_default().to_owned();
        let name = if alert.is_some() { called(alert) } else { called(record) };
        self.named(node, &mut fields, (record, alert))
            .and_then(|rule| {
                fields.finish(self.options.ignores_unknown_fields)?;
                Ok(rule)
            })
            .map_err(|error| (name, error))
    }

    fn named<'n>(
        &self,
        node: &'n Node,
        fields: &mut Fields<'n>,
        names: (Option<&Node>, Option<&Node>),
    ) -> Result<Rule> {
        let is_set = |name: &Option<&Node>| name.is_some_and(|node| node.text().map_or(true, |text| !text.is_empty()));
        let (record, alert) = (names.0.filter(|node| is_set(&Some(node))), names.1.filter(|node| is_set(&Some(node))));
        let (condition, own_labels) = condition(node, fields)?;
        let labels = own_labels.map(labels).transpose()?.unwrap_or_default();
        let action = match (record, alert) {
            (Some(_), Some(alert)) => return Err(alert.wrong("only one of `record` and `alert` must be set")),
            (None, None) => return Err(node.wrong("one of `record` or `alert` must be set")),
            (Some(record), None) => Action::Record(recorded(record, fields)?),
            (None, Some(alert)) => {
                let alert = self.alert(alert, fields)?;
                self.check_templates(own_labels, &labels)?;
                Action::Alert(alert)
            }
        };
        Ok(Rule { place: node.place, condition, labels, action })
    }

    fn alert(&self, name: &Node, fields: &mut Fields<'_>) -> Result<Alert> {
        let annotated = fields.take("annotations");
        let annotations = annotated.map(Node::map).transpose()?.unwrap_or_default();
        for (key, (line, column), _) in annotated.map(Node::texts).transpose()?.unwrap_or_default() {
            if key.is_empty() {
                return Err(Error::invalid("annotation with an empty name").at(line, column));
            }
        }
        self.check_templates(annotated, &annotations)?;
        Ok(Alert {
            name: name.text()?.to_owned(),
            for_ms: fields.read("for", Node::duration_ms)?,
            keep_firing_for_ms: fields.read("keep_firing_for", Node::duration_ms)?,
            annotations,
            no_data: fields.read("no_data", |node| {
                node.word(&[("keep", NoData::Keep), ("alert", NoData::Alert), ("resolve", NoData::Resolve)])
            })?,
            notify: fields.read("notify", |node| node.word(&[("once", Notify::Once), ("repeat", Notify::Repeat)]))?,
        })
    }

    fn check_templates(&self, node: Option<&Node>, texts: &BTreeMap<String, String>) -> Result<()> {
        let Some(node) = node else { return Ok(()) };
        for (name, text) in texts {
            (self.options.template)(text).map_err(|error| {
                let place = match &node.kind {
                    Kind::Map(pairs) => pairs.iter().find(|(key, ..)| key == name).map(|(_, _, value)| value.place),
                    _ => None,
                };
                let (line, column) = place.unwrap_or(node.place);
                Error::invalid(error.to_string()).at(line, column).within(format_args!("template of {name:?}"))
            })?;
        }
        Ok(())
    }
}

/// What a rule asks, and its field `labels` if that is a map.
fn condition<'n>(node: &'n Node, fields: &mut Fields<'n>) -> Result<(Condition, Option<&'n Node>)> {
    let (expr, sql, labels) = (fields.take("expr"), fields.take("sql"), fields.take("labels"));
    match (expr, sql) {
        (Some(_), Some(sql)) => Err(sql.wrong("only one of `expr` and `sql` must be set")),
        (None, Some(sql)) => {
            let columns = labels.filter(|node| matches!(node.kind, Kind::List(_)));
            let texts = |node: &Node| node.list()?.iter().map(|item| item.text().map(str::to_owned)).collect();
            let sql = Sql {
                text: sql.text()?.to_owned(),
                value: fields.take("value").map(Node::text).transpose()?.unwrap_or_default().to_owned(),
                labels: columns.map(texts).transpose()?,
                max_age_ms: fields.take("max_age").map(Node::duration_ms).transpose()?,
                table: fields.take("table").map(|node| node.text().map(str::to_owned)).transpose()?,
            };
            Ok((Condition::Sql(sql), labels.filter(|_| columns.is_none())))
        }
        (Some(expr), None) if !expr.text()?.is_empty() => {
            for key in ["value", "max_age", "table"] {
                if let Some(node) = fields.take(key) {
                    return Err(node.wrong(format!("`{key}` is for rules with `sql`")));
                }
            }
            let query = promql::Query::parse(expr.text()?)
                .map_err(|error| expr.wrong(format!("could not parse expression: {error}")).caused_by(error))?;
            Ok((Condition::Promql(query), labels))
        }
        _ => Err(node.wrong("field `expr` must be set")),
    }
}

/// The name of what is recorded.
fn recorded(record: &Node, fields: &mut Fields<'_>) -> Result<String> {
    for key in ["for", "keep_firing_for", "annotations", "no_data", "notify"] {
        if let Some(node) = fields.take(key) {
            return Err(node.wrong(format!("`{key}` is for alerts, not for recording rules")));
        }
    }
    let name = record.text()?;
    if name.contains(['{', '}']) {
        return Err(record.wrong(format!("invalid recording rule name {name:?}: braces belong to labels")));
    }
    Ok(name.to_owned())
}

fn labels(node: &Node) -> Result<BTreeMap<String, String>> {
    for (name, (line, column), _) in node.texts()? {
        if name.is_empty() || name == promql::NAME {
            return Err(Error::invalid(format!("invalid label name {name:?}")).at(line, column));
        }
    }
    node.map()
}
