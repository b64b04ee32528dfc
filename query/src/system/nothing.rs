//! What is known of queries over the catalog without planning them: those over what there is none of here give no rows.
//!
//! Called by `dialect` for statements that name tables of the catalog. Clients look for defaults, policies, constraints and the like in
//! queries that planning cannot do in the place of values. Whether there are rows is told by what a query selects from, never by its text.
//!
//! Invariant: what is put in is what SQL says of a query without rows: NULL, an empty list, no. Of which type a NULL is cannot be told
//! before planning: a list if the query makes one, otherwise a text.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, JoinOperator, ObjectName, ObjectNamePart, Query,
    Select, SetExpr, Statement as Sql, TableFactor, TableWithJoins, Value, Visit, Visitor,
};

use super::{
    dialect::parsed,
    subqueries::{filled, is_aggregate, is_grouped, only_value, outside, plain, query_of},
    tables,
};

/// Functions that give the items of a list as rows.
const OF_LISTS: [&str; 3] = ["aclexplode", "pg_options_to_table", "unnest"];

/// Function that gives the places of a list as rows, which planning does not know.
const OF_PLACES: &str = "generate_subscripts";

/// Tables of the catalog, as a statement sees them.
pub(super) struct Nothing {
    /// Names of `WITH` queries, which hide them.
    hidden: Vec<String>,
}

impl Nothing {
    /// What is known for a statement.
    pub fn of(statement: &Sql) -> Self {
        let mut nothing = Self { hidden: Vec::new() };
        let _ = Visit::visit(statement, &mut nothing);
        nothing
    }

    /// Takes queries without rows out of what a select gives. A select that has no rows itself gives nothing, so it does not matter what
    /// its values would be.
    pub fn in_select(&self, select: &mut Select) {
        let takes_all = self.is_of_select(select);
        outside(&mut select.projection, |expr| {
            let value = match expr {
                Expr::Function(call) if takes_all && call.name.to_string().eq_ignore_ascii_case(OF_PLACES) => {
                    a_number(call)
                }
                _ if query_of(expr).is_some_and(|query| takes_all || self.is_of(query)) => empty(expr),
                _ => None,
            };
            if let Some(value) = value {
                *expr = value;
            }
        });
    }

    /// What a query in the place of a value is, if that is known; or the same so that it can be planned.
    pub fn instead(&self, expr: &mut Expr) -> Option<Expr> {
        if query_of(expr).is_some_and(|query| self.is_of(query)) {
            return empty(expr);
        }
        // A query here is asked for one row by the keys of tables, which planning believes of an aggregate only.
        if let Expr::Subquery(query) = expr
            && let Some(select) = plain(query).filter(|select| select.selection.is_some())
            && let Some(value) = only_value(select)
        {
            *value = filled("max(_value)", &[("_value", &*value)])?;
        }
        None
    }

    /// Does a query give no rows, whatever it asks?
    fn is_of(&self, query: &Query) -> bool {
        match query.body.as_ref() {
            SetExpr::Select(select) => query.with.is_none() && self.is_of_select(select),
            _ => false,
        }
    }

    fn is_of_select(&self, select: &Select) -> bool {
        // Over no rows there is one row of aggregates.
        select.from.iter().any(|table| self.is_of_table(table)) && (is_grouped(select) || !is_aggregate(select))
    }

    fn is_of_table(&self, table: &TableWithJoins) -> bool {
        table.joins.iter().fold(self.is_of_factor(&table.relation), |is_empty, join| {
            let joined = self.is_of_factor(&join.relation);
            match &join.join_operator {
                JoinOperator::Join(_)
                | JoinOperator::Inner(_)
                | JoinOperator::CrossJoin(_)
                | JoinOperator::Semi(_)
                | JoinOperator::LeftSemi(_) => is_empty || joined,
                JoinOperator::Left(_)
                | JoinOperator::LeftOuter(_)
                | JoinOperator::Anti(_)
                | JoinOperator::LeftAnti(_) => is_empty,
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) => joined,
                JoinOperator::FullOuter(_) => is_empty && joined,
                _ => false,
            }
        })
    }

    fn is_of_factor(&self, factor: &TableFactor) -> bool {
        match factor {
            TableFactor::Table { name, args: None, .. } => self.is_of_name(name),
            TableFactor::Table { name, args: Some(args), .. } => {
                let function = name.0.last().and_then(ObjectNamePart::as_ident).map(|name| name.value.to_lowercase());
                let is_list =
                    |arg: &FunctionArg| matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Expr(of)) if is_list(of));
                function.is_some_and(|name| OF_LISTS.contains(&&*name)) && args.args.iter().all(is_list)
            }
            TableFactor::UNNEST { array_exprs, .. } => array_exprs.iter().all(is_list),
            TableFactor::Derived { subquery, .. } => self.is_of(subquery),
            TableFactor::NestedJoin { table_with_joins, .. } => self.is_of_table(table_with_joins),
            _ => false,
        }
    }

    fn is_of_name(&self, name: &ObjectName) -> bool {
        let parts: Vec<String> =
            name.0.iter().filter_map(ObjectNamePart::as_ident).map(|part| part.value.to_lowercase()).collect();
        match parts.as_slice() {
            [table] => !self.hidden.contains(table) && tables::is_empty(table),
            // What is not there at all has no rows either.
            [schema, table] => schema == super::SCHEMA && (!tables::has(table) || tables::is_empty(table)),
            _ => false,
        }
    }
}

