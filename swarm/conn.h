/* SPDX-License-Identifier: MIT */
/* A TCP connection to one peer of one torrent.
 *
 * Frames messages, checks every field against the torrent, keeps what both sides have said (choke,
 * interest, what the peer has, which requests are open), and hands events to its owner, the torrent,
 * by struct conn_ops.  Decides nothing: whom to ask, whom to serve is the torrent's.
 *
 * A block's bytes are read from the socket straight into the buffer that will be hashed and written.
 * What is sent is collected and flushed once per turn of the loop.
 *
 *	CONNECTING -> SHAKING -> OPEN -> DEAD
 *
 * A fault of the peer ends it: conn_fail tells why, `closed` is called later in the same turn of the
 * loop, and the conn is freed when that returns.
 *
 * Thread: loop.
 */
#ifndef SWARM_CONN_H
#define SWARM_CONN_H

#include "base/addr.h"
#include "base/bits.h"
#include "base/buf.h"
#include "swarm/choker.h"
#include "swarm/ext.h"
#include "swarm/path.h"
#include "swarm/rate.h"
#include "swarm/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conn;
struct event;
struct event_base;
struct layout;

/* Why a block was asked for. */
enum ask_kind { ASK_DEMAND, ASK_EARLY, ASK_NEAR, ASK_FILL };

/* A request that we sent and that is not answered. */
struct ask {
	uint32_t piece, block;
	uint32_t len;
	enum ask_kind kind;
	struct path_mark mark;
};

/* A request of the peer that we have not answered. */
struct wanted {
	uint32_t piece, begin, length;
};

struct conn_ops {
	/* The peer's handshake is here.  For an incoming one, finds the torrent and calls conn_bind;
	 * for both, checks the hash and sets c->v2.  False, having called conn_fail. */
	bool (*shake)(struct conn *c, const struct wire_handshake *h);
	void (*open)(struct conn *c); /* both handshakes are through */
	/* A message other than PIECE, checked, c's own fields already up to date. */
	void (*message)(struct conn *c, const struct wire_message *m);
	/* A block; `data` is malloc'd and the owner's now.  `ask` is the request it answers, already
	 * taken off the list, or NULL: none is open (it was cancelled, or never made). */
	void (*block)(struct conn *c, uint32_t piece, uint32_t block, uint8_t *data,
		const struct ask *ask);
	/* There is room in the send buffer again. */
	void (*writable)(struct conn *c);
	void (*closed)(struct conn *c);
};

/* What the connections of one swarm share. */
struct conn_env {
	struct event_base *base;
	const struct conn_ops *ops;
	void *owner; /* of the ops: the swarm */
	uint8_t peer_id[20];
	struct addr listens; /* where we do; those to others come from there (addr_bind_source) */
	uint8_t *scratch; /* owned by the swarm, CONN_SCRATCH bytes */
	uint32_t next_number;
};
#define CONN_SCRATCH (2u << 20) /* the largest message and as much again as a read may bring */

enum conn_state { CONN_CONNECTING, CONN_SHAKING, CONN_OPEN, CONN_DEAD };

struct conn {
	struct conn_env *env;
	void *torrent;               /* borrowed; NULL until an incoming one is bound */
	const struct layout *layout; /* likewise */
	struct conn *next, *prev;    /* the torrent's list */
	uint32_t number;             /* names this connection; never used again */
	enum conn_state state;
	bool incoming;
	struct addr addr;
	char name[ADDR_STRLEN];
	char why[128];     /* of CONN_DEAD */
	bool peers_fault;  /* it broke the protocol, rather than going away */
	uint64_t since, last_message, last_sent, last_block;

	/* What the peer is. */
	bool fast, extended, v2;
	uint8_t peer_id[20];
	char client[64];
	struct ext_handshake ext;
	bool upload_only;
	struct bits has;       /* pieces */
	bool has_told;         /* a bitfield, have all or none came, or a later message */
	bool is_seed;          /* has everything */
	bool shook, joined;    /* the torrent's: its handshake was looked at; it was let in */
	bool counted;          /* its bits are counted in the picker's rarity */

	/* The four flags of BEP 3. */
	bool choked, interested;       /* the peer chokes us; we told that we are interested */
	struct choker_peer choker;     /* .unchoked: we do not choke it; .interested */
	bool told_unchoked;

