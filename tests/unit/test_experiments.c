/* SPDX-License-Identifier: Apache-2.0
 *
 * The file of experiments, with every fault that it can have, and the set that it becomes. */
#include "tests/unit/experiments_rig.h"

#define EXAMPLE "etc/experiments.yaml"

/* Each text is refused with a message that holds `problem`. */
struct refused {
    const char *text, *problem;
};

static void expect_refused(const struct refused *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct status st;
        struct experiments *experiments = load(cases[i].text, &st);
        cr_expect(experiments == NULL, "accepted: %s", cases[i].text);
        experiments_release(experiments);
        cr_expect_eq(st.code, STATUS_INVALID_ARGUMENT, "%s", cases[i].text);
        cr_expect_str_eq(st.reason, "BAD_EXPERIMENT", "%s", cases[i].text);
        cr_expect(strstr(st.message, cases[i].problem) != NULL, "\n%s\nsays: %s\nnot: %s", cases[i].text, st.message,
                  cases[i].problem);
    }
}

/* ---- what a file says */

Test(experiments, the_example_loads_and_says_what_it_looks_like)
{
    struct status st = STATUS_INIT;
    struct experiments *experiments = experiments_load(EXAMPLE, &st);
    cr_assert(experiments != NULL, "%s", st.message);
    cr_assert_eq(experiments_count(experiments), 3);

    const struct experiment *e = experiments_at(experiments, 0);
    cr_expect_str_eq(e->name, "home-diversity");
    cr_expect_str_eq(e->salt, "2026-11");
    cr_expect_eq(e->kind, EXPERIMENT_VARIANTS);
    cr_expect_eq(e->share, 1.0);
    cr_assert_eq(e->variant_count, 2);
    cr_expect_str_eq(e->variants[0].name, "control");
    cr_expect_str_eq(e->variants[0].scenario, "");
    cr_expect_str_eq(e->variants[0].model, "");
    cr_expect_float_eq(e->variants[0].share, 1.0 / 3, 1e-12);
    cr_expect_str_eq(e->variants[1].name, "diverse");
    cr_expect_str_eq(e->variants[1].scenario, "diverse");
    cr_expect_str_eq(e->variants[1].model, "");
    cr_expect_float_eq(e->variants[1].share, 2.0 / 3, 1e-12);

    e = experiments_at(experiments, 1);
    cr_expect_str_eq(e->name, "new-model");
    cr_expect_str_eq(e->salt, "new-model");
    cr_expect_eq(e->kind, EXPERIMENT_INTERLEAVE);
    cr_expect_eq(e->share, 1.0);
    cr_assert_eq(e->variant_count, 2);
    cr_expect_str_eq(e->variants[0].name, "active");
    cr_expect_str_eq(e->variants[0].model, "");
    cr_expect_str_eq(e->variants[1].name, "shop-b");
    cr_expect_str_eq(e->variants[1].model, "shop-b");
    cr_expect_eq(e->variants[1].share, 1.0);

    e = experiments_at(experiments, 2);
    cr_expect_str_eq(e->name, "shadow-b");
    cr_expect_eq(e->kind, EXPERIMENT_SHADOW);
    cr_expect_eq(e->share, 0.1);
    cr_assert_eq(e->variant_count, 1);
    cr_expect_str_eq(e->variants[0].name, "shop-b");
    cr_expect_str_eq(e->variants[0].model, "shop-b");
    cr_expect_str_eq(e->variants[0].scenario, "");
    experiments_release(experiments);
}

Test(experiments, a_file_may_be_off_or_empty)
{
    static const char *const texts[] = {"", "# nothing yet\n", "---\n", "{}\n", "~\n"};
    struct status st = STATUS_INIT;
    struct experiments *experiments = experiments_load("off", &st);
    cr_assert(experiments != NULL, "%s", st.message);
    cr_expect_eq(experiments_count(experiments), 0);
    experiments_release(experiments);
    for (size_t i = 0; i < COUNT(texts); i++) {
        experiments = load_good(texts[i]);
        cr_expect_eq(experiments_count(experiments), 0, "%s", texts[i]);
        experiments_release(experiments);
    }
    experiments_release(NULL);
}

