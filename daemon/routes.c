/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/routes.h"

#include "proto/recsys.pb-c.h"

#include <string.h>

const struct route routes[] = {
#define ROUTE_ROW(method, name, request, role) {method, handle_##name, &recsys__##request##__descriptor, role},
    ROUTES(ROUTE_ROW)
#undef ROUTE_ROW
};
const size_t route_count = sizeof routes / sizeof *routes;

const struct route *route_find(const char *method)
{
    for (size_t i = 0; i < route_count; i++)
        if (strcmp(routes[i].method, method) == 0)
            return &routes[i];
    return NULL;
}
