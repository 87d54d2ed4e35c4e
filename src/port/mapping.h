/* What kind of memory an address is. Slow; for error paths. */
#ifndef PL_PORT_MAPPING_H
#define PL_PORT_MAPPING_H

#include <stdbool.h>

/* Whether other processes may see writes to this address (its mapping is MAP_SHARED). False where
 * /proc cannot tell. */
bool pl_mapping_is_shared(const void *address);

#endif
