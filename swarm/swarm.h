/* SPDX-License-Identifier: MIT */
/* The engine's face: many torrents, one listening port, one set of limits.
 *
 * The file system, and the commands get and seed, see this header alone (and options.h).
 *
 * Threads: functions marked "loop" are called on the loop's thread (from a callback, or by
 * swarm_post) or, before swarm_start, by the thread that made the swarm.  Those marked "any" may be
 * called from anywhere while the torrent lives.
 */
#ifndef SWARM_SWARM_H
#define SWARM_SWARM_H

#include "base/addr.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct loop;
struct magnet;
struct metainfo;
struct swarm;
struct torrent;

/* -- the swarm ------------------------------------------------------------------------------- */

struct swarm_config {
	struct addr listen;      /* port 0: any; the address :: or 0.0.0.0 is all of both families */
	uint64_t up, down;       /* bytes per second, 0: no limit */
	unsigned workers;        /* threads for hashing and writing; 0: as many as fit the machine */
	const char *http_cafile; /* extra CA bundle, or NULL; borrowed for the swarm's life */
};

/* Binds and listens; no thread is started.  -errno and *ret_why (malloc'd). */
int swarm_new(const struct swarm_config *config, struct swarm **ret, char **ret_why);
/* Starts the loop's thread and the workers. */
int swarm_start(struct swarm *s);
/* Ends: answers every waiting read with -ESHUTDOWN, says "stopped" to trackers (at most 2 s), writes
 * what is verified, saves the records as a clean stop, joins the threads, frees all torrents.
 * Thread: the one that called swarm_start.  NULL is fine. */
void swarm_free(struct swarm *s);
uint16_t swarm_port(const struct swarm *s); /* any */
struct loop *swarm_loop(struct swarm *s);   /* any */
/* Runs fn(arg) on the loop's thread, in order. any */
void swarm_post(struct swarm *s, void (*fn)(void *arg), void *arg);

/* -- a torrent ------------------------------------------------------------------------------- */

enum torrent_where { TORRENT_IN_STORE, TORRENT_IN_PLACE, TORRENT_GET, TORRENT_IN_MEMORY };
/* What a record is worth.  AUTO: after a clean stop with files untouched since, all; else what it says
 * is hashed again before it is served, in the background and first where somebody reads.  TRUST: a
 * recorded bit is believed after an unclean stop too.  LAZY: everything is hashed when it is first
 * touched.  FULL: everything is hashed, in the background and first where somebody reads. */
enum torrent_verify { VERIFY_AUTO, VERIFY_TRUST, VERIFY_LAZY, VERIFY_FULL };

struct torrent_config {
	enum torrent_where where;
	const char *path;            /* the store, the file or folder, get's target; NULL in memory */
	enum torrent_verify verify;  /* what a record is worth; see options.h */
	bool fill;                   /* fetch what nobody reads */
	bool seed;                   /* upload */
	unsigned max_peers;          /* 0: PEERS_MAX_CONNECTED */
	const struct addr *peers;    /* named peers; copied */
	size_t n_peers;
	const char *const *trackers; /* in addition to the torrent's; copied */
	size_t n_trackers;
	const char *profile;         /* a boot profile's file, or NULL: the torrent's, else the store's */
	bool profile_beside;         /* it was found, not named: a bad one is warned of and passed over */
	bool no_profile;             /* neither use one nor record one */
	/* Called once all is there and verified, and durable (NULL: not wanted).  Thread: loop. */
	void (*complete)(void *arg);
	void *arg;
};

/* Fetches what a magnet link does not say, from its peers and those of `config` (of which peers,
 * trackers and max_peers count).  `known`: its torrent, which lacks its piece layers, or NULL.  Then and
 * for any hybrid *ret may lack them, too.  Blocks; SIGINT and SIGTERM end it.  For swarm_add of that
 * torrent next: what it learned of peers goes with it.  0; or -ETIMEDOUT (timeout_ms, 0: never), -EINTR (a signal), -EINVAL, -errno and *ret_why (malloc'd).
 * Thread: the one that made the swarm, before swarm_start. */
