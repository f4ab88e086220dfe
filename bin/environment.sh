# shellcheck shell=sh
# Finds a Python that has what requirements files list, or makes a private virtual environment.
# Owns <clone>/.environment; sourced by bin/infrasim, .unittests and .functionaltests.
#
#   clone=/path/to/clone
#   use_environment NAME REQUIREMENTS_FILE...
#
# leaves the interpreter in $python. Everything it says goes to stderr. It ends the shell with
# exit code 4 when this machine lacks something, saying what.
#
# A stamp file says which interpreter satisfied which requirements; while it holds, no program
# is started. It is written last and by rename, so that whatever was interrupted is done again.
# shellcheck disable=SC2154  # clone is set by whoever sources this file

say() {
    printf 'infrasim: %s\n' "$1" >&2
}

# fail MESSAGE [HINT]
fail() {
    say "$1"
    [ -z "${2:-}" ] || printf 'hint: %s\n' "$2" >&2
    exit 4
}

have() {
    command -v "$1" >/dev/null 2>&1
}

use_environment() {
    environment_name=$1
    shift
    # Where it is when the clone can be written, and where else.
    environment_dir="$clone/.environment"
    stamp_is_current "$environment_dir/$environment_name.stamp" "$@" && return 0
    elsewhere=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
    if [ -n "$elsewhere" ]; then
        elsewhere="$elsewhere/infrasim/environment$clone"
        stamp_is_current "$elsewhere/$environment_name.stamp" "$@" && return 0
    fi
    choose_environment_dir
    prepare_environment "$@"
}

# stamp_is_current STAMP REQUIREMENTS_FILE...   sets $python when it is
# Lines of a stamp: the interpreter; for a Python of others, the folders its modules are in; "--";
# the requirements. Only builtins are used: this runs at every call.
stamp_is_current() {
    stamp=$1
    shift
    [ -r "$stamp" ] || return 1
    # shellcheck disable=SC2094  # read only
    {
        IFS= read -r python <&3 && [ -x "$python" ] || return 1
        while IFS= read -r line <&3 && [ "$line" != -- ]; do
            # Something was installed into or removed from that Python since: look again.
            # shellcheck disable=SC3013,SC2094  # -nt: dash, bash and busybox have it; POSIX since 2024
            [ "$stamp" -nt "$line" ] || return 1
        done
        for requirements in "$@"; do
            same_lines "$requirements" || return 1
        done
        ! IFS= read -r line <&3
    } 3<"$stamp"
}

# same_lines FILE   whether descriptor 3 goes on with the lines of FILE
same_lines() {
    {
        while IFS= read -r wanted <&4 || [ -n "$wanted" ]; do
            IFS= read -r line <&3 && [ "$line" = "$wanted" ] || return 1
        done
    } 4<"$1"
}

choose_environment_dir() {
    mkdir -p "$environment_dir" 2>/dev/null && [ -w "$environment_dir" ] && return 0
    [ -n "$elsewhere" ] || fail "$clone cannot be written and HOME is not set" "set HOME"
    environment_dir=$elsewhere
    mkdir -p "$environment_dir" 2>/dev/null && [ -w "$environment_dir" ] && return 0
    fail "neither $clone/.environment nor $environment_dir can be written" \
        "run it once as root, or set XDG_CACHE_HOME to a folder of your own"
}

# One at a time; who waited finds the work done.
prepare_environment() {
    # Tried in a subshell: a failing exec would end this shell with a message of its own.
    (: >>"$environment_dir/lock") 2>/dev/null || fail "cannot write $environment_dir/lock" \
        "another user made it, or the disk is full; as root: rm -r $environment_dir"
    exec 9>>"$environment_dir/lock"
    if have flock && ! flock -n 9; then
        say "waiting for another call that is setting up $environment_dir"
        flock -w 900 9 || fail "$environment_dir has been set up by another call for 15 minutes" \
            "look for it with: fuser $environment_dir/lock"
    fi
    stamp="$environment_dir/$environment_name.stamp"
    if ! stamp_is_current "$stamp" "$@"; then
        find_python "$@"
        if [ "$python_state" != met ]; then
            fill_virtual_environment "$@"
        fi
        write_stamp "$@"
    fi
    exec 9>&-
}

write_stamp() {
    # shellcheck disable=SC2015  # both may fail for the same reason
    {
        printf '%s\n' "$python"
        [ -z "$python_folders" ] || printf '%s\n' "$python_folders"
        echo --
        for requirements in "$@"; do
            while IFS= read -r line || [ -n "$line" ]; do
                printf '%s\n' "$line"
            done <"$requirements"
        done
    } >"$stamp.new" && mv -f "$stamp.new" "$stamp" || fail "cannot write $stamp" "is the disk full?"
}

# find_python REQUIREMENTS_FILE...   sets $python, $python_state and $python_folders, installing if it must
find_python() {
    look_for_python "$@"
    [ "$python_state" = met ] || [ "$python_state" = venv ] && return 0
    install_python
    look_for_python "$@"
    [ "$python_state" = met ] || [ "$python_state" = venv ] && return 0
    fail "installed Python, yet found none that is 3.11 or newer and has the modules venv and ensurepip"
}

