/* text: the prompt grammar of AUTOMATIC1111's web UI. Its published examples, 330 texts with what
 * the rules make of them, and texts that are as long and as nested as can be. */
#include "base/base.h"
#include "base/mem.h"
#include "text/prompt.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { STEPS = 10, MAX_PARTS = 32, MAX_CHUNKS = 32 };

static struct cn_tokenizer *clip;

static int open_clip(void **state)
{
    const char *src = getenv("srcdir");
    char *data = cn_xprintf("%s/data", src ? src : ".");

    (void)state;
    setenv("CONTROLNETD_DATADIR", data, 1);
    free(data);
    return cn_tokenizer_builtin(&clip, NULL) < 0;
}

static int close_clip(void **state)
{
    (void)state;
    cn_tokenizer_close(clip);
    return 0;
}

/* ---- examples ---- */

struct piece {
    const char *text;
    double weight;
};

static void emphasis_is(const char *text, const struct piece *want, size_t n)
{
    struct cn_prompt_pieces p;
    struct cn_err err = CN_ERR_INIT;

    if (cn_prompt_emphasis(text, &p, &err) < 0)
        fail_msg("\"%s\": %s", text, err.msg);
    if (p.n != n)
        fail_msg("\"%s\": %zu pieces instead of %zu", text, p.n, n);
    for (size_t i = 0; i < n; i++)
        if (p.piece[i].len != strlen(want[i].text) ||
            memcmp(p.text + p.piece[i].from, want[i].text, p.piece[i].len) != 0 ||
            p.piece[i].weight != want[i].weight)
            fail_msg("\"%s\": piece %zu is \"%.*s\" %.17g", text, i, (int)p.piece[i].len,
                     p.text + p.piece[i].from, p.piece[i].weight);
    cn_prompt_pieces_release(&p);
}

#define EMPHASIS(text, ...)                                                                        \
    do {                                                                                           \
        static const struct piece want[] = {__VA_ARGS__};                                          \
        emphasis_is(text, want, CN_LEN(want));                                                     \
    } while (0)

static void brackets_change_weights(void **state)
{
    (void)state;
    EMPHASIS("an (important) word", {"an ", 1}, {"important", 1.1}, {" word", 1});
    EMPHASIS("(unbalanced", {"unbalanced", 1.1});
    EMPHASIS("\\(literal\\]", {"(literal]", 1});
    EMPHASIS("(unnecessary)(parens)", {"unnecessaryparens", 1.1});
    EMPHASIS("a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).", {"a ", 1},
             {"house", 1.5730000000000004}, {" ", 1.1}, {"on", 1}, {" a ", 1.1}, {"hill", 0.55},
             {", sun, ", 1.1}, {"sky", 1.4641000000000006}, {".", 1.1});
    EMPHASIS("a BREAK b", {"a", 1}, {"BREAK", -1}, {"b", 1});
    EMPHASIS("a:1.2)", {"a:1.2)", 1});
    EMPHASIS("[x", {"x", 1 / 1.1});
    EMPHASIS("", {"", 1});
    EMPHASIS("(a: -.5 )", {"a", -.5});
    EMPHASIS("(a BREAK b:1.2)", {"a", 1.2}, {"BREAK", -1.2}, {"b", 1.2});
    EMPHASIS("BREAKS xBREAK BREAK_", {"BREAKS xBREAK BREAK_", 1});
    EMPHASIS("a\\b", {"ab", 1});
}

static void parts_are(const char *text, const struct piece *want, int n)
{
    struct cn_prompt_part part[MAX_PARTS];
    int got;

    assert_int_equal(cn_prompt_parts(text, part, MAX_PARTS, &got, NULL), CN_OK);
    assert_int_equal(got, n);
    for (int i = 0; i < n; i++)
        if (part[i].len != strlen(want[i].text) || part[i].weight != want[i].weight ||
            memcmp(text + part[i].from, want[i].text, part[i].len) != 0)
            fail_msg("\"%s\": part %d is \"%.*s\" %.17g", text, i, (int)part[i].len,
                     text + part[i].from, part[i].weight);
}

