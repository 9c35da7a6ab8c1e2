/* Starting the running program again, for what must be in the environment before it starts. */
#ifndef CN_BASE_REEXEC_H
#define CN_BASE_REEXEC_H

#include "base/base.h"

/* Unless the variable is set already, sets it and executes this program anew with the same
 * arguments. First thing in main; returns when there was nothing to do, or it could not be done. */
void cn_reexec_with(const char *name, const char *value, char **argv);

#endif
