/* SPDX-License-Identifier: MIT */
/* One torrent, from the inside: what the torrent*.c files share.
 *
 *	torrent.c         its life: opening, peers to connect to, the tick, known zeros, the end
 *	torrent_peers.c   its peers: who is let in, what each says, who goes and who is banned
 *	torrent_ask.c     which block is asked of whom: demands, streams, filling, hedges
 *	torrent_web.c     web seeds as sources
 *	torrent_read.c    reads that wait, and the answers
 *	torrent_verify.c  blocks that came: verified, written, recorded; the check of a store
 *	torrent_leaves.c  leaf hashes (BEP 52): asked for, taken, kept
 *	torrent_hashes.c  hashes that peers ask of us
 *	torrent_serve.c   what peers ask of us
 *	torrent_profile.c what is read first: recorded, and fetched first
 *	torrent_status.c  facts for the status
 *
 * Outside the loop's thread only `have`, `zero`, `facts` (under its mutex), `recent` (likewise), the
 * store's read, and what never changes may be touched.
 *
 * Thread: loop.
 */
#ifndef SWARM_TORRENT_H
#define SWARM_TORRENT_H

#include "base/bits.h"
#include "swarm/choker.h"
#include "swarm/conn.h"
#include "swarm/layout.h"
#include "swarm/metainfo.h"
#include "swarm/picker.h"
#include "swarm/rate.h"
#include "swarm/stream.h"
#include "swarm/swarm.h"
#include "swarm/verify.h"
#include "swarm/webseed.h"

#include <pthread.h>

struct announcer;
struct bad_piece;
struct event;
struct http;
struct leaves;
struct peers;
struct resume;
struct store;
struct torrent_profile;
struct webseed;
struct webseed_fetch;
struct work_pool;

/* Blocks held in memory and asked for, above which filling opens no new piece: what a 64 MiB process
 * can afford beside its tables. */
#define FILL_MEMORY (24u << 20)
/* Verified blocks kept for readers while the disk takes none. */
#define FULL_DISK_MEMORY (32u << 20)
/* After the last read that waited, filling stays out of the way for so long. */
#define INTERACTIVE_US (2 * 1000000ull)
/* Connections that ended, remembered for what they gave: a wrong piece is often proven later. */
#define GONE_MAX 64u
#define TICK_MS 1000
#define FAST_TICK_MS 10
#define ALLOWED_FAST_MAX 64u /* BEP 6 gives ten or so */
#define WEBSEED_ASKS 64u /* blocks of one fetch, at most: 1 MiB */

/* What the torrents of a swarm share (owned by swarm.c). */
struct swarm_parts {
	struct loop *loop;
	struct work_pool *pool;
	struct http *http;
	struct conn_env env;
	struct limiter up, down;
	bool up_starved; /* some peer waits for the upload limit: all are served in turn */
	uint64_t turns;  /* given so far */
};

/* A read that waits.  Its blocks are [first, first + n_blocks). */
struct read {
	struct read *next, *prev;
	uint64_t id, offset, since, deadline; /* us; deadline 0: none */
	size_t len;
	uint32_t first, n_blocks;
	bool answering; /* a worker gathers its bytes */
	torrent_read_fn *done;
	void *arg;
};

/* A web seed as a source, beside the connections. */
struct web_source {
	struct torrent *t;
	struct web_source *next;
	struct webseed *seed;
	struct path path;
	struct meter down;
	uint64_t outstanding, retry_at;
	unsigned failures;
	bool banned; /* it gave wrong bytes */
	char error[160];
	uint32_t number; /* as a block's `from` */
	struct web_ask {
		struct webseed_fetch *fetch; /* NULL: free */
		uint32_t first, n, left;     /* block numbers; those that did not come yet */
		struct path_mark mark;
	} asks[WEBSEED_MAX_FETCHES];
};

struct torrent {
	struct swarm_parts *parts;
	struct torrent *next;
	struct metainfo *meta; /* owned */
	struct layout layout;
	struct store *store;   /* owned */
	struct resume *resume; /* owned; NULL where nothing is recorded */
	char *entry;           /* owned; "" when there is none */
	enum torrent_where where;
	bool fill, seed, read_only;
	unsigned max_peers;
	void (*on_complete)(void *arg);
	void *on_complete_arg;
	bool stopping;

	/* The wire's info-hashes: the one we announce ourselves with first (v1's, if there is one). */
	uint8_t hashes[2][SHA1_LEN];
	unsigned n_hashes;

	struct bits have, zero; /* by block number; zero: known zeros, a subset of have */
	struct picker picker;
	struct bits claimed;    /* pieces that the store may hold, not checked yet; NULL words: none */
	uint32_t n_claimed, checking; /* left; jobs under way */
	uint32_t check_from;
	bool was_empty;         /* the store held no byte when it was opened */
	bool check_all;         /* in the background; else on touch only */
	bool hashed;            /* nothing is believed from before this process */

