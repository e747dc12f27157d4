/* SPDX-License-Identifier: MIT
 * Hubs: one message for many WebSocket connections. */
#include <stdio.h>

#include "proto/ws_stream.h"
#include "rt/turn.h"

#define DEFAULT_BACKLOG 64

struct bk_ws_hub {
    enum bk_ws_slow slow;
    size_t backlog;
    size_t n;
    uint64_t missed;
    struct bki_list members; /* of struct member */
    struct bki_list lagging; /* members that the message under way still waits for */
    bool sending;            /* a task is in bk_ws_hub_send, and may suspend */
    struct bki_list send_line;
    struct bki_list room_line; /* the sender, until a lagging member has room or is gone */
    struct bki_ws_deflater *deflater;
};

/* A connection's place in a hub. */
struct member {
    struct bki_list in_hub; /* in members or lagging */
    struct bki_list in_ws;
    struct bk_ws_hub *hub;
    struct bk_ws *ws;
    bool lags;
};

static void describe_hub(const void *object, char *buf, size_t size)
{
    const struct bk_ws_hub *hub = object;
    snprintf(buf, size, "of %zu connections", hub->n);
}

static const struct bki_wait_kind wait_hub = {.what = "hub send", .describe = describe_hub};

/* ---- Members ---- */

int bk_ws_hub_new(bk_ws_hub **out, const bk_ws_hub_opts *opts)
{
    struct bk_ws_hub *hub = bki_zalloc(sizeof *hub);
    if (!hub)
        return bk_fail(-ENOMEM, "no memory for a hub");
    hub->slow = opts ? opts->slow : BK_WS_SLOW_DROP;
    hub->backlog = opts && opts->backlog ? opts->backlog : DEFAULT_BACKLOG;
    bki_list_init(&hub->members);
    bki_list_init(&hub->lagging);
    bki_list_init(&hub->send_line);
    bki_list_init(&hub->room_line);
    *out = hub;
    return 0;
}

static struct member *first_of(struct bki_list *list)
{
    struct bki_list *n = bki_list_first(list);
    return n ? bki_container(n, struct member, in_hub) : NULL;
}

static void remove_member(struct member *m)
{
    struct bk_ws_hub *hub = m->hub;
    bki_list_remove(&m->in_hub);
    bki_list_remove(&m->in_ws);
    hub->n--;
    if (m->lags)
        bki_grant_all(&hub->room_line, 0);
    bki_free(m);
}

void bk_ws_hub_free(bk_ws_hub **hubp)
{
    struct bk_ws_hub *hub = *hubp;
    struct member *m;
    *hubp = NULL;
    if (!hub)
        return;
    while ((m = first_of(&hub->members)))
        remove_member(m);
    bki_ws_deflater_free(&hub->deflater);
    bki_free(hub);
}

static struct member *find(const struct bk_ws_hub *hub, struct bk_ws *ws)
{
    struct bki_list *n = bki_list_first(&ws->members);
    for (; n; n = bki_list_next(&ws->members, n)) {
        struct member *m = bki_container(n, struct member, in_ws);
        if (m->hub == hub)
            return m;
    }
    return NULL;
}

int bk_ws_hub_add(bk_ws_hub *hub, bk_ws *ws)
{
    if (find(hub, ws))
        return bk_fail(-EALREADY, "%s: in this hub already", bk_ws_peer(ws));
    struct member *m = bki_alloc(sizeof *m);
    if (!m)
        return bk_fail(-ENOMEM, "no memory for a place in a hub");
    *m = (struct member){.hub = hub, .ws = ws};
    bki_list_push_back(&hub->members, &m->in_hub);
    bki_list_push_back(&ws->members, &m->in_ws);
    hub->n++;
    return 0;
}

void bk_ws_hub_remove(bk_ws_hub *hub, bk_ws *ws)
{
    struct member *m = find(hub, ws);
    if (m)
        remove_member(m);
}

void bki_ws_leave_hubs(struct bk_ws *ws)
{
    struct bki_list *n;
    while ((n = bki_list_first(&ws->members)))
        remove_member(bki_container(n, struct member, in_ws));
}

void bki_ws_tell_hubs(struct bk_ws *ws)
{
    struct bki_list *n = bki_list_first(&ws->members);
    for (; n; n = bki_list_next(&ws->members, n)) {
        struct member *m = bki_container(n, struct member, in_ws);
        if (m->lags)
            bki_grant_all(&m->hub->room_line, 0);
    }
}