#define PARTS(text, ...)                                                                           \
    do {                                                                                           \
        static const struct piece want[] = {__VA_ARGS__};                                          \
        parts_are(text, want, CN_LEN(want));                                                       \
    } while (0)

static void and_makes_parts(void **state)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_prompt_part part[2];
    int n;

    (void)state;
    PARTS("a cat", {"a cat", 1});
    PARTS("a cat AND a dog", {"a cat", 1}, {" a dog", 1});
    PARTS("a cat :1.2 AND a dog: .5 \nAND c:-2.", {"a cat", 1.2}, {" a dog", .5}, {" c", -2});
    PARTS("ANDY and (a:1.2) AND", {"ANDY and (a:1.2)", 1}, {"", 1});
    PARTS("a:1.2.3", {"a:1.2.3", 1});
    PARTS("a:5:6", {"a:5", 6});
    assert_int_equal(cn_prompt_parts("a AND b AND c", part, 2, &n, &err), CN_ETOOBIG);
    assert_non_null(strstr(err.msg, "more than 2 parts"));
}

struct stretch {
    int until;
    const char *text;
};

static void schedule_is(const char *text, const struct stretch *want, size_t n)
{
    struct cn_prompt_schedule *s;
    struct cn_buf b;
    int step = 1;

    assert_int_equal(cn_prompt_schedule_new(text, strlen(text), STEPS, 0, &s, NULL), CN_OK);
    cn_buf_init(&b, strlen(text));
    for (size_t i = 0; i < n; i++) {
        int until = cn_prompt_schedule_until(s, step);

        if (until != want[i].until)
            fail_msg("\"%s\": until %d, not %d", text, until, want[i].until);
        for (; step <= until; step++) {
            cn_buf_clear(&b);
            assert_int_equal(cn_prompt_schedule_text(s, step, &b, NULL), CN_OK);
            if (b.len != strlen(want[i].text) || memcmp(b.data, want[i].text, b.len) != 0)
                fail_msg("\"%s\": step %d is \"%.*s\"", text, step, (int)b.len, (char *)b.data);
        }
    }
    assert_int_equal(step, STEPS + 1);
    cn_buf_release(&b);
    cn_prompt_schedule_free(s);
}

#define SCHEDULE(text, ...)                                                                        \
    do {                                                                                           \
        static const struct stretch want[] = {__VA_ARGS__};                                        \
        schedule_is(text, want, CN_LEN(want));                                                     \
    } while (0)

static void editing_changes_the_text(void **state)
{
    (void)state;
    SCHEDULE("a [b:3]", {3, "a "}, {10, "a b"});
    SCHEDULE("a [b : c : 1] d", {1, "a b  d"}, {10, "a  c  d"});
    SCHEDULE("a[b:[c:d:2]:1]e", {1, "abe"}, {2, "ace"}, {10, "ade"});
    SCHEDULE("a [b:.5] c", {5, "a  c"}, {10, "a b c"});
    SCHEDULE("[(a:2):3]", {3, ""}, {10, "(a:2)"});
    SCHEDULE("((a][:b:c [d:3]", {3, "((a][:b:c "}, {10, "((a][:b:c d"});
    SCHEDULE("a [unbalanced", {10, "a [unbalanced"});
    SCHEDULE("[fe|]male", {1, "female"}, {2, "male"}, {3, "female"}, {4, "male"}, {5, "female"},
             {6, "male"}, {7, "female"}, {8, "male"}, {9, "female"}, {10, "male"});
    SCHEDULE("[a::1e0] [b]", {1, "a [b]"}, {10, " [b]"});
    SCHEDULE("[a:[b:2]:c:3]", {2, "[a::c:3]"}, {10, "[a:b:c:3]"});
    SCHEDULE("a | [b:3]", {10, "a | [b:3]"});
    SCHEDULE("[a\\]:b:3]", {3, "a\\]"}, {10, "b"});
    SCHEDULE("[b:3] \\", {10, "[b:3] \\"});
    SCHEDULE("[x:y:-1][x:y:99]", {10, "yx"});
    SCHEDULE("[a:b:0x3]", {10, "[a:b:0x3]"});
}