Test(experiments, a_variant_may_name_the_model_that_answers)
{
    struct experiments *experiments = load_good("x:\n  variants:\n    a: {model: active}\n"
                                                "    b: {model: shop-1f3a9c02, scenario: home, share: .5}\n");
    const struct experiment *e = experiments_at(experiments, 0);
    cr_expect_str_eq(e->variants[0].name, "a");
    cr_expect_str_eq(e->variants[0].model, "");
    cr_expect_str_eq(e->variants[1].model, "shop-1f3a9c02");
    cr_expect_str_eq(e->variants[1].scenario, "home");
    cr_expect_float_eq(e->variants[1].share, 1.0 / 3, 1e-12);
    experiments_release(experiments);
}

Test(experiments, kinds_are_called_as_in_the_file)
{
    cr_expect_str_eq(experiment_kind_name(EXPERIMENT_VARIANTS), "variants");
    cr_expect_str_eq(experiment_kind_name(EXPERIMENT_INTERLEAVE), "interleave");
    cr_expect_str_eq(experiment_kind_name(EXPERIMENT_SHADOW), "shadow");
}

/* ---- faults */

Test(experiments, keys_are_checked)
{
    static const struct refused cases[] = {
        {"- a\n", ":1: expected 'NAME:' with the experiment's keys below it"},
        {"x\n", ":1: expected 'NAME:'"},
        {"? [a]\n: 1\n", ":1: a key is one word"},
        {"a b: {shadow: m}\n", ":1: 'a b' is no name of an experiment"},
        {"'': {shadow: m}\n", "'' is no name of an experiment"},
        {"x/y: {shadow: m}\n", "'x/y' is no name of an experiment"},
        {"x: {shadow: m}\nx: {shadow: n}\n", ":2: experiment 'x' is there twice"},
        {"\nx:\n", ":2: experiment 'x': its keys are missing"},
        {"x: 3\n", "experiment 'x': its keys are missing"},
        {"x: [shadow, m]\n", "experiment 'x': its keys are missing"},
        {"x: {}\n", ":1: experiment 'x': none of 'variants', 'interleave' and 'shadow'"},
        {"x:\n  share: 0.5\n", ":1: experiment 'x': none of 'variants', 'interleave' and 'shadow'"},
        {"x:\n  shadow: m\n  interleave: [a, b]\n", "experiment 'x': 'interleave' and 'shadow': an experiment has one"},
        {"x:\n  variants: {a: {}, b: {}}\n  shadow: m\n", ":3: experiment 'x': 'variants' and 'shadow': an experiment"},
        {"x: {shadow: m}\ny:\n  shadow: m\n  shares: 1\n",
         ":4: experiment 'y': unknown key 'shares', did you mean 'share'?"},
        {"x: {variant: {}}\n", "unknown key 'variant', did you mean 'variants'?"},
        {"x: {shadow: m, colour: red}\n", "experiment 'x': unknown key 'colour'"},
        {"x: {shadow: m, [a]: b}\n", "experiment 'x': a key is one word"},
        {"x:\n  shadow: m\n  shadow: n\n", ":3: experiment 'x': 'shadow' is there twice"},
        {"x:\n  shadow:\n", ":2: experiment 'x': 'shadow' has no value"},
        {"x: {shadow: m, salt: ~}\n", "'salt' has no value"},
        {"x: {shadow: m, share: null}\n", "'share' has no value"},
        {"x: {shadow: m, salt: 'a b'}\n", "'salt' is 'a b', expected 1 to 64 of A-Z"},
        {"x: {shadow: m, salt: ''}\n", "'salt' is '', expected 1 to 64 of A-Z"},
        {"x: {shadow: m, salt: [a]}\n", "'salt': expected a name"},
    };
    expect_refused(cases, COUNT(cases));
}

