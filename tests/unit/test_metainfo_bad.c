// SPDX-License-Identifier: MIT
/* Bad torrents: one test for each defect.  Each must be refused, and the sentence must name the
 * field and the value; so each row is a good torrent but for the one thing.
 */
#include "tests/unit/unit.h"

#include "base/mem.h"
#include "swarm/metainfo.h"
#include "tests/unit/torrent_text.h"

#include <stdlib.h>

#define V1(info) TEXT("d4:infod" info "ee")
/* One file of 100 bytes. */
#define ONE "6:lengthi100e"
#define TAIL "4:name1:n12:piece lengthi16384e"
/* In a list: a good file in front, so that the bad one is entry 1. */
#define FILES(entry) V1("5:filesld6:lengthi1e4:pathl1:aee" entry "e" TAIL "$1")
#define PATH(path) FILES("d6:lengthi1e4:pathl" path "ee")
#define V2(tree, more) TEXT("d4:infod9:file treed" tree "e" more "ee")
#define META "12:meta versioni2e" TAIL
#define TREE(tree) V2("1:ad0:d6:lengthi5e$ree" tree, META)
#define HYBRID(tree, files) TEXT("d4:infod9:file treed" tree "e5:filesl" files "e" META "$2ee")
#define FILE1(name) name "d0:d6:lengthi5e$ree"

