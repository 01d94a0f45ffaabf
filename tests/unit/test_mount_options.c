/* SPDX-License-Identifier: MIT */
/* The -o options of a mount, those of the engine among them: what is taken, and what each says when
 * it is wrong. */
#include "tests/unit/unit.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/mem.h"
#include "fs/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct mount_options o;

static int setup(void **state)
{
	mount_options_init(&o);
	return 0;
}

static int teardown(void **state)
{
	mount_options_done(&o);
	return 0;
}

static void take(const char *list)
{
	char *why = NULL;
	if (mount_options_parse(&o, list, &why) < 0)
		fail_msg("\"%s\": %s", list, why);
}

static void refuse(const char *list, const char *word)
{
	char *why = NULL;
	if (mount_options_parse(&o, list, &why) >= 0)
		fail_msg("\"%s\" is taken", list);
	if (!strstr(why, word))
		fail_msg("\"%s\": \"%s\" does not say \"%s\"", list, why, word);
	free(why);
}

static void test_defaults(void **state)
{
	assert_true(o.swarm.torrent.fill);
	assert_true(o.swarm.torrent.seed);
	assert_int_equal(o.swarm.torrent.verify, VERIFY_AUTO);
	assert_int_equal(o.swarm.torrent.where, TORRENT_IN_STORE);
	assert_int_equal(o.mode, 0444);
	assert_int_equal(o.uid, getuid());
	assert_int_equal(o.timeout_ms, 0);
	assert_int_equal(o.io, IO_AUTO);
	assert_false(o.allow_other);
	assert_int_equal(o.swarm.store[0], '/');
}

static void test_every_option(void **state)
{
	take("store=/s,listen=0.0.0.0:6881,peer=192.0.2.1:1,peer=[2001:db8::1]:65535,"
	     "tracker=http://t/announce,tracker=udp://"
	     "u:80,fill=off,seed=off,up=8M,down=16M,peers=7,"
	     "verify=full,cafile=/ca,log=/"
	     "l,debug=peer,timeout=30,io=direct,allow_other,uid=1,gid=2,"
	     "mode=640,noexec,noatime,setuid=root");
	assert_string_equal(o.swarm.store, "/s");
	assert_int_equal(o.swarm.swarm.listen.port, 6881);
	assert_int_equal(o.swarm.torrent.n_peers, 2);
	assert_int_equal(o.swarm.torrent.peers[1].port, 65535);
	assert_int_equal(o.swarm.torrent.n_trackers, 2);
	assert_string_equal(o.swarm.torrent.trackers[1], "udp://u:80");
	assert_false(o.swarm.torrent.fill);
	assert_false(o.swarm.torrent.seed);
	assert_int_equal(o.swarm.swarm.up, 1000000);
	assert_int_equal(o.swarm.swarm.down, 2000000);
	assert_int_equal(o.swarm.torrent.max_peers, 7);
	assert_int_equal(o.swarm.torrent.verify, VERIFY_FULL);
	assert_string_equal(o.swarm.swarm.http_cafile, "/ca");
	assert_string_equal(o.swarm.log, "/l");
	assert_string_equal(o.swarm.debug, "peer");
	assert_int_equal(o.timeout_ms, 30000);
	assert_int_equal(o.io, IO_DIRECT);
	assert_true(o.allow_other && o.noexec && o.noatime);
	assert_int_equal(o.uid, 1);
	assert_int_equal(o.gid, 2);
	assert_int_equal(o.mode, 0640);
	assert_string_equal(o.setuid, "root");
	assert_int_equal(o.run_uid, 0);
}

static void test_the_last_one_counts(void **state)
{
	take("store=/a,io=direct,cafile=/x");
	take("store=/b,io=cached,cafile=/y");
	assert_string_equal(o.swarm.store, "/b");
	assert_int_equal(o.io, IO_CACHED);
	assert_string_equal(o.swarm.swarm.http_cafile, "/y");
}

static void test_names_of_users_and_groups(void **state)
{
	take("uid=root,gid=root");
	assert_int_equal(o.uid, 0);
	refuse("uid=no-such-user", "no-such-user");
	refuse("gid=no-such-group", "no-such-group");
	refuse("setuid=no-such-user", "no-such-user");
}

static void test_what_mount_says_is_passed_over(void **state)
{
	take("ro,defaults,_netdev,noauto,nofail,user,x-systemd.automount,x-systemd.idle-timeout=60,"
	     "X-mount.mkdir,comment=anything,noatime,nosuid,suid,nodev,dev,noexec,exec");
	take("user=joe,relatime,default_permissions");
	take(",,ro,,");
	take("");
}

