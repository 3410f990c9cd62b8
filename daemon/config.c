/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config.h"

#include "daemon/config_settings.h"
#include "daemon/config_yaml.h"
#include "proto/suggest.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VARIABLE_PREFIX "RECSYSD__"

void config_init(struct config *config)
{
    static const struct config_behaviour behaviours[] = {
        {"view", 1}, {"click", 1}, {"cart", 3}, {"purchase", 5}, {"like", 2}, {"dislike", -2}, {"skip", -0.5},
    };
    /* Every byte, so that equal configurations are equal bytes. */
    memset(config, 0, sizeof *config);
#define NUMBER(section, name, preset, least, most, doc) config->section##_##name = preset;
#define SWITCH(section, name, preset, doc)              config->section##_##name = preset;
#define TEXT(section, name, preset, doc)                                                                               \
    _Static_assert(sizeof(preset) <= CONFIG_TEXT_MAX, #section "." #name);                                             \
    memcpy(config->section##_##name, preset, sizeof(preset));
    CONFIG_SETTINGS(NUMBER, NUMBER, SWITCH, TEXT)
#undef NUMBER
#undef SWITCH
#undef TEXT
    strcpy(config->server_listen[0], "ipc:///run/recsysd/recsysd.sock");
    config->server_listen_count = 1;
    memcpy(config->behaviours, behaviours, sizeof behaviours);
    config->behaviour_count = sizeof behaviours / sizeof *behaviours;
}

/* Read at most `capacity` bytes; what a pipe gives comes in pieces. -1 with errno. */
static ssize_t read_whole(int fd, char *text, size_t capacity)
{
    size_t size = 0;
    while (size < capacity) {
        const ssize_t got = read(fd, text + size, capacity - size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        size += (size_t)got;
    }
    return (ssize_t)size;
}

bool config_load(struct config *config, const char *path, struct status *st)
{
    bool ok = false;
    const size_t capacity = CONFIG_FILE_MAX + 1; /* one more tells that the file is too large */
    ssize_t size = -1;
    char *text = malloc(capacity);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (text == NULL) {
        status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to read '%s'", path);
        goto out;
    }
    if (fd >= 0)
        size = read_whole(fd, text, capacity);
    if (size < 0) {
        status_fail(st, STATUS_NOT_FOUND, "NO_INPUT", "read '%s': %s", path, strerror(errno));
        goto out;
    }
    ok = config_load_text(config, path, text, (size_t)size, st);
out:
    if (fd >= 0)
        close(fd);
    free(text);
    return ok;
}

bool config_set(struct config *config, const char *name, const char *value, struct status *st)
{
    const struct config_setting *setting = config_setting_find_dotted(name, st);
    return setting != NULL && config_setting_parse(config, setting, value, st);
}

/* "server.queue_bytes" as "SERVER__QUEUE_BYTES". */
static void variable_of(const struct config_setting *setting, char *name, size_t size)
{
    size_t used = 0;
    for (const char *at = setting->dotted; *at != '\0' && used + 3 < size; at++) {
        if (*at == '.')
            name[used++] = '_';
        /* Not toupper(): the locale must not change the names. */
        name[used++] = *at == '.' ? '_' : (char)(*at >= 'a' && *at <= 'z' ? *at - 'a' + 'A' : *at);
    }
    name[used] = '\0';
}

/* The setting of a variable named `name` after the prefix. NULL names the nearest one. */
static const struct config_setting *find_variable(const char *name, struct status *st)
{
    char names[CONFIG_SETTING_COUNT][64];
    const char *candidates[CONFIG_SETTING_COUNT];
    for (size_t i = 0; i < CONFIG_SETTING_COUNT; i++) {
        variable_of(&config_settings[i], names[i], sizeof names[i]);
        if (strcmp(names[i], name) == 0)
            return &config_settings[i];
        candidates[i] = names[i];
    }
    const char *near = suggest(name, candidates, CONFIG_SETTING_COUNT);
    if (near != NULL)
        status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_CONFIG", "unknown setting, did you mean '" VARIABLE_PREFIX "%s'?",
                    near);
    else
        status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_CONFIG", "unknown setting");
    return NULL;
}

static bool apply_variable(struct config *config, const char *variable, struct status *st)
{
    char name[128];
    const char *suffix = variable + strlen(VARIABLE_PREFIX);
    const size_t length = strcspn(variable, "=");
    const char *value = variable[length] == '=' ? variable + length + 1 : "";
    /* Cut to fit: no setting has a name that long. */
    snprintf(name, sizeof name, "%.*s", (int)strcspn(suffix, "="), suffix);
    const struct config_setting *setting = find_variable(name, st);
    if (setting != NULL && config_setting_parse(config, setting, value, st))
        return true;
    return status_wrap(st, "environment variable '" VARIABLE_PREFIX "%s'", name);
}

bool config_environment(struct config *config, char *const *environment, struct status *st)
{
    struct config scratch = *config;
    for (; *environment != NULL; environment++) {
        if (strncmp(*environment, VARIABLE_PREFIX, strlen(VARIABLE_PREFIX)) == 0 &&
            !apply_variable(&scratch, *environment, st))
            return false;
    }
    *config = scratch;
    return true;
}

/* The fewest digits that read back as the same number. */
static void print_real(double value, FILE *out)
{
    char text[40];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    fputs(text, out);
}

/* Texts hold no control characters (config_settings.c), so that two escapes are enough. */
static void print_text(const char *text, FILE *out)
{
    fputc('"', out);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

static void print_lists(const struct config *config, const struct config_setting *setting, FILE *out)
{
    if (setting->kind == CONFIG_KIND_LISTEN) {
        fprintf(out, "  listen:%s\n", config->server_listen_count == 0 ? " []" : "");
        for (size_t i = 0; i < config->server_listen_count; i++) {
            fputs("    - ", out);
            print_text(config->server_listen[i], out);
            fputc('\n', out);
        }
        return;
    }
    fprintf(out, "behaviours:%s\n", config->behaviour_count == 0 ? " {}" : "");
    for (size_t i = 0; i < config->behaviour_count; i++) {
        fprintf(out, "  %s: ", config->behaviours[i].name);
        print_real(config->behaviours[i].weight, out);
        fputc('\n', out);
    }
}

static void print_scalar(const struct config *config, const struct config_setting *setting, FILE *out)
{
    const void *field = (const char *)config + setting->offset;
    fprintf(out, "  %s: ", setting->name);
    if (setting->kind == CONFIG_KIND_INTEGER)
        fprintf(out, "%" PRId64, *(const int64_t *)field);
    else if (setting->kind == CONFIG_KIND_REAL)
        print_real(*(const double *)field, out);
    else if (setting->kind == CONFIG_KIND_SWITCH)
        fputs(*(const bool *)field ? "true" : "false", out);
    else
        print_text(field, out);
    fputc('\n', out);
}

static void print_setting(const struct config *config, const struct config_setting *setting, FILE *out)
{
    const char *indent = setting->kind == CONFIG_KIND_BEHAVIOURS ? "" : "  ";
    fprintf(out, "%s# %s", indent, setting->doc);
    if (setting->kind == CONFIG_KIND_INTEGER || setting->kind == CONFIG_KIND_REAL)
        fprintf(out, " (%.15g to %.15g)", setting->least, setting->most);
    fputc('\n', out);
    if (setting->kind == CONFIG_KIND_LISTEN || setting->kind == CONFIG_KIND_BEHAVIOURS)
        print_lists(config, setting, out);
    else
        print_scalar(config, setting, out);
}

void config_print(const struct config *config, FILE *out)
{
    /* A decimal comma would not be read back. */
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    locale_t before = uselocale(plain);
    const char *section = "";
    for (size_t i = 0; i < CONFIG_SETTING_COUNT; i++) {
        const struct config_setting *setting = &config_settings[i];
        if (strcmp(setting->section, section) != 0) {
            section = setting->section;
            fputs(i > 0 ? "\n" : "", out);
            if (setting->kind != CONFIG_KIND_BEHAVIOURS)
                fprintf(out, "%s:\n", section);
        }
        print_setting(config, setting, out);
    }
    uselocale(before);
    if (plain != (locale_t)0)
        freelocale(plain);
}
