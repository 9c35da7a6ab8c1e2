/* The machine that reads pickles: a stack, a memo, and the operations of plain data. See
 * pickletools.py of CPython for what each operation does. */
#include "base/base.h"
#include "checkpoint/pickle_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_DEPTH = 2 * CN_PICKLE_VALUES, /* of the stack: also what the memo repeats */
    MAX_NAME = 200
};

static const uint32_t no_value = UINT32_MAX;

static int too_big(struct cn_pickle *p, const char *what, long most)
{
    return cn_fail(p->err, CN_ETOOBIG, "\"%s\": pickle: more than %ld %s", p->path, most, what);
}

/* ---- stack ---- */

static int push(struct cn_pickle *p, uint32_t v)
{
    if (p->depth == MAX_DEPTH)
        return too_big(p, "values on the stack", MAX_DEPTH);
    p->stack = cn_grow(p->stack, p->depth, &p->stack_cap, sizeof(*p->stack));
    p->stack[p->depth++] = v;
    return CN_OK;
}

/* Values above the last mark. */
static size_t above(const struct cn_pickle *p)
{
    return p->depth - (p->marks > 0 ? p->mark[p->marks - 1] : 0);
}

static int need(struct cn_pickle *p, size_t n)
{
    return above(p) >= n ? CN_OK : cn_pickle_bad(p, "takes what is not there");
}

static int pop(struct cn_pickle *p, uint32_t *ret)
{
    int rc = need(p, 1);

    if (rc == CN_OK)
        *ret = p->stack[--p->depth];
    return rc;
}

/* The value at the top, which stays. */
static int top(struct cn_pickle *p, uint32_t *ret)
{
    int rc = need(p, 1);

    if (rc == CN_OK)
        *ret = p->stack[p->depth - 1];
    return rc;
}

static int push_new(struct cn_pickle *p, enum cn_pickle_kind kind, uint32_t *ret)
{
    int rc = cn_pickle_add(p, kind, ret);

    return rc == CN_OK ? push(p, *ret) : rc;
}

/* Takes the last mark away; *ret_n values above it are left at the top. */
static int unmark(struct cn_pickle *p, size_t *ret_n)
{
    if (p->marks == 0)
        return cn_pickle_bad(p, "looks for a mark that is not there");
    *ret_n = above(p);
    p->marks--;
    return CN_OK;
}

/* ---- bytes ---- */

static int take(struct cn_pickle *p, size_t n, const unsigned char **ret)
{
    if (n > (size_t)(p->end - p->at))
        return cn_pickle_bad(p, "ends too early");
    *ret = p->at;
    p->at += n;
    return CN_OK;
}

static int take_number(struct cn_pickle *p, int bytes, uint64_t *ret)
{
    const unsigned char *at = NULL;
    int rc = take(p, (size_t)bytes, &at);

    if (rc == CN_OK)
        *ret = cn_little(at, bytes);
    return rc;
}

static int push_number(struct cn_pickle *p, enum cn_pickle_kind kind, int64_t number)
{
    uint32_t v = 0;
    int rc = push_new(p, kind, &v);

    if (rc == CN_OK)
        p->value[v].number = number;
    return rc;
}

static int push_text(struct cn_pickle *p, const unsigned char *s, size_t len)
{
    uint32_t v = 0;
    int rc = push_new(p, CN_PICKLE_TEXT, &v);
    char *copy;

    if (rc < 0)
        return rc;
    copy = cn_arena_alloc(&p->arena, len + 1);
    memcpy(copy, s, len);
    p->value[v].text = copy;
    p->value[v].len = len;
    return CN_OK;
}

/* ---- operations ---- */

static int op_refuse(struct cn_pickle *p)
{
    return cn_pickle_bad(p, "operation 0x%02x, which weights do not need", p->at[-1]);
}

static int op_proto(struct cn_pickle *p)
{
    uint64_t n = 0;
    int rc = take_number(p, 1, &n);

    return rc == CN_OK && n > 5 ? cn_pickle_bad(p, "protocol %d is not known", (int)n) : rc;
}

static int op_frame(struct cn_pickle *p)
{
    uint64_t n = 0;

    return take_number(p, 8, &n);
}

