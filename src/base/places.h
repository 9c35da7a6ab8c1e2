/* Where an installed system has its things. The paths are those of the prefix that it was
 * configured with; what systemd or the user's environment say goes before them. */
#ifndef CN_BASE_PLACES_H
#define CN_BASE_PLACES_H

#include <stdbool.h>

/* Where an installed daemon keeps its jobs, and its operator's models are. */
#define CN_STATE_DIR CN_LOCALSTATEDIR "/lib/controlnetd"

/* The folder for the state of this process: systemd's ($STATE_DIRECTORY; of several the first),
 * else CN_STATE_DIR, else, for a user who may not write there, $XDG_STATE_HOME/controlnetd or
 * ~/.local/state/controlnetd. It need not exist. The caller frees it. */
char *cn_state_dir_take(void);

/* true: systemd has made it, and it must work. */
bool cn_state_dir_is_systemds(void);

/* The folders of models, separated by colons, the package's first: those of the installed daemon,
 * and of the state folder. None of them need exist. The caller frees it. */
char *cn_models_dirs_take(void);

#endif
