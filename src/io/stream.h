/* What stream.c, read.c, write.c and connect.c know of a stream. */
#ifndef PL_IO_STREAM_H
#define PL_IO_STREAM_H

#include <plait/stream.h>

#include "io/io.h"

struct plait_stream {
    struct pl_io io;
    bool is_tcp;   /* constant */
    bool restores; /* constant: it was blocking and is to be so again */
    int32_t
        broken; /* atomic: PLAIT_ECONNRESET and the like, once either side has met it; 0: not yet */
    uint32_t ended;       /* atomic: the reader has met the end. Reader writes, anyone reads */
    uint32_t half_closed; /* atomic: plait_write_eof was called */
    size_t limit;         /* constant */
    char *bytes; /* what was received and not read yet: [begin, end) of room. The reader's */
    size_t begin, end, room;
};

/* Frees it; of a closed stream, by whoever left last. */
void pl_stream_delete(plait_stream *stream);

/* What a call on the descriptor has failed with (errno), as a code; kept if the connection is gone with it. */
int pl_stream_failed(plait_stream *stream, int error);

#endif