	struct read *reads, *reads_tail;
	unsigned n_reads;
	_Atomic uint64_t next_read_id;
	bool demands_open;      /* some demanded block is asked of nobody */
	uint64_t interactive_until;
	struct streams streams;
	struct torrent_profile *profile; /* owned; NULL: not wanted */

	struct conn *conns;
	unsigned n_conns, n_connecting;
	struct { uint32_t number; struct addr addr; } gone[GONE_MAX]; /* a ring */
	unsigned n_gone;
	struct peers *peers;
	struct choker choker;
	struct announcer *announcer;
	struct web_source *web;
	struct bad_piece *bad;  /* owned list, see torrent_verify.c */

	struct leaf_push {
		uint32_t piece, run, conn;
		uint64_t due; /* us */
		bool again;   /* for the second time */
	} pushes[8];          /* leaf hashes to be asked for in a moment */
	unsigned n_pushes;
	struct leaves *leaves;  /* owned list, see torrent_hashes.c */

	struct event *pump_event, *tick_event, *fast_event, *push_event;
	unsigned jobs;            /* workers that will come back to this torrent */

	/* Writing. */
	int disk_error;           /* the last write's, 0: none */
	uint64_t disk_retry_at, disk_backoff; /* us */
	uint64_t store_bad;       /* blocks that the store lost */

	struct meter down, up;
	uint64_t wasted, corrupt, zero_bytes;
	uint64_t reads_total, hedges, hedged_bytes;
	struct { uint32_t us[256]; unsigned n; } latency; /* of the last reads that waited; a ring */

	uint64_t started; /* us */
	bool complete_told, announced_hungry;
	void (*on_stopped)(void *arg);
	void *on_stopped_arg;
	bool announcer_stopped;
	uint64_t stop_at;
	_Atomic bool complete;

	/* Shared with other threads. */
	pthread_mutex_t facts_lock;
	struct torrent_facts facts;
	pthread_mutex_t recent_lock;
	struct { uint64_t offset; uint32_t len; } recent[64]; /* reads answered at once, for streams */
	unsigned n_recent;
};

static inline uint32_t block_number(const struct torrent *t, uint32_t piece, uint32_t i)
{
	return piece * t->layout.blocks_per_piece + i;
}

/* torrent.c */
int torrent_new(struct swarm_parts *parts, struct metainfo *meta, const struct torrent_config *config,
	struct torrent **ret, char **ret_why);
void torrent_start(struct torrent *t);
/* Stops asking, serving and connecting; answers the reads; says stopped to the trackers, then done. */
void torrent_stop(struct torrent *t, void (*done)(void *arg), void *arg);
/* After the workers ended: saves the record, closes the store, frees. */
void torrent_free(struct torrent *t);
bool torrent_has_hash(const struct torrent *t, const uint8_t hash[SHA1_LEN]);
void torrent_on_piece(struct torrent *t, uint32_t piece); /* it is complete */
void torrent_check_complete(struct torrent *t);

/* torrent_peers.c; torrent_on_block is torrent_ask.c's */
/* An incoming connection for this torrent: false when it is not wanted (conn_fail was called). */
bool torrent_on_shake(struct torrent *t, struct conn *c, const struct wire_handshake *h);
void torrent_on_open(struct conn *c);
void torrent_on_message(struct conn *c, const struct wire_message *m);
void torrent_on_block(struct conn *c, uint32_t piece, uint32_t block, uint8_t *data,
	const struct ask *ask);
void torrent_on_writable(struct conn *c);
void torrent_on_closed(struct conn *c);
struct conn *torrent_conn(const struct torrent *t, uint32_t number);
void torrent_ban(struct torrent *t, uint32_t from, const char *why);

/* torrent_ask.c */
void ask_soon(struct torrent *t);       /* pump at the end of this turn of the loop */
void ask_pump(struct torrent *t);
void ask_ends_first(struct torrent *t); /* the head and the tail of the files, before anybody reads */
void ask_hedge(struct torrent *t, uint64_t now); /* demands that are late; every FAST_TICK_MS */
void ask_on_tick(struct torrent *t, uint64_t now);
void ask_release(struct torrent *t, struct conn *c); /* all its requests: choked, closed */
/* The block came from elsewhere: cancels the other requests for it. */
void ask_cancel_others(struct torrent *t, uint32_t piece, uint32_t block);
void ask_trim(struct torrent *t); /* a read has begun to wait: filling makes room */
bool ask_interactive(const struct torrent *t, uint64_t now);
/* A block came; `asked`: it answers a request that still counted among the block's askers. */
void ask_on_block(struct torrent *t, uint32_t piece, uint32_t block, uint8_t *data, uint32_t from, bool asked);
void ask_interest(struct torrent *t, struct conn *c);

