/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/train_inspect.h"

#include "daemon/inspection.h"
#include "daemon/program.h"
#include "daemon/train_scorer.h"

#include <getopt.h>
#include <inttypes.h>
#include <libsmartcols/libsmartcols.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define NAME       "recsys-train"
#define DUMP_FLAGS (JSON_REAL_PRECISION(6) | JSON_ENCODE_ANY)
#define KEY_BYTES  160 /* of "training.data.sha256" */
#define DEPTH_MAX  8   /* of what is taken apart of "training"; deeper values are printed as JSON */

static const char usage[] = "usage: recsys-train inspect FILE [-o table|json]\n"
                            "\n"
                            "  -o, --output FORMAT   table (default) or json\n"
                            "  -h, --help            this\n"
                            "\n"
                            "What a model is made of, how large its parts are, what its numbers mean, what it was "
                            "trained on, and its SHA-256.\n";

/* ---- values as text; `out` of at least 32 bytes */

static void print_bytes(char *out, double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB"};
    size_t unit = 0;
    while (bytes >= 1024 && unit + 1 < sizeof units / sizeof *units) {
        bytes /= 1024;
        unit++;
    }
    snprintf(out, 32, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

static void print_age(char *out, double seconds)
{
    static const struct {
        double seconds;
        const char *unit;
    } units[] = {{365.25 * 86400, "years"}, {86400, "days"}, {3600, "hours"}, {60, "minutes"}};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (seconds >= 2 * units[i].seconds) {
            snprintf(out, 32, "%.3g %s", seconds / units[i].seconds, units[i].unit);
            return;
        }
    snprintf(out, 32, "%.3g seconds", seconds);
}

static double real(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value == NULL ? "" : value;
}

static int64_t whole(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* ---- what it is */

static void print_views(FILE *out, const json_t *architecture)
{
    size_t i;
    const json_t *view;
    json_array_foreach(json_object_get(architecture, "views"), i, view)
    {
        fprintf(out, "view            %s: ", text(view, "name"));
        if (strcmp(text(view, "modality"), "id") == 0)
            fprintf(out, "the item's own embedding, %" PRId64 " numbers", whole(view, "components"));
        else
            fprintf(out, "%s by '%s', %" PRId64 " dimensions, %" PRId64 " components", text(view, "modality"),
                    text(view, "encoder"), whole(view, "dimension"), whole(view, "components"));
        if (whole(view, "correction") > 0)
            fprintf(out, ", corrections of rank %" PRId64, whole(view, "correction"));
        fputc('\n', out);
    }
}

static void print_identity(FILE *out, const json_t *report)
{
    char size[32];
    const json_t *architecture = json_object_get(report, "architecture"), *items = json_object_get(report, "items");
    print_bytes(size, real(report, "file_bytes"));
    fprintf(out, "model           %s\n", text(report, "version"));
    fprintf(out, "sha256          %s\n", text(report, "sha256"));
    fprintf(out, "file            %s\n", size);
    if (whole(architecture, "blocks") > 0)
        fprintf(out,
                "sequence        width %" PRId64 ", %" PRId64 " blocks of %" PRId64 " heads, feed-forward %" PRId64
                "\n",
                whole(architecture, "width"), whole(architecture, "blocks"), whole(architecture, "heads"),
                whole(architecture, "feedforward"));
    else
        fprintf(out, "sequence        none\n");
    fprintf(out, "history         %" PRId64 " events\n", whole(architecture, "history"));
    fprintf(out, "items           %" PRId64 " with an ID row, of %.0f training events\n", whole(items, "id_rows"),
            real(items, "training_events"));
    print_views(out, architecture);
}

/* ---- sizes */

static struct libscols_table *new_table(FILE *out, const char *const *heads, const bool *right, size_t count)
{
    struct libscols_table *table = scols_new_table();
    for (size_t i = 0; table != NULL && i < count; i++)
        if (scols_table_new_column(table, heads[i], 0, right[i] ? SCOLS_FL_RIGHT : 0) == NULL) {
            scols_unref_table(table);
            table = NULL;
        }
    if (table != NULL)
        scols_table_set_stream(table, out);
    return table;
}

static bool add_line(struct libscols_table *table, const char *const *cells, size_t count)
{
    struct libscols_line *line = scols_table_new_line(table, NULL);
    bool ok = line != NULL;
    for (size_t i = 0; ok && i < count; i++)
        ok = scols_line_set_data(line, i, cells[i]) == 0;
    return ok;
}

static bool print_tensors(FILE *out, const json_t *report)
{
    static const char *const heads[] = {"TENSOR", "GROUP", "SHAPE", "SIZE"};
    static const bool right[] = {false, false, true, true};
    struct libscols_table *table = new_table(out, heads, right, 4);
    size_t i, j;
    const json_t *tensor, *dimension;
    bool ok = table != NULL;
    json_array_foreach(json_object_get(report, "tensors"), i, tensor)
    {
        char shape[80] = "", size[32];
        json_array_foreach(json_object_get(tensor, "shape"), j, dimension)
        {
            size_t used = strlen(shape);
            snprintf(shape + used, sizeof shape - used, "%s%lld", j > 0 ? " x " : "",
                     (long long)json_integer_value(dimension));
        }
        print_bytes(size, real(tensor, "bytes"));
        ok = ok && add_line(table, (const char *[]){text(tensor, "name"), text(tensor, "group"), shape, size}, 4);
    }
    ok = ok && scols_print_table(table) == 0;
    scols_unref_table(table);
    return ok;
}

static bool print_groups(FILE *out, const json_t *report)
{
    static const char *const heads[] = {"GROUP", "TENSORS", "NUMBERS", "SIZE"};
    static const bool right[] = {false, true, true, true};
    struct libscols_table *table = new_table(out, heads, right, 4);
    const char *name;
    json_t *group;
    bool ok = table != NULL;
    json_object_foreach(json_object_get(json_object_get(report, "sizes"), "groups"), name, group)
    {
        char tensors[32], numbers[32], size[32];
        snprintf(tensors, sizeof tensors, "%" PRId64, whole(group, "tensors"));
        snprintf(numbers, sizeof numbers, "%" PRId64, whole(group, "numbers"));
        print_bytes(size, real(group, "bytes"));
        ok = ok && add_line(table, (const char *[]){name, tensors, numbers, size}, 4);
    }
    ok = ok && scols_print_table(table) == 0;
    scols_unref_table(table);
    return ok;
}

/* ---- what it has learned, in words */

static void print_streams(FILE *out, const json_t *report)
{
    size_t i;
    const json_t *stream;
    fputs("\nstreams: who picks the events that matter, who judges what they say, and how much that weighs\n", out);
    if (json_array_size(json_object_get(report, "streams")) == 0)
        fputs("  none\n", out);
    json_array_foreach(json_object_get(report, "streams"), i, stream)
    {
        fprintf(out, "  %s picks, %s judges: %.2f", text(stream, "pick"), text(stream, "judge"),
                real(stream, "weight"));
        if (real(stream, "weight_per_log_count") != 0)
            fprintf(out, " %+.3f for each log(1 + training events of the candidate)",
                    real(stream, "weight_per_log_count"));
        fputc('\n', out);
    }
}

/* "3.1 steps" or "more than 64 steps"; for `seconds` an age */
static void print_half_life(FILE *out, const json_t *value, bool seconds)
{
    char age[32];
    print_age(age, json_number_value(value));
    if (json_is_null(value))
        fputs(seconds ? "age does not halve it" : "not within its table", out);
    else if (seconds)
        fputs(age, out);
    else
        fprintf(out, "%.1f steps", json_number_value(value));
}

static void print_half_lives(FILE *out, const char *before, const json_t *list, bool seconds)
{
    size_t i;
    const json_t *value;
    fputs(before, out);
    json_array_foreach(list, i, value)
    {
        fputs(i > 0 ? ", " : "", out);
        print_half_life(out, value, seconds);
    }
}

static void print_behaviours_of_pick(FILE *out, const json_t *similarity)
{
    const char *name;
    json_t *behaviour;
    json_object_foreach(json_object_get(similarity, "behaviours"), name, behaviour)
    {
        const json_t *half_life = json_object_get(behaviour, "half_life_seconds");
        fprintf(out, "    %s: weight %.2f, ", name, real(behaviour, "weight"));
        if (json_is_real(half_life) && json_real_value(half_life) <= 0)
            fputs("never half of a fresh one of weight 1", out);
        else
            print_half_life(out, half_life, true);
        fputc('\n', out);
    }
}

static void print_picks(FILE *out, const json_t *report)
{
    size_t i, j;
    const json_t *similarity, *temperature;
    fputs(
        "\npicks: temperature, half-life by steps of age and by time; of each behaviour the weight in a pick, and the\n"
        "age at which it is half of that of a fresh event of weight 1\n",
        out);
    json_array_foreach(json_object_get(report, "similarities"), i, similarity)
    {
        fprintf(out, "  %s (%s): temperature", text(similarity, "name"), text(similarity, "kind"));
        json_array_foreach(json_object_get(similarity, "temperature"), j, temperature)
            fprintf(out, "%s %.3g", j > 0 ? "," : "", json_number_value(temperature));
        fputs("; half-life ", out);
        print_half_life(out, json_object_get(similarity, "half_life_steps"), false);
        fputs("; by time ", out);
        print_half_life(out, json_object_get(similarity, "half_life_seconds"), true);
        fputc('\n', out);
        print_behaviours_of_pick(out, similarity);
    }
}

static void print_sequence(FILE *out, const json_t *report)
{
    size_t i;
    const json_t *sequence = json_object_get(report, "sequence"), *block;
    if (json_is_null(sequence))
        return;
    fprintf(out, "\nsequence: temperature %.3g; half-lives of its heads\n", real(sequence, "temperature"));
    json_array_foreach(json_object_get(sequence, "blocks"), i, block)
    {
        fprintf(out, "  block %zu", i);
        print_half_lives(out, ": ", json_object_get(block, "half_life_steps"), false);
        print_half_lives(out, "; by time ", json_object_get(block, "half_life_seconds"), true);
        fputc('\n', out);
    }
}

static void print_rest(FILE *out, const json_t *report)
{
    const char *name;
    json_t *value;
    const json_t *cooccurrence = json_object_get(report, "cooccurrence"), *prior = json_object_get(report, "prior");
    fprintf(out, "\nco-occurrence: %.2f, backwards %.2f of it, half-life ", real(cooccurrence, "weight"),
            real(cooccurrence, "reverse"));
    print_half_life(out, json_object_get(cooccurrence, "half_life_steps"), false);
    fprintf(out, ", epsilon %.3g\nprior: popularity %.3f, recent popularity %.3f, novelty %.3f\nwhat an event says:",
            real(cooccurrence, "epsilon"), real(prior, "popularity"), real(prior, "recent"), real(prior, "novelty"));
    json_object_foreach(json_object_get(report, "behaviours"), name, value)
        fprintf(out, " %s %+.2f", name, json_number_value(value));
    fputc('\n', out);
}

/* ---- what it was trained on */

static void print_value(FILE *out, const char *key, const json_t *value)
{
    char *dump = json_dumps(value, JSON_COMPACT | DUMP_FLAGS);
    size_t length = dump == NULL ? 0 : strlen(dump);
    if (json_is_string(value) && length >= 2) /* without its quotes; what is escaped stays escaped */
        fprintf(out, "  %-32s %.*s\n", key, (int)(length - 2), dump + 1);
    else
        fprintf(out, "  %-32s %s\n", key, dump == NULL ? "" : dump);
    free(dump);
}

/* members of members as "data.sha256" */
static void print_members(FILE *out, const char *prefix, const json_t *object, int depth)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)object, name, value)
    {
        char key[KEY_BYTES];
        snprintf(key, sizeof key, "%s%s%s", prefix, prefix[0] == '\0' ? "" : ".", name);
        if (json_is_object(value) && depth < DEPTH_MAX)
            print_members(out, key, value, depth + 1);
        else
            print_value(out, key, value);
    }
}

