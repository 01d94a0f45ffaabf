// SPDX-License-Identifier: MIT
/* What good torrents are read as, and the limits: n is taken, n + 1 refused.  Bad ones:
 * test_metainfo_bad.c. */
#include "tests/unit/unit.h"

#include "base/limits.h"
#include "base/mem.h"
#include "swarm/metainfo.h"
#include "tests/unit/torrent_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TAIL "4:name1:n12:piece lengthi16384e"
#define META "12:meta versioni2e" TAIL

/* Parses a buffer and frees it; NULL with the reason in last_why. */
static char last_why[1024];

static struct metainfo *parse_buf(struct buf *b)
{
	struct metainfo *m = NULL;
	char *why = NULL;

	last_why[0] = '\0';
	if (metainfo_parse(buf_bytes(b), b->len, &m, &why) < 0)
		snprintf(last_why, sizeof(last_why), "%s", why);
	free(why);
	buf_done(b);
	return m;
}

static struct metainfo *parse(const char *text, size_t len)
{
	struct buf b = torrent_text(text, len);
	struct metainfo *m = parse_buf(&b);

	if (!m)
		fail_msg("refused: %s", last_why);
	return m;
}

static void refused(struct buf *b, const char *says)
{
	struct metainfo *m = parse_buf(b);

	if (m)
		fail_msg("accepted");
	if (!strstr(last_why, says))
		fail_msg("it says: %s\nnot: %s", last_why, says);
}

static void taken(struct buf *b)
{
	struct metainfo *m = parse_buf(b);

	if (!m)
		fail_msg("refused: %s", last_why);
	metainfo_free(m);
}

static void assert_file(
	const struct metainfo *m, uint32_t i, const char *path, uint64_t offset, uint64_t length)
{
	assert_true(i < m->n_files);
	assert_string_equal(m->files[i].path, path);
	assert_int_equal(m->files[i].offset, offset);
	assert_int_equal(m->files[i].length, length);
}

/* -- what is read ---------------------------------------------------------------------------- */

static void test_v1_single(void **state)
{
	static const char text[] = "d4:infod6:lengthi40000e" TAIL "$3ee";
	struct metainfo *m = parse(TEXT(text));
	struct buf b = torrent_text(TEXT(text));
	uint8_t hash[SHA1_LEN];
	char entry[65], hex[65];

	assert_true(m->has_v1 && !m->has_v2 && m->single && !m->is_private);
	assert_string_equal(m->name, "n");
	assert_int_equal(m->n_files, 1);
	assert_file(m, 0, "n", 0, 40000);
	assert_int_equal(m->n_pieces, 3);
	assert_int_equal(m->space, 40000);
	assert_int_equal(m->size, 40000);
	assert_int_equal(m->max_v1_space, 40000);
	sha1(buf_bytes(&b) + strlen("d4:info"), b.len - strlen("d4:infoe"), hash);
	assert_memory_equal(m->hash_v1, hash, SHA1_LEN);
	assert_memory_equal(metainfo_wire_hash(m), hash, SHA1_LEN);
	hex_encode(hash, SHA1_LEN, hex);
	metainfo_entry_name(m, entry);
	assert_string_equal(entry, hex);
	assert_non_null(m->tiers);
	assert_null(m->tiers[0]);
	assert_non_null(m->web_seeds);
	assert_null(m->web_seeds[0]);
	buf_done(&b);
	metainfo_free(m);
}

