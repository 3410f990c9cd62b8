/* SPDX-License-Identifier: Apache-2.0
 *
 * model put, get: files to the daemon and back, in chunks, with their SHA-256. */
#include "daemon/ctl_commands.h"
#include "daemon/ctl_model.h"
#include "daemon/ctl_output.h"
#include "daemon/ctl_progress.h"
#include "proto/json_rpc.h"
#include "proto/recsys.pb-c.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES       (1u << 20)
#define REPORT_BYTES_MAX (64u << 10)
#define TRIES_MAX        120 /* of a chunk that the daemon has no room for now */
#define ENDING           ".safetensors"
#define SHA256_TEXT      (2 * crypto_hash_sha256_BYTES + 1)
#define WRITE_FAILED     "WRITE_FAILED"

static bool io_failed(struct status *st, enum status_code code, const char *reason, const char *doing, const char *path)
{
    return status_fail(st, code, reason, "%s '%s': %s", doing, path, strerror(errno));
}

static void print_sha256(crypto_hash_sha256_state *state, char out[SHA256_TEXT])
{
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_final(state, digest);
    sodium_bin2hex(out, SHA256_TEXT, digest, sizeof digest);
}

/* ---- put */

struct put {
    struct ctl *ctl;
    const char *path;
    FILE *file;
    char name[65], sha256[SHA256_TEXT];
    char *report; /* owned; NULL: none */
    uint64_t size_bytes;
    size_t chunk_bytes;
    unsigned char *chunk; /* (chunk_bytes), owned */
    struct ctl_progress progress;
};

/* the file's name without directory and ending, unless --name says otherwise; the daemon judges it */
static void choose_name(struct put *put, const char *given)
{
    const char *slash = strrchr(put->path, '/'), *base = slash != NULL ? slash + 1 : put->path;
    size_t length = strlen(base), ending = strlen(ENDING);
    if (given == NULL && length > ending && strcmp(base + length - ending, ENDING) == 0)
        length -= ending;
    snprintf(put->name, sizeof put->name, "%.*s", given != NULL ? (int)strlen(given) : (int)length,
             given != NULL ? given : base);
}

static bool open_file(struct put *put, struct status *st)
{
    struct stat is;
    put->file = fopen(put->path, "rb");
    if (put->file == NULL || fstat(fileno(put->file), &is) != 0)
        return io_failed(st, STATUS_NOT_FOUND, "NO_INPUT", "open", put->path);
    if (!S_ISREG(is.st_mode) || is.st_size == 0)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "NO_INPUT", "'%s' is no file with something in it", put->path);
    put->size_bytes = (uint64_t)is.st_size;
    return true;
}

static bool hash_file(struct put *put, struct status *st)
{
    crypto_hash_sha256_state state;
    unsigned char *bytes = malloc(READ_BYTES);
    size_t got;
    if (bytes == NULL)
        return ctl_no_memory(st);
    crypto_hash_sha256_init(&state);
    while ((got = fread(bytes, 1, READ_BYTES, put->file)) > 0)
        crypto_hash_sha256_update(&state, bytes, got);
    free(bytes);
    if (ferror(put->file))
        return io_failed(st, STATUS_NOT_FOUND, "NO_INPUT", "read", put->path);
    print_sha256(&state, put->sha256);
    return true;
}

static bool read_report(struct put *put, const char *path, struct status *st)
{
    if (path == NULL)
        return true;
    FILE *file = fopen(path, "rb");
    put->report = malloc(REPORT_BYTES_MAX + 2);
    size_t size = file != NULL && put->report != NULL ? fread(put->report, 1, REPORT_BYTES_MAX + 1, file) : 0;
    bool ok = file != NULL && !ferror(file);
    if (!ok)
        io_failed(st, STATUS_NOT_FOUND, "NO_INPUT", "read", path);
    if (file != NULL)
        fclose(file);
    if (ok && put->report == NULL)
        ok = ctl_no_memory(st);
    if (ok && size > REPORT_BYTES_MAX)
        ok =
            status_fail(st, STATUS_INVALID_ARGUMENT, "TOO_LONG", "'%s' has more than %u bytes", path, REPORT_BYTES_MAX);
    json_t *json = ok ? json_loadb(put->report, size, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (ok && !json_is_object(json))
        ok = status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_REPORT", "'%s' is no report: a JSON object is wanted", path);
    if (ok)
        put->report[size] = '\0';
    json_decref(json);
    return ok;
}

static void wait_ms(uint32_t ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&pause, NULL);
}

