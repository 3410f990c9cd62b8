/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/metrics.h"

#include <assert.h>
#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <unistr.h>

enum { METHODS_MAX = 64, INFOS = 2 };

/* Upper bounds, with their text, which must never vary: a changed `le` is another series to Prometheus. */
static const struct bound {
    double seconds;
    const char *text;
} BOUNDS[] = {
    {0.0001, "0.0001"}, {0.00025, "0.00025"}, {0.0005, "0.0005"}, {0.001, "0.001"}, {0.0025, "0.0025"},
    {0.005, "0.005"},   {0.01, "0.01"},       {0.025, "0.025"},   {0.05, "0.05"},   {0.1, "0.1"},
    {0.25, "0.25"},     {0.5, "0.5"},         {1, "1"},           {2.5, "2.5"},
};
#define BOUND_COUNT (sizeof BOUNDS / sizeof BOUNDS[0])

/* One slot per code, and one for numbers that are no code. */
enum {
#define CODE_SLOT(name, number, label, exit_code) SLOT_##name,
    STATUS_CODES(CODE_SLOT) SLOT_UNKNOWN,
    SLOT_COUNT
#undef CODE_SLOT
};

static const char *const SLOT_LABELS[] = {
#define CODE_LABEL(name, number, label, exit_code) label,
    STATUS_CODES(CODE_LABEL) "unknown"
#undef CODE_LABEL
};

/* There is no separate count: the sum of the buckets is the count, so a scrape in the middle of an observation still
 * adds up. */
struct histogram {
    _Atomic uint64_t buckets[BOUND_COUNT + 1]; /* not cumulative; the last one is beyond all bounds */
    _Atomic uint64_t sum_ns;                   /* whole nanoseconds: addition needs no compare-and-swap loop */
};

struct method {
    _Atomic(const char *) name; /* NULL: free. Set once */
    _Atomic uint64_t codes[SLOT_COUNT];
    struct histogram duration;
};

static _Atomic uint64_t counters[METRICS_COUNTER_COUNT];
static _Atomic double gauges[METRICS_GAUGE_COUNT];
static struct histogram histograms[METRICS_HISTOGRAM_COUNT];
static struct method methods[METHODS_MAX];
static struct method other_methods = {.name = "other"};

static pthread_mutex_t info_lock = PTHREAD_MUTEX_INITIALIZER;
static struct info {
    const char *name;
    const char *help;
    char *labels; /* "{...}" or "", malloc'ed; NULL until set; guarded by info_lock */
} infos[INFOS] = {
    {"build_info", "what this program was built from", NULL},
    {"model_info", "the active model", NULL},
};

void metrics_add(enum metrics_counter counter, uint64_t amount)
{
    atomic_fetch_add_explicit(&counters[counter], amount, memory_order_relaxed);
}

uint64_t metrics_get(enum metrics_counter counter)
{
    return atomic_load_explicit(&counters[counter], memory_order_relaxed);
}

void metrics_set(enum metrics_gauge gauge, double value)
{
    atomic_store_explicit(&gauges[gauge], value, memory_order_relaxed);
}

