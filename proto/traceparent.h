/* SPDX-License-Identifier: Apache-2.0
 *
 * W3C Trace Context, the `traceparent` value: version-traceid-parentid-flags in lower-case hex. */
#ifndef RECSYS_PROTO_TRACEPARENT_H
#define RECSYS_PROTO_TRACEPARENT_H

#include <stdbool.h>

#define TRACEPARENT_SIZE 64 /* bytes that hold any accepted value and its NUL; version 00 needs 56 */

/* True for a well-formed value that fits TRACEPARENT_SIZE. Versions after 00 may carry more after the flags. */
bool traceparent_valid(const char *text);

#endif
