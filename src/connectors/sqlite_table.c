/* SPDX-License-Identifier: MIT
 * JSON objects into the rows of an SQLite table: see sqlite_table.h. */
#include "connectors/sqlite_table.h"

#include "base/alloc.h"

#define MAX_COLUMNS 2000 /* SQLite's own limit */

/* An INSERT for objects whose keys are exactly these, in this order. */
struct bki_sqlite_insert {
    sqlite3_stmt *stmt;
    size_t n;
    struct {
        char *key; /* as written, without quotes */
        size_t len;
        int parameter; /* 0: the same key comes again later, and that one counts */
    } keys[];
};

int bki_sqlite_fail(const struct bki_sqlite_table *table, int code, const char *what)
{
    static const struct {
        int code, result;
    } results[] = {
        {SQLITE_FULL, -ENOSPC},     {SQLITE_BUSY, -EBUSY},      {SQLITE_LOCKED, -EBUSY},
        {SQLITE_READONLY, -EROFS},  {SQLITE_NOMEM, -ENOMEM},    {SQLITE_PERM, -EACCES},
        {SQLITE_CANTOPEN, -EACCES}, {SQLITE_TOOBIG, -EMSGSIZE},
    };
    int result = -EIO, os = table->db ? sqlite3_system_errno(table->db) : 0;
    for (size_t i = 0; i < sizeof results / sizeof *results; i++)
        if (results[i].code == (code & 0xff))
            result = results[i].result;
    const char *words = table->db ? sqlite3_errmsg(table->db) : sqlite3_errstr(code);
    int primary = code & 0xff;
    if (os && (primary == SQLITE_CANTOPEN || primary == SQLITE_IOERR || primary == SQLITE_FULL))
        return bk_fail(result, "%s '%s': %s (%s)", what, table->path, words, bk_strerror(os));
    return bk_fail(result, "%s '%s': %s", what, table->path, words);
}

/* ---- Columns ---- */

static int add_column_name(struct bki_sqlite_table *table, const char *name)
{
    char **grown = bki_realloc_array(table->columns, table->n_columns + 1, sizeof *grown);
    if (!grown)
        return bk_fail(-ENOMEM, "no memory for a column");
    table->columns = grown;
    grown[table->n_columns] = bki_strdup(name);
    if (!grown[table->n_columns])
        return bk_fail(-ENOMEM, "no memory for a column");
    table->n_columns++;
    return 0;
}

static int find_column(const struct bki_sqlite_table *table, const char *name)
{
    for (size_t i = 0; i < table->n_columns; i++)
        if (sqlite3_stricmp(table->columns[i], name) == 0)
            return (int)i;
    return -1;
}

static int run_sql(struct bki_sqlite_table *table, char *sql, const char *what)
{
    if (!sql)
        return bk_fail(-ENOMEM, "no memory for a statement");
    int code = sqlite3_exec(table->db, sql, NULL, NULL, NULL);
    sqlite3_free(sql);
    return code == SQLITE_OK ? 0 : bki_sqlite_fail(table, code, what);
}

/* Rows are replaced by way of a unique index; a table made by others may have none on the key. */
static int check_key(struct bki_sqlite_table *table)
{
    if (!table->key || table->n_columns == 0)
        return 0;
    if (find_column(table, table->key) < 0)
        return bk_fail(-EINVAL, "table '%s' of '%s' has no column '%s' to be the key", table->name,
                       table->path, table->key);
    sqlite3_stmt *stmt = NULL;
    char *sql =
        sqlite3_mprintf("INSERT INTO \"%w\"(\"%w\") VALUES(1) ON CONFLICT(\"%w\") DO NOTHING",
                        table->name, table->key, table->key);
    int code = sql ? sqlite3_prepare_v2(table->db, sql, -1, &stmt, NULL) : SQLITE_NOMEM;
    sqlite3_free(sql);
    sqlite3_finalize(stmt);
    if (code == SQLITE_OK)
        return 0;
    return run_sql(table,
                   sqlite3_mprintf("CREATE UNIQUE INDEX \"%w_%w\" ON \"%w\"(\"%w\")", table->name,
                                   table->key, table->name, table->key),
                   "cannot make the key unique in");
}

