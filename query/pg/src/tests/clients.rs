//! What clients ask of their own accord: each statement is answered, or is one of those named here.

use super::{Client, error, rows, server};

const FILES: [(&str, &str); 7] = [
    ("dbeaver", include_str!("../../queries/dbeaver.sql")),
    ("grafana", include_str!("../../queries/grafana.sql")),
    ("metabase", include_str!("../../queries/metabase.sql")),
    ("pgadbc", include_str!("../../queries/pgadbc.sql")),
    ("pgadmin", include_str!("../../queries/pgadmin.sql")),
    ("pgcli", include_str!("../../queries/pgcli.sql")),
    ("psql", include_str!("../../queries/psql.sql")),
];

/// Statements that are refused, by file and place: PostgreSQL refuses them too, because a name is no number of a schema.
const REFUSED: [(&str, usize); 1] = [("dbeaver", 16)];

#[tokio::test]
async fn statements_of_clients_are_answered() {
    let server = server(None);
    let (mut asked, mut wrong) = (0, Vec::new());
    for (file, text) in FILES {
        let mut client = Client::open(&server).await;
        for (at, statement) in text.split("-- @@").enumerate() {
            asked += 1;
            let failure = error(&client.ask(statement).await).get(&'M').cloned();
            if failure.is_some() != REFUSED.contains(&(file, at)) {
                wrong.push(format!("{file} {at}: {}", failure.unwrap_or_else(|| "is answered now".to_owned())));
            }
        }
    }
    assert_eq!(asked, 65);
    assert!(wrong.is_empty(), "{} of {asked}:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn grafana_finds_tables_by_their_names_alone() {
    let mut client = Client::open(&server(None)).await;
    let tables = client.ask(FILES[1].1.split("-- @@").next().unwrap()).await;
    let names = rows(&tables);
    assert!(names.contains(&vec!["costs".to_owned()]) && names.contains(&vec!["samples".to_owned()]), "{names:?}");
}

#[tokio::test]
async fn psql_finds_a_table_and_describes_its_columns() {
    let mut client = Client::open(&server(None)).await;
    let found = "SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c \
        LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
        WHERE c.relname OPERATOR(pg_catalog.~) '^(costs)$' COLLATE pg_catalog.default \
        AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 2, 3";
    let found = client.ask(found).await;
    let found = rows(&found);
    assert_eq!(found[0][1..], ["public", "costs"]);
    let columns = format!(
        "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute a \
         WHERE a.attrelid = '{}' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        found[0][0]
    );
    let told = client.ask(&columns).await;
    let columns = rows(&told);
    let of = |name: &str| columns.iter().find(|column| column[0] == name).map(|column| column[1].clone());
    assert!(of("BilledCost").is_some_and(|name| name.starts_with("numeric(")), "{columns:?} {:?}", error(&told));
    assert_eq!(of("ChargePeriodStart").as_deref(), Some("timestamp with time zone"));
}
