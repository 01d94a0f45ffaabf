/* SPDX-License-Identifier: MIT */
/* How an open file is read: directly, through the page cache, or by the kernel alone.
 *
 * direct       image incomplete: signals end a waiting read, the kernel's readahead fetches nothing
 *              that nobody asked for
 * passthrough  image complete, all of it hashed, privileged, kernel >= 6.9: reads never reach us
 * cached       complete otherwise; the pages stay when the file is closed
 *
 * -o io=direct and io=cached force it.
 *
 * An inode is open for passthrough, with one backing file, or otherwise, never both: the kernel
 * fails the open of a mixture (linux fs/fuse/iomode.c).  Direct handles alone would be let by, but
 * not once one of them is mapped shared, of which we hear nothing.  So handles are counted by kind:
 * the first one decides between passthrough and the rest, until all are closed.
 *
 * Thread: any.
 */
#ifndef FS_IO_H
#define FS_IO_H

#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stdint.h>

struct fs;

/* A handle's kind; goes into fuse_file_info.fh. */
enum io_kind { IO_KIND_DIRECT, IO_KIND_CACHED, IO_KIND_PASSTHROUGH, IO_KINDS };

struct io;
struct io *io_new(void);
void io_free(struct io *io);
/* Chooses, counts and answers OPEN of file `file`. */
void io_open(struct fs *fs, fuse_req_t req, uint32_t file, struct fuse_file_info *fi);
/* A handle of that kind is closed. */
void io_release(struct fs *fs, uint32_t file, enum io_kind kind);
/* What an open would give now ("direct", "cached", "passthrough"), for the curious. */
const char *io_name(struct fs *fs, uint32_t file);

#endif
