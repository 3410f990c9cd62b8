/* SPDX-License-Identifier: Apache-2.0
 *
 * Where in a message one is, as a chain of frames on the stack: it costs nothing until somebody has to be told. */
#ifndef RECSYS_PROTO_PLACE_H
#define RECSYS_PROTO_PLACE_H

#include <stddef.h>

struct place {
    const struct place *up; /* NULL at the top */
    const char *name;       /* of a field or key; NULL: an element of a list */
    size_t index;           /* of that element */
};

/* Write "events[3].user" into `text`, cut to fit. `place` NULL is the message itself: "". Returns the length
 * written. */
size_t place_write(const struct place *place, char *text, size_t size);

#endif
