/* Inputs of rows: what may share a batch, and what stands in it. */
#include "base/base.h"
#include "engine/row_inputs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { WIDTH = 3, CALLS = 4 };

/* An owner with every kind of input. */
struct owner {
    uint64_t serial;
    struct cn_row_inputs inputs;
    struct cn_buffer *text, *hint;
    float times[2 * CALLS * WIDTH];
};

static struct cn_backend *backend;
static struct cn_buffer *adapters; /* [5, WIDTH], of all owners */

static struct cn_buffer *buffer_of(int64_t rows, int64_t width, const float *values)
{
    struct cn_value v = {.dtype = CN_F32, .shape = cn_shape2(rows, width)};
    struct cn_buffer *b;

    assert_int_equal(cn_buffer_new(backend, &v, CN_DTYPE_COUNT, 0, &b, NULL), CN_OK);
    if (values != NULL)
        cn_buffer_write(b, values);
    return b;
}

/* Values are owner * 1000 + row * 100 + column, times + call * 10 and + 0.5, so that each shows
 * where it is from. */
static struct owner *owner_new(uint64_t serial)
{
    struct owner *o = calloc(1, sizeof(*o));
    float text[2 * WIDTH], hint[WIDTH], base = (float)serial * 1000;
    struct cn_row_input *in;

    o->serial = serial;
    o->inputs.calls = CALLS;
    for (int i = 0; i < 2 * WIDTH; i++)
        text[i] = base + (float)(i / WIDTH * 100 + i % WIDTH);
    for (int i = 0; i < WIDTH; i++)
        hint[i] = -base - (float)i;
    for (int i = 0; i < 2 * CALLS * WIDTH; i++)
        o->times[i] =
            base + (float)(i / (CALLS * WIDTH) * 100 + i / WIDTH % CALLS * 10 + i % WIDTH) + 0.5f;
    o->text = buffer_of(2, WIDTH, text);
    o->hint = buffer_of(1, WIDTH, hint);
    in = cn_row_inputs_add(&o->inputs, CN_ROW_FIXED, "text", cn_shape2(1, WIDTH), 0);
    in->entries = 2;
    in->buffer = o->text;
    cn_row_inputs_add(&o->inputs, CN_ROW_FIXED, "hint", cn_shape2(1, WIDTH), 0)->buffer = o->hint;
    in = cn_row_inputs_add(&o->inputs, CN_ROW_BY_CALL, "time", cn_shape2(1, WIDTH), 0);
    in->entries = 2;
    in->values = o->times;
    in = cn_row_inputs_add(&o->inputs, CN_ROW_SHARED, "adapter", cn_shape2(5, WIDTH), 0);
    in->buffer = adapters;
    in->index[0] = (int32_t)serial % 5;
    in->index[1] = (int32_t)(serial + 1) % 5;
    return o;
}

static void owner_free(struct owner *o)
{
    cn_buffer_free(o->text);
    cn_buffer_free(o->hint);
    cn_row_inputs_clear(&o->inputs);
    free(o);
}

static struct cn_batch_row row_of(const struct owner *o, int row, int call)
{
    return (struct cn_batch_row){o->serial, row, row, call, &o->inputs, -1};
}

static void fill(struct cn_row_batch *b, struct cn_batch_row *row, int n)
{
    float *work = calloc(cn_row_batch_work(b) + 1, sizeof(*work));

    cn_row_batch_assign(b, row, n);
    assert_int_equal(cn_row_batch_fill(b, row, n, work, NULL), CN_OK);
    free(work);
}

static void expect_row(const struct cn_row_batch *b, const struct cn_batch_row *r)
{
    float got[CN_MAX_ROWS * WIDTH], base = (float)r->owner * 1000;
    int32_t index[CN_MAX_ROWS];
    size_t hint = 0;

    cn_buffer_read(cn_row_batch_find(b, "text", &hint), got);
    for (int i = 0; i < WIDTH; i++)
        assert_true(got[r->at * WIDTH + i] == base + (float)(r->row * 100 + i));
    cn_buffer_read(cn_row_batch_find(b, "hint", &hint), got);
    for (int i = 0; i < WIDTH; i++)
        assert_true(got[r->at * WIDTH + i] == -base - (float)i);
    cn_buffer_read(cn_row_batch_find(b, "time", &hint), got);
    for (int i = 0; i < WIDTH; i++)
        assert_true(got[r->at * WIDTH + i] ==
                    base + (float)(r->row * 100 + r->call * 10 + i) + 0.5f);
    assert_ptr_equal(cn_row_batch_find(b, "adapter", &hint), adapters);
    cn_buffer_read(cn_row_batch_find(b, "adapter.index", &hint), index);
    assert_int_equal(index[r->at], (r->owner + (uint64_t)r->row) % 5);
}

