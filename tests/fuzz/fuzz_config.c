/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a configuration file: refused with a place in the file, or accepted, and what is accepted is printed in a form that
 * reads back to the same. */
#include "daemon/config_yaml.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was refused says why and where, and has changed nothing. */
static void check_refused(const struct config *config, const struct status *st)
{
    struct config untouched;
    config_init(&untouched);
    if (st->code != STATUS_INVALID_ARGUMENT || strncmp(st->message, "fuzz:", 5) != 0)
        abort();
    if (memcmp(config, &untouched, sizeof untouched) != 0)
        abort();
}

static void check_printed(const struct config *config)
{
    struct status st = STATUS_INIT;
    struct config again;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        abort();
    config_print(config, out);
    if (fclose(out) != 0)
        abort();
    config_init(&again);
    if (!config_load_text(&again, "printed", text, size, &st) || memcmp(&again, config, sizeof again) != 0)
        abort();
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct status st = STATUS_INIT;
    struct config config;
    config_init(&config);
    if (config_load_text(&config, "fuzz", data, size, &st)) {
        check_printed(&config);
        config_check(&config, &st);
    } else {
        check_refused(&config, &st);
    }
    return 0;
}