/* One chunk; again while the daemon asks for patience. A reply to be freed, or NULL. */
static Recsys__ModelPutReply *send_chunk(struct put *put, uint64_t offset, size_t size, struct status *st)
{
    Recsys__ModelPutRequest request = RECSYS__MODEL_PUT_REQUEST__INIT;
    struct recsys_attachment attachment = {put->chunk, size};
    ProtobufCMessage *reply = NULL;
    request.name = put->name;
    request.sha256 = put->sha256;
    request.total = (int64_t)put->size_bytes;
    request.offset = (int64_t)offset;
    request.report = put->report != NULL ? put->report : (char *)protobuf_c_empty_string;
    for (int i = 0; i < TRIES_MAX; i++) {
        *st = (struct status)STATUS_INIT;
        if (recsys_client_call(put->ctl->client, "model.put", &request.base, &attachment, size > 0,
                               &recsys__model_put_reply__descriptor, &reply, st))
            return (Recsys__ModelPutReply *)reply;
        if (st->retry_after_ms == 0)
            break;
        wait_ms(st->retry_after_ms);
    }
    return NULL;
}

static bool read_chunk(struct put *put, uint64_t offset, size_t *size, struct status *st)
{
    uint64_t left = offset < put->size_bytes ? put->size_bytes - offset : 0;
    *size = left < put->chunk_bytes ? (size_t)left : put->chunk_bytes;
    if (fseeko(put->file, (off_t)offset, SEEK_SET) == 0 && fread(put->chunk, 1, *size, put->file) == *size)
        return true;
    return status_fail(st, STATUS_NOT_FOUND, "NO_INPUT", "read '%s': the file has become shorter", put->path);
}

/* the question how far it is comes first; each reply says where to go on. NULL with st. */
static Recsys__ModelPutReply *send_file(struct put *put, struct status *st)
{
    Recsys__ModelPutReply *reply = send_chunk(put, 0, 0, st);
    put->progress.unit = "MiB";
    ctl_progress_start(&put->progress, "model", put->size_bytes);
    while (reply != NULL && !reply->complete) {
        uint64_t offset = (uint64_t)reply->received;
        size_t size;
        recsys__model_put_reply__free_unpacked(reply, NULL);
        reply = read_chunk(put, offset, &size, st) ? send_chunk(put, offset, size, st) : NULL;
        if (reply != NULL)
            ctl_progress_update(&put->progress, (uint64_t)reply->received, (uint64_t)reply->received >> 20);
    }
    ctl_progress_clear(&put->progress);
    return reply;
}

static bool put_model(struct put *put, const struct ctl_arguments *arguments, struct status *st)
{
    if (!read_report(put, ctl_option_text(arguments, "report"), st) || !open_file(put, st) || !hash_file(put, st) ||
        !ctl_model_connect(put->ctl, &put->chunk_bytes, st))
        return false;
    put->chunk = malloc(put->chunk_bytes);
    if (put->chunk == NULL)
        return ctl_no_memory(st);
    Recsys__ModelPutReply *reply = send_file(put, st);
    if (reply == NULL)
        return false;
    json_t *json = put->ctl->output == CTL_TABLE ? NULL : json_rpc_encode(&reply->base);
    if (put->ctl->output == CTL_TABLE)
        printf("stored %s\n", reply->version);
    else
        ctl_print_json(put->ctl, json);
    json_decref(json);
    recsys__model_put_reply__free_unpacked(reply, NULL);
    return true;
}

int ctl_run_model_put(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    struct put put = {.ctl = ctl, .path = arguments->words[0]};
    const char *name = ctl_option_text(arguments, "name");
    put.progress.style = ctl->quiet ? PROGRESS_NONE : progress_style_of_stderr();
    if (name != NULL && strlen(name) >= sizeof put.name) {
        status_fail(&st, STATUS_INVALID_ARGUMENT, CTL_USAGE, "option '--name': at most %zu bytes", sizeof put.name - 1);
        return ctl_fail(ctl, &st);
    }
    choose_name(&put, name);
    bool ok = put_model(&put, arguments, &st);
    if (put.file != NULL)
        fclose(put.file);
    free(put.chunk);
    free(put.report);
    return ok ? 0 : ctl_fail(ctl, &st);
}

/* ---- get */

struct get {
    struct ctl *ctl;
    const char *name; /* "": the active model */
    const char *path; /* "-": standard output */
    char *part;       /* owned: where it is written before it has its name; NULL: nowhere */
    FILE *out;
    char version[97], sha256[SHA256_TEXT];
    int64_t offset, total; /* total: 0 before the first reply */
    size_t chunk_bytes;
    crypto_hash_sha256_state state;
    struct ctl_progress progress;
};

