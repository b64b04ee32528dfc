// Asks a server over the PostgreSQL protocol with PostgreSQL's JDBC driver:
// `java -cp postgresql-….jar PgClient.java PORT`, or `… PgClient.java PORT USER PASSWORD` under TLS with SCRAM-SHA-256.
//
// Prints `done` at the end; what is not as it should be ends it with an exception.

import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.time.LocalDate;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import org.postgresql.PGConnection;

public class PgClient {
    static final String ENDLESS = "SELECT count(*) FROM generate_series(1, 100000000000)";

    public static void main(String[] args) throws Exception {
        Properties settings = new Properties();
        settings.setProperty("user", args.length > 1 ? args[1] : "anybody");
        if (args.length > 1) {
            settings.setProperty("password", args[2]);
            // Encrypted, whoever signed the certificate.
            settings.setProperty("ssl", "true");
            settings.setProperty("sslmode", "require");
        }
        String url = "jdbc:postgresql://127.0.0.1:" + args[0] + "/streamgauge";
        try (Connection connection = DriverManager.getConnection(url, settings)) {
            if (args.length > 1) {
                equal(one(connection, "SELECT 7"), 7L);
                refused(url, settings);
            } else {
                values(connection);
                prepared(connection);
                parts(connection);
                catalog(connection);
                errors(connection);
                limits(connection);
                copies(connection);
            }
        }
        System.out.println("done");
    }

    static void equal(Object found, Object expected) {
        if (!Objects.equals(found, expected)) {
            throw new AssertionError(found + " is not " + expected);
        }
    }

