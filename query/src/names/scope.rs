//! Which columns can be seen where.
//!
//! Used by `names`, over the parsed statement. Of a table function without a list of columns nothing is known, and names that mean its
//! columns are planned as they are.

use std::collections::{HashMap, HashSet};

use datafusion::{
    common::TableReference,
    sql::sqlparser::ast::{
        Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, Query, SelectItem,
        SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableFactor, TableWithJoins,
    },
};

/// Columns of the tables that a statement names.
#[derive(Debug, Default)]
pub(super) struct Schemas(HashMap<String, Vec<String>>);

/// Columns of the `WITH` queries that can be seen.
pub(super) type Ctes = HashMap<String, Vec<String>>;

/// A table, subquery or `WITH` query under the name it has in a `FROM`.
#[derive(Debug)]
pub(super) struct Relation {
    name: Option<String>,
    columns: Vec<String>,
}

/// What can be seen at a place: names of results before those of tables.
#[derive(Debug, Default)]
pub(super) struct Layer {
    results: Vec<String>,
    relations: Vec<Relation>,
}

impl Schemas {
    pub(super) fn insert(&mut self, table: TableReference, columns: Vec<String>) {
        self.0.insert(table.to_string(), columns);
    }

    fn of(&self, name: &ObjectName) -> Option<&Vec<String>> {
        let parts: Vec<String> = name.0.iter().filter_map(ObjectNamePart::as_ident).map(normal).collect();
        let reference = match parts.as_slice() {
            [table] => TableReference::bare(table.as_str()),
            [schema, table] => TableReference::partial(schema.as_str(), table.as_str()),
            [catalog, schema, table] => TableReference::full(catalog.as_str(), schema.as_str(), table.as_str()),
            _ => return None,
        };
        self.0.get(&reference.to_string())
    }
}

impl Relation {
    /// The column that a name means; the candidates if there are several.
    pub(super) fn find(&self, name: &str) -> Result<Option<String>, Vec<String>> {
        find(&self.columns, name)
    }
}

impl Layer {
    /// The column that a name means; the candidates if there are several.
    pub(super) fn find(&self, name: &str) -> Result<Option<String>, Vec<String>> {
        match find(&self.results, name)? {
            None => find(self.relations.iter().flat_map(|relation| &relation.columns), name),
            found => Ok(found),
        }
    }

    pub(super) fn relation(&self, name: &str) -> Option<&Relation> {
        self.relations.iter().find(|relation| relation.name.as_deref() == Some(name))
    }

    pub(super) fn put_first(&mut self, results: Vec<String>) {
        self.results = results;
    }
}

fn find<'a>(columns: impl IntoIterator<Item = &'a String>, name: &str) -> Result<Option<String>, Vec<String>> {
    let mut found: Vec<String> = Vec::new();
    for column in columns {
        if column == name {
            return Ok(Some(column.clone()));
        }
        if alike(column, name) && !found.contains(column) {
            found.push(column.clone());
        }
    }
    if found.len() > 1 { Err(found) } else { Ok(found.pop()) }
}

fn alike(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || (!a.is_ascii() && a.to_lowercase() == b.to_lowercase())
}

/// A name as planning reads it.
pub(super) fn normal(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// The condition of a join.
pub(super) fn constraint(join: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match join {
        JoinOperator::Join(on)
        | JoinOperator::Inner(on)
        | JoinOperator::Left(on)
        | JoinOperator::LeftOuter(on)
        | JoinOperator::Right(on)
        | JoinOperator::RightOuter(on)
        | JoinOperator::FullOuter(on)
        | JoinOperator::Semi(on)
        | JoinOperator::LeftSemi(on)
        | JoinOperator::RightSemi(on)
        | JoinOperator::Anti(on)
        | JoinOperator::LeftAnti(on)
        | JoinOperator::RightAnti(on) => Some(on),
        _ => None,
    }
}

/// Adds the `WITH` queries of a query; each sees those before it, a recursive one itself.
pub(super) fn add_ctes(query: &Query, schemas: &Schemas, ctes: &mut Ctes) {
    for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
        let columns = query_outputs(&cte.query, schemas, ctes);
        ctes.insert(normal(&cte.alias.name), renamed(columns, Some(&cte.alias)));
    }
}