static void test_v1_padding_is_space_of_no_file(void **state)
{
	struct metainfo *m =
		parse(TEXT("d4:infod5:filesl"
			   "d6:lengthi100e4:pathl1:a1:beed4:attr1:p6:lengthi200e4:pathl0:ee"
			   "d6:lengthi0e4:pathl1:eeed6:lengthi50e4:pathl1:cee"
			   "d4:attr1:p6:lengthi20000e4:pathl1:xee"
			   "d6:lengthi0e4:pathl1:fee"
			   "e" TAIL "$2ee"));

	assert_int_equal(m->n_files, 4);
	assert_file(m, 0, "a/b", 0, 100);
	assert_file(m, 1, "e", 100, 0);
	assert_file(m, 2, "c", 300, 50);
	assert_file(m, 3, "f", 350, 0);
	assert_int_equal(m->size, 150);
	assert_int_equal(m->space, 350);
	assert_int_equal(m->max_v1_space, 20350);
	assert_int_equal(metainfo_file_at(m, 0), 0);
	assert_int_equal(metainfo_file_at(m, 99), 0);
	assert_int_equal(metainfo_file_at(m, 100), 2);
	assert_int_equal(metainfo_file_at(m, 299), 2);
	assert_int_equal(metainfo_file_at(m, 349), 2);
	assert_int_equal(metainfo_file_at(m, 350), 4);
	assert_int_equal(metainfo_file_at(m, UINT64_MAX), 4);
	metainfo_free(m);
}

static void test_v2_files_begin_on_pieces(void **state)
{
	struct metainfo *m =
		parse(TEXT("d4:infod9:file treed"
			   "1:ad0:d6:lengthi20000e$Ree"
			   "1:bd1:cd0:d6:lengthi0eee1:dd0:d4:attr1:x6:lengthi16384e$reee"
			   "1:ed0:d6:lengthi1e$ree"
			   "e" META "e$Le"));
	uint8_t layer[2 * SHA256_LEN];

	torrent_layer(layer);
	assert_true(!m->has_v1 && m->has_v2 && !m->single);
	assert_int_equal(m->n_files, 4);
	assert_file(m, 0, "a", 0, 20000);
	assert_file(m, 1, "b/c", 20000, 0);
	assert_file(m, 2, "b/d", 32768, 16384);
	assert_file(m, 3, "e", 49152, 1);
	assert_true(m->files[2].executable && !m->files[0].executable);
	assert_int_equal(m->space, 49153);
	assert_int_equal(m->max_v1_space, 49153);
	assert_int_equal(m->size, 36385);
	assert_int_equal(m->n_pieces, 4);
	assert_int_equal(m->files[0].first_piece, 0);
	assert_int_equal(m->files[0].n_pieces, 2);
	assert_memory_equal(m->files[0].layer, layer, sizeof(layer));
	/* Pointed to, not copied. */
	assert_true(m->files[0].layer > m->raw && m->files[0].layer < m->raw + m->raw_len);
	assert_int_equal(m->files[1].n_pieces, 0);
	assert_null(m->files[1].layer);
	assert_int_equal(m->files[2].first_piece, 2);
	assert_ptr_equal(m->files[2].layer, m->files[2].root);
	assert_int_equal(m->files[3].first_piece, 3);
	metainfo_free(m);
}

static void test_v2_hash_is_of_the_info_alone(void **state)
{
	static const char text[] = "d4:infod9:file treed1:nd0:d6:lengthi5e$reee" META "ee";
	struct metainfo *m = parse(TEXT(text));
	struct buf b = torrent_text(TEXT(text));
	uint8_t hash[SHA256_LEN];
	char entry[65], hex[65];

	sha256(buf_bytes(&b) + strlen("d4:info"), b.len - strlen("d4:infoe"), hash);
	assert_memory_equal(m->hash_v2, hash, SHA256_LEN);
	assert_memory_equal(metainfo_wire_hash(m), hash, SHA1_LEN);
	hex_encode(hash, SHA256_LEN, hex);
	metainfo_entry_name(m, entry);
	assert_string_equal(entry, hex);
	/* The only file has the torrent's name. */
	assert_true(m->single);
	buf_done(&b);
	metainfo_free(m);
}

static void test_v2_one_file_of_another_name_is_in_a_folder(void **state)
{
	struct metainfo *m = parse(TEXT("d4:infod9:file treed1:ad0:d6:lengthi5e$reee" META "ee"));

	assert_false(m->single);
	assert_file(m, 0, "a", 0, 5);
	metainfo_free(m);
}