static int op_mark(struct cn_pickle *p)
{
    if (p->marks == MAX_DEPTH)
        return too_big(p, "marks", MAX_DEPTH);
    p->mark = cn_grow(p->mark, p->marks, &p->marks_cap, sizeof(*p->mark));
    p->mark[p->marks++] = p->depth;
    return CN_OK;
}

static int op_pop(struct cn_pickle *p)
{
    uint32_t v = 0;
    size_t n = 0;

    return above(p) == 0 && p->marks > 0 ? unmark(p, &n) : pop(p, &v);
}

static int op_pop_mark(struct cn_pickle *p)
{
    size_t n = 0;
    int rc = unmark(p, &n);

    if (rc == CN_OK)
        p->depth -= n;
    return rc;
}

static int op_dup(struct cn_pickle *p)
{
    uint32_t v = 0;
    int rc = top(p, &v);

    return rc == CN_OK ? push(p, v) : rc;
}

static int op_none(struct cn_pickle *p)
{
    return push_number(p, CN_PICKLE_NONE, 0);
}

static int op_true(struct cn_pickle *p)
{
    return push_number(p, CN_PICKLE_BOOL, 1);
}

static int op_false(struct cn_pickle *p)
{
    return push_number(p, CN_PICKLE_BOOL, 0);
}

static int op_int1(struct cn_pickle *p)
{
    uint64_t n = 0;
    int rc = take_number(p, 1, &n);

    return rc == CN_OK ? push_number(p, CN_PICKLE_INT, (int64_t)n) : rc;
}

static int op_int2(struct cn_pickle *p)
{
    uint64_t n = 0;
    int rc = take_number(p, 2, &n);

    return rc == CN_OK ? push_number(p, CN_PICKLE_INT, (int64_t)n) : rc;
}

static int op_int4(struct cn_pickle *p)
{
    uint64_t n = 0;
    int rc = take_number(p, 4, &n);

    return rc == CN_OK ? push_number(p, CN_PICKLE_INT, (int32_t)(uint32_t)n) : rc;
}

/* Two's complement of n bytes. */
static int push_long(struct cn_pickle *p, uint64_t n)
{
    const unsigned char *at = NULL;
    uint64_t v;
    int rc = take(p, n, &at);

    if (rc < 0)
        return rc;
    if (n > 8)
        return push_text(p, at, n);
    v = cn_little(at, (int)n);
    if (n > 0 && n < 8 && (at[n - 1] & 0x80) != 0)
        v |= UINT64_MAX << (8 * n);
    return push_number(p, CN_PICKLE_INT, (int64_t)v);
}

static int op_long1(struct cn_pickle *p)
{
    uint64_t n = 0;
    int rc = take_number(p, 1, &n);

    return rc == CN_OK ? push_long(p, n) : rc;
}

static int op_long4(struct cn_pickle *p)
{
    uint64_t n = 0;
    int rc = take_number(p, 4, &n);

    return rc == CN_OK ? push_long(p, n) : rc;
}

/* binary64, big-endian */
static int op_real(struct cn_pickle *p)
{
    const unsigned char *at = NULL;
    uint64_t bits = 0;
    uint32_t v = 0;
    int rc = take(p, 8, &at);

    if (rc == CN_OK)
        rc = push_new(p, CN_PICKLE_REAL, &v);
    if (rc < 0)
        return rc;
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | at[i];
    memcpy(&p->value[v].real, &bits, sizeof(bits));
    return CN_OK;
}

static int text_of(struct cn_pickle *p, int length_bytes)
{
    const unsigned char *at = NULL;
    uint64_t n = 0;
    int rc = take_number(p, length_bytes, &n);

    if (rc == CN_OK)
        rc = take(p, n, &at);
    return rc == CN_OK ? push_text(p, at, n) : rc;
}

static int op_text1(struct cn_pickle *p)
{
    return text_of(p, 1);
}

static int op_text4(struct cn_pickle *p)
{
    return text_of(p, 4);
}

static int op_text8(struct cn_pickle *p)
{
    return text_of(p, 8);
}

/* A tuple or list of the n values at the top. */
static int collect(struct cn_pickle *p, enum cn_pickle_kind kind, size_t n)
{
    struct cn_pickle_items l = {0};
    uint32_t v = 0;
    int rc = need(p, n);

    if (rc == CN_OK)
        rc = cn_pickle_add(p, kind, &v);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < n; i++)
        cn_pickle_append(&l, p->stack[p->depth - n + i]);
    p->value[v].items = l;
    p->depth -= n;
    return push(p, v);
}

