#!/bin/sh
# demo.sh - counts the words of this machine's own text: with one worker and with all, with threads
# and with processes, and at last with a worker that is killed in the middle (kill -9). All must find
# the same words. PLAIT_BUILD names the build folder (build/release).
set -u

cd "$(dirname "$0")/../.." || exit 1
wordcount=${PLAIT_BUILD:-build/release}/examples/wordcount/wordcount
if ! [ -x "$wordcount" ]; then
    echo "demo.sh: $wordcount is not built (run make demo)" >&2
    exit 1
fi

set --
for folder in /usr/share/common-licenses /usr/include /usr/share/doc; do
    [ -d "$folder" ] && set -- "$@" "$folder"
done
if [ $# = 0 ]; then
    echo "demo.sh: this machine has none of the folders of text that it looks for" >&2
    exit 1
fi

errors=$(mktemp)
trap 'rm -f "$errors"' EXIT

# field NAME - of the result
field() {
    printf '%s\n' "$result" | sed -n "s/.*\"$1\": \"\{0,1\}\([^\",]*\).*/\1/p" | head -n 1
}

# No text, but it says how many workers it would take: as many as this program may use processors.
result=$("$wordcount" --json --top 0 /dev/null 2>/dev/null)
all=$(field workers)

first_time=
first_counts=
differs=0

# count KIND WORKERS [OPTION] - one run, one line of the table
count() {
    kind=$1
    workers=$2
    shift 2
    # shellcheck disable=SC2086  # $folders and $* are several words
    if ! result=$("$wordcount" --json --top 0 --kind "$kind" --workers "$workers" "$@" $folders \
        2>"$errors"); then
        cat "$errors" >&2
        exit 1
    fi
    time=$(field seconds)
    counts="$(field files) $(field bytes) $(field words) $(field distinct) $(field fingerprint)"
    first_time=${first_time:-$time}
    first_counts=${first_counts:-$counts}
    identical=yes
    if [ "$counts" != "$first_counts" ]; then
        identical=NO
        differs=1
    fi
    speedup=$(echo "$first_time $time" | awk '{ printf "%.2f", $1 / $2 }')
    printf '%-8s %7s %7ss %8sx %8s %11s %9s  %-9s %4s %7s\n' "$kind" "$workers" "$time" "$speedup" \
        "$(field files)" "$(field words)" "$(field distinct)" "$identical" "$(field deaths)" \
        "$(field retried)"
}

folders=$*
echo "The words of $folders"
# Once to have the files in memory, so that the first run is not the disk's.
find "$@" -type f -exec cat {} + >/dev/null 2>&1
echo
printf '%-8s %7s %8s %9s %8s %11s %9s  %-9s %4s %7s\n' kind workers time speed-up files words \
    distinct identical died retried
count thread 1
count thread "$all"
count process 1
count process "$all"
count process "$all" --kill-one

echo
if [ "$(field deaths)" -gt 0 ]; then
    printf 'In the last run %s (process %s) died of signal %s; files counted again: %s.\n' \
        "$(field name)" "$(field pid)" "$(field signal)" "$(field retried)"
else
    echo "The last run was over before a worker could be killed."
fi
unreadable=$(field unreadable)
if [ "$unreadable" -gt 0 ]; then
    echo "Files that could not be read: $unreadable"
    sed 1d "$errors" | head -n 5
fi
[ $differs = 0 ] && exit 0
echo "THE RESULTS DIFFER" >&2
exit 1
