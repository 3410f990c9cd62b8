/* SPDX-License-Identifier: Apache-2.0
 *
 * recsys-rescore: lists for all users, to a file. */
#include "daemon/program.h"
#include "daemon/rescore.h"
#include "proto/recsys_client.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME "recsys-rescore"

static const char usage[] =
    "usage: recsys-rescore --data-dir DIR --out FILE [-n N] [--users FILE] [--threads T] [--shard I/N] [--resume] "
    "[--now MS]\n"
    "       recsys-rescore --data-dir DIR --verify N --endpoint E\n"
    "\n"
    "  -d, --data-dir DIR    the shop; the daemon may be running\n"
    "  -c, --config FILE     settings\n"
    "  -o, --out FILE        NDJSON: a line that names the inputs, then a line per user\n"
    "  -n N                  items in a list (default 10)\n"
    "      --users FILE      only these, one id a line; default: every user\n"
    "  -t, --threads T       default: one per core; the output does not depend on it\n"
    "      --shard I/N       the I-th of N shards, from 0; their lists concatenated are those of one run\n"
    "      --resume          go on with an output that was interrupted, with the inputs it names\n"
    "      --now MS          answer as of this time (default: now)\n"
    "      --verify N        compare N random users' lists with the running daemon's\n"
    "      --endpoint E      of that daemon (default " RECSYS_DEFAULT_ENDPOINT ")\n"
    "      --seed S          of the choice of users to verify (default 1)\n"
    "  -q, --quiet           no progress\n"
    "\n"
    "Exit code 1: lists differ. See recsys-rescore(1).\n";

struct options {
    const char *data_dir, *config_file, *out, *users, *endpoint;
    int64_t n, threads, shard, shards, verify, seed;
    struct rescore_inputs inputs;
    bool resume, quiet;
};

static bool parse_shard(struct options *o, const char *text)
{
    char part[32];
    const char *slash = strchr(text, '/');
    if (slash == NULL || (size_t)(slash - text) >= sizeof part)
        return false;
    memcpy(part, text, (size_t)(slash - text));
    part[slash - text] = '\0';
    return program_number(slash + 1, 1, RESCORE_BUCKETS, &o->shards) &&
           program_number(part, 0, o->shards - 1, &o->shard);
}

/* 0: go on; otherwise exit with that code - 1 */
static int parse(struct options *o, int argc, char **argv)
{
    enum { USERS = 256, SHARD, RESUME, NOW, VERIFY, ENDPOINT, SEED, VERSION };
    static const struct option table[] = {{"data-dir", required_argument, NULL, 'd'},
                                          {"config", required_argument, NULL, 'c'},
                                          {"out", required_argument, NULL, 'o'},
                                          {"users", required_argument, NULL, USERS},
                                          {"threads", required_argument, NULL, 't'},
                                          {"shard", required_argument, NULL, SHARD},
                                          {"resume", no_argument, NULL, RESUME},
                                          {"now", required_argument, NULL, NOW},
                                          {"verify", required_argument, NULL, VERIFY},
                                          {"endpoint", required_argument, NULL, ENDPOINT},
                                          {"seed", required_argument, NULL, SEED},
                                          {"quiet", no_argument, NULL, 'q'},
                                          {"version", no_argument, NULL, VERSION},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "d:c:o:n:t:qh", table, NULL)) != -1;) {
        bool ok = true;
        switch (option) {
        case 'd':
            o->data_dir = optarg;
            break;
        case 'c':
            o->config_file = optarg;
            break;
        case 'o':
            o->out = optarg;
            break;
        case 'n':
            ok = program_number(optarg, 1, 100000, &o->n);
            break;
        case USERS:
            o->users = optarg;
            break;
        case 't':
            ok = program_number(optarg, 1, 256, &o->threads);
            break;
        case SHARD:
            ok = parse_shard(o, optarg);
            break;
        case RESUME:
            o->resume = true;
            break;
        case NOW:
            ok = program_number(optarg, 1, INT64_MAX, &o->inputs.now_ms);
            break;
        case VERIFY:
            ok = program_number(optarg, 1, 100000000, &o->verify);
            break;
        case ENDPOINT:
            o->endpoint = optarg;
            break;
        case SEED:
            ok = program_number(optarg, 0, INT64_MAX, &o->seed);
            break;
        case 'q':
            o->quiet = true;
            break;
        case VERSION:
            printf(NAME " %s\n", RECSYSD_VERSION);
            return 1;
        case 'h':
            fputs(usage, stdout);
            return 1;
        default:
            return 1 + program_usage_error(NAME, "unknown option or missing value:", argv[optind - 1]);
        }
        if (!ok)
            return 1 + program_usage_error(NAME, "cannot take", optarg);
    }
    if (optind < argc)
        return 1 + program_usage_error(NAME, "unexpected argument", argv[optind]);
    if (o->out == NULL && o->verify == 0)
        return 1 + program_usage_error(NAME, "--out or --verify is missing", NULL);
    return 0;
}

/* ---- the output */

static void name_shard(char shard[48], const struct options *o)
{
    snprintf(shard, 48, "%lld/%lld", (long long)o->shard, (long long)o->shards);
}

