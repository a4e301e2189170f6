# What every helper begins with. Its first argument is the folder that it may not leave; how it ends is a code of codes.rs.
LC_ALL=C
export LC_ALL
unset CDPATH
umask 022
cd -P -- "$1" 2>/dev/null || exit 61
shift
top=$(pwd -P && echo .)
top=${top%??}

# walk PATH inside|refused|made: goes to a directory below the folder, without leaving it. Links on the way are followed
# where they stay inside, or refused; what is missing is made where that is asked for. $here is where it really lies.
walk() {
    rest=$1 links=0 depth=0
    while [ -n "$rest" ]; do
        part=${rest%%/*}
        case $rest in
        */*) rest=${rest#*/} ;;
        *) rest= ;;
        esac
        case $part in
        '' | .) ;;
        ..)
            [ "$depth" -gt 0 ] || exit 63
            depth=$((depth - 1))
            cd -P .. 2>/dev/null || exit 62
            ;;
        *)
            if [ -L "./$part" ]; then
                links=$((links + 1))
                [ "$2" != refused ] && [ "$links" -le 40 ] || exit 64
                target=$(readlink -n -- "./$part" && echo .) || exit 62
                target=${target%.}
                case $target in
                /*) exit 63 ;;
                esac
                # Where it leads nowhere, nothing is made.
                [ "$2" != made ] || [ -e "./$part" ] || exit 67
                rest=$target${rest:+/$rest}
            elif [ -d "./$part" ]; then
                cd -P -- "./$part" || exit 69
                depth=$((depth + 1))
            elif [ -e "./$part" ]; then
                [ "$2" != made ] || exit 66
                exit 62
            else
                [ "$2" = made ] || exit 62
                mkdir -- "./$part" && chmod 755 -- "./$part" && cd -P -- "./$part" || exit 69
                depth=$((depth + 1))
            fi
            ;;
        esac
    done
    here=$(pwd -P && echo .)
    here=${here%??}
    # Also where directories were moved about meanwhile.
    case $here/ in
    "${top%/}"/*) ;;
    *) exit 63 ;;
    esac
    here=${here#"${top%/}"}
    here=${here#/}
}

# must_be_file NAME: ends with the code of what else stands there.
must_be_file() {
    if [ -L "$1" ]; then
        exit 72
    elif [ -f "$1" ]; then
        return
    elif [ -d "$1" ]; then
        exit 71
    elif [ -p "$1" ]; then
        exit 73
    elif [ -S "$1" ]; then
        exit 74
    elif [ -e "$1" ]; then
        exit 75
    fi
    exit 62
}

# What of an entry is told: a letter, the mode, and what a change shows in. Names come behind, ended by NUL.
told='%f %s %i %d %h %.9Y %.9Z'
now() { date +%s.%N; }

# Reads files and says what they were; what they look like afterwards follows.
read_all='sha256sum -z -- "$@"; stat --printf="s %f %s %i %d %h %.9Y %.9Z %n\0" -- "$@"; :'

# Reads as much of each file as it had, one after the other, for those that never hold still.
read_exactly='for file; do
    size=$(stat -c %s -- "$file") && sum=$(head -c "$size" -- "$file" | sha256sum) || continue
    stat --printf="x ${sum%% *} $size %f %i %d %h %.9Y %.9Z %n\0" -- "$file"
done'
