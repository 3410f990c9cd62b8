/* SPDX-License-Identifier: Apache-2.0
 *
 * recsysd: the daemon's command line. */
#include "daemon/config.h"
#include "daemon/log.h"
#include "daemon/server.h"

#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXIT_USAGE     64
#define EXIT_CONFIG    78
#define DEFAULT_CONFIG "/etc/recsysd/recsysd.yaml"

static const char usage[] =
    "usage: recsysd [--config FILE] [--data-dir DIR] [--listen ENDPOINT]... [--http ADDR:PORT|off] [--set "
    "KEY=VALUE]...\n"
    "       recsysd --check-config | --print-config | --check-db | --version | --help\n"
    "\n"
    "  -c, --config FILE      settings (default " DEFAULT_CONFIG ", if it is there)\n"
    "  -d, --data-dir DIR     the shop: database and lock\n"
    "  -l, --listen ENDPOINT  ipc://PATH or tcp://HOST:PORT; may be given several times\n"
    "      --http ADDR:PORT   health, metrics and POST /rpc; 'off' for none\n"
    "      --set KEY=VALUE    any other setting, as server.workers=4\n"
    "      --check-config     read the settings and exit\n"
    "      --print-config     print the effective settings and exit\n"
    "      --check-db         check the whole database and exit\n"
    "\n"
    "A flag goes before the environment (RECSYSD__SERVER__WORKERS=4), that before the file, that before the default.\n"
    "See recsysd(8) and recsysd.yaml(5).\n";

enum action { ACTION_SERVE, ACTION_CHECK_CONFIG, ACTION_PRINT_CONFIG, ACTION_CHECK_DB };

struct options {
    enum action action;
    const char *file;
    const char *settings[64][2]; /* what flags set, in their order */
    size_t setting_count;
    const char *listen[CONFIG_LISTEN_MAX];
    size_t listen_count;
};

extern char **environ;

static int fail(const struct status *st)
{
    fprintf(stderr, "recsysd: %s\n", st->message);
    return strcmp(st->reason, "BAD_CONFIG") == 0 ? EXIT_CONFIG : status_exit_code(st->code);
}

static int bad_usage(const char *what, const char *argument)
{
    fprintf(stderr, "recsysd: %s%s%s\nrecsysd: try 'recsysd --help'\n", what, argument == NULL ? "" : " ",
            argument == NULL ? "" : argument);
    return EXIT_USAGE;
}

static bool add_setting(struct options *options, const char *name, const char *value)
{
    if (options->setting_count == sizeof options->settings / sizeof *options->settings)
        return false;
    options->settings[options->setting_count][0] = name;
    options->settings[options->setting_count++][1] = value;
    return true;
}

/* 0: go on; otherwise exit with that code - 1 */
static int parse(int argc, char **argv, struct options *options)
{
    enum { HTTP = 256, SET, CHECK_CONFIG, PRINT_CONFIG, CHECK_DB, VERSION };
    static const struct option table[] = {{"config", required_argument, NULL, 'c'},
                                          {"data-dir", required_argument, NULL, 'd'},
                                          {"listen", required_argument, NULL, 'l'},
                                          {"http", required_argument, NULL, HTTP},
                                          {"set", required_argument, NULL, SET},
                                          {"check-config", no_argument, NULL, CHECK_CONFIG},
                                          {"print-config", no_argument, NULL, PRINT_CONFIG},
                                          {"check-db", no_argument, NULL, CHECK_DB},
                                          {"version", no_argument, NULL, VERSION},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "c:d:l:h", table, NULL)) != -1;) {
        bool ok = true;
        char *equals;
        switch (option) {
        case 'c':
            options->file = optarg;
            break;
        case 'd':
            ok = add_setting(options, "storage.data_dir", optarg);
            break;
        case 'l':
            ok = options->listen_count < CONFIG_LISTEN_MAX;
            if (ok)
                options->listen[options->listen_count++] = optarg;
            break;
        case HTTP:
            ok = add_setting(options, "server.http", optarg);
            break;
        case SET:
            equals = strchr(optarg, '=');
            ok = equals != NULL;
            if (ok) {
                *equals = '\0';
                ok = add_setting(options, optarg, equals + 1);
            }
            break;
        case CHECK_CONFIG:
            options->action = ACTION_CHECK_CONFIG;
            break;
        case PRINT_CONFIG:
            options->action = ACTION_PRINT_CONFIG;
            break;
        case CHECK_DB:
            options->action = ACTION_CHECK_DB;
            break;
        case VERSION:
            printf("recsysd %s\n", RECSYSD_VERSION);
            return 1;
        case 'h':
            fputs(usage, stdout);
            return 1;
        default:
            return 1 + bad_usage("unknown option or missing value:", argv[optind - 1]);
        }
        if (!ok)
            return 1 + bad_usage("cannot take", optarg);
    }
    return optind < argc ? 1 + bad_usage("unexpected argument", argv[optind]) : 0;
}

static bool configure(struct config *config, const struct options *options, struct status *st)
{
    config_init(config);
    const char *file = options->file != NULL ? options->file : DEFAULT_CONFIG;
    if ((options->file != NULL || access(file, F_OK) == 0) && !config_load(config, file, st))
        return false;
    if (!config_environment(config, environ, st))
        return false;
    for (size_t i = 0; i < options->setting_count; i++)
        if (!config_set(config, options->settings[i][0], options->settings[i][1], st))
            return false;
    for (size_t i = 0; i < options->listen_count; i++) {
        if (strlen(options->listen[i]) >= CONFIG_TEXT_MAX)
            return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_CONFIG", "listen: endpoint too long");
        strcpy(config->server_listen[i], options->listen[i]);
        config->server_listen_count = options->listen_count;
    }
    return config_check(config, st);
}

static int check_db(const struct config *config)
{
    struct status st = STATUS_INIT;
    struct store_options options = {.data_dir = config->storage_data_dir};
    struct store *store = store_open_reader(&options, &st);
    bool ok = store != NULL && store_check(store, &st);
    store_close(store);
    if (!ok)
        return fail(&st);
    printf("%s: the database is sound\n", config->storage_data_dir);
    return 0;
}

static int serve(const struct config *config)
{
    static struct server server;
    struct status st = STATUS_INIT;
    signal(SIGPIPE, SIG_IGN);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); /* histories do not belong into core files */
    umask(0077);
    enum log_level level;
    enum log_format format;
    if (log_level_parse(config->log_level, &level) && log_format_parse(config->log_format, &format))
        log_configure(level, format);
    if (!server_start(&server, config, &st)) {
        log_error("start_failed", "%s", st.message);
        return strcmp(st.reason, "STORE_LOCKED") == 0 ? 75 : status_exit_code(st.code);
    }
    server_run(&server);
    server_stop(&server);
    log_info("stopped", "stopped");
    return 0;
}

int main(int argc, char **argv)
{
    static struct config config;
    struct options options = {0};
    struct status st = STATUS_INIT;
    int parsed = parse(argc, argv, &options);
    if (parsed != 0)
        return parsed - 1;
    if (!configure(&config, &options, &st))
        return fail(&st);
    switch (options.action) {
    case ACTION_CHECK_CONFIG:
        puts("the settings are fine");
        return 0;
    case ACTION_PRINT_CONFIG:
        config_print(&config, stdout);
        return 0;
    case ACTION_CHECK_DB:
        return check_db(&config);
    case ACTION_SERVE:
        break;
    }
    return serve(&config);
}
