// SPDX-License-Identifier: MIT
/* The main of a fuzz target that is built without libFuzzer: runs the files given, and those in the
 * folders given, through it, once each.
 *
 * So a plain compiler replays every corpus in `make check`.  An input lies in memory of exactly its
 * size, so that a sanitizer sees the first byte read past it.  No input at all is a failure: else a
 * lost corpus would pass.
 *
 * Thread: the main one.
 */
#include "base/cli.h"
#include "base/mem.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_MAX (16u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned inputs, errors;

static void replay_file(const char *path)
{
	uint8_t *data, *exact;
	size_t len;

	int err = read_file(path, INPUT_MAX, &data, &len);
	if (err) {
		fprintf(stderr, "%s: %s\n", path, strerror(-err));
		errors++;
		return;
	}
	exact = malloc(len);
	if (len && !exact)
		abort();
	memcpy(exact, data, len);
	free(data);
	/* Told before, so that a crash names its input. */
	printf("%s: %zu bytes\n", path, len);
	fflush(stdout);
	LLVMFuzzerTestOneInput(exact, len);
	free(exact);
	inputs++;
}

static int not_hidden(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void replay_folder(const char *path)
{
	struct dirent **entries;

	int n = scandir(path, &entries, not_hidden, alphasort);
	if (n < 0) {
		perror(path);
		errors++;
		return;
	}
	for (int i = 0; i < n; i++) {
		char *file = xasprintf("%s/%s", path, entries[i]->d_name);
		replay_file(file);
		free(file);
		free(entries[i]);
	}
	free(entries);
}

int main(int argc, char **argv)
{
	struct stat st;

	for (int i = 1; i < argc; i++) {
		if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode))
			replay_folder(argv[i]);
		else
			replay_file(argv[i]);
	}
	printf("%u inputs\n", inputs);
	if (!inputs)
		fprintf(stderr, "no input: nothing was tested\n");
	return inputs && !errors ? EXIT_SUCCESS : EXIT_FAILURE;
}
