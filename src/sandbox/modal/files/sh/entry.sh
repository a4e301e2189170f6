# Describes what stands there. FOLDER NAME
walk "$1" inside
name=./$2
[ -e "$name" ] || [ -L "$name" ] || exit 62
printf '%s\0%s\0' "$(now)" "$here"
before= sum=
for try in 1 2 3; do
    [ ! -L "$name" ] && [ -f "$name" ] || break
    before=$(stat --printf="$told" -- "$name") && sum=$(sha256sum <"$name") || exit 62
    [ "$before" != "$(stat --printf="$told" -- "$name")" ] || break
done
if [ -n "$before" ]; then
    # As it was when it was read.
    printf '%s\0%s\0\0' "$before" "${sum%% *}"
else
    stat --printf="$told\0" -- "$name" || exit 62
    printf '\0'
    readlink -n -- "$name"
    printf '\0'
fi
