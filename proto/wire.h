/* SPDX-License-Identifier: Apache-2.0
 *
 * Packed protobuf messages, looked at before they are unpacked: protobuf-c takes strings that are not UTF-8, and a
 * NUL inside one cuts it silently. */
#ifndef RECSYS_PROTO_WIRE_H
#define RECSYS_PROTO_WIRE_H

#include "proto/envelope.h"

/* True when `frame` can be scanned as a message and every string of `type` in it is UTF-8 without NUL. Otherwise
 * INVALID_ARGUMENT / BAD_BODY, st->field naming the string ("events[3].user"). Unknown fields pass. */
bool wire_check_strings(const ProtobufCMessageDescriptor *type, const struct frame *frame, struct status *st);

#endif