static int op_tuple0(struct cn_pickle *p)
{
    return collect(p, CN_PICKLE_TUPLE, 0);
}

static int op_tuple1(struct cn_pickle *p)
{
    return collect(p, CN_PICKLE_TUPLE, 1);
}

static int op_tuple2(struct cn_pickle *p)
{
    return collect(p, CN_PICKLE_TUPLE, 2);
}

static int op_tuple3(struct cn_pickle *p)
{
    return collect(p, CN_PICKLE_TUPLE, 3);
}

static int op_tuple(struct cn_pickle *p)
{
    size_t n = 0;
    int rc = unmark(p, &n);

    return rc == CN_OK ? collect(p, CN_PICKLE_TUPLE, n) : rc;
}

static int op_list0(struct cn_pickle *p)
{
    return collect(p, CN_PICKLE_LIST, 0);
}

static int op_list(struct cn_pickle *p)
{
    size_t n = 0;
    int rc = unmark(p, &n);

    return rc == CN_OK ? collect(p, CN_PICKLE_LIST, n) : rc;
}

static int op_dict0(struct cn_pickle *p)
{
    return collect(p, CN_PICKLE_DICT, 0);
}

static int op_dict(struct cn_pickle *p)
{
    size_t n = 0;
    int rc = unmark(p, &n);

    if (rc == CN_OK && n % 2 != 0)
        rc = cn_pickle_bad(p, "a dict with a key and no value");
    return rc == CN_OK ? collect(p, CN_PICKLE_DICT, n) : rc;
}

/* Moves the n values at the top into what lies below them: a list, or (pairs) a dict. */
static int move_into(struct cn_pickle *p, size_t n, bool pairs)
{
    struct cn_pickle_value *into;
    struct cn_pickle_items *l;
    int rc = need(p, n + 1);

    if (rc < 0)
        return rc;
    into = &p->value[p->stack[p->depth - n - 1]];
    if (pairs && n % 2 != 0)
        return cn_pickle_bad(p, "a key without a value");
    if (pairs && into->kind == CN_PICKLE_OBJECT)
        l = &into->entries;
    else if (into->kind == (pairs ? CN_PICKLE_DICT : CN_PICKLE_LIST))
        l = &into->items;
    else
        return cn_pickle_bad(p, "puts something into what is no %s", pairs ? "dict" : "list");
    if (l->n + n > 2 * (size_t)CN_PICKLE_VALUES)
        return too_big(p, "values in one list", 2 * CN_PICKLE_VALUES);
    for (size_t i = 0; i < n; i++)
        cn_pickle_append(l, p->stack[p->depth - n + i]);
    p->depth -= n;
    return CN_OK;
}

static int op_append(struct cn_pickle *p)
{
    return move_into(p, 1, false);
}

static int op_appends(struct cn_pickle *p)
{
    size_t n = 0;
    int rc = unmark(p, &n);

    return rc == CN_OK ? move_into(p, n, false) : rc;
}

static int op_setitem(struct cn_pickle *p)
{
    return move_into(p, 2, true);
}

static int op_setitems(struct cn_pickle *p)
{
    size_t n = 0;
    int rc = unmark(p, &n);

    return rc == CN_OK ? move_into(p, n, true) : rc;
}

static int push_name(struct cn_pickle *p, const char *module, size_t module_len, const char *word,
                     size_t word_len)
{
    const struct cn_pickle_name *name;
    char text[MAX_NAME];
    uint32_t v = 0;
    int rc;

    snprintf(text, sizeof(text), "%.*s.%.*s", (int)CN_MIN(module_len, (size_t)MAX_NAME), module,
             (int)CN_MIN(word_len, (size_t)MAX_NAME), word);
    name = cn_pickle_name_find(text);
    if (name == NULL)
        return cn_pickle_bad(p, "it names \"%.120s\", which weights do not need; nothing was run",
                             text);
    rc = push_new(p, CN_PICKLE_NAME, &v);
    if (rc == CN_OK)
        p->value[v].name = name;
    return rc;
}

