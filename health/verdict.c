/* ELB's rules for the health of an instance. */
#include "health/verdict.h"
#include <limits.h>

static struct verdict moved(struct verdict v, enum slot_state state, enum slot_why why)
{
    v.state = state;
    v.why = why;
    return v;
}

static struct verdict passed(struct verdict v, unsigned healthy)
{
    v.failures = 0;
    v.passes += v.passes < UINT_MAX;
    switch (v.state) {
    case SLOT_NEW:
        return moved(v, SLOT_IN_SERVICE, WHY_PASSED);
    case SLOT_OUT_OF_SERVICE:
        return v.passes >= healthy ? moved(v, SLOT_IN_SERVICE, WHY_PASSED) : moved(v, SLOT_OUT_OF_SERVICE, WHY_NOT_YET_PASSED);
    case SLOT_IN_SERVICE:
        return v;
    }
    return v;
}

/* One that is out stays "not yet passed" through a relapse until the threshold of failures is reached again. */
static struct verdict failed(struct verdict v, unsigned unhealthy)
{
    v.passes = 0;
    v.failures += v.failures < UINT_MAX;
    return v.failures >= unhealthy ? moved(v, SLOT_OUT_OF_SERVICE, WHY_FAILED) : v;
}

struct verdict verdict_fold(struct verdict verdict, enum check_reason result, struct thresholds thresholds)
{
    switch (result) {
    case CHECK_OK:
        return passed(verdict, thresholds.healthy);
    case CHECK_LOCAL:
    case CHECK_REASON_COUNT:
        return verdict;
    case CHECK_REFUSED:
    case CHECK_UNREACHABLE:
    case CHECK_TIMEOUT_CONNECT:
    case CHECK_TIMEOUT_RESPONSE:
    case CHECK_STATUS:
    case CHECK_NO_FRAMING:
    case CHECK_RESET:
    case CHECK_CLOSED_EARLY:
    case CHECK_MALFORMED:
        return failed(verdict, thresholds.unhealthy);
    }
    return verdict;
}
