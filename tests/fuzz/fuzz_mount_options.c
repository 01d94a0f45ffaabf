/* SPDX-License-Identifier: MIT */
/* Fuzzes the -o list of a mount: whatever is there is taken, or refused with a reason; a list that
 * was taken is taken once more.  Byte 0 says how mount(8) called.
 */
#include "fs/options.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mount_options o;
	char *why = NULL;
	if (!size || memchr(data + 1, 0, size - 1))
		return 0;
	char *list = strndup((const char *)data + 1, size - 1);

	mount_options_init(&o);
	o.from_mount8 = data[0] & 1;
	o.sloppy = data[0] & 2;
	int r = mount_options_parse(&o, list, &why);
	must(r == 0 ? !why : why && *why);
	free(why);
	why = NULL;
	must(!(o.mode & ~(mode_t)0777));
	must(!o.swarm.cafile == !o.swarm.swarm.http_cafile);
	if (r == 0)
		must(mount_options_parse(&o, list, &why) == 0 || strstr(why, "more than"));
	free(why);
	mount_options_done(&o);
	free(list);
	return 0;
}
