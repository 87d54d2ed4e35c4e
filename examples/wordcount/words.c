#include "words.h"

#include <string.h>

enum { RIGHT_QUOTE = 0x2019 }; /* what typesetters use as an apostrophe */

/* Beyond ASCII: spaces, punctuation and symbols. All else counts as letters. */
static const struct range {
    unsigned first, last;
} separators[] = {
    {0x80, 0xa9},     {0xab, 0xb4},
    {0xb6, 0xb9},     {0xbb, 0xbf}, /* Latin 1, no-break space */
    {0xd7, 0xd7},     {0xf7, 0xf7},
    {0x1680, 0x1680}, /* times, divided by */
    {0x2000, 0x206f}, {0x20a0, 0x20cf},
    {0x2190, 0x2bff}, /* spaces, dashes, money, arrows, boxes */
    {0x2e00, 0x2e7f}, {0x3000, 0x3003},
    {0x3008, 0x3020}, /* more punctuation */
    {0xe000, 0xf8ff}, {0xfe10, 0xfe6f},
    {0xfeff, 0xff0f}, /* private use, byte order mark */
    {0xff1a, 0xff20}, {0xff3b, 0xff40},
    {0xff5b, 0xff65},                     /* full-width punctuation */
    {0xffe0, 0xffff}, {0x1f000, 0x1faff}, /* specials, pictures */
};

static bool is_separator(unsigned code)
{
    for (size_t i = 0; i < sizeof separators / sizeof separators[0]; i++)
        if (code <= separators[i].last)
            return code >= separators[i].first;
    return code >= 0xe0000; /* tags and private use */
}

/* --- building a word --- */

int words_end(struct words *words)
{
    size_t length = words->length;
    words->length = 0;
    words->apostrophe = words->full = false;
    return length ? table_add(words->table, words->word, length, 1) : 0;
}

static void append(struct words *words, const void *bytes, size_t n)
{
    words->full = words->full || n > WORD_MOST - words->length;
    if (words->full)
        return;
    memcpy(words->word + words->length, bytes, n);
    words->length += n;
}

static void letter(struct words *words, const void *bytes, size_t n)
{
    if (words->apostrophe)
        append(words, "'", 1);
    words->apostrophe = false;
    append(words, bytes, n);
}

/* One may stand in a word, but neither begin it nor come twice. */
static int apostrophe(struct words *words)
{
    if (words->apostrophe)
        return words_end(words);
    words->apostrophe = words->length > 0;
    return 0;
}

/* --- characters --- */

/* Lower-cased, if an ASCII letter or digit; else 0. */
static char plain_letter(unsigned char c)
{
    if ((unsigned)(c | 0x20) - 'a' < 26)
        return (char)(c | 0x20);
    return (unsigned)c - '0' < 10 ? (char)c : 0;
}

static int ascii(struct words *words, unsigned char c)
{
    char lower = plain_letter(c);
    if (lower == 0)
        return c == '\'' ? apostrophe(words) : words_end(words);
    letter(words, &lower, 1);
    return 0;
}

/* How many bytes follow this first one of a character; -1: it is none. */
static int followers(unsigned char first)
{
    if (first < 0xc2 || first > 0xf4)
        return -1;
    return first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
}

static unsigned decode(const unsigned char *bytes, int n)
{
    unsigned code = bytes[0] & (0x7fu >> n);
    for (int i = 1; i < n; i++)
        code = code << 6 | (bytes[i] & 0x3f);
    return code;
}

/* Written with more bytes than it needs, a surrogate, or past the end of Unicode. */
static bool is_invalid(unsigned code, int n)
{
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    return code < least[n] || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff;
}

static int whole_character(struct words *words)
{
    unsigned code = decode(words->character, words->have);
    if (code == RIGHT_QUOTE)
        return apostrophe(words);
    if (is_invalid(code, words->have) || is_separator(code))
        return words_end(words);
    letter(words, words->character, (size_t)words->have);
    return 0;
}

static int first_byte(struct words *words, unsigned char c)
{
    if (c < 0x80)
        return ascii(words, c);
    int missing = followers(c);
    if (missing < 0)
        return words_end(words);
    words->character[0] = c;
    words->have = 1;
    words->missing = missing;
    return 0;
}

static int next_byte(struct words *words, unsigned char c)
{
    if (words->missing == 0)
        return first_byte(words, c);
    if ((c & 0xc0) == 0x80) {
        words->character[words->have++] = c;
        return --words->missing == 0 ? whole_character(words) : 0;
    }
    words->missing = 0; /* the character broke off */
    int rc = words_end(words);
    return rc < 0 ? rc : first_byte(words, c);
}

int words_feed(struct words *words, const unsigned char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        int rc = next_byte(words, text[i]);
        if (rc < 0)
            return rc;
    }
    return 0;
}
