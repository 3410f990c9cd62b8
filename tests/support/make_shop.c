/* SPDX-License-Identifier: Apache-2.0
 *
 * Makes up a shop whose customers have tastes, for the demo and the integration tests. Every item belongs to one
 * taste; its title and category tell which, its text and image vectors point roughly that way; a user takes nine
 * events in ten from one taste, popular items more often, and one anywhere. Same options, same bytes. Writes into DIR:
 *
 *   shop.inter             user_id, item_id, timestamp in seconds, behaviour; grouped by user, oldest first
 *   shop.item              item_id, title, categories, price
 *   text.npy               f32, row r belongs to item r of shop.item
 *   image.npy, image.ids   f16, about 90 % of the items, and whose row is whose */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define WORDS            8 /* of each kind in a taste */
#define TITLES           (WORDS * WORDS * WORDS * WORDS)
#define TEXT_DIMENSIONS  48
#define IMAGE_DIMENSIONS 64
#define DIMENSIONS_MAX   64
#define TEXT_NOISE       1.0 /* length of an item's own part, where the taste's part has length 1 */
#define IMAGE_NOISE      1.4
#define IMAGE_SHARE      0.9
#define MAIN_SHARE       0.9 /* of a user's events that follow the taste */
#define POPULARITY_SKEW  0.8 /* the item of rank r is taken with weight r^-skew */
#define SPAN_SECONDS     (60.0 * 86400)
#define QUIET_SECONDS    (3 * 3600)      /* between the shop's last event and --until-ms */
#define UNTIL_MS         1767225600000ll /* 2026-01-01T00:00:00Z */
#define PATH_BYTES       4096

struct taste {
    const char *id, *name;
    double price;
    const char *brands[WORDS], *adjectives[WORDS], *nouns[WORDS], *variants[WORDS];
};

