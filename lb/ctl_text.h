#ifndef LB_CTL_TEXT_H
#define LB_CTL_TEXT_H
#include "lb/ctl_args.h"
#include <jansson.h>
/*
 * Answers as a person reads them: columns two or more spaces apart, '-' where
 * there is nothing. Pure. What is not as expected of the document prints as '-'.
 */
char *ctl_text(enum ctl_command command, const json_t *document);      /* of malloc(), yours; NULL: no memory */
/* In place: control characters but line end and tab become '?', so that no name steers the terminal. */
char *ctl_text_clean(char *text);
#endif
