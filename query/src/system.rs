//! The system catalog of PostgreSQL, as far as its clients ask it: what tables there are, what columns they have, of what types.
//!
//! Called by the engine: each query's session has the tables of `tables` under `pg_catalog`, the functions of `functions`, and a
//! statement that speaks PostgreSQL's dialect is put into ours by `dialect` before it is planned. All of it is made of the session's own
//! tables, so there is nothing in it that a query could not see otherwise.
//!
//! Invariants: a table is made when it is named, so other queries pay nothing; what we do not have (indexes, roles, policies) is an
//! empty table, not an error. Not here: the protocol (`pg`).

mod columns;
mod dialect;
mod functions;
pub(crate) mod headings;
mod nothing;
mod subqueries;
mod tables;
mod type_rows;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use datafusion::{
    catalog::SchemaProvider,
    common::Result,
    datasource::{MemTable, TableProvider},
};

pub(crate) use dialect::translate;
pub(crate) use functions::all;

use crate::views::Tables;

/// Name of the schema.
pub(crate) const SCHEMA: &str = "pg_catalog";

/// The schema over the tables of one query.
#[derive(Clone)]
pub(crate) struct System(pub(crate) Tables);

impl System {
    /// The table of a name.
    pub(crate) async fn named(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if !tables::has(name) {
            return Ok(None);
        }
        let batch = tables::named(name, &tables::Relation::all(&self.0).await?)?;
        Ok(batch
            .map(|batch| MemTable::try_new(batch.schema(), vec![vec![batch]]))
            .transpose()?
            .map(|table| Arc::new(table) as _))
    }

    /// Is there one of this name?
    pub(crate) fn has(name: &str) -> bool {
        tables::has(name)
    }
}

#[async_trait]
impl SchemaProvider for System {
    /// None: whoever lists tables wants those with data.
    fn table_names(&self) -> Vec<String> {
        Vec::new()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        self.named(name).await
    }

    fn table_exist(&self, name: &str) -> bool {
        Self::has(name)
    }
}

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("System")
    }
}