/* clang-format off */
static const struct taste tastes[] = {
    {"trail", "trail-running", 70,
     {"Fellwind", "Corrie", "Stonestep", "Ridgeline Co", "Windgap", "Northtarn", "Scree & Sons", "Marmotto"},
     {"Light", "Waterproof", "Breathable", "Grippy", "Cushioned", "Reflective", "Packable", "Winter"},
     {"Trail Shoe", "Running Vest", "Soft Flask", "Gaiter", "Running Jacket", "Ankle Sock", "Hill Short", "Running Pole"},
     {"slate", "moss green", "signal orange", "narrow fit", "wide fit", "women's", "men's", "race edition"}},
    {"espresso", "espresso", 45,
     {"Cremina Nova", "Bar Otto", "Nerofilo", "Casa Tazza", "Pressino", "Velluto", "Grano Lento", "Moka Mia"},
     {"Dark", "Single-Origin", "Stainless", "Precision", "Hand-Made", "Calibrated", "Organic", "Compact"},
     {"Espresso Beans", "Tamper", "Burr Grinder", "Milk Jug", "Portafilter", "Espresso Cup", "Knock Box", "Coffee Scale"},
     {"58 mm", "54 mm", "250 g", "1 kg", "matt black", "walnut", "set of two", "barista edition"}},
    {"jazz", "jazz-vinyl", 28,
     {"The Lenox Trio", "Ada Quill", "Miro Castell", "Blue Harbour Quintet", "Ray Odum", "Ines Valdor", "Tall Paul Band", "Night Ferry"},
     {"Midnight", "Smoky", "Modal", "Restless", "Velvet", "Late", "Uptown", "Quiet"},
     {"Sessions LP", "Ballads LP", "Live at the Cellar LP", "Blues LP", "Standards LP", "Suite LP", "Horn Sketches LP", "Takes 7-inch"},
     {"180 g", "mono", "stereo", "first pressing", "reissue", "gatefold", "clear vinyl", "numbered"}},
    {"plants", "indoor-plants", 22,
     {"Greenroom", "Leaf & Loam", "Fernhall", "Sillside", "Potting Shed", "Verdura", "Mossmann", "Tendril"},
     {"Trailing", "Variegated", "Shade-Loving", "Miniature", "Glazed", "Hanging", "Hardy", "Self-Watering"},
     {"Monstera", "Fern", "Pothos", "Calathea", "Planter", "Terrarium", "Rubber Plant", "Plant Stand"},
     {"12 cm", "17 cm", "24 cm", "terracotta", "sage", "with moss pole", "cutting", "gift box"}},
    {"watercolour", "watercolour", 18,
     {"Pigmenta", "Atelier Brun", "Wash & Line", "Tidewater", "Old Sable", "Cobalt House", "Papeterie Lys", "Rill"},
     {"Transparent", "Granulating", "Cold-Pressed", "Fine", "Travel", "Artists'", "Student", "Lightfast"},
     {"Pan Set", "Round Brush", "Mop Brush", "Watercolour Block", "Paint Tube", "Mixing Palette", "Masking Fluid", "Sketchbook"},
     {"size 4", "size 10", "300 g", "A5", "A4", "12 colours", "24 colours", "landscape"}},
    {"retro", "retro-gaming", 55,
     {"Pixelforge", "Kiosk 84", "Bitwerk", "Cartridge Club", "Scanline", "Joyhouse", "Sprite Lab", "Twin Button"},
     {"8-Bit", "16-Bit", "Wireless", "Arcade", "Handheld", "Restored", "Classic", "Translucent"},
     {"Gamepad", "Console", "Joystick", "Cartridge", "Memory Card", "Light Gun", "Carry Case", "Scaler"},
     {"grey", "purple", "with cable", "boxed", "PAL", "NTSC", "two players", "anniversary"}},
    {"camping", "camping", 80,
     {"Campanile", "Birchfire", "Lakeshore", "Tarp & Pole", "Emberly", "Outwold", "Hollow Log", "Driftlake"},
     {"Ultralight", "Four-Season", "Folding", "Inflatable", "Insulated", "Canvas", "Rugged", "Family"},
     {"Tent", "Sleeping Bag", "Camp Stove", "Sleeping Mat", "Lantern", "Camp Chair", "Cook Set", "Hammock"},
     {"one person", "two persons", "olive", "sand", "long", "short", "with bag", "expedition"}},
    {"baking", "baking", 25,
     {"Crumb & Co", "Mehlwerk", "Levain House", "Butterfield", "Ovenbird", "Sweet Anvil", "Rolling Hill", "Proofers"},
     {"Non-Stick", "Ceramic", "Wooden", "Sourdough", "Copper", "Silicone", "Professional", "Deep"},
     {"Loaf Tin", "Proofing Basket", "Cake Ring", "Rolling Pin", "Whisk", "Piping Set", "Bundt Pan", "Dough Scraper"},
     {"20 cm", "26 cm", "round", "oval", "cream", "mint", "set of three", "with lid"}},
};
/* clang-format on */

#define TASTES_MAX (sizeof tastes / sizeof tastes[0])

struct options {
    const char *out;
    uint64_t items, users, tastes, events, seed, until_ms;
};

struct item {
    size_t taste;
    char id[32];
    bool has_image;
};

struct shop {
    struct options options;
    uint64_t random;
    size_t shelf;       /* items of a taste, at most: item i is number i / tastes of taste i % tastes */
    size_t images;      /* items with an image */
    struct item *items; /* options.items */
    size_t *ranked;     /* (tastes, shelf) items of a taste, most popular first */
    double *reach;      /* (shelf) summed weight of the ranks up to this one */
};