static void every_row_has_its_own_inputs(void **state)
{
    struct owner *a = owner_new(1), *c = owner_new(2);
    struct cn_batch_row row[4] = {row_of(a, 0, 0), row_of(a, 1, 0), row_of(c, 0, 3),
                                  row_of(c, 1, 3)};
    struct cn_row_batch b;
    size_t hint = 0;

    (void)state;
    assert_int_equal(cn_row_batch_init(&b, backend, &a->inputs, 4, NULL), CN_OK);
    fill(&b, row, 4);
    for (int i = 0; i < 4; i++)
        expect_row(&b, &row[i]);
    assert_null(cn_row_batch_find(&b, "tex", &hint));
    assert_null(cn_row_batch_find(&b, "text.index", &hint));
    cn_row_batch_release(&b);
    owner_free(a);
    owner_free(c);
}

/* The second row stays in its place without being copied, wherever it is asked for; who comes takes
 * what is left. */
static void rows_that_stay_are_not_copied_again(void **state)
{
    struct owner *a = owner_new(1), *c = owner_new(2);
    struct cn_batch_row first[2] = {row_of(a, 0, 0), row_of(a, 1, 0)};
    struct cn_batch_row second[2] = {row_of(c, 0, 1), row_of(a, 1, 1)};
    const float poison[2 * WIDTH] = {0};
    struct cn_row_batch b;

    (void)state;
    assert_int_equal(cn_row_batch_init(&b, backend, &a->inputs, 2, NULL), CN_OK);
    fill(&b, first, 2);
    cn_buffer_write(a->text, poison); /* would show if it were read again */
    fill(&b, second, 2);
    assert_int_equal(second[1].at, first[1].at);
    expect_row(&b, &second[0]);
    expect_row(&b, &second[1]);
    cn_row_batch_release(&b);
    owner_free(a);
    owner_free(c);
}

/* A row that shows another text gets its keys, and nothing else again; of two rows of one owner
 * each stays with its text. */
static void a_row_may_show_another_entry(void **state)
{
    struct owner *a = owner_new(1);
    struct cn_batch_row first[2] = {row_of(a, 1, 0), row_of(a, 1, 2)};
    struct cn_batch_row second[2] = {row_of(a, 1, 3), row_of(a, 1, 1)};
    const float poison[WIDTH] = {0};
    struct cn_row_batch b;
    float got[2 * WIDTH];
    size_t hint = 0;

    (void)state;
    assert_int_equal(cn_row_batch_init(&b, backend, &a->inputs, 2, NULL), CN_OK);
    first[0].entry = 0;
    second[1].entry = 0; /* of the first image again, which now comes second */
    fill(&b, first, 2);
    cn_buffer_write(a->hint, poison); /* would show if it were read again */
    fill(&b, second, 2);
    assert_int_equal(second[0].at, first[1].at);
    assert_int_equal(second[1].at, first[0].at);
    second[1].entry = 1;
    fill(&b, second, 2);
    expect_row(&b, &second[0]);
    expect_row(&b, &second[1]);
    second[0].entry = 0;
    fill(&b, second, 2);
    cn_buffer_read(cn_row_batch_find(&b, "text", &hint), got);
    assert_true(got[second[0].at * WIDTH] == 1000);
    assert_true(got[second[1].at * WIDTH] == 1100);
    cn_row_batch_release(&b);
    owner_free(a);
}

/* What may share a batch goes by names, kinds, shapes, and the buffers that are shared. */
static void lists_that_differ_do_not_match(void **state)
{
    struct owner *a = owner_new(1), *c = owner_new(2);
    struct cn_buffer *other = buffer_of(5, WIDTH, NULL);
    struct cn_row_inputs kind;

    (void)state;
    cn_row_inputs_copy_kind(&kind, &a->inputs);
    assert_true(cn_row_inputs_match(&kind, &c->inputs));
    c->inputs.input[0].shape.dim[1]++; /* a longer prompt */
    assert_false(cn_row_inputs_match(&kind, &c->inputs));
    c->inputs.input[0].shape.dim[1]--;
    c->inputs.input[1].name[0] = 'H';
    assert_false(cn_row_inputs_match(&kind, &c->inputs));
    c->inputs.input[1].name[0] = 'h';
    c->inputs.input[2].kind = CN_ROW_FIXED;
    assert_false(cn_row_inputs_match(&kind, &c->inputs));
    c->inputs.input[2].kind = CN_ROW_BY_CALL;
    c->inputs.input[3].buffer = other; /* adapters of another rank, or of another model */
    assert_false(cn_row_inputs_match(&kind, &c->inputs));
    c->inputs.input[3].buffer = adapters;
    assert_true(cn_row_inputs_match(&kind, &c->inputs));
    c->inputs.n--;
    assert_false(cn_row_inputs_match(&kind, &c->inputs));
    cn_buffer_free(other);
    cn_row_inputs_clear(&kind);
    owner_free(a);
    owner_free(c);
}

static int set_up(void **state)
{
    struct cn_backend_opts opts = CN_BACKEND_DEFAULTS;

    (void)state;
    if (cn_backend_open("reference", &opts, &backend, NULL) < 0)
        return -1;
    adapters = buffer_of(5, WIDTH, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cn_buffer_free(adapters);
    cn_backend_close(backend);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_has_its_own_inputs),
        cmocka_unit_test(rows_that_stay_are_not_copied_again),
        cmocka_unit_test(a_row_may_show_another_entry),
        cmocka_unit_test(lists_that_differ_do_not_match),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
