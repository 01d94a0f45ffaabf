/* SPDX-License-Identifier: MIT */
/* Scope cleanup: resources that end with the block that holds them.
 *
 *	CLEANUP_FREE char *path = NULL;        freed on every way out
 *	CLEANUP_CLOSE int fd = -1;             closed unless -1
 *	LOCK_SCOPE(&mutex);                    held to the end of the block
 *	*ret_path = steal_ptr(&path);          given to the caller, not freed
 *
 * Thread: any.
 */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_unlock(pthread_mutex_t **m)
{
	pthread_mutex_unlock(*m);
}

static inline pthread_mutex_t *cleanup_lock(pthread_mutex_t *m)
{
	pthread_mutex_lock(m);
	return m;
}

#define CLEANUP(fn) __attribute__((cleanup(fn)))
#define CLEANUP_FREE CLEANUP(cleanup_free)
#define CLEANUP_CLOSE CLEANUP(cleanup_close)
#define CLEANUP_CAT2(a, b) a##b
#define CLEANUP_CAT(a, b) CLEANUP_CAT2(a, b)
#define LOCK_SCOPE(m)           \
	CLEANUP(cleanup_unlock) \
	__attribute__((unused)) pthread_mutex_t *CLEANUP_CAT(lock_, __LINE__) = cleanup_lock(m)

/* Takes the value out of a cleaned-up variable. */
#define steal_ptr(p)                        \
	({                                  \
		__auto_type _stolen = *(p); \
		*(p) = NULL;                \
		_stolen;                    \
	})
#define steal_fd(p)                 \
	({                          \
		int _stolen = *(p); \
		*(p) = -1;          \
		_stolen;            \
	})

#endif
