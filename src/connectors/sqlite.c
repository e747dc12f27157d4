/* SPDX-License-Identifier: MIT
 * The connector "sqlite:": JSON objects into the rows of a table, a transaction for each batch.
 *
 * SQLite blocks, so it lives on the threads for blocking calls, one call at a time; meanwhile the
 * next batch is collected.  Items are settled after COMMIT.  With the write-ahead log and
 * synchronous=NORMAL a committed row survives the end of the process in any form; ?sync=full makes
 * it survive a power cut as well. */
#include <stdio.h>

#include <beck/thread.h>

#include "base/alloc.h"
#include "connectors/connector.h"
#include "connectors/sqlite_table.h"

#define BATCH_ROWS 1000
#define BATCH_BYTES ((size_t)8 * 1024 * 1024)
#define BATCH_MS 100
#define BUSY_MS 5000 /* how long another program may hold the database */

struct sink {
    struct bki_sqlite_table table;
    char *path, *name, *key;
    bool full_sync;
    struct bki_batch *batch; /* under way */
};

/* ---- On a thread ---- */

static int exec_sql(struct sink *s, const char *sql, const char *what)
{
    int code = sqlite3_exec(s->table.db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? 0 : bki_sqlite_fail(&s->table, code, what);
}

static int close_db(void *ctx)
{
    struct sink *s = ctx;
    bki_sqlite_table_free(&s->table);
    int code = sqlite3_close(s->table.db);
    if (code != SQLITE_OK)
        return bki_sqlite_fail(&s->table, code, "cannot close");
    s->table.db = NULL;
    return 0;
}

/* Open, set up, and see whether it can be written: a read-only database opens without complaint. */
static int open_and_try(struct sink *s)
{
    int code =
        sqlite3_open_v2(s->path, &s->table.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    if (code != SQLITE_OK)
        return bki_sqlite_fail(&s->table, code, "cannot open");
    sqlite3_extended_result_codes(s->table.db, 1);
    sqlite3_busy_timeout(s->table.db, BUSY_MS);
    int r = exec_sql(s, "PRAGMA journal_mode=WAL", "cannot open");
    if (r == 0)
        r = exec_sql(s, s->full_sync ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL",
                     "cannot open");
    if (r == 0 && sqlite3_db_readonly(s->table.db, "main") == 1)
        r = bk_fail(-EROFS, "cannot write '%s': it is read-only", s->path);
    if (r == 0)
        r = exec_sql(s, "BEGIN IMMEDIATE; COMMIT", "cannot write");
    return r < 0 ? r : bki_sqlite_table_load(&s->table);
}

static int open_db(void *ctx)
{
    struct sink *s = ctx;
    int r = open_and_try(s);
    if (r < 0) {
        char why[256];
        snprintf(why, sizeof why, "%s", bk_errmsg());
        (void)close_db(s);
        return bk_fail(r, "%s", why);
    }
    return r;
}

static int put_rows(struct sink *s)
{
    int r = exec_sql(s, "BEGIN IMMEDIATE", "cannot write");
    if (r == 0)
        r = bki_sqlite_table_make(&s->table, s->batch);
    for (size_t i = 0; i < s->batch->n && r == 0; i++)
        r = bki_sqlite_table_put(&s->table, &s->batch->entries[i]);
    return r < 0 ? r : exec_sql(s, "COMMIT", "cannot write");
}

static int write_rows(void *ctx)
{
    struct sink *s = ctx;
    int r = put_rows(s);
    if (r < 0) {
        char why[256];
        snprintf(why, sizeof why, "%s", bk_errmsg());
        if (!sqlite3_get_autocommit(s->table.db))
            (void)exec_sql(s, "ROLLBACK", "");
        bki_sqlite_table_forget(&s->table);
        return bk_fail(r, "%s", why);
    }
    return 0;
}

/* ---- In the loop ---- */

static int sink_open(void *self, struct bki_port *port)
{
    (void)port;
    return bk_to_thread(open_db, self, NULL);
}

static int sink_write(void *self, struct bki_batch *batch)
{
    struct sink *s = self;
    s->batch = batch;
    return bk_to_thread(write_rows, s, NULL);
}

static int sink_close(void *self, int r)
{
    struct sink *s = self;
    int closed = bk_to_thread(close_db, s, NULL);
    if (s->table.db) /* no thread for it: then the loop waits, rather than leave it open */
        closed = close_db(s);
    return r < 0 ? r : closed;
}

static void sink_dispose(void *self)
{
    struct sink *s = self;
    bki_free(s->path);
    bki_free(s->name);
    bki_free(s->key);
    bki_free(s);
}

static const struct bki_sink_ops sink_ops = {
    .open = sink_open,
    .write = sink_write,
    .close = sink_close,
    .dispose = sink_dispose,
};

static int read_target(struct sink *s, const struct bki_target *target,
                       struct bki_sink_limits *limits)
{
    static const char *const syncs[] = {"normal", "full", NULL};
    const char *name = bki_target_option(target, "table"), *key = bki_target_option(target, "key");
    int64_t rows;
    int sync;
    if (!target->path[0])
        return bk_fail(-BK_EURL, "sqlite: needs a file, as in sqlite:trades.db?table=trades");
    int r = bki_target_choice(target, "sync", syncs, 0, &sync);
    if (r == 0)
        r = bki_target_int(target, "batch", 1, 100000, BATCH_ROWS, &rows);
    if (r == 0)
        r = bki_target_duration(target, "every", bk_ms(BATCH_MS), &limits->linger);
    if (r < 0)
        return r;
    if ((name && !name[0]) || (key && !key[0]))
        return bk_fail(-BK_EURL, "%s= needs a name", key && !key[0] ? "key" : "table");
    limits->max_items = (size_t)rows;
    limits->max_bytes = BATCH_BYTES;
    s->full_sync = sync == 1;
    s->table.untyped = bki_target_flag(target, "untyped");
    s->path = bki_strdup(target->path);
    s->name = bki_strdup(name ? name : "items");
    s->key = key ? bki_strdup(key) : NULL;
    if (!s->path || !s->name || (key && !s->key))
        return bk_fail(-ENOMEM, "no memory for a sink");
    s->table.path = s->path;
    s->table.name = s->name;
    s->table.key = s->key;
    return 0;
}

static int add_sink(bk_flow *flow, const struct bki_target *target)
{
    struct bki_sink_limits limits;
    struct sink *s = bki_zalloc(sizeof *s);
    if (!s)
        return bk_fail(-ENOMEM, "no memory for a sink");
    int r = read_target(s, target, &limits);
    if (r == 0)
        r = bki_flow_add_sink(flow, &sink_ops, s, target->name, &limits);
    if (r < 0)
        sink_dispose(s);
    return r;
}

const struct bki_connector bki_connector_sqlite = {
    .info = {.scheme = "sqlite",
             .usage = "sqlite:PATH[?table=NAME&key=FIELD&batch=N&every=TIME&sync=full&untyped]",
             .about = "JSON objects into the rows of an SQLite table, made when it is missing; "
                      "many rows in each transaction.",
             .sink = true},
    .options_in = BKI_OPTIONS_IN_QUERY,
    .sink_options =
        (const char *const[]){"table", "key", "batch", "every", "sync", "untyped", NULL},
    .add_sink = add_sink,
};