# The best Python on PATH: one that has everything (met), can make an environment (venv), lacks
# the modules for that (bare); python_state is empty when there is none of 3.11 or newer.
look_for_python() {
    python='' python_state='' python_folders='' bare_version=''
    for candidate in python3.14 python3.13 python3.12 python3.11 python3; do
        have "$candidate" || continue
        answer=$(probe_python "$candidate" "$@") || continue
        state=${answer%% *}
        answer=${answer#* }
        if [ "$state" = met ]; then
            python_state=met python=${answer%%|*} python_folders=$(split_folders "${answer#*|}")
            return 0
        elif [ "$state" = venv ] && [ "$python_state" != venv ]; then
            python_state=venv python=$answer
        elif [ "$state" = bare ]; then
            bare_version="$bare_version $answer"
            python_state=${python_state:-bare}
        fi
    done
}

split_folders() {
    printf '%s\n' "$1" | tr '|' '\n'
}

# Prints "met EXECUTABLE|FOLDER...", "venv EXECUTABLE" or "bare X.Y"; fails below 3.11.
# -I: neither PYTHONPATH nor a user's own packages count, because others will use the answer.
probe_python() {
    interpreter=$1
    shift
    "$interpreter" -I -c '
import sys
if sys.version_info < (3, 11):
    sys.exit(1)
import re
from importlib import import_module, metadata

def numbers(version):
    return [int(digits) for digits in re.findall("[0-9]+", version.split("+")[0])]

def folders_of_what_is_met():
    owners = metadata.packages_distributions()
    for path in sys.argv[1:]:
        for line in open(path, encoding="utf-8"):
            name, _, least = line.partition("#")[0].strip().partition(">=")
            if not name:
                continue
            found = metadata.distribution(name)
            if numbers(found.version) < numbers(least):
                raise ImportError(name)
            for module, distributions in owners.items():
                if found.metadata["Name"] in distributions and module.isidentifier():
                    import_module(module)
            yield str(found.locate_file(""))

try:
    print("met", "|".join([sys.executable, *sorted(set(folders_of_what_is_met()))]))
except Exception:
    try:
        import ensurepip, venv
        print("venv", sys.executable)
    except ImportError:
        print("bare", "%d.%d" % sys.version_info[:2])
' "$@" 2>/dev/null
}

# Installs the newest Python there is, or what a found one lacks, from the distribution.
install_python() {
    if [ -n "$bare_version" ]; then
        lacking="Python$bare_version has no module venv or ensurepip"
        by_hand="apt-get install python3-venv"
    else
        lacking="no Python 3.11 or newer on PATH"
        by_hand="apt-get install python3-venv; on Ubuntu 22.04: apt-get install python3.11-venv"
    fi
    have apt-get || fail "$lacking" "install Python 3.11 or newer with its venv module"
    [ "$(id -u)" -eq 0 ] || fail "$lacking, and only root can install it" "as root: $by_hand"
    package=$(python_package) || {
        say "reading the package lists (apt-get update)"
        apt_get update || fail "$lacking, and apt-get update failed" "is there a network? see above"
        package=$(python_package) || fail "$lacking, and this machine's apt sources offer none" \
            "install Python 3.11 or newer by hand; on Ubuntu enable 'universe'"
    }
    say "installing $package"
    apt_get install -y --no-install-recommends "$package" && return 0
    # Lists that are too old name files that are gone.
    apt_get update && apt_get install -y --no-install-recommends "$package" && return 0
    fail "$lacking, and apt-get install $package failed" "see above; is there a network?"
}

# Prints the package whose installation gives a usable Python, as far as apt knows one.
python_package() {
    for version in $bare_version 3.14 3.13 3.12 3.11; do
        if LC_ALL=C apt-cache policy "python$version-venv" 2>/dev/null | grep -q 'Candidate: [0-9]'; then
            echo "python$version-venv"
            return 0
        fi
    done
    return 1
}

# What apt says is shown when it fails. Two environments may be set up at once: the log is this shell's.
apt_get() {
    DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@" >"$environment_dir/apt.$$" 2>&1 9>&-
    apt_code=$?
    [ "$apt_code" -eq 0 ] || tail -n 12 "$environment_dir/apt.$$" >&2
    rm -f "$environment_dir/apt.$$"
    return "$apt_code"
}

# Makes or completes $environment_dir/$environment_name with $python; then $python is the one in it.
fill_virtual_environment() {
    folder="$environment_dir/$environment_name"
    log="$folder.log"
    # What was finished once is only added to, because nodes may be running from it.
    if ! [ -e "$stamp" ] || ! "$folder/bin/python" -c 'import pip' 2>/dev/null; then
        say "making a private Python environment in $folder (once)"
        "$python" -I -m venv --clear "$folder" >"$log" 2>&1 9>&- || environment_failed "$python -m venv"
    else
        say "completing the private Python environment in $folder"
    fi
    python="$folder/bin/python"
    for requirements in "$@"; do
        set -- "$@" -r "$requirements"
        shift
    done
    "$python" -m pip install --disable-pip-version-check "$@" >>"$log" 2>&1 9>&- || environment_failed "pip install"
}

# environment_failed WHAT   says why, from the log's end
environment_failed() {
    tail -n 12 "$log" >&2
    hint="the whole log is $log; pip reads PIP_INDEX_URL and PIP_FIND_LINKS for a mirror or a folder"
    if grep -q 'No space left' "$log"; then
        fail "$1 failed: the disk that holds $environment_dir is full" "$hint"
    elif grep -qE 'NewConnectionError|NameResolutionError|ConnectTimeout|Name or service not known' "$log"; then
        fail "$1 failed: the Python package index cannot be reached" "$hint"
    elif grep -q 'CERTIFICATE_VERIFY_FAILED' "$log"; then
        fail "$1 failed: the certificate of the Python package index is not trusted" \
            "behind an intercepting proxy set PIP_CERT to its certificate; $hint"
    fi
    fail "$1 failed" "$hint"
}
