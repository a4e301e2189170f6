# Brings files: does what is to be done before, unpacks, does what is to be done after. ASIDE BEFORE AFTER new|here
# Its input is both scripts, so many bytes each, and a tar stream whose last entry is a mark, so that one that was cut is seen.
aside=./$1
trap 'cd "$top" && rm -rf -- "$aside"' EXIT
mkdir -m 700 -- "$aside" && mkdir -- "$aside/new" "$aside/old" || exit 69
head -c "$2" >"$aside/before" && head -c "$3" >"$aside/after" || exit 69
[ "$(stat -c %s "$aside/before") $(stat -c %s "$aside/after")" = "$2 $3" ] || exit 82
# Words of the two scripts. What goes wrong ends everything; `undo` is theirs.
undo() { :; }
done=0
try() { "$@" || { undo; exit 69; }; }
step() {
    "$@" || { undo; exit 69; }
    done=$((done + 1))
}
be_directory() {
    [ -d "$1" ] && [ ! -L "$1" ] || { rm -rf -- "$1" && mkdir -- "$1" && chmod 755 -- "$1"; }
}
be_empty() {
    [ -z "$(find . -mindepth 1 -maxdepth 1 ! -path './.agent-runtime-*' -print -quit)" ] || exit 84
}
. "$aside/before"
case $4 in
new) into=$aside/new ;;
*) into=. ;;
esac
tar -x -f - -p --no-same-owner --no-overwrite-dir --delay-directory-restore --warning=no-timestamp -C "$into" || exit 69
[ -f "$into/$1-end" ] || exit 82
rm -f -- "$into/$1-end"
. "$aside/after"