size_t bk_ws_hub_count(const bk_ws_hub *hub)
{
    return hub->n;
}

uint64_t bk_ws_hub_missed(const bk_ws_hub *hub)
{
    return hub->missed;
}

/* ---- Frames ---- */

/* A message under way, in the forms that its connections want; each made when the first one does.
 */
struct message {
    struct bk_ws_hub *hub;
    bk_span payload;
    uint8_t kind;
    struct bki_ws_shared *plain, *zipped;
    int n; /* connections it goes to */
};

static struct bki_ws_shared *new_frame(size_t payload_len)
{
    struct bki_ws_shared *frame = bki_alloc(sizeof *frame + BKI_WS_HEAD_MAX + payload_len);
    if (frame)
        *frame = (struct bki_ws_shared){.refs = 1};
    return frame;
}

/* Puts the header in front of a payload that lies behind room for the longest one. */
static void add_head(struct bki_ws_shared *frame, struct bki_ws_frame f)
{
    char head[BKI_WS_HEAD_MAX];
    size_t n = bki_ws_frame_write(head, &f);
    memmove(frame->bytes + n, frame->bytes + BKI_WS_HEAD_MAX, f.len);
    memcpy(frame->bytes, head, n);
    frame->len = n + f.len;
}

static struct bki_ws_shared *make_plain(const struct message *m, bool masked, uint32_t key)
{
    struct bki_ws_shared *frame = new_frame(m->payload.len);
    if (!frame)
        return NULL;
    bki_ws_mask(frame->bytes + BKI_WS_HEAD_MAX, m->payload.data, m->payload.len, key, 0);
    add_head(
        frame,
        (struct bki_ws_frame){
            .len = m->payload.len, .opcode = m->kind, .fin = true, .masked = masked, .key = key});
    return frame;
}

/* Compresses in steps into out[0..room).  Returns the length; 0: it is longer than that. */
static size_t compress(struct bki_ws_deflater *deflater, bk_span in, char *out, size_t room)
{
    size_t n = 0, made, before;
    bool done = false;
    while (!done && room - n >= BKI_WS_DEFLATE_ROOM) {
        before = in.len;
        done = bki_ws_deflate(deflater, &in.data, &in.len, true, out + n, room - n, &made);
        n += made;
        bki_work((before - in.len) * BKI_WS_DEFLATE_WEIGHT);
    }
    return done ? n : 0;
}

/* Compressed by itself, so that it can be sent whatever a connection has sent before. */
static struct bki_ws_shared *make_zipped(const struct message *m)
{
    struct bk_ws_hub *hub = m->hub;
    size_t room = m->payload.len + m->payload.len / 8 + 64, made;
    struct bki_ws_shared *frame = new_frame(room);
    if (!frame || (!hub->deflater && bki_ws_deflater_new(&hub->deflater, BKI_WS_SEND_BITS,
                                                         BKI_WS_LEVEL, BKI_WS_MEM_LEVEL) < 0)) {
        bki_free(frame);
        return NULL;
    }
    bki_ws_deflater_reset(hub->deflater);
    made = compress(hub->deflater, m->payload, frame->bytes + BKI_WS_HEAD_MAX, room);
    if (made == 0) {
        bki_free(frame);
        return NULL;
    }
    frame->zipped = true;
    add_head(frame, (struct bki_ws_frame){
                        .len = made, .opcode = m->kind, .rsv = BKI_WS_RSV1, .fin = true});
    return frame;
}

static bool wants_zipped(const struct bk_ws *ws, size_t len)
{
    return ws->zip && len >= ws->zip->min_size && ws->zip->terms.send_bits >= BKI_WS_SEND_BITS;
}

static int give_masked(struct message *m, struct bk_ws *ws)
{
    uint32_t key;
    int r = bki_ws_key_take(ws->keys, &key);
    struct bki_ws_shared *frame = r == 0 ? make_plain(m, true, key) : NULL;
    if (!frame)
        return r < 0 ? r : -ENOMEM;
    r = bki_ws_outbox_give(ws, frame, m->hub->backlog);
    bki_ws_shared_unref(frame);
    return r;
}

static int give(struct message *m, struct bk_ws *ws)
{
    if (ws->conn.role == BKI_WS_CLIENT)
        return give_masked(m, ws);
    bool zipped = m->zipped && wants_zipped(ws, m->payload.len);
    if (!zipped && !m->plain)
        m->plain = make_plain(m, false, 0);
    struct bki_ws_shared *frame = zipped ? m->zipped : m->plain;
    return frame ? bki_ws_outbox_give(ws, frame, m->hub->backlog) : -ENOMEM;
}

/* ---- Sending ---- */

/* Offers the message to one member.  0, or -ENOMEM. */
static int offer(struct message *m, struct member *to)
{
    struct bk_ws_hub *hub = m->hub;
    int r = give(m, to->ws);
    to->lags = r == BKI_WS_FULL && hub->slow == BK_WS_SLOW_WAIT;
    if (r == BKI_WS_GIVEN)
        m->n++;
    if (r != BKI_WS_FULL || to->lags)
        return r < 0 ? r : 0;
    hub->missed++;
    if (hub->slow == BK_WS_SLOW_DROP)
        bki_ws_give_up(to->ws, -BK_ELIMIT);
    return 0;
}

/* Offers it to all in the list; those who must wait are in hub->lagging afterwards, the others in
 * hub->members. */
static int offer_all(struct message *m, struct bki_list *list)
{
    struct bk_ws_hub *hub = m->hub;
    struct bki_list todo;
    struct member *to;
    int r = 0;
    bki_list_init(&todo);
    bki_list_append(&todo, list);
    while ((to = first_of(&todo))) {
        int one = offer(m, to);
        r = one < 0 ? one : r;
        bki_list_remove(&to->in_hub);
        bki_list_push_back(to->lags ? &hub->lagging : &hub->members, &to->in_hub);
    }
    return r;
}

static void forget_lagging(struct bk_ws_hub *hub)
{
    struct member *m;
    while ((m = first_of(&hub->lagging))) {
        m->lags = false;
        bki_list_remove(&m->in_hub);
        bki_list_push_back(&hub->members, &m->in_hub);
    }
}

/* Before it is offered to anybody, since it may take several turns of the loop.  Without memory for
 * it, or when it would be longer, the message goes out as it is. */
static void compress_for_all(struct message *m)
{
    struct bki_list *members = &m->hub->members, *at = bki_list_first(members);
    for (; at; at = bki_list_next(members, at)) {
        const struct member *member = bki_container(at, struct member, in_hub);
        if (member->ws->conn.role == BKI_WS_SERVER && wants_zipped(member->ws, m->payload.len)) {
            m->zipped = make_zipped(m);
            return;
        }
    }
}

static int send_in_turn(struct message *m)
{
    struct bk_ws_hub *hub = m->hub;
    compress_for_all(m);
    int r = offer_all(m, &hub->members);
    while (r == 0 && !bki_list_empty(&hub->lagging)) {
        struct bki_waiter w;
        r = bki_wait(&hub->room_line, &w, &wait_hub, hub);
        if (r == 0)
            r = offer_all(m, &hub->lagging);
    }
    forget_lagging(hub);
    return r;
}

static int send_when_due(struct message *m)
{
    struct bk_ws_hub *hub = m->hub;
    struct bki_waiter w;
    int r = bki_check_cancel();
    if (r == 0 && hub->sending)
        r = bki_wait(&hub->send_line, &w, &wait_hub, hub);
    if (r < 0)
        return r;
    hub->sending = true;
    r = send_in_turn(m);
    if (!bki_grant_first(&hub->send_line, 0))
        hub->sending = false;
    return r;
}

int bk_ws_hub_send(bk_ws_hub *hub, bk_msg **msg)
{
    struct message m = {
        .hub = hub,
        .payload = bk_msg_span(*msg),
        .kind = bk_msg_kind_get(*msg) == BK_TEXT ? BKI_WS_TEXT : BKI_WS_BINARY,
    };
    if (m.kind == BKI_WS_TEXT && !bki_ws_is_text(m.payload))
        return bk_fail(-EINVAL, "a text message that is not UTF-8: send it as binary");
    int r = send_when_due(&m);
    bki_ws_shared_unref(m.plain);
    bki_ws_shared_unref(m.zipped);
    if (r == -ENOMEM)
        return bk_fail(r, "no memory to send a message to all of %zu connections", hub->n);
    if (r < 0)
        return r;
    bk_msg_free(msg);
    return m.n;
}