static void observe(struct histogram *histogram, double seconds)
{
    if (!(seconds > 0)) /* NaN, or a clock that went backwards */
        seconds = 0;
    size_t bucket = 0;
    while (bucket < BOUND_COUNT && seconds > BOUNDS[bucket].seconds)
        bucket++;
    const uint64_t ns = (uint64_t)((seconds < 1e9 ? seconds : 1e9) * 1e9 + 0.5);
    atomic_fetch_add_explicit(&histogram->buckets[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum_ns, ns, memory_order_relaxed);
}

void metrics_observe(enum metrics_histogram histogram, double seconds)
{
    observe(&histograms[histogram], seconds);
}

/* Slots are taken in order and never given back, so the first free one ends the search. */
static struct method *find_method(const char *name)
{
    if (strcmp(name, "other") == 0)
        return &other_methods;
    for (size_t i = 0; i < METHODS_MAX; i++) {
        const char *taken = atomic_load(&methods[i].name);
        if (taken == NULL && atomic_compare_exchange_strong(&methods[i].name, &taken, name))
            return &methods[i];
        if (taken == name || strcmp(taken, name) == 0)
            return &methods[i];
    }
    return &other_methods;
}

static size_t code_slot(enum status_code code)
{
    switch (code) {
#define SLOT_OF(name, number, label, exit_code)                                                                        \
    case STATUS_##name:                                                                                                \
        return SLOT_##name;
        STATUS_CODES(SLOT_OF)
#undef SLOT_OF
    }
    return SLOT_UNKNOWN;
}

void metrics_request(const char *method, enum status_code code, double seconds)
{
    struct method *slot = find_method(method == NULL ? "unknown" : method);
    atomic_fetch_add_explicit(&slot->codes[code_slot(code)], 1, memory_order_relaxed);
    observe(&slot->duration, seconds);
}

/* A label value, quoted. Text that is no UTF-8 would make Prometheus drop the whole scrape. */
static void write_value(FILE *out, const char *value)
{
    const bool is_utf8 = u8_check((const uint8_t *)value, strlen(value)) == NULL;
    fputc('"', out);
    for (const char *at = value; *at != '\0'; at++) {
        if (*at == '\n')
            fputs("\\n", out);
        else if (*at == '"' || *at == '\\')
            fprintf(out, "\\%c", *at);
        else
            fputc(!is_utf8 && (unsigned char)*at >= 0x80 ? '?' : *at, out);
    }
    fputc('"', out);
}

/* Close a memory stream; NULL when anything written to it was lost. */
static char *close_text(FILE *out, char **text)
{
    const bool failed = ferror(out) != 0;
    if (fclose(out) == 0 && !failed)
        return *text;
    free(*text);
    return NULL;
}

static char *labels_text(const char *const (*labels)[2], size_t label_count)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return NULL;
    for (size_t i = 0; i < label_count; i++) {
        fprintf(out, "%c%s=", i == 0 ? '{' : ',', labels[i][0]);
        write_value(out, labels[i][1]);
    }
    if (label_count > 0)
        fputc('}', out);
    return close_text(out, &text);
}

void metrics_info(const char *name, const char *const (*labels)[2], size_t label_count)
{
    size_t i = 0;
    while (i < INFOS && strcmp(infos[i].name, name) != 0)
        i++;
    assert(i < INFOS);
    char *text = labels_text(labels, label_count);
    if (text == NULL) /* out of memory: the old one stays */
        return;
    pthread_mutex_lock(&info_lock);
    char *old = infos[i].labels;
    infos[i].labels = text;
    pthread_mutex_unlock(&info_lock);
    free(old);
}

static void write_head(FILE *out, const char *name, const char *suffix, const char *type, const char *help)
{
    fprintf(out, "# HELP %s%s %s\n# TYPE %s%s %s\n", name, suffix, help, name, suffix, type);
}

/* The shortest text that reads back to the same number. */
static void write_number(FILE *out, double value)
{
    char text[32];
    if (isnan(value)) {
        fputs("NaN\n", out);
        return;
    }
    if (isinf(value)) {
        fputs(value > 0 ? "+Inf\n" : "-Inf\n", out);
        return;
    }
    snprintf(text, sizeof text, "%.15g", value);
    if (strtod(text, NULL) != value)
        snprintf(text, sizeof text, "%.17g", value);
    fprintf(out, "%s\n", text);
}

