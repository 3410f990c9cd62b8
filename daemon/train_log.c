/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/train_log.h"

#include "daemon/timestamp.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME        "recsys-train"
#define LINE_BYTES  65536 /* of a record; ours are far shorter, but for options */
#define FACTS_BYTES 160
#define DUMP_FLAGS  (JSON_COMPACT | JSON_REAL_PRECISION(9))

/* The numbers of an epoch, in the order of the record.
 *   stages that have it, as bits; whether it is a curve */
#define STAGE(number) (1 << (number))
#define BOTH_ENCODERS (STAGE(TRAIN_STAGE_ENCODER) | STAGE(TRAIN_STAGE_AGAIN))
#define EVERY_STAGE   (BOTH_ENCODERS | STAGE(TRAIN_STAGE_HEAD))
static const struct {
    const char *key;
    size_t offset; /* in struct train_epoch, of a double */
    int stages;
    bool curve;
} numbers[] = {
    {"loss", offsetof(struct train_epoch, loss), EVERY_STAGE, true},
    {"validation_loss", offsetof(struct train_epoch, validation_loss), STAGE(TRAIN_STAGE_HEAD), true},
    {"validation_ndcg@10", offsetof(struct train_epoch, ndcg), BOTH_ENCODERS, true},
    {"validation_hr@10", offsetof(struct train_epoch, hit_rate), BOTH_ENCODERS, true},
    {"learning_rate", offsetof(struct train_epoch, learning_rate), EVERY_STAGE, true},
    {"gradient_norm", offsetof(struct train_epoch, gradient_norm), EVERY_STAGE, true},
    {"seconds", offsetof(struct train_epoch, seconds), EVERY_STAGE, false},
    {"events_per_second", offsetof(struct train_epoch, events_per_second), EVERY_STAGE, true},
};
#define NUMBERS (sizeof numbers / sizeof *numbers)

/* NAN where that stage does not have the number */
static double number_of(const struct train_epoch *epoch, size_t index)
{
    double value;
    if (epoch->stage < TRAIN_STAGE_ENCODER || epoch->stage > TRAIN_STAGE_AGAIN ||
        (numbers[index].stages & STAGE(epoch->stage)) == 0)
        return NAN;
    memcpy(&value, (const char *)epoch + numbers[index].offset, sizeof value);
    return value;
}

int train_log_epochs_left(const struct train_epoch *epoch)
{
    int left = epoch->epochs_most - epoch->epoch;
    if (epoch->patience > 0 && epoch->best_epoch > 0) {
        int patient = epoch->best_epoch + epoch->patience - epoch->epoch;
        left = patient < left ? patient : left;
    }
    return left > 0 ? left : 0;
}

/* ---- opening */

static bool is_after(const struct train_log_place *place, const json_t *record)
{
    json_int_t stage = json_integer_value(json_object_get(record, "stage"));
    return stage > place->stage ||
           (stage == place->stage && json_integer_value(json_object_get(record, "epoch")) > place->epoch);
}

/* Where the part ends that the checkpoint has seen: after the last epoch up to `place`, or after the first record. `*steps` epochs are in it. */
static bool find_end(FILE *file, const struct train_log_place *place, long *end, int64_t *steps)
{
    char *line = malloc(LINE_BYTES);
    bool going_on = line != NULL;
    *end = 0;
    *steps = 0;
    while (going_on && fgets(line, LINE_BYTES, file) != NULL && strchr(line, '\n') != NULL) {
        json_t *record = json_loads(line, 0, NULL);
        bool is_epoch =
            json_is_integer(json_object_get(record, "epoch")) && !json_is_string(json_object_get(record, "event"));
        going_on = record != NULL && !(is_epoch && is_after(place, record));
        if (going_on && (is_epoch || *end == 0)) {
            *end = ftell(file);
            *steps += is_epoch;
        }
        json_decref(record);
    }
    free(line);
    return line != NULL;
}

static bool open_file(struct train_log *log, const struct train_log_place *resume, struct status *st)
{
    long end = 0;
    log->file = resume != NULL ? fopen(log->path, "r+e") : NULL;
    if (log->file == NULL)
        log->file = fopen(log->path, "we");
    if (log->file == NULL)
        return status_fail(st, STATUS_ALREADY_EXISTS, "OUTPUT", "create '%s': %m", log->path);
    if (resume == NULL)
        return true;
    if (!find_end(log->file, resume, &end, &log->step))
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to read '%s'", log->path);
    return (end >= 0 && fseek(log->file, end, SEEK_SET) == 0 && ftruncate(fileno(log->file), end) == 0) ||
           status_fail(st, STATUS_UNAVAILABLE, "OUTPUT", "cut '%s': %m", log->path);
}