impl Visitor for Nothing {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let with = query.with.iter().flat_map(|with| &with.cte_tables);
        self.hidden.extend(with.map(|cte| cte.alias.name.value.to_lowercase()));
        ControlFlow::Continue(())
    }
}

/// What a query without rows is in the place of a value.
fn empty(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::InSubquery { negated, .. } | Expr::Exists { negated, .. } => Some(Expr::value(Value::Boolean(*negated))),
        Expr::Function(_) => query_of(expr).and_then(|_| parsed("string_to_array('', ',')")),
        Expr::Subquery(query) => {
            parsed(if makes_list(query) { "string_to_array(NULL, ',')" } else { "CAST(NULL AS VARCHAR)" })
        }
        _ => None,
    }
}

/// A number of a list, and no constant: DataFusion takes a constant for an order that it then misses.
fn a_number(call: &Function) -> Option<Expr> {
    let FunctionArguments::List(args) = &call.args else { return None };
    parsed(&format!("CAST(array_length({}) AS BIGINT)", args.args.first()?))
}

/// Is it a column of the catalog that has lists? All of them are NULL.
fn is_list(expr: &Expr) -> bool {
    match expr {
        Expr::Identifier(column) => tables::has_lists(&column.value.to_lowercase()),
        Expr::CompoundIdentifier(parts) => {
            parts.last().is_some_and(|column| tables::has_lists(&column.value.to_lowercase()))
        }
        _ => false,
    }
}

fn makes_list(query: &Query) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    let Some(value) = only_value(&mut select.clone()).cloned() else { return false };
    match value {
        Expr::Function(Function { name, .. }) => name.to_string().eq_ignore_ascii_case("array_agg"),
        Expr::Array(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::tables;
    use crate::testing::{Bench, rows};

    #[test]
    fn tables_of_what_there_is_none_of_are_told_from_those_with_rows() {
        for name in ["pg_attrdef", "pg_constraint", "pg_index", "pg_policy", "pg_trigger"] {
            assert!(tables::is_empty(name), "{name}");
        }
        for name in ["pg_class", "pg_attribute", "pg_description", "pg_namespace", "pg_tables", "pg_type", "pg_views"] {
            assert!(!tables::is_empty(name), "{name}");
        }
        assert!(tables::has_lists("reloptions") && !tables::has_lists("relname"));
    }

    #[tokio::test]
    async fn queries_without_rows_are_null_empty_or_no_by_what_they_select_from() {
        let engine = Bench::new().engine();
        for (value, expected) in [
            (
                "(SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d WHERE d.adrelid < n.oid)",
                json!(null),
            ),
            ("(SELECT k.conname FROM pg_constraint k, pg_type t WHERE k.conrelid <> n.oid)", json!(null)),
            ("(SELECT max(t.oid) IS NULL FROM pg_type t LEFT JOIN pg_policy p ON p.oid = t.oid)", json!(false)),
            (
                "(SELECT t.typname FROM pg_policy p RIGHT JOIN pg_type t ON p.oid = t.oid WHERE t.oid = 25)",
                json!("text"),
            ),
            ("(SELECT count(*) FROM pg_policy)", json!(0)),
            ("(SELECT count(*) FROM pg_type WHERE typname = 'pg_policy array_upper generate_subscripts')", json!(0)),
            ("ARRAY(SELECT p.polname FROM pg_policy p WHERE p.polrelid > n.oid ORDER BY 1)", json!([])),
            ("ARRAY(SELECT 'toast.' || x FROM pg_catalog.unnest(n.nspacl) x)", json!([])),
            (
                "ARRAY(SELECT t.typname FROM pg_type t WHERE t.typnamespace = n.oid AND t.oid IN (25, 20) ORDER BY t.oid)",
                json!(["int8", "text"]),
            ),
            ("EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid > n.oid)", json!(false)),
            ("n.oid NOT IN (SELECT conrelid FROM pg_constraint)", json!(true)),
            ("(SELECT t.typname = 'text' FROM pg_type t WHERE t.oid = 25)", json!(true)),
        ] {
            let sql = format!("SELECT {value} FROM pg_catalog.pg_namespace n WHERE n.nspname = 'pg_catalog'");
            let found = rows(&engine, &sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            assert_eq!(found, [json!([expected])], "{sql}");
        }
    }

    #[tokio::test]
    async fn a_query_of_the_same_name_is_not_the_table() {
        let engine = Bench::new().engine();
        let hidden = "WITH pg_policy AS (SELECT 7 AS x) SELECT (SELECT x FROM pg_policy), n.nspname \
                      FROM pg_catalog.pg_namespace n WHERE n.nspname = 'public'";
        assert_eq!(rows(&engine, hidden).await.unwrap(), [json!([7, "public"])]);
        let nothing =
            "SELECT (SELECT array_agg(t.typname) FROM pg_type t WHERE t.oid = ANY (p.polroles)) FROM pg_policy p";
        assert_eq!(rows(&engine, nothing).await.unwrap(), Vec::<Value>::new());
        let places = "SELECT max(k.at) FROM (SELECT unnest(i.indkey) AS key, generate_subscripts(i.indkey, 1) AS at \
                      FROM pg_constraint c JOIN pg_index i ON c.conindid = i.indexrelid) AS k";
        assert_eq!(rows(&engine, places).await.unwrap(), [json!([null])]);
    }
}
