#include "base/base.h"
#include "cli/cli.h"

int cn_cli_annotate(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return 1;
}
