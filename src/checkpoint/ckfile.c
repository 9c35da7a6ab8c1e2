/* Checkpoints that are one file. */
#include "base/base.h"
#include "checkpoint/checkpoint_priv.h"

int cn_ck_open_file(struct cn_checkpoint *c, struct cn_err *err)
{
    return cn_fail(err, CN_EFORMAT, "\"%s\": single files are not supported yet", c->path);
}
