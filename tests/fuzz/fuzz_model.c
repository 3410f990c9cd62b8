/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a model file. What is accepted must be whole: every number finite, every item found by its name, and
 * writing it must give a file that reads back and writes again as the same bytes. Seeds: models that
 * tests/unit/test_model_file.c writes. */
#include "models/model.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

static void require(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "broken: %s\n", what);
        abort();
    }
}

static void touch(const struct model *model)
{
    for (size_t i = 0; i < model->params.count; i++) {
        const struct param *p = &model->params.list[i];
        for (size_t j = 0; j < p->count; j++)
            require((*p->slot)[j] - (*p->slot)[j] == 0, "what was read is finite");
    }
    const char *name = model->item_names;
    for (size_t row = 0; row < model->item_count; row++, name += strlen(name) + 1) {
        require(model_item_row(model, name) == (int64_t)row, "an item is found by its name");
        require(model->item_training_count[row] - model->item_training_count[row] == 0, "a count is finite");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct status st = STATUS_INIT;
    struct model *model = model_read(data, size_bytes, &st);
    if (model == NULL) {
        require(st.code != STATUS_OK && st.message[0] != '\0', "a failure is explained");
        return 0;
    }
    touch(model);
    size_t written_bytes, rewritten_bytes;
    unsigned char *written = model_write(model, &written_bytes, &st);
    require(written != NULL, st.message);
    struct model *again = model_read(written, written_bytes, &st);
    require(again != NULL, st.message);
    require(strcmp(model->version, again->version) == 0, "writing and reading agree on the version");
    unsigned char *rewritten = model_write(again, &rewritten_bytes, &st);
    require(rewritten != NULL, st.message);
    require(written_bytes == rewritten_bytes && memcmp(written, rewritten, written_bytes) == 0, "the same bytes");
    free(written);
    free(rewritten);
    model_release(model);
    model_release(again);
    return 0;
}