Test(experiments, shares_are_checked)
{
    static const struct refused cases[] = {
        {"x:\n  shadow: m\n  share: 0\n",
         ":3: experiment 'x': 'share' is '0', expected a number above 0 and at most 1"},
        {"x: {shadow: m, share: -0.1}\n", "expected a number above 0 and at most 1"},
        {"x: {shadow: m, share: 1.001}\n", "'share' is '1.001', expected a number above 0 and at most 1"},
        {"x: {shadow: m, share: .nan}\n", "expected a number above 0"},
        {"x: {shadow: m, share: nan}\n", "expected a number above 0"},
        {"x: {shadow: m, share: .inf}\n", "expected a number above 0"},
        {"x: {shadow: m, share: 0x1}\n", "expected a number above 0"},
        {"x: {shadow: m, share: half}\n", "expected a number above 0"},
        {"x:\n  shadow: m\n  share: 0,5\n", "'share' is '0,5', expected a number above 0"},
        {"x: {shadow: m, share: 1e}\n", "expected a number above 0"},
        {"x: {shadow: m, share: 1e-999}\n", "expected a number above 0"},
        {"x: {shadow: m, share: '0.5'}\n", "'share' is a number, without quotes"},
        {"x: {shadow: m, share: [0.5]}\n", "'share' is a number, without quotes"},
        {"x: {variants: {a: {share: 0}, b: {}}}\n",
         ":1: experiment 'x', variant 'a': 'share' is '0', expected a number above 0"},
        {"x: {variants: {a: {}, b: {share: 1e999}}}\n", "variant 'b': 'share' is '1e999', expected a number above 0"},
        {"x: {variants: {a: {share: 1e300}, b: {share: 1e-300}}}\n", "'x': the shares of the variants are too far"},
        {"x: {variants: {a: {share: 1.7e308}, b: {share: 1.7e308}}}\n", "the shares of the variants are too far apart"},
    };
    expect_refused(cases, COUNT(cases));
}

Test(experiments, variants_are_checked)
{
    static const struct refused cases[] = {
        {"x: {variants: [a, b]}\n", "experiment 'x': 'variants' is a section"},
        {"x: {variants: a}\n", "experiment 'x': 'variants' is a section"},
        {"x:\n  variants: {}\n", ":2: experiment 'x': 'variants' has 0, expected 2 to 16"},
        {"x: {variants: {a: {}}}\n", "experiment 'x': 'variants' has 1, expected 2 to 16"},
        {"x: {variants: {a b: {}, c: {}}}\n", "experiment 'x': 'a b' is no name of a variant"},
        {"x: {variants: {[a]: {}, c: {}}}\n", "experiment 'x': a key is one word"},
        {"x:\n  variants:\n    a: {}\n    a: {}\n", ":4: experiment 'x': variant 'a' is there twice"},
        {"x:\n  variants:\n    a:\n    b: {}\n", ":3: experiment 'x', variant 'a': expected its keys, or {}"},
        {"x: {variants: {a: {}, b: 2}}\n", "experiment 'x', variant 'b': expected its keys, or {}"},
        {"x: {variants: {a: [], b: {}}}\n", "experiment 'x', variant 'a': expected its keys, or {}"},
        {"x:\n  variants:\n    a: {}\n    b: {modle: m}\n",
         ":4: experiment 'x', variant 'b': unknown key 'modle', did you mean 'model'?"},
        {"x: {variants: {a: {salt: s}, b: {}}}\n", "variant 'a': unknown key 'salt'"},
        {"x: {variants: {a: {model: m, model: n}, b: {}}}\n", "variant 'a': 'model' is there twice"},
        {"x: {variants: {a: {scenario: }, b: {}}}\n", "variant 'a': 'scenario' has no value"},
        {"x: {variants: {a: {scenario: a b}, b: {}}}\n", "variant 'a': 'scenario' is 'a b', expected 1 to 64 of"},
        {"x: {variants: {a: {model: a/b}, b: {}}}\n", "variant 'a': 'model' is 'a/b', expected 1 to 96 of"},
        {"x: {variants: {a: {model: [m]}, b: {}}}\n", "variant 'a': 'model': expected a name"},
    };
    expect_refused(cases, COUNT(cases));
}

Test(experiments, models_to_interleave_or_shadow_are_checked)
{
    static const struct refused cases[] = {
        {"x: {interleave: m}\n", "experiment 'x': 'interleave' is a list of two models"},
        {"x: {interleave: []}\n", "'interleave' is a list of two models"},
        {"x: {interleave: [a]}\n", "'interleave' is a list of two models"},
        {"x: {interleave: [a, b, c]}\n", "'interleave' is a list of two models"},
        {"x: {interleave: {a: b}}\n", "'interleave' is a list of two models"},
        {"x: {interleave: [a, a]}\n", "experiment 'x': 'interleave' has 'a' twice"},
        {"x: {interleave: [active, active]}\n", "'interleave' has 'active' twice"},
        {"x: {interleave: [a, b c]}\n", "'interleave' is 'b c', expected 1 to 96 of"},
        {"x: {interleave: [a, [b]]}\n", "'interleave': expected a name"},
        {"x: {interleave: [a, null]}\n", "'interleave': expected a name"},
        {"x: {shadow: [m]}\n", "'shadow': expected a name"},
        {"x: {shadow: m/n}\n", "'shadow' is 'm/n', expected 1 to 96 of"},
        {"x:\n  shadow: active\n", ":2: experiment 'x': 'shadow' is 'active', which answers anyway"},
    };
    expect_refused(cases, COUNT(cases));
}

