#ifndef COMMON_BOARD_H
#define COMMON_BOARD_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/*
 * The one interface between health and lb. A slot is one registration (an
 * instance in a balancer). Health alone writes the measured state; the operator
 * alone writes the override; workers read both at each pick and keep no copy.
 * The way back is a hint: it can bring a check forward and decides nothing.
 * A slot is counted: each holder has one reference. All calls: any thread,
 * unless a writer is named.
 */
struct board;
struct slot;
struct ring;

/* Measured. NEW: registration in progress, no result yet, or failures below the threshold since. */
enum slot_state { SLOT_NEW, SLOT_IN_SERVICE, SLOT_OUT_OF_SERVICE };
/* Operator's. */
enum slot_admin { ADMIN_AUTO, ADMIN_IN, ADMIN_OUT, ADMIN_DRAIN };
const char *slot_admin_text(enum slot_admin admin);     /* "auto" "in" "out" "drain" */

/* Why a slot is in its state; ELB's ReasonCode and Description are tables over this (docs/HEALTH). */
enum slot_why {
    WHY_REGISTERING,            /* NEW */
    WHY_PASSED,                 /* IN_SERVICE */
    WHY_FAILED,                 /* OUT_OF_SERVICE: unhealthy threshold reached */
    WHY_NOT_YET_PASSED,         /* OUT_OF_SERVICE: successes below the healthy threshold since */
    WHY_ZONE_NOT_ENABLED        /* OUT_OF_SERVICE: no subnet of the balancer in its zone */
};

struct slot_status {
    enum slot_state state;
    enum slot_why why;
    uint64_t since_ms;          /* realtime */
};

/* The result of one check: NAME, text as `detail` shows it. */
#define CHECK_REASONS(X)                              \
    X(CHECK_OK, "ok")                                 \
    X(CHECK_REFUSED, "connection-refused")            \
    X(CHECK_UNREACHABLE, "unreachable")               \
    X(CHECK_TIMEOUT_CONNECT, "timeout-connect")       \
    X(CHECK_TIMEOUT_RESPONSE, "timeout-response")     \
    X(CHECK_STATUS, "status-NNN")                     \
    X(CHECK_NO_FRAMING, "no-framing")                 \
    X(CHECK_RESET, "reset")                           \
    X(CHECK_CLOSED_EARLY, "closed-early")             \
    X(CHECK_MALFORMED, "malformed")                   \
    X(CHECK_LOCAL, "local-error")     /* no descriptor, no memory, no source address: says nothing of the instance, does not count */

enum check_reason {
#define X(name, text) name,
    CHECK_REASONS(X)
#undef X
    CHECK_REASON_COUNT
};

struct check_record {
    uint64_t at_ms;             /* realtime: when it started */
    uint32_t duration_us;
    enum check_reason reason;   /* passed if CHECK_OK */
    uint16_t status;            /* HTTP status, if one came */
    int error;                  /* errno, if one was the cause */
};
#define CHECK_DETAIL_MAX 32
char *check_detail(const struct check_record *record, char text[CHECK_DETAIL_MAX]);     /* "ok", "status-503" ... */

#define SLOT_HISTORY 32

/* 0 and *ret, or -errno. Rings are woken at each change of state; `wake` adds one (before others run). */
int board_new(struct board **ret);                                      /* its memory stays until the last slot is gone, too */
void board_free(struct board **board);
int board_subscribe(struct board *board, struct ring *ring);            /* at most 256 */
void board_unsubscribe(struct board *board, struct ring *ring);
void board_wake(const struct board *board);                             /* every subscriber */
uint64_t board_changes(const struct board *board);                      /* grows before each wake: was it for a change, or for something else? */

/* A new slot with one reference, NEW since now. `zone_enabled` false: OUT_OF_SERVICE for good, never checked into service. */
struct slot *slot_new(struct board *board, bool zone_enabled);          /* NULL: no memory */
struct slot *slot_ref(struct slot *slot);
void slot_unref(struct slot **slot);

struct slot_status slot_status(const struct slot *slot);
enum slot_admin slot_admin(const struct slot *slot);
/* May it get new work: the override if there is one, else the measured state. One or two loads. */
bool slot_eligible(const struct slot *slot);
void slot_set_admin(struct slot *slot, enum slot_admin admin);          /* main alone; wakes subscribers */

/* Health alone. A change wakes subscribers. */
void slot_publish(struct slot *slot, struct slot_status status);
void slot_record(struct slot *slot, const struct check_record *record, bool first_result);     /* the first one wakes them too */
/* The newest record first; returns how many (<= SLOT_HISTORY, <= max). */
size_t slot_history(const struct slot *slot, struct check_record *records, size_t max);
uint64_t slot_checked_at_us(const struct slot *slot);   /* monotonic; 0 before the first */

/* Traffic saw the instance fail: asks for an extra check. Lossy; cheap enough for every failure. */
void slot_hint(struct slot *slot);
bool slot_take_hint(struct slot *slot);                 /* health alone */
void board_on_hint(struct board *board, struct ring *ring);             /* the ring woken by hints: health's; NULL: none */
#endif
