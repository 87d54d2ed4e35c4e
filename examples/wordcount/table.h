/* table - how often each word occurs.
 *
 * A worker fills a table in private memory, then packs it into one block of the arena, where every
 * process of the family can read it. A block is divided into PARTS by the words' hashes: a word is in
 * the same part of every block. So blocks can be merged part by part, by many workers at once. */
#ifndef WORDCOUNT_TABLE_H
#define WORDCOUNT_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WORD_MOST = 255, /* bytes of a word; its length fits one byte */
    PARTS = 64,
};

/* Where the words lie, each after a byte with its length, and open addressing over them.
 * All zero is an empty table. */
struct table {
    struct slot *slots;
    size_t n_slots; /* a power of two, or 0 */
    size_t distinct;
    uint64_t total; /* words counted, repetitions included */
    unsigned char *text;
    size_t text_size, text_used;
};

/* A packed table: for each word its count (7 bits a byte, the last below 128), length and bytes. */
struct block {
    uint64_t total;
    uint64_t distinct;
    uint32_t start[PARTS + 1]; /* of each part's records, and their end */
    unsigned char records[];
};

/* A word and its count. The word lies in the table or block, without a zero at its end. */
struct entry {
    uint64_t count;
    const char *word;
    uint8_t length;
    uint8_t part;
};

enum table_order {
    TABLE_ANY,    /* within a part as it comes */
    TABLE_SORTED, /* within a part the most frequent first, equals by their bytes */
};

/* Adds `count` occurrences of a word. 0, or PLAIT_ENOMEM with the table unchanged. */
int table_add(struct table *table, const char *word, size_t length, uint64_t count);

/* Adds a part of a block. 0, or PLAIT_ENOMEM: some of it may have been added then. */
int table_merge(struct table *table, const struct block *block, int part);

/* Writes the table into a new block of the arena, to be freed with plait_free. 0 with *ret set, or
 * PLAIT_ENOMEM. */
int table_pack(const struct table *table, enum table_order order, struct block **ret);

void table_free(struct table *table);

/* Reads the record at *at into *ret and steps behind it. */
void block_read(const unsigned char **at, struct entry *ret);

/* The order of TABLE_SORTED, for qsort. */
int entry_compare(const void *a, const void *b);

#endif
