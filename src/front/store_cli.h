/* controlnetd --check-store. Blocks; before the loop runs. */
#ifndef CN_STORE_CLI_H
#define CN_STORE_CLI_H

#include "base/base.h"

/* Writes what cn_store_check finds to standard output, a line each. dir "": nothing is kept.
 * CN_EFORMAT: the store is not whole, or no store; else as cn_store_check. */
int cn_store_cli_check(const char *dir, struct cn_err *err);

#endif