#define HYBRID_INFO                                        \
	"d9:file treed"                                    \
	"1:ad0:d6:lengthi20000e$Ree1:bd0:d6:lengthi7e$ree" \
	"1:cd0:d6:lengthi0eeee"                            \
	"5:filesld6:lengthi20000e4:pathl1:aee"             \
	"d4:attr1:p6:lengthi12768e4:pathl4:.pad5:12768ee"  \
	"d6:lengthi7e4:pathl1:bee"                         \
	"d4:attr1:p6:lengthi16377e4:pathl4:.pad5:16377ee"  \
	"d6:lengthi0e4:pathl1:ceee" META "$3e"

static void test_hybrid(void **state)
{
	struct metainfo *m = parse(TEXT("d4:info" HYBRID_INFO "$Le"));

	assert_true(m->has_v1 && m->has_v2 && !m->single);
	assert_int_equal(m->n_files, 3);
	assert_file(m, 1, "b", 32768, 7);
	assert_int_equal(m->space, 32775);
	assert_int_equal(m->max_v1_space, 49152);
	assert_int_equal(m->n_pieces, 3);
	assert_ptr_equal(metainfo_wire_hash(m), m->hash_v1);
	metainfo_free(m);
}

/* As one is made for a magnet link from peers that know v1 alone. */
static void test_hybrid_without_layers_is_v1(void **state)
{
	struct metainfo *m = parse(TEXT("d4:info" HYBRID_INFO "$Le"));
	struct metainfo *old = parse(TEXT("d4:info" HYBRID_INFO "e"));

	assert_true(old->has_v1 && !old->has_v2 && old->lacks_layers);
	assert_false(m->lacks_layers);
	assert_memory_equal(old->hash_v1, m->hash_v1, SHA1_LEN);
	assert_int_equal(old->n_files, 3);
	for (uint32_t i = 0; i < 3; i++)
		assert_file(old, i, m->files[i].path, m->files[i].offset, m->files[i].length);
	assert_int_equal(old->n_pieces, 3);
	assert_non_null(old->pieces);
	metainfo_free(old);
	metainfo_free(m);
}

/* Layers that are there and wrong are another matter. */
static void test_hybrid_with_bad_layers_is_refused(void **state)
{
	struct buf b = torrent_text(TEXT("d4:info" HYBRID_INFO "12:piece layersdee"));

	refused(&b, "piece layers: none for \"a\"");
}

static void test_hybrid_that_needs_no_layers(void **state)
{
	struct metainfo *m =
		parse(TEXT("d4:infod9:file treed1:nd0:d6:lengthi7e$reee6:lengthi7e" META "$1ee"));

	assert_true(m->has_v1 && m->has_v2);
	assert_non_null(m->files[0].layer);
	metainfo_free(m);
}

/* -- the info dictionary alone ----------------------------------------------------------------- */

static struct metainfo *parse_info(const char *text, size_t len)
{
	struct buf b = torrent_text(text, len);
	struct metainfo *m = NULL;
	char *why = NULL;

	last_why[0] = '\0';
	if (metainfo_parse_info(buf_bytes(&b), b.len, &m, &why) < 0)
		snprintf(last_why, sizeof(last_why), "%s", why);
	free(why);
	buf_done(&b);
	return m;
}

static void test_info_alone(void **state)
{
	struct metainfo *m = parse(TEXT("d4:info" HYBRID_INFO "$Le"));
	struct metainfo *bare = parse_info(TEXT(HYBRID_INFO));

	assert_non_null(bare);
	assert_true(bare->has_v1 && bare->has_v2);
	assert_memory_equal(bare->hash_v1, m->hash_v1, SHA1_LEN);
	assert_memory_equal(bare->hash_v2, m->hash_v2, SHA256_LEN);
	assert_int_equal(bare->info_len, m->info_len);
	assert_memory_equal(bare->info, m->info, m->info_len);
	assert_null(bare->files[0].layer); /* of two pieces */
	assert_ptr_equal(bare->files[1].layer, bare->files[1].root);
	assert_null(bare->tiers[0]);
	metainfo_free(bare);
	metainfo_free(m);
}

