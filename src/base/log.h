/* What plait has to say of its own accord: reports of deadlocks. See include/plait/log.h. */
#ifndef PL_BASE_LOG_H
#define PL_BASE_LOG_H

/* Hands a report, whole lines, to the program's log function. errno is left alone. */
void pl_log(const char *text);

#endif
