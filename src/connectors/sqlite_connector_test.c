/* SPDX-License-Identifier: MIT
 * SQLite: tables made and widened, values kept as they are, rows refused, transactions all or
 * nothing. */
#include <sqlite3.h>

#include "connectors/url_fixture.h"

static struct urls u;

#define LINES(...) ((const char *const[]){__VA_ARGS__, NULL})

/* The lines go into the test's database; query: what follows its path. */
static int store(const char *const *lines, const char *query)
{
    memset(&u, 0, sizeof u);
    u.lines = lines;
    u.to = place("sqlite:", "t.db", query);
    return urls_run(&u);
}

static int store_skipping(const char *const *lines, const char *query)
{
    memset(&u, 0, sizeof u);
    u.lines = lines;
    u.to = place("sqlite:", "t.db", query);
    u.opts.on_error = BK_ON_ERROR_SKIP;
    return urls_run(&u);
}

static int add_row(void *ctx, int n, char **values, char **names)
{
    (void)names;
    char *out = ctx;
    for (int i = 0; i < n; i++) {
        size_t len = strlen(out);
        snprintf(out + len, 4000 - len, "%s%s", i ? "|" : "", values[i] ? values[i] : "NULL");
    }
    strncat(out, "\n", 2);
    return 0;
}

static const char *sql(const char *statement)
{
    static char out[4096];
    sqlite3 *db = NULL;
    out[0] = '\0';
    if (sqlite3_open(place("", "t.db", ""), &db) != SQLITE_OK ||
        sqlite3_exec(db, statement, add_row, out, NULL) != SQLITE_OK)
        snprintf(out, sizeof out, "%s", sqlite3_errmsg(db));
    sqlite3_close(db);
    return out;
}

static void remove_db(void)
{
    unlink(place("", "t.db", ""));
    unlink(place("", "t.db-wal", ""));
    unlink(place("", "t.db-shm", ""));
}

static void a_table_is_made_from_the_first_objects(void)
{
    CHECK_EQ(
        store(LINES("{\"id\":1,\"x\":1,\"s\":\"a\",\"b\":true,\"n\":null,\"o\":{\"k\":[1, 2]}}",
                    "{\"id\":2,\"x\":2.5,\"late\":\"z\"}"),
              "?table=t"),
        0);
    CHECK_STR(sql("select sql from sqlite_master"),
              "CREATE TABLE \"t\"(\"id\" INTEGER, \"x\" REAL, \"s\" TEXT, \"b\" INTEGER, \"n\", "
              "\"o\" TEXT, \"late\" TEXT)\n");
    CHECK_STR(sql("select *, typeof(x), typeof(b), typeof(n) from t"),
              "1|1.0|a|1|NULL|{\"k\":[1, 2]}|NULL|real|integer|null\n"
              "2|2.5|NULL|NULL|NULL|NULL|z|real|null|null\n");
    CHECK_EQ(u.stats.stored, 2);
    remove_db();
}

static void values_are_kept(void)
{
    CHECK_EQ(
        store(LINES("{\"i\":9223372036854775807,\"big\":123456789012345678901234567890,"
                    "\"f\":-1.25e-3,\"t\":\"\\u00e9\\n\\\"\\ud83d\\ude00\",\"z\":\"a\\u0000b\"}"),
              "?untyped"),
        0);
    CHECK_STR(sql("select i, typeof(i), big, typeof(big), f, hex(t), hex(z) from items"),
              "9223372036854775807|integer|123456789012345678901234567890|text|-0.00125|"
              "C3A90A22F09F9880|610062\n");
    remove_db();
}

static void names_are_quoted(void)
{
    CHECK_EQ(store(LINES("{\"select\":1,\"a \\\"b\\\"\":2,\"x;drop table t\":3,\"\\u00e9\":4}"),
                   "?table=order \"by\""),
             0);
    CHECK_STR(sql("select * from \"order \"\"by\"\"\""), "1|2|3|4\n");
    CHECK_STR(sql("select \"a \"\"b\"\"\", \"\xc3\xa9\" from \"order \"\"by\"\"\""), "2|4\n");
    remove_db();
}

