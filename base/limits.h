/* SPDX-License-Identifier: MIT */
/* Every limit on what a peer, a tracker, a file or a client can make us allocate or wait for.
 *
 * Each has its reason; each is tested at n and n + 1.
 */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

/* clang-format off */

/* -- torrents ---------------------------------------------------------------------------- */

#define TORRENT_MAX_BYTES (64u << 20)   /* a 100 GiB hybrid at 1 MiB pieces is 6 MiB */
#define TORRENT_MAX_PIECES 2097152u     /* libtorrent's own limit; 2 TiB at 1 MiB */
#define TORRENT_MAX_SIZE (1ull << 60)   /* sums of lengths stay far from overflow */
#define TORRENT_MAX_FILES 1000000u      /* one bencoded file takes some 30 bytes of 64 MiB */
#define TORRENT_MIN_PIECE_LENGTH 16384u /* BEP 52 */
#define TORRENT_MAX_PIECE_LENGTH (64u << 20) /* a piece is held in memory until it is verified */
#define TORRENT_MAX_TRACKERS 100u       /* more is a list made to flood somebody */
#define TORRENT_MAX_WEBSEEDS 100u
#define TORRENT_MAX_URL 2048u           /* what servers and proxies take */
#define PATH_MAX_NAME 255u              /* NAME_MAX of Linux file systems */
#define PATH_MAX_DEPTH 100u
#define PATH_MAX_LENGTH 4000u           /* one open() takes 4095 bytes, ours in front included */
/* Open lists and dictionaries.  BEP 52's file tree has one for each part of a path, inside the
 * root, "info" and "file tree", and one under the empty key; real torrents have about eight. */
#define BENCODE_MAX_DEPTH (PATH_MAX_DEPTH + 4)
#define BENCODE_MAX_TOKENS 3000000u     /* libtorrent's; 16 bytes each here */

/* -- boot profiles ------------------------------------------------------------------------ */

#define PROFILE_MAX_RANGES 131072u      /* 2 GiB read in scattered blocks; a boot has some thousands.
                                         * 2 MiB of memory for each profile that is held */
#define PROFILE_MAX_BLOCKS (1u << 22)   /* 64 GiB: what of a profile is fetched first; each block is
                                         * looked at when a torrent is opened */
#define PROFILE_MAX_BYTES (6u << 20)    /* as many lines of the longest kind (41 bytes), and a head */

/* -- peers ------------------------------------------------------------------------------- */

#define BLOCK_SIZE 16384u               /* the request size that all clients serve, BEP 52's leaf */
#define REQUEST_MAX_SERVED BLOCK_SIZE   /* a larger request is rejected ... */
#define REQUEST_MAX_LENGTH 131072u      /* ... and above this the peer is dropped (BEP 3) */
#define CONN_REQUEST_QUEUE 500u         /* requests of one peer held unanswered; told as reqq */
#define EXT_MAX_MESSAGE (1u << 20)      /* extensions: metadata pieces are 16 KiB, PEX small */
#define EXT_MAX_TOKENS 2000u
#define CONN_CONNECT_MS 10000u
#define CONN_HANDSHAKE_MS 10000u
#define CONN_IDLE_MS 120000u            /* BEP 3: peers send keep-alives every two minutes */
#define CONN_KEEPALIVE_MS 100000u
#define PEERS_MAX_CONNECTED 200u        /* per torrent, default of -o peers= */
#define PEERS_MAX_KNOWN 2000u           /* addresses remembered per torrent */
#define PEERS_MAX_BANNED 10000u         /* per torrent, 32 bytes each; each cost an address */
#define PEERS_MAX_HALF_OPEN 50u         /* connects under way */
#define HASHES_MAX_LENGTH 512u          /* BEP 52 has no limit; this is libtorrent's */

/* -- magnet links ------------------------------------------------------------------------- */

#define MAGNET_MAX_CONNECTED 50u        /* peers that we call, and as many that call; one good one is enough */
#define MAGNET_MAX_OF_HOST 4u           /* of each: who has many ports is not many; a NAT has some peers */
#define METADATA_TRIES 4u               /* peers that give the metadata at once, each all of it */
#define METADATA_ASKS 8u                /* pieces asked of one peer at once: transmission takes 64 */
#define METADATA_PATIENCE_MS 10000u     /* asked, and nothing came: others are asked instead */
#define METADATA_TRY_MS 30000u          /* a slow peer makes room: 2 MiB at 70 KB/s */

/* -- trackers and web seeds ----------------------------------------------------------------- */

#define HTTP_MAX_REPLY (1u << 20)       /* a tracker's reply; 200 peers are 4 KiB */
#define HTTP_MAX_REDIRECTS 5u
#define HTTP_MAX_HEADERS 65536u         /* of all replies of a transfer; servers send about 1 KiB */
#define HTTP_MAX_IDLE 32u               /* connections kept for the next request, in all */
#define HTTP_CONNECT_MS 10000u          /* name, TCP and TLS: a tracker behind that is a dead one */
#define TRACKER_REPLY_MAX_TOKENS 20000u /* dictionary peers: 8 tokens each */
#define TRACKER_NUMWANT 100u
#define TRACKER_MAX_PEERS 2000u         /* of one reply, as PEERS_MAX_KNOWN; 1 MiB holds 174,000 */
#define TRACKER_MAX_ID 256u             /* "tracker id", sent back with each announce */
#define TRACKER_MAX_TEXT 300u           /* failure reason, warning: a sentence for the status */
#define TRACKER_HTTP_MS 30000u          /* one announce over HTTP, slow servers included */
#define TRACKER_MAX_RETRY_S 86400u      /* "retry in": a day at most, then we look again */
#define TRACKER_MIN_INTERVAL_S 5u       /* what a tracker can make us announce at most */
#define TRACKER_MAX_INTERVAL_S 3600u
#define WEBSEED_STALL_MS 10000u         /* without a byte: a read is better served elsewhere */
#define WEBSEED_MAX_ERROR_BODY 65536u   /* of an error page: read, to keep the connection */

/* -- the store ------------------------------------------------------------------------------ */

#define STORE_PINNED_FDS 128u           /* first files stay open: most image torrents have fewer */
#define STORE_CACHED_FDS 128u           /* of the others; 1024 descriptors hold some torrents */
#define RESUME_GROUP_BYTES (64u << 20)  /* written data is synced after this much ... */
#define RESUME_GROUP_MS 2000u           /* ... or this long: what a crash makes us fetch again */
#define RESUME_SAVE_BYTES_PER_S (4u << 20) /* a large record is saved the more seldom */
#define RECORD_MAX_EXTRA (256u << 20)   /* leaf hashes of 128 GiB; peers are asked for the rest */
#define RECORD_MAX_BYTES (1u << 30)     /* 2^32 bits, a million stamps and the above: 794 MiB */

/* clang-format on */

#endif
