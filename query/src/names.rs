//! Finds the columns that names without quotes mean.
//!
//! Called by the engine with the parsed statement, before it is planned. Columns of billing are called as FOCUS has them (`BilledCost`),
//! and nobody wants to write them in quotes: a name that matches a column but for case becomes that column's name, so planning sees,
//! and the answer shows, the name of the schema. Names in quotes are exact. Names of tables and functions are planned as before, and a
//! name that is given with `AS` is what it is, in small letters unless it has quotes.
//!
//! Invariant: a name that matches a column exactly is left to mean it; one that matches two columns but for case is refused.
//! Not here: whether there is such a column, and whether two tables have it. Planning tells.

mod scope;

use std::{collections::HashMap, ops::ControlFlow};

use datafusion::{
    execution::SessionState,
    sql::{
        parser::Statement,
        sqlparser::ast::{
            ExcludeSelectItem, Expr, Ident, JoinConstraint, ObjectName, ObjectNamePart, Query, Select, SelectItem,
            SetExpr, TableFactor, TableWithJoins, VisitorMut,
        },
    },
};

use crate::{Error, ErrorKind, Fault, Position, Result, statement};

use scope::{Ctes, Layer, Schemas, constraint, layer_of, normal, outputs};

/// Gives the columns of a statement the names they have in their tables.
pub(crate) async fn resolve(state: &SessionState, statement: &mut Statement) -> Result<()> {
    let mut schemas = Schemas::default();
    for reference in state.resolve_table_references(statement)? {
        // A table that is not there is for planning to tell.
        let Ok(schema) = state.schema_for_ref(reference.clone()) else { continue };
        let Ok(Some(table)) = schema.table(reference.table()).await else { continue };
        let columns = table.schema().fields().iter().map(|field| field.name().clone()).collect();
        schemas.insert(reference, columns);
    }
    let mut names = Names { schemas: &schemas, layers: Vec::new(), ctes: vec![HashMap::new()] };
    statement::change(statement, &mut names)
}

/// Walks a statement with the columns that can be seen at each place.
struct Names<'a> {
    schemas: &'a Schemas,
    /// From the outermost query to the innermost: of each query what its `ORDER BY` sees, of each `SELECT` what its tables have.
    layers: Vec<Layer>,
    ctes: Vec<Ctes>,
}

impl Names<'_> {
    /// Gives a name without quotes the name of the column it means.
    fn column(&self, ident: &mut Ident) -> Result<()> {
        if ident.quote_style.is_some() {
            return Ok(());
        }
        for layer in self.layers.iter().rev() {
            if let Some(name) = layer.find(&ident.value).map_err(|names| ambiguous(ident, &names))? {
                quote(ident, name);
                return Ok(());
            }
        }
        Ok(())
    }

    /// The same of `table.column`, or of `column.field`.
    fn compound(&self, parts: &mut [Ident]) -> Result<()> {
        let at = parts.len() - 1;
        let table = normal(&parts[at - 1]);
        for layer in self.layers.iter().rev() {
            let Some(relation) = layer.relation(&table) else { continue };
            let column = &mut parts[at];
            if column.quote_style.is_none()
                && let Some(name) = relation.find(&column.value).map_err(|names| ambiguous(column, &names))?
            {
                quote(column, name);
            }
            return Ok(());
        }
        self.column(&mut parts[0])
    }

    fn select(&self, select: &mut Select) -> Result<()> {
        for table in &mut select.from {
            self.joins(table)?;
        }
        for item in &mut select.projection {
            match item {
                SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) => {
                    for name in options.opt_except.iter_mut() {
                        self.column(&mut name.first_element)?;
                        name.additional_elements.iter_mut().try_for_each(|name| self.column(name))?;
                    }
                    match &mut options.opt_exclude {
                        Some(ExcludeSelectItem::Single(name)) => self.object(name)?,
                        Some(ExcludeSelectItem::Multiple(names)) => {
                            names.iter_mut().try_for_each(|name| self.object(name))?
                        }
                        None => {}
                    }
                    for replaced in options.opt_replace.iter_mut().flat_map(|replace| &mut replace.items) {
                        self.column(&mut replaced.column_name)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn joins(&self, table: &mut TableWithJoins) -> Result<()> {
        for join in &mut table.joins {
            if let Some(JoinConstraint::Using(columns)) = constraint(&mut join.join_operator) {
                columns.iter_mut().try_for_each(|name| self.object(name))?;
            }
        }
        Ok(())
    }

    fn object(&self, name: &mut ObjectName) -> Result<()> {
        match name.0.last_mut() {
            Some(ObjectNamePart::Identifier(ident)) => self.column(ident),
            _ => Ok(()),
        }
    }
}

impl VisitorMut for Names<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        let mut ctes = self.ctes.last().cloned().unwrap_or_default();
        scope::add_ctes(query, self.schemas, &mut ctes);
        let columns = outputs(&query.body, self.schemas, &ctes);
        let mut layer = match query.body.as_ref() {
            SetExpr::Select(select) => layer_of(&select.from, self.schemas, &ctes),
            _ => Layer::default(),
        };
        layer.put_first(columns);
        self.layers.push(layer);
        self.ctes.push(ctes);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Error> {
        self.layers.pop();
        self.ctes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        let none = Ctes::new();
        self.layers.push(layer_of(&select.from, self.schemas, self.ctes.last().unwrap_or(&none)));
        flow(self.select(select))
    }

    fn post_visit_select(&mut self, _select: &mut Select) -> ControlFlow<Error> {
        self.layers.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<Error> {
        // Functions are called in any case, but planning looks those that are tables up as they are written.
        if let TableFactor::Table { name, args: Some(_), .. } = table {
            for part in &mut name.0 {
                if let ObjectNamePart::Identifier(ident) = part
                    && ident.quote_style.is_none()
                {
                    ident.value = ident.value.to_lowercase();
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        flow(match expr {
            Expr::Identifier(ident) => self.column(ident),
            Expr::CompoundIdentifier(parts) if parts.len() > 1 => self.compound(parts),
            _ => Ok(()),
        })
    }
}

fn flow(result: Result<()>) -> ControlFlow<Error> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

fn quote(ident: &mut Ident, name: String) {
    ident.value = name;
    ident.quote_style = Some('"');
}

fn ambiguous(ident: &Ident, names: &[String]) -> Error {
    let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let message = format!(
        "columns differ by case alone: write the one that is meant in quotes, {} name={}",
        names.join(" or "),
        ident.value
    );
    let position = Position { line: ident.span.start.line, column: ident.span.start.column };
    Error::new(ErrorKind::Invalid, message).of(Fault::AmbiguousColumn).at((position.line > 0).then_some(position))
}

#[cfg(test)]
mod tests;