static void test_info_alone_that_is_more_or_less(void **state)
{
	static const char behind[] = HYBRID_INFO "8:announce9:http://a/", cut[] = HYBRID_INFO;

	assert_null(parse_info(behind, sizeof(behind) - 1));
	assert_non_null(strstr(last_why, "behind it"));
	assert_null(parse_info(cut, sizeof(cut) - 2));
	assert_null(parse_info("", 0));
	assert_null(parse_info(TEXT("i5e")));
	assert_non_null(strstr(last_why, "info: missing"));
	assert_null(parse_info(TEXT("d4:name1:n12:piece lengthi3e$1e")));
	assert_non_null(strstr(last_why, "piece length: 3"));
}

static void test_info_alone_above_the_limit(void **state)
{
	char *why = NULL;
	struct metainfo *m = NULL;

	assert_int_equal(metainfo_parse_info("d", TORRENT_MAX_BYTES + 1, &m, &why), -EINVAL);
	assert_null(m);
	free(why);
}

/* -- more of what is read --------------------------------------------------------------------- */

static void test_equal_files_share_a_layer(void **state)
{
	struct metainfo *m = parse(TEXT("d4:infod9:file treed1:ad0:d6:lengthi20000e$Ree"
					"1:bd0:d6:lengthi20000e$Reee" META "e$Le"));

	assert_ptr_equal(m->files[0].layer, m->files[1].layer);
	metainfo_free(m);
}

static void test_symlink_attribute_is_ignored(void **state)
{
	struct metainfo *m = parse(
		TEXT("d4:infod5:filesld6:lengthi9e4:pathl1:aee"
		     "d4:attr1:l6:lengthi0e4:pathl1:be12:symlink pathl2:..3:etceee" TAIL "$1ee"));

	assert_file(m, 1, "b", 9, 0);
	metainfo_free(m);
}

static void test_utf8_names_are_preferred(void **state)
{
	struct metainfo *m =
		parse(TEXT("d4:infod5:filesld6:lengthi9e4:pathl1:ae10:path.utf-8l2:\xc3\xa4"
			   "eee4:name1:n10:name.utf-82:\xc3\xb6"
			   "12:piece lengthi16384e$1ee"));

	assert_string_equal(m->name, "\xc3\xb6");
	assert_file(m, 0, "\xc3\xa4", 0, 9);
	metainfo_free(m);
}

static void test_names_need_not_be_utf8(void **state)
{
	struct metainfo *m =
		parse(TEXT("d4:infod6:lengthi9e4:name4:a\xff\x80z12:piece lengthi16384e$1ee"));

	assert_string_equal(m->name, "a\xff\x80z");
	metainfo_free(m);
}

static void test_names_that_look_alike(void **state)
{
	/* "a.b" and "a b" sort between "a" and "a/b" by bytes: none of them is in another's way. */
	struct metainfo *m = parse(TEXT("d4:infod5:filesl"
					"d6:lengthi1e4:pathl2:aaee"
					"d6:lengthi1e4:pathl1:a1:bee"
					"d6:lengthi1e4:pathl3:a.bee"
					"d6:lengthi1e4:pathl3:a bee"
					"d6:lengthi1e4:pathl3:...ee"
					"d6:lengthi1e4:pathl1:Aee"
					"e" TAIL "$1ee"));

	assert_int_equal(m->n_files, 6);
	metainfo_free(m);
}

static void test_around_the_info(void **state)
{
	struct metainfo *m = parse(
		TEXT("d8:announce8:http://x13:announce-listll8:http://a8:http://bel7:udp://cee"
		     "7:comment2:hi10:created by2:me13:creation datei1700000000e"
		     "4:infod6:lengthi9e" TAIL "$17:privatei1ee8:url-listl8:http://wee"));

	assert_string_equal(m->tiers[0][0], "http://a");
	assert_string_equal(m->tiers[0][1], "http://b");
	assert_null(m->tiers[0][2]);
	assert_string_equal(m->tiers[1][0], "udp://c");
	assert_null(m->tiers[1][1]);
	assert_null(m->tiers[2]);
	assert_string_equal(m->web_seeds[0], "http://w");
	assert_null(m->web_seeds[1]);
	assert_string_equal(m->comment, "hi");
	assert_string_equal(m->created_by, "me");
	assert_int_equal(m->creation_date, 1700000000);
	assert_true(m->is_private);
	metainfo_free(m);
}

