/* SPDX-License-Identifier: Apache-2.0 */
#include "models/architecture.h"

#include <stdio.h>
#include <string.h>

static const char *const kind_names[] = {"dot", "cosine", "additive"};

static json_t *write_views(const struct architecture *a)
{
    json_t *list = json_array();
    for (int i = 0; i < a->view_count; i++) {
        const struct view *v = &a->views[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:i, s:i, s:i}", "name", v->name, "modality",
                                              v->modality, "encoder", v->encoder, "dimension", v->dimension,
                                              "components", v->components, "correction", v->correction));
    }
    return list;
}

static json_t *write_similarities(const struct architecture *a)
{
    json_t *list = json_array();
    for (int i = 0; i < a->similarity_count; i++) {
        const struct similarity *s = &a->similarities[i];
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:i, s:i, s:b}", "candidate", a->views[s->candidate_view].name,
                                        "history", a->views[s->history_view].name, "kind", kind_names[s->kind], "heads",
                                        s->heads, "hard", s->hard, "mask_missing", s->mask_missing));
    }
    return list;
}

json_t *architecture_write(const struct architecture *a)
{
    json_t *streams = json_array(), *behaviours = json_array();
    for (int i = 0; i < a->stream_count; i++)
        json_array_append_new(streams,
                              json_pack("{s:i, s:i}", "pick", a->streams[i].pick, "judge", a->streams[i].judge));
    for (int i = 0; i < a->behaviour_count; i++)
        json_array_append_new(behaviours, json_string(a->behaviours[i]));
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:o, s:o, s:o, s:o}", "width", a->width, "blocks", a->blocks, "heads",
                     a->heads, "feedforward", a->feedforward, "history", a->history, "views", write_views(a),
                     "similarities", write_similarities(a), "streams", streams, "behaviours", behaviours);
}

static bool bad(struct status *st, const char *member)
{
    return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_MODEL", "architecture: '%s' is missing or out of range",
                       member);
}

static bool read_int(const json_t *object, const char *key, int least, int most, int *out, struct status *st)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value) || json_integer_value(value) < least || json_integer_value(value) > most)
        return bad(st, key);
    *out = (int)json_integer_value(value);
    return true;
}

static bool read_text(const json_t *object, const char *key, char *out, size_t size, struct status *st)
{
    const char *text = json_string_value(json_object_get(object, key));
    if (text == NULL || strlen(text) >= size)
        return bad(st, key);
    memcpy(out, text, strlen(text) + 1);
    return true;
}

static bool read_view(struct view *v, const json_t *json, int width, struct status *st)
{
    if (!read_text(json, "name", v->name, sizeof v->name, st) ||
        !read_text(json, "modality", v->modality, sizeof v->modality, st) ||
        !read_text(json, "encoder", v->encoder, sizeof v->encoder, st) ||
        !read_int(json, "dimension", 1, 65536, &v->dimension, st) ||
        !read_int(json, "components", 1, 1024, &v->components, st) ||
        !read_int(json, "correction", 0, 256, &v->correction, st))
        return false;
    if (v->components > v->dimension || (strcmp(v->modality, "id") == 0 && v->components != width))
        return bad(st, "components");
    return true;
}

static bool read_similarity(struct similarity *s, const json_t *json, const struct architecture *a, struct status *st)
{
    char name[64];
    if (!read_text(json, "candidate", name, sizeof name, st) || (s->candidate_view = architecture_view(a, name)) < 0)
        return bad(st, "candidate");
    if (!read_text(json, "history", name, sizeof name, st) || (s->history_view = architecture_view(a, name)) < 0)
        return bad(st, "history");
    int components = a->views[s->candidate_view].components;
    if (components != a->views[s->history_view].components)
        return bad(st, "history");
    if (!read_text(json, "kind", name, sizeof name, st))
        return false;
    int kind = 0;
    while (kind < 3 && strcmp(kind_names[kind], name) != 0)
        kind++;
    if (kind == 3)
        return bad(st, "kind");
    s->kind = (enum attention_kind)kind;
    s->mask_missing = json_is_true(json_object_get(json, "mask_missing"));
    return read_int(json, "heads", 1, 64, &s->heads, st) && (components % s->heads == 0 || bad(st, "heads")) &&
           read_int(json, "hard", 0, ARCHITECTURE_HISTORY_MAX, &s->hard, st);
}

