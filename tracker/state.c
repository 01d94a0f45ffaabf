/* SPDX-License-Identifier: MIT */
/* The tracker's memory on disk: see state.h.
 *
 * The database belongs to the loop's thread until state_open returns and again in state_close; in
 * between only the job under way touches it, and there is one at a time.
 *
 * Thread: loop, but for job_run.
 */
#include "tracker/state.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/work.h"
#include "tracker/now.h"
#include "tracker/state_row.h"

#include <errno.h>
#include <event2/event.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define APPLICATION_ID 0x70327472 /* "p2tr" */
#define FORMAT 2
#define TICK_S 1

static const char schema[] =
	"CREATE TABLE swarm (hash BLOB PRIMARY KEY NOT NULL, downloaded INTEGER NOT NULL);"
	"CREATE TABLE peers (hash BLOB NOT NULL, run INTEGER NOT NULL,"
	"place INTEGER NOT NULL, peers BLOB NOT NULL, PRIMARY KEY (hash, run, place));"
	"PRAGMA application_id=1882354802; PRAGMA user_version=2;";

/* Format 1 had all peers of a torrent in its one row: they become a row of a run before. */
static const char from_1_begin[] = "ALTER TABLE swarm RENAME TO swarm1;";
static const char from_1_end[] =
	"INSERT INTO peers SELECT hash, 0, 0, peers FROM swarm1;"
	"INSERT INTO swarm SELECT hash, downloaded FROM swarm1 WHERE downloaded > 0;"
	"DROP TABLE swarm1;";

/* One piece of a job. */
struct row {
	struct table_piece piece; /* but for its set */
	size_t at, len; /* of the job's bytes */
};

struct job {
	struct work work;
	struct state *state;
	struct row rows[STATE_PIECES];
	size_t n, len;
	bool old_runs; /* are to be deleted */
	uint8_t bytes[STATE_BATCH + STATE_ROW_MAX];
	char *error; /* owned; NULL: done */
};

enum { PUT_COUNT, DROP_COUNT, PUT_ROW, DROP_ROW, DROP_ROWS, DROP_RUNS, STATEMENTS };

static const char *const statements[STATEMENTS] = {
	[PUT_COUNT] = "INSERT OR REPLACE INTO swarm VALUES (?, ?)",
	[DROP_COUNT] = "DELETE FROM swarm WHERE hash = ?",
	[PUT_ROW] = "INSERT OR REPLACE INTO peers VALUES (?, ?, ?, ?)",
	[DROP_ROW] = "DELETE FROM peers WHERE hash = ? AND run = ? AND place = ?",
	[DROP_ROWS] = "DELETE FROM peers WHERE hash = ?",
	[DROP_RUNS] = "DELETE FROM peers WHERE run <> ?",
};

struct state {
	char *path; /* owned */
	sqlite3 *db;
	sqlite3_stmt *statements[STATEMENTS];
	int64_t run;
	struct work_pool *pool; /* borrowed */
	struct table *table;    /* borrowed */
	struct event *tick;
	struct job *job; /* owned */
	bool busy, failing, stopped;
	bool old_runs; /* there are some, and this round is the first */
	uint32_t retry_at, round_at;
	uint32_t dirty_since; /* 0: nothing is unwritten but what has changed since the last tick */
	uint64_t rounds, written, bytes, errors;
};

/* -- opening --------------------------------------------------------------------------------- */

static int exec(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static int64_t pragma_int(sqlite3 *db, const char *sql, int *ret_rc)
{
	sqlite3_stmt *st = NULL;
	int64_t v = -1;
	int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		v = sqlite3_column_int64(st, 0);
	int end = sqlite3_finalize(st);
	*ret_rc = rc == SQLITE_ROW ? SQLITE_OK : end ? end : rc;
	return v;
}

static bool quick_check(sqlite3 *db)
{
	sqlite3_stmt *st = NULL;
	bool good = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &st, NULL) == SQLITE_OK &&
		sqlite3_step(st) == SQLITE_ROW &&
		!strcmp((const char *)sqlite3_column_text(st, 0), "ok");
	sqlite3_finalize(st);
	return good;
}

static bool is_damage(int rc)
{
	return rc == SQLITE_NOTADB || rc == SQLITE_CORRUPT || rc == SQLITE_FORMAT;
}

static int make_tables(sqlite3 *db, bool from_1)
{
	int rc = exec(db, "BEGIN IMMEDIATE");
	if (rc == SQLITE_OK && from_1)
		rc = exec(db, from_1_begin);
	if (rc == SQLITE_OK)
		rc = exec(db, schema);
	if (rc == SQLITE_OK && from_1)
		rc = exec(db, from_1_end);
	return rc == SQLITE_OK ? exec(db, "COMMIT") : rc;
}

