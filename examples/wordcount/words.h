/* words - the rules: which bytes are words.
 *
 * A word is a longest run of letters and digits of UTF-8 text. An apostrophe (' or U+2019) between
 * two of them belongs to the word. Of ASCII, letters and digits are what they are, and are lower-cased.
 * Beyond it every valid character counts as a letter, except for spaces, punctuation and symbols
 * (the table in words.c). Bytes that are not valid UTF-8 separate words. Of a word longer than
 * WORD_MOST bytes the beginning is counted. */
#ifndef WORDCOUNT_WORDS_H
#define WORDCOUNT_WORDS_H

#include "table.h"

#include <stdbool.h>
#include <stddef.h>

/* The text comes in pieces that may end anywhere; this is what is carried over. All zero but `table`
 * is the beginning of a text. */
struct words {
    struct table *table; /* where the words are counted */
    size_t length;       /* bytes of the word in hand; 0: between words */
    bool apostrophe;     /* one follows it, and is part of it if a letter comes next */
    bool full;           /* it is cut, what follows is dropped */
    int have, missing;   /* bytes of a character beyond ASCII: seen, still to come */
    unsigned char character[4];
    char word[WORD_MOST];
};

/* Counts the words of the next piece of text. 0 or PLAIT_ENOMEM. */
int words_feed(struct words *words, const unsigned char *text, size_t size);

/* The text is over: counts its last word. 0 or PLAIT_ENOMEM. */
int words_end(struct words *words);

#endif
