/* Where the programs lie that this one starts. */
#include "base/base.h"
#include "base/program.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *cn_program_path(const char *name)
{
    char self[512];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *path;

    self[n < 0 ? 0 : n] = '\0';
    if (strrchr(self, '/') != NULL)
        *strrchr(self, '/') = '\0';
    path = cn_xprintf("%s/%s", self, name);
    if (access(path, X_OK) != 0) {
        free(path);
        path = cn_xprintf(CN_LIBEXECDIR "/%s", name);
    }
    return path;
}