/// What the tables of a `FROM` have.
pub(super) fn layer_of(from: &[TableWithJoins], schemas: &Schemas, ctes: &Ctes) -> Layer {
    let mut layer = Layer::default();
    for table in from {
        add(&mut layer, table, schemas, ctes);
    }
    layer
}

fn add(layer: &mut Layer, table: &TableWithJoins, schemas: &Schemas, ctes: &Ctes) {
    for factor in std::iter::once(&table.relation).chain(table.joins.iter().map(|join: &Join| &join.relation)) {
        let (alias, columns, own_name) = match factor {
            TableFactor::Table { name, alias, .. } => {
                let own_name = name.0.last().and_then(ObjectNamePart::as_ident).map(normal);
                let cte = own_name.as_ref().filter(|_| name.0.len() == 1).and_then(|name| ctes.get(name));
                (alias, cte.or_else(|| schemas.of(name)).cloned().unwrap_or_default(), own_name)
            }
            TableFactor::Derived { subquery, alias, .. } => (alias, query_outputs(subquery, schemas, ctes), None),
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                add(layer, table_with_joins, schemas, ctes);
                continue;
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let mut inner = Layer::default();
                add(&mut inner, table_with_joins, schemas, ctes);
                (alias, inner.relations.into_iter().flat_map(|relation| relation.columns).collect(), None)
            }
            TableFactor::TableFunction { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::UNNEST { alias, .. } => (alias, Vec::new(), None),
            _ => continue,
        };
        let name = alias.as_ref().map(|alias| normal(&alias.name)).or(own_name);
        layer.relations.push(Relation { name, columns: renamed(columns, alias.as_ref()) });
    }
}

/// Columns under the names that an alias gives them, as in `AS t(a, b)`.
fn renamed(mut columns: Vec<String>, alias: Option<&TableAlias>) -> Vec<String> {
    let names = alias.map(|alias| alias.columns.iter().map(|column| normal(&column.name)).collect::<Vec<_>>());
    if let Some(names) = names.filter(|names| !names.is_empty()) {
        let rest = columns.split_off(names.len().min(columns.len()));
        columns = names.into_iter().chain(rest).collect();
    }
    columns
}

fn query_outputs(query: &Query, schemas: &Schemas, ctes: &Ctes) -> Vec<String> {
    let mut ctes = ctes.clone();
    add_ctes(query, schemas, &mut ctes);
    outputs(&query.body, schemas, &ctes)
}

/// Names of the columns that a query gives; of expressions without a name, none.
pub(super) fn outputs(body: &SetExpr, schemas: &Schemas, ctes: &Ctes) -> Vec<String> {
    let select = match body {
        SetExpr::Select(select) => select,
        SetExpr::Query(query) => return query_outputs(query, schemas, ctes),
        SetExpr::SetOperation { left, .. } => return outputs(left, schemas, ctes),
        _ => return Vec::new(),
    };
    let layer = layer_of(&select.from, schemas, ctes);
    let meant = |ident: &Ident| match layer.find(&ident.value) {
        Ok(Some(name)) if ident.quote_style.is_none() => name,
        _ => normal(ident),
    };
    let mut columns = Vec::new();
    for item in &select.projection {
        match item {
            SelectItem::UnnamedExpr(Expr::Identifier(ident)) => columns.push(meant(ident)),
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => columns.extend(parts.last().map(meant)),
            SelectItem::ExprWithAlias { alias, .. } => columns.push(normal(alias)),
            SelectItem::Wildcard(_) => columns.extend(layer.relations.iter().flat_map(|r| r.columns.iter().cloned())),
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                let relation =
                    name.0.last().and_then(ObjectNamePart::as_ident).and_then(|i| layer.relation(&normal(i)));
                columns.extend(relation.into_iter().flat_map(|relation| relation.columns.iter().cloned()));
            }
            _ => {}
        }
    }
    // Each name once: joins of joins of all columns would multiply them.
    let mut seen = HashSet::new();
    columns.retain(|column| seen.insert(column.clone()));
    columns
}