static void a_new_key_is_a_new_column(void)
{
    CHECK_EQ(store(LINES("{\"a\":1}"), "?table=t"), 0);
    CHECK_EQ(store(LINES("{\"a\":2,\"b\":\"x\"}", "{\"c\":0.5,\"a\":3}", "{\"A\":4,\"B\":\"y\"}"),
                   "?table=t"),
             0);
    CHECK_STR(sql("select * from t"), "1|NULL|NULL\n2|x|NULL\n3|NULL|0.5\n4|y|NULL\n");
    remove_db();
}

static void the_last_of_equal_keys_counts(void)
{
    CHECK_EQ(store(LINES("{\"a\":1,\"b\":2,\"a\":3}"), "?table=t"), 0);
    CHECK_STR(sql("select * from t"), "3|2\n");
    remove_db();
}

static void objects_of_many_shapes(void)
{
    static char lines[64][128];
    static const char *pointers[65];
    for (int i = 0; i < 64; i++) {
        snprintf(lines[i], sizeof lines[i], "{\"n\":%d,\"k%d\":%d,\"j%d\":0}", i, i % 13, i, i % 5);
        pointers[i] = lines[i];
    }
    CHECK_EQ(store(pointers, "?table=t&batch=7"), 0);
    CHECK_STR(sql("select count(*), sum(n), sum(k0), sum(k12), count(j4) from t"),
              "64|2016|130|126|12\n");
    remove_db();
}

static void what_is_no_object_is_refused(void)
{
    CHECK_EQ(store_skipping(LINES("{\"a\":1}", "", "[1]", "7", "{\"a\":", "{}", "{\"x\\u0000\":1}",
                                  "{\"b\":1,\"B\":2}", "{\"a\":2}"),
                            "?table=t"),
             0);
    CHECK_EQ(u.stats.stored, 2);
    CHECK_EQ(u.stats.dropped, 1);
    CHECK_EQ(u.stats.failed, 6);
    CHECK(strstr(u.events, "message 3: "));
    CHECK(strstr(u.events, "not a JSON object"));
    CHECK(strstr(u.events, "the text ends too early at column 6"));
    CHECK(strstr(u.events, "an object with 0 keys"));
    CHECK(strstr(u.events, "the same column to SQLite: 'b'"));
    CHECK_STR(sql("select a from t"), "1\n2\n");
    remove_db();
}

static void a_key_replaces_rows(void)
{
    CHECK_EQ(
        store(LINES("{\"id\":\"a\",\"v\":1}", "{\"id\":\"b\",\"v\":2}", "{\"id\":\"a\",\"v\":3}"),
              "?table=t&key=id"),
        0);
    CHECK_EQ(store(LINES("{\"id\":\"b\",\"v\":4,\"w\":5}"), "?table=t&key=id"), 0);
    CHECK_STR(sql("select * from t order by id"), "a|3|NULL\nb|4|5\n");
    CHECK_EQ(store_skipping(LINES("{\"v\":4}", "{\"id\":null,\"v\":5}"), "?table=t&key=id"), 0);
    CHECK_EQ(u.stats.failed, 2);
    CHECK(strstr(u.events, "no 'id', which is the key"));
    CHECK(strstr(u.events, "NOT NULL constraint failed"));
    remove_db();
    CHECK_EQ(store(LINES("{\"v\":4}"), "?table=t&key=id"), -BK_EFORMAT);
    CHECK(strstr(u.error, "key=id: the first objects have no such key"));
    remove_db();
}

static void a_table_of_others_gets_its_index(void)
{
    CHECK_STR(sql("create table t(id text, v); insert into t values('a', 1)"), "");
    CHECK_EQ(store(LINES("{\"id\":\"a\",\"v\":2}"), "?table=t&key=id"), 0);
    CHECK_STR(sql("select * from t"), "a|2\n");
    CHECK_EQ(store(LINES("{\"id\":\"a\"}"), "?table=t&key=nosuch"), -EINVAL);
    CHECK(strstr(u.error, "has no column 'nosuch'"));
    remove_db();
}

