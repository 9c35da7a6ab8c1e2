/* Previews that could not be made: a lack of memory is over at the next one, what else went wrong
 * when the model is loaded again. The plan of the decoder that previews are fitted with fails when
 * this test says so (the linker's --wrap); pictures are decoded by another plan.
 */
#include "base/base.h"
#include "tests/engine/crowd.h"
#include "runtime/plans.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static int failures, code; /* how many more times it fails, and with which code */
static int asked;          /* how often it was asked for */

int __real_cn_plan_for_decoder(struct cn_model *base, int h, int w, int flags,
                               struct cn_plan_entry **ret, struct cn_err *err);
int __wrap_cn_plan_for_decoder(struct cn_model *base, int h, int w, int flags,
                               struct cn_plan_entry **ret, struct cn_err *err);

int __wrap_cn_plan_for_decoder(struct cn_model *base, int h, int w, int flags,
                               struct cn_plan_entry **ret, struct cn_err *err)
{
    if (flags & CN_PLAN_CONCURRENT)
        return __real_cn_plan_for_decoder(base, h, w, flags, ret, err);
    asked++;
    if (failures == 0)
        return __real_cn_plan_for_decoder(base, h, w, flags, ret, err);
    failures--;
    return cn_fail(err, (enum cn_code)code, "as the test says");
}

/* How many previews a job of so many steps gets that wants one of each step. */
static int previews_of(struct crowd *c, int steps)
{
    struct job *j = add_job(c, 1);

    j->spec.steps = steps;
    j->spec.preview_every = 1;
    begin(j);
    run_until_over(c);
    expect_ok(j);
    return j->previews;
}

static void a_lack_of_memory_is_over_at_the_next(void **state)
{
    static const int codes[] = {CN_ENOMEM, CN_EDEVMEM};

    (void)state;
    for (size_t i = 0; i < CN_LEN(codes); i++) {
        struct crowd *c = crowd_new();

        failures = 2;
        code = codes[i];
        /* One preview in half a second: a quick job asks once, a slow one oftener. */
        for (int k = 0; k < 2 && failures > 0; k++)
            previews_of(c, 4);
        assert_int_equal(failures, 0);
        assert_true(previews_of(c, 4) > 0);
        crowd_free(c);
    }
}

static void a_model_that_is_loaded_again_is_tried_again(void **state)
{
    struct crowd *c = crowd_new();

    (void)state;
    failures = 1;
    code = CN_EDEVICE;
    asked = 0;
    assert_int_equal(previews_of(c, 4), 0);
    assert_int_equal(asked, 1); /* and not in every step */
    assert_int_equal(previews_of(c, 4), 0);
    assert_int_equal(asked, 1);
    assert_int_equal(cn_engine_unload(c->e, "tiny", NULL), CN_OK);
    assert_true(previews_of(c, 4) > 0);
    assert_int_equal(asked, 2);
    crowd_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lack_of_memory_is_over_at_the_next),
        cmocka_unit_test(a_model_that_is_loaded_again_is_tried_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
