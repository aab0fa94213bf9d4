/* tls_client.h -- A client of the test library behind TLS, and certificates made here.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_TLS_CLIENT_H
#define TESTS_TLS_CLIENT_H

#include "resp_client.h"
#include <pthread.h>

struct tls_files { /* paths; both certificates are signed by themselves */
    char cert[160], key[160], locked_key[160], client_cert[160], client_key[160];
};
void tls_files_make(struct tls_files *f); /* below unit_tmpdir() */

struct tls_offer {
    const char *cert, *key; /* of the client, or NULL */
    int max_version;
};
/* NULL when the handshake fails. The thread carries the bytes; it ends when the client is closed.
 */
struct client *tls_connect(int port, struct tls_offer offer, pthread_t *thread);
int tls_connect_tcp(int port); /* a socket, for what is no handshake */
#endif
