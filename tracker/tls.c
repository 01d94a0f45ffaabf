/* SPDX-License-Identifier: MIT */
/* Certificates for HTTPS: see tls.h.
 *
 * Thread: any.
 */
#include "tracker/tls.h"

#include "base/mem.h"

#include <errno.h>
#include <openssl/err.h>

static int fail(SSL_CTX *tls, const char *path, char **ret_error)
{
	char why[256];
	ERR_error_string_n(ERR_peek_last_error(), why, sizeof(why));
	*ret_error = xasprintf("%s: %s", path, why);
	ERR_clear_error();
	SSL_CTX_free(tls);
	return -EINVAL;
}

/* Asking the terminal for one, as openssl would, stops the loop. */
static int no_passphrase(char *ret, int size, int writing, void *arg)
{
	return -1;
}

int tls_load(const char *chain, const char *key, SSL_CTX **ret, char **ret_error)
{
	SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
	if (!tls || !SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION))
		return fail(tls, "openssl", ret_error);
	/* Buffers of idle connections are given back: 34 KiB each. */
	SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
		SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_options(tls, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_default_passwd_cb(tls, no_passphrase);
	if (SSL_CTX_use_certificate_chain_file(tls, chain) != 1)
		return fail(tls, chain, ret_error);
	if (SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1 ||
		SSL_CTX_check_private_key(tls) != 1)
		return fail(tls, key, ret_error);
	*ret = tls;
	return 0;
}
