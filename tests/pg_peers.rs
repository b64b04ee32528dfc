//! PostgreSQL 15 beside us: the same tables, made there as our catalog describes them, and every statement that clients send of their own
//! accord, asked of both by the same client. Names and types of columns and rows are those of PostgreSQL but for what is listed here.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::{Client, types::Type};

use crate::support::{
    postgres::{INSTALL, Postgres, Told, ask, connect, started},
    process::skipped,
};

const FILES: [(&str, &str); 8] = [
    ("dbeaver", include_str!("../query/pg/queries/dbeaver.sql")),
    ("grafana", include_str!("../query/pg/queries/grafana.sql")),
    ("metabase", include_str!("../query/pg/queries/metabase.sql")),
    ("pgadbc", include_str!("../query/pg/queries/pgadbc.sql")),
    ("pgadmin", include_str!("../query/pg/queries/pgadmin.sql")),
    ("pgcli", include_str!("../query/pg/queries/pgcli.sql")),
    ("psql", include_str!("../query/pg/queries/psql.sql")),
    ("more", MORE),
];

/// Statements of nobody, which look at all tables and columns, and at names and types of values.
const MORE: &str = "
SELECT c.relname, c.relkind, c.relnatts, c.relpersistence, c.relhasindex, c.relispartition, c.relreplident, c.relam, c.reltablespace,
    pg_get_userbyid(c.relowner), obj_description(c.oid, 'pg_class')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind IN ('r', 'v') ORDER BY 1;
-- @@
SELECT c.relname, a.attname, a.atttypid, a.attlen, a.attnum, a.attndims, a.atttypmod, a.attbyval, a.attalign, a.attstorage,
    a.attcompression, a.attnotnull, a.atthasdef, a.attidentity, a.attgenerated, a.attisdropped, a.attislocal, a.attinhcount,
    a.attcollation, a.attacl, col_description(c.oid, a.attnum) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind IN ('r', 'v') AND a.attnum > 0 ORDER BY 1, a.attnum;
-- @@
SELECT table_name, column_name, ordinal_position, is_nullable, data_type, numeric_precision, numeric_precision_radix, numeric_scale,
    datetime_precision, character_maximum_length, character_octet_length, column_default
    FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 3;
-- @@
SELECT table_catalog, table_schema, table_name, table_type FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 3;
-- @@
SELECT * FROM pg_tables WHERE schemaname = 'public' ORDER BY 2;
-- @@
SELECT schemaname, viewname, viewowner FROM pg_views WHERE schemaname = 'public' ORDER BY 2;
-- @@
SELECT true, NULL, 'a', DATE '2020-01-01', CASE WHEN true THEN 1.5 END, 'x'::text, CAST(1 AS double precision), 1::smallint, 1::bigint,
    upper('a'), coalesce('a', 'b'), count(*), count(*), max(\"BilledCost\") IS NULL, TIMESTAMPTZ '2026-03-29 01:59:59.123456+00' FROM costs;
-- @@
SELECT n, t.t, x FROM generate_series(1::bigint, 2::bigint) AS n, generate_series(3::bigint, 3::bigint) AS t, unnest(ARRAY['a', 'b']) AS x
    ORDER BY n, x;
";

/// Numbers of a relation, a table's name and others that the statements were recorded with, and what they are here; `#` is the table's number.
const RECORDED: [(&str, &str); 5] =
    [("16384", "#"), ("16417", "#"), ("customer", "costs"), ("public.games", "public.costs"), ("'clubs'", "'costs'")];

/// How an answer differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Differs {
    /// Names of columns.
    Names,
    /// Types of columns.
    Types,
    /// All our rows are among theirs.
    Fewer,
    /// Values in these columns.
    Values(&'static [&'static str]),
    /// They refuse it.
    Refused,
}

use Differs::{Fewer, Names, Refused, Types, Values};