static bool open_output(struct get *get, struct status *st)
{
    if (strcmp(get->path, "-") == 0) {
        get->out = stdout;
        return true;
    }
    if (asprintf(&get->part, "%s.part", get->path) < 0) {
        get->part = NULL;
        return ctl_no_memory(st);
    }
    get->out = fopen(get->part, "wb");
    return get->out != NULL || io_failed(st, STATUS_UNAVAILABLE, WRITE_FAILED, "open", get->part);
}

/* the version of the first reply is asked for from then on: a name may get a newer one meanwhile */
static bool take_chunk(struct get *get, const Recsys__ModelGetReply *reply, struct status *st)
{
    if (get->total == 0) {
        snprintf(get->version, sizeof get->version, "%s", reply->version);
        snprintf(get->sha256, sizeof get->sha256, "%s", reply->sha256);
        get->total = reply->total;
        get->name = get->version;
        ctl_progress_start(&get->progress, "model", (uint64_t)get->total);
    }
    if (reply->data.len == 0)
        return status_fail(st, STATUS_DATA_LOSS, "BAD_REPLY", "the file ends at %" PRId64 " of %" PRId64 " bytes",
                           get->offset, get->total);
    crypto_hash_sha256_update(&get->state, reply->data.data, reply->data.len);
    if (fwrite(reply->data.data, 1, reply->data.len, get->out) != reply->data.len)
        return io_failed(st, STATUS_UNAVAILABLE, WRITE_FAILED, "write", get->path);
    get->offset += (int64_t)reply->data.len;
    ctl_progress_update(&get->progress, (uint64_t)get->offset, (uint64_t)get->offset >> 20);
    return true;
}

static bool fetch_chunk(struct get *get, struct status *st)
{
    Recsys__ModelGetRequest request = RECSYS__MODEL_GET_REQUEST__INIT;
    ProtobufCMessage *reply = NULL;
    request.name = (char *)get->name;
    request.offset = get->offset;
    request._n_case = RECSYS__MODEL_GET_REQUEST___N_N;
    request.n = (int32_t)get->chunk_bytes;
    if (!recsys_client_call(get->ctl->client, "model.get", &request.base, NULL, 0, &recsys__model_get_reply__descriptor,
                            &reply, st))
        return false;
    bool ok = take_chunk(get, (const Recsys__ModelGetReply *)reply, st);
    protobuf_c_message_free_unpacked(reply, NULL);
    return ok;
}

/* on the disk, and only then under its name */
static bool finish_output(struct get *get, struct status *st)
{
    char sha256[SHA256_TEXT];
    print_sha256(&get->state, sha256);
    if (strcmp(sha256, get->sha256) != 0)
        return status_fail(st, STATUS_DATA_LOSS, "MODEL_DAMAGED", "model '%s' arrived damaged: its SHA-256 is wrong",
                           get->version);
    if (get->part == NULL)
        return true;
    bool ok = fflush(get->out) == 0 && fsync(fileno(get->out)) == 0;
    ok = fclose(get->out) == 0 && ok;
    get->out = NULL;
    return (ok && rename(get->part, get->path) == 0) ||
           io_failed(st, STATUS_UNAVAILABLE, WRITE_FAILED, "write", get->path);
}

static bool get_model(struct get *get, struct status *st)
{
    bool ok = ctl_model_connect(get->ctl, &get->chunk_bytes, st) && open_output(get, st);
    crypto_hash_sha256_init(&get->state);
    get->progress.unit = "MiB";
    while (ok && (get->total == 0 || get->offset < get->total))
        ok = fetch_chunk(get, st);
    ctl_progress_clear(&get->progress);
    return ok && finish_output(get, st);
}

int ctl_run_model_get(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    struct get get = {.ctl = ctl, .name = "", .path = arguments->words[arguments->word_count - 1]};
    if (arguments->word_count > 1)
        get.name = arguments->words[0];
    get.progress.style = ctl->quiet ? PROGRESS_NONE : progress_style_of_stderr();
    bool ok = get_model(&get, &st);
    if (get.part != NULL && get.out != NULL)
        fclose(get.out);
    if (get.part != NULL && !ok)
        unlink(get.part);
    if (ok && get.part != NULL && ctl->output == CTL_TABLE)
        printf("%s: %s\n", get.path, get.version);
    else if (ok && get.part != NULL)
        printf("{\"version\":\"%s\",\"sha256\":\"%s\",\"size_bytes\":\"%" PRId64 "\"}\n", get.version, get.sha256,
               get.total);
    free(get.part);
    if (ok)
        return 0;
    int code = ctl_fail(ctl, &st);
    return strcmp(st.reason, WRITE_FAILED) == 0 ? CTL_EX_IOERR : code;
}