__attribute__((format(printf, 2, 3), noreturn)) static void die(int exit_code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("make_shop: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(exit_code);
}

static void *allocate(size_t count, size_t size_bytes)
{
    void *block = calloc(count, size_bytes);
    if (block == NULL)
        die(71, "no memory for %zu times %zu bytes", count, size_bytes);
    return block;
}

/* ---- chance ---- */

/* splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014. */
static uint64_t next(uint64_t *random)
{
    uint64_t z = *random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* In [0, 1). */
static double uniform(uint64_t *random)
{
    return (double)(next(random) >> 11) * 0x1p-53;
}

static size_t below(uint64_t *random, size_t limit)
{
    return (size_t)(uniform(random) * (double)limit);
}

/* Box and Muller, 1958; the second number is not kept, so that a draw has no state but `random`. */
static double normal(uint64_t *random)
{
    double radius = sqrt(-2 * log(1 - uniform(random)));
    return radius * cos(2 * acos(-1) * uniform(random));
}

static void shuffle(uint64_t *random, size_t *values, size_t count)
{
    for (size_t i = count; i > 1; i--) {
        size_t j = below(random, i), value = values[i - 1];
        values[i - 1] = values[j];
        values[j] = value;
    }
}

/* ---- files ---- */

static FILE *create(const struct shop *shop, const char *name)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", shop->options.out, name);
    FILE *file = fopen(path, "wbe");
    if (file == NULL)
        die(73, "create '%s': %s", path, strerror(errno));
    return file;
}

static void finish(FILE *file, const char *name)
{
    bool failed = ferror(file) != 0;
    if (fclose(file) != 0 || failed)
        die(74, "write '%s': %s", name, strerror(errno));
}

static void put_little(FILE *file, uint64_t bits, int bytes)
{
    for (int i = 0; i < bytes; i++)
        putc((int)(bits >> 8 * i & 0xff), file);
}

static void put_npy_header(FILE *file, const char *type, size_t rows, size_t columns)
{
    char header[118]; /* with ten bytes before it, the numbers start at 128 */
    int length = snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (%zu, %zu), }", type,
                          rows, columns);
    fwrite("\x93NUMPY\1\0", 1, 8, file);
    put_little(file, sizeof header, 2);
    fprintf(file, "%s%*s\n", header, (int)sizeof header - 1 - length, "");
}

static void put_single(FILE *file, double value)
{
    float single = (float)value;
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    put_little(file, bits, 4);
}

/* Rounded to nearest; for values below 65504. A fraction rounded up to 2048 carries into the exponent, as it should. */
static void put_half(FILE *file, double value)
{
    double size = fabs(value);
    int exponent = size < 0x1p-14 ? -15 : ilogb(size);
    long fraction = exponent == -15 ? lrint(size * 0x1p24) : lrint(ldexp(size, 10 - exponent)) - 1024;
    put_little(file, (uint64_t)((signbit(value) ? 0x8000 : 0) + (exponent + 15) * 1024 + fraction), 2);
}

/* ---- items ---- */

static void stock(struct shop *shop)
{
    const struct options *options = &shop->options;
    shop->shelf = (options->items + options->tastes - 1) / options->tastes;
    shop->items = allocate(options->items, sizeof *shop->items);
    shop->ranked = allocate(options->tastes * shop->shelf, sizeof *shop->ranked);
    shop->reach = allocate(shop->shelf, sizeof *shop->reach);
    for (size_t i = 0; i < options->items; i++) {
        struct item *item = &shop->items[i];
        item->taste = i % options->tastes;
        snprintf(item->id, sizeof item->id, "%s-%04zu", tastes[item->taste].id, i / options->tastes);
        item->has_image = uniform(&shop->random) < IMAGE_SHARE;
        shop->images += item->has_image;
        shop->ranked[item->taste * shop->shelf + i / options->tastes] = i;
    }
    for (size_t r = 0; r < shop->shelf; r++)
        shop->reach[r] = (r > 0 ? shop->reach[r - 1] : 0) + pow((double)(r + 1), -POPULARITY_SKEW);
}

/* How many items a taste has: the last place of the shelf may be empty. */
static size_t shelved(const struct shop *shop, size_t taste)
{
    return (shop->options.items - taste - 1) / shop->options.tastes + 1;
}

