/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as an atomic file: refused with a sentence, or read to the end in rows of valid UTF-8. */
#include "daemon/atomic_file.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <unistr.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

static void read_rows(struct atomic_file *file)
{
    for (;;) {
        struct status st = STATUS_INIT;
        switch (atomic_file_next(file, &st)) {
        case ATOMIC_ROW:
            for (size_t i = 0; i < file->column_count; i++)
                if (u8_check((const uint8_t *)file->cells[i], strlen(file->cells[i])) != NULL)
                    abort();
            break;
        case ATOMIC_BAD_ROW:
            if (st.message[0] == '\0')
                abort();
            break;
        case ATOMIC_FAILED:
            abort();
        case ATOMIC_END:
            if (file->read_bytes != file->size_bytes)
                abort();
            return;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    static const char *const wanted[] = {"user_id", "user", NULL};
    char path[64];
    int column;
    struct atomic_file file;
    struct status st = STATUS_INIT;
    int fd = memfd_create("fuzz_atomic_file", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size_bytes) != (ssize_t)size_bytes)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (atomic_file_open(&file, path, &st)) {
        if (atomic_file_require(&file, wanted, &column, &st) != (atomic_file_column(&file, wanted) >= 0))
            abort();
        read_rows(&file);
    } else if (st.code != STATUS_INVALID_ARGUMENT || st.message[0] == '\0') {
        abort();
    }
    atomic_file_close(&file);
    close(fd);
    return 0;
}