/* ---- 330 texts and a reading of the rules in Python ---- */

static bool same_text(json_t *want, const char *text, size_t len)
{
    return json_string_length(want) == len && memcmp(json_string_value(want), text, len) == 0;
}

static void check_chunks(json_t *row, const struct cn_prompt_pieces *p)
{
    json_t *ids = json_object_get(row, "ids"), *runs = json_object_get(row, "weights"), *run;
    struct cn_prompt_chunks c;
    size_t k, at = 0;

    if (ids == NULL)
        return;
    assert_int_equal(cn_prompt_chunks(clip, NULL, p, CN_CLIP_LENGTH, MAX_CHUNKS, &c, NULL), CN_OK);
    assert_int_equal(c.n, json_array_size(ids));
    for (int i = 0; i < c.n * CN_CLIP_LENGTH; i++) {
        size_t place = (size_t)(i % CN_CLIP_LENGTH);
        json_t *chunk = json_array_get(ids, (size_t)(i / CN_CLIP_LENGTH));
        json_t *id = place > 0 ? json_array_get(chunk, place - 1) : NULL;

        assert_int_equal(c.id[i], id           ? json_integer_value(id)
                                  : place == 0 ? 49406
                                               : 49407);
    }
    json_array_foreach(runs, k, run)
    {
        json_int_t n = json_integer_value(json_array_get(run, 0));

        for (; n > 0; n--, at++)
            assert_true(c.weight[at] == (float)json_number_value(json_array_get(run, 1)));
    }
    assert_int_equal(at, c.n * CN_CLIP_LENGTH);
    cn_prompt_chunks_release(&c);
}

static void check_pieces(json_t *row, const char *text)
{
    json_t *want = json_object_get(row, "pieces");
    struct cn_prompt_pieces p;

    if (want == NULL) { /* a weight that is no number */
        assert_int_equal(cn_prompt_emphasis(text, &p, NULL), CN_EINVAL);
        return;
    }
    assert_int_equal(cn_prompt_emphasis(text, &p, NULL), CN_OK);
    assert_int_equal(p.n, json_array_size(want));
    for (size_t i = 0; i < p.n; i++) {
        json_t *piece = json_array_get(want, i);

        assert_true(
            same_text(json_array_get(piece, 0), p.text + p.piece[i].from, p.piece[i].len));
        assert_true(json_number_value(json_array_get(piece, 1)) == p.piece[i].weight);
    }
    check_chunks(row, &p);
    cn_prompt_pieces_release(&p);
}

static void check_parts(json_t *row, const char *text)
{
    json_t *want = json_object_get(row, "parts"), *piece;
    struct cn_prompt_part part[MAX_PARTS];
    size_t k;
    int n;

    assert_int_equal(cn_prompt_parts(text, part, MAX_PARTS, &n, NULL), CN_OK);
    assert_int_equal(n, json_array_size(want));
    json_array_foreach(want, k, piece)
    {
        assert_true(same_text(json_array_get(piece, 0), text + part[k].from, part[k].len));
        assert_true(json_number_value(json_array_get(piece, 1)) == part[k].weight);
    }
}

static void check_steps(json_t *row, const char *text)
{
    json_t *want = json_object_get(row, "steps"), *item;
    struct stretch list[STEPS];
    size_t k;

    json_array_foreach(want, k, item) list[k] =
        (struct stretch){(int)json_integer_value(json_array_get(item, 0)),
                         json_string_value(json_array_get(item, 1))};
    schedule_is(text, list, k);
}

static void golden_texts_are_read_by_the_rules(void **state)
{
    const char *src = getenv("srcdir");
    char *path = cn_xprintf("%s/tests/data/golden/prompts.json", src ? src : ".");
    json_t *root = json_load_file(path, 0, NULL), *row;
    size_t i;

    (void)state;
    free(path);
    assert_non_null(root);
    json_array_foreach(json_object_get(root, "cases"), i, row)
    {
        const char *text = json_string_value(json_object_get(row, "text"));

        check_pieces(row, text);
        check_parts(row, text);
        check_steps(row, text);
    }
    assert_int_equal(i, 330);
    json_decref(root);
}

