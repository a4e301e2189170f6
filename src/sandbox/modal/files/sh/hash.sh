# Reads the files that its input names, each ended by NUL. HOW
case $1 in
exactly) how=$read_exactly ;;
*) how=$read_all ;;
esac
xargs -0 -r sh -c "$how" sh
printf 'end\0'
