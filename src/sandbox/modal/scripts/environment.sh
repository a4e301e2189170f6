# Prints the variables that a program was started with, as the kernel keeps them: MARK. One that is over has none any more.
[ -n "$ar_state" ] && [ -f "$ar_state/$1" ] || exit 0
cat "/proc/$(cat "$ar_state/$1")/environ" 2>/dev/null
exit 0
