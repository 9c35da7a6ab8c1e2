/* From oneDNN's status to our errors. */
#include "base/base.h"
#include "backend/cpu/onednn_priv.h"

int onednn_code(dnnl_status_t status)
{
    return status == dnnl_success         ? CN_OK
           : status == dnnl_out_of_memory ? CN_EDEVMEM
                                          : CN_EDEVICE;
}

int onednn_check(dnnl_status_t status, const char *what, struct cn_err *err)
{
    if (status == dnnl_success)
        return CN_OK;
    if (status == dnnl_out_of_memory)
        return cn_fail(err, CN_EDEVMEM, "no memory left to %s", what);
    return cn_fail(err, CN_EDEVICE, "cannot %s: oneDNN status %d", what, (int)status);
}