/* Is there a source with room for what nobody waits for yet? */
bool ask_has_room(struct torrent *t, uint64_t now);
/* Asks for block `number`, should it be missing, of who is expected to give it soonest among those with
 * room; of a web seed for those behind it too, up to number `end`.  -EAGAIN: who could has no room. */
int ask_early(struct torrent *t, uint32_t number, uint32_t end, uint64_t now);

/* torrent_web.c */
int web_add(struct torrent *t, const char *url, const char **ret_why);
void web_free(struct torrent *t);
bool web_ready(const struct web_source *w, uint64_t now); /* may it be asked for one more run? */
/* Asks for the missing blocks from number `first` on, up to `end` and `max` of them. */
void web_ask(struct torrent *t, struct web_source *w, uint32_t first, uint32_t end, uint32_t max, uint64_t now);

/* torrent_read.c */
/* Does a waiting read need this block (or, where it cannot be verified alone, its piece)? */
bool read_wants(const struct torrent *t, uint32_t piece, uint32_t block);
void read_on_block(struct torrent *t, uint32_t piece); /* blocks of it have become readable */
void read_on_tick(struct torrent *t, uint64_t now);
void read_take_recent(struct torrent *t);

/* torrent_verify.c */
void verify_on_got(struct torrent *t, struct piece *w); /* blocks of it came, or its leaves did */
void verify_open(struct torrent *t, enum torrent_verify how); /* looks at what the store has */
void verify_forget(struct torrent *t);
/* After a wrong piece whose culprit is not known: which source alone is to give the next copy (0: not
 * chosen yet), and who is among the suspects. */
bool verify_sole_source(struct torrent *t, uint32_t piece, uint32_t **ret_sole);
bool verify_suspects(struct torrent *t, uint32_t piece, uint32_t from);
void verify_check_piece(struct torrent *t, uint32_t piece, bool urgent);
void verify_check_more(struct torrent *t);
void verify_suspect(struct torrent *t, uint64_t offset, size_t len); /* the store read back badly */
void verify_retry_disk(struct torrent *t, uint64_t now);
void verify_on_lost(void *arg, const struct bits *lost, int error);
void verify_zeros(struct torrent *t);
/* Does the store read as zeros there without anything being written: is it a hole? */
bool verify_hole(const struct torrent *t, uint64_t offset, size_t len);

/* torrent_leaves.c */
/* Can blocks of this piece be verified alone, once its leaves are known? */
bool leaves_usable(const struct torrent *t, uint32_t piece);
/* Makes sure that the leaf of block `block` is asked for, of `c` if it may have it. */
void leaves_want(struct torrent *t, struct piece *w, uint32_t block, struct conn *c, uint64_t now);
/* A demanded block was asked of `c`: lets leaf hashes follow, should nothing else. */
void leaves_push_later(struct torrent *t, const struct piece *w, uint32_t block, const struct conn *c);
void leaves_warm(struct torrent *t, struct conn *c); /* it has told what it has, and chokes us */
void leaves_push(struct torrent *t); /* push_event's */
void leaves_on_hashes(struct conn *c, const struct wire_hashes *h);
void leaves_on_reject(struct conn *c, const struct wire_hashes *h);
void leaves_on_tick(struct torrent *t, uint64_t now); /* peers that do not answer */
void leaves_on_closed(struct torrent *t, struct conn *c);
void leaves_save(void *arg, uint8_t **ret, size_t *ret_len);
void leaves_load(struct torrent *t, const uint8_t *data, size_t len);

/* torrent_hashes.c */
void hashes_on_request(struct conn *c, const struct wire_hashes *h);
void hashes_free(struct torrent *t); /* after the workers ended */

/* torrent_serve.c */
void serve(struct conn *c);
bool serve_wants(const struct conn *c); /* has it a request that can be answered now? */
void serve_one(struct conn *c);         /* one that wants */
void serve_on_request(struct conn *c, const struct wire_message *m); /* or a cancel */
void serve_set_choking(void *peer, bool unchoked);

/* torrent_profile.c */
/* -errno and *ret_why (malloc'd) where the profile that was asked for is none. */
int profile_open(struct torrent *t, const struct torrent_config *config, char **ret_why);
void profile_close(struct torrent *t); /* after the workers ended */
void profile_on_read(struct torrent *t, uint32_t first, uint32_t n); /* blocks; any thread */
/* Does the profile in use name these blocks, all that are no known zeros? */
bool profile_names(const struct torrent *t, uint32_t first, uint32_t n);
void profile_on_tick(struct torrent *t, uint64_t now);
void profile_pump(struct torrent *t, uint64_t now);
bool profile_wants(const struct torrent *t); /* something of it is missing */
void profile_status(struct torrent *t, json_t *ret);

/* torrent_status.c */
void status_refresh(struct torrent *t, uint64_t now);

#endif