static void print_inputs(FILE *out, const struct rescore *r, const struct options *o)
{
    char shard[48];
    name_shard(shard, o);
    json_t *line = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:s}", "seq", r->seq, "catalogue", r->catalogue,
                             "model", r->model, "counts", r->counts, "now_ms", (json_int_t)r->now_ms, "n",
                             (json_int_t)r->n, "shard", shard, "users", o->users == NULL ? "all" : o->users);
    json_dumpf(line, out, JSON_COMPACT);
    fputc('\n', out);
    json_decref(line);
}

static void copy(char *out, size_t size, const json_t *line, const char *key)
{
    const char *text = json_string_value(json_object_get(line, key));
    snprintf(out, size, "%s", text == NULL ? "" : text);
}

/* is it the same part of the same users that the output was begun for? */
static bool same_users(const json_t *head, const struct options *o, struct status *st)
{
    char shard[48], theirs[48], users[4096];
    name_shard(shard, o);
    copy(theirs, sizeof theirs, head, "shard");
    copy(users, sizeof users, head, "users");
    if (strcmp(shard, theirs) == 0 && strcmp(users, o->users == NULL ? "all" : o->users) == 0)
        return true;
    return status_fail(st, STATUS_FAILED_PRECONDITION, "BAD_OUTPUT", "'%s' was begun for shard %s of users '%s'",
                       o->out, theirs, users);
}

/* Read the inputs of an interrupted run and where its last whole line ends; cut off what follows. `*lines` lists are there. */
static bool read_output(FILE *file, struct options *o, size_t *lines, struct status *st)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length = getline(&line, &capacity, file);
    json_t *head = length > 0 ? json_loads(line, 0, NULL) : NULL;
    long end = 0;
    bool ok = head != NULL && json_string_value(json_object_get(head, "seq")) != NULL;
    if (!ok)
        status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_OUTPUT", "'%s' is no output of this program", o->out);
    ok = ok && same_users(head, o, st);
    if (ok) {
        copy(o->inputs.seq, sizeof o->inputs.seq, head, "seq");
        copy(o->inputs.catalogue, sizeof o->inputs.catalogue, head, "catalogue");
        copy(o->inputs.model, sizeof o->inputs.model, head, "model");
        copy(o->inputs.counts, sizeof o->inputs.counts, head, "counts");
        o->inputs.now_ms = json_integer_value(json_object_get(head, "now_ms"));
        o->n = json_integer_value(json_object_get(head, "n"));
        end = ftell(file);
        for (*lines = 0; (length = getline(&line, &capacity, file)) > 0 && line[length - 1] == '\n'; ++*lines)
            end = ftell(file);
        ok = (ftruncate(fileno(file), end) == 0 && fseek(file, end, SEEK_SET) == 0) ||
             status_fail(st, STATUS_UNAVAILABLE, "OUTPUT", "cut '%s': %m", o->out);
    }
    json_decref(head);
    free(line);
    return ok;
}

static FILE *open_output(struct options *o, size_t *lines, bool *resumed, struct status *st)
{
    FILE *file = o->resume ? fopen(o->out, "r+") : NULL;
    *resumed = file != NULL;
    *lines = 0;
    if (file != NULL) {
        if (read_output(file, o, lines, st))
            return file;
        fclose(file);
        return NULL;
    }
    file = fopen(o->out, "wx");
    if (file == NULL)
        status_fail(st, STATUS_ALREADY_EXISTS, "OUTPUT", "create '%s': %m%s", o->out,
                    errno == EEXIST ? " (--resume goes on with it)" : "");
    return file;
}

static int write_lists(struct rescore *r, struct options *o, FILE *out, size_t lines, bool resumed, struct status *st)
{
    struct rescore_users users;
    size_t written = 0;
    if (!rescore_users_open(&users, r, o->users, o->shard, o->shards, st))
        return program_fail(NAME, st);
    if (!resumed)
        print_inputs(out, r, o);
    bool ok = rescore_run(r, &users, out, lines, (size_t)o->threads, o->quiet, &written, st);
    if (fflush(out) != 0 || fsync(fileno(out)) != 0)
        ok = status_fail(st, STATUS_RESOURCE_EXHAUSTED, "DISK_FULL", "write '%s': %m", o->out);
    rescore_users_close(&users);
    return ok ? 0 : program_fail(NAME, st);
}

int main(int argc, char **argv)
{
    static struct rescore rescore;
    struct options o = {
        .n = 10, .threads = (int64_t)program_cores(), .shards = 1, .seed = 1, .endpoint = RECSYS_DEFAULT_ENDPOINT};
    struct status st = STATUS_INIT;
    FILE *out = NULL;
    size_t lines = 0, different = 0;
    bool resumed = false;
    int code = parse(&o, argc, argv);
    if (code != 0)
        return code - 1;
    if (!program_init(&st) || (o.out != NULL && (out = open_output(&o, &lines, &resumed, &st)) == NULL))
        return program_fail(NAME, &st);
    if (!rescore_open(&rescore, o.config_file, o.data_dir, &o.inputs, (size_t)o.n, &st)) {
        if (out != NULL && !resumed)
            remove(o.out);
        return program_fail(NAME, &st);
    }
    if (out != NULL) {
        code = write_lists(&rescore, &o, out, lines, resumed, &st);
        fclose(out);
    }
    if (code == 0 && o.verify > 0) {
        if (!rescore_verify(&rescore, o.endpoint, (size_t)o.verify, (uint64_t)o.seed, &different, &st))
            code = program_fail(NAME, &st);
        else
            code = different > 0;
    }
    rescore_close(&rescore);
    return code;
}