/* 0, -EBUSY, -EIO with *ret_why, or -EBADMSG when the file is not to be used. */
static int open_db(const char *path, sqlite3 **ret, char **ret_why)
{
	sqlite3 *db = NULL;
	int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
		SQLITE_OPEN_NOMUTEX, NULL);
	int err = 0;
	const char *damage = NULL;
	if (rc == SQLITE_OK)
		rc = exec(db, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL;"
			"PRAGMA synchronous=NORMAL; PRAGMA journal_size_limit=67108864;"
			"BEGIN EXCLUSIVE; COMMIT");
	int64_t id = rc == SQLITE_OK ? pragma_int(db, "PRAGMA application_id", &rc) : 0;
	int64_t format = rc == SQLITE_OK ? pragma_int(db, "PRAGMA user_version", &rc) : 0;
	int64_t tables = rc == SQLITE_OK ? pragma_int(db, "SELECT count(*) FROM sqlite_master", &rc) : 0;
	if (rc == SQLITE_OK && tables && id != APPLICATION_ID)
		damage = "is not a tracker's state";
	else if (rc == SQLITE_OK && tables && format != FORMAT && format != 1)
		damage = "is of another version";
	else if (is_damage(rc) || (rc == SQLITE_OK && !quick_check(db)))
		damage = "is damaged";
	else if (rc == SQLITE_OK && (!tables || format == 1) &&
		(rc = make_tables(db, tables)) == SQLITE_ERROR)
		damage = "has other tables than a tracker's state";
	if (damage) {
		err = -EBADMSG;
		*ret_why = xstrdup(damage);
	} else if (rc != SQLITE_OK) {
		err = rc == SQLITE_BUSY ? -EBUSY : -EIO;
		*ret_why = xstrdup(db ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
	}
	if (err)
		sqlite3_close(db);
	else
		*ret = db;
	return err;
}

static void set_aside(const char *path, const char *why)
{
	static const char *const suffixes[] = {"", "-wal", "-shm"};
	CLEANUP_FREE char *to = xasprintf("%s.bad-%lld", path, (long long)time(NULL));
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		CLEANUP_FREE char *a = xasprintf("%s%s", path, suffixes[i]);
		CLEANUP_FREE char *b = xasprintf("%s%s", to, suffixes[i]);
		if (rename(a, b) < 0 && errno != ENOENT)
			log_warn("%s: cannot be renamed: %s", a, strerror(errno));
	}
	log_warn("%s %s: set aside as %s, beginning anew", path, why, to);
}

struct loading {
	struct state *state;
	const struct lists *lists;
	uint8_t hash[HASH_LEN]; /* whose row it is */
	uint32_t now;
	unsigned peers, bad;
};

static void load_peer(void *arg, const struct table_peer *p)
{
	struct loading *l = arg;
	struct table_peer peer = *p;
	peer.meta.life = MAX(peer.meta.life, (uint16_t)STATE_GRACE_S);
	peer.site = lists_site(l->lists, &peer.addr);
	if (table_merge(l->state->table, l->hash, &peer, l->now) == 0)
		l->peers++;
}

static void load_count(struct loading *l, sqlite3_stmt *st)
{
	int64_t downloaded = sqlite3_column_int64(st, 1);
	if (sqlite3_column_bytes(st, 0) != HASH_LEN || downloaded < 0 || downloaded > UINT32_MAX) {
		l->bad++;
		return;
	}
	uint8_t hash[HASH_LEN];
	memcpy(hash, sqlite3_column_blob(st, 0), HASH_LEN);
	if (downloaded)
		table_merge_downloaded(l->state->table, hash, (uint32_t)downloaded, l->now);
}

static void load_row(struct loading *l, sqlite3_stmt *st)
{
	l->state->run = MAX(l->state->run, sqlite3_column_int64(st, 1));
	l->state->old_runs = true;
	if (sqlite3_column_bytes(st, 0) != HASH_LEN) {
		l->bad++;
		return;
	}
	memcpy(l->hash, sqlite3_column_blob(st, 0), HASH_LEN);
	l->bad += state_row_unpack(sqlite3_column_blob(st, 2), (size_t)sqlite3_column_bytes(st, 2),
		load_peer, l) < 0;
}

/* SQLITE_DONE, or what went wrong. */
static int load_all(struct loading *l, const char *sql, void (*fn)(struct loading *, sqlite3_stmt *))
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(l->state->db, sql, -1, &st, NULL);
	if (rc != SQLITE_OK)
		return rc;
	while ((rc = sqlite3_step(st)) == SQLITE_ROW)
		fn(l, st);
	sqlite3_finalize(st);
	return rc;
}

