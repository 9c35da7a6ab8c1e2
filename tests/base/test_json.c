/* base: each allocation of jansson fails once while a text is read; what comes back is whole, or is
 * an error that says why. */
#include "base/base.h"
#include "base/json.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static long allocations, fail_at;

static void *counting_malloc(size_t size)
{
    if (++allocations != fail_at)
        return malloc(size);
    cn_note_no_memory();
    return NULL;
}

/* Tokens that grow while they are read: that is where characters were lost. */
static const char text[] =
    "{\"a token that is longer than the first piece of memory for it\": "
    "[\"\\u00e4\\u00f6\\u00fc, and sixty-four bytes more behind these three\","
    " 12345678901234567, 1.5e10]}";

static void a_text_is_whole_or_an_error(void **state)
{
    json_t *want = cn_json_load(text, strlen(text), 0, NULL), *got = NULL;
    struct cn_err err = CN_ERR_INIT;
    json_error_t why;

    (void)state;
    assert_non_null(want);
    json_set_alloc_funcs(counting_malloc, free);
    for (fail_at = 1; got == NULL; fail_at++) {
        allocations = 0;
        got = cn_json_load(text, strlen(text), 0, &why);
        if (got == NULL)
            assert_int_equal(cn_json_fail(&why, "x", NULL), CN_ENOMEM);
        assert_true(got == NULL || allocations < fail_at);
    }
    fail_at = 0;
    assert_true(json_equal(got, want));
    json_decref(got);
    json_decref(want);
    assert_null(cn_json_load("{\n]", 3, 0, &why));
    assert_int_equal(cn_json_fail(&why, "file", &err), CN_EFORMAT);
    assert_non_null(strstr(err.msg, "\"file\": line 2: "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_is_whole_or_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
