/* SPDX-License-Identifier: MIT
 * Conditions without libjq: see where.h.  A text is scanned once, which also checks all of it; the
 * values of the fields that the condition names are remembered on the way, and then compared in
 * jq's order: null < false < true < numbers < strings. */
#include "flow/where.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "flow/json.h"

#define MAX_NODES 32
#define MAX_PATHS 8
#define MAX_STEPS 4
#define MAX_NAME 64
#define MAX_NESTING 8

enum kind { PATH, CONSTANT, AND, OR, EQ, NE, LT, LE, GT, GE };

enum { UNSURE = -1 };

struct value {
    enum bki_json_type type; /* NULL, FALSE, TRUE, REAL or STRING */
    double number;
    bk_span text;
};

struct node {
    enum kind kind;
    int left, right; /* nodes; of a PATH: left is its place in paths */
    struct value constant;
};

struct path {
    char steps[MAX_STEPS][MAX_NAME];
    int n_steps;
};

struct bki_where {
    struct node nodes[MAX_NODES];
    struct path paths[MAX_PATHS];
    int n_nodes, n_paths, root;
    char *expression; /* what string constants point into */
};

/* ---- Parsing: each function returns a node, or -1 when the expression is not of this kind ---- */

struct parser {
    struct bki_where *where;
    const char *p;
    int nesting;
};

static void skip_space(struct parser *in)
{
    while (*in->p == ' ' || *in->p == '\t' || *in->p == '\n')
        in->p++;
}

static int add_node(struct parser *in, enum kind kind, int left, int right)
{
    if (left < 0 || right < 0 || in->where->n_nodes == MAX_NODES)
        return -1;
    in->where->nodes[in->where->n_nodes] = (struct node){kind, left, right, {0}};
    return in->where->n_nodes++;
}

static int add_constant(struct parser *in, struct value constant)
{
    int n = add_node(in, CONSTANT, 0, 0);
    if (n >= 0)
        in->where->nodes[n].constant = constant;
    return n;
}

static bool is_name_start(char c)
{
    return isalpha((unsigned char)c) || c == '_';
}

static size_t name_len(const char *p)
{
    size_t len = 0;
    while (is_name_start(p[len]) || (len > 0 && isdigit((unsigned char)p[len])))
        len++;
    return len;
}

static int find_path(struct bki_where *where, const struct path *path)
{
    for (int i = 0; i < where->n_paths; i++)
        if (memcmp(&where->paths[i], path, sizeof *path) == 0)
            return i;
    if (where->n_paths == MAX_PATHS)
        return -1;
    where->paths[where->n_paths] = *path;
    return where->n_paths++;
}

static int parse_path(struct parser *in)
{
    struct path path;
    memset(&path, 0, sizeof path);
    while (*in->p == '.') {
        size_t len = name_len(in->p + 1);
        if (len == 0 || len >= MAX_NAME || path.n_steps == MAX_STEPS)
            return -1;
        memcpy(path.steps[path.n_steps++], in->p + 1, len);
        in->p += 1 + len;
    }
    return add_node(in, PATH, find_path(in->where, &path), 0);
}

static int parse_string(struct parser *in)
{
    const char *start = ++in->p;
    while (*in->p && *in->p != '"' && *in->p != '\\' && (unsigned char)*in->p < 0x80)
        in->p++;
    if (*in->p != '"')
        return -1;
    struct value v = {.type = BKI_JSON_STRING};
    v.text = bk_span_of(start, (size_t)(in->p++ - start));
    return add_constant(in, v);
}

/* In jq a minus is an operator, which behind a comparison can only mean this number. */
static int parse_number(struct parser *in, bool signed_)
{
    struct bki_json json;
    struct bki_json_value number;
    size_t len = signed_ && *in->p == '-';
    len += strspn(in->p + len, "0123456789.eE+-");
    bki_json_start(&json, bk_span_of(in->p, len));
    if (bki_json_value(&json, &number) != 1 || json.p != json.end ||
        (number.type != BKI_JSON_INTEGER && number.type != BKI_JSON_REAL))
        return -1;
    in->p += len;
    return add_constant(in,
                        (struct value){.type = BKI_JSON_REAL, .number = bki_json_double(&number)});
}

