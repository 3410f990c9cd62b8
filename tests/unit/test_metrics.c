/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/metrics.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char *render(void)
{
    size_t size = 0;
    char *text = metrics_render(&size);
    cr_assert_not_null(text);
    cr_assert_eq(strlen(text), size);
    cr_assert_eq(text[size - 1], '\n');
    return text;
}

/* The value of the one line that starts with `series` and a blank; NaN when there is none. */
static double value_of(const char *text, const char *series)
{
    const size_t length = strlen(series);
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1)
        if (strncmp(line, series, length) == 0 && line[length] == ' ')
            return strtod(line + length + 1, NULL);
    return NAN;
}

static double rendered_value(const char *series)
{
    char *text = render();
    const double value = value_of(text, series);
    free(text);
    return value;
}

static bool rendered_has(const char *line)
{
    char *text = render();
    const bool has = strstr(text, line) != NULL;
    free(text);
    return has;
}

/* A sample line taken apart by the grammar of the format. */
struct sample {
    char name[128];
    char labels[512]; /* without `le` */
    char le[32];
    double value;
};

static const char *read_name(const char *at, char *name, size_t name_size)
{
    size_t length = 0;
    cr_assert(isalpha((unsigned char)*at) || *at == '_', "name starts with '%c'", *at);
    while (isalnum((unsigned char)*at) || *at == '_') {
        cr_assert_lt(length + 1, name_size);
        name[length++] = *at++;
    }
    name[length] = '\0';
    return at;
}

static const char *read_quoted(const char *at, char *value, size_t value_size)
{
    size_t length = 0;
    cr_assert_eq(*at++, '"');
    for (; *at != '"'; at++) {
        cr_assert(*at != '\n' && *at != '\0', "open quote");
        if (*at == '\\')
            cr_assert_not_null(strchr("\\\"n", *++at), "bad escape");
        cr_assert_lt(length + 1, value_size);
        value[length++] = *at;
    }
    value[length] = '\0';
    return at + 1;
}

static const char *read_labels(const char *at, struct sample *sample)
{
    char name[64], value[256];
    do {
        at = read_quoted(read_name(at + 1, name, sizeof name) + 1, value, sizeof value);
        if (strcmp(name, "le") == 0) {
            snprintf(sample->le, sizeof sample->le, "%.31s", value);
        } else {
            const size_t used = strlen(sample->labels);
            snprintf(sample->labels + used, sizeof sample->labels - used, "%s=%s;", name, value);
        }
    } while (*at == ',');
    cr_assert_eq(*at, '}', "labels end with '%c'", *at);
    return at + 1;
}

static struct sample read_sample(const char *line)
{
    struct sample sample = {0};
    char *end = NULL;
    const char *at = read_name(line, sample.name, sizeof sample.name);
    if (*at == '{')
        at = read_labels(at, &sample);
    cr_assert_eq(*at, ' ', "no blank before the value: %s", line);
    sample.value = strtod(at + 1, &end);
    cr_assert(end != at + 1 && *end == '\0', "no value: %s", line);
    return sample;
}

/* What the lines seen so far say about the current metric. */
struct family {
    char name[128], type[32];
    char seen[128][64]; /* names of earlier metrics */
    size_t seen_count;
    char series[512]; /* labels of the histogram that is being read */
    double last_bucket, last_bound;
};

static void read_comment(struct family *family, const char *line, bool *expect_type)
{
    char word[8], name[128], rest[256];
    cr_assert_eq(sscanf(line, "# %7s %127s %255[^\n]", word, name, rest), 3, "%s", line);
    if (!*expect_type) {
        cr_assert_str_eq(word, "HELP", "%s", line);
        for (size_t i = 0; i < family->seen_count; i++)
            cr_assert_str_neq(family->seen[i], name, "declared twice");
        cr_assert_lt(family->seen_count, 128u);
        snprintf(family->seen[family->seen_count++], 64, "%.63s", name);
        snprintf(family->name, sizeof family->name, "%s", name);
    } else {
        cr_assert_str_eq(word, "TYPE", "%s", line);
        cr_assert_str_eq(name, family->name);
        snprintf(family->type, sizeof family->type, "%.31s", rest);
        family->series[0] = '\0';
        family->last_bucket = family->last_bound = -1;
    }
    *expect_type = !*expect_type;
}

