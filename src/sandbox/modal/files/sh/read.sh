# Says what a file is, then its bytes from an offset on. FOLDER NAME OFFSET
walk "$1" inside
must_be_file "./$2"
exec 3<"./$2" || exit 69
printf '%s\0%s\0' "$(now)" "$here"
stat -L --printf="$told\0" - <&3
sum=$(sha256sum <&3) || exit 69
printf '%s\0' "${sum%% *}"
[ "$3" -lt "$(stat -L -c %s - <&3)" ] || exit 0
# Of the file that is open, whatever the name leads to by now.
tail -c "+$(($3 + 1))" -- /proc/self/fd/3