static void write_histogram(FILE *out, const char *name, const char *method, struct histogram *histogram)
{
    uint64_t total = 0;
    for (size_t i = 0; i <= BOUND_COUNT; i++) {
        total += atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
        fprintf(out, "recsysd_%s_bucket{", name);
        if (method != NULL) {
            fputs("method=", out);
            write_value(out, method);
            fputc(',', out);
        }
        fprintf(out, "le=\"%s\"} %llu\n", i < BOUND_COUNT ? BOUNDS[i].text : "+Inf", (unsigned long long)total);
    }
    const uint64_t sum_ns = atomic_load_explicit(&histogram->sum_ns, memory_order_relaxed);
    for (int is_count = 0; is_count <= 1; is_count++) {
        fprintf(out, "recsysd_%s_%s", name, is_count ? "count" : "sum");
        if (method != NULL) {
            fputs("{method=", out);
            write_value(out, method);
            fputc('}', out);
        }
        if (is_count)
            fprintf(out, " %llu\n", (unsigned long long)total);
        else
            fprintf(out, " %llu.%09llu\n", (unsigned long long)(sum_ns / 1000000000),
                    (unsigned long long)(sum_ns % 1000000000));
    }
}

static void write_scalars(FILE *out)
{
#define WRITE_COUNTER(name, help)                                                                                      \
    write_head(out, "recsysd_" #name, "_total", "counter", help);                                                      \
    fprintf(out, "recsysd_" #name "_total %llu\n", (unsigned long long)metrics_get(METRICS_COUNTER_##name));
#define WRITE_GAUGE(name, help)                                                                                        \
    write_head(out, "recsysd_" #name, "", "gauge", help);                                                              \
    fputs("recsysd_" #name " ", out);                                                                                  \
    write_number(out, atomic_load_explicit(&gauges[METRICS_GAUGE_##name], memory_order_relaxed));
    METRICS_COUNTERS(WRITE_COUNTER)
    METRICS_GAUGES(WRITE_GAUGE)
#undef WRITE_COUNTER
#undef WRITE_GAUGE
}

static void write_histograms(FILE *out)
{
#define WRITE_HISTOGRAM(name, help)                                                                                    \
    write_head(out, "recsysd_" #name, "", "histogram", help);                                                          \
    write_histogram(out, #name, NULL, &histograms[METRICS_HISTOGRAM_##name]);
    METRICS_HISTOGRAMS(WRITE_HISTOGRAM)
#undef WRITE_HISTOGRAM
}

static void write_method_counts(FILE *out, const char *name, struct method *method)
{
    for (size_t slot = 0; slot < SLOT_COUNT; slot++) {
        const uint64_t count = atomic_load_explicit(&method->codes[slot], memory_order_relaxed);
        if (count == 0)
            continue;
        fputs("recsysd_requests_total{method=", out);
        write_value(out, name);
        fprintf(out, ",code=\"%s\"} %llu\n", SLOT_LABELS[slot], (unsigned long long)count);
    }
}

/* `other` is shown only once it has been needed. */
static bool method_used(struct method *method)
{
    for (size_t slot = 0; slot < SLOT_COUNT; slot++)
        if (atomic_load_explicit(&method->codes[slot], memory_order_relaxed) != 0)
            return true;
    return false;
}

/* The samples of one metric must stand together, so the methods are walked twice. */
static void write_requests(FILE *out)
{
    struct method *used[METHODS_MAX + 1];
    size_t used_count = 0;
    for (size_t i = 0; i < METHODS_MAX; i++)
        if (atomic_load(&methods[i].name) != NULL)
            used[used_count++] = &methods[i];
    if (method_used(&other_methods))
        used[used_count++] = &other_methods;
    write_head(out, "recsysd_requests", "_total", "counter", "requests answered");
    for (size_t i = 0; i < used_count; i++)
        write_method_counts(out, atomic_load(&used[i]->name), used[i]);
    write_head(out, "recsysd_request_duration_seconds", "", "histogram", "from the socket to the reply");
    for (size_t i = 0; i < used_count; i++)
        write_histogram(out, "request_duration_seconds", atomic_load(&used[i]->name), &used[i]->duration);
}

static void write_infos(FILE *out)
{
    pthread_mutex_lock(&info_lock);
    for (size_t i = 0; i < INFOS; i++) {
        if (infos[i].labels == NULL)
            continue;
        fprintf(out, "# HELP recsysd_%s %s\n# TYPE recsysd_%s gauge\n", infos[i].name, infos[i].help, infos[i].name);
        fprintf(out, "recsysd_%s%s 1\n", infos[i].name, infos[i].labels);
    }
    pthread_mutex_unlock(&info_lock);
}

/* What /proc/self/stat says, see proc(5); times in clock ticks. */
struct process_stat {
    unsigned long user_ticks, system_ticks;
    unsigned long long start_ticks; /* since boot */
    unsigned long virtual_bytes;
    long resident_pages;
};

static bool read_stat(struct process_stat *stat)
{
    char text[1024];
    FILE *in = fopen("/proc/self/stat", "re");
    if (in == NULL)
        return false;
    const size_t size = fread(text, 1, sizeof text - 1, in);
    fclose(in);
    text[size] = '\0';
    const char *after_name = strrchr(text, ')'); /* the name itself may hold blanks and brackets */
    return after_name != NULL &&
           sscanf(after_name + 1,
                  " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d %llu %lu %ld",
                  &stat->user_ticks, &stat->system_ticks, &stat->start_ticks, &stat->virtual_bytes,
                  &stat->resident_pages) == 5;
}

static double clock_seconds(clockid_t clock)
{
    struct timespec now = {0};
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static pthread_once_t boot_once = PTHREAD_ONCE_INIT;
static double boot_seconds; /* when the machine started, Unix time */

/* Taken once: a start time that wanders with every correction of the clock looks like a restart. Not from /proc/stat,
 * which a sandbox may hide. */
static void read_boot_time(void)
{
    boot_seconds = clock_seconds(CLOCK_REALTIME) - clock_seconds(CLOCK_BOOTTIME);
}

static bool count_open_files(double *count)
{
    DIR *directory = opendir("/proc/self/fd");
    if (directory == NULL)
        return false;
    double found = -1; /* the directory's own descriptor is not the daemon's */
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
        if (entry->d_name[0] != '.')
            found++;
    closedir(directory);
    *count = found;
    return true;
}

static void write_process_value(FILE *out, const char *name, const char *type, const char *help, double value)
{
    write_head(out, name, "", type, help);
    fprintf(out, "%s ", name);
    write_number(out, value);
}

static void write_process(FILE *out)
{
    const double ticks = (double)sysconf(_SC_CLK_TCK);
    struct process_stat stat;
    if (read_stat(&stat)) {
        pthread_once(&boot_once, read_boot_time);
        write_process_value(out, "process_cpu_seconds_total", "counter", "processor time, user and system",
                            (double)(stat.user_ticks + stat.system_ticks) / ticks);
        write_process_value(out, "process_resident_memory_bytes", "gauge", "resident memory",
                            (double)stat.resident_pages * (double)sysconf(_SC_PAGESIZE));
        write_process_value(out, "process_virtual_memory_bytes", "gauge", "virtual memory", (double)stat.virtual_bytes);
        write_process_value(out, "process_start_time_seconds", "gauge", "when the process started, Unix time",
                            boot_seconds + (double)stat.start_ticks / ticks);
    }
    double open_files;
    if (count_open_files(&open_files))
        write_process_value(out, "process_open_fds", "gauge", "open file descriptors", open_files);
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        write_process_value(out, "process_max_fds", "gauge", "file descriptors at most",
                            limit.rlim_cur == RLIM_INFINITY ? INFINITY : (double)limit.rlim_cur);
}

char *metrics_render(size_t *size)
{
    char *text = NULL;
    size_t text_size = 0;
    FILE *out = open_memstream(&text, &text_size);
    if (out == NULL)
        return NULL;
    write_infos(out);
    write_requests(out);
    write_scalars(out);
    write_histograms(out);
    write_process(out);
    if (close_text(out, &text) == NULL)
        return NULL;
    *size = text_size;
    return text;
}
