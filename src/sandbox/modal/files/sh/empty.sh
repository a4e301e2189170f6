# Says whether the folder holds something.
find . -mindepth 1 -maxdepth 1 ! -path './.agent-runtime-*' -printf '%f\0' -quit