int swarm_fetch(struct swarm *s, const struct magnet *link, const struct metainfo *known,
	const struct torrent_config *config, uint64_t timeout_ms, struct metainfo **ret, char **ret_why);

/* Opens the store and begins work (once the swarm runs).  Takes `meta` on success only.
 * -errno and *ret_why (malloc'd).  Thread: loop. */
int swarm_add(struct swarm *s, struct metainfo *meta, const struct torrent_config *config,
	struct torrent **ret, char **ret_why);

const struct metainfo *torrent_meta(const struct torrent *t); /* any; immutable */
/* The store's entry folder, "" when there is none. any */
const char *torrent_entry(const struct torrent *t);
/* Everything there and verified (known zeros count)? any */
bool torrent_complete(const struct torrent *t);
/* Everything hashed since this process started, or written by it? (passthrough's condition) any */
bool torrent_all_hashed(const struct torrent *t);

/* -- reading --------------------------------------------------------------------------------- */

/* Offsets are of the torrent's linear space: metainfo_file.offset + offset in the file; a range lies
 * within one file. */

/* All verified and in the store? any */
bool torrent_ready(const struct torrent *t, uint64_t offset, size_t len);
/* Reads verified bytes out of the store.  0, or -errno after telling the engine that the range is
 * bad: it is dropped and will be fetched again; go to torrent_read then. any */
int torrent_read_stored(struct torrent *t, uint64_t offset, void *data, size_t len);
/* A descriptor of file `i` as it lies in the store (borrowed), -1 where there is none. any */
int torrent_fd(struct torrent *t, uint32_t file);

/* Fetches, verifies and gives [offset, offset + len), len > 0, at most TORRENT_MAX_READ.
 * `done` is called exactly once, later (never from within this call), on the loop: error 0 and the
 * bytes (borrowed for the call), or -ETIMEDOUT (timeout_ms passed; 0 waits for ever), -ESHUTDOWN, or
 * what torrent_read_cancel said.  Gives an id, never 0, never used again.  Thread: loop. */
#define TORRENT_MAX_READ (8u << 20)
typedef void torrent_read_fn(void *arg, int error, const void *data);
uint64_t torrent_read(struct torrent *t, uint64_t offset, size_t len, uint64_t timeout_ms,
	torrent_read_fn *done, void *arg);
/* Ends a waiting read with `error` (e.g. -EINTR); does nothing when it was answered already. any */
void torrent_read_cancel(struct torrent *t, uint64_t id, int error);
/* Ends all waiting reads so. Thread: loop. */
void torrent_read_cancel_all(struct torrent *t, int error);

/* -- facts ------------------------------------------------------------------------------------ */

/* Bytes of file `i` that are had: verified, not known zeros (those are holes). any */
uint64_t torrent_stored_bytes(const struct torrent *t, uint32_t file);
/* lseek for SEEK_DATA / SEEK_HOLE within file `i`: holes are known zeros only. -ENXIO. any */
int64_t torrent_seek(const struct torrent *t, uint32_t file, uint64_t offset, bool hole);

struct torrent_facts {
	uint64_t size, had, zero, on_disk; /* bytes; had includes zero */
	uint64_t down_rate, up_rate;       /* bytes per second of payload */
	uint64_t downloaded, uploaded, wasted, corrupt;
	uint32_t peers, seeds, waiting;    /* connected; those that have all; reads that wait */
	const char *state;                 /* "checking", "fetching", "complete", "stalled"; static */
	char why[160];                     /* of "stalled": what stands in the way */
};
/* A recent picture (at most a second old). any */
void torrent_facts(struct torrent *t, struct torrent_facts *ret);
/* The boot profile that was recorded so far, as text (malloc'd); NULL when none is. any */
char *torrent_recorded_profile(struct torrent *t);
/* All that the status shows (cli.md), as a new JSON object. Thread: loop. */
json_t *torrent_status(struct torrent *t);

#endif
