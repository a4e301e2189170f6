# Deletes a file, a link or an empty directory, and says what it was. FOLDER NAME
walk "$1" inside
name=./$2
if [ -L "$name" ]; then
    was=l
elif [ -d "$name" ]; then
    rmdir -- "$name" 2>/dev/null || {
        [ -z "$(ls -A -- "$name")" ] || exit 80
        rmdir -- "$name" || exit 69
    }
    printf d
    exit
elif [ -e "$name" ]; then
    was=f
else
    exit 62
fi
rm -f -- "$name" || exit 69
printf %s "$was"
