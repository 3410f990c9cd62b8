/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/program.h"

#include "models/matrix.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_CONFIG "/etc/recsysd/recsysd.yaml"

extern char **environ;

bool program_configure(struct config *config, const char *file, const char *data_dir, struct status *st)
{
    config_init(config);
    if ((file != NULL || access(DEFAULT_CONFIG, F_OK) == 0) &&
        !config_load(config, file != NULL ? file : DEFAULT_CONFIG, st))
        return false;
    return config_environment(config, environ, st) &&
           (data_dir == NULL || config_set(config, "storage.data_dir", data_dir, st)) && config_check(config, st);
}

int program_fail(const char *name, const struct status *st)
{
    fprintf(stderr, "%s: %s\n", name, st->message);
    return strcmp(st->reason, "BAD_CONFIG") == 0 ? PROGRAM_EXIT_CONFIG : status_exit_code(st->code);
}

int program_usage_error(const char *name, const char *what, const char *argument)
{
    fprintf(stderr, "%s: %s%s%s\n%s: try '%s --help'\n", name, what, argument == NULL ? "" : " ",
            argument == NULL ? "" : argument, name, name);
    return PROGRAM_EXIT_USAGE;
}

bool program_number(const char *text, int64_t least, int64_t most, int64_t *out)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < least || value > most)
        return false;
    *out = value;
    return true;
}

bool program_init(struct status *st)
{
    matrix_init();
    return sodium_init() >= 0 || status_fail(st, STATUS_INTERNAL, "SODIUM", "libsodium could not be initialised");
}

size_t program_cores(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores > 0 ? (size_t)cores : 1;
}