int bki_sqlite_table_load(struct bki_sqlite_table *table)
{
    sqlite3_stmt *stmt = NULL;
    int r = 0, code = sqlite3_prepare_v2(table->db, "SELECT name FROM pragma_table_info(?1)", -1,
                                         &stmt, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_bind_text(stmt, 1, table->name, -1, SQLITE_STATIC);
    while (r == 0 && code != SQLITE_DONE) {
        if (code != SQLITE_OK && code != SQLITE_ROW)
            r = bki_sqlite_fail(table, code, "cannot read");
        else if ((code = sqlite3_step(stmt)) == SQLITE_ROW)
            r = add_column_name(table, (const char *)sqlite3_column_text(stmt, 0));
    }
    sqlite3_finalize(stmt);
    return r < 0 ? r : check_key(table);
}

/* ---- The members of an object ---- */

static int add_member(struct bki_sqlite_table *t, const struct bki_json_value *key,
                      const struct bki_json_value *value)
{
    if (t->n_members == t->members_cap) {
        size_t cap = t->members_cap ? 2 * t->members_cap : 32;
        struct bki_json_value *keys = bki_realloc_array(t->keys, cap, sizeof *keys);
        if (keys)
            t->keys = keys;
        struct bki_json_value *values = bki_realloc_array(t->values, cap, sizeof *values);
        if (values)
            t->values = values;
        if (!keys || !values)
            return bk_fail(-ENOMEM, "no memory for an object");
        t->members_cap = cap;
    }
    t->keys[t->n_members] = *key;
    t->values[t->n_members++] = *value;
    return 0;
}

static int refuse_json(struct bki_entry *entry, int r)
{
    bki_entry_refuse(entry, r, "%s", bk_errmsg());
    return 0;
}

/* Neither an object nor blank. */
static int refuse_other(struct bki_entry *entry)
{
    int r = bki_json_check(bk_msg_span(entry->msg));
    if (r < 0)
        return refuse_json(entry, r);
    if (r == 0)
        entry->result = BKI_ENTRY_DROPPED;
    else
        bki_entry_refuse(entry, -BK_EFORMAT,
                         "not a JSON object (a row has a column for each key; --jq can make one)");
    return 0;
}

/* Takes an object apart.  1; 0 when the entry is refused or blank; below zero out of memory. */
static int read_object(struct bki_sqlite_table *t, struct bki_entry *entry)
{
    struct bki_json json;
    struct bki_json_value key, value;
    int r;
    bki_json_start(&json, bk_msg_span(entry->msg));
    t->n_members = 0;
    if (bki_json_object(&json) == 0)
        return refuse_other(entry);
    while ((r = bki_json_member(&json, &key, &value)) > 0)
        if ((r = add_member(t, &key, &value)) < 0)
            return r;
    if (r < 0 || bki_json_end(&json) < 0)
        return refuse_json(entry, bki_json_fail(&json));
    if (t->n_members == 0 || t->n_members > MAX_COLUMNS) {
        bki_entry_refuse(entry, -BK_EFORMAT, "an object with %zu keys; a row has from 1 to %d",
                         t->n_members, MAX_COLUMNS);
        return 0;
    }
    return 1;
}

/* A key as a column's name, in memory that is to be freed.  NULL: refused, or (entry->result still
 * 0) no memory. */
static char *column_name(struct bki_entry *entry, const struct bki_json_value *key)
{
    char *name = bki_alloc(key->text.len + 1);
    if (!name)
        return NULL;
    size_t len = bki_json_decode(key, name);
    name[len] = '\0';
    if (strlen(name) == len)
        return name;
    bki_free(name);
    bki_entry_refuse(entry, -BK_EFORMAT, "a key with \\u0000 in it cannot be a column");
    return NULL;
}

/* ---- Making the table ---- */

enum { SAW_INTEGER = 1, SAW_REAL = 2, SAW_TEXT = 4 };

static unsigned kind_of(const struct bki_json_value *value)
{
    switch (value->type) {
    case BKI_JSON_NULL:
        return 0;
    case BKI_JSON_FALSE:
    case BKI_JSON_TRUE:
    case BKI_JSON_INTEGER:
        return SAW_INTEGER;
    case BKI_JSON_REAL:
        return SAW_REAL;
    default:
        return SAW_TEXT;
    }
}

static const char *type_name(const struct bki_sqlite_table *table, unsigned kinds)
{
    if (table->untyped || kinds == 0)
        return "";
    return kinds & SAW_TEXT ? " TEXT" : kinds & SAW_REAL ? " REAL" : " INTEGER";
}

/* Adds the keys of one object to the columns and their kinds. */
static int survey(struct bki_sqlite_table *table, struct bki_entry *entry, uint8_t *kinds)
{
    for (size_t i = 0; i < table->n_members; i++) {
        char *name = column_name(entry, &table->keys[i]);
        if (!name)
            return entry->result < 0 ? 0 : -ENOMEM;
        int column = find_column(table, name), r = 0;
        if (column < 0 && table->n_columns < MAX_COLUMNS) {
            column = (int)table->n_columns;
            r = add_column_name(table, name);
        }
        bki_free(name);
        if (r < 0)
            return r;
        if (column >= 0)
            kinds[column] |= (uint8_t)kind_of(&table->values[i]);
    }
    return 0;
}

static int create_table(struct bki_sqlite_table *table, const uint8_t *kinds)
{
    sqlite3_str *sql = sqlite3_str_new(table->db);
    sqlite3_str_appendf(sql, "CREATE TABLE \"%w\"(", table->name);
    for (size_t i = 0; i < table->n_columns; i++) {
        bool key = table->key && sqlite3_stricmp(table->key, table->columns[i]) == 0;
        sqlite3_str_appendf(sql, "%s\"%w\"%s%s", i ? ", " : "", table->columns[i],
                            type_name(table, kinds[i]), key ? " PRIMARY KEY NOT NULL" : "");
    }
    sqlite3_str_appendall(sql, ")");
    return run_sql(table, sqlite3_str_finish(sql), "cannot make a table in");
}

int bki_sqlite_table_make(struct bki_sqlite_table *table, const struct bki_batch *batch)
{
    if (table->n_columns > 0)
        return 0;
    uint8_t *kinds = bki_zalloc(MAX_COLUMNS);
    if (!kinds)
        return bk_fail(-ENOMEM, "no memory to make a table");
    int r = 0;
    for (size_t i = 0; i < batch->n && r >= 0; i++) {
        r = read_object(table, &batch->entries[i]);
        if (r > 0)
            r = survey(table, &batch->entries[i], kinds);
    }
    if (r >= 0 && table->n_columns > 0)
        r = create_table(table, kinds);
    bki_free(kinds);
    if (r < 0)
        bki_sqlite_table_forget(table);
    else if (table->n_columns > 0 && table->key && find_column(table, table->key) < 0)
        r = bk_fail(-BK_EFORMAT, "key=%s: the first objects have no such key", table->key);
    return r < 0 ? r : 0;
}

static int alter_table(struct bki_sqlite_table *table, const char *name, unsigned kinds)
{
    int r = run_sql(table,
                    sqlite3_mprintf("ALTER TABLE \"%w\" ADD COLUMN \"%w\"%s", table->name, name,
                                    type_name(table, kinds)),
                    "cannot add a column to");
    return r < 0 ? r : add_column_name(table, name);
}

/* ---- Statements ---- */

static void free_insert(struct bki_sqlite_insert *insert)
{
    if (!insert)
        return;
    sqlite3_finalize(insert->stmt);
    for (size_t i = 0; i < insert->n; i++)
        bki_free(insert->keys[i].key);
    bki_free(insert);
}

static bool insert_fits(const struct bki_sqlite_table *t, const struct bki_sqlite_insert *insert)
{
    if (!insert || insert->n != t->n_members)
        return false;
    for (size_t i = 0; i < insert->n; i++)
        if (insert->keys[i].len != t->keys[i].text.len ||
            memcmp(insert->keys[i].key, t->keys[i].text.data, insert->keys[i].len) != 0)
            return false;
    return true;
}

/* Moves insert, which is at place i or new (i past the end: the last used goes), to the front. */
static void to_front(struct bki_sqlite_table *t, struct bki_sqlite_insert *insert, size_t i)
{
    if (i == BKI_SQLITE_STATEMENTS)
        free_insert(t->inserts[--i]);
    memmove(&t->inserts[1], &t->inserts[0], i * sizeof t->inserts[0]);
    t->inserts[0] = insert;
}

/* Finds or makes the column of each key.  positions: its column for each member, -1 when a later
 * member has the same key.  1; 0 when the entry is refused. */
static int place_members(struct bki_sqlite_table *t, struct bki_entry *entry, int *positions)
{
    bool has_key = !t->key;
    for (size_t i = 0; i < t->n_members; i++) {
        char *name = column_name(entry, &t->keys[i]);
        if (!name)
            return entry->result < 0 ? 0 : -ENOMEM;
        int column = find_column(t, name), r = 0;
        if (column < 0 && t->n_columns >= MAX_COLUMNS)
            r = bki_entry_refuse(entry, -BK_EFORMAT,
                                 "no room for a column '%.80s': a table has at most %d", name,
                                 MAX_COLUMNS);
        else if (column < 0)
            r = alter_table(t, name, kind_of(&t->values[i]));
        if (column < 0)
            column = (int)t->n_columns - 1;
        has_key = has_key || sqlite3_stricmp(t->key, name) == 0;
        bki_free(name);
        if (r < 0)
            return entry->result < 0 ? 0 : r;
        positions[i] = column;
        for (size_t j = 0; j < i; j++) {
            if (positions[j] != column)
                continue;
            if (t->keys[i].text.len != t->keys[j].text.len ||
                memcmp(t->keys[i].text.data, t->keys[j].text.data, t->keys[i].text.len) != 0) {
                bki_entry_refuse(entry, -BK_EFORMAT,
                                 "two keys that are the same column to SQLite: '%s'",
                                 t->columns[column]);
                return 0;
            }
            positions[j] = -1;
        }
    }
    if (!has_key)
        bki_entry_refuse(entry, -BK_EFORMAT, "no '%s', which is the key", t->key);
    return has_key;
}

static char *insert_sql(const struct bki_sqlite_table *t, const int *positions)
{
    sqlite3_str *sql = sqlite3_str_new(t->db);
    const char *comma = "";
    sqlite3_str_appendf(sql, "INSERT INTO \"%w\"(", t->name);
    for (size_t i = 0; i < t->n_members; i++)
        if (positions[i] >= 0) {
            sqlite3_str_appendf(sql, "%s\"%w\"", comma, t->columns[positions[i]]);
            comma = ",";
        }
    sqlite3_str_appendall(sql, ") VALUES(");
    comma = "?";
    for (size_t i = 0; i < t->n_members; i++)
        if (positions[i] >= 0) {
            sqlite3_str_appendall(sql, comma);
            comma = ",?";
        }
    sqlite3_str_appendall(sql, ")");
    if (t->key) {
        sqlite3_str_appendf(sql, " ON CONFLICT(\"%w\") DO UPDATE SET ", t->key);
        comma = "";
        for (size_t i = 0; i < t->n_members; i++)
            if (positions[i] >= 0) {
                const char *name = t->columns[positions[i]];
                sqlite3_str_appendf(sql, "%s\"%w\"=excluded.\"%w\"", comma, name, name);
                comma = ",";
            }
    }
    return sqlite3_str_finish(sql);
}

static int prepare(struct bki_sqlite_table *t, const int *positions, struct bki_sqlite_insert *made)
{
    char *sql = insert_sql(t, positions);
    int code = sql ? sqlite3_prepare_v2(t->db, sql, -1, &made->stmt, NULL) : SQLITE_NOMEM;
    sqlite3_free(sql);
    if (code != SQLITE_OK)
        return bki_sqlite_fail(t, code, "cannot write");
    int parameter = 0;
    for (size_t i = 0; i < t->n_members; i++) {
        made->n = i + 1;
        made->keys[i].len = t->keys[i].text.len;
        made->keys[i].key = bki_strndup(t->keys[i].text.data, t->keys[i].text.len);
        made->keys[i].parameter = positions[i] >= 0 ? ++parameter : 0;
        if (!made->keys[i].key)
            return bk_fail(-ENOMEM, "no memory for a statement");
    }
    return 0;
}

/* The statement for the object under way: 1 and t->inserts[0]; 0 when the entry is refused. */
static int find_insert(struct bki_sqlite_table *t, struct bki_entry *entry)
{
    for (size_t i = 0; i < BKI_SQLITE_STATEMENTS; i++) {
        if (insert_fits(t, t->inserts[i])) {
            to_front(t, t->inserts[i], i);
            return 1;
        }
    }
    int *positions = bki_realloc_array(NULL, t->n_members, sizeof *positions);
    struct bki_sqlite_insert *made = bki_zalloc(sizeof *made + t->n_members * sizeof made->keys[0]);
    int r = positions && made ? place_members(t, entry, positions)
                              : bk_fail(-ENOMEM, "no memory for a statement");
    if (r > 0) {
        r = prepare(t, positions, made);
        if (r == 0)
            to_front(t, made, BKI_SQLITE_STATEMENTS);
        r = r < 0 ? r : 1;
    }
    if (r <= 0)
        free_insert(made);
    bki_free(positions);
    return r;
}

/* ---- Rows ---- */

static int bind_text(struct bki_sqlite_table *t, sqlite3_stmt *stmt, int parameter,
                     const struct bki_json_value *value)
{
    if (!value->escaped)
        return sqlite3_bind_text64(stmt, parameter, value->text.data, value->text.len,
                                   SQLITE_STATIC, SQLITE_UTF8);
    char *decoded = t->text + t->text_len;
    size_t len = bki_json_decode(value, decoded);
    t->text_len += len;
    return sqlite3_bind_text64(stmt, parameter, decoded, len, SQLITE_STATIC, SQLITE_UTF8);
}

static int bind(struct bki_sqlite_table *t, sqlite3_stmt *stmt, int parameter,
                const struct bki_json_value *value)
{
    int64_t n;
    switch (value->type) {
    case BKI_JSON_NULL:
        return sqlite3_bind_null(stmt, parameter);
    case BKI_JSON_FALSE:
    case BKI_JSON_TRUE:
        return sqlite3_bind_int(stmt, parameter, value->type == BKI_JSON_TRUE);
    case BKI_JSON_INTEGER:
        if (bki_json_int(value, &n))
            return sqlite3_bind_int64(stmt, parameter, n);
        break; /* too big: its digits, as text */
    case BKI_JSON_REAL:
        return sqlite3_bind_double(stmt, parameter, bki_json_double(value));
    default:
        break;
    }
    return bind_text(t, stmt, parameter, value);
}

/* Decoded strings are never longer than the message, so one buffer of its size holds all of
 * them. */
static int make_text_room(struct bki_sqlite_table *t, size_t len)
{
    t->text_len = 0;
    if (len <= t->text_cap)
        return 0;
    char *text = bki_realloc(t->text, len);
    if (!text)
        return bk_fail(-ENOMEM, "no memory for a row");
    t->text = text;
    t->text_cap = len;
    return 0;
}

/* What the row is to blame for, not the database. */
static bool is_rows_fault(int code)
{
    int primary = code & 0xff;
    return primary == SQLITE_CONSTRAINT || primary == SQLITE_MISMATCH || primary == SQLITE_TOOBIG;
}

int bki_sqlite_table_put(struct bki_sqlite_table *table, struct bki_entry *entry)
{
    if (entry->result != 0)
        return 0; /* refused while the table was made */
    int r = read_object(table, entry);
    if (r > 0)
        r = find_insert(table, entry);
    if (r > 0)
        r = make_text_room(table, bk_msg_len(entry->msg)) < 0 ? -ENOMEM : 1;
    if (r <= 0)
        return r;
    struct bki_sqlite_insert *insert = table->inserts[0];
    int code = SQLITE_OK;
    for (size_t i = 0; i < insert->n && code == SQLITE_OK; i++)
        if (insert->keys[i].parameter)
            code = bind(table, insert->stmt, insert->keys[i].parameter, &table->values[i]);
    if (code == SQLITE_OK)
        code = sqlite3_step(insert->stmt);
    if (is_rows_fault(code))
        bki_entry_refuse(entry, -BK_EFORMAT, "%s", sqlite3_errmsg(table->db));
    else if (code != SQLITE_DONE)
        r = bki_sqlite_fail(table, code, "cannot write");
    sqlite3_reset(insert->stmt);
    return r < 0 ? r : 0;
}

void bki_sqlite_table_forget(struct bki_sqlite_table *table)
{
    for (size_t i = 0; i < BKI_SQLITE_STATEMENTS; i++) {
        free_insert(table->inserts[i]);
        table->inserts[i] = NULL;
    }
    for (size_t i = 0; i < table->n_columns; i++)
        bki_free(table->columns[i]);
    bki_free(table->columns);
    table->columns = NULL;
    table->n_columns = 0;
}

void bki_sqlite_table_free(struct bki_sqlite_table *table)
{
    bki_sqlite_table_forget(table);
    bki_free(table->keys);
    bki_free(table->values);
    bki_free(table->text);
    table->keys = table->values = NULL;
    table->text = NULL;
    table->members_cap = table->text_cap = 0;
}
