#include "table.h"

#include <plait/plait.h>
#include <stdlib.h>
#include <string.h>

struct slot {
    uint64_t count; /* 0: empty */
    uint32_t hash;
    uint32_t place; /* of the word's length byte in table->text */
};

enum { FIRST_SLOTS = 512, FIRST_TEXT = 4096 };

/* --- finding --- */

static uint64_t mix(uint64_t hash, uint64_t bytes)
{
    hash = (hash ^ bytes) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 32;
}

static uint32_t hash_of(const char *word, size_t length)
{
    uint64_t bytes, hash = length;
    for (; length >= sizeof bytes; word += sizeof bytes, length -= sizeof bytes) {
        memcpy(&bytes, word, sizeof bytes);
        hash = mix(hash, bytes);
    }
    bytes = 0;
    memcpy(&bytes, word, length);
    return (uint32_t)mix(hash, bytes);
}

/* The low bits choose the slot, the high ones the part. */
static uint8_t part_of(uint32_t hash)
{
    return (uint8_t)(hash >> 26);
}

_Static_assert(PARTS == UINT32_MAX / (1u << 26) + 1, "part_of gives 0 to PARTS - 1");

static bool is_at(const struct table *table, const struct slot *slot, uint32_t hash,
                  const char *word, size_t length)
{
    const unsigned char *there = table->text + slot->place;
    return slot->hash == hash && there[0] == length && memcmp(there + 1, word, length) == 0;
}

/* The word's slot, or the empty one where it belongs. Requires an empty slot. */
static struct slot *find(const struct table *table, uint32_t hash, const char *word, size_t length)
{
    size_t i = hash & (table->n_slots - 1);
    while (table->slots[i].count != 0 && !is_at(table, &table->slots[i], hash, word, length))
        i = (i + 1) & (table->n_slots - 1);
    return &table->slots[i];
}

/* --- growing --- */

static void move_slots(const struct table *table, struct slot *to, size_t n_to)
{
    for (size_t i = 0; i < table->n_slots; i++) {
        if (table->slots[i].count == 0)
            continue;
        size_t k = table->slots[i].hash & (n_to - 1);
        while (to[k].count != 0)
            k = (k + 1) & (n_to - 1);
        to[k] = table->slots[i];
    }
}

/* Room for one more word: at least a quarter of the slots stays empty. */
static int need_slot(struct table *table)
{
    if (table->distinct < table->n_slots / 4 * 3)
        return 0;
    size_t n = table->n_slots ? table->n_slots * 2 : FIRST_SLOTS;
    struct slot *slots = calloc(n, sizeof *slots);
    if (!slots)
        return PLAIT_ENOMEM;
    move_slots(table, slots, n);
    free(table->slots);
    table->slots = slots;
    table->n_slots = n;
    return 0;
}

static int need_text(struct table *table, size_t bytes)
{
    size_t size = table->text_size ? table->text_size : FIRST_TEXT;
    while (size - table->text_used < bytes)
        size *= 2;
    if (size == table->text_size)
        return 0;
    if (table->text_used + bytes > UINT32_MAX) /* a slot could not say where it is */
        return PLAIT_ENOMEM;
    unsigned char *text = realloc(table->text, size);
    if (!text)
        return PLAIT_ENOMEM;
    table->text = text;
    table->text_size = size;
    return 0;
}

static void store(struct table *table, struct slot *slot, uint32_t hash, const char *word,
                  size_t length)
{
    *slot = (struct slot){.hash = hash, .place = (uint32_t)table->text_used};
    table->text[table->text_used] = (unsigned char)length;
    memcpy(table->text + table->text_used + 1, word, length);
    table->text_used += length + 1;
    table->distinct++;
}

int table_add(struct table *table, const char *word, size_t length, uint64_t count)
{
    uint32_t hash = hash_of(word, length);
    int rc = need_slot(table);
    if (rc < 0)
        return rc;
    struct slot *slot = find(table, hash, word, length);
    if (slot->count == 0) {
        rc = need_text(table, length + 1);
        if (rc < 0)
            return rc;
        store(table, slot, hash, word, length);
    }
    slot->count += count;
    table->total += count;
    return 0;
}

void table_free(struct table *table)
{
    free(table->slots);
    free(table->text);
    *table = (struct table){0};
}

/* --- packing --- */

static size_t number_size(uint64_t number)
{
    size_t size = 1;
    while (number >>= 7)
        size++;
    return size;
}