static int load(struct state *s, const struct lists *lists, uint32_t now)
{
	struct loading l = {.state = s, .lists = lists, .now = now};
	struct table_counts n;
	/* Where there is no room for all, torrents with peers come first. */
	int rc = load_all(&l, "SELECT hash, run, peers FROM peers", load_row);
	if (rc == SQLITE_DONE)
		rc = load_all(&l, "SELECT hash, downloaded FROM swarm", load_count);
	if (l.bad)
		log_warn("%s: %u rows are damaged: left out", s->path, l.bad);
	table_counts(s->table, &n);
	if (n.swarms)
		log_info("%u peers of %u torrents are back from %s", l.peers, n.swarms, s->path);
	if (rc == SQLITE_DONE)
		return 0;
	return is_damage(rc) || rc == SQLITE_ERROR ? -EBADMSG : -EIO;
}

/* -- writing ----------------------------------------------------------------------------------- */

static int step(sqlite3_stmt *st)
{
	int rc = sqlite3_step(st), reset = sqlite3_reset(st);
	return rc == SQLITE_DONE ? reset : rc;
}

/* Binding fails when memory is out; then the parameter is NULL, and no column takes that. */
static int write_row(const struct job *j, const struct row *r)
{
	const struct table_piece *p = &r->piece;
	sqlite3_stmt *const *all = j->state->statements;
	sqlite3_stmt *st = p->what == PIECE_COUNT ? all[PUT_COUNT] :
		p->what == PIECE_GONE		  ? all[DROP_ROWS] :
		r->len				  ? all[PUT_ROW] :
						    all[DROP_ROW];
	sqlite3_bind_blob(st, 1, p->hash, HASH_LEN, SQLITE_STATIC);
	if (p->what == PIECE_COUNT)
		sqlite3_bind_int64(st, 2, p->downloaded);
	if (p->what == PIECE_ROW) {
		sqlite3_bind_int64(st, 2, j->state->run);
		sqlite3_bind_int64(st, 3, (int64_t)p->row * 4 + p->family * 2 + p->kind);
		if (r->len)
			sqlite3_bind_blob64(st, 4, j->bytes + r->at, r->len, SQLITE_STATIC);
	}
	int rc = step(st);
	if (rc == SQLITE_OK && p->what == PIECE_GONE) {
		sqlite3_bind_blob(all[DROP_COUNT], 1, p->hash, HASH_LEN, SQLITE_STATIC);
		rc = step(all[DROP_COUNT]);
	}
	return rc;
}

static int drop_runs(const struct job *j)
{
	sqlite3_stmt *st = j->state->statements[DROP_RUNS];
	sqlite3_bind_int64(st, 1, j->state->run);
	return step(st);
}

static void job_run(struct work *w)
{
	struct job *j = container_of(w, struct job, work);
	sqlite3 *db = j->state->db;
	int rc = exec(db, "BEGIN IMMEDIATE");
	for (size_t i = 0; i < j->n && rc == SQLITE_OK; i++)
		rc = write_row(j, &j->rows[i]);
	if (rc == SQLITE_OK && j->old_runs)
		rc = drop_runs(j);
	if (rc == SQLITE_OK)
		rc = exec(db, "COMMIT");
	if (rc == SQLITE_OK)
		return;
	j->error = xstrdup(sqlite3_errmsg(db));
	if (!sqlite3_get_autocommit(db))
		exec(db, "ROLLBACK");
}

/* Packs what the round has next; false when that is nothing. */
static bool job_fill(struct state *s)
{
	struct job *j = s->job;
	bool more = true;
	j->n = j->len = 0;
	while (j->len < STATE_BATCH && j->n < STATE_PIECES) {
		struct row *r = &j->rows[j->n];
		more = table_take(s->table, &r->piece);
		if (!more)
			break;
		j->n++;
		r->at = j->len;
		r->len = r->piece.what == PIECE_ROW ? state_row_pack(r->piece.set, r->piece.kind,
							      r->piece.row, j->bytes + r->at) : 0;
		j->len += r->len;
	}
	/* All that this run knows is in this job, or was in one before. */
	j->old_runs = s->old_runs && !more;
	s->old_runs = s->old_runs && more;
	return j->n > 0 || j->old_runs;
}

/* True when it was written.  Else it is kept, to be tried again before all others. */
static bool job_end(struct state *s, uint32_t now)
{
	struct job *j = s->job;
	if (j->error) {
		s->errors++;
		if (!s->failing)
			log_warn("%s: %s: serving on, trying again", s->path, j->error);
		s->failing = true;
		s->retry_at = now + STATE_RETRY_S;
		free(j->error);
		j->error = NULL;
		return false;
	}
	if (s->failing)
		log_info("%s: is written again", s->path);
	s->failing = false;
	s->written += j->n;
	s->bytes += j->len;
	return true;
}