static void write_items(struct shop *shop)
{
    const struct options *options = &shop->options;
    size_t *titles = allocate(options->tastes * TITLES, sizeof *titles); /* (tastes, TITLES), each once */
    for (size_t i = 0; i < options->tastes * TITLES; i++)
        titles[i] = i % TITLES;
    for (size_t t = 0; t < options->tastes; t++)
        shuffle(&shop->random, titles + t * TITLES, TITLES);
    FILE *file = create(shop, "shop.item");
    fputs("item_id:token\ttitle:token_seq\tcategories:token_seq\tprice:float\n", file);
    for (size_t i = 0; i < options->items; i++) {
        const struct item *item = &shop->items[i];
        const struct taste *taste = &tastes[item->taste];
        size_t title = titles[item->taste * TITLES + i / options->tastes];
        double price = taste->price * exp(0.5 * normal(&shop->random));
        fprintf(file, "%s\t%s %s %s, %s\t%s\t%.2f\n", item->id, taste->brands[title % WORDS],
                taste->adjectives[title / WORDS % WORDS], taste->nouns[title / WORDS / WORDS % WORDS],
                taste->variants[title / WORDS / WORDS / WORDS], taste->name, price);
    }
    free(titles);
    finish(file, "shop.item");
}

/* Each coordinate of `out` (count, dimensions) normal, so that a row's length is near 1. */
static void directions(uint64_t *random, double *out, size_t count, size_t dimensions)
{
    for (size_t i = 0; i < count * dimensions; i++)
        out[i] = normal(random) / sqrt((double)dimensions);
}

/* Each row is the taste's direction plus the item's own part, `noise` times as long. */
static void write_vectors(struct shop *shop, FILE *file, bool images, size_t dimensions, double noise)
{
    double direction[TASTES_MAX * DIMENSIONS_MAX], own[DIMENSIONS_MAX];
    put_npy_header(file, images ? "<f2" : "<f4", images ? shop->images : shop->options.items, dimensions);
    directions(&shop->random, direction, TASTES_MAX, dimensions);
    for (size_t i = 0; i < shop->options.items; i++) {
        if (images && !shop->items[i].has_image)
            continue;
        directions(&shop->random, own, 1, dimensions);
        for (size_t d = 0; d < dimensions; d++) {
            double value = direction[shop->items[i].taste * dimensions + d] + noise * own[d];
            images ? put_half(file, value) : put_single(file, value);
        }
    }
}

static void write_features(struct shop *shop)
{
    FILE *text = create(shop, "text.npy");
    write_vectors(shop, text, false, TEXT_DIMENSIONS, TEXT_NOISE);
    finish(text, "text.npy");

    FILE *image = create(shop, "image.npy");
    write_vectors(shop, image, true, IMAGE_DIMENSIONS, IMAGE_NOISE);
    finish(image, "image.npy");

    FILE *ids = create(shop, "image.ids");
    for (size_t i = 0; i < shop->options.items; i++)
        if (shop->items[i].has_image)
            fprintf(ids, "%s\n", shop->items[i].id);
    finish(ids, "image.ids");
}

/* ---- events ---- */

static size_t pick_item(struct shop *shop, size_t main_taste)
{
    if (uniform(&shop->random) >= MAIN_SHARE)
        return below(&shop->random, shop->options.items);
    size_t count = shelved(shop, main_taste);
    double reached = uniform(&shop->random) * shop->reach[count - 1];
    size_t low = 0, high = count - 1; /* the first rank whose reach is beyond `reached` */
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (shop->reach[middle] > reached)
            high = middle;
        else
            low = middle + 1;
    }
    return shop->ranked[main_taste * shop->shelf + low];
}

/* Times of a user's events in seconds, oldest first. Users left at different times, most of them lately; an event
 * follows the one before it within minutes or after days. */
static void draw_times(struct shop *shop, int64_t *times, size_t count)
{
    double back = uniform(&shop->random);
    int64_t at = (int64_t)(shop->options.until_ms / 1000) - QUIET_SECONDS - (int64_t)(back * back * SPAN_SECONDS);
    for (size_t e = count; e-- > 0;) {
        double mean_seconds = uniform(&shop->random) < 0.7 ? 240 : 3 * 86400;
        times[e] = at;
        at -= 1 + (int64_t)(-log(1 - uniform(&shop->random)) * mean_seconds);
    }
}

static const char *draw_behaviour(uint64_t *random)
{
    double chance = uniform(random);
    return chance < 0.70 ? "view" : chance < 0.88 ? "cart" : "purchase";
}

