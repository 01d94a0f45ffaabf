// SPDX-License-Identifier: MIT
/* What all back ends of the store share: finding the files that a range lies in, and the calls that
 * a back end may leave out.
 *
 * Thread: any.
 */
#include "swarm/store.h"
#include "swarm/metainfo.h"
#include "base/mem.h"

bool store_range_ok(const struct metainfo *m, uint64_t offset, size_t len)
{
	uint64_t space = MAX(m->space, m->max_v1_space);
	return offset <= space && len <= space - offset;
}

struct store_part store_parts(const struct metainfo *m, uint64_t offset, size_t len)
{
	return (struct store_part) {
		.offset = offset, .left = len, .next = metainfo_file_at(m, offset)};
}

bool store_part_next(const struct metainfo *m, struct store_part *p)
{
	p->offset += p->len;
	p->done += p->len;
	p->left -= p->len;
	p->len = 0;
	if (!p->left)
		return false;

	/* Past the file just done, and past empty ones. */
	while (p->next < m->n_files &&
		m->files[p->next].offset + m->files[p->next].length <= p->offset)
		p->next++;

	const struct metainfo_file *f = p->next < m->n_files ? &m->files[p->next] : NULL;
	uint64_t end = UINT64_MAX;
	if (f && f->offset <= p->offset) {
		p->file = p->next;
		p->at = p->offset - f->offset;
		end = f->offset + f->length;
	} else {
		p->file = STORE_PADDING;
		p->at = 0;
		if (f)
			end = f->offset;
	}
	p->len = (size_t)MIN((uint64_t)p->left, end - p->offset);
	return true;
}

void store_close(struct store *s)
{
	if (s)
		s->ops->close(s);
}

int store_finish(struct store *s)
{
	return s->ops->finish ? s->ops->finish(s) : 0;
}

const char *store_entry(const struct store *s)
{
	return s->entry;
}
