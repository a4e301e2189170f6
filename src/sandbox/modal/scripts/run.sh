# Runs one program: MARK WORKSPACE NAMES PROGRAM ARGUMENT...
ar_mark=$1
ar_names=$3
ar_workspace=$2
shift 3

# The first bytes on standard output, always as many: whether a program follows them.
ar_say() {
    printf '%-63.63s\n' "$1"
}
ar_refuse() {
    ar_say "refused $1"
    exit 126
}

[ -n "$ar_state" ] || ar_refuse "nothing can be written outside the workspace"
# The program gets the variables it was given. A value of several lines may look like more of them: unset changes nothing then.
for ar_name in $(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p'); do
    case " $ar_names " in
    *" $ar_name "*) ;;
    *)
        case $ar_name in
        ar_* | IFS | PATH) ;;
        *) unset "$ar_name" ;;
        esac
        ;;
    esac
done
mkdir -p "$ar_workspace" 2>/dev/null
cd "$ar_workspace" 2>/dev/null || ar_refuse "$ar_workspace cannot be entered"
unset OLDPWD
PWD=$ar_workspace
export PWD

if [ ! -e "$1" ]; then
    ar_refuse "No such file or directory"
elif [ -d "$1" ] || [ ! -x "$1" ]; then
    ar_refuse "Permission denied"
fi
# A script whose interpreter is missing would only fail after it was said to run.
ar_first=$(head -c 256 "$1" 2>/dev/null | tr -d '\000' | head -n 1)
case $ar_first in
'#!'*)
    ar_first=${ar_first#??}
    ar_first=${ar_first#"${ar_first%%[! ]*}"}
    ar_first=${ar_first%%[ 	]*}
    [ -x "$ar_first" ] || ar_refuse "No such file or directory: its interpreter $ar_first"
    ;;
esac

# In the foreground, because a shell has its background ignore interrupts. The shell itself says nothing on standard error.
ar_setsid=
command -v setsid >/dev/null 2>&1 && ar_setsid=setsid
exec 3>&2 2>/dev/null
AGENT_RUNTIME_EXEC=$ar_mark $ar_setsid /bin/sh -c '
    { echo $$ >"$0.new" && mv "$0.new" "$0"; } 2>/dev/null || exit 125
    printf "%-63.63s\n" started
    exec "$@"' "$ar_state/$ar_mark" "$@" 2>&3 3>&-
ar_code=$?
if [ -f "$ar_state/$ar_mark" ]; then
    ar_group=
    [ -z "$ar_setsid" ] || ar_group=$(cat "$ar_state/$ar_mark")
    ar_kill "$ar_mark" "$ar_group"
    rm -f "$ar_state/$ar_mark"
fi
exit "$ar_code"
