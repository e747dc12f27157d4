/* SPDX-License-Identifier: MIT
 * The stages made of a jq expression: bk_flow_where, which only looks, and bk_flow_jq, which
 * rewrites.
 *
 * libjq keeps its own stack for the program, but its parser, printer and freeing of nested values
 * recurse on ours; so a program is compiled on a thread, and evaluated in tasks with big stacks
 * (run.c). */
#include <jq.h>
#include <limits.h>
#include <stdio.h>

#include <beck/thread.h>

#include "base/alloc.h"
#include "flow/engine.h"
#include "flow/json.h"
#include "flow/where.h"

#define NESTING_MAX 256 /* libjq's own */

struct program {
    jq_state *jq;
    struct jv_parser *parser; /* NULL: to be made anew */
    struct bki_where *where;  /* the same condition without libjq; NULL: there is none */
    char *expression;
    char error[200]; /* libjq's first words about what is wrong with it */
};

static void note_error(void *ctx, jv message)
{
    struct program *program = ctx;
    if (!program->error[0] && jv_get_kind(message) == JV_KIND_STRING) {
        const char *text = jv_string_value(message);
        if (strncmp(text, "jq: error: ", 11) == 0)
            text += 11;
        int len = (int)strcspn(text, "\n");
        snprintf(program->error, sizeof program->error, "%.*s", len, text);
    }
    jv_free(message);
}

static int compile(void *ctx)
{
    struct program *program = ctx;
    program->jq = jq_init();
    if (!program->jq)
        return bk_fail(-ENOMEM, "no memory for jq");
    jq_set_error_cb(program->jq, note_error, program);
    jq_set_attr(program->jq, jv_string("JQ_LIBRARY_PATH"), jv_array());
    jq_set_attr(program->jq, jv_string("PROGRAM_ORIGIN"), jv_string("."));
    if (!jq_compile(program->jq, program->expression))
        return bk_fail(-EINVAL, "jq expression '%.100s': %s", program->expression,
                       program->error[0] ? program->error : "cannot be compiled");
    return 0;
}

static void dispose(void *self)
{
    struct program *program = self;
    if (program->parser)
        jv_parser_free(program->parser);
    bki_where_free(program->where);
    if (program->jq)
        jq_teardown(&program->jq);
    bki_free(program->expression);
    bki_free(program);
}

static const struct bki_stage_ops where_ops;

static int add(struct bk_flow *flow, const struct bki_stage_ops *ops, const char *what,
               const char *expression)
{
    struct program *program = bki_zalloc(sizeof *program);
    if (!program)
        return bk_fail(-ENOMEM, "no memory for a stage");
    program->expression = bki_strdup(expression);
    int r = program->expression ? 0 : bk_fail(-ENOMEM, "no memory for a stage");
    if (r == 0)
        r = bki_in_task() ? bk_to_thread(compile, program, NULL) : compile(program);
    if (r == 0 && ops == &where_ops)
        program->where = bki_where_new(expression);
    char name[BKI_NODE_NAME_MAX];
    snprintf(name, sizeof name, "%s '%s'", what, expression);
    if (r == 0)
        r = bki_flow_add_stage(flow, ops, program, name, NULL);
    if (r < 0)
        dispose(program);
    return r;
}

/* Gives the parser more bytes: the value that they complete, or an invalid one. */
static jv feed(struct program *program, const char *bytes, size_t len)
{
    jv_parser_set_buf(program->parser, bytes, (int)len, 1);
    return jv_parser_next(program->parser);
}

/* Parses an item that is known to be one JSON value.  The parser is kept from one item to the next,
 * which makes it three times faster; so it is told that more may come, and a newline ends what
 * would otherwise be unfinished. */
