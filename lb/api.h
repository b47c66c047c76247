#ifndef LB_API_H
#define LB_API_H
#include "common/span.h"
#include <stdbool.h>
#include <stddef.h>
/*
 * The JSON interface: a request's parts in, an answer out. No I/O and no state
 * of its own; reads the generation in force and changes it through control.
 * Main thread.
 *
 * GET  /v1/load-balancers                            list of balancers, each as the next
 * GET  /v1/load-balancers/LB                         {load_balancer, scheme, dns_name, in_service, registered, listeners, instances}
 * GET  /v1/load-balancers/LB/instances               list of instances, each as the next
 * GET  /v1/load-balancers/LB/instances/ID            {load_balancer, instance, state, reason_code, description, since, address,
 *                                                     port, zone, admin, last_check}
 * POST /v1/load-balancers/LB/instances/register      {"instances":[ID...]} -> {load_balancer, instances}: those registered now
 * POST /v1/load-balancers/LB/instances/deregister    the same
 * POST /v1/load-balancers/LB/health-check            any of {target, interval, timeout, unhealthy_threshold, healthy_threshold},
 *                                                    text as in the file or numbers -> all of them
 * POST /v1/load-balancers/LB/instances/ID/state      {"state":"auto|in|out|drain"} -> the instance
 * GET  /v1/config                                    {"config": text that halb -c accepts}
 * GET  /v1/security-groups/G?format=nft              text/plain, for nft -f
 *
 * `port` is the instance port of the balancer's first listener. An instance of the inventory that is not registered with LB is
 * OutOfService since null.
 */
struct control;

#define API_TARGET_MAX 2048         /* bytes of a request's target */

struct api_request {                /* spans are borrowed; those with ptr NULL: the field did not come */
    struct span method, target;     /* target in origin form */
    struct span host, origin, content_type;
    struct span body;
};

struct api_answer {
    unsigned status;
    const char *content_type;       /* constant */
    const char *allow;              /* constant: the methods that 405 must name; else NULL */
    char *body;                     /* of malloc(), yours; NULL: no memory */
    size_t body_len;
};

void api_serve(struct control *control, const struct api_request *request, struct api_answer *ret);
/* {"error":{"code","message"}}, for what is refused before there is a request; code is `status` in words. */
void api_refuse(unsigned status, const char *message, struct api_answer *ret);
const char *api_phrase(unsigned status);
#endif
