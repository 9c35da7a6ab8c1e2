#include "base/base.h"
#include "cli/cli.h"

int cn_cli_models(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return 1;
}
