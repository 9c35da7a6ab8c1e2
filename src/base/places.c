#include "base/base.h"
#include "base/places.h"
#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* NULL: systemd says nothing. */
static char *systemds_take(void)
{
    const char *dir = getenv("STATE_DIRECTORY");
    int n = dir == NULL ? 0 : (int)strcspn(dir, ":");

    return n == 0 ? NULL : cn_xprintf("%.*s", n, dir);
}

/* May this user keep jobs in the installed daemon's folder, or make it? */
static bool may_use_installed(void)
{
    return geteuid() == 0 || access(CN_STATE_DIR, W_OK | X_OK) == 0 ||
           (errno == ENOENT && access(CN_LOCALSTATEDIR "/lib", W_OK | X_OK) == 0);
}

/* NULL: this user has no home. */
static char *users_take(void)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

    if (state != NULL && state[0] == '/')
        return cn_xprintf("%s/controlnetd", state);
    return home != NULL && home[0] == '/' ? cn_xprintf("%s/.local/state/controlnetd", home) : NULL;
}

char *cn_state_dir_take(void)
{
    char *dir = systemds_take();

    if (dir == NULL && !may_use_installed())
        dir = users_take();
    return dir != NULL ? dir : cn_xstrdup(CN_STATE_DIR);
}

bool cn_state_dir_is_systemds(void)
{
    char *dir = systemds_take();

    free(dir);
    return dir != NULL;
}

char *cn_models_dirs_take(void)
{
    char *state = cn_state_dir_take(), *list;
    bool two = !cn_state_dir_is_systemds() && strcmp(state, CN_STATE_DIR) != 0;

    list = cn_xprintf(CN_DATADIR "/models:%s%s/models", two ? CN_STATE_DIR "/models:" : "", state);
    free(state);
    return list;
}
