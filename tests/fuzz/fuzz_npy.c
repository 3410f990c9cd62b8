/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a .npy file: refused with a sentence, or every row can be read. */
#include "daemon/npy.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    char path[64];
    struct npy npy;
    struct status st = STATUS_INIT;
    int fd = memfd_create("fuzz_npy", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size_bytes) != (ssize_t)size_bytes)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (!npy_open(&npy, path, &st)) {
        if (st.code != STATUS_INVALID_ARGUMENT || st.message[0] == '\0')
            abort();
    } else if (npy.rows > 0) { /* then a row is no longer than the file */
        float *row = malloc(npy.columns * sizeof *row);
        if (row == NULL)
            abort();
        while (npy.next_row < npy.rows)
            if (!npy_read_rows(&npy, row, 1, &st))
                abort();
        free(row);
    }
    npy_close(&npy);
    close(fd);
    return 0;
}
