# Writes its input, whole or not at all. ASIDE FOLDER NAME MODE SIZE
aside=$top/$1
trap 'rm -f -- "$aside"' EXIT
cat >"$aside" || exit 69
[ "$(stat -c %s -- "$aside")" = "$5" ] || exit 82
chmod "$4" -- "$aside" || exit 69
walk "$2" made
if [ -d "./$3" ] && [ ! -L "./$3" ]; then
    exit 71
fi
mv -fT -- "$aside" "./$3" || exit 69
printf '%s\0%s\0' "$(now)" "$here"
stat --printf="$told\0" -- "./$3"
