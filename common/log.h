#ifndef COMMON_LOG_H
#define COMMON_LOG_H
/*
 * One line an event, to standard error, written by one write(2): lines of
 * several threads never mix. Leaves return errors and do not log; whoever
 * decides logs, once. Any thread; never blocks for long, never fails.
 */
enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

void log_open(enum log_level most);       /* lines above this level are dropped */
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#endif