/* Up to the end of the line. */
static int take_line(struct cn_pickle *p, const char **ret, size_t *ret_len)
{
    const unsigned char *nl = memchr(p->at, '\n', (size_t)(p->end - p->at));

    if (nl == NULL)
        return cn_pickle_bad(p, "ends in the middle of a name");
    *ret = (const char *)p->at;
    *ret_len = (size_t)(nl - p->at);
    p->at = nl + 1;
    return CN_OK;
}

static int op_global(struct cn_pickle *p)
{
    const char *module = NULL, *word = NULL;
    size_t module_len = 0, word_len = 0;
    int rc = take_line(p, &module, &module_len);

    if (rc == CN_OK)
        rc = take_line(p, &word, &word_len);
    return rc == CN_OK ? push_name(p, module, module_len, word, word_len) : rc;
}

static int op_stack_global(struct cn_pickle *p)
{
    const struct cn_pickle_value *module, *word;
    uint32_t m = 0, w = 0;
    int rc = pop(p, &w);

    if (rc == CN_OK)
        rc = pop(p, &m);
    if (rc < 0)
        return rc;
    module = &p->value[m];
    word = &p->value[w];
    if (module->kind != CN_PICKLE_TEXT || word->kind != CN_PICKLE_TEXT)
        return cn_pickle_bad(p, "a name that is no text");
    return push_name(p, module->text, module->len, word->text, word->len);
}

/* Calls a function, or makes an object of a class: the same to us. */
static int op_reduce(struct cn_pickle *p)
{
    uint32_t args = 0, function = 0, v = 0;
    int rc = pop(p, &args);

    if (rc == CN_OK)
        rc = pop(p, &function);
    if (rc < 0)
        return rc;
    if (p->value[function].kind != CN_PICKLE_NAME || p->value[args].kind != CN_PICKLE_TUPLE)
        return cn_pickle_bad(p, "it calls what is no function of ours");
    rc = cn_pickle_call(p, p->value[function].name, args, &v);
    return rc == CN_OK ? push(p, v) : rc;
}

/* Gives an object its attributes. Those of dicts and tensors are notes. */
static int op_build(struct cn_pickle *p)
{
    uint32_t state = 0, v = 0;
    int rc = pop(p, &state);

    if (rc == CN_OK)
        rc = top(p, &v);
    if (rc < 0)
        return rc;
    switch (p->value[v].kind) {
    case CN_PICKLE_OBJECT:
        p->value[v].state = state;
        return CN_OK;
    case CN_PICKLE_DICT:
    case CN_PICKLE_TENSOR:
        return CN_OK;
    default:
        return cn_pickle_bad(p, "attributes for what has none");
    }
}

static int op_persid(struct cn_pickle *p)
{
    uint32_t id = 0, v = 0;
    int rc = pop(p, &id);

    if (rc == CN_OK && p->value[id].kind != CN_PICKLE_TUPLE)
        rc = cn_pickle_bad(p, "a reference to something that is no storage");
    if (rc == CN_OK)
        rc = cn_pickle_storage(p, id, &v);
    return rc == CN_OK ? push(p, v) : rc;
}

static int memo_put(struct cn_pickle *p, uint64_t i)
{
    uint32_t v = 0;
    int rc = top(p, &v);

    if (rc < 0)
        return rc;
    if (i >= CN_PICKLE_VALUES)
        return too_big(p, "values in the memo", CN_PICKLE_VALUES);
    while (p->memos <= i) {
        p->memo = cn_grow(p->memo, p->memos, &p->memos_cap, sizeof(*p->memo));
        p->memo[p->memos++] = no_value;
    }
    p->memo[i] = v;
    return CN_OK;
}

static int memo_get(struct cn_pickle *p, uint64_t i)
{
    if (i >= p->memos || p->memo[i] == no_value)
        return cn_pickle_bad(p, "takes what is not in the memo");
    return push(p, p->memo[i]);
}

static int op_put1(struct cn_pickle *p)
{
    uint64_t i = 0;
    int rc = take_number(p, 1, &i);

    return rc == CN_OK ? memo_put(p, i) : rc;
}

static int op_put4(struct cn_pickle *p)
{
    uint64_t i = 0;
    int rc = take_number(p, 4, &i);

    return rc == CN_OK ? memo_put(p, i) : rc;
}

