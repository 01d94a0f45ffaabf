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
#define FORMAT 1
#define TICK_S 1

/* One torrent of a job. */
struct row {
	uint8_t hash[HASH_LEN];
	uint32_t downloaded;
	size_t at, len; /* of the job's bytes */
	bool gone;
};

struct job {
	struct work work;
	struct state *state;
	struct row *rows; /* owned */
	size_t n, cap;
	struct buf bytes;
	char *error; /* owned; NULL: done */
};

struct state {
	char *path; /* owned */
	sqlite3 *db;
	sqlite3_stmt *put, *del;
	struct work_pool *pool; /* borrowed */
	struct table *table;    /* borrowed */
	struct event *tick;
	struct job job;
	bool busy, failing, stopped;
	uint32_t retry_at, dirty_since;
	uint64_t written, errors;
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
	else if (rc == SQLITE_OK && tables && format != FORMAT)
		damage = "is of another version";
	else if (is_damage(rc) || (rc == SQLITE_OK && !quick_check(db)))
		damage = "is damaged";
	else if (rc == SQLITE_OK)
		rc = exec(db, "CREATE TABLE IF NOT EXISTS swarm (hash BLOB PRIMARY KEY NOT NULL,"
			"downloaded INTEGER NOT NULL, peers BLOB NOT NULL);"
			"PRAGMA application_id=1882354802; PRAGMA user_version=1");
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
	const uint8_t *hash;
	uint32_t now;
	unsigned peers;
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

static int load(struct state *s, const struct lists *lists, uint32_t now)
{
	struct loading l = {.state = s, .lists = lists, .now = now};
	sqlite3_stmt *st = NULL;
	unsigned torrents = 0, bad = 0;
	int rc = sqlite3_prepare_v2(s->db, "SELECT hash, downloaded, peers FROM swarm", -1, &st, NULL);
	while (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		rc = SQLITE_OK;
		int64_t downloaded = sqlite3_column_int64(st, 1);
		if (sqlite3_column_bytes(st, 0) != HASH_LEN || downloaded < 0 ||
			downloaded > UINT32_MAX) {
			bad++;
			continue;
		}
		uint8_t hash[HASH_LEN];
		memcpy(hash, sqlite3_column_blob(st, 0), HASH_LEN);
		l.hash = hash;
		torrents++;
		bad += state_row_unpack(sqlite3_column_blob(st, 2),
			(size_t)sqlite3_column_bytes(st, 2), load_peer, &l) < 0;
		if (downloaded)
			table_merge_downloaded(s->table, hash, (uint32_t)downloaded, now);
	}
	sqlite3_finalize(st);
	/* What was just read need not be written. */
	while (table_next_dirty(s->table))
		;
	if (bad)
		log_warn("%s: %u rows are damaged: left out", s->path, bad);
	if (torrents)
		log_info("%u peers of %u torrents are back from %s", l.peers, torrents, s->path);
	return rc == SQLITE_DONE ? 0 : -EIO;
}

/* -- writing ----------------------------------------------------------------------------------- */

static int write_rows(struct job *j)
{
	struct state *s = j->state;
	int rc = exec(s->db, "BEGIN IMMEDIATE");
	for (size_t i = 0; i < j->n && rc == SQLITE_OK; i++) {
		struct row *r = &j->rows[i];
		sqlite3_stmt *st = r->gone ? s->del : s->put;
		sqlite3_bind_blob(st, 1, r->hash, HASH_LEN, SQLITE_STATIC);
		if (!r->gone) {
			sqlite3_bind_int64(st, 2, r->downloaded);
			/* An empty blob, not NULL, for no peers. */
			sqlite3_bind_blob64(st, 3, r->len ? buf_bytes(&j->bytes) + r->at :
				(const uint8_t *)"", r->len, SQLITE_STATIC);
		}
		rc = sqlite3_step(st);
		rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
		int reset = sqlite3_reset(st);
		rc = rc ? rc : reset;
	}
	if (rc == SQLITE_OK)
		rc = exec(s->db, "COMMIT");
	return rc;
}

static void job_run(struct work *w)
{
	struct job *j = container_of(w, struct job, work);
	if (write_rows(j) == SQLITE_OK)
		return;
	j->error = xstrdup(sqlite3_errmsg(j->state->db));
	if (!sqlite3_get_autocommit(j->state->db))
		exec(j->state->db, "ROLLBACK");
}

/* Packs what changed; false when nothing did. */
static bool job_fill(struct state *s)
{
	struct job *j = &s->job;
	const struct swarm *w;
	j->n = 0;
	buf_clear(&j->bytes);
	while (j->bytes.len < STATE_BATCH && (w = table_next_dirty(s->table))) {
		GROW(j->rows, j->n, j->cap);
		struct row *r = &j->rows[j->n++];
		*r = (struct row) {.downloaded = w->downloaded, .at = j->bytes.len,
			.gone = !swarm_size(w) && !w->downloaded};
		memcpy(r->hash, w->hash, HASH_LEN);
		state_row_pack(w, &j->bytes);
		r->len = j->bytes.len - r->at;
	}
	return j->n > 0;
}

/* True when it was written. */
static bool job_end(struct state *s, uint32_t now)
{
	struct job *j = &s->job;
	if (j->error) {
		for (size_t i = 0; i < j->n; i++)
			table_mark_dirty(s->table, j->rows[i].hash);
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
	return true;
}

static void next_job(struct state *s)
{
	if (!job_fill(s)) {
		s->dirty_since = 0;
		return;
	}
	if (!s->dirty_since)
		s->dirty_since = now_s();
	s->busy = true;
	work_post(s->pool, &s->job.work);
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
	if (!s->busy && !s->stopped && (!s->failing || now_s() >= s->retry_at))
		next_job(s);
}

void state_stats(const struct state *s, struct stats_state *ret)
{
	*ret = (struct stats_state) {
		.part = s->failing ? PART_BAD : PART_GOOD,
		.written = s->written,
		.errors = s->errors,
		.behind_s = s->dirty_since ? now_s() - s->dirty_since : 0,
	};
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
	s->job.state = s;
	s->job.work.run = job_run;
	s->job.work.done = job_done;
	int err = open_db(s->path, &s->db, &why);
	if (err == -EBADMSG) {
		set_aside(s->path, why);
		free(steal_ptr(&why));
		err = open_db(s->path, &s->db, &why);
	}
	if (err == -EIO)
		log_warn("%s: %s", s->path, why);
	if (err < 0)
		goto fail;
	err = load(s, lists, now);
	if (err < 0 || sqlite3_prepare_v2(s->db, "INSERT OR REPLACE INTO swarm VALUES (?, ?, ?)", -1,
			&s->put, NULL) != SQLITE_OK ||
		sqlite3_prepare_v2(s->db, "DELETE FROM swarm WHERE hash = ?", -1, &s->del, NULL) !=
			SQLITE_OK) {
		err = -EIO;
		goto fail;
	}
	struct timeval tick = {TICK_S, 0};
	s->tick = event_new(loop_base(loop), -1, EV_PERSIST, on_tick, s);
	event_add(s->tick, &tick);
	*ret = s;
	return 0;
fail:
	state_close(s);
	return err;
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
	while (s->put && job_fill(s)) {
		job_run(&s->job.work);
		if (!job_end(s, now_s()))
			break;
	}
	sqlite3_finalize(s->put);
	sqlite3_finalize(s->del);
	sqlite3_close(s->db);
	free(s->job.rows);
	buf_done(&s->job.bytes);
	free(s->path);
	free(s);
}
