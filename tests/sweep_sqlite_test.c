/* SPDX-License-Identifier: MIT
 * Sweeps over flows into SQLite: whatever strikes, the table has exactly the rows that count as
 * stored, from the first on, and once it is over the same flow gets through.
 *
 * SQLite's memory comes from the hook too, so each of its allocations fails in turn. */
#include <sqlite3.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "tests/sweep_flow.h"

enum { ROWS = 5 };

struct store {
    struct sweep_flow flow;
    char folder[64], url[128];
    bool replaces; /* rows have a key */
};

/* ---- SQLite's memory ---- */

#define HEAD 16 /* in front of each block: its size */

static void *sql_realloc(void *p, int size)
{
    char *block = bki_realloc(p ? (char *)p - HEAD : NULL, (size_t)size + HEAD);
    if (!block)
        return NULL;
    memcpy(block, &size, sizeof size);
    return block + HEAD;
}

static void *sql_malloc(int size)
{
    return sql_realloc(NULL, size);
}

static void sql_free(void *p)
{
    if (p)
        bki_free((char *)p - HEAD);
}

static int sql_size(void *p)
{
    int size = 0;
    if (p)
        memcpy(&size, (char *)p - HEAD, sizeof size);
    return size;
}

static int sql_roundup(int size)
{
    return (size + 7) & ~7;
}

static int sql_init(void *ctx)
{
    (void)ctx;
    return SQLITE_OK;
}

static void sql_shutdown(void *ctx)
{
    (void)ctx;
}

/* Before the hook counts: what SQLite keeps for good belongs to no run. */
static __attribute__((constructor)) void begin(void)
{
    static const sqlite3_mem_methods methods = {sql_malloc,  sql_free, sql_realloc,  sql_size,
                                                sql_roundup, sql_init, sql_shutdown, NULL};
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) != SQLITE_OK ||
        sqlite3_initialize() != SQLITE_OK)
        abort();
}

/* ---- The flow ---- */

static int open_store(struct store *s, const char *query)
{
    snprintf(s->folder, sizeof s->folder, "%s/beck-sweep-%d", sweep_place(), (int)getpid());
    snprintf(s->url, sizeof s->url, "sqlite:%s/t.db?table=t%s", s->folder, query);
    s->flow.n_items = ROWS;
    s->flow.before = "{\"id\":";
    s->flow.after = ",\"text\":\"a \\\"word\\\"\"}";
    return mkdir(s->folder, 0700) < 0 ? -errno : 0;
}

/* A transaction for two rows. */
static int open_rows(void *ctx)
{
    return open_store(ctx, "&batch=2");
}

static int open_keyed_rows(void *ctx)
{
    struct store *s = ctx;
    s->replaces = true;
    return open_store(ctx, "&key=id&sync=full&batch=3");
}

static void close_store(void *ctx)
{
    struct store *s = ctx;
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
    char path[128];
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        snprintf(path, sizeof path, "%s/t.db%s", s->folder, ends[i]);
        unlink(path);
    }
    if (rmdir(s->folder) < 0 && errno != ENOENT)
        sweep_lost("the folder is not empty: %s", strerror(errno));
    bk_flow_free(&s->flow.flow);
}

static int store_rows(void *ctx)
{
    struct store *s = ctx;
    return sweep_flow_run(&s->flow, NULL, s->url);
}

/* ---- The table ---- */

struct ids {
    int n;
    int id[2 * ROWS];
};

static int add_id(void *ctx, int n, char **values, char **names)
{
    struct ids *ids = ctx;
    (void)n;
    (void)names;
    if (ids->n < 2 * ROWS)
        ids->id[ids->n] = values[0] ? (int)strtol(values[0], NULL, 10) : 0;
    ids->n++;
    return 0;
}

static struct ids stored_ids(const struct store *s)
{
    struct ids ids = {0};
    char path[128];
    sqlite3 *db = NULL;
    snprintf(path, sizeof path, "%s/t.db", s->folder);
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
        sqlite3_exec(db, "select 1 from sqlite_master where name = 't'", add_id, &ids, NULL) ==
            SQLITE_OK &&
        ids.n == 1) {
        ids.n = 0;
        int code = sqlite3_exec(db, "select id from t where text = 'a \"word\"' order by rowid",
                                add_id, &ids, NULL);
        if (code != SQLITE_OK)
            sweep_lost("the table cannot be read: %s", sqlite3_errmsg(db));
    }
    sqlite3_close(db);
    return ids;
}

/* The rows of the table are 1, 2, 3... up to n, and after those from 1 to m. */
static void rows_are(const struct store *s, int n, int m)
{
    struct ids ids = stored_ids(s);
    if (ids.n != n + m)
        sweep_lost("%d and %d rows are stored, and the table has %d", n, m, ids.n);
    for (int i = 0; i < ids.n && i < n + m; i++)
        if (ids.id[i] != (i < n ? i + 1 : i - n + 1))
            sweep_lost("row %d is %d", i + 1, ids.id[i]);
}

static void the_table_has_what_is_stored(void *ctx, int result)
{
    struct store *s = ctx;
    sweep_calm();
    sweep_flow_end(&s->flow);
    int n = (int)s->flow.stats.stored;
    rows_are(s, n, 0);
    if (result == 0 && n != ROWS)
        sweep_lost("of %d rows %d are stored", ROWS, n);
    int r = store_rows(s);
    if (r < 0)
        sweep_lost("a second flow ends with %d: %s", r, bk_errmsg());
    sweep_flow_end(&s->flow);
    if (r == 0 && s->replaces)
        rows_are(s, ROWS, 0);
    else if (r == 0)
        rows_are(s, n, ROWS);
}

static const struct sweep_scenario scenarios[] = {
    {.name = "flow into a table",
     .state_size = sizeof(struct store),
     .open = open_rows,
     .close = close_store,
     .subject = store_rows,
     .check = the_table_has_what_is_stored,
     .blame_elsewhere = true,
     .tells_more = true},
    {.name = "flow into a table with a key",
     .state_size = sizeof(struct store),
     .open = open_keyed_rows,
     .close = close_store,
     .subject = store_rows,
     .check = the_table_has_what_is_stored,
     .blame_elsewhere = true,
     .tells_more = true},
};

SWEEP_MAIN(scenarios)