static void test_rw_is_refused_unless_mount_says_it(void **state)
{
	refuse("rw", "rw: ");
	refuse("allow_other,rw", "ro");
	o.from_mount8 = true; /* it says "rw" whenever nothing else is said */
	take("rw,allow_other");
	refuse("rw,remount", "remount");
}

static void test_unknown_options_are_named(void **state)
{
	refuse("tracke=http://t/", "tracke: no such option");
	refuse("allow_others", "allow_others");
	refuse("x", "x: no such option");
	refuse("=5", "no such option");
	refuse("\x1b[31m", "\\x1b[31m");
	o.sloppy = true;
	take("anything,goes=here");
	refuse("peers=x", "peers"); /* known ones are checked still */
}

static void test_wrong_values_are_named(void **state)
{
	static const char *const bad[][2] = {
		{"store", "store: needs a value"},
		{"store=", "store: empty"},
		{"listen=here", "listen: here"},
		{"listen=1.2.3.4:99999", "99999"},
		{"peer=192.0.2.1", "peer: 192.0.2.1"},
		{"peer=192.0.2.1:0", "192.0.2.1:0"},
		{"peer=host:80", "host:80"},
		{"peer=0.0.0.0:80", "0.0.0.0:80"},
		{"peer=224.0.0.1:80", "224.0.0.1:80"},
		{"tracker=ftp://t", "ftp://t"},
		{"tracker=file:///etc/passwd", "file:///etc/passwd"},
		{"fill=yes", "fill: yes"},
		{"seed", "seed: needs a value"},
		{"up=fast", "up: fast"},
		{"down=-1", "down: -1"},
		{"peers=0", "peers: 0"},
		{"peers=2001", "2001"},
		{"peers=99999999999999999999", "peers: 99999999999999999999"},
		{"verify=maybe", "verify: maybe"},
		{"timeout=-1", "timeout: -1"},
		{"timeout=1.5", "timeout: 1.5"},
		{"timeout=", "timeout: needs a value"},
		{"timeout=99999999999", "99999999999"},
		{"io=fast", "io: fast"},
		{"uid=-1", "uid: -1"},
		{"uid=4294967295", "4294967295"},
		{"mode=888", "mode: 888"},
		{"mode=1777", "mode: 1777"},
		{"mode=00000000000000000000444", "mode"},
		{"allow_other=yes", "allow_other: takes no value"},
		{"noexec=1", "noexec: takes no value"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		refuse(bad[i][0], bad[i][1]);
}

static void test_limits_at_n_and_one_more(void **state)
{
	take("peers=2000,timeout=31622400,mode=0777,uid=4294967294");
	refuse("timeout=31622401", "31622401");

	for (unsigned i = 0; i < TORRENT_MAX_TRACKERS; i++)
		take("tracker=http://t/announce");
	refuse("tracker=http://t/announce", "more than 100");

	for (unsigned i = 0; i < PEERS_MAX_KNOWN; i++)
		take("peer=192.0.2.1:1");
	refuse("peer=192.0.2.1:1", "more than 2000");
}

static void test_length_of_a_tracker(void **state)
{
	char option[TORRENT_MAX_URL + 64] = "tracker=http://";
	size_t prefix = strlen("tracker=");
	while (strlen(option) < prefix + TORRENT_MAX_URL)
		strcat(option, "a");
	take(option);
	strcat(option, "a");
	refuse(option, "2049 bytes");
}

static void test_commas_can_be_escaped(void **state)
{
	take("log=/a\\,b,store=/c\\\\d,cafile=/e\\f");
	assert_string_equal(o.swarm.log, "/a,b");
	assert_string_equal(o.swarm.store, "/c\\d");
	assert_string_equal(o.swarm.cafile, "/e\\f");
	take("log=/x\\");
	assert_string_equal(o.swarm.log, "/x\\");
	take("log=/y=z");
	assert_string_equal(o.swarm.log, "/y=z");
}

#define WITH_OPTIONS(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_OPTIONS(test_defaults),
		WITH_OPTIONS(test_every_option),
		WITH_OPTIONS(test_the_last_one_counts),
		WITH_OPTIONS(test_names_of_users_and_groups),
		WITH_OPTIONS(test_what_mount_says_is_passed_over),
		WITH_OPTIONS(test_rw_is_refused_unless_mount_says_it),
		WITH_OPTIONS(test_unknown_options_are_named),
		WITH_OPTIONS(test_wrong_values_are_named),
		WITH_OPTIONS(test_limits_at_n_and_one_more),
		WITH_OPTIONS(test_length_of_a_tracker),
		WITH_OPTIONS(test_commas_can_be_escaped),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