static void constraints_refuse_rows(void)
{
    CHECK_STR(sql("create table t(a integer primary key, b check (b < 10))"), "");
    CHECK_EQ(store_skipping(LINES("{\"a\":1,\"b\":1}", "{\"a\":1,\"b\":2}", "{\"a\":\"x\",\"b\":2}",
                                  "{\"a\":2,\"b\":20}", "{\"a\":3,\"b\":3}"),
                            "?table=t"),
             0);
    CHECK_EQ(u.stats.stored, 2);
    CHECK_EQ(u.stats.failed, 3);
    CHECK_STR(sql("select * from t"), "1|1\n3|3\n");
    remove_db();
}

/* ---- Transactions ---- */

static int look_on(void *ctx)
{
    struct urls *urls = ctx;
    bk_flow_stats s;
    int r = bk_sleep(bk_ms(95));
    bk_flow_stats_get(urls->flow, &s);
    if (s.received == 0 || s.stored != 0)
        return -EINVAL;
    if (r == 0)
        r = bk_sleep(bk_ms(65));
    bk_flow_stats_get(urls->flow, &s);
    return r < 0 ? r : s.stored >= 10 ? 0 : -ERANGE;
}

/* Objects every 10 ms: the first transaction is committed 100 ms after the first of them. */
static void rows_are_committed_ten_times_a_second(void)
{
    memset(&u, 0, sizeof u);
    u.from = "gen:?count=40&rate=100/s";
    u.to = place("sqlite:", "t.db", "?table=t");
    u.beside = look_on;
    CHECK_EQ(urls_run(&u), 0);
    CHECK_EQ(u.stats.stored, 40);
    CHECK_STR(sql("select count(*) from t"), "40\n");
    remove_db();
}

/* Another program holds the table: the batch fails as a whole, and is not said to be stored. */
static void a_failing_batch_is_rolled_back(void)
{
    CHECK_STR(sql("create view t as select 1 as a"), "");
    CHECK_EQ(store(LINES("{\"a\":1}", "{\"a\":2}"), "?table=t"), -EIO);
    CHECK(strstr(u.error, "cannot write"));
    CHECK(strstr(u.error, "because it is a view"));
    CHECK_EQ(u.stats.stored, 0);
    CHECK_EQ(u.stats.lost, 2);
    remove_db();
}

static void what_cannot_be_opened(void)
{
    memset(&u, 0, sizeof u);
    u.lines = LINES("{\"a\":1}");
    u.to = "sqlite:/nonexistent/x.db";
    CHECK(urls_run(&u) < 0);
    CHECK(strstr(u.error, "cannot open '/nonexistent/x.db': unable to open database file"));
    CHECK(!u.stats.started);
    write_file(place("", "t.db", ""), "w",
               "this is not a database, but long enough to look like one"
               " of the old kind, which has a header of a hundred bytes");
    CHECK(store(LINES("{\"a\":1}"), "") < 0);
    CHECK(strstr(u.error, "file is not a database"));
    remove_db();
}

static void the_folder_is_left_empty(void)
{
    CHECK_EQ(remove_place(), 0);
}

CHECK_MAIN(TEST(a_table_is_made_from_the_first_objects), TEST(values_are_kept),
           TEST(names_are_quoted), TEST(a_new_key_is_a_new_column),
           TEST(the_last_of_equal_keys_counts), TEST(objects_of_many_shapes),
           TEST(what_is_no_object_is_refused), TEST(a_key_replaces_rows),
           TEST(a_table_of_others_gets_its_index), TEST(constraints_refuse_rows),
           TEST(rows_are_committed_ten_times_a_second), TEST(a_failing_batch_is_rolled_back),
           TEST(what_cannot_be_opened), TEST(the_folder_is_left_empty))
