/* SPDX-License-Identifier: MIT
 * Names to addresses and back: order, families, errors, cancels. */
#include <beck/resolve.h>

#include "base/alloc.h"
#include "net/address.h"
#include "net/net_test.h"
#include "net/resolver_fixture.h"

/* Compares what name resolves to, separated by spaces. */
static void check_resolves(const char *name, enum bk_family family, const char *want)
{
    bk_addresses *list = NULL;
    char all[400] = "";
    int n = bk_resolve(&list, name, &(bk_resolve_opts){.family = family});
    CHECK(n > 0);
    CHECK_EQ(bk_addresses_count(list), n);
    for (int i = 0; i < n; i++) {
        size_t len = strlen(all);
        snprintf(all + len, sizeof all - len, "%s%s", i ? " " : "", bk_addresses_get(list, i));
    }
    CHECK(bk_addresses_get(list, n) == NULL);
    CHECK(bk_addresses_get(list, -1) == NULL);
    bk_addresses_free(&list);
    CHECK(list == NULL);
    bk_addresses_free(&list);
    CHECK_STR(all, want);
}

LOOP_TEST(P4_numeric_addresses_are_not_looked_up)
{
    fake_names("none", "");
    check_resolves("127.0.0.1:80", BK_ANY_FAMILY, "127.0.0.1:80");
    check_resolves("[::1]:0", BK_IPV6, "[::1]:0");
    check_resolves(":80", BK_ANY_FAMILY, "[::]:80 0.0.0.0:80");
    check_resolves(":80", BK_IPV4, "0.0.0.0:80");
    check_resolves("unix:/x", BK_ANY_FAMILY, "unix:/x");
    CHECK_EQ(fake.n_asked, 0);
    real_names();
}

LOOP_TEST(P4_a_name_is_looked_up_on_another_thread)
{
    fake_names("many", "10.0.0.1:80 [fd00::1]:80 10.0.0.1:80 [fd00::1]:80 10.0.0.2:80");
    check_resolves("many:80", BK_ANY_FAMILY, "10.0.0.1:80 [fd00::1]:80 10.0.0.2:80");
    CHECK_EQ(fake.last_family, AF_UNSPEC);
    check_resolves("many:80", BK_IPV6, "10.0.0.1:80 [fd00::1]:80 10.0.0.2:80");
    CHECK_EQ(fake.last_family, AF_INET6); /* the resolver itself chooses */
    CHECK_EQ(fake.n_asked, 2);
    CHECK_EQ(fake.n_freed, 2);
    real_names();
}

/* RFC 6761 6.3. */
LOOP_TEST(P4_localhost_is_this_host_without_asking)
{
    static const char *const names[] = {"localhost:7",   "localhost.:7",     "LocalHost:7",
                                        "a.localhost:7", "a.b.localhost.:7", ".localhost:7"};
    fake_names("localhost", "10.0.0.1:7");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        check_resolves(names[i], BK_ANY_FAMILY, "127.0.0.1:7 [::1]:7");
        check_resolves(names[i], BK_IPV4, "127.0.0.1:7");
        check_resolves(names[i], BK_IPV6, "[::1]:7");
    }
    CHECK_EQ(fake.n_asked, 0);
    static const char *const others[] = {"notlocalhost:7", "localhost.example:7", "localhost..:7",
                                         "local:7"};
    bk_addresses *list = NULL;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        CHECK_EQ(bk_resolve(&list, others[i], NULL), -BK_ERESOLVE);
    CHECK_EQ(fake.n_asked, 4);
    real_names();
}

/* What it says is the machine's affair. */
LOOP_TEST(P4_the_systems_resolver_is_asked)
{
    bk_addresses *list = NULL;
    char host[200] = "", address[sizeof host + 2], name[BK_HOST_MAX];
    gethostname(host, sizeof host - 1);
    snprintf(address, sizeof address, "%s:7", host);
    int n = bk_resolve(&list, address, NULL);
    CHECK(n > 0 || n == -BK_ERESOLVE);
    bk_addresses_free(&list);
    n = bk_resolve_name("127.0.0.1:0", name, sizeof name);
    CHECK(n == 0 ? name[0] != '\0' : n == -BK_ERESOLVE);
}

