/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/place.h"

#include <stdio.h>

size_t place_write(const struct place *place, char *text, size_t size)
{
    if (place == NULL) {
        text[0] = '\0';
        return 0;
    }
    size_t used = place_write(place->up, text, size);
    int added;
    if (place->name == NULL)
        added = snprintf(text + used, size - used, "[%zu]", place->index);
    else
        added = snprintf(text + used, size - used, "%s%s", used > 0 ? "." : "", place->name);
    size_t total = used + (added > 0 ? (size_t)added : 0);
    return total < size ? total : size - 1;
}
