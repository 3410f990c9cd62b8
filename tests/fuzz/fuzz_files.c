/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a file of messages, of scenarios or of experiments: refused with the file's name, or accepted, and what is accepted can be used. */
#include "daemon/experiments_internal.h"
#include "daemon/messages.h"
#include "daemon/scenarios.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool ok)
{
    if (!ok)
        abort();
}

static void expect_refusal(const struct status *st)
{
    expect(st->code == STATUS_INVALID_ARGUMENT && strncmp(st->message, "fuzz", 4) == 0);
}

/* every template of every language, with every placeholder filled */
static void say_all(const struct messages *messages)
{
    static const struct messages_value values[] = {
        {"title", "t"}, {"event", "e"},   {"modality", "m"}, {"pick", "p"},   {"behaviour", "b"}, {"day", "1"},
        {"month", "M"}, {"year", "2026"}, {"first", "f"},    {"second", "s"}, {"label", "l"}};
    const char *tags[MESSAGES_LANGUAGES_MOST + 1], *key;
    size_t count = messages_tags(messages, tags);
    struct arena arena;
    arena_init(&arena, (size_t)4 << 20);
    for (size_t i = 0; i < count; i++) {
        const struct language *language = messages_find(messages, tags[i]);
        expect(language != NULL);
        for (size_t k = 0; (key = messages_key(k)) != NULL; k++)
            expect(messages_expand(language, key, values, sizeof values / sizeof *values, &arena) != NULL);
        for (int month = 0; month < 12; month++)
            expect(messages_month(language, month) != NULL);
    }
    arena_close(&arena);
}

static void read_messages(const char *text, size_t size)
{
    struct status st = STATUS_INIT;
    struct messages *messages = messages_load_text("fuzz", text, size, &st);
    if (messages == NULL)
        expect_refusal(&st);
    else
        say_all(messages);
    messages_release(messages);
}

static void read_scenarios(const char *text, size_t size)
{
    struct status st = STATUS_INIT;
    struct scenarios *scenarios = scenarios_load_text("fuzz", text, size, &st);
    if (scenarios == NULL)
        expect_refusal(&st);
    for (size_t i = 0; scenarios != NULL && i < scenarios_count(scenarios); i++)
        expect(scenarios_find(scenarios, scenarios_name(scenarios, i), &st) != NULL);
    scenarios_release(scenarios);
}

static void read_experiments(const char *text, size_t size)
{
    struct status st = STATUS_INIT;
    struct experiments *experiments = calloc(1, sizeof *experiments);
    expect(experiments != NULL);
    experiments->references = 1;
    bool ok = experiments_read(experiments, "fuzz", text, size, &st);
    if (!ok)
        expect_refusal(&st);
    for (size_t i = 0; ok && i < experiments_count(experiments); i++) {
        const struct experiment *experiment = experiments_at(experiments, i);
        expect(experiment->variant_count > 0 && experiment->share > 0 && experiment->share <= 1);
        experiment_assign(experiment, "somebody");
    }
    experiments_release(experiments);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const char *text = (const char *)data + 1;
    switch (data[0] % 3) {
    case 0:
        read_messages(text, size - 1);
        break;
    case 1:
        read_scenarios(text, size - 1);
        break;
    default:
        read_experiments(text, size - 1);
    }
    return 0;
}