    static Object one(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            rows.next();
            return rows.getObject(1);
        }
    }

    static void refused(String url, Properties settings) {
        Properties wrong = new Properties();
        wrong.putAll(settings);
        wrong.setProperty("password", "sg_wrong");
        try {
            DriverManager.getConnection(url, wrong).close();
        } catch (SQLException error) {
            equal(error.getSQLState(), "28P01");
            return;
        }
        throw new AssertionError("a wrong password was taken");
    }

    /** Each type as Java has it, in text and, once the statement is prepared on the server, in binary. */
    static void values(Connection connection) throws SQLException {
        String sql = "SELECT CAST(7 AS INT) AS i, CAST(9007199254740993 AS BIGINT) AS b, CAST(-0.5 AS DOUBLE) AS f, "
            + "CAST('12345678901234567890.123456789' AS DECIMAL(38, 9)) AS d, "
            + "CAST('2026-03-29T01:59:59.123456Z' AS TIMESTAMP WITH TIME ZONE) AS t, DATE '2026-02-28' AS day, 'ö''' AS s, "
            + "true AS yes, CAST(NULL AS VARCHAR) AS n, ARRAY['a', 'b'] AS l, CAST('0.10' AS DECIMAL(10, 2)) AS small";
        OffsetDateTime at = OffsetDateTime.parse("2026-03-29T01:59:59.123456Z");
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int nth = 0; nth < 8; nth++) {
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    equal(rows.getInt("i"), 7);
                    equal(rows.getLong("b"), 9007199254740993L);
                    equal(rows.getDouble("f"), -0.5);
                    equal(rows.getBigDecimal("d"), new BigDecimal("12345678901234567890.123456789"));
                    equal(rows.getBigDecimal("small"), new BigDecimal("0.10"));
                    equal(rows.getObject("t", OffsetDateTime.class).toInstant(), at.toInstant());
                    equal(rows.getTimestamp("t").toInstant(), at.toInstant());
                    equal(rows.getObject("day", LocalDate.class), LocalDate.of(2026, 2, 28));
                    equal(rows.getString("s"), "ö'");
                    equal(rows.getBoolean("yes"), true);
                    equal(rows.getString("n"), null);
                    equal(List.of((Object[]) rows.getArray("l").getArray()), List.of("a", "b"));
                    ResultSetMetaData columns = rows.getMetaData();
                    equal(columns.getColumnType(4), Types.NUMERIC);
                    equal(List.of(columns.getPrecision(4), columns.getScale(4)), List.of(38, 9));
                    equal(columns.getColumnTypeName(5), "timestamptz");
                }
            }
        }
    }

    /** Parameters of each type, more often than it takes until the statement is prepared on the server. */
    static void prepared(Connection connection) throws SQLException {
        String sql = "SELECT CAST(? AS BIGINT) + 1, CAST(? AS DOUBLE) * 2, CAST(? AS VARCHAR), CAST(? AS DECIMAL(20, 4)), "
            + "CAST(? AS TIMESTAMP WITH TIME ZONE), CAST(? AS BOOLEAN), CAST(? AS DATE)";
        OffsetDateTime at = OffsetDateTime.parse("2026-03-29T01:59:59.123456Z");
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (long nth = 0; nth < 12; nth++) {
                statement.setLong(1, nth);
                statement.setDouble(2, nth / 2.0);
                statement.setString(3, nth % 2 == 0 ? "it's " + nth : null);
                statement.setBigDecimal(4, new BigDecimal(nth + ".5000"));
                statement.setObject(5, at);
                statement.setBoolean(6, nth % 3 == 0);
                statement.setObject(7, LocalDate.of(2026, 2, 28));
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    equal(rows.getLong(1), nth + 1);
                    equal(rows.getDouble(2), (double) nth);
                    equal(rows.getString(3), nth % 2 == 0 ? "it's " + nth : null);
                    equal(rows.getBigDecimal(4), new BigDecimal(nth + ".5000"));
                    equal(rows.getObject(5, OffsetDateTime.class).toInstant(), at.toInstant());
                    equal(rows.getBoolean(6), nth % 3 == 0);
                    equal(rows.getObject(7, LocalDate.class), LocalDate.of(2026, 2, 28));
                }
            }
        }
        String among = "SELECT count(*) FROM generate_series(1, 10) WHERE value = ANY(?) AND value < ?";
        try (PreparedStatement statement = connection.prepareStatement(among)) {
            statement.setArray(1, connection.createArrayOf("int8", new Long[] {2L, 4L, 11L}));
            statement.setInt(2, 9);
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                equal(rows.getLong("count"), 2L);
            }
        }
        String costs = "SELECT count(*) FROM costs WHERE \"ChargePeriodStart\" >= ? AND \"BilledCost\" > ? AND \"ProviderName\" <> ?";
        try (PreparedStatement statement = connection.prepareStatement(costs)) {
            statement.setTimestamp(1, Timestamp.from(at.toInstant()));
            statement.setBigDecimal(2, new BigDecimal("1000000000000.01"));
            statement.setString(3, "x");
            equal(statement.getParameterMetaData().getParameterCount(), 3);
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                equal(rows.getLong(1), 0L);
            }
        }
    }

    /** With a fetch size and without auto-commit, rows come in parts of a portal. */
    static void parts(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(50);
            try (ResultSet rows = statement.executeQuery("SELECT value FROM generate_series(1, 1234)")) {
                long sum = 0;
                while (rows.next()) {
                    sum += rows.getLong(1);
                }
                equal(sum, 1234L * 1235 / 2);
            }
            // One that is left before its end.
            try (ResultSet rows = statement.executeQuery("SELECT value FROM generate_series(1, 100000)")) {
                rows.next();
            }
            statement.setMaxRows(10);
            try (ResultSet rows = statement.executeQuery("SELECT value FROM generate_series(1, 100)")) {
                int count = 0;
                while (rows.next()) {
                    count++;
                }
                equal(count, 10);
            }
        }
        connection.setSavepoint();
        connection.rollback();
        connection.setAutoCommit(true);
    }

    static List<Map<String, String>> all(ResultSet rows) throws SQLException {
        List<Map<String, String>> all = new ArrayList<>();
        try (rows) {
            while (rows.next()) {
                Map<String, String> row = new HashMap<>();
                for (int at = 1; at <= rows.getMetaData().getColumnCount(); at++) {
                    row.put(rows.getMetaData().getColumnLabel(at), rows.getString(at));
                }
                all.add(row);
            }
        }
        return all;
    }

    static List<String> column(List<Map<String, String>> rows, String name) {
        return rows.stream().map(row -> row.get(name)).toList();
    }

    /** What tools look at before they show a tree of tables. */
    static void catalog(Connection connection) throws SQLException {
        DatabaseMetaData about = connection.getMetaData();
        equal(about.getDatabaseMajorVersion(), 15);
        equal(column(all(about.getCatalogs()), "TABLE_CAT"), List.of("streamgauge"));
        List<String> schemas = column(all(about.getSchemas()), "TABLE_SCHEM");
        equal(schemas.containsAll(List.of("information_schema", "pg_catalog", "public")), true);
        Map<String, String> kinds = new HashMap<>();
        for (Map<String, String> table : all(about.getTables(null, "public", "%", new String[] {"TABLE", "VIEW"}))) {
            kinds.put(table.get("TABLE_NAME"), table.get("TABLE_TYPE") + "|" + table.get("REMARKS"));
        }
        equal(kinds.get("costs").startsWith("TABLE|"), true);
        equal(kinds.get("costs").length() > "TABLE|null".length(), true);
        equal(kinds.get("costs_spread").startsWith("VIEW|"), true);
        equal(all(about.getTables(null, null, "cost\\_none", null)), List.of());
        Map<String, Map<String, String>> columns = new HashMap<>();
        for (Map<String, String> column : all(about.getColumns(null, "public", "costs", "%"))) {
            columns.put(column.get("COLUMN_NAME"), column);
        }
        Map<String, String> cost = columns.get("BilledCost");
        equal(List.of(cost.get("DATA_TYPE"), cost.get("TYPE_NAME")), List.of("" + Types.NUMERIC, "numeric"));
        equal(Integer.parseInt(cost.get("COLUMN_SIZE")) > Integer.parseInt(cost.get("DECIMAL_DIGITS")), true);
        equal(cost.get("REMARKS") == null, false);
        equal(columns.get("ChargePeriodStart").get("TYPE_NAME"), "timestamptz");
        equal(columns.get("ProviderName").get("TYPE_NAME"), "text");
        equal(all(about.getPrimaryKeys(null, "public", "costs")), List.of());
        equal(all(about.getIndexInfo(null, "public", "costs", false, true)), List.of());
        equal(all(about.getBestRowIdentifier(null, "public", "costs", DatabaseMetaData.bestRowTemporary, true)), List.of());
        equal(all(about.getImportedKeys(null, "public", "costs")), List.of());
        equal(all(about.getExportedKeys(null, "public", "costs")), List.of());
        equal(all(about.getProcedures(null, null, "%")), List.of());
        equal(column(all(about.getTypeInfo()), "TYPE_NAME").containsAll(List.of("numeric", "timestamptz", "text", "int8")), true);
        equal(column(all(about.getTableTypes()), "TABLE_TYPE").contains("VIEW"), true);
        equal(about.getIdentifierQuoteString(), "\"");
        equal(about.getSQLKeywords().isEmpty(), false);
        equal(connection.getSchema(), "public");
        equal(connection.getCatalog(), "streamgauge");
        equal(connection.isValid(5), true);
    }

    static void errors(Connection connection) throws SQLException {
        String[][] wrong = {
            {"SELEC 1", "42601"}, {"SELECT 1 FROM nothing", "42P01"}, {"SELECT nothing FROM costs", "42703"},
            {"DELETE FROM costs", "25006"}, {"CREATE TABLE t (a int)", "25006"}, {"SELECT CAST('x' AS INT)", "22P02"},
        };
        for (String[] each : wrong) {
            try {
                one(connection, each[0]);
            } catch (SQLException error) {
                equal(each[0] + " " + error.getSQLState(), each[0] + " " + each[1]);
                equal(one(connection, "SELECT 1"), 1L);
                continue;
            }
            throw new AssertionError(each[0] + " was answered");
        }
    }

    static void limits(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            canceled(statement);
            statement.setQueryTimeout(0);
            Thread other = new Thread(() -> {
                try {
                    Thread.sleep(500);
                    statement.cancel();
                } catch (Exception error) {
                    throw new IllegalStateException(error);
                }
            });
            other.start();
            canceled(statement);
            other.join();
        }
        equal(one(connection, "SELECT 1"), 1L);
    }

    static void canceled(Statement statement) {
        try {
            statement.executeQuery(ENDLESS);
        } catch (SQLException error) {
            equal(error.getSQLState(), "57014");
            return;
        }
        throw new AssertionError("it took no time");
    }

    static void copies(Connection connection) throws Exception {
        StringWriter out = new StringWriter();
        String sql = "COPY (SELECT value, 'a,\"b' FROM generate_series(1, 3)) TO STDOUT (FORMAT csv)";
        long rows = connection.unwrap(PGConnection.class).getCopyAPI().copyOut(sql, out);
        equal(rows, 3L);
        equal(out.toString(), "1,\"a,\"\"b\"\n2,\"a,\"\"b\"\n3,\"a,\"\"b\"\n");
    }
}