LOOP_TEST(what_cannot_be_resolved_is_said)
{
    bk_addresses *list = NULL;
    fake_names("one", "10.0.0.1:80");
    CHECK_EQ(bk_resolve(&list, "other:80", NULL), -BK_ERESOLVE);
    CHECK(strncmp(bk_errmsg(), "resolve 'other': ", 17) == 0);
    CHECK_EQ(bk_resolve(&list, "no port", NULL), -BK_EURL);
    CHECK_EQ(bk_resolve(&list, "[::1]:80", &(bk_resolve_opts){.family = BK_IPV4}), -BK_ERESOLVE);
    fake.error = EAI_MEMORY;
    CHECK_EQ(bk_resolve(&list, "one:80", NULL), -ENOMEM);
    fake.error = EAI_AGAIN;
    CHECK_EQ(bk_resolve(&list, "one:80", NULL), -BK_ERESOLVE);
    CHECK(list == NULL);
    real_names();
}

LOOP_TEST(P4_an_address_has_a_name)
{
    char name[BK_HOST_MAX] = "before", small[4];
    fake_names("none", "");
    CHECK_EQ(bk_resolve_name("10.0.0.1:0", name, sizeof name), -BK_ERESOLVE);
    CHECK(strncmp(bk_errmsg(), "resolve '10.0.0.1:0': ", 22) == 0);
    CHECK_STR(name, "before");
    fake.name = "host.example";
    CHECK_EQ(bk_resolve_name("[fd00::1]:80", name, sizeof name), 0);
    CHECK_STR(name, "host.example");
    CHECK_EQ(bk_resolve_name("10.0.0.1:0", small, sizeof small), -ENOSPC);
    CHECK_EQ(bk_resolve_name("name:80", name, sizeof name), -BK_EURL);
    CHECK_EQ(bk_resolve_name(":80", name, sizeof name), -BK_EURL);
    CHECK_EQ(bk_resolve_name("unix:/x", name, sizeof name), -BK_EURL);
    real_names();
}

/* ---- Cancels ---- */

static int resolve_it(void *ctx)
{
    (void)ctx;
    bk_addresses *list = NULL;
    int n = bk_resolve(&list, "one:80", NULL);
    bk_addresses_free(&list);
    return n;
}

static int resolve_name(void *ctx)
{
    (void)ctx;
    char name[BK_HOST_MAX];
    return bk_resolve_name("10.0.0.1:0", name, sizeof name);
}

/* The answer comes after the task has gone: the thread frees it. */
LOOP_TEST(P4_a_cancelled_look_up_ends_alone)
{
    bk_fn *const calls[] = {resolve_it, resolve_name};
    sem_t held;
    sem_init(&held, 0, 0);
    fake_names("one", "10.0.0.1:80 10.0.0.2:80");
    fake.name = "host.example";
    fake.held = &held;
    for (int i = 0; i < 2; i++) {
        bk_task *task = NULL;
        int r = 0;
        CHECK_EQ(bk_go(&task, calls[i], NULL, NULL), 0);
        while (__atomic_load_n(&fake.n_asked, __ATOMIC_SEQ_CST) == i)
            bk_yield();
        bk_task_cancel(task);
        CHECK_EQ(bk_task_wait(task, &r), 0);
        CHECK_EQ(r, -ECANCELED);
        int n_freed = __atomic_load_n(&fake.n_freed, __ATOMIC_SEQ_CST);
        bk_task_free(&task);
        sem_post(&held);
        CHECK(i > 0 || n_freed == 0);
    }
}

static void the_thread_has_freed_what_it_got(void)
{
    P4_a_cancelled_look_up_ends_alone();
    CHECK_EQ(fake.n_freed, 1); /* the run has waited for it */
    real_names();
}

CHECK_MAIN(TEST(P4_numeric_addresses_are_not_looked_up),
           TEST(P4_a_name_is_looked_up_on_another_thread),
           TEST(P4_localhost_is_this_host_without_asking), TEST(P4_the_systems_resolver_is_asked),
           TEST(what_cannot_be_resolved_is_said), TEST(P4_an_address_has_a_name),
           TEST(the_thread_has_freed_what_it_got))
