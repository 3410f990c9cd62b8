/* SPDX-License-Identifier: Apache-2.0
 *
 * Internal to daemon/config*.c: the settings as a table, and the reading of one value from its text, whether that comes from the
 * file, the environment or a flag. Failures are INVALID_ARGUMENT / BAD_CONFIG with st->field = the dotted name; the caller puts
 * the place (file:line:column, variable) in front. `config` is unchanged by a function that fails. */
#ifndef RECSYS_DAEMON_CONFIG_SETTINGS_H
#define RECSYS_DAEMON_CONFIG_SETTINGS_H

#include "daemon/config.h"

enum config_kind {
    CONFIG_KIND_INTEGER,
    CONFIG_KIND_REAL,
    CONFIG_KIND_SWITCH,
    CONFIG_KIND_TEXT,
    CONFIG_KIND_LISTEN,    /* server.listen: a list of endpoints */
    CONFIG_KIND_BEHAVIOURS /* names with weights; a section of its own */
};

struct config_setting {
    const char *section;
    const char *name;   /* inside the section; "" for behaviours */
    const char *dotted; /* "server.workers" */
    const char *doc;
    enum config_kind kind;
    size_t offset;      /* in struct config; not for the lists */
    double least, most; /* of a number; whole numbers stay below 2^53, where a double is exact */
};

/* The scalars of CONFIG_SETTINGS and the two lists. */
#define CONFIG_ONE_MORE(...) +1
enum { CONFIG_SETTING_COUNT = 2 CONFIG_SETTINGS(CONFIG_ONE_MORE, CONFIG_ONE_MORE, CONFIG_ONE_MORE, CONFIG_ONE_MORE) };
#undef CONFIG_ONE_MORE

#define CONFIG_WEIGHT_MOST 100.0 /* of a behaviour, either way */

/* Every setting; those of one section are neighbours. */
extern const struct config_setting config_settings[CONFIG_SETTING_COUNT];

/* The first setting of a section. NULL names the nearest section. */
const struct config_setting *config_section_find(const char *section, struct status *st);

/* By section and name, and by dotted name. NULL names the nearest one. */
const struct config_setting *config_setting_find(const char *section, const char *name, struct status *st);
const struct config_setting *config_setting_find_dotted(const char *dotted, struct status *st);

/* Read `text` into a setting of any kind. A list is separated by commas and replaces what was there. */
bool config_setting_parse(struct config *config, const struct config_setting *setting, const char *text,
                          struct status *st);

/* Make a list empty; append to it. */
void config_setting_clear(struct config *config, const struct config_setting *setting);
bool config_listen_add(struct config *config, const char *endpoint, struct status *st);
bool config_behaviour_add(struct config *config, const char *name, const char *weight, struct status *st);

#endif