static int op_memoize(struct cn_pickle *p)
{
    return memo_put(p, p->memos);
}

static int op_get1(struct cn_pickle *p)
{
    uint64_t i = 0;
    int rc = take_number(p, 1, &i);

    return rc == CN_OK ? memo_get(p, i) : rc;
}

static int op_get4(struct cn_pickle *p)
{
    uint64_t i = 0;
    int rc = take_number(p, 4, &i);

    return rc == CN_OK ? memo_get(p, i) : rc;
}

/* By their bytes; the comments are their names in pickletools. */
static int (*const ops[256])(struct cn_pickle *p) = {
    [0x80] = op_proto,        /* PROTO */
    [0x95] = op_frame,        /* FRAME */
    ['('] = op_mark,          /* MARK */
    ['0'] = op_pop,           /* POP */
    ['1'] = op_pop_mark,      /* POP_MARK */
    ['2'] = op_dup,           /* DUP */
    ['N'] = op_none,          /* NONE */
    [0x88] = op_true,         /* NEWTRUE */
    [0x89] = op_false,        /* NEWFALSE */
    ['K'] = op_int1,          /* BININT1 */
    ['M'] = op_int2,          /* BININT2 */
    ['J'] = op_int4,          /* BININT */
    [0x8a] = op_long1,        /* LONG1 */
    [0x8b] = op_long4,        /* LONG4 */
    ['G'] = op_real,          /* BINFLOAT */
    [0x8c] = op_text1,        /* SHORT_BINUNICODE */
    ['X'] = op_text4,         /* BINUNICODE */
    [0x8d] = op_text8,        /* BINUNICODE8 */
    ['U'] = op_text1,         /* SHORT_BINSTRING */
    ['T'] = op_text4,         /* BINSTRING */
    ['C'] = op_text1,         /* SHORT_BINBYTES */
    ['B'] = op_text4,         /* BINBYTES */
    [0x8e] = op_text8,        /* BINBYTES8 */
    [0x96] = op_text8,        /* BYTEARRAY8 */
    [')'] = op_tuple0,        /* EMPTY_TUPLE */
    [0x85] = op_tuple1,       /* TUPLE1 */
    [0x86] = op_tuple2,       /* TUPLE2 */
    [0x87] = op_tuple3,       /* TUPLE3 */
    ['t'] = op_tuple,         /* TUPLE */
    [']'] = op_list0,         /* EMPTY_LIST */
    ['l'] = op_list,          /* LIST */
    ['}'] = op_dict0,         /* EMPTY_DICT */
    ['d'] = op_dict,          /* DICT */
    ['a'] = op_append,        /* APPEND */
    ['e'] = op_appends,       /* APPENDS */
    ['s'] = op_setitem,       /* SETITEM */
    ['u'] = op_setitems,      /* SETITEMS */
    [0x8f] = op_list0,        /* EMPTY_SET */
    [0x90] = op_appends,      /* ADDITEMS */
    ['c'] = op_global,        /* GLOBAL */
    [0x93] = op_stack_global, /* STACK_GLOBAL */
    ['R'] = op_reduce,        /* REDUCE */
    [0x81] = op_reduce,       /* NEWOBJ */
    ['b'] = op_build,         /* BUILD */
    ['Q'] = op_persid,        /* BINPERSID */
    ['q'] = op_put1,          /* BINPUT */
    ['r'] = op_put4,          /* LONG_BINPUT */
    [0x94] = op_memoize,      /* MEMOIZE */
    ['h'] = op_get1,          /* BINGET */
    ['j'] = op_get4,          /* LONG_BINGET */
};

int cn_pickle_run(struct cn_pickle *p, uint32_t *ret)
{
    p->depth = p->marks = p->memos = 0;
    while (p->at < p->end && *p->at != '.') {
        int (*op)(struct cn_pickle *) = ops[*p->at++];
        int rc = (op != NULL ? op : op_refuse)(p);

        if (rc < 0)
            return rc;
    }
    if (p->at == p->end)
        return cn_pickle_bad(p, "ends too early");
    p->at++;
    if (p->depth != 1 || p->marks != 0)
        return cn_pickle_bad(p, "ends with %zu values instead of one", p->depth);
    return pop(p, ret);
}
