/* SPDX-License-Identifier: MIT
 * A table of an SQLite database that JSON objects are put into, a row for each.  Blocking: for a
 * thread.
 *
 * Keys are columns (compared as SQLite does, without case).  A table that is missing is made from
 * the first batch; a key that is new later becomes a new column.  Numbers, strings and null are
 * stored as such, true and false as 1 and 0, arrays and objects as their JSON text. */
#ifndef BECK_SRC_CONNECTORS_SQLITE_TABLE_H
#define BECK_SRC_CONNECTORS_SQLITE_TABLE_H

#include <sqlite3.h>

#include "flow/connector.h"
#include "flow/json.h"

struct bki_sqlite_insert; /* a prepared statement for objects with certain keys */

#define BKI_SQLITE_STATEMENTS 8

struct bki_sqlite_table {
    sqlite3 *db;
    const char *path; /* for messages */
    const char *name;
    const char *key; /* rows are replaced by it; NULL: always added */
    bool untyped;    /* columns are made without a type */
    char **columns;  /* empty: the table has not been looked at, or is not there */
    size_t n_columns;
    struct bki_sqlite_insert *inserts[BKI_SQLITE_STATEMENTS]; /* the last used first */
    /* The members of the object under way. */
    struct bki_json_value *keys, *values;
    size_t n_members, members_cap;
    char *text; /* decoded strings of the object under way */
    size_t text_len, text_cap;
};

/* A negative result with "PATH: what: sqlite's words" for an SQLite result code. */
int bki_sqlite_fail(const struct bki_sqlite_table *table, int code, const char *what);

/* Reads the table's columns, if it is there.  0 or an error. */
int bki_sqlite_table_load(struct bki_sqlite_table *table);

/* Makes the table for the objects of a batch, unless it is there. */
int bki_sqlite_table_make(struct bki_sqlite_table *table, const struct bki_batch *batch);

/* Puts one object into the table, within a transaction.  0, also when the entry was refused; below
 * zero the database is in trouble. */
int bki_sqlite_table_put(struct bki_sqlite_table *table, struct bki_entry *entry);

/* Forgets columns and statements: after a rollback they may not be true any more. */
void bki_sqlite_table_forget(struct bki_sqlite_table *table);
void bki_sqlite_table_free(struct bki_sqlite_table *table);

#endif
