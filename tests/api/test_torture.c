/* api: every allocation of the JSON library fails once, in reading and in writing: an error comes
 * back that says so, nothing is lost (a sanitizer looks), and what is returned as good is whole. */
#include "base/base.h"
#include "api/request.h"
#include "api/result.h"
#include "base/mem.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static long allocations, fail_at; /* fail_at: number of the allocation that fails; 0: none */

static void *counting_malloc(size_t size)
{
    if (++allocations != fail_at)
        return malloc(size);
    cn_note_no_memory();
    return NULL;
}

/* Of buffers. */
static bool no_growth;
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);

void *__wrap_realloc(void *p, size_t size)
{
    return no_growth ? NULL : __real_realloc(p, size);
}

static const char request[] =
    "{\"prompt\":\"a red apple on a blue table by a window\",\"seed\":7,\"steps\":3.0,"
    "\"sampler\":\"euler\",\"init_image\":\"aW5pdA==\","
    "\"controls\":[{\"model\":\"c\",\"image\":\"ZA==\",\"weights\":[1,2,3]}]}";

static int read_request(struct cn_spec *s, struct cn_err *err)
{
    static const struct cn_limits limits = CN_LIMITS_DEFAULTS;
    struct cn_api_input in = {.json = request,
                              .json_len = strlen(request),
                              .limits = &limits,
                              .max_image = 100,
                              .max_total = 100};

    *err = (struct cn_err)CN_ERR_INIT;
    return cn_api_read_images(&in, s, err);
}

static void reading(void **state)
{
    struct cn_err err;
    struct cn_spec s;
    int rc = CN_EINTERNAL;

    (void)state;
    for (fail_at = 1; rc < 0; fail_at++) {
        allocations = 0;
        rc = read_request(&s, &err);
        if (rc < 0)
            assert_int_equal(rc, CN_ENOMEM); /* also where jansson calls it a bad token */
        else
            cn_spec_release(&s);
        assert_true(rc < 0 || allocations < fail_at);
    }
    assert_true(fail_at > 20);
    fail_at = 0;
}

/* Is not one that is too large. */
static void a_text_without_memory(void **state)
{
    struct cn_err err;
    struct cn_spec s;

    (void)state;
    no_growth = true;
    assert_int_equal(read_request(&s, &err), CN_ENOMEM);
    no_growth = false;
}

static int write_result(const struct cn_job *job, struct cn_buf *out)
{
    const struct cn_image_meta meta = {.width = 8, .height = 8};
    struct cn_result r = cn_result_of_job(job);
    int rc = cn_result_native.begin(&r, out, NULL);

    if (rc == CN_OK)
        rc = cn_result_native.image(&r, &meta, 0, 0, out, NULL);
    if (rc == CN_OK)
        rc = cn_result_native.image_end(&r, out, NULL);
    return rc == CN_OK ? cn_result_native.end(&r, out, NULL) : rc;
}

static void writing(void **state)
{
    struct cn_job *job;
    struct cn_err err;
    struct cn_spec s;
    struct cn_buf whole, b;
    int rc = CN_EINTERNAL;

    (void)state;
    fail_at = 0;
    assert_int_equal(read_request(&s, &err), CN_OK);
    job = cn_job_new(&s);
    cn_job_put_image(job,
                     &(struct cn_msg_image){.meta = {.width = 8, .height = 8, .bytes = 3},
                                            .data = (const unsigned char *)"abc"},
                     NULL);
    cn_job_move(job, CN_JOB_RUNNING);
    job->stage_ms[CN_STAGE_UNET] = 1;
    cn_job_move(job, CN_JOB_SUCCEEDED);
    cn_buf_init(&whole, 1 << 20);
    cn_buf_init(&b, 1 << 20);
    assert_int_equal(write_result(job, &whole), CN_OK);
    for (fail_at = 1; rc < 0; fail_at++) {
        allocations = 0;
        cn_buf_clear(&b);
        rc = write_result(job, &b);
        if (rc == CN_OK)
            assert_string_equal((char *)b.data, (char *)whole.data);
    }
    assert_true(fail_at > 20);
    fail_at = 0;
    cn_buf_release(&whole);
    cn_buf_release(&b);
    cn_job_unref(job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading),
        cmocka_unit_test(a_text_without_memory),
        cmocka_unit_test(writing),
    };

    json_set_alloc_funcs(counting_malloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