static int parse_value(struct program *program, bk_span text, jv *out)
{
    if (!program->parser && !(program->parser = jv_parser_new(0)))
        return bk_fail(-ENOMEM, "no memory for jq");
    *out = feed(program, text.data, text.len);
    bool complete = jv_is_valid(*out);
    if (!complete && !jv_invalid_has_msg(jv_copy(*out))) {
        jv_free(*out);
        *out = feed(program, "\n", 1);
        complete = jv_is_valid(*out);
    } else if (complete) {
        jv_free(jv_parser_next(program->parser)); /* white space behind the value */
    }
    if (complete)
        return 1;
    jv_free(*out);
    jv_parser_free(program->parser);
    program->parser = NULL;
    return bk_fail(-BK_EFORMAT, "not JSON that jq accepts (nested deeper than %d?)", NESTING_MAX);
}

/* 1 and *out; 0 when the item is blank; -BK_EFORMAT. */
static int parse(struct program *program, bk_msg *msg, jv *out)
{
    bk_span text = bk_msg_span(msg);
    if (text.len > INT_MAX)
        return bk_fail(-EMSGSIZE, "over 2 GiB");
    int r = bki_json_check(text);
    return r > 0 ? parse_value(program, text, out) : r;
}

/* The next value of a started program: 1 and *out; 0 after the last; -BK_EFORMAT when the program
 * fails on this item. */
static int next_value(struct program *program, jv *out)
{
    *out = jq_next(program->jq);
    if (jv_is_valid(*out))
        return 1;
    int r = 0;
    if (jv_invalid_has_msg(jv_copy(*out))) {
        jv message = jv_invalid_get_msg(jv_copy(*out));
        if (jv_get_kind(message) != JV_KIND_STRING)
            message = jv_dump_string(message, 0);
        r = bk_fail(-BK_EFORMAT, "%.200s", jv_string_value(message));
        jv_free(message);
    } else if (jq_halted(program->jq)) {
        r = bk_fail(-BK_EFORMAT, "the expression called halt");
    }
    jv_free(*out);
    return r;
}

/* ---- where ---- */

static int where_apply(struct bki_stage *stage, struct bki_item *item)
{
    struct program *program = stage->self;
    jv value;
    bool keep = false;
    int r = program->where ? bki_where_test(program->where, bk_msg_span(item->msg)) : -1;
    if (r >= 0) {
        if (r == 0)
            bk_msg_free(&item->msg);
        return BKI_STAGE_ON;
    }
    r = parse(program, item->msg, &value);
    if (r < 0)
        return r;
    if (r > 0) {
        jq_start(program->jq, value, 0);
        while (!keep && (r = next_value(program, &value)) > 0) {
            jv_kind kind = jv_get_kind(value);
            keep = kind != JV_KIND_FALSE && kind != JV_KIND_NULL;
            jv_free(value);
        }
        if (r < 0)
            return r;
    }
    if (!keep)
        bk_msg_free(&item->msg);
    return BKI_STAGE_ON;
}

static const struct bki_stage_ops where_ops = {.apply = where_apply, .dispose = dispose};

int bk_flow_where(bk_flow *flow, const char *expression)
{
    return add(flow, &where_ops, "where", expression);
}

/* ---- jq ---- */

static int emit_value(struct bki_stage *stage, const struct bki_item *item, jv value)
{
    bk_msg *msg = NULL;
    jv text = jv_dump_string(value, 0);
    int r = bk_msg_copy(&msg, jv_string_value(text), (size_t)jv_string_length_bytes(jv_copy(text)));
    jv_free(text);
    return r < 0 ? r : bki_stage_emit(stage, item, &msg);
}

static int jq_apply(struct bki_stage *stage, struct bki_item *item)
{
    struct program *program = stage->self;
    jv value;
    int r = parse(program, item->msg, &value);
    if (r < 0)
        return r;
    if (r == 0)
        return BKI_STAGE_EMITTED;
    jq_start(program->jq, value, 0);
    while ((r = next_value(program, &value)) > 0) {
        r = emit_value(stage, item, value);
        if (r < 0)
            break;
    }
    return r < 0 ? r : BKI_STAGE_EMITTED;
}

static const struct bki_stage_ops jq_ops = {.apply = jq_apply, .dispose = dispose};

int bk_flow_jq(bk_flow *flow, const char *expression)
{
    return add(flow, &jq_ops, "jq", expression);
}
