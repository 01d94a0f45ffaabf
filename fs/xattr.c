/* SPDX-License-Identifier: MIT */
/* Progress as extended attributes: user.p2pfs.*.
 *
 * Their values are the torrent's, whatever file is asked, except `io` and `stored`, which are the
 * file's own.  They can be had by name from every file and folder; they are listed by the root
 * alone (which is the file itself for a mount on a file), so that `cp -a` and `rsync -X` of an
 * image do not carry a moment's progress along.
 *
 * Thread: libfuse's.
 */
#include "fs/ops.h"

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/mem.h"
#include "swarm/metainfo.h"
#include "swarm/swarm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "user.p2pfs."

struct asked {
	struct fs *fs;
	const struct node *node;
	const struct metainfo *meta;
	struct torrent_facts facts;
};

static char *number(uint64_t n)
{
	return xasprintf("%llu", (unsigned long long)n);
}

static char *get_progress(const struct asked *a)
{
	/* Rounded down: 100.0 means all. */
	uint64_t tenths =
		a->facts.size ? (uint64_t)((unsigned __int128)a->facts.had * 1000 / a->facts.size)
			      : 1000;
	return xasprintf(
		"%llu.%llu", (unsigned long long)tenths / 10, (unsigned long long)tenths % 10);
}

static char *get_had(const struct asked *a)
{
	return number(a->facts.had);
}

static char *get_zero(const struct asked *a)
{
	return number(a->facts.zero);
}

static char *get_size(const struct asked *a)
{
	return number(a->facts.size);
}

static char *get_state(const struct asked *a)
{
	return xstrdup(a->facts.state);
}

static char *get_why(const struct asked *a)
{
	return xstrndup(a->facts.why, sizeof(a->facts.why));
}

static char *get_info_hash(const struct asked *a)
{
	char hex[65];
	metainfo_entry_name(a->meta, hex);
	return xstrdup(hex);
}

static char *get_info_hash_v2(const struct asked *a)
{
	char hex[2 * SHA256_LEN + 1] = "";
	if (a->meta->has_v2)
		hex_encode(a->meta->hash_v2, SHA256_LEN, hex);
	return xstrdup(hex);
}

static char *get_peers(const struct asked *a)
{
	return number(a->facts.peers);
}

static char *get_seeds(const struct asked *a)
{
	return number(a->facts.seeds);
}

static char *get_waiting(const struct asked *a)
{
	return number(atomic_load(&a->fs->reads.waiting));
}

static char *get_down_rate(const struct asked *a)
{
	return number(a->facts.down_rate);
}

static char *get_up_rate(const struct asked *a)
{
	return number(a->facts.up_rate);
}

static char *get_socket(const struct asked *a)
{
	return xstrdup(a->fs->socket ? a->fs->socket : "");
}

static char *get_io(const struct asked *a)
{
	return xstrdup(a->node->file == TREE_FOLDER ? "" : io_name(a->fs, a->node->file));
}

static char *get_stored(const struct asked *a)
{
	return number(a->node->file == TREE_FOLDER
			      ? a->facts.had - MIN(a->facts.had, a->facts.zero)
			      : torrent_stored_bytes(a->fs->torrent, a->node->file));
}

static const struct {
	const char *name; /* behind PREFIX */
	char *(*get)(const struct asked *a); /* malloc'd */
} table[] = {
	{"progress", get_progress},
	{"had", get_had},
	{"zero", get_zero},
	{"stored", get_stored},
	{"size", get_size},
	{"state", get_state},
	{"why", get_why},
	{"info_hash", get_info_hash},
	{"info_hash_v2", get_info_hash_v2},
	{"peers", get_peers},
	{"seeds", get_seeds},
	{"waiting", get_waiting},
	{"down_rate", get_down_rate},
	{"up_rate", get_up_rate},
	{"socket", get_socket},
	{"io", get_io},
};

static void reply_value(fuse_req_t req, const char *value, size_t len, size_t size)
{
	if (size == 0)
		fuse_reply_xattr(req, len);
	else if (size < len)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, value, len);
}

void fs_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct fs *fs = fuse_req_userdata(req);
	struct asked a = {
		.fs = fs,
		.node = tree_node(&fs->tree, ino),
		.meta = torrent_meta(fs->torrent),
	};
	if (!a.node) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	if (!strncmp(name, PREFIX, strlen(PREFIX))) {
		for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
			if (strcmp(name + strlen(PREFIX), table[i].name))
				continue;
			torrent_facts(fs->torrent, &a.facts);
			CLEANUP_FREE char *value = table[i].get(&a);
			reply_value(req, value, strlen(value), size);
			return;
		}
	}
	fuse_reply_err(req, ENODATA);
}

void fs_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	char list[ARRAY_SIZE(table) * 32];
	size_t len = 0;
	for (size_t i = 0; ino == TREE_ROOT && i < ARRAY_SIZE(table); i++) {
		int n = snprintf(list + len, sizeof(list) - len, PREFIX "%s", table[i].name);
		len += (size_t)n + 1;
	}
	reply_value(req, list, len, size);
}