Test(experiments, yaml_that_it_needs_nothing_of_is_refused)
{
    static const struct refused cases[] = {
        {"x: &a {shadow: m}\ny: *a\n", ":1: anchors are not supported"},
        {"x: {shadow: &a m}\n", "anchors are not supported"},
        {"x: {interleave: &a [b, c]}\n", "anchors are not supported"},
        {"x: {shadow: m}\ny: *a\n", ":2: aliases are not supported"},
        {"x: {shadow: *a}\n", ":1: aliases are not supported"},
        {"<<: {x: {shadow: m}}\n", "'<<' is no name of an experiment"},
        {"x: {<<: {shadow: m}}\n", "experiment 'x': unknown key '<<'"},
        {"x: {shadow: !!str m}\n", "tags are not supported"},
        {"x: {shadow: ! m}\n", "tags are not supported"},
        {"x: !y {shadow: m}\n", "tags are not supported"},
        {"x: {shadow: m}\n---\ny: {shadow: m}\n", ":2: a second document"},
        {"x: {shadow: m\n", ":2: "},
        {"x:\n\tshadow: m\n", ":2: "},
        {"x:\n  salt: a\n  shadow: \xff\n", ":3: "},
        {"x:\n  shadow: a\x01\n", ":2: "},
        {"x: {shadow: \"a\\0b\"}\n", ":1: a NUL character"},
        {"x: {shadow: [[[[[[[[[m]]]]]]]]]}\n", "nested too deep"},
    };
    expect_refused(cases, COUNT(cases));
}

Test(experiments, the_key_at_fault_is_the_field_of_the_status)
{
    struct status st;
    cr_expect(load("x: {shadow: m, share: 2}\n", &st) == NULL);
    cr_expect_str_eq(st.field, "share");
    cr_expect(load("x: {variants: {a: {modle: m}, b: {}}}\n", &st) == NULL);
    cr_expect_str_eq(st.field, "modle");
    cr_expect(load("x: {share: 1}\n", &st) == NULL);
    cr_expect_str_eq(st.field, "");
}

Test(experiments, names_are_limited)
{
    char name[EXPERIMENT_MODEL_BYTES + 2], text[2 * EXPERIMENT_MODEL_BYTES + 64];
    struct status st;
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0'; /* one more than a model may have */

    snprintf(text, sizeof text, "x: {shadow: %s}\n", name);
    cr_expect(load(text, &st) == NULL);
    snprintf(text, sizeof text, "%.*s: {shadow: m}\n", EXPERIMENT_NAME_BYTES + 1, name);
    cr_expect(load(text, &st) == NULL);
    snprintf(text, sizeof text, "x: {shadow: m, salt: %.*s}\n", EXPERIMENT_NAME_BYTES + 1, name);
    cr_expect(load(text, &st) == NULL);

    snprintf(text, sizeof text, "%.*s: {shadow: %.*s}\n", EXPERIMENT_NAME_BYTES, name, EXPERIMENT_MODEL_BYTES, name);
    struct experiments *experiments = load_good(text);
    const struct experiment *e = experiments_at(experiments, 0);
    cr_expect_eq(strlen(e->name), EXPERIMENT_NAME_BYTES);
    cr_expect_eq(strlen(e->salt), EXPERIMENT_NAME_BYTES);
    cr_expect_eq(strlen(e->variants[0].model), EXPERIMENT_MODEL_BYTES);
    experiments_release(experiments);
}

