//! The tables that one query can name.
//!
//! Made by the engine for each query, of the tables of one cut. What is no table may be a view, which is planned then and kept for the
//! rest of the query: names are looked up more than once. Views can name what queries cannot: tables that are only parts of them.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use async_trait::async_trait;
use datafusion::{
    catalog::{
        CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, SchemaProvider,
        information_schema::{INFORMATION_SCHEMA, InformationSchemaProvider},
        view::ViewTable,
    },
    common::Result,
    datasource::{TableProvider, TableType},
    execution::{FunctionRegistry, SessionState},
    logical_expr::ScalarUDF,
};
use parking_lot::Mutex;

use super::{VIEWS, View, spread::Spread};
use crate::{
    Error, ErrorKind,
    comments::{SETTINGS, with_comments},
    engine::logical,
    gate,
    system::{self, System},
};

/// Name of the only catalog.
pub(crate) const CATALOG: &str = "streamgauge";
/// Name of the only schema.
pub(crate) const SCHEMA: &str = "public";
/// `costs` with charges cut at midnight, of which `costs_spread` is made; queries cannot name it.
const PARTS: &str = "costs_parts";

/// Tables of one query, and views of them.
#[derive(Clone)]
pub(crate) struct Tables {
    known: Arc<Known>,
    /// Are they those that views can name?
    within: bool,
}

struct Known {
    template: Arc<SessionState>,
    tables: BTreeMap<String, Arc<dyn TableProvider>>,
    /// The function whose rules this query sticks to.
    tags: Arc<ScalarUDF>,
    planned: Mutex<HashMap<&'static str, Arc<dyn TableProvider>>>,
}

impl Tables {
    /// Tables of one cut; views over them are planned with sessions like `template`.
    pub(crate) fn new(
        template: Arc<SessionState>,
        tables: BTreeMap<String, Arc<dyn TableProvider>>,
        tags: Arc<ScalarUDF>,
    ) -> Self {
        let known = Known { template, tables, tags, planned: Mutex::default() };
        Self { known: Arc::new(known), within: false }
    }

    /// Makes these the tables of a session, and its functions those of the same query.
    pub(crate) fn put_into(self, state: &mut SessionState) {
        let tags = Arc::clone(&self.known.tags);
        let system = Arc::new(System(self.clone()));
        let tables: Arc<dyn SchemaProvider> = Arc::new(self);
        // What is listed is not the list: one that held itself would never be freed.
        let listed = catalogs(vec![(SCHEMA, Arc::clone(&tables))]);
        let functions = state.table_functions().clone();
        let listing = Listing(InformationSchemaProvider::new(listed).with_table_functions(functions));
        let all: Vec<(&str, Arc<dyn SchemaProvider>)> =
            vec![(system::SCHEMA, system), (SCHEMA, tables), (INFORMATION_SCHEMA, Arc::new(listing))];
        let catalogs = catalogs(all);
        let _ = state.register_udf(tags);
        state.register_catalog_list(catalogs);
    }

    async fn view(&self, view: &'static View) -> Result<Arc<dyn TableProvider>> {
        if let Some(planned) = self.known.planned.lock().get(view.name) {
            return Ok(Arc::clone(planned));
        }
        let mut state = SessionState::clone(&self.known.template);
        Self { known: Arc::clone(&self.known), within: true }.put_into(&mut state);
        let planned = async { logical(&state, gate::check(view.sql)?).await }.await;
        let failed = |error: Error| Error::new(error.kind, format!("view {} cannot be planned: {error}", view.name));
        let table: Arc<dyn TableProvider> =
            Arc::new(ViewTable::new(planned.map_err(failed)?, Some(view.sql.to_owned())));
        self.known.planned.lock().insert(view.name, Arc::clone(&table));
        Ok(table)
    }

    fn parts(&self) -> Result<Arc<dyn TableProvider>> {
        let lacks = || Error::new(ErrorKind::Invalid, "there is no table costs, so there is no view of it");
        let costs = self.known.tables.get(schemas::costs().name).ok_or_else(lacks)?;
        Ok(Arc::new(Spread::new(Arc::clone(costs))))
    }
}

/// The only catalog, with some schemas.
fn catalogs(schemas: Vec<(&str, Arc<dyn SchemaProvider>)>) -> Arc<dyn CatalogProviderList> {
    let (catalog, catalogs) = (MemoryCatalogProvider::new(), MemoryCatalogProviderList::new());
    for (name, schema) in schemas {
        // Both are in memory and take what they are given.
        let _ = catalog.register_schema(name, schema);
    }
    let _ = catalogs.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
    Arc::new(catalogs)
}

/// Lists tables, columns and functions: DataFusion's `information_schema`, with comments and without settings.
#[derive(Debug)]
struct Listing(InformationSchemaProvider);

#[async_trait]
impl SchemaProvider for Listing {
    fn table_names(&self) -> Vec<String> {
        self.0.table_names().into_iter().filter(|name| name != SETTINGS).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.0.table(name).await? {
            Some(table) if name != SETTINGS => with_comments(name, table).map(Some),
            _ => Ok(None),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        name != SETTINGS && self.0.table_exist(name)
    }
}

fn view_named(name: &str) -> Option<&'static View> {
    VIEWS.iter().find(|view| view.name == name)
}

#[async_trait]
impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        // Where costs are no table, there are no views of them.
        let has_costs = self.known.tables.contains_key(schemas::costs().name);
        let views = VIEWS.iter().filter(|_| has_costs).map(|view| view.name.to_owned());
        self.known.tables.keys().cloned().chain(views).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if let Some(table) = self.known.tables.get(name) {
            return Ok(Some(Arc::clone(table)));
        }
        if self.within && name == PARTS {
            return self.parts().map(Some);
        }
        match view_named(name) {
            Some(view) => self.view(view).await.map(Some),
            // Tables of the system catalog are found without its name too.
            None => Box::pin(System(self.clone()).named(name)).await,
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        let table = self.known.tables.get(name).map(|table| table.table_type());
        Ok(table.or_else(|| view_named(name).map(|_| TableType::View)))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.known.tables.contains_key(name) || view_named(name).is_some() || System::has(name)
    }
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables").field("tables", &self.known.tables.keys()).finish_non_exhaustive()
    }
}