static const struct defect {
	const char *name, *text;
	size_t len;
	const char *says;
} defects[] = {
	{"empty_input", TEXT(""), "no torrent: at byte 0: ends too early"},
	{"not_bencode", TEXT("<html>"), "no torrent: at byte 0: not a value"},
	{"bytes_behind", TEXT("d4:infodeex"), "no torrent: at byte 10: bytes behind"},
	{"a_list", TEXT("le"), "no torrent: not a bencoded dictionary"},
	{"no_info", TEXT("d8:announce3:urle"), "info: missing"},
	{"info_no_dictionary", TEXT("d4:infoi1ee"), "info: missing"},

	{"meta_version_3", V2(FILE1("1:a"), "12:meta versioni3e" TAIL), "meta version: 3: only 2"},
	{"meta_version_1", V2(FILE1("1:a"), "12:meta versioni1e" TAIL), "meta version: 1: only 2"},
	{"meta_version_before_all", V1("12:meta versioni3e"), "meta version: 3: only 2"},
	{"meta_version_missing", V2(FILE1("1:a"), TAIL), "meta version: missing"},
	{"meta_version_is_text", V2(FILE1("1:a"), "12:meta version1:2" TAIL),
		"meta version: 0: only 2"},

	{"name_missing", V1(ONE "12:piece lengthi16384e$1"), "name: missing"},
	{"name_empty", V1(ONE "4:name0:12:piece lengthi16384e$1"), "name: \"\": is empty"},
	{"name_dot", V1(ONE "4:name1:.12:piece lengthi16384e$1"),
		"name: \".\": stands for a folder"},
	{"name_dotdot", V1(ONE "4:name2:..12:piece lengthi16384e$1"), "name: \"..\": stands for"},
	{"name_slash", V1(ONE "4:name3:a/b12:piece lengthi16384e$1"), "name: \"a/b\": has a /"},
	{"name_absolute", V1(ONE "4:name4:/etc12:piece lengthi16384e$1"),
		"name: \"/etc\": has a /"},
	{"name_nul", V1(ONE "4:name3:a\0b12:piece lengthi16384e$1"),
		"name: \"a\\x00b\": has a NUL"},
	{"name_control", V1(ONE "4:name3:a\nb12:piece lengthi16384e$1"),
		"name: \"a\\x0ab\": has a control character"},
	{"name_delete",
		V1(ONE "4:name2:a\x7f"
		       "12:piece lengthi16384e$1"),
		"name: \"a\\x7f\": has a control character"},
	{"name_utf8_bad", V1(ONE "4:name1:a10:name.utf-82:..12:piece lengthi16384e$1"),
		"name: \"..\""},

	{"piece_length_missing", V1(ONE "4:name1:n$1"), "piece length: missing"},
	{"piece_length_zero", V1(ONE "4:name1:n12:piece lengthi0e$1"),
		"piece length: 0: not within"},
	{"piece_length_negative", V1(ONE "4:name1:n12:piece lengthi-16384e$1"),
		"piece length: -16384: not within"},
	{"piece_length_below", V1(ONE "4:name1:n12:piece lengthi16383e$1"),
		"piece length: 16383: not within 16384"},
	{"piece_length_above", V1(ONE "4:name1:n12:piece lengthi67108865e$1"),
		"piece length: 67108865: not within 16384 and 67108864"},
	{"piece_length_huge", V1(ONE "4:name1:n12:piece lengthi9223372036854775807e$1"),
		"piece length: 9223372036854775807: not within"},
	{"piece_length_no_power_v2",
		V2(FILE1("1:a"), "12:meta versioni2e4:name1:n12:piece lengthi16385e"),
		"piece length: 16385: not a power of two"},

	{"pieces_missing", V1(ONE TAIL), "pieces: missing"},
	{"pieces_too_few", V1("6:lengthi16385e" TAIL "$1"), "pieces: 1 hashes: the files make 2"},
	{"pieces_too_many", V1(ONE TAIL "$2"), "pieces: 2 hashes: the files make 1"},
	{"pieces_none", V1(ONE TAIL "$0"), "pieces: 0 hashes: the files make 1"},
	{"pieces_19_bytes", V1(ONE TAIL "6:pieces19:1234567890123456789"),
		"pieces: 19 bytes: no multiple"},
	{"pieces_21_bytes", V1(ONE TAIL "6:pieces21:123456789012345678901"),
		"pieces: 21 bytes: no multiple"},

	{"length_missing", V1(TAIL "$1"), "info: length: missing"},
	{"length_negative", V1("6:lengthi-1e" TAIL "$1"), "info: length: -1: negative"},
	{"length_2_to_60", V1("6:lengthi1152921504606846976e" TAIL "$1"),
		"length: 1152921504606846976: 1152921504606846976 bytes or more"},
	{"length_many_pieces", V1("6:lengthi1152921504606846975e" TAIL "$1"),
		"piece length: 16384: makes 70368744177664 pieces: more than 2097152"},
	{"length_zero", V1("6:lengthi0e" TAIL "$0"), "files: not a single byte in 1 of them"},
	{"length_and_files", V1("5:filesld6:lengthi1e4:pathl1:aeee" ONE TAIL "$1"),
		"length: there are files, too"},
	{"files_none", V1("5:filesle" TAIL "$0"), "files: not a single byte in 0 of them"},
	{"files_only_padding", V1("5:filesld4:attr1:p6:lengthi9e4:pathl1:aeee" TAIL "$1"),
		"files: not a single byte in 0 of them"},
	{"files_entry_no_dictionary", FILES("i1e"), "files: entry 1: no dictionary"},
	{"files_length_missing", FILES("d4:pathl1:bee"), "files: entry 1: length: missing"},
	{"files_length_negative", FILES("d6:lengthi-5e4:pathl1:bee"),
		"files: entry 1: length: -5: negative"},
	{"files_sum_overflows", FILES("d6:lengthi1152921504606846975e4:pathl1:bee"),
		"files: entry 1: length: 1152921504606846975: 1152921504606846976 bytes or more"},
	{"padding_overflows", FILES("d4:attr1:p6:lengthi1152921504606846975e4:pathl1:bee"),
		"files: entry 1: length: 1152921504606846975: 1152921504606846976 bytes or more"},

	{"path_missing", FILES("d6:lengthi1ee"), "files: entry 1: path: missing or empty"},
	{"path_no_parts", PATH(""), "files: entry 1: path: missing or empty"},
	{"path_no_list", FILES("d6:lengthi1e4:path1:be"), "files: entry 1: path: missing or empty"},
	{"path_part_no_string", PATH("i1e"), "files: entry 1: path: a part is no string"},
	{"path_empty_part", PATH("1:b0:1:c"), "files: entry 1: path part \"\": is empty"},
	{"path_dot", PATH("1:."), "files: entry 1: path part \".\": stands for a folder"},
	{"path_dotdot", PATH("1:b2:..1:c"),
		"files: entry 1: path part \"..\": stands for a folder"},
	{"path_dotdot_first", PATH("2:..3:etc"), "files: entry 1: path part \"..\""},
	{"path_slash", PATH("4:b/cd"), "files: entry 1: path part \"b/cd\": has a /"},
	{"path_absolute", PATH("11:/etc/passwd"),
		"files: entry 1: path part \"/etc/passwd\": has a /"},
	{"path_traversal_in_a_part", PATH("9:../../etc"), "path part \"../../etc\": has a /"},
	{"path_nul", PATH("3:b\0c"), "files: entry 1: path part \"b\\x00c\": has a NUL"},
	{"path_newline", PATH("3:b\nc"), "files: entry 1: path part \"b\\x0ac\": has a control"},
	{"path_escape", PATH("4:\x1b[2J"), "files: entry 1: path part \"\\x1b[2J\": has a control"},
	{"path_twice", PATH("1:a"), "files: \"a\": twice"},
	{"path_file_and_folder", PATH("1:a1:b"), "files: \"a\": both a file and a folder"},
	{"path_utf8_bad", FILES("d6:lengthi1e4:pathl1:be10:path.utf-8l2:..ee"), "path part \"..\""},

	{"tree_missing", V1("12:meta versioni2e" TAIL), "file tree: missing"},
	{"tree_no_dictionary", V1("9:file treele" META), "file tree: missing"},
	{"tree_empty", V2("", META), "files: not a single byte in 0 of them"},
	{"tree_root_is_a_file", V2("0:d6:lengthi5e$re", META), "file tree: name \"\": is empty"},
	{"tree_dot", TREE(FILE1("1:.")), "file tree: name \".\": stands for a folder"},
	{"tree_dotdot", TREE("2:..d" FILE1("1:b") "e"),
		"file tree: name \"..\": stands for a folder"},
	{"tree_slash", TREE(FILE1("3:b/c")), "file tree: name \"b/c\": has a /"},
	{"tree_nul", TREE(FILE1("3:b\0c")), "file tree: name \"b\\x00c\": has a NUL"},
	{"tree_control",
		TREE(FILE1("3:b\x1f"
			   "c")),
		"file tree: name \"b\\x1fc\": has a control"},
	{"tree_twice", TREE(FILE1("1:a")), "files: \"a\": twice"},
	{"tree_file_and_folder", TREE("1:ad" FILE1("1:b") "e"),
		"files: \"a\": both a file and a folder"},
	{"tree_file_with_siblings", TREE("1:bd0:d6:lengthi5e$re" FILE1("1:c") "e"),
		"file tree: \"b\": both a file and a folder"},
	{"tree_value_no_dictionary", TREE("1:bi1e"), "file tree: \"b\": no dictionary"},
	{"tree_properties_no_dictionary", TREE("1:bd0:i1ee"),
		"file tree: \"b\": its properties are no"},
	{"tree_length_missing", TREE("1:bd0:d$ree"), "file tree: \"b\": length: missing"},
	{"tree_length_negative", TREE("1:bd0:d6:lengthi-1e$ree"),
		"file tree: \"b\": length: -1: negative"},
	{"tree_length_huge", TREE("1:bd0:d6:lengthi1152921504606846975e$ree"),
		"file tree: \"b\": length: 1152921504606846975: 1152921504606846976 bytes or more"},
	{"tree_many_pieces", TREE("1:bd0:d6:lengthi34359738368e$ree"),
		"file tree: \"b\": makes 2097153 pieces: more than 2097152"},
	{"tree_padding", TREE("1:bd0:d4:attr1:p6:lengthi5e$ree"),
		"file tree: \"b\": a padding file"},
	{"root_missing", TREE("1:bd0:d6:lengthi5eee"), "file tree: \"b\": pieces root: missing"},
	{"root_31_bytes",
		TREE("1:bd0:d6:lengthi5e11:pieces root31:1234567890123456789012345678901ee"),
		"file tree: \"b\": pieces root: 31 bytes: not 32"},
	{"root_33_bytes",
		TREE("1:bd0:d6:lengthi5e11:pieces root33:123456789012345678901234567890123ee"),
		"file tree: \"b\": pieces root: 33 bytes: not 32"},

	{"layers_missing", V2("1:ad0:d6:lengthi20000e$Ree", META), "piece layers: missing"},
	{"layers_no_dictionary",
		TEXT("d4:infod9:file treed1:ad0:d6:lengthi20000e$Reee" META "e12:piece layerslee"),
		"piece layers: missing"},
	{"layers_of_another", TEXT("d4:infod9:file treed1:ad0:d6:lengthi20000e$reee" META "e$Le"),
		"piece layers: none for \"a\""},
	{"layers_too_short", TEXT("d4:infod9:file treed1:ad0:d6:lengthi32769e$Reee" META "e$Le"),
		"piece layers: \"a\": 64 bytes: not 96 for 3 pieces"},
	{"layers_too_long",
		TEXT("d4:infod9:file treed1:ad0:d6:lengthi20000e11:pieces root32:"
		     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxeee" META "e12:piece layersd32:"
		     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx65:1234567890123456789012345678901234567890"
		     "1234567890123456789012345ee"),
		"piece layers: \"a\": 65 bytes: not 64 for 2 pieces"},
	{"layers_do_not_match",
		TEXT("d4:infod9:file treed1:ad0:d6:lengthi20000e11:pieces root32:"
		     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxeee" META "e12:piece layersd32:"
		     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx64:1234567890123456789012345678901234567890"
		     "123456789012345678901234ee"),
		"piece layers: \"a\": do not hash to its pieces root"},
	{"layers_entry_no_string",
		TEXT("d4:infod9:file treed1:ad0:d6:lengthi20000e11:pieces root32:"
		     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxeee" META "e12:piece layersd32:"
		     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxleee"),
		"piece layers: none for \"a\""},

	{"hybrid_other_count",
		HYBRID(FILE1("1:a"), "d6:lengthi5e4:pathl1:aeed6:lengthi16380e4:pathl1:bee"),
		"files: 2 of them, but 1 in the file tree"},
	{"hybrid_other_name",
		HYBRID(FILE1("1:a") FILE1("1:b"), "d6:lengthi5e4:pathl1:aee"
						  "d4:attr1:p6:lengthi16379e4:pathl1:pee"
						  "d6:lengthi5e4:pathl1:cee"),
		"files: \"c\": the file tree has \"b\" there"},
	{"hybrid_other_order",
		HYBRID(FILE1("1:a") FILE1("1:b"), "d6:lengthi5e4:pathl1:bee"
						  "d4:attr1:p6:lengthi16379e4:pathl1:pee"
						  "d6:lengthi5e4:pathl1:aee"),
		"files: \"b\": the file tree has \"a\" there"},
	{"hybrid_other_length",
		HYBRID(FILE1("1:a") FILE1("1:b"), "d6:lengthi5e4:pathl1:aee"
						  "d4:attr1:p6:lengthi16379e4:pathl1:pee"
						  "d6:lengthi6e4:pathl1:bee"),
		"files: \"b\": 6 bytes, but 5 in the file tree"},
	{"hybrid_without_padding",
		HYBRID(FILE1("1:a") FILE1("1:b"), "d6:lengthi5e4:pathl1:aee"
						  "d6:lengthi5e4:pathl1:bee"
						  "d4:attr1:p6:lengthi16384e4:pathl1:pee"),
		"files: \"b\": begins at 5, but at 16384 by the file tree"},
	{"hybrid_padding_too_long",
		HYBRID(FILE1("1:a") FILE1("1:b"), "d6:lengthi5e4:pathl1:aee"
						  "d4:attr1:p6:lengthi16380e4:pathl1:pee"
						  "d6:lengthi5e4:pathl1:bee"),
		"files: \"b\": begins at 16385, but at 16384 by the file tree"},
	{"hybrid_padding_behind",
		HYBRID(FILE1("1:a"),
			"d6:lengthi5e4:pathl1:aeed4:attr1:p6:lengthi16380e4:pathl1:pee"),
		"files: padding behind the last file makes 2 pieces of 1"},
	{"hybrid_single_of_another_name",
		TEXT("d4:infod9:file treed" FILE1("1:a") "e6:lengthi5e" META "$1ee"),
		"files: \"n\": the file tree has \"a\" there"},
};

static void test_defect(void **state)
{
	const struct defect *d = *state;
	struct buf b = torrent_text(d->text, d->len);
	struct metainfo *m = NULL;
	char *why = NULL;

	int r = metainfo_parse(buf_bytes(&b), b.len, &m, &why);
	if (r >= 0)
		fail_msg("%s was accepted", d->name);
	assert_null(m);
	assert_non_null(why);
	if (!strstr(why, d->says))
		fail_msg("it says: %s\nnot: %s", why, d->says);
	free(why);
	buf_done(&b);
}

int main(void)
{
	struct CMUnitTest tests[ARRAY_SIZE(defects)];

	for (size_t i = 0; i < ARRAY_SIZE(defects); i++)
		tests[i] = (struct CMUnitTest) {.name = defects[i].name,
			.test_func = test_defect,
			.initial_state = (void *)&defects[i]};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