/* The job that failed, the round's next, or the end of the round. */
static void next_job(struct state *s)
{
	if (s->failing || job_fill(s)) {
		s->busy = true;
		work_post(s->pool, &s->job->work);
		return;
	}
	s->rounds++;
	s->dirty_since = table_is_dirty(s->table) ? s->round_at : 0;
}

static void job_done(struct work *w)
{
	struct state *s = container_of(w, struct job, work)->state;
	s->busy = false;
	if (job_end(s, now_s()) && !s->stopped)
		next_job(s);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct state *s = arg;
	uint32_t now = now_s();
	if (s->busy || s->stopped || (s->failing && now < s->retry_at))
		return;
	if (!s->failing) {
		if (!table_is_dirty(s->table) && !s->old_runs)
			return;
		table_begin_round(s->table);
		s->round_at = now;
		s->dirty_since = s->dirty_since ? s->dirty_since : now;
	}
	next_job(s);
}

void state_stats(const struct state *s, struct stats_state *ret)
{
	uint32_t behind = s->dirty_since ? now_s() - s->dirty_since : 0;
	if (s->busy || s->failing || table_is_dirty(s->table))
		behind = MAX(behind, 1u); /* 0 says that all is on disk */
	*ret = (struct stats_state) {
		.part = s->failing ? PART_BAD : PART_GOOD,
		.rounds = s->rounds,
		.written = s->written,
		.bytes = s->bytes,
		.errors = s->errors,
		.behind_s = behind,
	};
}

static int prepare(struct state *s)
{
	int rc = SQLITE_OK;
	for (int i = 0; i < STATEMENTS && rc == SQLITE_OK; i++)
		rc = sqlite3_prepare_v2(s->db, statements[i], -1, &s->statements[i], NULL);
	return rc == SQLITE_OK ? 0 : rc == SQLITE_ERROR ? -EBADMSG : -EIO;
}

static void close_db(struct state *s)
{
	for (int i = 0; i < STATEMENTS; i++) {
		sqlite3_finalize(s->statements[i]);
		s->statements[i] = NULL;
	}
	sqlite3_close(s->db);
	s->db = NULL;
}

/* -EBADMSG with *ret_why: it is to be set aside. */
static int open_and_load(struct state *s, const struct lists *lists, uint32_t now, char **ret_why)
{
	int err = open_db(s->path, &s->db, ret_why);
	if (!err)
		err = load(s, lists, now);
	if (!err)
		err = prepare(s);
	if (err < 0 && s->db) {
		*ret_why = xstrdup(err == -EBADMSG ? "is damaged" : sqlite3_errmsg(s->db));
		close_db(s);
	}
	return err;
}

int state_open(const char *dir, struct loop *loop, struct work_pool *pool, struct table *table,
	const struct lists *lists, uint32_t now, struct state **ret)
{
	CLEANUP_FREE char *why = NULL;
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return -errno;
	struct state *s = xcalloc(1, sizeof(*s));
	s->path = xasprintf("%s/tracker.sqlite", dir);
	s->pool = pool;
	s->table = table;
	int err = open_and_load(s, lists, now, &why);
	if (err == -EBADMSG) {
		set_aside(s->path, why);
		free(steal_ptr(&why));
		s->old_runs = false;
		err = open_and_load(s, lists, now, &why);
	}
	if (err < 0) {
		if (err != -EBUSY)
			log_warn("%s: %s", s->path, why);
		state_close(s);
		return err == -EBADMSG ? -EIO : err;
	}
	s->run = s->run < INT64_MAX ? s->run + 1 : 0;
	s->job = xcalloc(1, sizeof(*s->job));
	s->job->state = s;
	s->job->work.run = job_run;
	s->job->work.done = job_done;
	struct timeval tick = {TICK_S, 0};
	s->tick = event_new(loop_base(loop), -1, EV_PERSIST, on_tick, s);
	event_add(s->tick, &tick);
	*ret = s;
	return 0;
}

void state_stop(struct state *s)
{
	if (s)
		s->stopped = true;
}

void state_close(struct state *s)
{
	if (!s)
		return;
	if (s->tick)
		event_free(s->tick);
	/* The pool has ended: what it did not write is written here. */
	if (s->job) {
		table_begin_round(s->table);
		while (s->failing || job_fill(s)) {
			job_run(&s->job->work);
			if (!job_end(s, now_s()))
				break;
		}
		free(s->job);
	}
	close_db(s);
	free(s->path);
	free(s);
}
