/* SPDX-License-Identifier: MIT
 * Tests of the intrusive list and FIFO. */
#include "base/list.h"

#include "tests/check.h"

struct item {
    int value;
    struct bki_list link;
    struct bki_fifo_node queued;
};

static struct item items[8];

static void reset_items(void)
{
    memset(items, 0, sizeof items);
    for (int i = 0; i < 8; i++)
        items[i].value = i;
}

/* The list's values as digits, read forwards; "broken" when reading backwards says otherwise. */
static const char *list_text(const struct bki_list *list)
{
    static char text[16], back[16];
    size_t n = 0, m = 0;
    struct bki_list *node;
    for (node = bki_list_first(list); node && n < 15; node = bki_list_next(list, node))
        text[n++] = (char)('0' + bki_container(node, struct item, link)->value);
    for (node = bki_list_last(list); node && m < 15; node = bki_list_prev(list, node))
        back[m++] = (char)('0' + bki_container(node, struct item, link)->value);
    text[n] = '\0';
    for (size_t i = 0; i < n; i++)
        if (m != n || text[i] != back[n - 1 - i])
            return "broken";
    return text;
}

static void test_list_order(void)
{
    struct bki_list list;
    reset_items();
    bki_list_init(&list);
    CHECK(bki_list_empty(&list));
    CHECK(bki_list_first(&list) == NULL && bki_list_last(&list) == NULL);
    CHECK(bki_list_pop(&list) == NULL);
    bki_list_push_back(&list, &items[1].link);
    bki_list_push_back(&list, &items[2].link);
    bki_list_push_front(&list, &items[0].link);
    bki_list_insert_after(&items[1].link, &items[5].link);
    CHECK_STR(list_text(&list), "0152");
    CHECK(!bki_list_empty(&list));
    CHECK(bki_list_pop(&list) == &items[0].link);
    CHECK_STR(list_text(&list), "152");
}

static void test_list_remove_anywhere(void)
{
    struct bki_list list;
    reset_items();
    bki_list_init(&list);
    for (int i = 0; i < 5; i++) {
        CHECK(!bki_list_linked(&items[i].link));
        bki_list_push_back(&list, &items[i].link);
        CHECK(bki_list_linked(&items[i].link));
    }
    bki_list_remove(&items[2].link);
    CHECK(!bki_list_linked(&items[2].link));
    CHECK_STR(list_text(&list), "0134");
    bki_list_remove(&items[0].link);
    bki_list_remove(&items[4].link);
    CHECK_STR(list_text(&list), "13");
    bki_list_push_back(&list, &items[2].link); /* a removed node can go in again */
    CHECK_STR(list_text(&list), "132");
    bki_list_remove(&items[1].link);
    bki_list_remove(&items[3].link);
    bki_list_remove(&items[2].link);
    CHECK(bki_list_empty(&list));
}

static void test_list_append(void)
{
    struct bki_list a, b;
    reset_items();
    bki_list_init(&a);
    bki_list_init(&b);
    bki_list_append(&a, &b);
    CHECK(bki_list_empty(&a));
    bki_list_push_back(&b, &items[0].link);
    bki_list_push_back(&b, &items[1].link);
    bki_list_append(&a, &b);
    CHECK_STR(list_text(&a), "01");
    CHECK(bki_list_empty(&b));
    bki_list_push_back(&b, &items[2].link);
    bki_list_append(&a, &b);
    CHECK_STR(list_text(&a), "012");
    bki_list_append(&a, &b);
    CHECK_STR(list_text(&a), "012");
}

static int fifo_pop(struct bki_fifo *fifo)
{
    struct bki_fifo_node *node = bki_fifo_pop(fifo);
    return node ? bki_container(node, struct item, queued)->value : -1;
}

static void test_fifo(void)
{
    struct bki_fifo fifo = {0};
    reset_items();
    CHECK(bki_fifo_empty(&fifo));
    CHECK_EQ(fifo_pop(&fifo), -1);
    for (int round = 0; round < 2; round++) {
        bki_fifo_push(&fifo, &items[1].queued);
        bki_fifo_push(&fifo, &items[2].queued);
        bki_fifo_push_front(&fifo, &items[0].queued);
        CHECK(bki_fifo_first(&fifo) == &items[0].queued);
        struct bki_fifo moved = fifo;
        for (int i = 0; i < 3; i++)
            CHECK_EQ(fifo_pop(&moved), i);
        CHECK(bki_fifo_empty(&moved));
        fifo = moved;
    }
    bki_fifo_push_front(&fifo, &items[3].queued);
    bki_fifo_push(&fifo, &items[4].queued);
    CHECK_EQ(fifo_pop(&fifo), 3);
    CHECK_EQ(fifo_pop(&fifo), 4);
    CHECK_EQ(fifo_pop(&fifo), -1);
}

static void test_fifo_append(void)
{
    struct bki_fifo a = {0}, b = {0};
    reset_items();
    bki_fifo_append(&a, &b);
    CHECK(bki_fifo_empty(&a));
    bki_fifo_push(&b, &items[0].queued);
    bki_fifo_append(&a, &b);
    CHECK(bki_fifo_empty(&b));
    bki_fifo_push(&b, &items[2].queued);
    bki_fifo_push(&a, &items[1].queued);
    bki_fifo_append(&a, &b);
    bki_fifo_push(&a, &items[3].queued);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(fifo_pop(&a), i);
    CHECK_EQ(fifo_pop(&a), -1);
}

CHECK_MAIN(TEST(test_list_order), TEST(test_list_remove_anywhere), TEST(test_list_append),
           TEST(test_fifo), TEST(test_fifo_append))