	struct ask *asks; /* owned; oldest first */
	unsigned n_asks, cap_asks;
	uint64_t outstanding;    /* their bytes */
	/* Requests that were cancelled, and whose answer (the block all the same, or BEP 6's reject) has not come:
	 * it is not taken for that of a newer request.  Oldest first. */
	struct cancelled { uint32_t piece, block; } *cancelled; /* owned */
	unsigned n_cancelled, cap_cancelled;
	uint32_t forgotten;      /* requests taken off that the peer may answer all the same */
	uint32_t unasked;        /* blocks that came without a request */
	unsigned refusals;       /* rounds of refused requests, less the blocks that came since */
	uint64_t refused_until;  /* nothing is asked before */
	unsigned hash_rejects;   /* how often it refused leaf hashes */
	uint64_t hashes_asked, hash_answers; /* requests for them; answers, of whatever kind */
	uint64_t timeouts;       /* blocks that did not come in time, since the last that did */
	uint32_t *allowed_fast;  /* owned: pieces it lets us ask for while choked */
	unsigned n_allowed_fast;
	struct path path;
	struct meter down, up;   /* payload */

	struct wanted *wanted; /* owned; the peer's requests, oldest first */
	unsigned n_wanted, cap_wanted;
	uint64_t turn;           /* when the upload limit last had its block for it */
	bool reading;            /* a worker reads for the first of `wanted` */
	unsigned jobs;           /* workers that will come back to this conn's number */
	struct limiter hash_limit;

	/* I/O. */
	int fd;
	struct event *read_event, *write_event, *flush_event;
	struct buf in, out;
	bool writing;
	struct {
		uint8_t *data; /* NULL: none under way */
		uint32_t piece, block, len, got;
	} coming;
};

/* Starts to connect.  NULL when there is no socket to be had, or no route.  A layout of no pieces: the
 * metadata is not known yet; what the peer says of pieces is passed over. */
struct conn *conn_connect(struct conn_env *env, const struct addr *addr, void *torrent,
	const struct layout *layout, const uint8_t info_hash[20], bool v2);
/* Takes an accepted, non-blocking socket. */
struct conn *conn_accept(struct conn_env *env, int fd, const struct addr *addr);
/* Takes an extension handshake (BEP 10) into c->ext; false: a fault.  *ret_listens: where an incoming peer
 * listens, the first time that it tells; its port is 0 otherwise. */
bool conn_take_ext(struct conn *c, const struct wire_message *m, struct addr *ret_listens);
/* Incoming: names the torrent, sends our handshake with `info_hash`. */
void conn_bind(struct conn *c, void *torrent, const struct layout *layout,
	const uint8_t info_hash[20], bool v2);
/* Ends it (see above); conn_fault: the peer broke the protocol. */
void conn_fail(struct conn *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
void conn_fault(struct conn *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Ends and frees now, without `closed`. */
void conn_free(struct conn *c);
/* Time-outs and keep-alives; once a second or so. */
void conn_tick(struct conn *c, uint64_t now);

/* Sending.  All do nothing on a conn that is not OPEN. */
void conn_send(struct conn *c); /* what was appended to c->out goes out at the end of this turn */
void conn_set_interested(struct conn *c, bool interested);
void conn_set_choking(struct conn *c, bool choking);

/* -- conn_requests.c: the lists of requests ----------------------------------------------------- */

void conn_ask(struct conn *c, uint32_t piece, uint32_t block, uint32_t len, enum ask_kind kind,
	uint64_t now);
/* Takes request `i` off the list and sends CANCEL. */
void conn_unask(struct conn *c, unsigned i);
/* The number of the open request for a block, or n_asks. */
unsigned conn_find_ask(const struct conn *c, uint32_t piece, uint32_t block);
void conn_drop_ask(struct conn *c, unsigned i); /* off the list, nothing sent */
/* For conn.c.  A block has come: true and *ret, now off the list, when it answers a request; conn_fault when too
 * many do not. */
bool conn_take_answer(struct conn *c, uint32_t piece, uint32_t block, uint32_t len, uint64_t now,
	struct ask *ret);
/* For conn.c.  A reject has come; false: it answers a request that was cancelled. */
bool conn_take_reject(struct conn *c, uint32_t piece, uint32_t block);
/* Has it refused requests lately, so that it should be left alone for a moment? */
bool conn_refuses(const struct conn *c);
/* May this piece be asked for now (unchoked, or allowed fast), and does the peer have it? */
bool conn_may_ask(const struct conn *c, uint32_t piece);
/* How many requests the peer takes at once. */
unsigned conn_max_asks(const struct conn *c);
/* Appends to, drops from, the peer's requests. */
void conn_want(struct conn *c, uint32_t piece, uint32_t begin, uint32_t length);
void conn_drop_wanted(struct conn *c, unsigned i);

#endif