static void test_nonsense_around_the_info_is_left_out(void **state)
{
	struct metainfo *m =
		parse(TEXT("d8:announce8:http://x13:announce-listli1el0:3:a b4:a\0bc4:\nabcee"
			   "7:comment3:a\0b10:created byi1e13:creation datei-1e"
			   "4:infod6:lengthi9e" TAIL "$17:privatei2ee8:url-list8:http://we"));

	/* No tier has a URL, so "announce" counts; "url-list" may be a string. */
	assert_string_equal(m->tiers[0][0], "http://x");
	assert_null(m->tiers[1]);
	assert_string_equal(m->web_seeds[0], "http://w");
	assert_null(m->comment);
	assert_null(m->created_by);
	assert_int_equal(m->creation_date, 0);
	assert_false(m->is_private);
	metainfo_free(m);
}

static void test_load_tells_why(void **state)
{
	struct metainfo *m = NULL;
	char *why = NULL;

	assert_int_equal(metainfo_load("/nonexistent/file", &m, &why), -ENOENT);
	assert_string_equal(why, "No such file or directory");
	free(why);
}

/* -- limits ---------------------------------------------------------------------------------- */

static struct buf with_name(size_t len)
{
	struct buf b = {0};

	buf_addf(&b, "d4:infod6:lengthi1e4:name%zu:", len);
	memset(buf_extend(&b, len), 'n', len);
	buf_addf(&b, "12:piece lengthi16384e6:pieces20:12345678901234567890ee");
	return b;
}

static void test_name_length(void **state)
{
	struct buf b = with_name(PATH_MAX_NAME);

	taken(&b);
	b = with_name(PATH_MAX_NAME + 1);
	refused(&b, "nnn\": is longer than 255 bytes");
}

/* A v1 path of `depth` parts of `len` bytes. */
static struct buf with_path(size_t depth, size_t len, size_t more)
{
	struct buf b = {0};

	buf_addf(&b, "d4:infod5:filesld6:lengthi1e4:pathl");
	for (size_t i = 0; i < depth; i++) {
		size_t n = i ? len : len + more;
		buf_addf(&b, "%zu:", n);
		memset(buf_extend(&b, n), 'x', n);
	}
	buf_addf(&b, "eee" TAIL "6:pieces20:12345678901234567890ee");
	return b;
}

static void test_path_depth(void **state)
{
	struct buf b = with_path(PATH_MAX_DEPTH, 1, 0);

	taken(&b);
	b = with_path(PATH_MAX_DEPTH + 1, 1, 0);
	refused(&b, "files: entry 0: path: 101 parts: more than 100");
}

static void test_path_length(void **state)
{
	/* 16 parts of 249 bytes with 15 slashes are 3999 bytes. */
	struct buf b = with_path(16, 249, PATH_MAX_LENGTH - 3999);

	taken(&b);
	b = with_path(16, 249, PATH_MAX_LENGTH - 3999 + 1);
	refused(&b, "4001 bytes: longer than 4000");
}

static struct buf with_tree_depth(size_t depth)
{
	struct buf b = {0};

	buf_addf(&b, "d4:infod9:file treed");
	for (size_t i = 0; i < depth; i++)
		buf_addf(&b, "1:xd");
	buf_addf(&b, "0:d6:lengthi1e11:pieces root32:12345678901234567890123456789012e");
	for (size_t i = 0; i < depth; i++)
		buf_addf(&b, "e");
	buf_addf(&b, "e" META "ee");
	return b;
}

static void test_tree_depth(void **state)
{
	struct buf b = with_tree_depth(PATH_MAX_DEPTH);

	taken(&b);
	b = with_tree_depth(PATH_MAX_DEPTH + 1);
	refused(&b, "nested too deeply");
}