bool train_log_open(struct train_log *log, const char *model_path, const struct train_log_place *resume, bool quiet,
                    struct status *st)
{
    char dir[sizeof log->path];
    *log = (struct train_log){.style = quiet ? PROGRESS_NONE : progress_style_of_stderr(), .resumed = resume != NULL};
    int length = snprintf(log->path, sizeof log->path, "%s.ndjson", model_path);
    int dir_length = snprintf(dir, sizeof dir, "%s.tb", model_path);
    int64_t now_ms = timestamp_now_ms();
    bool ok = (length > 0 && (size_t)length < sizeof log->path && dir_length > 0) ||
              status_fail(st, STATUS_INVALID_ARGUMENT, "OUTPUT", "the name of the model file is too long");
    ok = ok && open_file(log, resume, st) && tensorboard_open(&log->board, dir, now_ms, st) &&
         tensorboard_restart(&log->board, log->step + 1, now_ms, st);
    if (!ok)
        train_log_close(log);
    return ok;
}

void train_log_close(struct train_log *log)
{
    train_log_clear(log);
    if (log->file != NULL)
        fclose(log->file);
    tensorboard_close(&log->board);
    *log = (struct train_log){0};
}

/* ---- records */

/* takes the reference; the line is in the file on return, for whoever follows it */
static bool write_record(struct train_log *log, json_t *record, struct status *st)
{
    char *text = record == NULL ? NULL : json_dumps(record, DUMP_FLAGS);
    json_decref(record);
    if (text == NULL)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for a record of '%s'", log->path);
    bool ok = fprintf(log->file, "%s\n", text) > 0 && fflush(log->file) == 0;
    free(text);
    return ok || status_fail(st, STATUS_RESOURCE_EXHAUSTED, "DISK_FULL", "write '%s': %m", log->path);
}

static json_t *event_record(const char *event, const json_t *facts)
{
    char at[32];
    timestamp_format(timestamp_now_ms(), at);
    json_t *record = json_pack("{s:s, s:s}", "event", event, "at", at);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)facts, key, value)
    {
        if (json_object_get(record, key) == NULL)
            json_object_set(record, key, value);
    }
    return record;
}

bool train_log_begin(struct train_log *log, const json_t *facts, struct status *st)
{
    return write_record(log, event_record(log->resumed ? "resume" : "begin", facts), st);
}

static void set_number(json_t *object, const char *key, double value)
{
    if (isfinite(value))
        json_object_set_new(object, key, json_real(value));
}

static json_t *epoch_record(const struct train_log *log, const struct train_epoch *epoch, double eta_s)
{
    json_t *record =
        json_pack("{s:i, s:i, s:I}", "stage", epoch->stage, "epoch", epoch->epoch, "step", (json_int_t)log->step);
    for (size_t i = 0; i < NUMBERS; i++)
        set_number(record, numbers[i].key, number_of(epoch, i));
    if (epoch->best_epoch > 0)
        json_object_set_new(record, "best_epoch", json_integer(epoch->best_epoch));
    set_number(record, "eta_seconds", eta_s);
    json_t *scalars = epoch->scalar_count > 0 ? json_object() : NULL;
    for (size_t i = 0; i < epoch->scalar_count; i++)
        set_number(scalars, epoch->scalars[i].name, epoch->scalars[i].value);
    if (scalars != NULL)
        json_object_set_new(record, "scalars", scalars);
    return record;
}

static bool draw_curve(struct train_log *log, int stage, const char *name, double value, struct status *st)
{
    char tag[TENSORBOARD_TAG_MAX + 1];
    if (!isfinite(value))
        return true;
    int length = snprintf(tag, sizeof tag, "stage%d/%s", stage, name);
    return length < 0 || tensorboard_scalar(&log->board, tag, log->step, value, timestamp_now_ms(), st);
}

static bool draw_curves(struct train_log *log, const struct train_epoch *epoch, struct status *st)
{
    bool ok = true;
    for (size_t i = 0; ok && i < NUMBERS; i++)
        ok = !numbers[i].curve || draw_curve(log, epoch->stage, numbers[i].key, number_of(epoch, i), st);
    for (size_t i = 0; ok && i < epoch->scalar_count; i++)
        ok = draw_curve(log, epoch->stage, epoch->scalars[i].name, epoch->scalars[i].value, st);
    return ok;
}

/* ---- the terminal */

static void append(char *text, size_t size, const char *before, double value, int digits, const char *after)
{
    size_t used = strlen(text);
    if (isfinite(value))
        snprintf(text + used, size - used, "%s%.*f%s", before, digits, value, after);
}