/* ---- limits ---- */

static int chunks_of(const char *text, int max, struct cn_prompt_chunks *ret, struct cn_err *err)
{
    struct cn_prompt_pieces p;
    int rc;

    assert_int_equal(cn_prompt_emphasis(text, &p, NULL), CN_OK);
    rc = cn_prompt_chunks(clip, NULL, &p, CN_CLIP_LENGTH, max, ret, err);
    cn_prompt_pieces_release(&p);
    return rc;
}

static void chunks_have_a_limit(void **state)
{
    struct cn_prompt_chunks c;
    struct cn_err err = CN_ERR_INIT;

    (void)state;
    assert_int_equal(chunks_of("a BREAK b BREAK", 3, &c, NULL), CN_OK);
    assert_int_equal(c.n, 2);
    cn_prompt_chunks_add_empty(clip, &c);
    assert_int_equal(c.n, 3);
    assert_int_equal(c.id[2 * CN_CLIP_LENGTH], 49406);
    assert_int_equal(c.id[3 * CN_CLIP_LENGTH - 1], 49407);
    cn_prompt_chunks_release(&c);
    assert_int_equal(chunks_of("BREAK BREAK BREAK", 2, &c, &err), CN_ETOOBIG);
    assert_non_null(strstr(err.msg, "more than 2 chunks of 75 tokens"));
    err = (struct cn_err)CN_ERR_INIT;
    assert_int_equal(chunks_of("(a:9999999999999999999999999999999999999999)", 2, &c, &err),
                     CN_EINVAL);
    assert_non_null(strstr(err.msg, "too large"));
}

/* After a pass of 20 steps: what was meant for it is over, fractions go on from 1. */
static void a_second_pass_goes_on(void **state)
{
    static const struct {
        const char *text, *first, *last;
        int until;
    } is[] = {{"[a:b:0.5]", "b", "b", 10}, {"[a:b:1.5]", "a", "b", 5}, {"[a:b:1.0]", "b", "b", 10},
              {"[a:b:2.0]", "a", "a", 10}, {"[a:b:15]", "b", "b", 10}, {"[a:b:23]", "a", "b", 3},
              {"[a:b:20]", "b", "b", 10},  {"[a::21]", "a", "", 1}};

    (void)state;
    for (size_t i = 0; i < CN_LEN(is); i++) {
        struct cn_prompt_schedule *s;
        struct cn_buf text;

        assert_int_equal(cn_prompt_schedule_new(is[i].text, strlen(is[i].text), 10, 20, &s, NULL),
                         CN_OK);
        assert_int_equal(cn_prompt_schedule_until(s, 1), is[i].until);
        for (int step = 1; step <= 10; step += 9) {
            cn_buf_init(&text, 16);
            assert_int_equal(cn_prompt_schedule_text(s, step, &text, NULL), CN_OK);
            assert_int_equal(cn_buf_add(&text, "", 1, NULL), CN_OK);
            assert_string_equal((const char *)text.data, step == 1 ? is[i].first : is[i].last);
            cn_buf_release(&text);
        }
        cn_prompt_schedule_free(s);
    }
}

static int chunks_with(const struct cn_triggers *triggers, const char *text,
                       struct cn_prompt_chunks *ret)
{
    struct cn_prompt_pieces p;
    int rc;

    assert_int_equal(cn_prompt_emphasis(text, &p, NULL), CN_OK);
    rc = cn_prompt_chunks(clip, triggers, &p, CN_CLIP_LENGTH, MAX_CHUNKS, ret, NULL);
    cn_prompt_pieces_release(&p);
    return rc;
}

static void add_trigger(struct cn_triggers *t, const char *name, const char *token, int32_t first,
                        int n)
{
    int32_t id[16];
    int n_ids;

    assert_int_equal(cn_tokenize(clip, name, id, 16, &n_ids, NULL), CN_OK);
    cn_triggers_add(t, name, id, n_ids, token, first, n);
}

