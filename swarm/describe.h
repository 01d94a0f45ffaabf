/* SPDX-License-Identifier: MIT */
/* What a torrent says, as JSON and as text that a terminal can be given: for show and create.
 *
 * Names and comments are bytes from outside.  JSON wants UTF-8: bytes that are none become U+FFFD.
 * Text for people has '?' for control characters, so that nothing in a .torrent speaks to a
 * terminal.
 *
 * Thread: the main one.
 */
#ifndef SWARM_DESCRIBE_H
#define SWARM_DESCRIBE_H

#include <jansson.h>

struct magnet;
struct metainfo;

/* name, version, info_hash_v1, info_hash_v2, size, piece_length, pieces, private, single, comment,
 * created_by, creation_date, trackers (tiers), web_seeds, profile (ranges, bytes), magnet, files (path, offset, length,
 * executable, pieces_root); the hashes and texts that there are. */
json_t *describe_metainfo(const struct metainfo *m);
/* name, info_hash_v1, info_hash_v2, trackers (tiers), web_seeds, peers. */
json_t *describe_magnet(const struct magnet *m);
/* Takes `j`; prints it to stdout. */
void describe_print(json_t *j);
json_t *describe_string(const char *bytes);

/* "hybrid", "v1" or "v2". */
const char *describe_version(const struct metainfo *m);
/* A file's path as other programs tell it, with the torrent's name in front; malloc'd. */
char *describe_path(const struct metainfo *m, unsigned file);
/* A copy that a terminal can be given; malloc'd. */
char *describe_text(const char *bytes);

#endif