/// Every difference, by file and place, with its reason. One that is none any more has to go.
const LISTED: [(&str, usize, Differs, &str); 26] = [
    ("dbeaver", 4, Fewer, "there is no schema of TOAST tables"),
    ("dbeaver", 4, Values(&["nspowner", "nspacl"]), "all is owned by one role, and lists of privileges are empty"),
    ("dbeaver", 5, Fewer, "types that no value has are not listed"),
    ("dbeaver", 6, Fewer, "types that no value has are not listed"),
    ("dbeaver", 8, Names, "a column of version 16, for which its clients ask, is there"),
    ("dbeaver", 8, Fewer, "there is one database"),
    ("dbeaver", 9, Values(&["category", "short_desc", "context", "vartype"]), "what is a choice there is a fact here"),
    ("dbeaver", 10, Values(&["string_agg"]), "reserved words are those of the parser"),
    ("dbeaver", 11, Values(&["version"]), "it says who it is"),
    ("dbeaver", 14, Fewer, "types that no value has are not listed"),
    ("dbeaver", 14, Values(&["description"]), "types are not described"),
    ("dbeaver", 15, Fewer, "tables of the catalog are not listed"),
    ("metabase", 5, Values(&["update", "insert", "delete"]), "nobody may write"),
    ("metabase", 6, Values(&["estimated_row_count"]), "rows are not counted ahead"),
    ("pgadmin", 0, Values(&["version"]), "it says who it is"),
    ("pgcli", 0, Types, "a number without a type has 8 bytes"),
    ("pgcli", 4, Fewer, "there is no schema of TOAST tables"),
    ("pgcli", 5, Fewer, "tables of information_schema are not listed"),
    ("pgcli", 6, Fewer, "tables of information_schema are not listed"),
    ("pgcli", 8, Fewer, "tables of the catalog are not listed"),
    ("pgcli", 9, Fewer, "tables of the catalog are not listed"),
    ("pgcli", 11, Fewer, "there is one database"),
    ("pgcli", 12, Fewer, "functions are not listed"),
    ("psql", 8, Refused, "a column of version 16, for which its clients ask, is there"),
    (
        "more",
        1,
        Values(&["attnotnull", "attndims"]),
        "columns of views that are never null are known to be, and lists in views have a dimension",
    ),
    ("more", 2, Values(&["is_nullable"]), "columns of views that are never null are known to be"),
];

