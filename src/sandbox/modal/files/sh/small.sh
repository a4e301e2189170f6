# All bytes of a file that has at most so many. FOLDER NAME MOST
walk "$1" inside
must_be_file "./$2"
exec 3<"./$2" || exit 69
[ "$(stat -L -c %s - <&3)" -le "$3" ] || exit 81
# It may have grown since.
head -c "$(($3 + 1))" <&3