static bool read_list(const json_t *json, const char *key, int most, int *count, const json_t **list, struct status *st)
{
    *list = json_object_get(json, key);
    if (!json_is_array(*list) || json_array_size(*list) > (size_t)most)
        return bad(st, key);
    *count = (int)json_array_size(*list);
    return true;
}

static bool read_lists(struct architecture *a, const json_t *json, struct status *st)
{
    const json_t *views, *similarities, *streams, *behaviours;
    if (!read_list(json, "views", ARCHITECTURE_VIEWS_MAX, &a->view_count, &views, st) ||
        !read_list(json, "similarities", ARCHITECTURE_SIMILARITIES_MAX, &a->similarity_count, &similarities, st) ||
        !read_list(json, "streams", ARCHITECTURE_STREAMS_MAX, &a->stream_count, &streams, st) ||
        !read_list(json, "behaviours", ARCHITECTURE_BEHAVIOURS_MAX, &a->behaviour_count, &behaviours, st))
        return false;
    int count = a->view_count;
    for (a->view_count = 0; a->view_count < count; a->view_count++) {
        struct view *v = &a->views[a->view_count];
        if (!read_view(v, json_array_get(views, (size_t)a->view_count), a->width, st))
            return false;
        bool taken = strcmp(v->name, "gate") == 0 || strcmp(v->name, "output") == 0 ||
                     (strcmp(v->name, "id") == 0 && strcmp(v->modality, "id") != 0);
        if (architecture_view(a, v->name) >= 0 || taken)
            return bad(st, "name");
    }
    for (int i = 0; i < a->similarity_count; i++)
        if (!read_similarity(&a->similarities[i], json_array_get(similarities, (size_t)i), a, st))
            return false;
    for (int i = 0; i < a->stream_count; i++) {
        const json_t *stream = json_array_get(streams, (size_t)i);
        if (!read_int(stream, "pick", 0, a->similarity_count - 1, &a->streams[i].pick, st) ||
            !read_int(stream, "judge", 0, a->similarity_count - 1, &a->streams[i].judge, st))
            return false;
        for (int j = 0; j < i; j++)
            if (a->streams[j].pick == a->streams[i].pick && a->streams[j].judge == a->streams[i].judge)
                return bad(st, "streams");
        if (a->similarities[a->streams[i].pick].heads != a->similarities[a->streams[i].judge].heads)
            return bad(st, "heads");
    }
    for (int i = 0; i < a->behaviour_count; i++) {
        const char *name = json_string_value(json_array_get(behaviours, (size_t)i));
        if (name == NULL || strlen(name) >= sizeof a->behaviours[i])
            return bad(st, "behaviours");
        strcpy(a->behaviours[i], name);
    }
    return true;
}

bool architecture_read(struct architecture *out, const json_t *json, struct status *st)
{
    struct architecture a = {0};
    if (!json_is_object(json))
        return bad(st, "architecture");
    if (!read_int(json, "width", 1, 1024, &a.width, st) ||
        !read_int(json, "blocks", 0, ARCHITECTURE_BLOCKS_MAX, &a.blocks, st) ||
        !read_int(json, "heads", 1, 64, &a.heads, st) || !read_int(json, "feedforward", 1, 4096, &a.feedforward, st) ||
        !read_int(json, "history", 1, ARCHITECTURE_HISTORY_MAX, &a.history, st) || !read_lists(&a, json, st))
        return false;
    if (a.width % a.heads != 0)
        return bad(st, "heads");
    *out = a;
    return true;
}

int architecture_view(const struct architecture *a, const char *name)
{
    for (int i = 0; i < a->view_count; i++)
        if (strcmp(a->views[i].name, name) == 0)
            return i;
    return -1;
}

int architecture_behaviour(const struct architecture *a, const char *name)
{
    for (int i = 0; i < a->behaviour_count; i++)
        if (strcmp(a->behaviours[i], name) == 0)
            return i;
    return -1;
}
