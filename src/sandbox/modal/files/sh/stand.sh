# Says what stands at the paths that its input names, each ended by NUL.
xargs -0 -r stat --printf="s $told %n\0" -- 2>/dev/null
printf 'end\0'
