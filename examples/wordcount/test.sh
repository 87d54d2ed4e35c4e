#!/bin/sh
# test.sh WORDCOUNT - counts files made to be difficult, with every kind and number of workers.
set -u

wordcount=$(realpath "$1") || exit 1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
failed=0

# same WHAT EXPECTED FOUND
same() {
    [ "$2" = "$3" ] && return
    printf '%s: expected\n%s\nbut found\n%s\n' "$1" "$2" "$3"
    failed=1
}

# words FILE... - "word count" lines, sorted
words() {
    "$wordcount" --workers 1 --top 1000 "$@" 2>/dev/null | sed -n 's/^ *\([0-9]*\)  \(.*\)$/\2 \1/p' |
        LC_ALL=C sort
}

# --- the rules ---

printf "The the THE don't 'quoted' rock''n roll' x86_64 3.14" >ascii
same 'ASCII' "14 1
3 1
64 1
don't 1
n 1
quoted 1
rock 1
roll 1
the 3
x86 1" "$(words ascii)"

# Umlauts, an apostrophe of typesetters, a no-break space, a dash, quotes, a byte order mark.
printf '\357\273\277gr\303\274n don\342\200\231t a\302\240b c\342\200\224d \302\253e\302\273' >utf8
same 'UTF-8' "a 1
b 1
c 1
d 1
don't 1
e 1
$(printf 'gr\303\274n') 1" "$(words utf8)"

# Lone followers, a character that breaks off, too long a form, a surrogate, past the end.
printf 'a\200b\303c\300\257d\355\240\200e\364\220\200\200f\342\202g\377\376h \342\202' >invalid
same 'invalid UTF-8' "a 1
b 1
c 1
d 1
e 1
f 1
g 1
h 1" "$(words invalid)"

head -c 1000000 /dev/zero | tr '\0' 'w' >long
same 'a word of 1 MB' "$(head -c 255 long) 1" "$(words long)"

# Characters of three bytes over the ends of the pieces that are read.
{ printf 'x'; yes "$(printf '\342\202\254\344\270\255')" | head -n 30000 | tr -d '\n'; } >pieces
same 'pieces' "x 1
$(printf '\344\270\255') 30000" "$(words pieces)"

: >empty
same 'an empty file' '' "$(words empty)"

gzip -c ascii >ascii.gz
same 'a .gz' "$(words ascii)" "$(words ascii.gz)"

# --- what cannot be read ---

head -c 40 ascii.gz >broken.gz
ln -s nowhere dangling
ln -s circle circle
mkfifo pipe
mkdir deep deep/er
ln -s .. deep/up
mkfifo deep/pipe
cp ascii deep/er/file
same 'the unreadable' '5 could not be read:
  missing: No such file or directory
  dangling: No such file or directory
  circle: Too many levels of symbolic links
  pipe: not a regular file
  broken.gz: not a whole gzip file' \
    "$("$wordcount" missing dangling circle pipe broken.gz deep 2>&1 >/dev/null)"
"$wordcount" --top 0 missing dangling >/dev/null 2>&1
same 'exit status with unreadable files' 0 $?
same 'links and pipes in folders' "$(words ascii)" "$(words deep)"

# --- the same for all ---

head -c 300000 /dev/urandom >random
head -c 3000000 /dev/urandom | tr -dc 'a-f \n' >letters
# counts OPTION... - the result without what may differ
counts() {
    "$wordcount" --json --top 20 "$@" 2>/dev/null |
        grep -v '"kind"\|"workers"\|"seconds"\|"deaths"\|"retried"\|"blame"'
}
all=$(counts --workers 1 --kind thread . "$folder")
for kind in thread process; do
    for workers in 1 2 7; do
        same "$workers of kind $kind" "$all" "$(counts --workers $workers --kind $kind . "$folder")"
    done
done

# --- a worker is killed ---

i=0
set --
while [ $i -lt 40 ]; do
    set -- "$@" letters random pieces
    i=$((i + 1))
done
all=$(counts --workers 2 --kind thread "$@")
same 'with a worker killed' "$all" "$(counts --workers 2 --kill-one "$@")"

# --- options ---

for options in '--kind coroutine .' '--workers 0 .' '--workers 2x .' '--top -1 .' '--nonsense .' \
    '--kill-one --kind thread .' '--workers' ''; do
    # shellcheck disable=SC2086  # several options
    message=$("$wordcount" $options 2>&1 >/dev/null)
    same "exit status of '$options'" 2 $?
    case $message in
    *"Try 'wordcount --help'."*) ;;
    *) same "message of '$options'" 'a hint' "$message" ;;
    esac
done
"$wordcount" --help | grep -q -- '--retries'
same '--help' 0 $?
"$wordcount" ascii >/dev/full 2>/dev/null
same 'a full disk' 1 $?

[ $failed = 0 ] && echo 'all as expected'
exit $failed
