/* "controlnetd keys add|list|revoke": the file of API keys, edited by a program, so that it holds
 * digests only. A running daemon notices the change within a second.
 *
 *     if (argc > 1 && strcmp(argv[1], "keys") == 0)
 *         return cn_keys_cli(argc - 1, argv + 1);
 */
#ifndef CN_KEYS_CLI_H
#define CN_KEYS_CLI_H

#include "base/base.h"

/* argv[0] is "keys". The exit status: 0, 1 (it failed), 2 (wrong options). */
int cn_keys_cli(int argc, char **argv);

#endif