static void check_histogram_sample(struct family *family, const struct sample *sample)
{
    const char *suffix = sample->name + strlen(family->name);
    if (strcmp(suffix, "_bucket") == 0) {
        if (family->last_bound < 0)
            snprintf(family->series, sizeof family->series, "%s", sample->labels);
        cr_assert_str_eq(sample->labels, family->series);
        const double bound = strcmp(sample->le, "+Inf") == 0 ? HUGE_VAL : strtod(sample->le, NULL);
        cr_assert_gt(bound, family->last_bound, "bounds of %s", family->name);
        cr_assert_geq(sample->value, family->last_bucket, "buckets of %s are not cumulative", family->name);
        family->last_bound = bound;
        family->last_bucket = sample->value;
    } else if (strcmp(suffix, "_count") == 0) {
        cr_assert(isinf(family->last_bound), "%s has no +Inf", family->name);
        cr_assert_eq(sample->value, family->last_bucket);
        family->last_bucket = family->last_bound = -1;
    } else {
        cr_assert_str_eq(suffix, "_sum");
    }
}

static void check_sample(struct family *family, const char *line)
{
    const struct sample sample = read_sample(line);
    cr_assert_eq(strncmp(sample.name, family->name, strlen(family->name)), 0, "%s is under %s", line, family->name);
    if (strcmp(family->type, "histogram") == 0) {
        check_histogram_sample(family, &sample);
        return;
    }
    cr_assert_str_eq(sample.name, family->name);
    const size_t length = strlen(sample.name);
    const bool ends_in_total = length > 6 && strcmp(sample.name + length - 6, "_total") == 0;
    cr_assert_eq(strcmp(family->type, "counter") == 0, ends_in_total, "%s is a %s", sample.name, family->type);
}

/* Read the whole of it as Prometheus would; returns the number of samples. */
static int check_format(char *text)
{
    struct family family = {0};
    bool expect_type = false;
    int samples = 0;
    for (char *state, *line = strtok_r(text, "\n", &state); line != NULL; line = strtok_r(NULL, "\n", &state)) {
        if (line[0] == '#') {
            read_comment(&family, line, &expect_type);
        } else {
            cr_assert_not(expect_type, "a sample between HELP and TYPE: %s", line);
            check_sample(&family, line);
            samples++;
        }
    }
    cr_assert_not(expect_type);
    return samples;
}

Test(metrics, the_text_is_well_formed_when_nothing_happened)
{
    char *text = render();
    cr_assert_null(strstr(text, "_info{"), "an info that nobody set");
    cr_assert_gt(check_format(text), METRICS_COUNTER_COUNT + METRICS_GAUGE_COUNT);
    free(text);
}

Test(metrics, the_text_is_well_formed_when_much_happened)
{
    metrics_info("build_info", (const char *const[][2]){{"version", "1.2"}, {"zmq", "a\\b\"c\nd"}}, 2);
    metrics_info("model_info", NULL, 0);
    metrics_request("recommend", STATUS_OK, 0.003);
    metrics_request("recommend", STATUS_NOT_FOUND, 99);
    metrics_request("event.add", STATUS_OK, 0.5);
    metrics_request("odd \"name\"\\", STATUS_INTERNAL, 0);
    metrics_observe(METRICS_HISTOGRAM_engine_seconds, 0.02);
    metrics_set(METRICS_GAUGE_arena_peak_bytes, INFINITY);
    metrics_set(METRICS_GAUGE_queue_depth, NAN);
    char *text = render();
    cr_assert_gt(check_format(text), METRICS_COUNTER_COUNT + METRICS_GAUGE_COUNT + 4);
    free(text);
}

Test(metrics, counters_and_gauges_show_what_was_set)
{
    metrics_add(METRICS_COUNTER_events_added, 3);
    metrics_add(METRICS_COUNTER_events_added, 4);
    cr_assert_eq(metrics_get(METRICS_COUNTER_events_added), 7u);
    cr_assert_eq(rendered_value("recsysd_events_added_total"), 7);
    cr_assert_eq(rendered_value("recsysd_items_put_total"), 0);
    metrics_add(METRICS_COUNTER_store_rows, UINT64_MAX);
    cr_assert(rendered_has("\nrecsysd_store_rows_total 18446744073709551615\n"));
}

