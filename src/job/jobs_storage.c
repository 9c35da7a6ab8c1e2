/* How the store is, for whoever is about to give it something. */
#include "base/base.h"
#include "job/jobs_priv.h"

int cn_jobs_storage(const struct cn_jobs *js, struct cn_err *err)
{
    struct cn_store_facts f;

    if (js->store == NULL)
        return cn_fail(err, CN_ENOTFOUND, "this server keeps no jobs: %s",
                       js->why_no_store != NULL ? js->why_no_store : "store.dir is empty");
    cn_store_facts(js->store, &f);
    if (f.phase == CN_STORE_BROKEN || f.failing || f.low)
        return cn_fail(err, CN_ESTORAGE, "%s", f.trouble);
    if (js->unreadable != NULL)
        return cn_fail(err, CN_ESTORAGE, "the jobs of the last run cannot be read: %s",
                       js->unreadable);
    if (f.phase == CN_STORE_OPENING)
        return cn_fail(err, CN_EBUSY, "the job store is not open yet");
    if (!js->opened)
        return cn_fail(err, CN_EBUSY, "the jobs of the last run are being read");
    return CN_OK;
}