/* `loss` and `rate` are of the epoch that runs, or of the one that has ended; how good it is, of the last that ended */
static void describe(char facts[FACTS_BYTES], const struct train_log *log, double loss, double rate, double eta_s)
{
    const struct train_epoch *last = &log->last;
    const size_t size = FACTS_BYTES;
    char left[32];
    facts[0] = '\0';
    append(facts, size, "loss ", loss, 4, "");
    if (last->epoch > 0 && last->stage == TRAIN_STAGE_HEAD)
        append(facts, size, "  validation ", last->validation_loss, 4, "");
    else if (last->epoch > 0)
        append(facts, size, "  NDCG@10 ", last->ndcg, 4, "");
    if (last->best_epoch > 0 && log->style == PROGRESS_LINES) /* beside a bar there is no room in 80 columns */
        append(facts, size, "  best epoch ", last->best_epoch, 0, "");
    append(facts, size, "  ", rate, 0, "/s");
    progress_span(left, eta_s);
    size_t used = strlen(facts);
    snprintf(facts + used, size - used, "  ETA %s", left);
}

static double mean_seconds(const struct train_log *log)
{
    return log->stage_epochs > 0 ? log->stage_seconds / log->stage_epochs : NAN;
}

/* on a terminal the line is redrawn: the bar is the share of all epochs that the stage may have */
static void show(struct train_log *log, int epoch, double share, const char *facts)
{
    char label[64], text[PROGRESS_TEXT_BYTES];
    snprintf(label, sizeof label, "stage %d epoch %d/%d", log->stage, epoch, log->epochs_most);
    if (log->style == PROGRESS_BAR) {
        double done = log->epochs_most > 0 ? (epoch - 1 + share) / log->epochs_most : -1;
        progress_line(text, progress_columns(), label, done, facts);
        progress_draw(text);
        log->visible = true;
    } else if (log->style == PROGRESS_LINES) {
        progress_line(text, 0, label, -1, facts);
        fprintf(stderr, NAME ": %s\n", text);
    }
}

/* the last line of a stage stays on the terminal */
static void leave_line(struct train_log *log)
{
    if (log->visible)
        fputc('\n', stderr);
    log->visible = false;
}

void train_log_stage(struct train_log *log, int stage, int epoch, int epochs_most)
{
    leave_line(log);
    log->stage = stage;
    log->epoch = epoch + 1;
    log->epochs_most = epochs_most;
    log->stage_epochs = 0;
    log->stage_seconds = 0;
    log->last = (struct train_epoch){.stage = stage};
    log->epoch_started_us = timestamp_monotonic_us();
}

/* of the stage, with `share` of the running epoch done in `elapsed_s` */
static double seconds_left(const struct train_log *log, double share, double elapsed_s)
{
    int after = log->last.epoch > 0 ? train_log_epochs_left(&log->last) - 1 : log->epochs_most - log->epoch;
    double epochs = (after > 0 ? after : 0) + 1 - share;
    if (log->stage_epochs > 0)
        return epochs * mean_seconds(log);
    return share > 0 ? epochs * elapsed_s / share : NAN;
}

void train_log_step(void *context, size_t done, size_t count, double loss)
{
    struct train_log *log = context;
    int64_t now_us = timestamp_monotonic_us();
    if (log->style != PROGRESS_BAR || now_us - log->drawn_us < PROGRESS_DRAW_EVERY_US)
        return;
    char facts[FACTS_BYTES];
    double elapsed_s = (double)(now_us - log->epoch_started_us) / 1e6;
    double share = done < count ? (double)done / (double)count : 1;
    describe(facts, log, loss, elapsed_s > 0 ? (double)done / elapsed_s : NAN, seconds_left(log, share, elapsed_s));
    show(log, log->epoch, share, facts);
    log->drawn_us = now_us;
}

bool train_log_epoch(struct train_log *log, const struct train_epoch *epoch, struct status *st)
{
    char facts[FACTS_BYTES];
    if (epoch->stage != log->stage)
        train_log_stage(log, epoch->stage, epoch->epoch - 1, epoch->epochs_most);
    log->step++;
    log->stage_epochs++;
    log->stage_seconds += epoch->seconds;
    log->epoch = epoch->epoch + 1;
    log->epochs_most = epoch->epochs_most;
    log->epoch_started_us = timestamp_monotonic_us();
    log->last = *epoch;
    log->last.scalars = NULL; /* the caller's, for the call */
    log->last.scalar_count = 0;
    double eta_s = train_log_epochs_left(epoch) * mean_seconds(log);
    describe(facts, log, epoch->loss, epoch->events_per_second, eta_s);
    show(log, epoch->epoch, 1, facts);
    return write_record(log, epoch_record(log, epoch, eta_s), st) && draw_curves(log, epoch, st);
}

bool train_log_end(struct train_log *log, const json_t *facts, struct status *st)
{
    leave_line(log);
    return write_record(log, event_record("end", facts), st);
}

void train_log_clear(struct train_log *log)
{
    if (log->visible)
        progress_erase();
    log->visible = false;
}