/* A folder name that stands once in the .torrent and in every file's path. */
static struct buf with_long_prefix(size_t files)
{
	struct buf b = {0};

	buf_addf(&b, "d4:infod9:file treed");
	for (unsigned i = 0; i < 15; i++) {
		buf_addf(&b, "250:");
		memset(buf_extend(&b, 250), 'x', 250);
		buf_u8(&b, 'd');
	}
	for (size_t i = 0; i < files; i++)
		buf_addf(&b,
			"6:%06zud0:d6:lengthi1e11:pieces root32:"
			"12345678901234567890123456789012ee",
			i);
	for (unsigned i = 0; i < 15; i++)
		buf_u8(&b, 'e');
	buf_addf(&b, "e" META "ee");
	return b;
}

static void test_sum_of_paths(void **state)
{
	/* 15 * 251 + 6 bytes and a NUL each. */
	size_t n = TORRENT_MAX_BYTES / 3772;
	struct buf b = with_long_prefix(n);

	taken(&b);
	b = with_long_prefix(n + 1);
	refused(&b, "files: their paths take more than 67108864 bytes");
}

static struct buf with_pieces(size_t n)
{
	struct buf b = {0};

	buf_addf(&b, "d4:infod6:lengthi%zue" TAIL "6:pieces%zu:", n * 16384, n * SHA1_LEN);
	memset(buf_extend(&b, n * SHA1_LEN), 'p', n * SHA1_LEN);
	buf_addf(&b, "ee");
	return b;
}

static void test_pieces(void **state)
{
	struct buf b = with_pieces(TORRENT_MAX_PIECES);

	taken(&b);
	b = with_pieces(TORRENT_MAX_PIECES + 1);
	refused(&b, "makes 2097153 pieces: more than 2097152");
}

static struct buf with_piece_length(unsigned length)
{
	struct buf b = {0};

	buf_addf(&b,
		"d4:infod6:lengthi1e4:name1:n12:piece lengthi%ue6:pieces20:12345678901234567890ee",
		length);
	return b;
}

static void test_piece_length(void **state)
{
	static const unsigned good[] = {
		TORRENT_MIN_PIECE_LENGTH, TORRENT_MIN_PIECE_LENGTH + 1, TORRENT_MAX_PIECE_LENGTH};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct buf b = with_piece_length(good[i]);
		taken(&b);
	}
	struct buf b = with_piece_length(TORRENT_MIN_PIECE_LENGTH - 1);
	refused(&b, "piece length: 16383");
	b = with_piece_length(TORRENT_MAX_PIECE_LENGTH + 1);
	refused(&b, "piece length: 67108865");
}

/* Filled up to `size` by a comment. */
static struct buf of_size(size_t size)
{
	struct buf b = {0};
	static const char end[] = "4:infod6:lengthi1e" TAIL "6:pieces20:12345678901234567890ee";
	size_t n = size - strlen("d7:comment") - strlen("67108864:") - strlen(end);

	buf_addf(&b, "d7:comment%zu:", n);
	memset(buf_extend(&b, n), 'c', n);
	buf_add_str(&b, end);
	assert_int_equal(b.len, size);
	return b;
}

static void test_size(void **state)
{
	struct buf b = of_size(TORRENT_MAX_BYTES);

	taken(&b);
	b = of_size(TORRENT_MAX_BYTES + 1);
	refused(&b, "67108865 bytes: larger than 67108864");
}

static void test_size_of_a_file(void **state)
{
	char path[] = "/tmp/p2pfs-test-XXXXXX", *why = NULL;
	struct metainfo *m;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, TORRENT_MAX_BYTES + 1), 0);
	assert_int_equal(metainfo_load(path, &m, &why), -EFBIG);
	assert_string_equal(why, "larger than 67108864 bytes");
	free(why);
	close(fd);
	unlink(path);
}

