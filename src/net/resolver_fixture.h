/* SPDX-License-Identifier: MIT
 * For tests: a resolver whose answers are a table.
 *
 *     fake_names("many", "[::1]:81 127.0.0.1:82");    // whatever port is asked for
 *     ...
 *     real_names();
 *
 * Either only while no thread may still look names up, as one does whose caller has gone. */
#ifndef BECK_SRC_NET_RESOLVER_FIXTURE_H
#define BECK_SRC_NET_RESOLVER_FIXTURE_H

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/address.h"

enum { FAKE_MAX = 16 };

/* The struct addrinfo of one answer and its address, in one piece of memory. */
struct fake_answer {
    struct addrinfo info;
    struct bki_address address;
};

static struct {
    const char *host;
    char addresses[400];
    int error;   /* what getaddrinfo returns instead */
    sem_t *held; /* answers wait for it */
    int n_asked, n_freed;
    int last_family;
    const char *name; /* what getnameinfo says */
} fake;

static void fake_freeaddrinfo(struct addrinfo *list)
{
    __atomic_add_fetch(&fake.n_freed, 1, __ATOMIC_SEQ_CST);
    while (list) {
        struct addrinfo *next = list->ai_next;
        free(list);
        list = next;
    }
}

static int fake_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                            struct addrinfo **out)
{
    char words[sizeof fake.addresses], *save = NULL;
    (void)port;
    __atomic_add_fetch(&fake.n_asked, 1, __ATOMIC_SEQ_CST);
    fake.last_family = hints->ai_family;
    if (fake.held)
        sem_wait(fake.held);
    if (fake.error)
        return fake.error;
    if (strcmp(host, fake.host) != 0)
        return EAI_NONAME;
    snprintf(words, sizeof words, "%s", fake.addresses);
    struct addrinfo *first = NULL, **end = &first;
    for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
        struct bki_address_spec spec;
        struct fake_answer *answer = calloc(1, sizeof *answer);
        if (!answer || bki_address_parse(&spec, w) < 0 || spec.is_name)
            abort();
        answer->address = spec.address;
        answer->info = (struct addrinfo){.ai_family = spec.address.any.sa_family,
                                         .ai_socktype = SOCK_STREAM,
                                         .ai_addr = &answer->address.any,
                                         .ai_addrlen = spec.address.len};
        *end = &answer->info;
        end = &answer->info.ai_next;
    }
    *out = first;
    return first ? 0 : EAI_NONAME;
}

static int fake_getnameinfo(const struct sockaddr *address, socklen_t len, char *host,
                            socklen_t host_size, char *port, socklen_t port_size, int flags)
{
    (void)address, (void)len, (void)port, (void)port_size;
    __atomic_add_fetch(&fake.n_asked, 1, __ATOMIC_SEQ_CST);
    if (fake.held)
        sem_wait(fake.held);
    if (!fake.name)
        return flags & NI_NAMEREQD ? EAI_NONAME : 0;
    snprintf(host, host_size, "%s", fake.name);
    return 0;
}

static inline void fake_names(const char *host, const char *addresses)
{
    memset(&fake, 0, sizeof fake);
    fake.host = host;
    snprintf(fake.addresses, sizeof fake.addresses, "%s", addresses);
    bki_resolver = (struct bki_resolver){fake_getaddrinfo, fake_freeaddrinfo, fake_getnameinfo};
}

static inline void real_names(void)
{
    bki_resolver = (struct bki_resolver){getaddrinfo, freeaddrinfo, getnameinfo};
}

#endif