static bool take_word(struct parser *in, const char *word)
{
    size_t len = strlen(word);
    if (strncmp(in->p, word, len) != 0 || name_len(in->p) != len || in->p[len] == ':')
        return false;
    in->p += len;
    return true;
}

static int parse_or(struct parser *in);

static int parse_operand(struct parser *in, bool signed_)
{
    skip_space(in);
    if (*in->p == '.')
        return parse_path(in);
    if (*in->p == '"')
        return parse_string(in);
    if (isdigit((unsigned char)*in->p) || (signed_ && *in->p == '-'))
        return parse_number(in, signed_);
    if (take_word(in, "null"))
        return add_constant(in, (struct value){.type = BKI_JSON_NULL});
    if (take_word(in, "false"))
        return add_constant(in, (struct value){.type = BKI_JSON_FALSE});
    if (take_word(in, "true"))
        return add_constant(in, (struct value){.type = BKI_JSON_TRUE});
    if (*in->p != '(' || in->nesting == MAX_NESTING)
        return -1;
    in->p++;
    in->nesting++;
    int n = parse_or(in);
    in->nesting--;
    skip_space(in);
    if (*in->p != ')')
        return -1;
    in->p++;
    return n;
}

static int parse_comparison(struct parser *in)
{
    static const struct {
        const char *sign;
        enum kind kind;
    } signs[] = {{"==", EQ}, {"!=", NE}, {"<=", LE}, {">=", GE}, {"<", LT}, {">", GT}};
    int left = parse_operand(in, false);
    skip_space(in);
    for (size_t i = 0; left >= 0 && i < sizeof signs / sizeof *signs; i++) {
        size_t len = strlen(signs[i].sign);
        if (strncmp(in->p, signs[i].sign, len) != 0)
            continue;
        in->p += len;
        return add_node(in, signs[i].kind, left, parse_operand(in, true));
    }
    return left;
}

static int parse_and(struct parser *in)
{
    int n = parse_comparison(in);
    while (n >= 0 && (skip_space(in), take_word(in, "and")))
        n = add_node(in, AND, n, parse_comparison(in));
    return n;
}

static int parse_or(struct parser *in)
{
    int n = parse_and(in);
    while (n >= 0 && (skip_space(in), take_word(in, "or")))
        n = add_node(in, OR, n, parse_and(in));
    return n;
}

struct bki_where *bki_where_new(const char *expression)
{
    struct bki_where *where = bki_zalloc(sizeof *where);
    if (!where)
        return NULL;
    where->expression = bki_strdup(expression);
    struct parser in = {.where = where, .p = where->expression};
    where->root = where->expression ? parse_or(&in) : -1;
    if (where->root >= 0) {
        skip_space(&in);
        if (!*in.p)
            return where;
    }
    bki_where_free(where);
    return NULL;
}

void bki_where_free(struct bki_where *where)
{
    if (!where)
        return;
    bki_free(where->expression);
    bki_free(where);
}

/* ---- Testing ---- */

/* The fields that the condition names, as far as the text has them. */
struct fields {
    struct bki_json_value values[MAX_PATHS];
    bool found[MAX_PATHS];
};

/* Reads the members of an object (json stands behind its brace) and remembers those that are the
 * first steps of paths.  0, or UNSURE. */
static int collect(const struct bki_where *where, struct bki_json *json, struct fields *fields)
{
    struct bki_json_value key, value;
    int r;
    while ((r = bki_json_member(json, &key, &value)) > 0) {
        for (int i = 0; i < where->n_paths; i++) {
            const char *step = where->paths[i].steps[0];
            if (key.text.data[0] == step[0] || key.escaped) {
                if (bki_json_equals(&key, step)) {
                    fields->values[i] = value;
                    fields->found[i] = true;
                }
            }
        }
    }
    return r;
}

