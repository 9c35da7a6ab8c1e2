/* places: which folder a process gets for its state, and where models are looked for. */
#include "base/base.h"
#include "base/mem.h"
#include "base/places.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static void is(const char *want, char *got_take)
{
    assert_string_equal(want, got_take);
    free(got_take);
}

static void what_systemd_says_goes_first(void **state)
{
    (void)state;
    setenv("STATE_DIRECTORY", "/run/one:/run/two", 1);
    assert_true(cn_state_dir_is_systemds());
    is("/run/one", cn_state_dir_take());
    is(CN_DATADIR "/models:/run/one/models", cn_models_dirs_take());
    setenv("STATE_DIRECTORY", "", 1);
    assert_false(cn_state_dir_is_systemds());
    unsetenv("STATE_DIRECTORY");
    assert_false(cn_state_dir_is_systemds());
}

/* Everything that a user without rights sees, in a process of his: 0 when all is right. */
static int as_nobody(void)
{
    char *dir, *models;
    int wrong = 0;

    if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
        return 100;
    setenv("HOME", "/home/anna", 1);
    unsetenv("XDG_STATE_HOME");
    dir = cn_state_dir_take();
    models = cn_models_dirs_take();
    wrong += strcmp(dir, "/home/anna/.local/state/controlnetd") != 0;
    wrong += strcmp(models, CN_DATADIR "/models:" CN_STATE_DIR "/models:"
                                       "/home/anna/.local/state/controlnetd/models") != 0;
    free(dir);
    free(models);
    setenv("XDG_STATE_HOME", "/home/anna/state", 1);
    dir = cn_state_dir_take();
    wrong += strcmp(dir, "/home/anna/state/controlnetd") != 0;
    free(dir);
    setenv("XDG_STATE_HOME", "not/absolute", 1);
    unsetenv("HOME");
    dir = cn_state_dir_take();
    wrong += strcmp(dir, CN_STATE_DIR) != 0;
    free(dir);
    return wrong;
}

static void a_user_without_rights_has_a_folder_of_his_own(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    if (geteuid() != 0 && access(CN_STATE_DIR, W_OK) == 0)
        skip();
    pid = fork();
    assert_int_not_equal(pid, -1);
    if (pid == 0)
        _exit(as_nobody());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void the_administrator_uses_the_installed_one(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    is(CN_STATE_DIR, cn_state_dir_take());
    is(CN_DATADIR "/models:" CN_STATE_DIR "/models", cn_models_dirs_take());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_systemd_says_goes_first),
        cmocka_unit_test(a_user_without_rights_has_a_folder_of_his_own),
        cmocka_unit_test(the_administrator_uses_the_installed_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
