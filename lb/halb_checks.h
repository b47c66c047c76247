#ifndef LB_HALB_CHECKS_H
#define LB_HALB_CHECKS_H
#include "lb/daemon.h"
/* The health thread as the one who checks the instances of a generation. Its file alone knows both lb and health. */
extern const struct daemon_checks halb_checks;
#endif