Test(experiments, there_may_be_so_many_and_no_more)
{
    char text[8192];
    struct status st;
    write_lines(text, sizeof text, "", "x", ": {shadow: m}", EXPERIMENTS_MOST);
    struct experiments *experiments = load_good(text);
    cr_expect_eq(experiments_count(experiments), EXPERIMENTS_MOST);
    cr_expect_str_eq(experiments_at(experiments, 99)->name, "x99");
    experiments_release(experiments);
    write_lines(text, sizeof text, "", "x", ": {shadow: m}", EXPERIMENTS_MOST + 1);
    cr_expect(load(text, &st) == NULL);
    cr_expect(strstr(st.message, "more than 100 experiments") != NULL, "%s", st.message);

    write_lines(text, sizeof text, "x:\n  variants:\n", "    v", ": {}", EXPERIMENT_VARIANTS_MOST);
    experiments = load_good(text);
    cr_expect_eq(experiments_at(experiments, 0)->variant_count, EXPERIMENT_VARIANTS_MOST);
    experiments_release(experiments);
    write_lines(text, sizeof text, "x:\n  variants:\n", "    v", ": {}", EXPERIMENT_VARIANTS_MOST + 1);
    cr_expect(load(text, &st) == NULL);
    cr_expect(strstr(st.message, ":19: experiment 'x': more than 16 variants") != NULL, "%s", st.message);
}

Test(experiments, the_size_of_the_file_is_limited)
{
    struct status st;
    char *text = malloc(EXPERIMENTS_FILE_BYTES + 1);
    cr_assert_not_null(text);
    memset(text, '#', EXPERIMENTS_FILE_BYTES + 1);
    struct experiments *experiments = load_bytes(text, EXPERIMENTS_FILE_BYTES, &st);
    cr_assert(experiments != NULL, "%s", st.message);
    experiments_release(experiments);
    cr_expect(load_bytes(text, EXPERIMENTS_FILE_BYTES + 1, &st) == NULL);
    cr_expect_str_eq(st.reason, "BAD_EXPERIMENT");
    cr_expect(strstr(st.message, "the file is over 1048576 bytes") != NULL, "%s", st.message);
    memset(text, '[', EXPERIMENTS_FILE_BYTES);
    cr_expect(load_bytes(text, EXPERIMENTS_FILE_BYTES, &st) == NULL);
    cr_expect(strstr(st.message, "nested too deep") != NULL, "%s", st.message);
    free(text);
}

Test(experiments, a_file_that_cannot_be_read_is_named)
{
    static const char *const paths[] = {"/tmp/test_experiments.none", "/tmp"};
    for (size_t i = 0; i < COUNT(paths); i++) {
        struct status st = STATUS_INIT;
        cr_expect(experiments_load(paths[i], &st) == NULL);
        cr_expect_eq(st.code, STATUS_NOT_FOUND);
        cr_expect_str_eq(st.reason, "NO_INPUT");
        cr_expect(strstr(st.message, paths[i]) != NULL, "%s", st.message);
    }
    cr_expect(experiments_load(paths[0], NULL) == NULL);
}

/* ---- the set */

Test(experiments, are_found_by_name)
{
    struct experiments *experiments = load_good("home-page: {shadow: m}\nother: {shadow: n}\n");
    struct status st = STATUS_INIT;
    cr_expect_eq(experiments_find(experiments, "other", &st), experiments_at(experiments, 1));
    cr_expect_eq(st.code, STATUS_OK);
    cr_expect(experiments_find(experiments, "home-pgae", &st) == NULL);
    cr_expect_eq(st.code, STATUS_INVALID_ARGUMENT);
    cr_expect_str_eq(st.reason, "UNKNOWN_EXPERIMENT");
    cr_expect_str_eq(st.field, "experiment");
    cr_expect_str_eq(st.message, "there is no experiment 'home-pgae', did you mean 'home-page'?");
    cr_expect(experiments_find(experiments, "xyz", &st) == NULL);
    cr_expect_str_eq(st.message, "there is no experiment 'xyz'");
    cr_expect(experiments_find(experiments, "", &st) == NULL);
    experiments_release(experiments);
}

Test(experiments, who_holds_a_set_keeps_it)
{
    struct experiments_slot slot = {.lock = PTHREAD_MUTEX_INITIALIZER, .now = load_good("old: {shadow: m}\n")};
    struct experiments *held = experiments_slot_acquire(&slot);
    experiments_slot_set(&slot, load_good("new: {shadow: m}\nnewer: {shadow: m}\n"));
    cr_expect_eq(experiments_count(held), 1);
    cr_expect_str_eq(experiments_at(held, 0)->name, "old");
    experiments_release(held);
    held = experiments_slot_acquire(&slot);
    cr_expect_eq(experiments_count(held), 2);
    experiments_release(held);
    experiments_release(slot.now);
    pthread_mutex_destroy(&slot.lock);
}
