# Lists what counts, and reads what must have changed.
# RUN CUTOFF MOST TAGS STARTS START... PRUNE...
#
# Files that changed after CUTOFF and have at most MOST bytes are read; "-": all, "+": none. TAGS: whether folders that hold
# the mark of a cache are left out. PRUNE is the beginning of an expression of find.
run=$1 cutoff=$2 most=$3 tags=$4 starts=$5
shift 5
find . -maxdepth 0 -printf '' 2>/dev/null || exit 68
# What helpers of servers before this one left.
for old in ./.agent-runtime-*; do
    case $old in
    "./.agent-runtime-$run-"*) ;;
    *) [ ! -e "$old" ] || rm -rf -- "$old" ;;
    esac
done
aside=$(mktemp -d "${TMPDIR:-/tmp}/.agent-runtime-XXXXXX") || exit 69
trap 'rm -rf -- "$aside"' EXIT
: >"$aside/tags"
: >"$aside/changed"
printf '%s\0' "$(now)"
# Only what is reached without a link; then the arguments are where to begin, and what to pass over.
left=$# some=
while [ "$left" -gt 0 ]; do
    if [ "$starts" -gt 0 ]; then
        starts=$((starts - 1))
        case $1 in
        */*) above=${1%/*} ;;
        *) above= ;;
        esac
        if [ "$1" = . ]; then
            set -- "$@" .
            some=yes
        elif (walk "$above" refused && cd "$top" && { [ -e "./$1" ] || [ -L "./$1" ]; }); then
            set -- "$@" "./$1"
            some=yes
        fi
    else
        set -- "$@" "$1"
    fi
    shift
    left=$((left - 1))
done
if [ -n "$some" ]; then
    set -- "$@" -path './.agent-runtime-*' -prune -o
    if [ "$tags" = yes ]; then
        # The folder itself is none.
        find "$@" -type f -name CACHEDIR.TAG ! -path ./CACHEDIR.TAG -exec sh -c 'for tag; do
            [ "$(head -c 43 -- "$tag")" != "Signature: 8a477f597d28d172789f06886806bc55" ] || printf "%s\0" "${tag%/*}"
        done' sh {} + 2>/dev/null >"$aside/tags"
        for inode in $(xargs -0 -r -a "$aside/tags" stat -c %i --); do
            set -- "$@" -type d -inum "$inode" -prune -o
        done
    fi
    cat "$aside/tags"
    printf '\0'
    case $cutoff in
    -) changed='-true' ;;
    +) changed='-false' ;;
    *) changed="-newerct @$cutoff" ;;
    esac
    # What may not be seen counts, without what it holds.
    find "$@" -type d '(' ! -readable -o ! -executable ')' -printf 'u%y %m %s %i %D %n %T@ %C@ %p\0\0' -prune -o \
        '(' -type f $changed -size "-${most}c" -fprint0 "$aside/changed" -o -true ')' \
        -printf '%y %m %s %i %D %n %T@ %C@ %p\0%l\0'
    printf '\0'
    xargs -0 -r -a "$aside/changed" sh -c "$read_all" sh
else
    printf '\0\0'
fi
printf 'end\0'