/* Follows the second and further steps of a path. */
static int descend(const struct path *path, struct fields *fields, int i)
{
    for (int step = 1; step < path->n_steps && fields->found[i]; step++) {
        struct bki_json_value *v = &fields->values[i];
        if (v->type == BKI_JSON_NULL)
            return 0;
        if (v->type != BKI_JSON_OBJECT)
            return UNSURE; /* an error in jq */
        int r = bki_json_find(v->text, path->steps[step], v);
        if (r < 0)
            return UNSURE;
        fields->found[i] = r > 0;
    }
    return 0;
}

static bool is_ascii(bk_span text)
{
    unsigned char all = 0;
    for (size_t i = 0; i < text.len; i++)
        all |= (unsigned char)text.data[i];
    return all < 0x80;
}

static int value_of(const struct bki_where *where, const struct fields *fields, int n,
                    struct value *out)
{
    const struct node *node = &where->nodes[n];
    if (node->kind == CONSTANT) {
        *out = node->constant;
        return 0;
    }
    if (node->kind != PATH)
        return UNSURE;
    const struct bki_json_value *v = &fields->values[node->left];
    *out = (struct value){.type = fields->found[node->left] ? v->type : BKI_JSON_NULL};
    switch (out->type) {
    case BKI_JSON_INTEGER:
    case BKI_JSON_REAL:
        out->type = BKI_JSON_REAL;
        out->number = bki_json_double(v);
        return 0;
    case BKI_JSON_STRING:
        out->text = v->text;
        return v->escaped || !is_ascii(v->text) ? UNSURE : 0;
    case BKI_JSON_ARRAY:
    case BKI_JSON_OBJECT:
        return UNSURE;
    default:
        return 0;
    }
}

static int order(const struct value *a, const struct value *b)
{
    if (a->type != b->type)
        return a->type < b->type ? -1 : 1;
    if (a->type == BKI_JSON_REAL)
        return a->number < b->number ? -1 : a->number > b->number;
    if (a->type != BKI_JSON_STRING)
        return 0;
    size_t least = a->text.len < b->text.len ? a->text.len : b->text.len;
    int r = memcmp(a->text.data, b->text.data, least);
    return r ? r : a->text.len < b->text.len ? -1 : a->text.len > b->text.len;
}

static int compare(const struct bki_where *where, const struct fields *fields,
                   const struct node *node)
{
    struct value a, b;
    if (value_of(where, fields, node->left, &a) < 0 || value_of(where, fields, node->right, &b) < 0)
        return UNSURE;
    int r = order(&a, &b);
    switch (node->kind) {
    case EQ:
        return r == 0;
    case NE:
        return r != 0;
    case LT:
        return r < 0;
    case LE:
        return r <= 0;
    case GT:
        return r > 0;
    default:
        return r >= 0;
    }
}

/* At most MAX_NODES deep. */
static int truth(const struct bki_where *where, const struct fields *fields, int n)
{
    const struct node *node = &where->nodes[n];
    struct value v;
    int r;
    switch (node->kind) {
    case PATH:
        if (fields->found[node->left] && fields->values[node->left].type >= BKI_JSON_INTEGER)
            return 1;
        return value_of(where, fields, n, &v) < 0 ? UNSURE : v.type == BKI_JSON_TRUE;
    case CONSTANT:
        return node->constant.type >= BKI_JSON_TRUE;
    case AND:
        r = truth(where, fields, node->left);
        return r == 1 ? truth(where, fields, node->right) : r;
    case OR:
        r = truth(where, fields, node->left);
        return r == 0 ? truth(where, fields, node->right) : r;
    default:
        return compare(where, fields, node);
    }
}

int bki_where_test(const struct bki_where *where, bk_span text)
{
    struct bki_json json;
    struct fields fields;
    memset(fields.found, 0, sizeof fields.found);
    bki_json_start(&json, text);
    if (bki_json_object(&json) != 1 || collect(where, &json, &fields) < 0 ||
        bki_json_end(&json) < 0)
        return UNSURE;
    for (int i = 0; i < where->n_paths; i++)
        if (descend(&where->paths[i], &fields, i) < 0)
            return UNSURE;
    return truth(where, &fields, where->root);
}