static unsigned char *put_number(unsigned char *to, uint64_t number)
{
    for (; number >= 128; number >>= 7)
        *to++ = (unsigned char)(number | 128);
    *to++ = (unsigned char)number;
    return to;
}

static const unsigned char *get_number(const unsigned char *from, uint64_t *ret)
{
    uint64_t number = 0;
    int shift = 0;
    for (; *from >= 128; shift += 7)
        number |= (uint64_t)(*from++ & 127) << shift;
    *ret = number | (uint64_t)*from++ << shift;
    return from;
}

static unsigned char *put_record(unsigned char *to, const struct entry *entry)
{
    to = put_number(to, entry->count);
    *to++ = entry->length;
    memcpy(to, entry->word, entry->length);
    return to + entry->length;
}

void block_read(const unsigned char **at, struct entry *ret)
{
    const unsigned char *from = get_number(*at, &ret->count);
    ret->length = *from++;
    ret->word = (const char *)from;
    *at = from + ret->length;
}

int entry_compare(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    int order = memcmp(x->word, y->word, x->length < y->length ? x->length : y->length);
    return order ? order : (int)x->length - (int)y->length;
}

/* Where the entries of each part begin when they lie part by part. */
static void find_parts(const struct table *table, size_t first[PARTS + 1])
{
    memset(first, 0, (PARTS + 1) * sizeof *first);
    for (size_t i = 0; i < table->n_slots; i++)
        if (table->slots[i].count != 0)
            first[part_of(table->slots[i].hash) + 1]++;
    for (int part = 0; part < PARTS; part++)
        first[part + 1] += first[part];
}

static struct entry entry_of(const struct table *table, const struct slot *slot)
{
    const unsigned char *there = table->text + slot->place;
    return (struct entry){slot->count, (const char *)there + 1, there[0], part_of(slot->hash)};
}

/* All words, part by part; to be freed with free. NULL if there is no memory. */
static struct entry *list(const struct table *table, enum table_order order)
{
    size_t first[PARTS + 1], next[PARTS + 1];
    struct entry *entries = malloc((table->distinct + 1) * sizeof *entries);
    if (!entries)
        return NULL;
    find_parts(table, first);
    memcpy(next, first, sizeof next);
    for (size_t i = 0; i < table->n_slots; i++)
        if (table->slots[i].count != 0)
            entries[next[part_of(table->slots[i].hash)]++] = entry_of(table, &table->slots[i]);
    for (int part = 0; order == TABLE_SORTED && part < PARTS; part++)
        qsort(entries + first[part], first[part + 1] - first[part], sizeof *entries, entry_compare);
    return entries;
}

static void fill_block(struct block *block, const struct entry *entries)
{
    unsigned char *to = block->records;
    int part = 0;
    for (size_t i = 0; i < block->distinct; i++) {
        while (part <= entries[i].part)
            block->start[part++] = (uint32_t)(to - block->records);
        to = put_record(to, &entries[i]);
    }
    while (part <= PARTS)
        block->start[part++] = (uint32_t)(to - block->records);
}

static size_t packed_size(const struct table *table)
{
    size_t size = table->text_used; /* lengths and bytes */
    for (size_t i = 0; i < table->n_slots; i++)
        if (table->slots[i].count != 0)
            size += number_size(table->slots[i].count);
    return size;
}

static struct block *new_block(const struct table *table)
{
    size_t size = packed_size(table);
    if (size > UINT32_MAX) /* start[] could not say where a part is */
        return NULL;
    struct block *block = plait_alloc(sizeof *block + size);
    if (!block)
        return NULL;
    block->total = table->total;
    block->distinct = table->distinct;
    return block;
}

int table_pack(const struct table *table, enum table_order order, struct block **ret)
{
    struct entry *entries = list(table, order);
    struct block *block = entries ? new_block(table) : NULL;
    if (block)
        fill_block(block, entries);
    free(entries);
    if (!block)
        return PLAIT_ENOMEM;
    *ret = block;
    return 0;
}

int table_merge(struct table *table, const struct block *block, int part)
{
    const unsigned char *at = block->records + block->start[part];
    const unsigned char *end = block->records + block->start[part + 1];
    while (at < end) {
        struct entry entry;
        block_read(&at, &entry);
        int rc = table_add(table, entry.word, entry.length, entry.count);
        if (rc < 0)
            return rc;
    }
    return 0;
}
