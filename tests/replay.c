/* SPDX-License-Identifier: MIT
 * Runs a fuzz target over recorded inputs without libFuzzer: every file of the folders named on the
 * command line, and every beginning of it, each in a block of exactly its size. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_ROOM 65536
#define MAX_PREFIXES 2048

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(const uint8_t *data, size_t size)
{
    uint8_t *exact = malloc(size ? size : 1);
    if (!exact)
        exit(2);
    memcpy(exact, data, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

static void replay_file(const char *path)
{
    static uint8_t data[INPUT_ROOM];
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(2);
    }
    size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    for (size_t n = 0; n < size && n < MAX_PREFIXES; n++)
        run(data, n);
    run(data, size);
}

static int replay_folder(const char *folder)
{
    struct dirent **entries;
    int n = scandir(folder, &entries, NULL, alphasort), replayed = 0;
    for (int i = 0; i < n; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.') {
            printf("%s\n", path); /* the last one printed is the one that failed */
            fflush(stdout);
            replay_file(path);
            replayed++;
        }
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    return replayed;
}

int main(int argc, char **argv)
{
    int replayed = 0;
    for (int i = 1; i < argc; i++)
        replayed += replay_folder(argv[i]);
    run((const uint8_t *)"", 0);
    printf("%d inputs\n", replayed);
    return 0;
}
