/* controlnet-decoder: reads the picture files of requests, for a worker that does not want to.
 *
 * Started by a worker with a socket; everything it does is in decoding/. Alone it says what the
 * wall around it is made of on this system.
 */
#include "base/base.h"
#include "decoding/message.h"
#include "decoding/serve.h"
#include "decoding/wall.h"
#include "image/profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void usage(FILE *f)
{
    fputs("usage: controlnet-decoder --fd 3\n"
          "       controlnet-decoder --check\n"
          "Reads the picture files of requests for controlnet-worker, which starts it. --check\n"
          "says which layers of the wall around it this system offers: 0 when all, else 1.\n",
          f);
}

/* Behind the wall nothing can be written but to standard error. */
static int check(void)
{
    char text[64], line[80];
    unsigned have;
    int n;

    if (dup2(STDOUT_FILENO, STDERR_FILENO) < 0)
        return 1;
    have = cn_wall_raise(CN_WALL_ALL);
    cn_wall_describe(have, text, sizeof(text));
    n = snprintf(line, sizeof(line), "%s\n", text);
    return write(STDERR_FILENO, line, (size_t)n) == n && have == CN_WALL_ALL ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";

    cn_profile_prepare();
    if (argc == 3 && strcmp(what, "--fd") == 0 && atoi(argv[2]) == CN_DECODING_FD)
        /* Not exit(): what runs there in a sanitizer's build does not get through the wall. */
        _exit(cn_decoding_serve(CN_DECODING_FD, cn_image_decode) == CN_OK ? 0 : 1);
    if (argc == 2 && strcmp(what, "--check") == 0)
        _exit(check());
    if (argc == 2 && strcmp(what, "--help") == 0) {
        usage(stdout);
        return 0;
    }
    if (argc == 2 && strcmp(what, "--version") == 0) {
        puts("controlnet-decoder " PACKAGE_VERSION);
        return 0;
    }
    usage(stderr);
    return 2;
}