static void test_tokens(void **state)
{
	struct buf b = {0};

	buf_add_str(&b, "d1:al");
	for (unsigned i = 0; i < BENCODE_MAX_TOKENS; i++)
		buf_add_str(&b, "le");
	buf_add_str(&b, "ee");
	refused(&b, "too many values");
}

static struct buf with_urls(unsigned n, size_t url_len)
{
	struct buf b = {0};

	buf_add_str(&b, "d13:announce-listl");
	for (unsigned i = 0; i < n; i++) {
		buf_addf(&b, "l%zu:", url_len);
		memset(buf_extend(&b, url_len), 'u', url_len);
		buf_u8(&b, 'e');
	}
	buf_add_str(&b, "e4:infod6:lengthi1e" TAIL "6:pieces20:12345678901234567890e8:url-listl");
	for (unsigned i = 0; i < n; i++) {
		buf_addf(&b, "%zu:", url_len);
		memset(buf_extend(&b, url_len), 'w', url_len);
	}
	buf_add_str(&b, "ee");
	return b;
}

static size_t count(void *list)
{
	size_t n = 0;

	while (((void **)list)[n])
		n++;
	return n;
}

static void test_number_of_urls(void **state)
{
	struct buf b = with_urls(TORRENT_MAX_TRACKERS, 10);
	struct metainfo *m = parse_buf(&b);

	assert_int_equal(count(m->tiers), TORRENT_MAX_TRACKERS);
	assert_int_equal(count(m->web_seeds), TORRENT_MAX_WEBSEEDS);
	metainfo_free(m);
	b = with_urls(TORRENT_MAX_TRACKERS + 1, 10);
	m = parse_buf(&b);
	assert_int_equal(count(m->tiers), TORRENT_MAX_TRACKERS);
	assert_int_equal(count(m->web_seeds), TORRENT_MAX_WEBSEEDS);
	metainfo_free(m);
}

static void test_length_of_urls(void **state)
{
	struct buf b = with_urls(1, TORRENT_MAX_URL);
	struct metainfo *m = parse_buf(&b);

	assert_int_equal(count(m->tiers), 1);
	assert_int_equal(count(m->web_seeds), 1);
	metainfo_free(m);
	b = with_urls(1, TORRENT_MAX_URL + 1);
	m = parse_buf(&b);
	assert_int_equal(count(m->tiers), 0);
	assert_int_equal(count(m->web_seeds), 0);
	metainfo_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v1_single),
		cmocka_unit_test(test_v1_padding_is_space_of_no_file),
		cmocka_unit_test(test_v2_files_begin_on_pieces),
		cmocka_unit_test(test_v2_hash_is_of_the_info_alone),
		cmocka_unit_test(test_v2_one_file_of_another_name_is_in_a_folder),
		cmocka_unit_test(test_hybrid),
		cmocka_unit_test(test_hybrid_without_layers_is_v1),
		cmocka_unit_test(test_hybrid_with_bad_layers_is_refused),
		cmocka_unit_test(test_hybrid_that_needs_no_layers),
		cmocka_unit_test(test_info_alone),
		cmocka_unit_test(test_info_alone_that_is_more_or_less),
		cmocka_unit_test(test_info_alone_above_the_limit),
		cmocka_unit_test(test_equal_files_share_a_layer),
		cmocka_unit_test(test_symlink_attribute_is_ignored),
		cmocka_unit_test(test_utf8_names_are_preferred),
		cmocka_unit_test(test_names_need_not_be_utf8),
		cmocka_unit_test(test_names_that_look_alike),
		cmocka_unit_test(test_around_the_info),
		cmocka_unit_test(test_nonsense_around_the_info_is_left_out),
		cmocka_unit_test(test_load_tells_why),
		cmocka_unit_test(test_name_length),
		cmocka_unit_test(test_path_depth),
		cmocka_unit_test(test_path_length),
		cmocka_unit_test(test_tree_depth),
		cmocka_unit_test(test_sum_of_paths),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_piece_length),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_size_of_a_file),
		cmocka_unit_test(test_tokens),
		cmocka_unit_test(test_number_of_urls),
		cmocka_unit_test(test_length_of_urls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
