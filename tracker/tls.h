/* SPDX-License-Identifier: MIT */
/* Certificates for HTTPS.
 *
 * Thread: any.
 */
#ifndef TRACKER_TLS_H
#define TRACKER_TLS_H

#include <openssl/ssl.h>

/* TLS 1.2 and up, from a chain and a key in PEM files (they may be one).  -EINVAL, with what is
 * wrong in *ret_error (the caller frees it). */
int tls_load(const char *chain, const char *key, SSL_CTX **ret, char **ret_error);

#endif
