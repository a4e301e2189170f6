# The files that its input names, each ended by NUL, as a tar stream. What cannot be read is missing from it.
tar -c -f - --format=gnu --null --verbatim-files-from -T - --no-recursion --hard-dereference --ignore-failed-read \
    2>/dev/null
:
