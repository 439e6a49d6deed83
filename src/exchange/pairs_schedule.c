/* Who meets whom in which round. */
#include <stdlib.h>

#include "moe/pairs.h"
#include "moe/system.h"

static size_t circle_rounds(size_t players)
{
    return players < 2 ? 0 : players - 1 + players % 2;
}

/* The player itself where it rests. */
static size_t circle_partner(size_t players, size_t round, size_t player)
{
    const size_t odd = players - 1 + players % 2; /* those on the circle */
    if (player == odd) { /* an even number's last: whose double is the round */
        return round * ((odd + 1) / 2) % odd;
    }
    const size_t partner = (round + odd - player) % odd;
    return partner == player && players % 2 == 0 ? odd : partner;
}

/* Numbers of nodes may have gaps: hosts are counted in order of their lowest ranks. */
static void number_hosts(moe_pair_schedule_t *s, const size_t *node)
{
    for (size_t r = 0; r < s->ranks; r++) {
        s->host[r] = s->hosts;
        s->slot[r] = 0;
        for (size_t other = r; other-- > 0;) {
            if (node[other] == node[r]) {
                s->host[r] = s->host[other];
                s->slot[r] = s->slot[other] + 1;
                break;
            }
        }
        s->hosts += s->host[r] == s->hosts;
        s->slots = s->slot[r] >= s->slots ? s->slot[r] + 1 : s->slots;
    }
}

moe_status_t moe_pair_schedule_create(const size_t *node, size_t ranks, moe_pair_schedule_t *out,
                                      moe_error_t *error)
{
    moe_pair_schedule_t s = {.ranks = ranks};
    moe_status_t status =
        moe_alloc("a schedule of pairs", ranks, 2 * sizeof *s.host, (void **)&s.host, error);
    if (status != MOE_OK) {
        return status;
    }
    s.slot = s.host + ranks;
    number_hosts(&s, node);
    status = moe_alloc("a schedule of pairs", s.hosts, s.slots * sizeof *s.member,
                       (void **)&s.member, error);
    if (status != MOE_OK) {
        free(s.host);
        return status;
    }
    for (size_t i = 0; i < s.hosts * s.slots; i++) {
        s.member[i] = ranks;
    }
    for (size_t r = 0; r < ranks; r++) {
        s.member[s.host[r] * s.slots + s.slot[r]] = r;
    }
    s.rounds = circle_rounds(s.hosts) * s.slots + circle_rounds(s.slots);
    *out = s;
    return MOE_OK;
}

void moe_pair_schedule_destroy(moe_pair_schedule_t *schedule)
{
    free(schedule->host);
    free(schedule->member);
    *schedule = (moe_pair_schedule_t){0};
}

size_t moe_pair_schedule_partner(const moe_pair_schedule_t *schedule, size_t round, size_t rank)
{
    const size_t between = circle_rounds(schedule->hosts) * schedule->slots;
    const size_t slots = schedule->slots, host = schedule->host[rank];
    size_t other = host, slot = schedule->slot[rank];
    if (round < between) {
        const size_t shift = round % slots;
        other = circle_partner(schedule->hosts, round / slots, host);
        slot = (slot + (host < other ? shift : slots - shift)) % slots;
        if (other == host) {
            return rank;
        }
    } else {
        slot = circle_partner(slots, round - between, slot);
    }
    const size_t partner = schedule->member[other * slots + slot];
    return partner == schedule->ranks ? rank : partner;
}

bool moe_pair_schedule_first(const moe_pair_schedule_t *schedule, size_t rank, size_t partner)
{
    const size_t mine = schedule->host[rank], other = schedule->host[partner];
    return mine != other ? mine < other : rank < partner;
}