static void print_training(FILE *out, const json_t *report)
{
    const json_t *training = json_object_get(report, "training");
    fputs("\ntraining\n", out);
    if (json_is_object(training))
        print_members(out, "", training, 0);
    else
        print_value(out, "", training);
}

/* ---- the whole */

/* The file comes from anywhere, and so do the names in it: nothing of them may steer the terminal. */
static void put_clean(const char *text, size_t size, FILE *out)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        fputc((c < 0x20 && c != '\n') || c == 0x7f ? '?' : c, out);
    }
}

static bool print_words(const json_t *report)
{
    char *words = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&words, &size);
    if (out == NULL)
        return false;
    scols_init_debug(0);
    print_identity(out, report);
    fputc('\n', out);
    bool ok = print_tensors(out, report);
    fputc('\n', out);
    ok = ok && print_groups(out, report);
    print_streams(out, report);
    print_picks(out, report);
    print_sequence(out, report);
    print_rest(out, report);
    print_training(out, report);
    ok = fclose(out) == 0 && ok;
    if (ok)
        put_clean(words, size, stdout);
    free(words);
    return ok;
}

static bool inspect(const char *path, bool json, struct status *st)
{
    struct stat about = {0};
    if (!program_init(st))
        return false;
    struct model *model = train_scorer_read_model(path, st);
    if (model == NULL)
        return false;
    json_t *report = stat(path, &about) == 0 ? inspection_report(model) : NULL;
    model_release(model);
    bool ok = report != NULL && json_object_set_new(report, "file_bytes", json_integer(about.st_size)) == 0;
    if (ok && json)
        ok = json_dumpf(report, stdout, JSON_INDENT(2) | DUMP_FLAGS) == 0 && putchar('\n') != EOF;
    else if (ok)
        ok = print_words(report);
    json_decref(report);
    if (!ok && !ferror(stdout))
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to tell about '%s'", path);
    return (fflush(stdout) == 0 && !ferror(stdout)) ||
           status_fail(st, STATUS_UNAVAILABLE, "OUTPUT", "write to standard output: %m");
}

int train_inspect(int argc, char **argv)
{
    static const struct option table[] = {
        {"output", required_argument, NULL, 'o'}, {"help", no_argument, NULL, 'h'}, {0}};
    struct status st = STATUS_INIT;
    bool json = false;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "o:h", table, NULL)) != -1;) {
        switch (option) {
        case 'o':
            if (strcmp(optarg, "json") != 0 && strcmp(optarg, "table") != 0)
                return program_usage_error(NAME, "cannot take", optarg);
            json = optarg[0] == 'j';
            break;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            return program_usage_error(NAME, "unknown option or missing value:", argv[optind - 1]);
        }
    }
    if (optind == argc)
        return program_usage_error(NAME, "the model file is missing", NULL);
    if (optind + 1 < argc)
        return program_usage_error(NAME, "unexpected argument", argv[optind + 1]);
    return inspect(argv[optind], json, &st) ? 0 : program_fail(NAME, &st);
}
