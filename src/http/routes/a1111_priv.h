/* Shared by the files of the web UI's dialect. Loop thread only. */
#ifndef CN_HTTP_ROUTES_A1111_PRIV_H
#define CN_HTTP_ROUTES_A1111_PRIV_H

#include "api/a1111.h"
#include "http/routes/submit_priv.h"

enum { CN_A1111_TENANTS = 256, CN_A1111_ENDED = 16 };

/* What the dialect keeps, in memory and of bounded size: the settings of tenants (of whom the least
 * recent are forgotten), the requests that wait for pictures, and names of tasks that ended. */
struct cn_a1111 {
    struct {
        char tenant[CN_IDENTITY_NAME];
        struct cn_a1111_settings settings;
        uint64_t used;
    } tenant[CN_A1111_TENANTS];
    uint64_t uses;
    struct cn_submit_ctx *oldest, *newest;
    char ended[CN_A1111_ENDED][CN_IDENTITY_NAME + 64]; /* "TENANT\tTASK" */
    int next_ended;
};

struct cn_a1111 *cn_a1111_of(const struct cn_request *q);

/* A question that is yes or no: 0, also when it was not asked, or 1; -1: neither, and that is
 * answered. */
int cn_a1111_flag(struct cn_request *q, const char *name);

/* Of who asks. */
const struct cn_a1111_settings *cn_a1111_settings_of(const struct cn_request *q);
void cn_a1111_settings_set(const struct cn_request *q, const struct cn_a1111_settings *s);

#endif
