#!/bin/sh
# run_example.sh NAME PROGRAM [KIND...] - runs an example, once for each kind of worker given (once
# without an argument if none is). It must end with status 0 and print exactly what lies in
# expected/NAME.KIND.txt or, where kinds make no difference, in expected/NAME.txt. Not compared are plait's
# own reports ("plait: ...") and remarks in brackets, which differ from run to run. Status 77: skipped.
set -u

folder=$(dirname "$0")/expected
name=$1
program=$2
shift 2
[ $# -gt 0 ] || set -- ''

failed=0
for kind in "$@"; do
    expected=$folder/$name.$kind.txt
    [ -f "$expected" ] || expected=$folder/$name.txt
    output=$("$program" ${kind:+"$kind"} 2>&1; echo "status $?")
    if [ "${output##*status }" = 77 ]; then
        printf '%s\n' "$output"
        exit 77 # it cannot be run here, and has said why
    fi
    if printf '%s\n' "$output" | sed '$d; /^plait: /d; /^(/d' | diff -u "$expected" - &&
        [ "${output##*status }" = 0 ]; then
        echo "$name $kind: as expected"
    else
        echo "$name $kind: ended with status ${output##*status }, see above for what it printed"
        failed=1
    fi
done
exit $failed