#[test]
fn clients_are_answered_as_postgresql_answers_them() {
    let folder = tempfile::tempdir().unwrap();
    let Some(postgres) = Postgres::start(folder.path()) else {
        return skipped("PostgreSQL's server is not installed", INSTALL);
    };
    let (_server, port) = started(folder.path(), &[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let found = runtime.block_on(async {
        let ours = connect(&format!("host=127.0.0.1 port={port} user=streamgauge dbname=streamgauge")).await;
        let theirs = connect(&postgres.settings()).await;
        make_tables(&ours, &theirs).await;
        differences(&ours, &theirs).await
    });
    let (unlisted, gone) = found;
    assert!(unlisted.is_empty(), "answers differ from PostgreSQL's:\n{}", unlisted.join("\n"));
    assert!(gone.is_empty(), "listed, and no difference any more: {gone:?}");
}

/// Makes our tables and views there, with their columns, types and comments, and without rows.
async fn make_tables(ours: &Client, theirs: &Client) {
    let described = "SELECT c.relname, c.relkind, a.attname, format_type(a.atttypid, a.atttypmod) AS kind, a.attnotnull, \
        col_description(c.oid, a.attnum) AS about, obj_description(c.oid, 'pg_class') AS whole FROM pg_class c \
        JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.relnamespace = 2200 ORDER BY c.relname, a.attnum";
    let mut relations: BTreeMap<(String, bool), Vec<Vec<Option<String>>>> = BTreeMap::new();
    for row in ask(ours, described).await.unwrap().rows {
        let key = (row[0].clone().unwrap(), row[1].as_deref() == Some("v"));
        relations.entry(key).or_default().push(row);
    }
    assert!(relations.len() > 20, "{:?}", relations.keys());
    let text = |value: &Option<String>| format!("'{}'", value.as_deref().unwrap_or_default().replace('\'', "''"));
    for ((name, is_view), columns) in relations {
        let column = |row: &Vec<Option<String>>| {
            let (name, kind) = (row[2].as_deref().unwrap(), row[3].as_deref().unwrap());
            match (is_view, row[4].as_deref()) {
                (true, _) => format!("CAST(NULL AS {kind}) AS \"{name}\""),
                (false, Some("t")) => format!("\"{name}\" {kind} NOT NULL"),
                (false, _) => format!("\"{name}\" {kind}"),
            }
        };
        let list = columns.iter().map(column).collect::<Vec<_>>().join(", ");
        let mut made = if is_view {
            format!("CREATE VIEW \"{name}\" AS SELECT {list};")
        } else {
            format!("CREATE TABLE \"{name}\" ({list});")
        };
        let kind = if is_view { "VIEW" } else { "TABLE" };
        made += &format!("COMMENT ON {kind} \"{name}\" IS {};", text(&columns[0][6]));
        for row in &columns {
            made += &format!("COMMENT ON COLUMN \"{name}\".\"{}\" IS {};", row[2].as_deref().unwrap(), text(&row[5]));
        }
        theirs.batch_execute(&made).await.unwrap_or_else(|error| panic!("{made}: {error:?}"));
    }
}

/// Numbers of objects by their names, so that those of both servers can be compared.
async fn numbers(client: &Client) -> BTreeMap<String, String> {
    let named = "SELECT oid, relname FROM pg_class WHERE oid >= 12000 UNION ALL SELECT oid, nspname FROM pg_namespace WHERE oid >= 12000 \
        UNION ALL SELECT oid, datname FROM pg_database WHERE oid >= 12000";
    let rows = ask(client, named).await.unwrap().rows;
    rows.into_iter().map(|row| (row[0].clone().unwrap(), row[1].clone().unwrap())).collect()
}

/// Asks both everything: what differs and is not listed, and what is listed and does not differ.
async fn differences(ours: &Client, theirs: &Client) -> (Vec<String>, Vec<(&'static str, usize, Differs)>) {
    let known = [numbers(ours).await, numbers(theirs).await];
    let (mut unlisted, mut gone, mut asked) = (Vec::new(), Vec::new(), 0);
    for (file, text) in FILES {
        // What a client before has set.
        for client in [ours, theirs] {
            client.batch_execute("SET TimeZone TO 'UTC'").await.unwrap();
        }
        for (at, statement) in text.split("-- @@").enumerate() {
            asked += 1;
            let listed: Vec<Differs> =
                LISTED.iter().filter(|(of, place, ..)| (*of, *place) == (file, at)).map(|listed| listed.2).collect();
            let mut told = Vec::new();
            for (client, numbers) in [ours, theirs].into_iter().zip(&known) {
                told.push(answer(client, statement, numbers).await);
            }
            let (seen, why) = compare(&told[0], &told[1], &listed, has_order(statement));
            for differs in &seen {
                if !listed.contains(differs) {
                    unlisted.push(format!("{file} {at}: {differs:?}: {why}\n{}", statement.trim()));
                }
            }
            gone.extend(
                listed.into_iter().filter(|differs| !seen.contains(differs)).map(|differs| (file, at, differs)),
            );
        }
    }
    assert_eq!(asked, 73);
    (unlisted, gone)
}

/// What a server says to a statement: rows, or the code of what is wrong.
async fn answer(client: &Client, statement: &str, numbers: &BTreeMap<String, String>) -> Result<Told, String> {
    let table = numbers.iter().find(|(_, name)| *name == "costs").map(|(number, _)| number.as_str()).unwrap();
    let statement = RECORDED.iter().fold(statement.trim().to_owned(), |statement, (recorded, here)| {
        statement.replace(recorded, if *here == "#" { table } else { here })
    });
    let mut told = ask(client, &statement)
        .await
        .map_err(|error| error.code().map_or_else(|| error.to_string(), |code| code.code().to_owned()))?;
    let numbered: Vec<bool> = told.columns.iter().map(|(_, kind)| *kind == Type::OID).collect();
    for row in &mut told.rows {
        for (value, is_number) in row.iter_mut().zip(&numbered) {
            if let Some(name) = value.as_ref().filter(|_| *is_number).and_then(|value| numbers.get(value)) {
                *value = Some(name.clone());
            }
        }
    }
    Ok(told)
}

/// Does a statement say the order of all its rows? Those of clients order by what is unique.
fn has_order(statement: &str) -> bool {
    let lower = statement.to_lowercase();
    lower.rfind("order by").is_some_and(|at| !lower[at..].contains(')'))
}

/// The kind of a type: some that clients read alike are one here, because we have one of them.
fn kind(of: &Type) -> &'static str {
    match *of {
        // Names of the catalog are texts.
        Type::TEXT | Type::NAME | Type::CHAR | Type::VARCHAR | Type::REGPROC | Type::PG_NODE_TREE | Type::REGCLASS => {
            "text"
        }
        // Transactions have no numbers of their own.
        Type::INT8 | Type::XID => "int8",
        // Lists of the catalog are lists of texts, and all of them are null.
        Type::TEXT_ARRAY | Type::ACLITEM_ARRAY | Type::CHAR_ARRAY | Type::INT2_ARRAY | Type::OID_ARRAY => "list",
        Type::INT2_VECTOR | Type::OID_VECTOR => "list",
        _ => "another",
    }
}

fn is_one_kind(a: &Type, b: &Type) -> bool {
    a == b || (kind(a) == kind(b) && kind(a) != "another")
}

/// Rows without some of their columns.
fn rows(told: &Told, without: &BTreeSet<&str>) -> Vec<Vec<Option<String>>> {
    let kept: Vec<bool> = told.columns.iter().map(|(name, _)| !without.contains(name.as_str())).collect();
    let cut = |row: &Vec<Option<String>>| {
        row.iter().zip(&kept).filter(|(_, is_kept)| **is_kept).map(|(value, _)| value.clone()).collect()
    };
    told.rows.iter().map(cut).collect()
}

/// How two answers differ, and an example of it. Values of listed columns are not compared, unless nothing else shows that they differ.
fn compare(
    ours: &Result<Told, String>,
    theirs: &Result<Told, String>,
    listed: &[Differs],
    is_ordered: bool,
) -> (Vec<Differs>, String) {
    let (ours, theirs) = match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (Err(ours), Err(theirs)) if ours == theirs => return (Vec::new(), String::new()),
        (ours, theirs) => {
            let short = |told: &Result<Told, String>| told.as_ref().map_or_else(Clone::clone, |_| "rows".to_owned());
            return (vec![Refused], format!("{} beside {}", short(ours), short(theirs)));
        }
    };
    let (mut seen, mut why) = (Vec::new(), String::new());
    let names = |told: &Told| told.columns.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    if names(ours) != names(theirs) {
        seen.push(Names);
        why += &format!("{:?}\nbeside {:?}", names(ours), names(theirs));
    }
    let mut pairs = ours.columns.iter().zip(&theirs.columns);
    if ours.columns.len() == theirs.columns.len() && !pairs.all(|(a, b)| is_one_kind(&a.1, &b.1)) {
        seen.push(Types);
        why += &format!("{:?}\nbeside {:?}", ours.columns, theirs.columns);
    }
    let columns: BTreeSet<&str> = listed
        .iter()
        .filter_map(|differs| match differs {
            Values(columns) => Some(columns.iter().copied()),
            _ => None,
        })
        .flatten()
        .collect();
    let (a, b) = (rows(ours, &columns), rows(theirs, &columns));
    let rest = |some: &[Vec<Option<String>>], others: &[Vec<Option<String>>]| {
        some.iter().filter(|row| !others.contains(row)).cloned().collect::<Vec<_>>()
    };
    let (only_ours, only_theirs) = (rest(&a, &b), rest(&b, &a));
    let is_same = only_ours.is_empty() && only_theirs.is_empty() && a.len() == b.len() && (a == b || !is_ordered);
    if !is_same && only_ours.is_empty() && a.len() < b.len() {
        seen.push(Fewer);
        why += &format!("{} of {} rows", a.len(), b.len());
    } else if !is_same {
        seen.push(Values(&[]));
        why += &format!(
            "{} and {} rows: {:?}\nbeside {:?}",
            a.len(),
            b.len(),
            &only_ours[..only_ours.len().min(2)],
            &only_theirs[..only_theirs.len().min(2)]
        );
    }
    // Each column that is listed has to differ.
    for differs in listed {
        if let Values(columns) = differs
            && columns.iter().all(|column| values(ours, column) != values(theirs, column))
        {
            seen.push(*differs);
        }
    }
    (seen, why)
}

/// The values that a column has, in their order.
fn values(told: &Told, column: &str) -> Vec<Option<String>> {
    let at = told.columns.iter().position(|(name, _)| name == column);
    let mut values: Vec<_> = at.map(|at| told.rows.iter().map(|row| row[at].clone()).collect()).unwrap_or_default();
    values.sort();
    values
}
