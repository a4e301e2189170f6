# Ends all programs: SECONDS. Asked first, killed when the time is over; each takes its file away when nothing of it is left.
[ -n "$ar_state" ] || exit 0
ar_all() {
    for ar_file in "$ar_state"/*; do
        [ -f "$ar_file" ] && echo "${ar_file##*/}"
    done
}
# Whether anything here is of a mark: its script has it among its arguments, what that started in its environment. Files that
# came back with a file system tell of programs that are long over, and of numbers that are others' now.
ar_lives() {
    grep -qsa "[${1%"${1#?}"}]${1#?}" /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null
}
for ar_mark in $(ar_all); do
    ar_lives "${ar_mark%.new}" || rm -f "$ar_state/$ar_mark"
done
for ar_mark in $(ar_all); do
    ar_group=$(cat "$ar_state/$ar_mark" 2>/dev/null)
    [ -z "$ar_group" ] || kill -s TERM -- "-$ar_group" 2>/dev/null
done
ar_tenths=$(($1 * 10))
while [ -n "$(ar_all)" ] && [ "$ar_tenths" -gt 0 ]; do
    sleep 0.1
    ar_tenths=$((ar_tenths - 1))
done
for ar_mark in $(ar_all); do
    ar_kill "$ar_mark" "$(cat "$ar_state/$ar_mark" 2>/dev/null)"
done
ar_tenths=100
while [ -n "$(ar_all)" ] && [ "$ar_tenths" -gt 0 ]; do
    sleep 0.1
    ar_tenths=$((ar_tenths - 1))
done
# What is there now belongs to programs whose script was killed: none of them runs any more.
rm -f "$ar_state"/*
exit 0
