/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ctl_import_keys.h"

#include <Judy.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

bool event_keys_open(struct event_keys *keys, struct status *st)
{
    keys->seen = NULL;
    keys->state = XXH3_createState();
    return keys->state != NULL || status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "out of memory");
}

static void hash_text(XXH3_state_t *state, const char *text)
{
    XXH3_128bits_update(state, text, strlen(text));
    XXH3_128bits_update(state, "\x1f", 1); /* "a" + "bc" is not "ab" + "c" */
}

static void hexadecimal(const XXH128_canonical_t *hash, char out[EVENT_KEY_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof hash->digest; i++) {
        out[2 * i] = digits[hash->digest[i] >> 4];
        out[2 * i + 1] = digits[hash->digest[i] & 15];
    }
    out[2 * sizeof hash->digest] = '\0';
}

bool event_keys_next(struct event_keys *keys, const char *user, const char *item, int64_t at_ms, const char *behaviour,
                     char out[EVENT_KEY_SIZE], struct status *st)
{
    XXH3_state_t *state = keys->state;
    char number[24];
    snprintf(number, sizeof number, "%" PRId64, at_ms);
    XXH3_128bits_reset(state);
    hash_text(state, user);
    hash_text(state, item);
    hash_text(state, number);
    hash_text(state, behaviour);
    /* The state can be read in between: what is hashed so far tells equal rows. */
    PPvoid_t place = JudyLIns(&keys->seen, XXH3_128bits_digest(state).low64, PJE0);
    if (place == NULL || place == PPJERR)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "out of memory");
    Word_t *rows = (Word_t *)place;
    snprintf(number, sizeof number, "%lu", (*rows)++);
    XXH3_128bits_update(state, number, strlen(number));
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
    hexadecimal(&canonical, out);
    return true;
}

void event_keys_close(struct event_keys *keys)
{
    JudyLFreeArray(&keys->seen, PJE0);
    XXH3_freeState(keys->state);
    keys->state = NULL;
}