static void triggers_become_vectors(void **state)
{
    struct cn_triggers *x = cn_triggers_new();
    struct cn_encoded how;
    struct cn_prompt_chunks c;
    int32_t ids[CN_CLIP_LENGTH], cat[8];
    char text[512] = "";
    int n;

    (void)state;
    add_trigger(x, "Easy Cat", "<cat>", 0, 2);
    add_trigger(x, "easy cat toy", "<cat-toy>", 2, 75);
    add_trigger(x, "other", "other", 77, 0);
    add_trigger(x, "", "", 77, 1); /* stands nowhere */
    assert_int_equal(cn_tokenize(clip, "a cat", cat, 8, &n, NULL), CN_OK);
    /* In any case, with the weight of its brackets. */
    assert_int_equal(chunks_with(x, "a (EASY  cat:1.5) cat", &c), CN_OK);
    assert_int_equal(c.id[1], cat[0]);
    assert_int_equal(c.id[2], CN_FIRST_VECTOR);
    assert_int_equal(c.id[3], CN_FIRST_VECTOR + 1);
    assert_int_equal(c.id[4], cat[1]);
    assert_true(c.weight[1] == 1 && c.weight[2] == 1.5f && c.weight[3] == 1.5f && c.weight[4] == 1);
    assert_null(c.misfit);
    cn_prompt_chunks_release(&c);
    /* The longest name counts; what does not fit into a chunk begins the next one. */
    assert_int_equal(chunks_with(x, "a easy cat toy a", &c), CN_OK);
    assert_int_equal(c.n, 3);
    assert_int_equal(c.id[2], 49407);
    assert_int_equal(c.id[CN_CLIP_LENGTH + 1], CN_FIRST_VECTOR + 2);
    assert_int_equal(c.id[CN_CLIP_LENGTH + 75], CN_FIRST_VECTOR + 76);
    assert_int_equal(c.id[2 * CN_CLIP_LENGTH + 1], cat[0]);
    cn_prompt_chunks_release(&c);
    /* Not across pieces; one without vectors stays text, and is told. */
    assert_int_equal(chunks_with(x, "easy (cat) other", &c), CN_OK);
    for (int i = 0; i < CN_CLIP_LENGTH; i++)
        assert_true(c.id[i] < CN_FIRST_VECTOR);
    assert_string_equal(c.misfit, "other");
    cn_prompt_chunks_release(&c);
    /* Plain: the very characters, also inside of words; cut like everything else. */
    assert_int_equal(
        cn_tokenizer_encode(clip, x, "a <cat>cat easy cat", ids, CN_CLIP_LENGTH, &how, NULL),
        CN_OK);
    assert_int_equal(ids[2], CN_FIRST_VECTOR);
    assert_int_equal(ids[3], CN_FIRST_VECTOR + 1);
    assert_int_equal(ids[4], cat[1]);
    assert_true(ids[5] < CN_FIRST_VECTOR && how.misfit == NULL && !how.truncated);
    strcpy(text, "a <cat-toy> other");
    assert_int_equal(cn_tokenizer_encode(clip, x, text, ids, CN_CLIP_LENGTH, &how, NULL), CN_OK);
    assert_int_equal(ids[75], CN_FIRST_VECTOR + 75);
    assert_true(how.truncated);
    assert_string_equal(how.misfit, "other");
    cn_triggers_free(x);
}