static void write_events(struct shop *shop)
{
    const struct options *options = &shop->options;
    int64_t *times = allocate(options->events * 3 / 2 + 1, sizeof *times);
    size_t *taken_by = allocate(options->items, sizeof *taken_by); /* last user + 1 that had the item */
    FILE *file = create(shop, "shop.inter");
    fputs("user_id:token\titem_id:token\ttimestamp:float\tbehaviour:token\n", file);
    for (size_t t = 0; t < options->tastes; t++)
        shuffle(&shop->random, shop->ranked + t * shop->shelf, shelved(shop, t));
    for (size_t u = 0; u < options->users; u++) {
        size_t main_taste = below(&shop->random, options->tastes);
        size_t count = options->events / 2 + 1 + below(&shop->random, options->events);
        draw_times(shop, times, count);
        for (size_t e = 0; e < count; e++) {
            size_t item = pick_item(shop, main_taste);
            for (int tries = 0; tries < 20 && taken_by[item] == u + 1; tries++) /* mostly something new */
                item = pick_item(shop, main_taste);
            taken_by[item] = u + 1;
            fprintf(file, "u%03zu\t%s\t%" PRId64 "\t%s\n", u, shop->items[item].id, times[e],
                    draw_behaviour(&shop->random));
        }
    }
    finish(file, "shop.inter");
    free(times);
    free(taken_by);
}

/* ---- the command line ---- */

__attribute__((noreturn)) static void usage(void)
{
    fprintf(stderr,
            "usage: make_shop --out DIR [--items 2000] [--users 500] [--tastes 8] [--events 30] [--seed 1]\n"
            "                 [--until-ms %lld]\n",
            UNTIL_MS);
    exit(64);
}

static uint64_t parse_number(const char *option, const char *text, uint64_t low, uint64_t high)
{
    char *end;
    errno = 0;
    uint64_t number = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || number < low || number > high)
        die(64, "--%s '%s': expected a number from %" PRIu64 " to %" PRIu64, option, text, low, high);
    return number;
}

static void parse_options(struct options *options, int argc, char **argv)
{
    *options = (struct options){NULL, 2000, 500, 8, 30, 1, UNTIL_MS};
    static const struct option known[] = {{"out", 1, NULL, 0},      {"items", 1, NULL, 0},  {"users", 1, NULL, 0},
                                          {"tastes", 1, NULL, 0},   {"events", 1, NULL, 0}, {"seed", 1, NULL, 0},
                                          {"until-ms", 1, NULL, 0}, {NULL, 0, NULL, 0}};
    const struct {
        uint64_t *value, low, high;
    } numbers[] = {/* in the order of `known` */
                   {NULL, 0, 0},
                   {&options->items, 1, TASTES_MAX * TITLES},
                   {&options->users, 1, 10000000},
                   {&options->tastes, 1, TASTES_MAX},
                   {&options->events, 1, 1000},
                   {&options->seed, 0, UINT64_MAX},
                   {&options->until_ms, 1000000000000, 10000000000000}};
    int index = 0;
    for (int got; (got = getopt_long(argc, argv, "", known, &index)) != -1;) {
        if (got != 0)
            usage();
        if (index == 0)
            options->out = optarg;
        else
            *numbers[index].value = parse_number(known[index].name, optarg, numbers[index].low, numbers[index].high);
    }
    if (options->out == NULL || optind != argc)
        usage();
    if (options->items < options->tastes || options->items > options->tastes * TITLES)
        die(64, "--items must be from 1 to %d for each of the %" PRIu64 " tastes", TITLES, options->tastes);
}

int main(int argc, char **argv)
{
    struct shop shop = {0};
    parse_options(&shop.options, argc, argv);
    shop.random = shop.options.seed;
    if (mkdir(shop.options.out, 0777) != 0 && errno != EEXIST)
        die(73, "create '%s': %s", shop.options.out, strerror(errno));
    stock(&shop);
    write_items(&shop);
    write_features(&shop);
    write_events(&shop);
    free(shop.items);
    free(shop.ranked);
    free(shop.reach);
    return 0;
}