Test(metrics, gauges_keep_their_precision)
{
    static const struct {
        double value;
        const char *line;
    } cases[] = {
        {0.1, "\nrecsysd_users 0.1\n"},
        {-2.5, "\nrecsysd_users -2.5\n"},
        {123456789012345, "\nrecsysd_users 123456789012345\n"},
        {9007199254740991, "\nrecsysd_users 9007199254740991\n"},
        {INFINITY, "\nrecsysd_users +Inf\n"},
        {-INFINITY, "\nrecsysd_users -Inf\n"},
        {NAN, "\nrecsysd_users NaN\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        metrics_set(METRICS_GAUGE_users, cases[i].value);
        cr_expect(rendered_has(cases[i].line), "%s", cases[i].line);
    }
}

Test(metrics, a_bound_belongs_to_its_bucket)
{
    metrics_observe(METRICS_HISTOGRAM_queue_wait_seconds, 0.001);
    metrics_observe(METRICS_HISTOGRAM_queue_wait_seconds, 0.0011);
    metrics_observe(METRICS_HISTOGRAM_queue_wait_seconds, 2.5);
    metrics_observe(METRICS_HISTOGRAM_queue_wait_seconds, 3);
    cr_expect_eq(rendered_value("recsysd_queue_wait_seconds_bucket{le=\"0.0005\"}"), 0);
    cr_expect_eq(rendered_value("recsysd_queue_wait_seconds_bucket{le=\"0.001\"}"), 1);
    cr_expect_eq(rendered_value("recsysd_queue_wait_seconds_bucket{le=\"0.0025\"}"), 2);
    cr_expect_eq(rendered_value("recsysd_queue_wait_seconds_bucket{le=\"1\"}"), 2);
    cr_expect_eq(rendered_value("recsysd_queue_wait_seconds_bucket{le=\"2.5\"}"), 3);
    cr_expect_eq(rendered_value("recsysd_queue_wait_seconds_bucket{le=\"+Inf\"}"), 4);
    cr_expect_eq(rendered_value("recsysd_queue_wait_seconds_count"), 4);
    cr_expect_float_eq(rendered_value("recsysd_queue_wait_seconds_sum"), 5.5021, 1e-9);
    cr_expect_eq(rendered_value("recsysd_engine_seconds_count"), 0);
}

Test(metrics, an_impossible_duration_counts_as_none)
{
    metrics_observe(METRICS_HISTOGRAM_engine_seconds, -1);
    metrics_observe(METRICS_HISTOGRAM_engine_seconds, NAN);
    cr_expect_eq(rendered_value("recsysd_engine_seconds_bucket{le=\"0.0001\"}"), 2);
    cr_expect_eq(rendered_value("recsysd_engine_seconds_sum"), 0);
    metrics_observe(METRICS_HISTOGRAM_engine_seconds, INFINITY);
    cr_expect_eq(rendered_value("recsysd_engine_seconds_bucket{le=\"2.5\"}"), 2);
    cr_expect_eq(rendered_value("recsysd_engine_seconds_count"), 3);
}

Test(metrics, requests_are_told_apart_by_method_and_code)
{
    char copy[] = "recommend"; /* the same name at another address is the same method */
    metrics_request("recommend", STATUS_OK, 0.01);
    metrics_request(copy, STATUS_OK, 0.02);
    metrics_request("recommend", STATUS_DEADLINE_EXCEEDED, 1);
    metrics_request(NULL, STATUS_UNIMPLEMENTED, 0);
    metrics_request("ping", (enum status_code)99, 0);
    cr_expect_eq(rendered_value("recsysd_requests_total{method=\"recommend\",code=\"ok\"}"), 2);
    cr_expect_eq(rendered_value("recsysd_requests_total{method=\"recommend\",code=\"deadline_exceeded\"}"), 1);
    cr_expect_eq(rendered_value("recsysd_requests_total{method=\"unknown\",code=\"unimplemented\"}"), 1);
    cr_expect_eq(rendered_value("recsysd_requests_total{method=\"ping\",code=\"unknown\"}"), 1);
    cr_expect_eq(rendered_value("recsysd_request_duration_seconds_count{method=\"recommend\"}"), 3);
    cr_expect_eq(rendered_value("recsysd_request_duration_seconds_bucket{method=\"recommend\",le=\"0.01\"}"), 1);
    cr_expect_float_eq(rendered_value("recsysd_request_duration_seconds_sum{method=\"recommend\"}"), 1.03, 1e-9);
}

Test(metrics, methods_beyond_the_limit_count_as_other)
{
    static char names[70][8];
    for (size_t i = 0; i < 70; i++) {
        snprintf(names[i], sizeof names[i], "m%zu", i);
        metrics_request(names[i], STATUS_OK, 0);
    }
    metrics_request("m0", STATUS_OK, 0);
    metrics_request("other", STATUS_OK, 0);
    cr_expect_eq(rendered_value("recsysd_requests_total{method=\"m0\",code=\"ok\"}"), 2);
    cr_expect_eq(rendered_value("recsysd_requests_total{method=\"m63\",code=\"ok\"}"), 1);
    cr_expect(isnan(rendered_value("recsysd_requests_total{method=\"m64\",code=\"ok\"}")));
    cr_expect_eq(rendered_value("recsysd_requests_total{method=\"other\",code=\"ok\"}"), 7);
    char *text = render();
    check_format(text);
    free(text);
}

Test(metrics, label_values_are_escaped)
{
    char value[] = "a\\b\"c\nd\xc3\xa9";
    metrics_info("model_info", (const char *const[][2]){{"name", value}, {"sha256", "bad \xff\xc3"}}, 2);
    value[0] = 'X'; /* it was copied */
    cr_expect(rendered_has("\nrecsysd_model_info{name=\"a\\\\b\\\"c\\nd\xc3\xa9\",sha256=\"bad ??\"} 1\n"));
}

Test(metrics, a_second_info_replaces_the_first)
{
    metrics_info("model_info", (const char *const[][2]){{"name", "old"}}, 1);
    metrics_info("build_info", (const char *const[][2]){{"version", "1"}}, 1);
    metrics_info("model_info", (const char *const[][2]){{"name", "new"}}, 1);
    cr_expect(rendered_has("recsysd_model_info{name=\"new\"} 1\n"));
    cr_expect(rendered_has("recsysd_build_info{version=\"1\"} 1\n"));
    cr_expect_not(rendered_has("old"));
}

Test(metrics, the_process_describes_itself)
{
    const double now = (double)time(NULL);
    cr_expect_geq(rendered_value("process_cpu_seconds_total"), 0);
    cr_expect_gt(rendered_value("process_resident_memory_bytes"), 100000);
    cr_expect_gt(rendered_value("process_virtual_memory_bytes"), rendered_value("process_resident_memory_bytes"));
    cr_expect_gt(rendered_value("process_start_time_seconds"), now - 86400);
    cr_expect_leq(rendered_value("process_start_time_seconds"), now + 2);
    cr_expect_eq(rendered_value("process_start_time_seconds"), rendered_value("process_start_time_seconds"));
    cr_expect_eq(rendered_value("process_max_fds"), (double)sysconf(_SC_OPEN_MAX));
    const double before = rendered_value("process_open_fds");
    const int extra = dup(2);
    cr_expect_eq(rendered_value("process_open_fds"), before + 1);
    close(extra);
}

enum { THREADS = 4, ROUNDS = 20000 };

static void *use_everything(void *context)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    const size_t offset = *(const size_t *)context;
    for (size_t i = 0; i < ROUNDS; i++) {
        metrics_add(METRICS_COUNTER_events_added, 2);
        metrics_observe(METRICS_HISTOGRAM_engine_seconds, 0.002);
        metrics_request(names[(i + offset) % 8], STATUS_OK, 0.002);
    }
    return NULL;
}

Test(metrics, threads_lose_nothing)
{
    pthread_t threads[THREADS];
    size_t offsets[THREADS] = {0, 2, 4, 6};
    for (size_t i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, use_everything, &offsets[i]), 0);
    for (int i = 0; i < 20; i++) { /* what is read in the middle must be well formed, too */
        char *text = render();
        check_format(text);
        free(text);
    }
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(metrics_get(METRICS_COUNTER_events_added), 2u * THREADS * ROUNDS);
    cr_expect_eq(rendered_value("recsysd_engine_seconds_count"), THREADS * ROUNDS);
    cr_expect_float_eq(rendered_value("recsysd_engine_seconds_sum"), THREADS * ROUNDS * 0.002, 1e-9);
    for (char name = 'a'; name <= 'h'; name++) {
        char series[64];
        snprintf(series, sizeof series, "recsysd_requests_total{method=\"%c\",code=\"ok\"}", name);
        cr_expect_eq(rendered_value(series), THREADS * ROUNDS / 8, "method %c", name);
    }
}