static void bad_texts_are_refused(void **state)
{
    static const char *const numbers[] = {"(a:1.2.3)", "(a:.)", "(a:+)", "(a:..5)"};
    struct cn_prompt_pieces p;
    struct cn_prompt_schedule *s;
    struct cn_prompt_part part;
    char deep[CN_PROMPT_DEPTH + 2];
    int n;

    (void)state;
    for (size_t i = 0; i < CN_LEN(numbers); i++) {
        struct cn_err err = CN_ERR_INIT;
        bool sign = numbers[i][3] == '+'; /* a sign alone is no weight at all, but text */

        assert_int_equal(cn_prompt_emphasis(numbers[i], &p, &err), sign ? CN_OK : CN_EINVAL);
        if (sign)
            cn_prompt_pieces_release(&p);
        else
            assert_non_null(strstr(err.msg, "is not a number"));
    }
    assert_int_equal(cn_prompt_emphasis("a\xff", &p, NULL), CN_EINVAL);
    assert_int_equal(cn_prompt_plain("a\xff", &p, NULL), CN_EINVAL);
    assert_int_equal(cn_prompt_parts("a\xff", &part, 1, &n, NULL), CN_EINVAL);
    assert_int_equal(cn_prompt_schedule_new("a\xff", 2, 1, 0, &s, NULL), CN_EINVAL);
    memset(deep, '(', sizeof(deep));
    deep[CN_PROMPT_DEPTH + 1] = '\0';
    assert_int_equal(cn_prompt_emphasis(deep, &p, NULL), CN_EINVAL);
    assert_int_equal(cn_prompt_schedule_new(deep, CN_PROMPT_DEPTH + 1, 1, 0, &s, NULL), CN_EINVAL);
    deep[CN_PROMPT_DEPTH] = '\0';
    assert_int_equal(cn_prompt_emphasis(deep, &p, NULL), CN_OK);
    cn_prompt_pieces_release(&p);
    assert_int_equal(cn_prompt_schedule_new(deep, CN_PROMPT_DEPTH, 1, 0, &s, NULL), CN_OK);
    cn_prompt_schedule_free(s);
}

/* Fills a text of the largest size with a pattern, and lets everything read it. */
static void read_everything(const char *pattern)
{
    char *text = cn_xcalloc(CN_MAX_TOKENIZE + 1, 1);
    struct cn_prompt_pieces p;
    struct cn_prompt_chunks c;
    struct cn_prompt_schedule *s;
    struct cn_prompt_part part[2];
    struct cn_buf b;
    int n;

    for (size_t i = 0, len = strlen(pattern); i < CN_MAX_TOKENIZE; i++)
        text[i] = pattern[i % len];
    cn_buf_init(&b, CN_MAX_TOKENIZE);
    cn_prompt_parts(text, part, 2, &n, NULL);
    if (cn_prompt_schedule_new(text, CN_MAX_TOKENIZE, 4, 0, &s, NULL) == CN_OK) {
        assert_int_equal(cn_prompt_schedule_text(s, 4, &b, NULL), CN_OK);
        cn_prompt_schedule_free(s);
    }
    if (cn_prompt_emphasis(text, &p, NULL) == CN_OK) {
        if (cn_prompt_chunks(clip, NULL, &p, CN_CLIP_LENGTH, 4, &c, NULL) == CN_OK)
            cn_prompt_chunks_release(&c);
        cn_prompt_pieces_release(&p);
    }
    cn_buf_release(&b);
    free(text);
}

/* None of these is slow or large: nothing is quadratic. */
static void hostile_texts_are_read(void **state)
{
    static const char *const patterns[] = {
        "(a)",     "(",       ")",          "[a|b]",   "[a:b:1]", ":",          "|",  "\\",
        "BREAK ",  "AND ",    "BREAK",      "   ",     "(a:1.1)", ": 1",        "[]", "[a|",
        "(a[b)c]", ":1.2)",   "[:[:1]:1]",  "a:1 AND", "[a:",     "(((((a)))))"};

    (void)state;
    for (size_t i = 0; i < CN_LEN(patterns); i++)
        read_everything(patterns[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(brackets_change_weights),
        cmocka_unit_test(and_makes_parts),
        cmocka_unit_test(editing_changes_the_text),
        cmocka_unit_test(golden_texts_are_read_by_the_rules),
        cmocka_unit_test(a_second_pass_goes_on),
        cmocka_unit_test(triggers_become_vectors),
        cmocka_unit_test(chunks_have_a_limit),
        cmocka_unit_test(bad_texts_are_refused),
        cmocka_unit_test(hostile_texts_are_read),
    };

    return cmocka_run_group_tests(tests, open_clip, close_clip);
}
