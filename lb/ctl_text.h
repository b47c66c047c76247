#ifndef LB_CTL_TEXT_H
#define LB_CTL_TEXT_H
#include "lb/ctl_args.h"
#include <jansson.h>
#include <stdio.h>
/*
 * Answers as a person reads them: columns two or more spaces apart, '-' where
 * there is nothing. Pure. What is not as expected of the document prints as '-'.
 */
void ctl_text_print(enum ctl_command command, const json_t *document, FILE *to);
#endif
