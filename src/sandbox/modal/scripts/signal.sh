# Sends a signal: MARK SIGNAL. A program that is over has no file any more.
[ -n "$ar_state" ] && [ -f "$ar_state/$1" ] || exit 0
ar_group=$(cat "$ar_state/$1")
if [ "$2" = KILL ]; then
    ar_kill "$1" "$ar_group"
    exit 0
fi
kill -s "$2" -- "-$ar_group" 2>/dev/null || kill -s "$2" "$ar_group" 2>/dev/null
# Then those that left the group; each gets it once.
for ar_pid in $(ar_marked "$1"); do
    ar_stat=$(cat "/proc/$ar_pid/stat" 2>/dev/null) || continue
    ar_stat=${ar_stat##*) }
    ar_stat=${ar_stat#* * }
    [ "${ar_stat%% *}" = "$ar_group" ] || kill -s "$2" "$ar_pid" 2>/dev/null
done
exit 0
